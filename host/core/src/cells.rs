//! Cells of declared state as columns: the shape in which state crosses the guest boundary and rests in storage.
//!
//! A [`Chunk`] that exists is legal, apart from its slot number, which only a description can judge ([`Chunk::check_slot`]).

use crate::columns::{self, ColumnError};

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
        for (column, bytes) in
            [("keys", c.keys.len() + cell.key.len()), ("items", c.items.len() + cell.item.len()), ("values", c.values.len() + value.len())]
        {
            if u32::try_from(bytes).is_err() {
                return Err(ColumnError::TooLong { column, bytes });
            }
        }
        if cell.value.is_none() {
            c.removed.push(c.key_ends.len() as u32);
        }
        columns::push("keys", &mut c.key_ends, &mut c.keys, cell.key)?;
        columns::push("items", &mut c.item_ends, &mut c.items, cell.item)?;
        columns::push("values", &mut c.value_ends, &mut c.values, value)
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
