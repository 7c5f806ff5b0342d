//! The notices of a job: what it tells its watch. The command line turns it into lines; tests look at it directly.

use crate::connect::Recovered;
use crate::connect::sink::foreign::Foreign;
use crate::engine::{Control, OperatorEvent};
use reprise_core::ids::{Epoch, Generation};
use std::sync::Arc;
use std::time::Duration;

/// Something worth telling.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A checkpoint could not be used and was passed over.
    PassedOver {
        /// The checkpoint.
        epoch: Epoch,
        /// Why.
        reason: String,
    },
    /// A run begins.
    Started {
        /// Its generation.
        generation: Generation,
        /// The checkpoint it takes up; `None` at the beginning of a job.
        from: Option<Epoch>,
        /// Its counters.
        control: Arc<Control>,
        /// How long it took to find and read the state.
        took: Duration,
    },
    /// A sink put its output in order.
    SinkRecovered {
        /// Its name in the topology.
        sink: String,
        /// What it did.
        recovered: Recovered,
    },
    /// A sink takes over a place that held output which the store does not know, as it was asked to.
    Adopted {
        /// Its name in the topology.
        sink: String,
        /// What was there.
        what: String,
    },
    /// Something lies in the place of a sink that no sink can have put there. It is left alone.
    Foreign {
        /// The sink's name in the topology.
        sink: String,
        /// The place, for people.
        place: String,
        /// What lies there.
        foreign: Foreign,
    },
    /// A sink takes long to publish. Checkpoints go on meanwhile, up to a limit.
    SinkSlow {
        /// Its name in the topology.
        sink: String,
        /// The first epoch that waits.
        epoch: Epoch,
        /// For how long.
        since: Duration,
    },
    /// A source cannot be read again, or a sink shows rows before their checkpoint is complete.
    Weaker {
        /// The node and what is not promised, for people.
        what: String,
    },
    /// The topology differs, in names, kinds or wiring, from the one that wrote the checkpoint.
    OtherTopology,
    /// A component differs from the one that wrote the checkpoint.
    OtherComponent {
        /// The operator.
        operator: String,
    },
    /// A checkpoint is complete and its output published.
    Checkpoint(CheckpointNotice),
    /// An operator failed; the job takes up again from its last checkpoint.
    Failed {
        /// What happened, for people: several lines.
        report: String,
        /// Which retry in a row comes now.
        attempt: u32,
        /// Retries in a row after which the job stops.
        retries: u32,
        /// Wait before it.
        wait: Duration,
    },
    /// Something happened to an operator; the job goes on.
    Operator(OperatorEvent),
    /// Parked input of an operator was given up, as a person asked. The next checkpoint is without it.
    ParkedGivenUp {
        /// The operator's name in the topology.
        operator: String,
        /// Rows of it at that moment.
        rows: u64,
        /// They go to quarantine; else they are dropped.
        to_quarantine: bool,
    },
    /// The store does not answer. The job goes on with what it can, and tries again.
    StorageOut {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        reason: String,
        /// How long the job waits before it stops.
        outage_max: Duration,
    },
    /// The store answers again.
    StorageBack {
        /// How long it did not.
        after: Duration,
    },
    /// Sources read nothing: too much of what they have read is in no stored checkpoint.
    SourcesPaused {
        /// How much.
        bytes: u64,
    },
    /// Sources read again.
    SourcesResumed,
    /// A savepoint was asked for and is there.
    Savepoint {
        /// Its name.
        name: String,
        /// The checkpoint that it keeps.
        epoch: Epoch,
        /// False where there was one of that name already, which stays as it is.
        is_new: bool,
    },
    /// The job had finished, and there is input that it has not read: it goes on.
    NewInput {
        /// The source.
        source: String,
        /// What there is, for people.
        what: String,
    },
    /// Rows of the quarantine are sent again.
    Replays {
        /// How many.
        rows: u64,
    },
    /// Old checkpoints were deleted.
    Swept {
        /// Manifests.
        manifests: usize,
        /// Snapshot objects.
        objects: usize,
    },
    /// Things that were kept for people were deleted: they were too old, or too much.
    Expired {
        /// What: `quarantine`, `capsules` or `components`.
        what: &'static str,
        /// How many objects.
        objects: usize,
        /// Bytes of them.
        bytes: u64,
    },
    /// Deleting old checkpoints failed; the job goes on.
    SweepFailed {
        /// Why.
        reason: String,
    },
}

/// A completed checkpoint.
#[derive(Debug, Clone)]
pub struct CheckpointNotice {
    /// Its epoch.
    pub epoch: Epoch,
    /// Bytes of snapshots written for it.
    pub bytes: u64,
    /// Cells in them.
    pub cells: u64,
    /// Bytes of all snapshots it needs.
    pub state_bytes: u64,
    /// Rows that the sources have read in the life of the job.
    pub rows: u64,
    /// Rows in quarantine in the life of the job.
    pub rejected: u64,
    /// The job is done.
    pub finished: bool,
}

/// Takes notices. Must not block for long.
pub type Watch = Arc<dyn Fn(Notice) + Send + Sync>;
