//! Cells of declared state as columns: the shape in which state crosses the guest boundary and rests in storage.
//!
//! A [`Chunk`] that exists is legal, apart from its slot number, which only a description can judge ([`Chunk::check_slot`]).

mod joiner;

pub use joiner::{JOINED_BYTES_MAX, Joiner, merge_neighbours};

use crate::columns::{self, ColumnError};
use std::ops::Range;

/// Cells of one slot. Mirrors `record chunk` of the WIT contract (`wit/state.wit`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    columns: ChunkColumns,
}

/// The columns of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkColumns {
    /// Index into the description's slots.
    pub slot: u32,
    /// End of each cell's key in `keys`.
    pub key_ends: Vec<u32>,
    /// Record keys, one after another.
    pub keys: Vec<u8>,
    /// End of each cell's item in `items`.
    pub item_ends: Vec<u32>,
    /// Sub-keys, one after another.
    pub items: Vec<u8>,
    /// End of each cell's value in `values`.
    pub value_ends: Vec<u32>,
    /// Values, one after another.
    pub values: Vec<u8>,
    /// Cells that were removed: indices, strictly increasing.
    pub removed: Vec<u32>,
}

/// One cell, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// The record key; empty in slots that are not keyed.
    pub key: &'a [u8],
    /// The sub-key; empty where there is one value a key.
    pub item: &'a [u8],
    /// The value, or `None` where the cell was removed.
    pub value: Option<&'a [u8]>,
}

/// Why a chunk is not legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Its columns lie.
    #[error(transparent)]
    Columns(#[from] ColumnError),
    /// The list of removed cells is not strictly increasing.
    #[error("`removed` is not strictly increasing at entry {entry}: {index} after {before}")]
    RemovedOrder {
        /// Place in the list.
        entry: usize,
        /// What stands there.
        index: u32,
        /// What stands before it.
        before: u32,
    },
    /// A removed cell that does not exist.
    #[error("`removed` names cell {index} of {cells}")]
    RemovedIndex {
        /// The index given.
        index: u32,
        /// Cells in the chunk.
        cells: usize,
    },
    /// A removed cell with a value.
    #[error("cell {index} is removed and yet has a value of {bytes} bytes")]
    RemovedValue {
        /// The cell.
        index: u32,
        /// Length of its value.
        bytes: usize,
    },
    /// A removal in a full snapshot.
    #[error("a full snapshot cannot remove cells, yet slot {slot} removes {count}")]
    RemovedInFull {
        /// The slot.
        slot: u32,
        /// Number of removed cells.
        count: usize,
    },
    /// A slot that the description does not have.
    #[error("slot {slot} does not exist; the description has {slots}")]
    Slot {
        /// The slot given.
        slot: u32,
        /// Slots that exist.
        slots: usize,
    },
}

impl Chunk {
    /// Takes columns that came from elsewhere.
    ///
    /// # Errors
    /// The first breach of the law of chunks.
    pub fn from_columns(columns: ChunkColumns) -> Result<Self, ChunkError> {
        let cells = columns.key_ends.len();
        columns::check("keys", cells, &columns.key_ends, &columns.keys)?;
        columns::check("items", cells, &columns.item_ends, &columns.items)?;
        columns::check("values", cells, &columns.value_ends, &columns.values)?;
        let mut before = None;
        for (entry, &index) in columns.removed.iter().enumerate() {
            if let Some(before) = before
                && index <= before
            {
                return Err(ChunkError::RemovedOrder { entry, index, before });
            }
            before = Some(index);
            if index as usize >= cells {
                return Err(ChunkError::RemovedIndex { index, cells });
            }
            let bytes = columns::slice(&columns.value_ends, &columns.values, index as usize).len();
            if bytes != 0 {
                return Err(ChunkError::RemovedValue { index, bytes });
            }
        }
        Ok(Self { columns })
    }

    /// An empty chunk of a slot.
    #[must_use]
    pub fn new(slot: u32) -> Self {
        Self { columns: ChunkColumns { slot, ..ChunkColumns::default() } }
    }

    /// Appends one cell.
    ///
    /// # Errors
    /// [`ColumnError::TooLong`] where a column would pass 4 GiB; the chunk is unchanged then.
    pub fn push(&mut self, cell: Cell<'_>) -> Result<(), ColumnError> {
        let c = &mut self.columns;
        let value = cell.value.unwrap_or(&[]);
        let ends = [c.keys.len() + cell.key.len(), c.items.len() + cell.item.len(), c.values.len() + value.len()];
        let [Ok(key_end), Ok(item_end), Ok(value_end)] = ends.map(u32::try_from) else {
            let (column, bytes) = ["keys", "items", "values"].into_iter().zip(ends).max_by_key(|(_, end)| *end).unwrap_or_default();
            return Err(ColumnError::TooLong { column, bytes });
        };
        if cell.value.is_none() {
            c.removed.push(c.key_ends.len() as u32);
        }
        c.keys.extend_from_slice(cell.key);
        c.key_ends.push(key_end);
        if !cell.item.is_empty() {
            c.items.extend_from_slice(cell.item);
        }
        c.item_ends.push(item_end);
        c.values.extend_from_slice(value);
        c.value_ends.push(value_end);
        Ok(())
    }

    /// Refuses a slot that the operator did not declare.
    ///
    /// # Errors
    /// [`ChunkError::Slot`].
    pub fn check_slot(&self, slots: usize) -> Result<(), ChunkError> {
        let slot = self.columns.slot;
        if (slot as usize) < slots { Ok(()) } else { Err(ChunkError::Slot { slot, slots }) }
    }

    /// Refuses removals, for chunks of a full snapshot.
    ///
    /// # Errors
    /// [`ChunkError::RemovedInFull`].
    pub fn check_full(&self) -> Result<(), ChunkError> {
        match self.columns.removed.len() {
            0 => Ok(()),
            count => Err(ChunkError::RemovedInFull { slot: self.columns.slot, count }),
        }
    }

    /// Index of the slot.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.columns.slot
    }

    /// The same cells under another slot number, where a newer version of the operator lists its slots in another order.
    #[must_use]
    pub fn with_slot(mut self, slot: u32) -> Self {
        self.columns.slot = slot;
        self
    }

    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.key_ends.len()
    }

    /// True where there are no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.key_ends.is_empty()
    }

    /// Bytes of keys, items and values.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.columns.keys.len() + self.columns.items.len() + self.columns.values.len()
    }

    /// The key of a cell.
    ///
    /// # Panics
    /// If there is no such cell.
    #[inline]
    #[must_use]
    pub fn key(&self, at: usize) -> &[u8] {
        columns::slice(&self.columns.key_ends, &self.columns.keys, at)
    }

    /// A cell.
    ///
    /// # Panics
    /// If there is no such cell.
    #[inline]
    #[must_use]
    pub fn cell(&self, at: usize) -> Cell<'_> {
        let c = &self.columns;
        let is_removed = !c.removed.is_empty() && c.removed.binary_search(&(at as u32)).is_ok();
        let value = columns::slice(&c.value_ends, &c.values, at);
        Cell { key: self.key(at), item: columns::slice(&c.item_ends, &c.items, at), value: (!is_removed).then_some(value) }
    }

    /// True where some cell was removed.
    #[must_use]
    pub fn removes_any(&self) -> bool {
        !self.columns.removed.is_empty()
    }

    /// Bytes of keys, items and values of some cells.
    pub(crate) fn bytes_of(&self, cells: &Range<usize>) -> usize {
        let c = &self.columns;
        [&c.key_ends, &c.item_ends, &c.value_ends].into_iter().map(|ends| columns::range(ends, cells).len()).sum()
    }

    /// Appends some cells of another chunk, whose slot does not count.
    ///
    /// # Errors
    /// [`ColumnError::TooLong`] where a column would pass 4 GiB; the chunk is unchanged then.
    pub(crate) fn append(&mut self, other: &Chunk, cells: Range<usize>) -> Result<(), ColumnError> {
        let (to, from) = (&mut self.columns, &other.columns);
        let rows = to.key_ends.len() as u32;
        let columns = [
            ("keys", &mut to.key_ends, &mut to.keys, &from.key_ends, &from.keys),
            ("items", &mut to.item_ends, &mut to.items, &from.item_ends, &from.items),
            ("values", &mut to.value_ends, &mut to.values, &from.value_ends, &from.values),
        ];
        for (column, _, to_bytes, from_ends, _) in &columns {
            let bytes = to_bytes.len() + columns::range(from_ends, &cells).len();
            if u32::try_from(bytes).is_err() {
                return Err(ColumnError::TooLong { column, bytes });
            }
        }
        for (_, to_ends, to_bytes, from_ends, from_bytes) in columns {
            let range = columns::range(from_ends, &cells);
            // The difference may be negative; the sums are not.
            let shift = (to_bytes.len() as u32).wrapping_sub(range.start as u32);
            to_ends.extend(from_ends[cells.clone()].iter().map(|end| end.wrapping_add(shift)));
            to_bytes.extend_from_slice(&from_bytes[range]);
        }
        let index = |cell: usize| from.removed.partition_point(|at| (*at as usize) < cell);
        let removed = &from.removed[index(cells.start)..index(cells.end)];
        to.removed.extend(removed.iter().map(|at| rows + (at - cells.start as u32)));
        Ok(())
    }

    /// The cells in order.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let c = &self.columns;
        let mut removed = c.removed.iter().copied().peekable();
        (0..self.len()).map(move |i| Cell {
            key: columns::slice(&c.key_ends, &c.keys, i),
            item: columns::slice(&c.item_ends, &c.items, i),
            value: match removed.next_if_eq(&(i as u32)) {
                Some(_) => None,
                None => Some(columns::slice(&c.value_ends, &c.values, i)),
            },
        })
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &ChunkColumns {
        &self.columns
    }

    /// Gives the columns away.
    #[must_use]
    pub fn into_columns(self) -> ChunkColumns {
        self.columns
    }
}

impl Chunk {
    /// Gives memory back that its columns hold beyond their length.
    pub(crate) fn shrink(&mut self) {
        let c = &mut self.columns;
        [&mut c.key_ends, &mut c.item_ends, &mut c.value_ends, &mut c.removed].into_iter().for_each(Vec::shrink_to_fit);
        [&mut c.keys, &mut c.items, &mut c.values].into_iter().for_each(Vec::shrink_to_fit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Chunk {
        let mut chunk = Chunk::new(1);
        chunk.push(Cell { key: b"a", item: b"", value: Some(b"1") }).unwrap();
        chunk.push(Cell { key: b"b", item: b"x", value: None }).unwrap();
        chunk.push(Cell { key: b"c", item: b"", value: Some(b"") }).unwrap();
        chunk
    }

    #[test]
    fn cells_come_back_as_they_went_in() {
        let chunk = Chunk::from_columns(sample().into_columns()).unwrap();
        let cells: Vec<_> = chunk.cells().collect();
        assert_eq!(cells[0], Cell { key: b"a", item: b"", value: Some(b"1") });
        assert_eq!(cells[1], Cell { key: b"b", item: b"x", value: None });
        assert_eq!(cells[2], Cell { key: b"c", item: b"", value: Some(b"") });
    }

    #[test]
    fn every_lie_is_named() {
        let refuse = |change: fn(&mut ChunkColumns)| {
            let mut columns = sample().into_columns();
            change(&mut columns);
            Chunk::from_columns(columns).unwrap_err()
        };
        assert!(matches!(refuse(|c| c.item_ends.truncate(1)), ChunkError::Columns(_)));
        assert!(matches!(refuse(|c| c.removed = vec![1, 1]), ChunkError::RemovedOrder { .. }));
        assert!(matches!(refuse(|c| c.removed = vec![3]), ChunkError::RemovedIndex { .. }));
        assert!(matches!(refuse(|c| c.removed = vec![0]), ChunkError::RemovedValue { .. }));
        assert!(matches!(sample().check_full(), Err(ChunkError::RemovedInFull { .. })));
        assert!(matches!(sample().check_slot(1), Err(ChunkError::Slot { .. })));
    }
}
