//! What instances tell the job at the end of an epoch. The job makes it durable and passes it on to the coordinator.

use reprise_core::cells::Chunk;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::checkpoint::manifest::{QuarantinedRow, SplitPosition, StagedRef};
use reprise_core::codec::snapshot::Scope;
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
        snapshot: Option<(Scope, Vec<Chunk>)>,
        /// The watermark it was told last.
        watermark: i64,
        /// Rows worked on.
        rows: u64,
        /// Rows refused.
        rejected: Vec<QuarantinedRow>,
    },
    /// From a sink, already durable.
    Sink {
        /// Its staged output.
        staged: Option<StagedRef>,
        /// Rows written.
        rows: u64,
    },
}

/// Takes reports without waiting; an error means that nobody listens any more, and the run is over.
pub type Reporter = Arc<dyn Fn(EpochReport) -> Result<(), ReportLost> + Send + Sync>;

/// The job does not take reports any more.
#[derive(Debug, thiserror::Error)]
#[error("the job takes no more reports")]
pub struct ReportLost;

/// Refused rows that one instance may hold until the end of an epoch, in bytes.
pub const REJECTED_BYTES_MAX: usize = 256 << 20;

/// Refused rows of one epoch, up to [`REJECTED_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Refused {
    rows: Vec<QuarantinedRow>,
    bytes: usize,
}

impl Refused {
    /// Keeps a row. False where the limit is passed.
    pub fn push(&mut self, row: QuarantinedRow) -> bool {
        self.bytes += row.key.len() + row.value.len() + row.reason.len() + row.origin.len() + std::mem::size_of::<QuarantinedRow>();
        self.rows.push(row);
        self.bytes <= REJECTED_BYTES_MAX
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the rows away.
    pub fn take(&mut self) -> Vec<QuarantinedRow> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }
}
