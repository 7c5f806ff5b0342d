//! Declared state: typed fields that know what changed since the last snapshot.
//!
//! | field | cells | kind |
//! |---|---|---|
//! | [`Value<T>`] | one | stays with the instance |
//! | [`Keyed<V>`] | one a record key | moves with the key |
//! | [`KeyedItems<V>`] | any number a record key, each under an item | moves with the key |
//!
//! A cell that was set or removed since the last snapshot that was read to its end is *changed*; the field remembers which they are, so
//! that a snapshot of changes costs what changed and not what there is. Removed cells stay as tombstones until then. Restored cells
//! count as unchanged.

mod bits;
mod index;
mod items;
mod key;
mod keyed;
mod part;
mod table;
#[cfg(test)]
mod tests;
mod value;

pub use items::KeyedItems;
pub use keyed::Keyed;
pub use part::{Chunk, Part, PartWriter};
pub(crate) use table::GROUP;
pub use value::Value;

use crate::rows::RowsIter;
use crate::{Cell, Encoding};

/// Who keeps a cell when the number of instances changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// Moves with its key.
    Keyed,
    /// Stays with the instance index.
    Instance,
    /// The same everywhere.
    Broadcast,
}

/// Which cells a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every cell.
    Full,
    /// Those set or removed since the last snapshot that was read to its end.
    Changes,
}

/// A field of an operator that is declared state.
pub trait Slot {
    /// Who keeps its cells.
    fn kind(&self) -> SlotKind;

    /// How its values are to be read.
    fn encoding(&self) -> Encoding;

    /// True where it holds no cell.
    fn is_empty(&self) -> bool;

    /// Goes back to the first cell of a snapshot.
    fn rewind(&mut self);

    /// Writes the next cells of the snapshot until the part is full. True where there are no more.
    ///
    /// # Errors
    /// Where a value cannot be encoded.
    fn read(&mut self, scope: Scope, part: &mut PartWriter) -> Result<bool, String>;

    /// A snapshot was read to its end: no cell is changed any more.
    fn forget_changes(&mut self);

    /// Sets the cells of a chunk, one after the other.
    ///
    /// # Errors
    /// The first that cannot be decoded.
    fn restore_all(&mut self, chunk: &Chunk, older: Option<u32>) -> Result<(), Unreadable> {
        restore_each(self, chunk, older)
    }

    /// Sets a cell, or removes it where `value` is `None`; the cell is not changed by it.
    ///
    /// # Errors
    /// Where the bytes cannot be decoded.
    fn restore(&mut self, key: &[u8], item: &[u8], value: Option<Written<'_>>) -> Result<(), String>;

    /// True where it holds so much that a look at the cells of several rows at once pays.
    #[doc(hidden)]
    fn is_large(&self) -> bool {
        false
    }

    /// Looks at the cells of the keys of the first of these rows, so that they are near when they are asked for. Changes nothing.
    #[doc(hidden)]
    fn warm(&self, rows: RowsIter<'_>) {
        let _ = rows;
    }
}

/// Sets the cells of a chunk, one after the other.
fn restore_each<S: Slot + ?Sized>(slot: &mut S, chunk: &Chunk, older: Option<u32>) -> Result<(), Unreadable> {
    (0..chunk.len()).try_for_each(|at| {
        let (key, item, value) = chunk.cell(at);
        slot.restore(key, item, value.map(|bytes| Written { bytes, older })).map_err(|error| Unreadable { at, error })
    })
}

/// A cell of a chunk that cannot be decoded.
#[derive(Debug)]
pub struct Unreadable {
    /// Its index.
    pub at: usize,
    /// Why.
    pub error: String,
}

/// The bytes of a cell, and who wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// The version of the slot that they are of, where it is older than the present one.
    pub older: Option<u32>,
}

impl Written<'_> {
    /// Makes the cell of them.
    ///
    /// # Errors
    /// What the type of the cell says.
    pub fn read<V: Cell>(self) -> Result<V, String> {
        match self.older {
            None => V::decode(self.bytes),
            Some(version) => V::migrate(version, self.bytes),
        }
    }
}

/// A slot under its name.
pub struct Declaration<'a> {
    /// Name of the field; the host sees `-` for `_`.
    pub name: &'static str,
    /// Version of the meaning of its bytes.
    pub version: u32,
    /// The field.
    pub slot: &'a mut dyn Slot,
}
