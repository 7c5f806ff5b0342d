//! Parked input at rest: rows and watermarks that wait for one instance of an operator, in the order in which they are to be worked on.
//!
//! ```text
//! frame ParkedHead   bincode of [`ParkedHead`]
//! frame ParkedItem   any number
//! frame ParkedEnd    bincode of [`End`]: totals, so that a lost item is noticed
//! ```
//! The payload of an item, integers least significant byte first: what u32 (0 rows, 1 a watermark), edge u32, rows u32, bytes of keys u32, bytes of
//! values u32, zero u32, watermark i64; then times (i64 each), key ends, value ends (u32 each), keys, values.

use super::frame::{self, FrameKind};
use super::{CodecError, record};
use crate::batch::{Batch, Columns};
use crate::ids::{Epoch, Generation, Instance};

/// Largest number of items in one object.
pub const ITEMS_MAX: usize = 1 << 20;
/// Largest number of edges in one object.
pub const EDGES_MAX: usize = 4096;
const ITEM_HEAD_BYTES: usize = 32;
const ROWS: u32 = 0;
const WATERMARK: u32 = 1;

/// An edge on which parked rows came.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ParkedEdge {
    /// Name of the node upstream.
    pub from: String,
    /// Which output of it; 0 for a source.
    pub port: u32,
    /// Name of the operator's input.
    pub input: String,
}

/// Whose input, and of when.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ParkedHead {
    /// Name of the job.
    pub job: String,
    /// Name of the operator in the topology.
    pub operator: String,
    /// Index of the instance.
    pub instance: Instance,
    /// The epoch in which it was written.
    pub epoch: Epoch,
    /// The run that wrote it.
    pub generation: Generation,
    /// The edges that items came on.
    pub edges: Vec<ParkedEdge>,
}

#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
struct End {
    items: u64,
    entries: u64,
}

/// Something that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkedItem {
    /// Rows.
    Rows {
        /// The edge that they came on: an index.
        edge: u32,
        /// The rows.
        rows: Batch,
    },
    /// A watermark of the node: the least of its senders.
    Watermark(i64),
}

impl ParkedItem {
    /// Entries of it, as positions count them: each row is one, and a watermark is one.
    #[must_use]
    pub fn entries(&self) -> u64 {
        if let Self::Rows { rows, .. } = self { rows.len() as u64 } else { 1 }
    }

    /// Rows of it, and their bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        if let Self::Rows { rows, .. } = self { (rows.len() as u64, rows.size_bytes() as u64) } else { (0, 0) }
    }

    /// Rows of all these, and their bytes.
    #[must_use]
    pub fn size_of(items: &[Self]) -> (u64, u64) {
        items.iter().map(Self::size).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }
}

/// The bytes of an object.
///
/// # Errors
/// [`CodecError::Limit`] for too many items, or a batch over the frame's limit.
pub fn encode(head: &ParkedHead, items: &[ParkedItem]) -> Result<Vec<u8>, CodecError> {
    if items.len() > ITEMS_MAX {
        return Err(CodecError::Limit { what: "parked items", claimed: items.len() as u64, max: ITEMS_MAX as u64 });
    }
    let mut out = Vec::new();
    record::append(&mut out, FrameKind::ParkedHead, head)?;
    let none = Batch::new();
    for item in items {
        let (what, edge, rows, watermark) = match item {
            ParkedItem::Rows { edge, rows } => (ROWS, *edge, rows, 0),
            ParkedItem::Watermark(watermark) => (WATERMARK, 0, &none, *watermark),
        };
        frame::append(&mut out, FrameKind::ParkedItem, |out| {
            for number in [what, edge, rows.len() as u32, rows.keys().len() as u32, rows.values().len() as u32, 0] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            for number in [&watermark].into_iter().chain(rows.times()) {
                out.extend_from_slice(&number.to_le_bytes());
            }
            for end in rows.key_ends().iter().chain(rows.value_ends()) {
                out.extend_from_slice(&end.to_le_bytes());
            }
            out.extend_from_slice(rows.keys());
            out.extend_from_slice(rows.values());
        })?;
    }
    let end = End { items: items.len() as u64, entries: items.iter().map(ParkedItem::entries).sum() };
    record::append(&mut out, FrameKind::ParkedEnd, &end)?;
    Ok(out)
}

/// Reads a whole object.
///
/// # Errors
/// Damaged, foreign or incomplete bytes, rows that break the law of columns, and edges that the head does not have.
pub fn read(bytes: &[u8]) -> Result<(ParkedHead, Vec<ParkedItem>), CodecError> {
    let (payload, rest) = frame::expect(bytes, FrameKind::ParkedHead)?;
    let head: ParkedHead = record::payload(payload)?;
    let edges = head.edges.len();
    if edges > EDGES_MAX {
        return Err(CodecError::Limit { what: "edges of parked input", claimed: edges as u64, max: EDGES_MAX as u64 });
    }
    let kinds = (FrameKind::ParkedItem, FrameKind::ParkedEnd);
    let (items, end) = frame::sequence(rest, kinds, ("the parked input", "parked items", ITEMS_MAX), |payload| read_item(payload, edges))?;
    let (end, entries): (End, u64) = (record::payload(end)?, items.iter().map(ParkedItem::entries).sum());
    if (end.items, end.entries) != (items.len() as u64, entries) {
        return Err(CodecError::Content(format!("{entries} parked entries are there, {} were written", end.entries)));
    }
    Ok((head, items))
}

fn read_item(payload: &[u8], edges: usize) -> Result<ParkedItem, CodecError> {
    let truncated = |needed: u64| CodecError::Truncated { what: "parked rows", needed, found: payload.len() as u64 };
    let Some((head, mut rest)) = payload.split_at_checked(ITEM_HEAD_BYTES) else { return Err(truncated(ITEM_HEAD_BYTES as u64)) };
    let small = |bytes: &[u8]| -> Vec<u32> { bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect() };
    let large = |bytes: &[u8]| -> Vec<i64> { bytes.as_chunks::<8>().0.iter().map(|eight| i64::from_le_bytes(*eight)).collect() };
    let [what, edge, rows, keys, values, _, _, _] = small(head)[..] else { return Err(truncated(ITEM_HEAD_BYTES as u64)) };
    let needed = ITEM_HEAD_BYTES as u64 + 16 * u64::from(rows) + u64::from(keys) + u64::from(values);
    if needed != payload.len() as u64 {
        return Err(truncated(needed));
    }
    match what {
        WATERMARK if rows == 0 => Ok(ParkedItem::Watermark(large(&head[24..]).first().copied().unwrap_or(i64::MIN))),
        ROWS if (edge as usize) < edges => {
            let mut take = |bytes: usize| {
                let (head, tail) = rest.split_at(bytes);
                rest = tail;
                head
            };
            let rows = rows as usize;
            let columns = Columns {
                times: large(take(8 * rows)),
                key_ends: small(take(4 * rows)),
                value_ends: small(take(4 * rows)),
                keys: take(keys as usize).to_vec(),
                values: take(values as usize).to_vec(),
            };
            let rows = Batch::from_columns(columns).map_err(|error| CodecError::Content(error.to_string()))?;
            Ok(ParkedItem::Rows { edge, rows })
        }
        _ => Err(CodecError::Content(format!("no parked input is of sort {what} on edge {edge} of {edges}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Row;
    use proptest::prelude::*;

    fn head() -> ParkedHead {
        let edge = |from: &str| ParkedEdge { from: from.into(), port: 0, input: "rows".into() };
        let edges = vec![edge("a"), edge("b")];
        ParkedHead { job: "j".into(), operator: "o".into(), instance: Instance(1), epoch: Epoch(2), generation: Generation(3), edges }
    }

    fn item() -> impl Strategy<Value = ParkedItem> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..5);
        let rows = (0u32..2, proptest::collection::vec((any::<i64>(), bytes(), bytes()), 1..5)).prop_map(|(edge, all)| {
            let mut rows = Batch::new();
            all.iter().for_each(|(time, key, value)| rows.push(Row { time: *time, key, value }).unwrap());
            ParkedItem::Rows { edge, rows }
        });
        prop_oneof![rows, any::<i64>().prop_map(ParkedItem::Watermark)]
    }

    proptest! {
        #[test]
        fn items_come_back_and_damage_is_noticed(items in proptest::collection::vec(item(), 0..8), at in any::<proptest::sample::Index>(), bit in 0..8u8) {
            let bytes = encode(&head(), &items).unwrap();
            prop_assert_eq!(read(&bytes).unwrap(), (head(), items));
            let at = at.index(bytes.len());
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            prop_assert!(read(&damaged).is_err());
            prop_assert!(read(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn a_lost_item_and_an_unknown_edge_are_noticed() {
        let mut rows = Batch::new();
        rows.push(Row { time: 1, key: b"k", value: b"v" }).unwrap();
        let bytes = encode(&head(), &[ParkedItem::Rows { edge: 2, rows }]).unwrap();
        assert!(matches!(read(&bytes), Err(CodecError::Content(_))));
        let bytes = encode(&head(), &[ParkedItem::Watermark(7)]).unwrap();
        let (_, rest) = frame::read(&bytes).unwrap();
        let (_, after) = frame::read(rest).unwrap();
        let without = [&bytes[..bytes.len() - rest.len()], after].concat();
        assert!(matches!(read(&without), Err(CodecError::Content(_))));
    }
}
