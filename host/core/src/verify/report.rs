//! What is checked, what came of it, and the words for it.

use super::{CellDifference, ChangeFault, OutputDifference};
use crate::description::Description;

/// One thing that every operator must do. The order is that in which they are tried: what comes later often fails for what failed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The reference: all rows, straight through.
    Run,
    /// It always describes itself the same.
    Describe,
    /// Another instance gives the same output for the same calls.
    Repeat,
    /// Reading snapshots changes nothing.
    Reading,
    /// Changes lead from one full snapshot to the next.
    Changes,
    /// A snapshot in small parts holds the same cells.
    Parts,
    /// A new instance goes on from a full snapshot.
    Restore,
    /// Cells may be restored in other chunks, another order, and twice.
    Chunks,
    /// A new instance goes on from a full snapshot and changes, folded or not.
    Chain,
    /// Calls that are made again on a new instance give the same output again.
    Replay,
    /// Batches may be cut anywhere.
    Batches,
    /// Batches without rows, and rows without keys.
    Empty,
    /// Output that is handed out in small pieces is the same output.
    Pieces,
    /// With less memory it ends in a fault, or goes on as before.
    Memory,
    /// Its state can be dealt out to more instances, and gathered again.
    Rescale,
}

impl Check {
    /// All of them, in order.
    pub const ALL: [Self; 15] = [
        Self::Run,
        Self::Describe,
        Self::Repeat,
        Self::Reading,
        Self::Changes,
        Self::Parts,
        Self::Restore,
        Self::Chunks,
        Self::Chain,
        Self::Replay,
        Self::Batches,
        Self::Empty,
        Self::Pieces,
        Self::Memory,
        Self::Rescale,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Describe => "describe",
            Self::Repeat => "repeat",
            Self::Reading => "reading",
            Self::Changes => "changes",
            Self::Parts => "parts",
            Self::Restore => "restore",
            Self::Chunks => "chunks",
            Self::Chain => "chain",
            Self::Replay => "replay",
            Self::Batches => "batches",
            Self::Empty => "empty",
            Self::Pieces => "pieces",
            Self::Memory => "memory",
            Self::Rescale => "rescale",
        }
    }

    /// What holds where it passes.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Run => "all rows, straight through, without a fault",
            Self::Describe => "it describes itself the same at any time",
            Self::Repeat => "a second instance gives the same output",
            Self::Reading => "reading snapshots changes nothing",
            Self::Changes => "changes lead from one full snapshot to the next",
            Self::Parts => "snapshots in small parts hold the same cells",
            Self::Restore => "new instances go on from full snapshots",
            Self::Chunks => "cells may be restored in any chunks and order, and twice",
            Self::Chain => "new instances go on from full snapshots and changes",
            Self::Replay => "calls made again give the same output again",
            Self::Batches => "batches may be cut anywhere",
            Self::Empty => "empty batches and empty keys do no harm",
            Self::Pieces => "output in small pieces is the same output",
            Self::Memory => "less memory ends in a fault or changes nothing",
            Self::Rescale => "keyed state moves to more instances and back",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every round went well.
    Passed {
        /// How many there were.
        rounds: u32,
    },
    /// Something is wrong with the operator.
    Failed(Box<Finding>),
    /// It says nothing about this operator: why.
    NotApplicable(String),
}

/// What is wrong with an operator, and where it showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is most likely wrong.
    pub cause: Cause,
    /// The round of the check in which it showed, from 0. With the seed it shows again.
    pub round: u32,
    /// The call at which it showed.
    pub at: Option<At>,
    /// What was expected, and what came.
    pub details: Vec<Detail>,
    /// What else is known.
    pub notes: Vec<String>,
}

impl Finding {
    /// One of which only the cause is known.
    #[must_use]
    pub fn new(cause: Cause) -> Box<Self> {
        Box::new(Self { cause, round: 0, at: None, details: Vec::new(), notes: Vec::new() })
    }

    /// At this call.
    #[must_use]
    pub fn at(mut self: Box<Self>, at: At) -> Box<Self> {
        self.at = Some(at);
        self
    }

    /// With this evidence.
    #[must_use]
    pub fn with(mut self: Box<Self>, detail: Detail) -> Box<Self> {
        self.details.push(detail);
        self
    }

    /// With this remark.
    #[must_use]
    pub fn note(mut self: Box<Self>, note: impl Into<String>) -> Box<Self> {
        self.notes.push(note.into());
        self
    }
}

/// A call of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Its number, from 1, in the order of the run.
    pub number: u64,
    /// Which call.
    pub call: CheckedCall,
}

/// A call that may fail, or give something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckedCall {
    /// `process`.
    Process {
        /// Index of the input.
        input: u32,
        /// Rows that it was given.
        rows: usize,
    },
    /// `advance`, with this watermark.
    Advance(i64),
    /// The snapshot that is read after that call.
    Snapshot,
    /// The new instance that is restored after that call.
    Restore,
}

/// What was expected, and what came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// Of a row.
    Output(OutputDifference),
    /// Of a cell.
    Cell(CellDifference),
    /// Of the description.
    Description {
        /// What it said first.
        expected: Box<Description>,
        /// What it said later.
        came: Box<Description>,
    },
}

/// What is wrong with an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A call ended in a fault.
    Fault,
    /// The description changes.
    Description,
    /// The same rows come in another order on another instance.
    Order,
    /// The same calls give other output on another instance.
    Nondeterminism,
    /// What a snapshot is read for changes what comes after it.
    SnapshotMutates,
    /// Something is kept that no cell holds.
    Undeclared,
    /// Cells after a run are not those of the straight run, though the outputs are.
    StateDiverges,
    /// A cell is not among the changes, or is there wrongly.
    Changes(ChangeFault),
    /// Changes are left where nothing was called since the last snapshot.
    ChangesLeft,
    /// Cells that were just restored count as changed.
    RestoreCountsAsChange,
    /// A slot that is not keyed has a cell with a key.
    KeyInUnkeyedSlot,
    /// A snapshot in small parts holds other cells.
    Parts,
    /// A cell is not what was restored.
    Restore,
    /// A cell is not what was restored, once it was restored twice.
    RestoreTwice,
    /// A cell is not what was restored, once the cells came in other chunks.
    RestoreChunks,
    /// Output depends on where batches are cut.
    Batches,
    /// A batch without rows did something.
    EmptyBatch,
    /// Output in small pieces is other output.
    Pieces,
    /// With less memory there is other output, and no fault.
    Memory,
    /// Output depends on how many instances there are, or cells do not go where the rows of their keys go.
    Rescale,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::Fault,
        Self::Description,
        Self::Order,
        Self::Nondeterminism,
        Self::SnapshotMutates,
        Self::Undeclared,
        Self::StateDiverges,
        Self::Changes(ChangeFault::SetMissing),
        Self::Changes(ChangeFault::RemovalMissing),
        Self::Changes(ChangeFault::FullMissing),
        Self::Changes(ChangeFault::OtherValue),
        Self::Changes(ChangeFault::RemovedButThere),
        Self::ChangesLeft,
        Self::RestoreCountsAsChange,
        Self::KeyInUnkeyedSlot,
        Self::Parts,
        Self::Restore,
        Self::RestoreTwice,
        Self::RestoreChunks,
        Self::Batches,
        Self::EmptyBatch,
        Self::Pieces,
        Self::Memory,
        Self::Rescale,
    ];

    /// Its name for scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Description => "description-changes",
            Self::Order => "iteration-order",
            Self::Nondeterminism => "nondeterminism",
            Self::SnapshotMutates => "snapshot-mutates",
            Self::Undeclared => "undeclared-state",
            Self::StateDiverges => "state-diverges",
            Self::Changes(ChangeFault::SetMissing) => "change-missing",
            Self::Changes(ChangeFault::RemovalMissing) => "removal-missing",
            Self::Changes(ChangeFault::FullMissing) => "cell-missing-in-full",
            Self::Changes(ChangeFault::OtherValue) => "change-differs-from-full",
            Self::Changes(ChangeFault::RemovedButThere) => "removed-but-in-full",
            Self::ChangesLeft => "changes-left",
            Self::RestoreCountsAsChange => "restore-counts-as-change",
            Self::KeyInUnkeyedSlot => "key-in-unkeyed-slot",
            Self::Parts => "parts-differ",
            Self::Restore => "restore-differs",
            Self::RestoreTwice => "restore-twice-differs",
            Self::RestoreChunks => "restore-chunks-differ",
            Self::Batches => "batch-boundaries",
            Self::EmptyBatch => "empty-batch",
            Self::Pieces => "pieces-differ",
            Self::Memory => "memory-changes-output",
            Self::Rescale => "rescale-differs",
        }
    }

    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Fault => "a call ended in a fault",
            Self::Description => "the description changes: `describe` must always answer the same",
            Self::Order => {
                "iteration order: the same rows come in another order on another instance; go through state in an order that follows from the \
                 keys, not from a hash, an address or the order in which they came"
            }
            Self::Nondeterminism => {
                "not deterministic: the same calls give other output on another instance; only declared state, rows, watermarks, and what the \
                 host answers during the call itself may count"
            }
            Self::SnapshotMutates => "reading a snapshot changes what comes after it",
            Self::Undeclared => "state that is not declared: output after a restore differs, although all cells were restored",
            Self::StateDiverges => "the outputs agree, but the state at the end does not",
            Self::Changes(ChangeFault::SetMissing) => "a cell was set, and is not in the snapshot of changes",
            Self::Changes(ChangeFault::RemovalMissing) => {
                "a cell was removed, and its removal is not in the snapshot of changes (or the full snapshot has lost it)"
            }
            Self::Changes(ChangeFault::FullMissing) => "a cell that the snapshot of changes has is missing in the full snapshot",
            Self::Changes(ChangeFault::OtherValue) => "the snapshot of changes and the full snapshot hold different values",
            Self::Changes(ChangeFault::RemovedButThere) => "the snapshot of changes removes a cell that the full snapshot has",
            Self::ChangesLeft => "a snapshot was read to its end, nothing was called since, and there are changes all the same",
            Self::RestoreCountsAsChange => "right after a restore there are changes: restored cells must not count as changed",
            Self::KeyInUnkeyedSlot => "a slot that is not keyed has a cell with a key",
            Self::Parts => "a snapshot that is read in small parts does not hold the same cells as one in a large part",
            Self::Restore => "a cell is not what was just restored",
            Self::RestoreTwice => "a cell is not what was just restored, once it was restored twice: the later one must win",
            Self::RestoreChunks => "a cell is not what was just restored, once the cells came in other chunks and another order",
            Self::Batches => "output depends on where batches are cut, which is another place in every run",
            Self::EmptyBatch => "a batch without rows did something",
            Self::Pieces => "output that is handed out in small pieces is not the same output",
            Self::Memory => "with less memory there is other output, and no fault: rows are lost silently",
            Self::Rescale => {
                "output depends on the number of instances: cells do not lie under the keys of the rows that need them, or something counts once an instance"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_in_order_and_have_names_of_their_own() {
        assert!(Check::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        let names: std::collections::BTreeSet<_> = Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
        let names: std::collections::BTreeSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Cause::ALL.len());
    }
}
