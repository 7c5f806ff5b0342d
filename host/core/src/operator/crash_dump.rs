//! A crash dump: a failed call with all that led to it, so that it can be made to fail elsewhere. The job writes it down as a capsule.

use super::call::CallInput;
use super::input_log::LoggedCall;
use super::state_backup::VersionedChunk;
use crate::codec::snapshot::SnapshotScope;
use std::sync::Arc;

/// The call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailedCall {
    /// A call with rows or a watermark.
    Input(CallInput),
    /// The reading of a snapshot.
    Snapshot {
        /// Which cells.
        scope: SnapshotScope,
        /// Bytes that one part of it should have.
        part_bytes_max: u32,
    },
    /// The making of an instance that was to take over: it was opened, restored, or repeated calls.
    Start,
}

/// A crash dump. It shares all that is large with the instance.
#[derive(Debug, Clone)]
pub struct CrashDump<Call, Fault> {
    /// How many instances of the operator there are.
    pub parallelism: u32,
    /// The call of `open`.
    pub open: Call,
    /// What the instance was restored from.
    pub state: Vec<Arc<VersionedChunk>>,
    /// The calls since.
    pub calls: Vec<Arc<LoggedCall<Call>>>,
    /// What failed.
    pub failed: FailedCall,
    /// Its number and time; those of the call before where it was the reading of a snapshot.
    pub call: Call,
    /// What happened.
    pub fault: Fault,
}
