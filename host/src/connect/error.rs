//! What can go wrong in a connector, by what the caller has to do about it.

use crate::store::StoreError;
use crate::store::trouble::{self, Trouble};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a connector cannot go on. Rows that cannot be read are no error: see [`super::Rejected`].
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The operating system refused something. Worth a retry only where the cause is known to pass.
    #[error("cannot {doing} `{}`{}", .path.display(), advice(.doing, .source))]
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
    /// The reader of the output has gone. End the job without noise, as a filter does.
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

/// What making a folder is called in [`ConnectError::Io`].
pub(crate) const MAKE_FOLDER: &str = "make folder";

/// What to do about a refusal of the operating system, as a line of help; empty where its own words say enough.
fn advice(doing: &str, error: &io::Error) -> String {
    let is_in_the_way = doing == MAKE_FOLDER && error.kind() == ErrorKind::AlreadyExists;
    let found = if is_in_the_way { trouble::of(&ErrorKind::NotADirectory.into()) } else { trouble::of(error) };
    let Some(Trouble { what, help, is_passing, .. }) = found else { return String::new() };
    let lost = if *is_passing { "; nothing is lost" } else { "" };
    format!("\n  help: {what}: {help}, and run again{lost}")
}

impl ConnectError {
    pub(crate) fn config(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Config { what: what.into(), help: help.into() }
    }

    pub(crate) fn missing(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), help: help.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), help: help.into() }
    }

    /// For `map_err`: an I/O error with what was being done, to which path.
    pub(crate) fn io<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { doing, path: path.to_path_buf(), source }
    }

    /// What a step on a file gave; `None` where there is no such file.
    pub(crate) fn unless_absent<T>(result: io::Result<T>, doing: &'static str, path: &Path) -> Result<Option<T>, Self> {
        match result {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            result => result.map(Some).map_err(Self::io(doing, path)),
        }
    }

    /// For `map_err`: a failure of object storage with what was being done.
    pub(crate) fn storage(doing: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |error| Self::Storage { doing, source: Box::new(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_said_to_be_in_the_way_of_a_folder_only_where_a_folder_is_made() {
        let said =
            |doing: &'static str, number: i32| ConnectError::io(doing, Path::new("out"))(io::Error::from_raw_os_error(number)).to_string();
        assert!(said(MAKE_FOLDER, 17).contains("a file is where a folder should be, or the other way round: move it away, and run again"));
        assert_eq!(said("make", 17), "cannot make `out`");
        assert!(
            said("write", 28).ends_with("no space left on the disk: free space there, and run again; nothing is lost"),
            "{}",
            said("write", 28)
        );
        assert!(!said("write", 13).contains("goes on"));
    }
}
