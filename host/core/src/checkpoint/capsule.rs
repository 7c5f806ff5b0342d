//! A capsule: one failed call of an operator with everything that is needed to make it fail again elsewhere.
//!
//! It holds the state that the instance was restored from, the calls that it made since, and the call that failed. A guest is a function of
//! these and of what the host answers it, which follows from them too.

use crate::batch::{Batch, Columns};
use crate::cells::{Chunk, ChunkColumns};
use crate::codec::frame::FrameKind;
use crate::codec::record::Record;
use crate::codec::snapshot::SnapshotScope;
use crate::ids::{Digest, Epoch, Instance};
use bincode::{Decode, Encode};

/// A capsule: one failed call, and all that led to it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
// Wide: it is the record on storage, in one piece.
pub struct Capsule {
    /// The job.
    pub job: String,
    /// The operator's name in the topology.
    pub operator: String,
    /// Line of the operator in the topology file, from 1.
    pub line: u32,
    /// Index of the instance.
    pub instance: Instance,
    /// How many instances of the operator there were.
    pub parallelism: u32,
    /// The epoch in which the call failed.
    pub epoch: Epoch,
    /// The operator's configuration, JSON.
    pub config: String,
    /// SHA-256 of the component.
    pub component: Digest,
    /// The component; `None` where it was too large to go along.
    pub component_bytes: Option<Vec<u8>>,
    /// What the instance might use, by name.
    pub limits: Vec<(String, u64)>,
    /// Names of the environment variables that were granted; their values may be secrets, and stay behind.
    pub variables: Vec<String>,
    /// The folders that were granted, as the guest saw them.
    pub folders: Vec<String>,
    /// The call of `open`.
    pub open: CallStamp,
    /// What was restored, in this order.
    pub state: Vec<CapsuleCells>,
    /// The calls since, with what came of each.
    pub calls: Vec<CapsuleCall>,
    /// The number of the call that failed. A snapshot is read under the number and the time of the call before it.
    pub failed: CallStamp,
    /// What it was given.
    pub given: CapsuleInput,
    /// What happened.
    pub fault: CapsuleFault,
}

impl Record for Capsule {
    const KIND: FrameKind = FrameKind::Capsule;
}

/// The number and the time of a call: what `random` and `now` follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct CallStamp {
    /// Its number.
    pub number: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: i64,
}

/// Cells of one slot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CapsuleCells {
    /// The version of the slot in the component that wrote them.
    pub version: u32,
    slot: u32,
    key_ends: Vec<u32>,
    keys: Vec<u8>,
    item_ends: Vec<u32>,
    items: Vec<u8>,
    value_ends: Vec<u32>,
    values: Vec<u8>,
    removed: Vec<u32>,
}

impl CapsuleCells {
    /// The cells of a chunk.
    #[must_use]
    pub fn new(version: u32, chunk: &Chunk) -> Self {
        let ChunkColumns { slot, key_ends, keys, item_ends, items, value_ends, values, removed } = chunk.columns().clone();
        Self { version, slot, key_ends, keys, item_ends, items, value_ends, values, removed }
    }

    /// The chunk, checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn chunk(self) -> Result<Chunk, String> {
        let Self { slot, key_ends, keys, item_ends, items, value_ends, values, removed, .. } = self;
        let columns = ChunkColumns { slot, key_ends, keys, item_ends, items, value_ends, values, removed };
        Chunk::from_columns(columns).map_err(|error| error.to_string())
    }
}

/// What a call was given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum CapsuleInput {
    /// Rows of one of the operator's inputs.
    Rows {
        /// Its index.
        input: u32,
        /// The rows.
        rows: CapsuleRows,
    },
    /// A watermark.
    Watermark(i64),
    /// Nothing: its snapshot was read.
    Snapshot {
        /// Which cells.
        scope: SnapshotScope,
        /// Bytes that one part of it should have.
        part_bytes_max: u32,
    },
    /// Nothing: a fresh instance was to take over, and failed when it was opened, restored, or made one of the calls before again.
    Start,
}

/// Rows as columns.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CapsuleRows {
    times: Vec<i64>,
    key_ends: Vec<u32>,
    keys: Vec<u8>,
    value_ends: Vec<u32>,
    values: Vec<u8>,
}

impl CapsuleRows {
    /// The rows of a batch.
    #[must_use]
    pub fn new(batch: &Batch) -> Self {
        Self {
            times: batch.times().to_vec(),
            key_ends: batch.key_ends().to_vec(),
            keys: batch.keys().to_vec(),
            value_ends: batch.value_ends().to_vec(),
            values: batch.values().to_vec(),
        }
    }

    /// The batch, checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn batch(self) -> Result<Batch, String> {
        let Self { times, key_ends, keys, value_ends, values } = self;
        Batch::from_columns(Columns { times, key_ends, keys, value_ends, values }).map_err(|error| error.to_string())
    }
}

/// A call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CapsuleCall {
    /// Its number and time.
    pub call: CallStamp,
    /// What it was given.
    pub given: CapsuleInput,
    /// Digest of what it returned.
    pub digest: u64,
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CapsuleFault {
    /// Which call: `process`, `advance`, `resume` or `snapshot`; of a start `instantiate`, `open` or `restore`, too.
    pub call: String,
    /// `trap`, `deadline`, `memory`, `table`, `stack`, `host-calls`, `returned`, `lie` or `instance`.
    pub kind: String,
    /// For people.
    pub message: String,
    /// Names of the guest's functions, innermost first.
    pub backtrace: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Row;
    use crate::cells::Cell;

    #[test]
    fn columns_come_back_and_lies_are_refused() {
        let mut chunk = Chunk::new(2);
        chunk.push(Cell { key: b"a", item: b"i", value: Some(b"1") }).unwrap();
        chunk.push(Cell { key: b"b", item: b"", value: None }).unwrap();
        let cells = CapsuleCells::new(7, &chunk);
        assert_eq!((cells.version, cells.clone().chunk()), (7, Ok(chunk)));
        assert!(CapsuleCells { removed: vec![5], ..cells }.chunk().unwrap_err().contains("removed"));
        let mut batch = Batch::new();
        batch.push(Row { time: 1, key: b"k", value: b"v" }).unwrap();
        let rows = CapsuleRows::new(&batch);
        assert_eq!(rows.clone().batch(), Ok(batch));
        assert!(CapsuleRows { keys: Vec::new(), ..rows }.batch().is_err());
    }
}
