//! State of one cell a record key.

use super::key::{Boxed, Packed, Sought};
use super::table::{GROUP, Table};
use super::{Chunk, PartWriter, Scope, Slot, SlotKind, Unreadable, Written, restore_each};
use crate::rows::RowsIter;
use crate::{Cell, Encoding, Record, Rows};

/// So many cells restored at once are worth putting them into an order first.
const BULK_MIN: usize = 1 << 10;
/// Bytes of entries from which on they are not all near the processor, so that looking keys up together pays.
const LARGE_BYTES: usize = if cfg!(test) { 1 << 12 } else { 1 << 23 };

/// A cell for each record key, kept by the instance that gets the key: the input must be exchanged by key.
///
/// [`Keyed::entry`] on a key that is there costs one hash and one comparison, and allocates nothing. It touches two places of memory, one in
/// the index and one with the key and its value.
///
/// A key takes its value, 8, 16, 24 or 40 bytes for a key of up to 7, 15, 23 or 39 bytes, and 5 to 10 bytes in the index; a longer key takes
/// some 16 bytes more than it has. Nothing is copied or there twice when it grows. The memory of removed keys is used again for others of
/// about their length.
///
/// ```
/// # use reprise_guest::Keyed;
/// let mut counts = Keyed::<u64>::default();
/// *counts.entry(b"b") += 2;
/// *counts.entry(b"a") += 1;
/// assert_eq!(counts.iter().collect::<Vec<_>>(), [(b"a".as_slice(), &1), (b"b".as_slice(), &2)]);
/// ```
#[derive(Debug)]
pub struct Keyed<V> {
    to_7: Table<Packed<8>, V>,
    to_15: Table<Packed<16>, V>,
    to_23: Table<Packed<24>, V>,
    to_39: Table<Packed<40>, V>,
    longer: Table<Boxed, V>,
}

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        let (to_7, to_15, to_23) = (Table::default(), Table::default(), Table::default());
        Self { to_7, to_15, to_23, to_39: Table::default(), longer: Table::default() }
    }
}

/// Does something with the table of keys of a length.
macro_rules! with_table {
    (($($borrow:tt)+) $keyed:ident, $length:expr, $table:ident => $do:expr) => {
        match $length {
            0..8 => with_table!(@ ($($borrow)+ $keyed.to_7), $table => $do),
            8..16 => with_table!(@ ($($borrow)+ $keyed.to_15), $table => $do),
            16..24 => with_table!(@ ($($borrow)+ $keyed.to_23), $table => $do),
            24..40 => with_table!(@ ($($borrow)+ $keyed.to_39), $table => $do),
            _ => with_table!(@ ($($borrow)+ $keyed.longer), $table => $do),
        }
    };
    (@ ($borrowed:expr), $table:ident => $do:expr) => {{
        let $table = $borrowed;
        $do
    }};
}

/// Does something with each table, that of the longest keys first.
macro_rules! for_each_table {
    (($($borrow:tt)+) $keyed:ident, $table:ident => $do:expr) => {
        with_table!(@ ($($borrow)+ $keyed.longer), $table => $do);
        with_table!(@ ($($borrow)+ $keyed.to_39), $table => $do);
        with_table!(@ ($($borrow)+ $keyed.to_23), $table => $do);
        with_table!(@ ($($borrow)+ $keyed.to_15), $table => $do);
        with_table!(@ ($($borrow)+ $keyed.to_7), $table => $do);
    };
}

impl<V: Cell> Keyed<V> {
    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        let mut len = 0;
        for_each_table!((&) self, table => len += table.len());
        len
    }

    /// True where there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The cell of a key.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let sought = Sought::new(key);
        with_table!((&) self, key.len(), table => table.get(&sought))
    }

    /// The cell of a key, to be changed; made from the default where there is none.
    #[inline]
    pub fn entry(&mut self, key: &[u8]) -> &mut V {
        let sought = Sought::new(key);
        with_table!((&mut) self, key.len(), table => table.entry(sought))
    }

    /// Sets the cell of a key.
    #[inline]
    pub fn set(&mut self, key: &[u8], value: V) {
        *self.entry(key) = value;
    }

    /// Removes the cell of a key, and gives back what it held.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let sought = Sought::new(key);
        with_table!((&mut) self, key.len(), table => table.remove(&sought))
    }

    /// The cells in the order of their keys, whatever the order in which they came.
    ///
    /// Sorts the keys at each call: for the end of the input or of a window, not for each row.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.in_order().map(|(key, value, _)| (key, value))
    }

    /// Removes the cells for which `keep` is false. Asks in the order of the keys.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &V) -> bool) {
        let removed: Vec<(usize, u32)> = self.in_order().filter_map(|(key, value, at)| (!keep(key, value)).then_some(at)).collect();
        for (length, place) in removed {
            with_table!((&mut) self, length, table => table.bury(place));
        }
    }

    /// Works on the cells of the keys of some rows, in the order of the rows: as [`Keyed::entry`] for each row does, but keys are looked up in
    /// groups where there are many cells, so that one wait for memory does for several. Stops at the first error.
    ///
    /// An operator without a `process` of its own has this already: its [`record`](crate::Operator::record) is called in such groups.
    ///
    /// ```
    /// # use reprise_guest::{Batch, Keyed, Record};
    /// # let mut batch = Batch::default();
    /// # for (time, key) in [(1, "a"), (2, "b"), (3, "a")] {
    /// #     batch.times.push(time);
    /// #     batch.keys.extend_from_slice(key.as_bytes());
    /// #     batch.key_ends.push(batch.keys.len() as u32);
    /// #     batch.value_ends.push(0);
    /// # }
    /// # let rows = batch.rows(0);
    /// let mut latest = Keyed::<i64>::default();
    /// latest.entries_of(rows, |row, time| {
    ///     *time = row.time;
    ///     Ok::<(), String>(())
    /// })?;
    /// assert_eq!((latest.get(b"a"), latest.get(b"b")), (Some(&3), Some(&2)));
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    /// What `work` says. The rows before stand, and their cells are changed.
    pub fn entries_of<'a, E>(&mut self, rows: Rows<'a>, mut work: impl FnMut(Record<'a>, &mut V) -> Result<(), E>) -> Result<(), E> {
        let mut rows = rows.iter();
        while rows.len() > 0 {
            if self.is_large() {
                self.warm(rows.clone());
            }
            rows.by_ref().take(GROUP).try_for_each(|row| work(row, self.entry(row.key)))?;
        }
        Ok(())
    }

    /// Looks at the cells of the keys of the next rows, first in the index, then at the entries: each of these waits for no other, so that the
    /// processor waits for several at once. Changes nothing.
    pub(crate) fn warm(&self, rows: RowsIter<'_>) {
        let (mut hashes, mut count, mut seen) = ([(0, 0); GROUP], 0, 0);
        for (row, hash) in rows.zip(&mut hashes) {
            *hash = (row.key.len(), Sought::new(row.key).hash);
            seen ^= with_table!((&) self, hash.0, table => table.warm_slot(hash.1));
            count += 1;
        }
        for &(length, hash) in &hashes[..count] {
            seen ^= u32::from(with_table!((&) self, length, table => table.warm_entry(hash)));
        }
        // What nobody uses would not be read.
        std::hint::black_box(seen);
    }

    #[inline]
    fn is_large(&self) -> bool {
        let mut bytes = 0;
        for_each_table!((&) self, table => bytes += table.size_bytes());
        bytes >= LARGE_BYTES
    }

    /// Places in use or free: what the field costs in memory.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        let mut places = 0;
        for_each_table!((&) self, table => places += table.places());
        places
    }

    /// The cells in the order of their keys, each with a length of its table and its place there.
    fn in_order(&self) -> impl Iterator<Item = InOrder<'_, V>> {
        let to_7 = self.to_7.in_order().map(|entry| in_table(0, entry));
        let to_15 = self.to_15.in_order().map(|entry| in_table(8, entry));
        let to_23 = self.to_23.in_order().map(|entry| in_table(16, entry));
        let to_39 = self.to_39.in_order().map(|entry| in_table(24, entry));
        let longer = self.longer.in_order().map(|entry| in_table(40, entry));
        merged(merged(to_7, to_15), merged(merged(to_23, to_39), longer))
    }
}

/// Key and value, and where they are.
type InOrder<'a, V> = (&'a [u8], &'a V, (usize, u32));

fn in_table<'a, V>(length: usize, (key, value, place): (&'a [u8], &'a V, u32)) -> InOrder<'a, V> {
    (key, value, (length, place))
}

/// Two sorted iterators as one. No key is in both.
fn merged<'a, V: 'a>(
    one: impl Iterator<Item = InOrder<'a, V>>,
    other: impl Iterator<Item = InOrder<'a, V>>,
) -> impl Iterator<Item = InOrder<'a, V>> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(first), Some(second)) if first.0 > second.0 => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    })
}

impl<V: Cell> Slot for Keyed<V> {
    fn kind(&self) -> SlotKind {
        SlotKind::Keyed
    }

    fn encoding(&self) -> Encoding {
        V::ENCODING
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn rewind(&mut self) {
        for_each_table!((&mut) self, table => table.rewind());
    }

    fn read(&mut self, scope: Scope, part: &mut PartWriter) -> Result<bool, String> {
        for_each_table!((&mut) self, table => if !table.read(scope, part)? {
            return Ok(false);
        });
        Ok(true)
    }

    fn forget_changes(&mut self) {
        for_each_table!((&mut) self, table => table.forget_changes());
    }

    fn restore_all(&mut self, chunk: &Chunk, older: Option<u32>) -> Result<(), Unreadable> {
        if chunk.len() < BULK_MIN {
            return restore_each(self, chunk, older);
        }
        let done = (0..chunk.len()).try_for_each(|at| {
            let (key, item, value) = chunk.cell(at);
            let value = read_cell(item, value.map(|bytes| Written { bytes, older })).map_err(|error| Unreadable { at, error })?;
            with_table!((&mut) self, key.len(), table => table.set_aside(Sought::new(key), value));
            Ok(())
        });
        for_each_table!((&mut) self, table => table.enter_set_aside());
        done
    }

    fn restore(&mut self, key: &[u8], item: &[u8], value: Option<Written<'_>>) -> Result<(), String> {
        let value = read_cell(item, value)?;
        let sought = Sought::new(key);
        with_table!((&mut) self, key.len(), table => table.restore(sought, value));
        Ok(())
    }

    fn is_large(&self) -> bool {
        Keyed::is_large(self)
    }

    fn warm(&self, rows: RowsIter<'_>) {
        Keyed::warm(self, rows);
    }
}

fn read_cell<V: Cell>(item: &[u8], value: Option<Written<'_>>) -> Result<Option<V>, String> {
    if !item.is_empty() {
        return Err("a slot with one value a key has no items".to_owned());
    }
    value.map(Written::read::<V>).transpose()
}
