//! What is checked, what came of it, and the words for it.

use super::{CellDifference, ChangeFault, OutputDifference};
use crate::description::Description;

/// What there is of a type, in order: the name of each and what it says.
macro_rules! told {
    ($type:ident $([$($variant:tt)+] $name:literal, $text:literal;)+) => {
        impl $type {
            /// All of them, in order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$($variant)+),+];

            /// Its name in reports and for scripts.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$($variant)+ => $name,)+
                }
            }

            /// What holds where a check passes; what is wrong where there is a cause.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$($variant)+ => $text,)+
                }
            }
        }
    };
}

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

told! { Check
    [Run] "run", "all rows, straight through, without a fault";
    [Describe] "describe", "it describes itself the same at any time";
    [Repeat] "repeat", "a second instance gives the same output";
    [Reading] "reading", "reading snapshots changes nothing";
    [Changes] "changes", "changes lead from one full snapshot to the next";
    [Parts] "parts", "snapshots in small parts hold the same cells";
    [Restore] "restore", "new instances go on from full snapshots";
    [Chunks] "chunks", "cells may be restored in any chunks and order, and twice";
    [Chain] "chain", "new instances go on from full snapshots and changes";
    [Replay] "replay", "calls made again give the same output again";
    [Batches] "batches", "batches may be cut anywhere";
    [Empty] "empty", "empty batches and empty keys do no harm";
    [Pieces] "pieces", "output in small pieces is the same output";
    [Memory] "memory", "less memory ends in a fault or changes nothing";
    [Rescale] "rescale", "keyed state moves to more instances and back";
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

told! { Cause
    [Fault] "fault", "a call ended in a fault";
    [Description] "description-changes", "the description changes: `describe` must always answer the same";
    [Order] "iteration-order",
        "iteration order: the same rows come in another order on another instance; go through state in an order that follows from the \
         keys, not from a hash, an address or the order in which they came";
    [Nondeterminism] "nondeterminism",
        "not deterministic: the same calls give other output on another instance; only declared state, rows, watermarks, and what the \
         host answers during the call itself may count";
    [SnapshotMutates] "snapshot-mutates", "reading a snapshot changes what comes after it";
    [Undeclared] "undeclared-state", "state that is not declared: output after a restore differs, although all cells were restored";
    [StateDiverges] "state-diverges", "the outputs agree, but the state at the end does not";
    [Changes(ChangeFault::SetMissing)] "change-missing", "a cell was set, and is not in the snapshot of changes";
    [Changes(ChangeFault::RemovalMissing)] "removal-missing",
        "a cell was removed, and its removal is not in the snapshot of changes (or the full snapshot has lost it)";
    [Changes(ChangeFault::FullMissing)] "cell-missing-in-full", "a cell that the snapshot of changes has is missing in the full snapshot";
    [Changes(ChangeFault::OtherValue)] "change-differs-from-full", "the snapshot of changes and the full snapshot hold different values";
    [Changes(ChangeFault::RemovedButThere)] "removed-but-in-full", "the snapshot of changes removes a cell that the full snapshot has";
    [ChangesLeft] "changes-left", "a snapshot was read to its end, nothing was called since, and there are changes all the same";
    [RestoreCountsAsChange] "restore-counts-as-change",
        "right after a restore there are changes: restored cells must not count as changed";
    [KeyInUnkeyedSlot] "key-in-unkeyed-slot", "a slot that is not keyed has a cell with a key";
    [Parts] "parts-differ", "a snapshot that is read in small parts does not hold the same cells as one in a large part";
    [Restore] "restore-differs", "a cell is not what was just restored";
    [RestoreTwice] "restore-twice-differs", "a cell is not what was just restored, once it was restored twice: the later one must win";
    [RestoreChunks] "restore-chunks-differ", "a cell is not what was just restored, once the cells came in other chunks and another order";
    [Batches] "batch-boundaries", "output depends on where batches are cut, which is another place in every run";
    [EmptyBatch] "empty-batch", "a batch without rows did something";
    [Pieces] "pieces-differ", "output that is handed out in small pieces is not the same output";
    [Memory] "memory-changes-output", "with less memory there is other output, and no fault: rows are lost silently";
    [Rescale] "rescale-differs",
        "output depends on the number of instances: cells do not lie under the keys of the rows that need them, or something counts \
         once an instance";
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
