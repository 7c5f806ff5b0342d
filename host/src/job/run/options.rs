//! How a job is run, and how it ends.

use crate::clock::Clock;
use crate::job::notice::Watch;
use crate::job::recovery::StartFrom;
use crate::store::Intercept;
use std::sync::Arc;
use tokio::sync::watch;

/// How to run a job.
pub struct Options {
    /// Worker threads: so many instances of sources and sinks run, and at least so many of operators.
    pub workers: u32,
    /// Set to true to end with a last checkpoint.
    pub stop: watch::Receiver<bool>,
    /// Takes notices.
    pub watch: Watch,
    /// Processing time.
    pub clock: Clock,
    /// The checkpoint to begin with; `None`: the newest one that can be used.
    pub start: Option<StartFrom>,
    /// Sinks take their places over whatever these hold: output that the store does not know is taken back.
    pub adopt: bool,
    /// Name of a savepoint that the last checkpoint of the run becomes.
    pub savepoint: Option<String>,
    /// May interfere with every storage call of the job and of its sinks: to see what the job makes of faults.
    pub intercept: Option<Arc<dyn Intercept>>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All input had ended and everything is published.
    Finished,
    /// It had finished in an earlier run; nothing was done.
    AlreadyFinished,
    /// It was asked to stop; the last checkpoint is complete.
    Stopped,
}
