//! What instances tell the job at the end of an epoch. The job makes it durable and passes it on to the coordinator.

use super::guest::GuestDump;
use super::parked::SegmentUnderWay;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::checkpoint::manifest::{QuarantinedRow, SplitPosition, StagedRef};
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::ids::Epoch;
use reprise_core::operator::{FailedRow, Segment, SegmentState, VersionedChunk};
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
        snapshot: Option<(SnapshotScope, Vec<Arc<VersionedChunk>>)>,
        /// The watermark it was told last.
        watermark: i64,
        /// Rows worked on.
        rows: u64,
        /// Rows refused.
        rejected: Vec<QuarantinedRow>,
        /// Rows on which calls failed.
        faulted: Vec<FailedRow<GuestDump>>,
        /// Failed calls that are to be written down, beside those of rows.
        dumps: Vec<GuestDump>,
        /// All input that waits.
        parked: Vec<SegmentState>,
    },
    /// From an operator, in the middle of an epoch or just before its report: parked input to be stored.
    Parked {
        /// Its number among the segments of the instance.
        number: u64,
        /// What waits.
        items: Segment,
        /// Is dropped once it is stored.
        under_way: SegmentUnderWay,
    },
    /// From a sink, already durable.
    Sink {
        /// Its staged output.
        staged: Option<StagedRef>,
        /// Rows written.
        rows: u64,
    },
}

/// Takes reports without waiting; an error means that the run is over.
pub type Reporter = Arc<dyn Fn(EpochReport) -> Result<(), ReportLost> + Send + Sync>;

/// The job does not take reports any more.
#[derive(Debug, thiserror::Error)]
#[error("the job takes no more reports")]
pub struct ReportLost;
