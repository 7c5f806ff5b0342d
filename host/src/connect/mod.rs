//! Connectors: where rows come from and where they go.
//!
//! A connector is a [`SourceConnector`] or a [`SinkConnector`], two small traits in [`contract`]; an implementation needs nothing else of the host.
//! Connectors do I/O and block; they run on threads of their own and never on a worker. They know no operators, no checkpoints and no
//! engine: a position is text that they wrote themselves, a staged output is a token that they wrote themselves.
//!
//! | connector | replays / exactly once | notes |
//! |---|---|---|
//! | source `file` | yes | a path or a glob; lines, CSV, JSON lines; bounded or followed |
//! | source `file` with path `-` | no | standard input |
//! | sink `file` | yes | staged files, made visible by a rename |
//! | sink `objects` | yes | objects in a bucket, a folder or memory; staged, made visible by a copy |
//! | sinks `file` and `objects` with `delivery = "immediate"` | no | at least once, at once |
//! | sink `stdout` | no | at least once, at once |

pub mod contract;
pub mod error;
pub mod holding;
pub(crate) mod json_text;
pub mod recovery;
pub mod sink;
mod sink_context;
pub mod source;

pub use contract::{
    BatchLimits, InputStatus, Recovered, Rejected, RowEncoding, SinkConnector, SinkWriter, SourceBatch, SourceConnector, SourceReader,
    SourceSplit, Staged,
};
pub use error::ConnectError;
pub use recovery::Recovery;
pub use sink_context::SinkContext;

use crate::clock::Clock;
use reprise_core::description::Encoding;
use reprise_core::topology::{self, FileSource, SinkKind, SourceFormat, SourceKind};
use std::path::Path;

/// Opens a source of a topology. Relative paths start at `base_dir`, the folder of the topology file. `clock` tells which event times are
/// too far ahead.
///
/// # Errors
/// [`ConnectError::Config`] where settings contradict each other. Nothing is read yet: missing files show in [`SourceConnector::splits`].
pub fn source(kind: &SourceKind, base_dir: &Path, limits: BatchLimits, clock: Clock) -> Result<Box<dyn SourceConnector>, ConnectError> {
    match kind {
        SourceKind::File(settings) if settings.path == source::STDIN_PATH => {
            Ok(Box::new(source::stdin::StdinSourceConnector::new(settings, limits, clock)?))
        }
        SourceKind::File(settings) => Ok(Box::new(source::file::FileSourceConnector::new(settings, base_dir, limits, clock)?)),
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

/// Where a sink writes, for people.
#[must_use]
pub fn place(kind: &SinkKind, base_dir: &Path) -> String {
    match kind {
        SinkKind::File(file) => base_dir.join(&file.path).display().to_string(),
        SinkKind::Objects(objects) => objects.url.clone(),
        SinkKind::Stdout(_) => "standard output".to_owned(),
    }
}

/// Opens a sink of a topology. `encodings` has one entry for each input of the sink. May block: not for a thread of the runtime.
///
/// # Errors
/// [`ConnectError::Config`] where `encodings` is empty, [`ConnectError::Storage`] where a url cannot be used. No output is written yet.
pub fn sink(settings: &topology::Sink, around: &SinkContext, encodings: Vec<RowEncoding>) -> Result<Box<dyn SinkConnector>, ConnectError> {
    if encodings.is_empty() {
        let what = format!("sink `{}` has no input", around.sink);
        return Err(ConnectError::Config { what, help: "give it at least one `input`".to_owned() });
    }
    match &settings.kind {
        SinkKind::File(file) => Ok(Box::new(sink::file::FileSinkConnector::new(file, settings, around, encodings))),
        SinkKind::Objects(objects) => Ok(Box::new(sink::objects::ObjectsSinkConnector::open(objects, settings, around, encodings)?)),
        SinkKind::Stdout(stdout) => Ok(Box::new(sink::stdout::StdoutSinkConnector::new(stdout, encodings))),
    }
}
