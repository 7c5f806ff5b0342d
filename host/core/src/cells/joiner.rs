//! Small chunks that follow each other become larger ones.

use super::Chunk;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Chunks that follow each other are joined up to this size as they come from a guest. It is the least that a topology may set as the size of a
/// snapshot's part. What the host folds has chunks of 1 MiB, whatever the size of a part is.
pub const JOINED_BYTES_MAX: usize = 64 << 10;

impl Chunk {
    /// Bytes of all columns.
    fn stored_bytes(&self) -> usize {
        let c = &self.columns;
        self.size_bytes() + size_of::<u32>() * (3 * c.key_ends.len() + c.removed.len())
    }

    /// Appends the cells of another chunk of the same slot, where both together have at most `bytes_max`. Gives it back where they do not fit.
    fn join(&mut self, other: Chunk, bytes_max: usize) -> Option<Chunk> {
        if self.slot() != other.slot() || self.stored_bytes() + other.stored_bytes() > bytes_max {
            return Some(other);
        }
        // Never too long: `bytes_max` is far below 4 GiB.
        self.append(&other, 0..other.len()).is_err().then_some(other)
    }
}

/// Joins small chunks of each slot as they come, up to [`JOINED_BYTES_MAX`]. Empty ones are left out.
///
/// A guest may hand out its cells one by one. Of two chunks of a slot that come out one after the other, both together have more than the
/// limit, so the number of chunks, and the memory that they take, depends on the bytes of the state and not on how it was cut. The order
/// within a slot stays; those of different slots are in no certain order.
#[derive(Debug, Default)]
pub struct Joiner {
    /// The last chunk of each slot, to which the next one may be joined.
    open: BTreeMap<u32, Chunk>,
}

impl Joiner {
    /// Takes a chunk. Gives the one before it in its slot where the two were not joined: nothing will be joined to that one any more.
    pub fn push(&mut self, chunk: Chunk) -> Option<Chunk> {
        if chunk.is_empty() {
            return None;
        }
        match self.open.entry(chunk.slot()) {
            Entry::Vacant(place) => {
                place.insert(chunk);
                None
            }
            Entry::Occupied(mut place) => {
                let next = place.get_mut().join(chunk, JOINED_BYTES_MAX)?;
                let mut closed = place.insert(next);
                closed.shrink();
                Some(closed)
            }
        }
    }

    /// The last chunk of each slot, in the order of slots.
    pub fn finish(self) -> impl Iterator<Item = Chunk> {
        self.open.into_values().map(|mut chunk| {
            chunk.shrink();
            chunk
        })
    }
}

/// Puts the chunks of each slot side by side, in the order in which they came, and joins small ones as a [`Joiner`] does.
#[must_use]
pub fn merge_neighbours(chunks: Vec<Chunk>) -> Vec<Chunk> {
    let mut joiner = Joiner::default();
    let mut merged: Vec<Chunk> = chunks.into_iter().filter_map(|chunk| joiner.push(chunk)).collect();
    merged.extend(joiner.finish());
    // Stable: the order within a slot may matter, the order of slots does not.
    merged.sort_by_key(Chunk::slot);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Cell;
    use proptest::prelude::*;

    #[test]
    fn one_cell_a_chunk_is_no_reason_for_as_many_chunks() {
        let one = |number: u32| {
            let mut chunk = Chunk::new(number % 3);
            let value = number.to_le_bytes();
            let value = (!number.is_multiple_of(5)).then_some(&value[..]);
            chunk.push(Cell { key: b"", item: b"", value }).unwrap();
            chunk
        };
        let count = (1 << 20) + 1;
        let merged = merge_neighbours((0..count).map(one).collect());
        assert_eq!(merged.iter().map(Chunk::len).sum::<usize>(), count as usize);
        // At most 20 bytes a cell.
        assert!(merged.len() <= 3 + 2 * 20 * count as usize / JOINED_BYTES_MAX, "{} chunks", merged.len());
    }

    #[test]
    fn crumbs_are_joined_as_they_come_and_take_the_memory_of_their_bytes() {
        let held = |chunk: &Chunk| {
            let c = chunk.columns();
            let ends = c.key_ends.capacity() + c.item_ends.capacity() + c.value_ends.capacity() + c.removed.capacity();
            size_of::<u32>() * ends + c.keys.capacity() + c.items.capacity() + c.values.capacity()
        };
        let mut joiner = Joiner::default();
        let mut came = Vec::new();
        let count = 60_000u32;
        for number in 0..count {
            let mut crumb = Chunk::new(number % 2);
            crumb.push(Cell { key: &number.to_le_bytes(), item: b"", value: Some(b"") }).unwrap();
            came.extend(joiner.push(crumb));
            assert!(joiner.push(Chunk::new(7)).is_none(), "an empty chunk is left out");
            assert!(joiner.open.values().map(held).sum::<usize>() <= 2 * 2 * JOINED_BYTES_MAX);
        }
        assert_eq!(joiner.open.len(), 2);
        came.extend(joiner.finish());
        let (cells, bytes) = (came.iter().map(Chunk::len).sum::<usize>(), came.iter().map(Chunk::stored_bytes).sum::<usize>());
        assert_eq!((cells, bytes), (count as usize, 16 * count as usize));
        assert!(came.len() <= 2 + 2 * bytes / JOINED_BYTES_MAX, "{} chunks", came.len());
        assert_eq!(came.iter().map(held).sum::<usize>(), bytes);
        for slot in 0..2 {
            let keys = came.iter().filter(|chunk| chunk.slot() == slot).flat_map(Chunk::cells);
            assert!(keys.map(|cell| cell.key.to_vec()).eq((slot..count).step_by(2).map(|number| number.to_le_bytes().to_vec())));
        }
    }

    proptest! {
        #[test]
        fn merged_chunks_hold_the_cells_of_each_slot_in_their_order(
            given in proptest::collection::vec((0..3u32, proptest::collection::vec((0..4usize, proptest::option::of(0..30_000usize)), 0..6)), 0..30),
        ) {
            let chunks: Vec<Chunk> = given.iter().map(|(slot, cells)| {
                let mut chunk = Chunk::new(*slot);
                for (place, (key, value)) in cells.iter().enumerate() {
                    let value = value.map(|length| vec![place as u8; length]);
                    chunk.push(Cell { key: &vec![b'k'; *key], item: &[*key as u8], value: value.as_deref() }).unwrap();
                }
                chunk
            }).collect();
            let merged = merge_neighbours(chunks.clone());
            for slot in 0..3 {
                let cells = |chunks: &[Chunk]| -> Vec<_> {
                    let of_slot = chunks.iter().filter(|chunk| chunk.slot() == slot);
                    of_slot.flat_map(Chunk::cells).map(|cell| (cell.key.to_vec(), cell.item.to_vec(), cell.value.map(<[u8]>::to_vec))).collect()
                };
                prop_assert_eq!(cells(&merged), cells(&chunks));
            }
            for chunk in &merged {
                prop_assert_eq!(&Chunk::from_columns(chunk.columns().clone()).unwrap(), chunk);
            }
            for pair in merged.windows(2) {
                let bytes = pair[0].stored_bytes() + pair[1].stored_bytes();
                prop_assert!(pair[0].slot() != pair[1].slot() || bytes > JOINED_BYTES_MAX);
            }
        }
    }
}
