//! Where entries are, by the hash of their keys: four bytes a slot, in segments that grow one at a time.
//!
//! ```text
//! hash   | which segment .... | which slot .... | tag |
//!
//! directory -> segment -> slot: place of an entry | tag
//! ```
//!
//! The highest bits of a hash choose a segment, as many of them as the segment's depth says; those above the tag choose the slot in it where a
//! search begins, which goes on to the next slot until it meets an empty one. A slot holds the place of an entry and, in the bits that
//! places leave over, the lowest bits of its hash, so that entries of other keys are hardly ever looked at: a search touches a line of the
//! index and the entry.
//!
//! A segment that is full splits in two by the next bit of the hashes. So nothing but a few thousand slots is ever moved at once, and the
//! index is never there twice. It keeps no hashes: the caller makes them again from the keys, for the entries of one segment. Only while a
//! state is restored it does, for then there are many splits.
//!
//! It knows neither keys nor values. What it holds does not depend on anything but the hashes, and the order in which they came and went.

/// No entry. Places stay below it, whatever the width of the tags.
const EMPTY: u32 = u32::MAX;
/// Slots of a segment that splits when it is full; 16 KiB.
const SLOTS: usize = 1 << 12;
/// Slots of the first segment at first.
const SLOTS_MIN: usize = 1 << 4;
/// Bits of a hash that choose a segment, at most: 2^20 segments hold more entries than fit in memory. Only keys that collide come so far, and
/// then their segment has more slots instead.
const DEPTH_MAX: u32 = 20;
/// Bits of a tag: many while there are few entries. Where places outgrow what is left over, all tags become narrower, once.
const TAG_BITS: [u32; 2] = [8, 4];

/// Places by hash.
#[derive(Debug)]
pub(super) struct Index {
    /// For each value of the highest bits of a hash the segment; a power of two of them.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    /// Bits of a hash that are too low for the directory, but for one.
    shift: u32,
    tag_bits: u32,
    keeps_hashes: bool,
}

#[derive(Debug)]
struct Segment {
    /// A power of two of them, some of them empty.
    slots: Vec<u32>,
    /// For each slot what [`kept`] keeps of its hash, or nothing at all.
    hashes: Vec<u32>,
    used: usize,
    /// Bits of a hash that choose it.
    depth: u32,
}

impl Default for Index {
    fn default() -> Self {
        Self { directory: Vec::new(), segments: Vec::new(), shift: 63, tag_bits: TAG_BITS[0], keeps_hashes: false }
    }
}

impl Segment {
    fn new(slots: usize, depth: u32, keeps_hashes: bool) -> Self {
        Self { slots: vec![EMPTY; slots], hashes: vec![0; if keeps_hashes { slots } else { 0 }], used: 0, depth }
    }

    fn is_full(&self) -> bool {
        self.used >= self.slots.len() / 5 * 4
    }

    #[inline]
    fn start(&self, hash: u64) -> usize {
        (hash >> TAG_BITS[0]) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    #[inline]
    fn put(&mut self, hash: u64, slot: u32) {
        let mut at = self.start(hash);
        while self.slots[at] != EMPTY {
            at = self.next(at);
        }
        self.set(at, hash, slot);
    }

    #[inline]
    fn set(&mut self, at: usize, hash: u64, slot: u32) {
        self.slots[at] = slot;
        self.used += 1;
        if let Some(kept_hash) = self.hashes.get_mut(at) {
            *kept_hash = kept(hash);
        }
    }
}

/// The bits of a hash that choose segment and slot.
fn kept(hash: u64) -> u32 {
    let (segment, slot) = ((hash >> (64 - DEPTH_MAX)) as u32, (hash >> TAG_BITS[0]) as u32);
    segment * SLOTS as u32 + slot % SLOTS as u32
}

/// A hash that chooses the same segment and slot.
fn like(kept: u32) -> u64 {
    u64::from(kept / SLOTS as u32) << (64 - DEPTH_MAX) | u64::from(kept % SLOTS as u32) << TAG_BITS[0]
}

impl Index {
    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        hash as u32 & ((1 << self.tag_bits) - 1)
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> Option<usize> {
        let place = (hash >> 1) >> self.shift;
        self.directory.get(place as usize).map(|&segment| segment as usize)
    }

    /// The place with this hash for which `is_sought` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_sought: impl FnMut(u32) -> bool) -> Option<u32> {
        let segment = &self.segments[self.segment_of(hash)?];
        let tag = self.tag(hash);
        let mut at = segment.start(hash);
        loop {
            let slot = segment.slots[at];
            if slot == EMPTY {
                return None;
            }
            let place = slot >> self.tag_bits;
            if slot & ((1 << self.tag_bits) - 1) == tag && is_sought(place) {
                return Some(place);
            }
            at = segment.next(at);
        }
    }

    /// What the slot holds where a search begins: looked at so that it is near when the search comes.
    #[inline]
    pub(super) fn first(&self, hash: u64) -> u32 {
        self.segment_of(hash).map_or(EMPTY, |segment| {
            let segment = &self.segments[segment];
            segment.slots[segment.start(hash)]
        })
    }

    /// Makes room for so many places, if nothing is there yet, and keeps from now on what hashes say of their segment and slot beside the slots:
    /// four bytes more for each. Where many places come at once, segments split so without a look at the entries.
    pub(super) fn keep_hashes(&mut self, places: usize) {
        if !self.segments.is_empty() || places < SLOTS / 2 {
            return;
        }
        let segments = (places / (SLOTS / 2)).next_power_of_two();
        let depth = segments.ilog2();
        *self = Self { keeps_hashes: true, shift: 63 - depth, ..Self::default() };
        self.directory = (0..segments as u32).collect();
        self.segments = (0..segments).map(|_| Segment::new(SLOTS, depth, true)).collect();
    }

    pub(super) fn forget_hashes(&mut self) {
        if std::mem::take(&mut self.keeps_hashes) {
            self.segments.iter_mut().for_each(|segment| segment.hashes = Vec::new());
        }
    }

    /// Takes in a place that is not there. `hash_of` makes the hash of a place that is.
    pub(super) fn insert(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        self.find_or_insert(hash, place, hash_of, |_| false);
    }

    /// The place with this hash for which `is_sought` holds; where there is none, takes in the one given.
    #[inline]
    pub(super) fn find_or_insert(
        &mut self,
        hash: u64,
        place: u32,
        hash_of: impl Fn(u32) -> u64,
        mut is_sought: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let Some(full) = self.segment_of(hash) else {
            self.first_segment();
            return self.insert_slowly(hash, place, &hash_of);
        };
        let (tag_bits, tag) = (self.tag_bits, self.tag(hash));
        let segment = &mut self.segments[full];
        let mut at = segment.start(hash);
        loop {
            let slot = segment.slots[at];
            if slot == EMPTY {
                break;
            }
            let place = slot >> tag_bits;
            if slot & ((1 << tag_bits) - 1) == tag && is_sought(place) {
                return Some(place);
            }
            at = segment.next(at);
        }
        if segment.is_full() || place >= EMPTY >> tag_bits {
            return self.insert_slowly(hash, place, &hash_of);
        }
        segment.set(at, hash, place << tag_bits | tag);
        None
    }

    /// Makes room for a place that is not there, and takes it in.
    #[cold]
    fn insert_slowly(&mut self, hash: u64, place: u32, hash_of: &impl Fn(u32) -> u64) -> Option<u32> {
        while place >= EMPTY >> self.tag_bits {
            self.narrow_tags();
        }
        loop {
            let segment = self.segment_of(hash).expect("there is a segment for every hash once there is one");
            if !self.segments[segment].is_full() {
                let slot = place << self.tag_bits | self.tag(hash);
                self.segments[segment].put(hash, slot);
                return None;
            }
            self.grow(segment, hash, hash_of);
        }
    }

    /// Takes out a place that is there. The slots behind it move up, so that nothing is left of it.
    pub(super) fn remove(&mut self, hash: u64, place: u32, hash_of: impl Fn(u32) -> u64) {
        let Some(segment) = self.segment_of(hash) else { return };
        let (slot, tag_bits) = (place << self.tag_bits | self.tag(hash), self.tag_bits);
        let segment = &mut self.segments[segment];
        let mut gap = segment.start(hash);
        while segment.slots[gap] != slot {
            if segment.slots[gap] == EMPTY {
                return;
            }
            gap = segment.next(gap);
        }
        segment.used -= 1;
        let mut at = segment.next(gap);
        while segment.slots[at] != EMPTY {
            let start = segment.start(hash_of(segment.slots[at] >> tag_bits));
            let mask = segment.slots.len() - 1;
            // An entry may move up to the gap where its search begins at or before it.
            if at.wrapping_sub(start) & mask >= at.wrapping_sub(gap) & mask {
                segment.slots[gap] = segment.slots[at];
                if !segment.hashes.is_empty() {
                    segment.hashes[gap] = segment.hashes[at];
                }
                gap = at;
            }
            at = segment.next(at);
        }
        segment.slots[gap] = EMPTY;
    }

    #[cold]
    fn first_segment(&mut self) {
        self.directory.push(0);
        self.segments.push(Segment::new(SLOTS_MIN, 0, self.keeps_hashes));
    }

    #[cold]
    fn narrow_tags(&mut self) {
        let narrower = TAG_BITS[1];
        assert!(narrower < self.tag_bits, "fewer than 2^28 keys fit in memory");
        let (wider, mask) = (self.tag_bits, (1 << narrower) - 1);
        for slot in self.segments.iter_mut().flat_map(|segment| &mut segment.slots).filter(|slot| **slot != EMPTY) {
            *slot = *slot >> wider << narrower | *slot & mask;
        }
        self.tag_bits = narrower;
    }

    /// Gives the segment of a hash more slots, or half of its entries to a new one.
    #[cold]
    fn grow(&mut self, full: usize, hash: u64, hash_of: &impl Fn(u32) -> u64) {
        let segment = &mut self.segments[full];
        let (size, depth) = (segment.slots.len(), segment.depth);
        let splits = size >= SLOTS && depth < DEPTH_MAX;
        if size >= SLOTS && !splits {
            // Its slots become more than kept hashes tell apart.
            self.forget_hashes();
        }
        let keeps_hashes = self.keeps_hashes;
        let next = if splits { size } else { size * 2 };
        let new = Segment::new(next, depth + u32::from(splits), keeps_hashes);
        let old = std::mem::replace(&mut self.segments[full], new);
        let mut other = Segment::new(if splits { next } else { 0 }, depth + 1, keeps_hashes);
        for (at, slot) in old.slots.into_iter().enumerate().filter(|&(_, slot)| slot != EMPTY) {
            let hash = if keeps_hashes { like(old.hashes[at]) } else { hash_of(slot >> self.tag_bits) };
            let is_other = splits && hash << depth >> 63 == 1;
            if is_other { other.put(hash, slot) } else { self.segments[full].put(hash, slot) }
        }
        if splits {
            self.enter(other, depth, hash);
        }
    }

    /// Makes a segment that of the hashes which agree with this one in the first `depth` bits, and whose next bit is one.
    fn enter(&mut self, segment: Segment, depth: u32, hash: u64) {
        let mut directory_depth = 63 - self.shift;
        if depth == directory_depth {
            self.directory = self.directory.iter().flat_map(|&segment| [segment; 2]).collect();
            self.shift -= 1;
            directory_depth += 1;
        }
        let size = 1 << (directory_depth - depth);
        let first = ((hash >> 1) >> self.shift) as usize & !(size - 1);
        self.directory[first + size / 2..first + size].fill(self.segments.len() as u32);
        self.segments.push(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Of a place: spread, or the same for many in most of its bits.
    fn hash_of(place: u32, spreads: bool) -> u64 {
        let spread = u64::from(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if spreads { spread ^ spread >> 29 } else { spread >> 59 << 20 }
    }

    fn holds(index: &Index, places: &BTreeMap<u32, ()>, spreads: bool) {
        assert_eq!(index.segments.iter().map(|segment| segment.used).sum::<usize>(), places.len());
        let slots = index.segments.iter().flat_map(|segment| &segment.slots).filter(|&&slot| slot != EMPTY);
        let mut shown: Vec<u32> = slots.map(|slot| slot >> index.tag_bits).collect();
        shown.sort_unstable();
        assert!(shown.iter().eq(places.keys()));
        for &place in places.keys() {
            assert_eq!(index.find(hash_of(place, spreads), |other| other == place), Some(place));
        }
    }

    #[test]
    fn places_are_found_until_they_are_taken_out() {
        for (count, spreads, keeps) in [(20_000, true, false), (20_000, true, true), (2_000, false, false), (2_000, false, true)] {
            let (mut index, mut places) = (Index::default(), BTreeMap::new());
            if keeps {
                index.keep_hashes(SLOTS);
            }
            for place in 0..count {
                index.insert(hash_of(place, spreads), place, |place| hash_of(place, spreads));
                places.insert(place, ());
            }
            holds(&index, &places, spreads);
            assert_eq!(index.find(hash_of(count, spreads), |other| other == count), None);
            for place in (0..count).filter(|place| place % 3 != 1) {
                index.remove(hash_of(place, spreads), place, |place| hash_of(place, spreads));
                places.remove(&place);
            }
            holds(&index, &places, spreads);
            let slots = |index: &Index| index.segments.iter().map(|segment| segment.slots.len()).sum::<usize>();
            let before = slots(&index);
            for place in (0..count).filter(|place| place % 3 != 1) {
                index.insert(hash_of(place, spreads), place, |place| hash_of(place, spreads));
            }
            assert_eq!(slots(&index), before, "slots are used again");
        }
    }

    #[test]
    fn keys_that_collide_in_all_bits_do_not_grow_the_directory_without_end() {
        let mut index = Index::default();
        index.keep_hashes(SLOTS);
        for place in 0..5_000 {
            index.insert(7, place, |_| 7);
        }
        assert!(index.directory.len() <= 1 << DEPTH_MAX);
        assert_eq!(index.find(7, |place| place == 4_999), Some(4_999));
    }

    #[test]
    fn tags_become_narrower_where_places_need_the_bits() {
        let last = EMPTY >> TAG_BITS[0];
        let (mut index, mut places) = (Index::default(), BTreeMap::new());
        for place in last - 500..last + 500 {
            index.insert(hash_of(place, true), place, |place| hash_of(place, true));
            places.insert(place, ());
        }
        assert_eq!(index.tag_bits, TAG_BITS[1]);
        holds(&index, &places, true);
        index.remove(hash_of(last, true), last, |place| hash_of(place, true));
        places.remove(&last);
        holds(&index, &places, true);
    }

    proptest! {
        #[test]
        fn an_index_is_a_set(
            steps in proptest::collection::vec((0..60u32, any::<bool>()), 0..400), spreads in any::<bool>(), keeps in any::<bool>(),
        ) {
            let (mut index, mut places) = (Index::default(), BTreeMap::new());
            if keeps {
                index.keep_hashes(SLOTS);
            }
            for (place, is_there) in steps {
                let hash = hash_of(place, spreads);
                if is_there {
                    let found = index.find_or_insert(hash, place, |place| hash_of(place, spreads), |other| other == place);
                    prop_assert_eq!(found.is_some(), places.insert(place, ()).is_some());
                } else {
                    places.remove(&place);
                    index.remove(hash, place, |place| hash_of(place, spreads));
                }
                holds(&index, &places, spreads);
            }
        }
    }
}
