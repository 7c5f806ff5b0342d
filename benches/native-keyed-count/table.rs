//! The table of the careful loop: open addressing, keys of up to 16 bytes in the entries themselves, longer ones in a `HashMap` beside it.

use std::collections::HashMap;

use crate::plain::Cell;

/// Entries at first; a power of two.
const CAPACITY_FIRST: usize = 1 << 12;

/// A key of up to 16 bytes, with zeros behind it, and its length plus 1. A length of 0 means that nothing is there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ShortKey {
    pub bytes: u128,
    pub length: u8,
}

impl ShortKey {
    /// The first `length` bytes of a word.
    #[inline(always)]
    pub fn new(word: u128, length: usize) -> Self {
        let bytes = if length == 16 { word } else { word & !(u128::MAX << (8 * length)) };
        Self { bytes, length: length as u8 + 1 }
    }

    #[inline(always)]
    fn hash(self) -> u64 {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let (low, high) = (self.bytes as u64, (self.bytes >> 64) as u64);
        let mixed = u128::from(low ^ MIX) * u128::from(high ^ MIX.rotate_left(32));
        ((mixed as u64) ^ ((mixed >> 64) as u64)).wrapping_mul(MIX)
    }
}

#[derive(Clone, Copy, Default)]
struct Entry {
    key: ShortKey,
    cell: Cell,
}

/// Cells by key.
pub struct Table {
    entries: Vec<Entry>,
    /// The hash is shifted by so much to become a place.
    shift: u32,
    filled: usize,
    long: HashMap<Box<[u8]>, Cell>,
}

impl Table {
    pub fn new() -> Self {
        let entries = vec![Entry::default(); CAPACITY_FIRST];
        Self { entries, shift: 64 - CAPACITY_FIRST.trailing_zeros(), filled: 0, long: HashMap::new() }
    }

    /// Where a key is looked for first. Room for `more` keys is made before, so that places stay.
    #[inline(always)]
    pub fn place(&self, key: ShortKey) -> usize {
        (key.hash() >> self.shift) as usize
    }

    /// Brings a place into the cache: reads it, and gives something of it.
    #[inline(always)]
    pub fn touch(&self, place: usize) -> u8 {
        self.entries[place].key.length
    }

    /// Makes room for so many more keys.
    pub fn reserve(&mut self, more: usize) {
        while (self.filled + more) * 4 > self.entries.len() * 3 {
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let fresh = vec![Entry::default(); self.entries.len() * 2];
        let old = std::mem::replace(&mut self.entries, fresh);
        self.shift -= 1;
        for entry in old.into_iter().filter(|entry| entry.key.length > 0) {
            let at = self.find(self.place(entry.key), entry.key);
            self.entries[at] = entry;
        }
    }

    #[inline(always)]
    fn find(&self, mut at: usize, key: ShortKey) -> usize {
        while self.entries[at].key.length != 0 && self.entries[at].key != key {
            at = (at + 1) & (self.entries.len() - 1);
        }
        at
    }

    /// The cell of a key that is looked for from its place on.
    #[inline(always)]
    pub fn short(&mut self, place: usize, key: ShortKey) -> &mut Cell {
        let at = self.find(place, key);
        let entry = &mut self.entries[at];
        if entry.key.length == 0 {
            entry.key = key;
            self.filled += 1;
        }
        &mut entry.cell
    }

    /// The cell of a key of more than 16 bytes.
    #[cold]
    pub fn long(&mut self, key: &[u8]) -> &mut Cell {
        if !self.long.contains_key(key) {
            self.long.insert(key.into(), Cell::default());
        }
        self.long.get_mut(key).expect("it was put in")
    }

    /// Calls `each` with every key and its cell.
    pub fn each(&self, mut each: impl FnMut(&[u8], Cell)) {
        for Entry { key, cell } in self.entries.iter().filter(|entry| entry.key.length > 0) {
            each(&key.bytes.to_le_bytes()[..usize::from(key.length) - 1], *cell);
        }
        self.long.iter().for_each(|(key, cell)| each(key, *cell));
    }
}
