//! A snapshot object: the cells of one instance at the end of one epoch, whole or changed.
//!
//! ```text
//! frame SnapshotHead   bincode of [`SnapshotHead`]
//! frame Chunk          any number
//! frame SnapshotEnd    bincode of [`End`]: totals, so that a lost chunk frame is noticed
//! ```
//! The payload of a chunk frame, integers least significant byte first: slot u32, cells u32, removed u32, zero u32, bytes of keys u32,
//! of items u32, of values u32, zero u32; then key ends, item ends, value ends (u32 each), removed indices (u32), keys, items, values.

use super::frame::{self, FrameKind};
use super::{CodecError, record};
use crate::cells::{Chunk, ChunkColumns};
use crate::ids::{Epoch, Generation, Instance};

/// Largest number of chunks in one object.
pub const CHUNKS_MAX: usize = 1 << 20;
const CHUNK_HEAD_BYTES: usize = 32;
/// Bytes that are set aside for an object at first, whatever is expected.
const ROOM_BYTES_MAX: usize = 1 << 30;

/// Whole or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, bincode::Encode, bincode::Decode)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotScope {
    /// Every cell.
    Full,
    /// The cells that were set or removed since the snapshot before.
    Delta,
}

/// Whose cells, and of when.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SnapshotHead {
    /// Name of the job.
    pub job: String,
    /// Name of the operator in the topology.
    pub operator: String,
    /// Index of the instance.
    pub instance: Instance,
    /// The epoch at whose end it was taken.
    pub epoch: Epoch,
    /// The run that took it.
    pub generation: Generation,
    /// Whole or changed.
    pub scope: SnapshotScope,
}

#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
struct End {
    chunks: u64,
    cells: u64,
}

/// Writes a snapshot object piece by piece.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    end: End,
}

impl Writer {
    /// Begins an object.
    ///
    /// # Errors
    /// [`CodecError::Limit`] for absurdly long names.
    pub fn new(head: &SnapshotHead) -> Result<Self, CodecError> {
        Self::with_room(head, 0)
    }

    /// As [`Writer::new`], where so many bytes are expected.
    ///
    /// # Errors
    /// As [`Writer::new`].
    pub fn with_room(head: &SnapshotHead, bytes: usize) -> Result<Self, CodecError> {
        let mut out = Vec::with_capacity(bytes.min(ROOM_BYTES_MAX));
        record::append(&mut out, FrameKind::SnapshotHead, head)?;
        Ok(Self { out, end: End { chunks: 0, cells: 0 } })
    }

    /// Appends a chunk; an empty one is passed over.
    ///
    /// # Errors
    /// [`CodecError::Limit`] for a chunk over the frame's limit, or too many chunks.
    pub fn chunk(&mut self, chunk: &Chunk) -> Result<(), CodecError> {
        if chunk.is_empty() {
            return Ok(());
        }
        if self.end.chunks as usize >= CHUNKS_MAX {
            return Err(CodecError::Limit { what: "a snapshot's chunks", claimed: self.end.chunks + 1, max: CHUNKS_MAX as u64 });
        }
        let c = chunk.columns();
        frame::append(&mut self.out, FrameKind::Chunk, |out| {
            let head = [c.slot, c.key_ends.len() as u32, c.removed.len() as u32, 0];
            let sizes = [c.keys.len() as u32, c.items.len() as u32, c.values.len() as u32, 0];
            for number in head.iter().chain(&sizes).chain(&c.key_ends).chain(&c.item_ends).chain(&c.value_ends).chain(&c.removed) {
                out.extend_from_slice(&number.to_le_bytes());
            }
            for bytes in [&c.keys, &c.items, &c.values] {
                out.extend_from_slice(bytes);
            }
        })?;
        self.end.chunks += 1;
        self.end.cells += chunk.len() as u64;
        Ok(())
    }

    /// Cells written so far.
    #[must_use]
    pub fn cells(&self) -> u64 {
        self.end.cells
    }

    /// Ends the object and gives its bytes.
    ///
    /// # Errors
    /// None in practice; the frame's limit cannot be reached here.
    pub fn finish(mut self) -> Result<Vec<u8>, CodecError> {
        record::append(&mut self.out, FrameKind::SnapshotEnd, &self.end)?;
        Ok(self.out)
    }
}

/// Reads a whole snapshot object.
///
/// # Errors
/// Damaged, foreign or incomplete bytes, and chunks that break the law of chunks.
pub fn read(bytes: &[u8]) -> Result<(SnapshotHead, Vec<Chunk>), CodecError> {
    let (payload, rest) = frame::expect(bytes, FrameKind::SnapshotHead)?;
    let head: SnapshotHead = record::payload(payload)?;
    let kinds = (FrameKind::Chunk, FrameKind::SnapshotEnd);
    let (chunks, end) = frame::sequence(rest, kinds, ("the snapshot", "a snapshot's chunks", CHUNKS_MAX), |payload| {
        let chunk = read_chunk(payload)?;
        if head.scope == SnapshotScope::Full {
            chunk.check_full().map_err(|error| CodecError::Content(error.to_string()))?;
        }
        Ok(chunk)
    })?;
    let (end, cells): (End, u64) = (record::payload(end)?, chunks.iter().map(|chunk| chunk.len() as u64).sum());
    if (end.chunks, end.cells) != (chunks.len() as u64, cells) {
        return Err(CodecError::Content(format!("{} cells are there, {} were written", cells, end.cells)));
    }
    Ok((head, chunks))
}

fn read_chunk(payload: &[u8]) -> Result<Chunk, CodecError> {
    let truncated = |needed: u64| CodecError::Truncated { what: "a chunk", needed, found: payload.len() as u64 };
    if payload.len() < CHUNK_HEAD_BYTES {
        return Err(truncated(CHUNK_HEAD_BYTES as u64));
    }
    let numbers = |bytes: &[u8]| -> Vec<u32> { bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect() };
    let head = numbers(&payload[..CHUNK_HEAD_BYTES]);
    let [slot, cells, removed, _, keys, items, values, _] = head[..] else { return Err(truncated(CHUNK_HEAD_BYTES as u64)) };
    let needed =
        CHUNK_HEAD_BYTES as u64 + 12 * u64::from(cells) + 4 * u64::from(removed) + u64::from(keys) + u64::from(items) + u64::from(values);
    if needed != payload.len() as u64 {
        return Err(truncated(needed));
    }
    let mut rest = &payload[CHUNK_HEAD_BYTES..];
    let mut take = |bytes: usize| {
        let (head, tail) = rest.split_at(bytes);
        rest = tail;
        head
    };
    let ends = 4 * cells as usize;
    let columns = ChunkColumns {
        slot,
        key_ends: numbers(take(ends)),
        item_ends: numbers(take(ends)),
        value_ends: numbers(take(ends)),
        removed: numbers(take(4 * removed as usize)),
        keys: take(keys as usize).to_vec(),
        items: take(items as usize).to_vec(),
        values: take(values as usize).to_vec(),
    };
    Chunk::from_columns(columns).map_err(|error| CodecError::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Cell;
    use proptest::prelude::*;

    fn head(scope: SnapshotScope) -> SnapshotHead {
        SnapshotHead { job: "j".into(), operator: "o".into(), instance: Instance(1), epoch: Epoch(2), generation: Generation(3), scope }
    }

    /// Key, item, value.
    type Owned = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

    fn object(cells: &[Owned]) -> (Vec<Chunk>, Vec<u8>) {
        let mut writer = Writer::new(&head(SnapshotScope::Delta)).unwrap();
        let mut chunks = Vec::new();
        for (slot, group) in cells.chunks(3).enumerate() {
            let mut chunk = Chunk::new(slot as u32);
            for (key, item, value) in group {
                chunk.push(Cell { key, item, value: value.as_deref() }).unwrap();
            }
            writer.chunk(&chunk).unwrap();
            chunks.push(chunk);
        }
        (chunks, writer.finish().unwrap())
    }

    proptest! {
        #[test]
        fn cells_come_back_and_damage_is_noticed(
            cells in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..5), proptest::collection::vec(any::<u8>(), 0..5), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..5))), 0..10),
            at in any::<proptest::sample::Index>(), bit in 0..8u8,
        ) {
            let (chunks, bytes) = object(&cells);
            let (read_head, read_chunks) = read(&bytes).unwrap();
            prop_assert_eq!(read_head, head(SnapshotScope::Delta));
            prop_assert_eq!(read_chunks, chunks);
            let at = at.index(bytes.len());
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            prop_assert!(read(&damaged).is_err());
            prop_assert!(read(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn a_missing_chunk_is_noticed() {
        let (_, bytes) = object(&[(b"k".to_vec(), vec![], Some(b"v".to_vec()))]);
        let (_, rest) = frame::read(&bytes).unwrap();
        let head_bytes = bytes.len() - rest.len();
        let (_, after_chunk) = frame::read(rest).unwrap();
        let mut without = bytes[..head_bytes].to_vec();
        without.extend_from_slice(after_chunk);
        assert!(matches!(read(&without), Err(CodecError::Content(_))));
    }

    #[test]
    fn removals_in_a_full_snapshot_are_refused() {
        let mut writer = Writer::new(&head(SnapshotScope::Full)).unwrap();
        let mut chunk = Chunk::new(0);
        chunk.push(Cell { key: b"k", item: b"", value: None }).unwrap();
        writer.chunk(&chunk).unwrap();
        assert!(matches!(read(&writer.finish().unwrap()), Err(CodecError::Content(_))));
    }
}
