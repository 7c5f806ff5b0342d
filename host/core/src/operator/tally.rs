//! What an epoch of an instance amounts to: rows worked on, rows refused, crash dumps. It becomes the report of the epoch.

use super::backlog::SegmentState;
use super::state_backup::VersionedChunk;
use crate::checkpoint::faulted::FaultedRow;
use crate::checkpoint::manifest::QuarantinedRow;
use crate::codec::snapshot::SnapshotScope;
use crate::ids::Epoch;
use std::sync::Arc;

/// Refused rows that one instance may hold until the end of an epoch, in bytes.
pub const REJECTED_BYTES_MAX: usize = 256 << 20;

/// Capsules that one instance may ask for in one epoch: each has the state in it.
pub const CAPSULES_MAX: usize = 64;

/// Input that these may hold in memory until the end of the epoch, in bytes; what two of them share counts twice.
pub const CAPSULES_BYTES_MAX: u64 = 256 << 20;

/// A snapshot to be reported, full or delta.
pub type ReportedSnapshot = (SnapshotScope, Vec<Arc<VersionedChunk>>);

/// What an epoch of an instance amounts to.
#[derive(Debug)]
pub struct EpochTally<Dump> {
    /// Which epoch.
    pub epoch: Epoch,
    /// Nothing more will come.
    pub is_last: bool,
    /// Its cells; `None` where none changed.
    pub snapshot: Option<ReportedSnapshot>,
    /// The watermark that the instance was told last.
    pub watermark: i64,
    /// Rows worked on.
    pub rows: u64,
    /// Rows refused.
    pub rejected: Vec<QuarantinedRow>,
    /// Rows on which calls failed.
    pub faulted: Vec<FailedRow<Dump>>,
    /// Failed calls that are to be written down, beside those of rows.
    pub dumps: Vec<Dump>,
    /// All input that waits.
    pub parked: Vec<SegmentState>,
}

/// A row on which calls failed.
#[derive(Debug, Clone)]
pub struct FailedRow<Dump> {
    /// The row, and what happened.
    pub row: FaultedRow,
    /// What led to it, where that is to be written down.
    pub dump: Option<Dump>,
}

/// Refused rows of one epoch, up to [`REJECTED_BYTES_MAX`], and crash dumps.
#[derive(Debug)]
pub struct RefusedRows<Dump> {
    rows: Vec<QuarantinedRow>,
    faulted: Vec<FailedRow<Dump>>,
    dumps: Vec<Dump>,
    /// Capsules asked for in this epoch, and bytes of input that they hold.
    capsules: usize,
    capsules_bytes: u64,
    bytes: usize,
}

impl<Dump> Default for RefusedRows<Dump> {
    fn default() -> Self {
        Self { rows: Vec::new(), faulted: Vec::new(), dumps: Vec::new(), capsules: 0, capsules_bytes: 0, bytes: 0 }
    }
}

fn bytes(row: &QuarantinedRow) -> usize {
    row.key.len() + row.value.len() + row.reason.len() + row.origin.len() + size_of::<QuarantinedRow>()
}

impl<Dump> RefusedRows<Dump> {
    /// Keeps a row. False where the limit is passed.
    pub fn push(&mut self, row: QuarantinedRow) -> bool {
        self.bytes += bytes(&row);
        self.rows.push(row);
        self.bytes <= REJECTED_BYTES_MAX
    }

    /// Keeps a row on which calls failed. False where the limit is passed.
    pub fn push_failed(&mut self, failed: FailedRow<Dump>) -> bool {
        let row = &failed.row;
        self.bytes += bytes(&row.row) + row.backtrace.iter().chain(&row.log_tail).map(String::len).sum::<usize>();
        self.faulted.push(failed);
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
    pub fn push_dump(&mut self, dump: Dump) {
        self.dumps.push(dump);
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the rows away.
    pub fn take(&mut self) -> (Vec<QuarantinedRow>, Vec<FailedRow<Dump>>, Vec<Dump>) {
        let Self { rows, faulted, dumps, .. } = std::mem::take(self);
        (rows, faulted, dumps)
    }
}

/// The tally of the present epoch.
#[derive(Debug)]
pub(super) struct RunningTally<Dump> {
    pub rows: u64,
    pub refused: RefusedRows<Dump>,
    /// The last epoch was reported.
    pub is_closed: bool,
}

impl<Dump> RunningTally<Dump> {
    /// There is something to keep.
    pub fn has_news(&self) -> bool {
        self.rows > 0 || self.refused.bytes() > 0
    }
}

impl<Dump> Default for RunningTally<Dump> {
    fn default() -> Self {
        Self { rows: 0, refused: RefusedRows::default(), is_closed: false }
    }
}
