//! What can go wrong in a connector, by what the caller has to do about it.

use crate::store::StoreError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a connector cannot go on. Rows that cannot be read are no error: see [`super::Rejected`].
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The operating system refused something. Worth a retry only where the cause is known to pass.
    #[error("cannot {doing} `{}`{}", .path.display(), advice(.source))]
    Io {
        /// What was tried, as in "cannot read".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: io::Error,
    },
    /// Object storage failed, and went on failing at every retry, or refused. Nothing is lost: what was not published is published, or
    /// produced again, by the next run.
    #[error("storage failed: cannot {doing}")]
    Storage {
        /// What was being done, as in "publish output".
        doing: &'static str,
        /// What storage said.
        #[source]
        source: Box<StoreError>,
    },
    /// An input is no longer what it was when its position was taken. Going on would read wrong rows: stop the job.
    #[error(
        "input `{}` changed behind offset {offset}: {what}\n  help: put the original file back, or start the job anew with an empty checkpoint store",
        .path.display()
    )]
    Changed {
        /// The input.
        path: PathBuf,
        /// Up to here it had been read, in bytes.
        offset: u64,
        /// How it differs.
        what: String,
    },
    /// Something that must exist does not: no input matches, or output is gone that was never published. Stop the job.
    #[error("{what}\n  help: {help}")]
    Missing {
        /// What is missing, and where.
        what: String,
        /// What to do.
        help: String,
    },
    /// Something that a connector wrote itself cannot be true: a position, a token, a staged file. Walk back, or stop the job.
    #[error("{what}\n  help: {help}")]
    Corrupt {
        /// What is wrong, and where.
        what: String,
        /// What to do.
        help: String,
    },
    /// The place of a sink holds output that the job's store does not know. Stop the job before it writes anything.
    #[error("{what}\n  help: {help}")]
    Unknown {
        /// What is there, and where.
        what: String,
        /// The ways out.
        help: String,
    },
    /// The settings do not fit each other or the input. Stop the job; the topology must change.
    #[error("{what}\n  help: {help}")]
    Config {
        /// What does not fit.
        what: String,
        /// What to change.
        help: String,
    },
    /// Whoever read our output has gone. End the job without noise, as a filter does.
    #[error("the reader of {what} has gone")]
    ClosedPipe {
        /// The output.
        what: &'static str,
    },
    /// A writer was called out of order: a fault of the host, not of the data.
    #[error("sink `{sink}` was asked to {doing} epoch {epoch} after epoch {sealed} was sealed")]
    Order {
        /// The sink.
        sink: String,
        /// What was asked.
        doing: &'static str,
        /// For this epoch.
        epoch: u64,
        /// The last sealed epoch.
        sealed: u64,
    },
}

/// What to do about a refusal of the operating system, as a line of help; empty where its own words say enough.
fn advice(error: &io::Error) -> String {
    let help = match error.kind() {
        ErrorKind::StorageFull => "there is no space left on the disk: free space there, and run again; nothing is lost",
        ErrorKind::QuotaExceeded => "the quota is used up: free space or raise the quota, and run again; nothing is lost",
        ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only: mount it writable, and run again; a disk that has failed is often mounted read-only (`dmesg` says so)"
        }
        ErrorKind::PermissionDenied => {
            "this user may not do that there: give it the right (`ls -ld` shows who may), or run the job as another user"
        }
        ErrorKind::InvalidFilename => "a name is too long for the file system: use a shorter path",
        ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists => {
            "a file is where a folder should be, or the other way round: move it away, and run again"
        }
        _ => return String::new(),
    };
    format!("\n  help: {help}")
}

impl ConnectError {
    /// For `map_err`: an I/O error with what was being done, to which path.
    pub(crate) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { doing, path: path.to_path_buf(), source }
    }

    /// For `map_err`: a failure of object storage with what was being done.
    pub(crate) fn storage(doing: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |error| Self::Storage { doing, source: Box::new(error) }
    }
}
