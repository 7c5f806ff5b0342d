//! State of one cell a record key.

use super::key::{Key, Sought};
use super::{Chunk, PartWriter, Scope, Slot, SlotKind, Unreadable, Written, restore_each};
use crate::{Cell, Encoding};
use hashbrown::HashTable;

/// Parts of an index that are filled one after the other when many cells are restored at once: an index larger than the caches near a
/// processor takes them faster so. Chunks of fewer cells are not worth the trouble.
const PARTS: usize = 1 << 11;

/// A cell for each record key, kept by the instance that gets the key: the input must be exchanged by key.
///
/// [`Keyed::entry`] on a key that is there costs one hash and one comparison, and allocates nothing.
///
/// ```
/// # use reprise_guest::Keyed;
/// let mut counts = Keyed::<u64>::default();
/// *counts.entry(b"b") += 2;
/// *counts.entry(b"a") += 1;
/// assert_eq!(counts.iter().collect::<Vec<_>>(), [(b"a".as_slice(), &1), (b"b".as_slice(), &2)]);
/// ```
#[derive(Debug, Default)]
pub struct Keyed<V> {
    entries: Vec<Entry<V>>,
    /// Places of `entries`, by the hash of their keys.
    index: HashTable<Place>,
    /// Places whose entries are changed, in the order in which they changed; tombstones are always among them.
    changed: Vec<u32>,
    /// Places that are not in the index and can be used again.
    free: Vec<u32>,
    /// Entries in the index that are not tombstones.
    live: usize,
    /// Where the snapshot that is being read goes on, in `entries` or in `changed`.
    cursor: usize,
}

/// A place of the entries. The hash of its key stands beside it, so that entries are touched neither by a table that grows nor for keys that
/// only look alike.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    hash: u32,
    entry: u32,
}

impl Place {
    /// What the table is asked with. It takes its bits from both ends, which differ with the size of a machine word.
    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

#[derive(Debug)]
struct Entry<V> {
    key: Key,
    value: V,
    /// False for tombstones and for free places.
    live: bool,
    changed: bool,
}

impl<V: Cell> Keyed<V> {
    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// True where there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// The cell of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let entry = &self.entries[self.find(&Sought::new(key))?];
        entry.live.then_some(&entry.value)
    }

    /// The cell of a key, to be changed; made from the default where there is none.
    #[inline]
    pub fn entry(&mut self, key: &[u8]) -> &mut V {
        let sought = Sought::new(key);
        let place = match self.find(&sought) {
            Some(place) => place,
            None => self.insert(sought),
        };
        let entry = &mut self.entries[place];
        if !entry.changed {
            entry.changed = true;
            self.changed.push(place as u32);
        }
        if !entry.live {
            entry.live = true;
            self.live += 1;
        }
        &mut entry.value
    }

    /// Sets the cell of a key.
    #[inline]
    pub fn set(&mut self, key: &[u8], value: V) {
        *self.entry(key) = value;
    }

    /// Removes the cell of a key, and gives back what it held.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        let place = self.find(&Sought::new(key))?;
        self.bury(place)
    }

    /// The cells in the order of their keys, whatever the order in which they came.
    ///
    /// Sorts the keys at each call: for the end of the input or of a window, not for each row.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.sorted().into_iter().map(|place| {
            let entry = &self.entries[place as usize];
            (entry.key.as_slice(), &entry.value)
        })
    }

    /// Removes the cells for which `keep` is false. Asks in the order of the keys.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &V) -> bool) {
        for place in self.sorted() {
            let entry = &self.entries[place as usize];
            if !keep(entry.key.as_slice(), &entry.value) {
                self.bury(place as usize);
            }
        }
    }

    /// Places in use or free: what the field costs in memory.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    fn sorted(&self) -> Vec<u32> {
        let mut places: Vec<u32> = (0..self.entries.len() as u32).filter(|&place| self.entries[place as usize].live).collect();
        places.sort_unstable_by(|&a, &b| self.entries[a as usize].key.as_slice().cmp(self.entries[b as usize].key.as_slice()));
        places
    }

    #[inline]
    fn find(&self, sought: &Sought<'_>) -> Option<usize> {
        let is_sought = |place: &Place| place.hash == sought.hash && self.entries[place.entry as usize].key.is(sought);
        self.index.find(Place::spread(sought.hash), is_sought).map(|place| place.entry as usize)
    }

    /// Puts a tombstone that is not changed in the index: the caller gives it life.
    #[cold]
    fn insert(&mut self, sought: Sought<'_>) -> usize {
        let entry = self.place(Entry { key: Key::new(sought), value: V::default(), live: false, changed: false });
        let placed = Place { hash: sought.hash, entry };
        self.index.insert_unique(Place::spread(sought.hash), placed, |placed| Place::spread(placed.hash));
        entry as usize
    }

    /// Puts an entry where there is a place for it.
    #[inline]
    fn place(&mut self, entry: Entry<V>) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.entries[place as usize] = entry;
                place
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("fewer than 2^32 keys fit in memory")
            }
        }
    }

    /// Gives an entry another value, or none; it is not changed by it.
    #[inline]
    fn replace(&mut self, place: usize, value: Option<V>) {
        let entry = &mut self.entries[place];
        self.live -= usize::from(entry.live);
        entry.live = value.is_some();
        self.live += usize::from(entry.live);
        entry.value = value.unwrap_or_default();
        if !entry.live && !entry.changed {
            self.free(place as u32);
        }
    }

    /// Makes a tombstone of the entry.
    fn bury(&mut self, place: usize) -> Option<V> {
        let entry = &mut self.entries[place];
        if !entry.live {
            return None;
        }
        entry.live = false;
        self.live -= 1;
        if !entry.changed {
            entry.changed = true;
            self.changed.push(place as u32);
        }
        Some(std::mem::take(&mut entry.value))
    }

    /// Takes an entry that is not in the index into it, or into the entry of the same key that is there.
    #[inline]
    fn enter(&mut self, new: Place) {
        let entries = &self.entries;
        let key = &entries[new.entry as usize].key;
        let is_same = |other: &Place| other.hash == new.hash && entries[other.entry as usize].key == *key;
        let found = self.index.find(Place::spread(new.hash), is_same).map(|place| place.entry as usize);
        let entry = &mut self.entries[new.entry as usize];
        if found.is_none() && entry.live {
            self.live += 1;
            self.index.insert_unique(Place::spread(new.hash), new, |place| Place::spread(place.hash));
            return;
        }
        let live = std::mem::take(&mut entry.live);
        let value = std::mem::take(&mut entry.value);
        self.vacate(new.entry);
        if let Some(found) = found {
            self.replace(found, live.then_some(value));
        }
    }

    /// The same places, those of one part of the index after another. Equal hashes keep their order.
    fn in_order(&self, given: &[Place]) -> Vec<Place> {
        // A table has a power of two of places, an eighth of which stay free, and finds one by the lowest bits of a hash.
        let size = (self.index.capacity() / 7 * 8).next_power_of_two();
        let part = |place: &Place| (place.hash as usize & (size - 1)) / (size / PARTS);
        let mut next = vec![0; PARTS + 1];
        given.iter().for_each(|place| next[part(place) + 1] += 1);
        (0..PARTS).for_each(|part| next[part + 1] += next[part]);
        let mut ordered = vec![Place::default(); given.len()];
        for place in given {
            let next: &mut usize = &mut next[part(place)];
            ordered[*next] = *place;
            *next += 1;
        }
        ordered
    }

    /// Takes a tombstone out of the index.
    fn free(&mut self, place: u32) {
        let hash = self.entries[place as usize].key.hash();
        if let Ok(found) = self.index.find_entry(Place::spread(hash), |other| other.entry == place) {
            found.remove();
        }
        self.vacate(place);
    }

    /// Makes a place that is not in the index one that can be used again.
    fn vacate(&mut self, place: u32) {
        self.entries[place as usize].key = Key::new(Sought::new(b""));
        self.free.push(place);
    }
}

impl<V: Cell> Slot for Keyed<V> {
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
    }

    fn read(&mut self, scope: Scope, part: &mut PartWriter) -> Result<bool, String> {
        loop {
            let entry = match scope {
                Scope::Full => self.entries.get(self.cursor),
                Scope::Changes => self.changed.get(self.cursor).map(|&place| &self.entries[place as usize]),
            };
            let Some(entry) = entry else { return Ok(true) };
            if (entry.live || scope == Scope::Changes) && !part.push(entry.key.as_slice(), b"", entry.live.then_some(&entry.value))? {
                return Ok(false);
            }
            self.cursor += 1;
        }
    }

    fn forget_changes(&mut self) {
        for place in std::mem::take(&mut self.changed) {
            let entry = &mut self.entries[place as usize];
            entry.changed = false;
            if !entry.live {
                self.free(place);
            }
        }
    }

    fn restore_all(&mut self, chunk: &Chunk, older: Option<u32>) -> Result<(), Unreadable> {
        if chunk.len() < PARTS {
            return restore_each(self, chunk, older);
        }
        // All become entries first, as if their keys were new: so they are written one beside the other.
        let mut placed = Vec::with_capacity(chunk.len());
        for at in 0..chunk.len() {
            let (key, item, value) = chunk.cell(at);
            let value = read_cell(item, value.map(|bytes| Written { bytes, older })).map_err(|error| Unreadable { at, error })?;
            let sought = Sought::new(key);
            let live = value.is_some();
            let entry = self.place(Entry { key: Key::new(sought), value: value.unwrap_or_default(), live, changed: false });
            placed.push(Place { hash: sought.hash, entry });
        }
        self.index.reserve(placed.len(), |place| Place::spread(place.hash));
        for new in self.in_order(&placed) {
            self.enter(new);
        }
        Ok(())
    }

    fn restore(&mut self, key: &[u8], item: &[u8], value: Option<Written<'_>>) -> Result<(), String> {
        let value = read_cell(item, value)?;
        let sought = Sought::new(key);
        match (self.find(&sought), value) {
            (Some(place), value) => self.replace(place, value),
            (None, Some(value)) => {
                let place = self.insert(sought);
                self.replace(place, Some(value));
            }
            (None, None) => {}
        }
        Ok(())
    }
}

fn read_cell<V: Cell>(item: &[u8], value: Option<Written<'_>>) -> Result<Option<V>, String> {
    if !item.is_empty() {
        return Err("a slot with one value a key has no items".to_owned());
    }
    value.map(Written::read::<V>).transpose()
}
