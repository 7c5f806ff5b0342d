//! What instances tell the job at the end of an epoch. The job makes it durable and passes it on to the coordinator.

use super::capsule::Case;
use super::image::Versioned;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::checkpoint::faulted::FaultedRow;
use reprise_core::checkpoint::manifest::{QuarantinedRow, SplitPosition, StagedRef};
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::ids::Epoch;
use std::sync::Arc;

/// What one instance has to say of one epoch. Mirrors [`reprise_core::checkpoint::coordinator::Report`], before storage.
#[derive(Debug)]
pub struct EpochReport {
    /// Who.
    pub from: Participant,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Nothing more will come.
    pub closed: bool,
    /// What.
    pub content: EpochContent,
}

/// The content of an [`EpochReport`].
#[derive(Debug)]
pub enum EpochContent {
    /// From a source.
    Source {
        /// Splits that moved.
        splits: Vec<SplitPosition>,
        /// Rows read.
        rows: u64,
        /// Rows refused.
        rejected: Vec<QuarantinedRow>,
        /// The input has ended.
        ended: bool,
    },
    /// From an operator.
    Operator {
        /// Its cells; `None` where none changed.
        snapshot: Option<(SnapshotScope, Vec<Arc<Versioned>>)>,
        /// The watermark it was told last.
        watermark: i64,
        /// Rows worked on.
        rows: u64,
        /// Rows refused.
        rejected: Vec<QuarantinedRow>,
        /// Rows on which calls failed.
        faulted: Vec<Faulted>,
        /// Failed calls that are to be written down, beside those of rows.
        cases: Vec<Case>,
    },
    /// From a sink, already durable.
    Sink {
        /// Its staged output.
        staged: Option<StagedRef>,
        /// Rows written.
        rows: u64,
    },
}

/// A row on which calls failed.
#[derive(Debug)]
pub struct Faulted {
    /// The row, and what happened.
    pub row: FaultedRow,
    /// What led to it, where that is to be written down.
    pub case: Option<Case>,
}

/// Takes reports without waiting; an error means that nobody listens any more, and the run is over.
pub type Reporter = Arc<dyn Fn(EpochReport) -> Result<(), ReportLost> + Send + Sync>;

/// The job does not take reports any more.
#[derive(Debug, thiserror::Error)]
#[error("the job takes no more reports")]
pub struct ReportLost;

/// Refused rows that one instance may hold until the end of an epoch, in bytes.
pub const REJECTED_BYTES_MAX: usize = 256 << 20;

/// Capsules that one instance may ask for in one epoch: each has the state in it.
pub const CAPSULES_MAX: usize = 64;

/// Input that these may hold in memory until the end of the epoch, in bytes; what two of them share counts twice.
pub const CAPSULES_BYTES_MAX: u64 = 256 << 20;

/// Refused rows of one epoch, up to [`REJECTED_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Refused {
    rows: Vec<QuarantinedRow>,
    faulted: Vec<Faulted>,
    cases: Vec<Case>,
    /// Capsules asked for in this epoch, and bytes of input that they hold.
    capsules: usize,
    capsules_bytes: u64,
    bytes: usize,
}

fn bytes(row: &QuarantinedRow) -> usize {
    row.key.len() + row.value.len() + row.reason.len() + row.origin.len() + std::mem::size_of::<QuarantinedRow>()
}

impl Refused {
    /// Keeps a row. False where the limit is passed.
    pub fn push(&mut self, row: QuarantinedRow) -> bool {
        self.bytes += bytes(&row);
        self.rows.push(row);
        self.bytes <= REJECTED_BYTES_MAX
    }

    /// Keeps a row on which calls failed. False where the limit is passed.
    pub fn push_faulted(&mut self, faulted: Faulted) -> bool {
        let row = &faulted.row;
        self.bytes += bytes(&row.row) + row.backtrace.iter().chain(&row.log_tail).map(String::len).sum::<usize>();
        self.faulted.push(faulted);
        self.bytes <= REJECTED_BYTES_MAX
    }

    /// True where one capsule more, which holds so many bytes of input, may be asked for in this epoch.
    pub fn takes_capsule(&mut self, bytes: u64) -> bool {
        let held = self.capsules_bytes.saturating_add(bytes);
        let takes = self.capsules < CAPSULES_MAX && held <= CAPSULES_BYTES_MAX;
        if takes {
            self.capsules += 1;
            self.capsules_bytes = held;
        }
        takes
    }

    /// Keeps a failed call that is to be written down.
    pub fn push_case(&mut self, case: Case) {
        self.cases.push(case);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the rows away.
    pub fn take(&mut self) -> (Vec<QuarantinedRow>, Vec<Faulted>, Vec<Case>) {
        let Self { rows, faulted, cases, .. } = std::mem::take(self);
        (rows, faulted, cases)
    }
}
