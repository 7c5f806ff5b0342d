//! Connectors: where rows come from and where they go.
//!
//! A connector is a [`Source`] or a [`Sink`], two small traits in [`contract`]; whoever implements one needs nothing else of the host.
//! Connectors do I/O and block; they run on threads of their own and never on a worker. They know no operators, no checkpoint store and
//! no engine: a position is text that they wrote themselves, a staged output is a token that they wrote themselves.
//!
//! | connector | replays / exactly once | notes |
//! |---|---|---|
//! | source `file` | yes | a path or a glob; lines, CSV, JSON lines; bounded or followed |
//! | source `file` with path `-` | no | standard input |
//! | sink `file` | yes | staged files, made visible by a rename |
//! | sink `stdout` | no | at least once, at once |

pub mod contract;
pub mod error;
pub(crate) mod json_text;
pub mod sink;
pub mod source;

pub use contract::{
    BatchLimits, Recovered, Rejected, RowEncoding, Sink, SinkWriter, Source, SourceBatch, SourceReader, SplitPosition, Staged, Step,
};
pub use error::ConnectError;

use reprise_core::description::Encoding;
use reprise_core::topology::{FileSource, SinkKind, SourceFormat, SourceKind};
use std::path::Path;

/// Opens a source of a topology. Relative paths start at `base_dir`, the folder of the topology file.
///
/// # Errors
/// [`ConnectError::Config`] where settings contradict each other. Nothing is read yet: missing files show in [`Source::splits`].
pub fn source(kind: &SourceKind, base_dir: &Path, limits: BatchLimits) -> Result<Box<dyn Source>, ConnectError> {
    match kind {
        SourceKind::File(settings) if settings.path == source::STDIN_PATH => {
            Ok(Box::new(source::stdin::StdinSource::new(settings, limits)?))
        }
        SourceKind::File(settings) => Ok(Box::new(source::file::FilesSource::new(settings, base_dir, limits)?)),
    }
}

/// How the rows of a source are to be read, for a sink that takes them without an operator between.
#[must_use]
pub fn source_encoding(kind: &SourceKind) -> RowEncoding {
    match kind {
        SourceKind::File(FileSource { format: SourceFormat::Lines, .. }) => RowEncoding { key: Encoding::Bytes, value: Encoding::Bytes },
        SourceKind::File(FileSource { format: SourceFormat::Csv { .. } | SourceFormat::Json, .. }) => {
            RowEncoding { key: Encoding::Utf8, value: Encoding::Json }
        }
    }
}

/// Opens a sink of a topology. `encodings` has one entry for each input of the sink; `job` and `name` say whose output it is.
///
/// # Errors
/// [`ConnectError::Config`] where `encodings` is empty. Nothing is written yet.
pub fn sink(kind: &SinkKind, base_dir: &Path, job: &str, name: &str, encodings: Vec<RowEncoding>) -> Result<Box<dyn Sink>, ConnectError> {
    if encodings.is_empty() {
        return Err(ConnectError::Config { what: format!("sink `{name}` has no input"), help: "give it at least one `input`".to_owned() });
    }
    match kind {
        SinkKind::File(settings) => Ok(Box::new(sink::file::FilesSink::new(settings, base_dir, job, name, encodings))),
        SinkKind::Stdout(settings) => Ok(Box::new(sink::stdout::StdoutSink::new(settings, encodings))),
    }
}
