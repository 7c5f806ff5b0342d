//! Pieces of snapshots: cells in columns, filled up to a number of bytes.

use crate::short;

/// What a cell counts beside its bytes, for its three ends.
const ENDS_BYTES: usize = 12;

/// Cells of one slot, as `wit/state.wit` has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Place of the slot among the declared ones.
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
    /// Indices of the cells that were removed, strictly increasing.
    pub removed: Vec<u32>,
}

/// One cell of a chunk: key, item, and the value unless it was removed.
pub type CellBytes<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

impl Chunk {
    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.key_ends.len()
    }

    /// True where there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key_ends.is_empty()
    }

    /// Checks that the columns are legal: they come from storage by way of the host.
    ///
    /// # Errors
    /// What is wrong: a fault of one of them.
    pub fn check(&self) -> Result<(), String> {
        if self.item_ends.len() != self.len() || self.value_ends.len() != self.len() {
            return Err("its columns differ in length".to_owned());
        }
        if !(fits(&self.key_ends, &self.keys) && fits(&self.item_ends, &self.items) && fits(&self.value_ends, &self.values)) {
            return Err("its ends do not fit its bytes".to_owned());
        }
        if !self.removed.is_sorted_by(|a, b| a < b) {
            return Err("its removed cells are not in order".to_owned());
        }
        Ok(())
    }

    /// The cell of an index below [`Chunk::len`], of a chunk that was checked.
    #[inline]
    #[must_use]
    pub fn cell(&self, at: usize) -> CellBytes<'_> {
        let is_removed = !self.removed.is_empty() && self.removed.binary_search(&(at as u32)).is_ok();
        let value = slice(&self.value_ends, &self.values, at);
        (self.key(at), slice(&self.item_ends, &self.items, at), (!is_removed).then_some(value))
    }

    /// The key of that cell.
    #[inline]
    #[must_use]
    pub fn key(&self, at: usize) -> &[u8] {
        slice(&self.key_ends, &self.keys, at)
    }
}

/// True where each end is at or after the one before, and none is past the bytes.
fn fits(ends: &[u32], bytes: &[u8]) -> bool {
    ends.is_sorted() && ends.last().is_none_or(|&last| last as usize <= bytes.len())
}

#[inline]
fn slice<'a>(ends: &[u32], bytes: &'a [u8], at: usize) -> &'a [u8] {
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    &bytes[start..ends[at] as usize]
}

/// A piece of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Cells, one chunk a slot.
    pub chunks: Vec<Chunk>,
    /// The snapshot was read to its end.
    pub done: bool,
}

/// Takes cells until a piece is full.
#[derive(Debug)]
pub struct PartWriter {
    chunks: Vec<Chunk>,
    chunk: Chunk,
    used_bytes: usize,
    bytes_max: usize,
    cells: usize,
}

impl PartWriter {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { chunks: Vec::new(), chunk: Chunk::default(), used_bytes: 0, bytes_max, cells: 0 }
    }

    /// The cells that follow are of this slot.
    pub(crate) fn start_slot(&mut self, slot: u32) {
        self.end_slot();
        self.chunk.slot = slot;
    }

    fn end_slot(&mut self) {
        if !self.chunk.key_ends.is_empty() {
            self.chunks.push(std::mem::take(&mut self.chunk));
        }
    }

    pub(crate) fn finish(mut self, done: bool) -> Part {
        self.end_slot();
        Part { chunks: self.chunks, done }
    }

    /// Appends a cell, removed where there is no `value`. False where it does not fit any more: then nothing was appended. The first cell
    /// of a piece always fits.
    ///
    /// # Errors
    /// Where the value cannot be encoded.
    pub fn push<V: crate::Cell>(&mut self, key: &[u8], item: &[u8], value: Option<&V>) -> Result<bool, String> {
        let chunk = &mut self.chunk;
        let start = chunk.values.len();
        if let Some(value) = value {
            value.encode(&mut chunk.values)?;
        }
        let bytes = key.len() + item.len() + (chunk.values.len() - start) + ENDS_BYTES;
        if self.cells > 0 && self.used_bytes + bytes > self.bytes_max {
            chunk.values.truncate(start);
            return Ok(false);
        }
        self.cells += 1;
        self.used_bytes += bytes;
        if value.is_none() {
            chunk.removed.push(chunk.key_ends.len() as u32);
        }
        short::append(&mut chunk.keys, key);
        chunk.key_ends.push(chunk.keys.len() as u32);
        short::append(&mut chunk.items, item);
        chunk.item_ends.push(chunk.items.len() as u32);
        chunk.value_ends.push(chunk.values.len() as u32);
        Ok(true)
    }
}
