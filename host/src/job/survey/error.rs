//! Why a survey ends without an answer.

use crate::job::{Error, Kind};

/// Why a survey ends without an answer.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The topology cannot be read, the store does not answer, or a newer host wrote what was asked for.
    #[error(transparent)]
    Job(#[from] Error),
    /// Nothing of such a job is there.
    #[error("there is no job `{job}` in {store}\n  help: {help}")]
    NoJob {
        /// The job.
        job: String,
        /// The store.
        store: String,
        /// What to do.
        help: String,
    },
    /// The job has no such checkpoint.
    #[error("{root} has no {wanted}\n  help: {there}")]
    NoCheckpoint {
        /// The store, with the job.
        root: String,
        /// What was asked for.
        wanted: String,
        /// What is there.
        there: String,
    },
    /// The checkpoint has no such operator, slot or instance.
    #[error("{checkpoint} has no {what}\n  help: {there}")]
    NotThere {
        /// The checkpoint.
        checkpoint: String,
        /// What was asked for.
        what: String,
        /// What is there.
        there: String,
    },
    /// Rows in quarantine that no run can send again.
    #[error("{what}\n  help: {help}")]
    NotAgain {
        /// Which, and why.
        what: String,
        /// What to do.
        help: String,
    },
    /// What is stored cannot be used.
    #[error(
        "{checkpoint} cannot be used: {reason}\n  help: `reprise checkpoint verify` names every object that is damaged; another checkpoint may be whole"
    )]
    Damaged {
        /// The checkpoint.
        checkpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The state is larger than what may be kept in memory.
    #[error("operator `{operator}` has more state than {bytes_max} bytes, which is all that may be kept in memory\n  help: {help}")]
    Size {
        /// Whose state.
        operator: String,
        /// The limit: [`STATE_BYTES_MAX`](super::STATE_BYTES_MAX) or what the caller allows.
        bytes_max: u64,
        /// What to do.
        help: &'static str,
    },
}

impl SurveyError {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Job(error) => error.kind(),
            Self::NoJob { .. } | Self::NoCheckpoint { .. } | Self::NotThere { .. } | Self::NotAgain { .. } => Kind::Topology,
            Self::Damaged { .. } => Kind::Corrupt,
            Self::Size { .. } => Kind::Limit,
        }
    }
}
