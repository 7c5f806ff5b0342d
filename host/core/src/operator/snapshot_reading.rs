//! A snapshot that is read over several turns.

use super::contract::Guest;
use super::state_backup::VersionedChunk;
use crate::codec::snapshot::SnapshotScope;
use std::sync::Arc;
use std::time::Duration;

/// A snapshot that was read, and how long that took without pauses.
pub(super) struct Snapshot {
    pub chunks: Vec<Arc<VersionedChunk>>,
    pub took: Duration,
}

/// A snapshot that is being read.
pub(super) struct UnderWay<Reading> {
    pub reading: Reading,
    pub scope: SnapshotScope,
    pub snapshot: Snapshot,
    /// A full one that was asked for.
    pub is_asked: bool,
    /// It belongs to no end of an epoch: it was due before a call.
    pub is_local: bool,
}

/// The reading of snapshots of an instance.
pub(super) struct SnapshotReading<G: Guest> {
    /// The last snapshot that was asked for.
    pub scope: SnapshotScope,
    /// It is not at its end yet.
    pub under_way: Option<UnderWay<G::Reading>>,
    /// When the present epoch was worked off, and its snapshot begun.
    pub ending_since: Option<Duration>,
}

impl<G: Guest> Default for SnapshotReading<G> {
    fn default() -> Self {
        Self { scope: SnapshotScope::Full, under_way: None, ending_since: None }
    }
}
