//! Numbers that look like chance and follow from a seed. Not for anything that must not be guessed.

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Debug, Clone)]
pub struct SeededRandom(u64);

impl SeededRandom {
    /// Of a seed always the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers of their own for one round of one check, so that a check gives the same answer whether or not others ran before it.
    #[must_use]
    pub fn of_round(seed: u64, check: u64, round: u64) -> Self {
        let mut mixed = Self(seed);
        for part in [check, round] {
            mixed.0 = mixed.number() ^ part;
        }
        Self(mixed.number())
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where `end` is 0. The bias is far below what a check can notice.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.saturating_sub(low).max(0) as u64;
        low + (self.number() % (span + 1)) as i64
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.number() % 100 < percent
    }

    /// One of them.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// Puts them in any order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.below(last + 1));
        }
    }

    /// Up to `count` different places from 0 to `end`, both included, in rising order; at least one.
    pub fn places(&mut self, count: usize, end: usize) -> Vec<usize> {
        let mut places: Vec<usize> = (0..count.max(1)).map(|_| self.below(end + 1)).collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_rounds_differ() {
        let draw = |mut random: SeededRandom| [random.number(), random.number()];
        assert_eq!(draw(SeededRandom::of_round(1, 2, 3)), draw(SeededRandom::of_round(1, 2, 3)));
        let others = [
            SeededRandom::of_round(2, 2, 3),
            SeededRandom::of_round(1, 3, 3),
            SeededRandom::of_round(1, 2, 4),
            SeededRandom::of_round(1, 3, 2),
        ];
        assert!(others.into_iter().all(|other| draw(other) != draw(SeededRandom::of_round(1, 2, 3))));
    }

    #[test]
    fn places_rise_and_stay_within_their_bounds() {
        let mut random = SeededRandom::new(7);
        for _ in 0..100 {
            let places = random.places(5, 9);
            assert!(!places.is_empty() && places.windows(2).all(|pair| pair[0] < pair[1]) && places.iter().all(|&place| place <= 9));
        }
        assert_eq!(random.places(3, 0), [0]);
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut all: Vec<u32> = (0..50).collect();
        SeededRandom::new(1).shuffle(&mut all);
        assert!(!all.is_sorted());
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
