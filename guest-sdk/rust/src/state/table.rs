//! Entries of keys of about one length: what a field with a cell a record key is made of.
//!
//! Entries stand in blocks of up to 128 KiB, which are never moved once there is more than one. The place of an entry is its number. Snapshots go
//! through the places in rising order, so that memory is read from one end to the other.

use super::bits::Bits;
use super::index::Index;
use super::key::{Sought, StoredKey};
use super::{PartWriter, Scope};
use crate::{Cell, short};

/// Keys that are looked up together. Enough that their waits for memory overlap, few enough that what they brought is still there.
pub(crate) const GROUP: usize = 32;
/// Bytes of a block, at most.
const BLOCK_BYTES: usize = 1 << 17;
/// Parts of an index that are filled one after the other: one larger than the caches near a processor takes many entries faster so.
const PARTS: usize = 1 << 11;
/// No place.
const NONE: u32 = u32::MAX;

/// Cells by key.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    blocks: Vec<Vec<Entry<K, V>>>,
    /// Entries in use or free.
    len: u32,
    index: Index,
    /// Places whose entries are changed; tombstones are always among them.
    changed: Bits,
    /// The first of the entries that are not in the index and can be used again. Each of them knows the next.
    free: u32,
    /// Entries in the index that are not tombstones, and those that are.
    live: usize,
    tombstones: usize,
    /// Entries that are not in the index yet, with their hashes: those of a chunk that is being restored.
    set_aside: Vec<Placed>,
    /// Where the snapshot that is being read goes on.
    cursor: u32,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
}

/// The place of an entry, the hash of its key, and whether it is live: so that the entry need not be looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Placed {
    hash: u64,
    place: u32,
    is_live: bool,
}

/// A place, and the first bytes by which its key may differ from others, in halves so that it takes 12 bytes.
struct Sorted {
    high: u32,
    low: u32,
    place: u32,
}

impl Sorted {
    #[inline]
    fn new(bytes: &[u8], place: u32) -> Self {
        let [word, _] = short::words(&bytes[..bytes.len().min(8)]).expect("eight bytes are few");
        let word = word.swap_bytes();
        Self { high: (word >> 32) as u32, low: word as u32, place }
    }

    #[inline]
    fn bytes(&self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }
}

/// How many bytes two slices have in common from their beginning.
fn same_bytes(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        let (blocks, index, changed) = (Vec::new(), Index::default(), Bits::default());
        Self { blocks, len: 0, index, changed, free: NONE, live: 0, tombstones: 0, set_aside: Vec::new(), cursor: 0 }
    }
}

impl<K: StoredKey, V: Cell> Table<K, V> {
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Bytes of the entries.
    #[inline]
    pub(super) fn size_bytes(&self) -> usize {
        self.len as usize * size_of::<Entry<K, V>>()
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.len as usize
    }

    #[inline]
    fn entry_at(&self, place: u32) -> &Entry<K, V> {
        entry_in(&self.blocks, place)
    }

    #[inline]
    fn entry_at_mut(&mut self, place: u32) -> &mut Entry<K, V> {
        entry_in_mut(&mut self.blocks, place)
    }

    #[inline]
    fn find(&self, sought: &Sought<'_>) -> Option<u32> {
        self.index.find(sought.hash, |place| self.entry_at(place).key.is(sought))
    }

    #[inline]
    pub(super) fn get(&self, sought: &Sought<'_>) -> Option<&V> {
        let entry = self.entry_at(self.find(sought)?);
        entry.key.is_live().then_some(&entry.value)
    }

    /// The cell of a key, to be changed; made from the default where there is none.
    #[inline]
    pub(super) fn entry(&mut self, sought: Sought<'_>) -> &mut V {
        let place = match self.find(&sought) {
            Some(place) => place,
            None => self.insert(sought),
        };
        let Self { changed, blocks, live, tombstones, .. } = self;
        changed.insert(place);
        let entry = entry_in_mut(blocks, place);
        if !entry.key.is_live() {
            entry.key.set_live(true);
            *live += 1;
            *tombstones -= 1;
        }
        &mut entry.value
    }

    /// Makes a tombstone of the entry of a key, and gives back what it held.
    pub(super) fn remove(&mut self, sought: &Sought<'_>) -> Option<V> {
        let place = self.find(sought)?;
        self.entry_at(place).key.is_live().then(|| self.bury(place))
    }

    /// Makes a tombstone of a live entry.
    pub(super) fn bury(&mut self, place: u32) -> V {
        self.live -= 1;
        self.tombstones += 1;
        self.changed.insert(place);
        let entry = self.entry_at_mut(place);
        entry.key.set_live(false);
        std::mem::take(&mut entry.value)
    }

    /// The live entries in the order of their keys, each with its place.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&[u8], &V, u32)> {
        let sorted = self.sorted();
        let mut next = 0;
        std::iter::from_fn(move || {
            if next % GROUP == 0 {
                let group = sorted[next..].iter().take(GROUP);
                std::hint::black_box(group.fold(false, |seen, sorted| seen ^ self.entry_at(sorted.place).key.is_live()));
            }
            let place = sorted.get(next)?.place;
            next += 1;
            let entry = self.entry_at(place);
            Some((entry.key.bytes(), &entry.value, place))
        })
    }

    /// Sorts by eight bytes of each key, which stand beside its place; looks at the key itself only where these are the same.
    fn sorted(&self) -> Vec<Sorted> {
        let live = |place: &u32| self.entry_at(*place).key.is_live();
        let key = |place: u32| self.entry_at(place).key.bytes();
        let Some(first) = (0..self.len).find(live) else { return Vec::new() };
        // What all keys begin with says nothing of their order.
        let begin = (first..self.len).filter(live).fold(key(first).len(), |begin, place| same_bytes(&key(first)[..begin], key(place)));
        let mut sorted = Vec::with_capacity(self.live);
        sorted.extend((first..self.len).filter(live).map(|place| Sorted::new(&key(place)[begin..], place)));
        sorted.sort_unstable_by(|a, b| a.bytes().cmp(&b.bytes()).then_with(|| key(a.place).cmp(key(b.place))));
        sorted
    }

    /// Looks at the slot where the search for a key begins.
    #[inline]
    pub(super) fn warm_slot(&self, hash: u64) -> u32 {
        self.index.first(hash)
    }

    /// Looks at the entry that is likely that of the key.
    #[inline]
    pub(super) fn warm_entry(&self, hash: u64) -> bool {
        self.index.find(hash, |_| true).is_some_and(|place| self.entry_at(place).key.is_live())
    }

    /// Puts a tombstone that is not changed in the index: the caller gives it life.
    #[cold]
    fn insert(&mut self, sought: Sought<'_>) -> u32 {
        let place = self.place(Entry { key: K::new(sought), value: V::default() });
        self.tombstones += 1;
        let Self { index, blocks, .. } = self;
        index.forget_hashes();
        index.insert(sought.hash, place, |place| entry_in(blocks, place).key.hash());
        place
    }

    /// Puts an entry where there is a place for it.
    #[inline]
    fn place(&mut self, entry: Entry<K, V>) -> u32 {
        if self.free != NONE {
            let place = self.free;
            self.free = self.entry_at(place).key.next_free();
            *self.entry_at_mut(place) = entry;
            return place;
        }
        let (place, block_len) = (self.len, 1 << block_bits::<K, V>());
        if (place as usize).is_multiple_of(block_len) {
            self.blocks.push(Vec::with_capacity(if place == 0 { 0 } else { block_len }));
        }
        self.blocks[place as usize / block_len].push(entry);
        self.changed.cover(place);
        self.len += 1;
        place
    }

    /// Takes a tombstone out of the index, so that its place can be used again.
    fn free(&mut self, place: u32) {
        let hash = self.entry_at(place).key.hash();
        let Self { index, blocks, .. } = self;
        index.remove(hash, place, |place| entry_in(blocks, place).key.hash());
        self.vacate(place);
        self.tombstones -= 1;
    }

    /// Makes a place that is not in the index one that can be used again.
    fn vacate(&mut self, place: u32) {
        self.entry_at_mut(place).key = K::free(self.free);
        self.free = place;
    }

    pub(super) fn rewind(&mut self) {
        self.cursor = 0;
    }

    /// Writes the next cells of a snapshot until the part is full. True where there are no more.
    pub(super) fn read(&mut self, scope: Scope, part: &mut PartWriter) -> Result<bool, String> {
        while let Some(place) = self.next(scope) {
            let entry = self.entry_at(place);
            if !part.push(entry.key.bytes(), b"", entry.key.is_live().then_some(&entry.value))? {
                return Ok(false);
            }
            self.cursor = place + 1;
        }
        // Further parts, of other tables, need not look for cells here again.
        self.cursor = self.len;
        Ok(true)
    }

    #[inline]
    fn next(&self, scope: Scope) -> Option<u32> {
        match scope {
            Scope::Full => (self.cursor..self.len).find(|&place| self.entry_at(place).key.is_live()),
            Scope::Changes => self.changed.next(self.cursor),
        }
    }

    pub(super) fn forget_changes(&mut self) {
        self.index.forget_hashes();
        let mut at = 0;
        while let Some(place) = self.changed.next(at).filter(|_| self.tombstones > 0) {
            if !self.entry_at(place).key.is_live() {
                self.free(place);
            }
            at = place + 1;
        }
        self.changed.clear();
    }

    /// Gives the cell of a key another value, or none; it is not changed by it.
    #[inline]
    pub(super) fn restore(&mut self, sought: Sought<'_>, value: Option<V>) {
        match (self.find(&sought), value) {
            (Some(place), value) => self.replace(place, value),
            (None, Some(value)) => {
                let place = self.insert(sought);
                self.replace(place, Some(value));
            }
            (None, None) => {}
        }
    }

    /// Gives an entry another value, or none.
    #[inline]
    fn replace(&mut self, place: u32, value: Option<V>) {
        let entry = self.entry_at_mut(place);
        let (was_live, is_live) = (entry.key.is_live(), value.is_some());
        entry.key.set_live(is_live);
        entry.value = value.unwrap_or_default();
        self.live = self.live - usize::from(was_live) + usize::from(is_live);
        self.tombstones = self.tombstones + usize::from(was_live) - usize::from(is_live);
        if !is_live && !self.changed.contains(place) {
            self.free(place);
        }
    }

    /// Makes an entry of a cell that is restored, as if its key were new: so entries are written one beside the other.
    #[inline]
    pub(super) fn set_aside(&mut self, sought: Sought<'_>, value: Option<V>) {
        let mut key = K::new(sought);
        let is_live = value.is_some();
        key.set_live(is_live);
        let place = self.place(Entry { key, value: value.unwrap_or_default() });
        self.set_aside.push(Placed { hash: sought.hash, place, is_live });
    }

    /// Takes the entries that were set aside into the index, or into the entries of the same keys that are there.
    pub(super) fn enter_set_aside(&mut self) {
        if self.set_aside.is_empty() {
            return;
        }
        let placed = by_part(&std::mem::take(&mut self.set_aside));
        self.index.keep_hashes(placed.len());
        for group in placed.chunks(GROUP) {
            std::hint::black_box(group.iter().fold(0, |seen, new| seen ^ self.index.first(new.hash)));
            group.iter().for_each(|&new| self.enter(new));
        }
    }

    #[inline]
    fn enter(&mut self, new: Placed) {
        let Self { index, blocks, .. } = self;
        let is_same = |place| entry_in(blocks, place).key.bytes() == entry_in(blocks, new.place).key.bytes();
        let found = if new.is_live {
            index.find_or_insert(new.hash, new.place, |place| entry_in(blocks, place).key.hash(), is_same)
        } else {
            index.find(new.hash, is_same)
        };
        if found.is_none() && new.is_live {
            self.live += 1;
            return;
        }
        let value = std::mem::take(&mut self.entry_at_mut(new.place).value);
        self.vacate(new.place);
        if let Some(found) = found {
            self.replace(found, new.is_live.then_some(value));
        }
    }
}

/// The same places, those of one part of the index after another. Equal hashes keep their order.
fn by_part(given: &[Placed]) -> Vec<Placed> {
    let part = |placed: &Placed| (placed.hash >> (64 - PARTS.ilog2())) as usize;
    let mut next = vec![0; PARTS + 1];
    given.iter().for_each(|placed| next[part(placed) + 1] += 1);
    (0..PARTS).for_each(|part| next[part + 1] += next[part]);
    let mut ordered = vec![Placed::default(); given.len()];
    for placed in given {
        let next: &mut usize = &mut next[part(placed)];
        ordered[*next] = *placed;
        *next += 1;
    }
    ordered
}

/// Entries of a block, as a power of two.
const fn block_bits<K, V>() -> u32 {
    let entries = BLOCK_BYTES / size_of::<Entry<K, V>>();
    if entries < 16 { 4 } else { entries.ilog2() }
}

#[inline]
fn entry_in<K, V>(blocks: &[Vec<Entry<K, V>>], place: u32) -> &Entry<K, V> {
    let bits = const { block_bits::<K, V>() };
    &blocks[(place >> bits) as usize][(place & ((1 << bits) - 1)) as usize]
}

#[inline]
fn entry_in_mut<K, V>(blocks: &mut [Vec<Entry<K, V>>], place: u32) -> &mut Entry<K, V> {
    let bits = const { block_bits::<K, V>() };
    &mut blocks[(place >> bits) as usize][(place & ((1 << bits) - 1)) as usize]
}
