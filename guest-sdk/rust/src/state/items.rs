//! State of any number of cells a record key, each under an item: windows, timers, places in a list.

use super::{PartWriter, Scope, Slot, SlotKind, Written};
use crate::{Cell, Encoding};
use std::collections::BTreeMap;
use std::ops::Bound;

type Bytes = Box<[u8]>;

/// Cells under (key, item), in the order of the keys and then of the items. Items that are numbers sort as such when they are written
/// with [`i64::to_be_bytes`] (for numbers that are not negative).
///
/// ```
/// # use reprise_guest::KeyedItems;
/// let mut visits = KeyedItems::<u64>::default();
/// *visits.entry(b"anna", b"2024-02") += 1;
/// *visits.entry(b"anna", b"2024-01") += 3;
/// assert_eq!(visits.items(b"anna").map(|(_, &n)| n).collect::<Vec<_>>(), [3, 1]);
/// ```
#[derive(Debug, Default)]
pub struct KeyedItems<V> {
    keys: BTreeMap<Bytes, BTreeMap<Bytes, Entry<V>>>,
    /// The changed cells, in the order in which they changed.
    changed: Vec<(Bytes, Bytes)>,
    live: usize,
    /// Where the snapshot of changes that is being read goes on.
    cursor: usize,
    /// The cell at which the full snapshot that is being read goes on.
    resume: Option<(Bytes, Bytes)>,
}

#[derive(Debug, Default)]
struct Entry<V> {
    value: V,
    /// False for tombstones, which stay until their removal was read.
    live: bool,
    changed: bool,
}

impl<V: Cell> KeyedItems<V> {
    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// True where there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The cell of an item of a key.
    #[must_use]
    pub fn get(&self, key: &[u8], item: &[u8]) -> Option<&V> {
        let entry = self.keys.get(key)?.get(item)?;
        entry.live.then_some(&entry.value)
    }

    /// The cell of an item of a key, to be changed; made from the default where there is none.
    pub fn entry(&mut self, key: &[u8], item: &[u8]) -> &mut V {
        if self.keys.get(key).is_none_or(|items| !items.contains_key(item)) {
            self.insert(key, item);
        }
        let entry = self.keys.get_mut(key).and_then(|items| items.get_mut(item)).expect("inserted above");
        if !entry.changed {
            entry.changed = true;
            self.changed.push((key.into(), item.into()));
        }
        if !entry.live {
            entry.live = true;
            self.live += 1;
        }
        &mut entry.value
    }

    /// Sets the cell of an item of a key.
    pub fn set(&mut self, key: &[u8], item: &[u8], value: V) {
        *self.entry(key, item) = value;
    }

    /// Removes the cell of an item of a key, and gives back what it held.
    pub fn remove(&mut self, key: &[u8], item: &[u8]) -> Option<V> {
        let entry = self.keys.get_mut(key)?.get_mut(item)?;
        if !entry.live {
            return None;
        }
        entry.live = false;
        self.live -= 1;
        if !entry.changed {
            entry.changed = true;
            self.changed.push((key.into(), item.into()));
        }
        Some(std::mem::take(&mut entry.value))
    }

    /// The cells of a key, in the order of their items.
    pub fn items(&self, key: &[u8]) -> impl Iterator<Item = (&[u8], &V)> {
        let entries = self.keys.get(key).into_iter().flatten();
        entries.filter(|(_, entry)| entry.live).map(|(item, entry)| (&**item, &entry.value))
    }

    /// All cells, in the order of their keys and then of their items.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], &V)> {
        let entries = self.keys.iter().flat_map(|(key, items)| items.iter().map(move |(item, entry)| (key, item, entry)));
        entries.filter(|(.., entry)| entry.live).map(|(key, item, entry)| (&**key, &**item, &entry.value))
    }

    /// Removes the cells for which `keep` is false. Asks in the order of the keys and then of the items.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8], &V) -> bool) {
        for (key, items) in &mut self.keys {
            for (item, entry) in items {
                if !entry.live || keep(key, item, &entry.value) {
                    continue;
                }
                entry.live = false;
                entry.value = V::default();
                self.live -= 1;
                if !entry.changed {
                    entry.changed = true;
                    self.changed.push((key.clone(), item.clone()));
                }
            }
        }
    }

    /// Puts a tombstone that is not changed in place: the caller gives it life.
    fn insert(&mut self, key: &[u8], item: &[u8]) {
        self.keys.entry(key.into()).or_default().insert(item.into(), Entry::default());
    }

    /// Takes a cell out.
    fn free(&mut self, key: &[u8], item: &[u8]) {
        if let Some(items) = self.keys.get_mut(key) {
            items.remove(item);
            if items.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// Writes live cells from `resume` on. Gives back the first that did not fit.
    fn read_full(&self, part: &mut PartWriter) -> Result<Option<(Bytes, Bytes)>, String> {
        let (from_key, from_item): (&[u8], &[u8]) = self.resume.as_ref().map_or((b"", b""), |(key, item)| (key, item));
        for (key, items) in self.keys.range::<[u8], _>((Bound::Included(from_key), Bound::Unbounded)) {
            let from_item = if **key == *from_key { from_item } else { b"" };
            for (item, entry) in items.range::<[u8], _>((Bound::Included(from_item), Bound::Unbounded)) {
                if entry.live && !part.push(key, item, Some(&entry.value))? {
                    return Ok(Some((key.clone(), item.clone())));
                }
            }
        }
        Ok(None)
    }
}

impl<V: Cell> Slot for KeyedItems<V> {
    fn kind(&self) -> SlotKind {
        SlotKind::Keyed
    }

    fn encoding(&self) -> Encoding {
        V::ENCODING
    }

    fn is_empty(&self) -> bool {
        self.live == 0
    }

    fn rewind(&mut self) {
        self.cursor = 0;
        self.resume = None;
    }

    fn read(&mut self, scope: Scope, part: &mut PartWriter) -> Result<bool, String> {
        if scope == Scope::Full {
            self.resume = self.read_full(part)?;
            return Ok(self.resume.is_none());
        }
        while let Some((key, item)) = self.changed.get(self.cursor) {
            if !part.push(key, item, self.get(key, item))? {
                return Ok(false);
            }
            self.cursor += 1;
        }
        Ok(true)
    }

    fn forget_changes(&mut self) {
        for (key, item) in std::mem::take(&mut self.changed) {
            let entry = self.keys.get_mut(&key).and_then(|items| items.get_mut(&item));
            let Some(entry) = entry else { continue };
            entry.changed = false;
            if !entry.live {
                self.free(&key, &item);
            }
        }
    }

    fn restore(&mut self, key: &[u8], item: &[u8], value: Option<Written<'_>>) -> Result<(), String> {
        let value = value.map(Written::read::<V>).transpose()?;
        if value.is_some() && self.keys.get(key).is_none_or(|items| !items.contains_key(item)) {
            self.insert(key, item);
        }
        let Some(entry) = self.keys.get_mut(key).and_then(|items| items.get_mut(item)) else { return Ok(()) };
        self.live -= usize::from(entry.live);
        entry.live = value.is_some();
        self.live += usize::from(entry.live);
        entry.value = value.unwrap_or_default();
        if !entry.live && !entry.changed {
            self.free(key, item);
        }
        Ok(())
    }
}
