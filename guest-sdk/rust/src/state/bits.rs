//! A set of places, a bit each.

/// Places that are in the set, of all below a number that grows.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Makes room for a place, which is not in the set if it is new.
    #[inline]
    pub(super) fn cover(&mut self, place: u32) {
        if place as usize / 64 >= self.words.len() {
            self.words.push(0);
        }
    }

    /// Takes in a place that is covered.
    #[inline]
    pub(super) fn insert(&mut self, place: u32) {
        self.words[place as usize / 64] |= 1 << (place % 64);
    }

    #[inline]
    pub(super) fn contains(&self, place: u32) -> bool {
        self.words[place as usize / 64] >> (place % 64) & 1 == 1
    }

    /// The first place in the set at or after this one.
    #[inline]
    pub(super) fn next(&self, place: u32) -> Option<u32> {
        let mut at = place as usize / 64;
        let mut word = self.words.get(at)? >> (place % 64) << (place % 64);
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        Some(at as u32 * 64 + word.trailing_zeros())
    }

    /// Takes all places out of the set.
    pub(super) fn clear(&mut self) {
        self.words.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_in_rising_order() {
        let mut bits = Bits::default();
        (0..200).for_each(|place| bits.cover(place));
        let places = [0, 1, 63, 64, 127, 130, 199];
        places.iter().rev().for_each(|&place| bits.insert(place));
        let mut found = Vec::new();
        while let Some(place) = bits.next(found.last().map_or(0, |last| last + 1)) {
            found.push(place);
        }
        assert_eq!(found, places);
        assert!(bits.contains(130) && !bits.contains(131));
        bits.clear();
        assert_eq!(bits.next(0), None);
    }
}
