//! How many rows an operator is given in one call, so that what comes of it has room.
//!
//! A call is one step: whatever it emits is in memory before any of it is handed on. An operator that makes ten thousand rows of each one
//! would fill the host from a single batch. What it will emit is known only from what it emitted before, so it begins with a little, and the
//! portion doubles as long as the output keeps within its measure; where it does not, the portion shrinks in proportion. Ordinary operators
//! are at whole batches after a handful of calls.

/// Bytes of rows that the first call is given.
pub const FIRST_BYTES: u64 = 4 << 10;
/// More is never given at once on account of this: batches are smaller.
const BYTES_MAX: u64 = 1 << 30;

/// The portion of rows that an operator is given in one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    bytes: u64,
    output_bytes_max: u64,
}

impl Portion {
    /// One for calls that should emit at most so many bytes.
    #[must_use]
    pub fn new(output_bytes_max: u64) -> Self {
        Self { bytes: FIRST_BYTES, output_bytes_max: output_bytes_max.max(1) }
    }

    /// How many of `rows` rows, which have so many bytes together, to give; at least one where there are any.
    #[must_use]
    pub fn rows(&self, rows: usize, bytes: u64) -> usize {
        if bytes <= self.bytes {
            return rows;
        }
        let share = u128::from(self.bytes) * rows as u128 / u128::from(bytes);
        usize::try_from(share).unwrap_or(rows).clamp(1, rows.max(1)).min(rows)
    }

    /// Takes note of a call: the bytes that it was given, and those that it emitted.
    pub fn note(&mut self, given: u64, emitted: u64) {
        let fits = u128::from(given) * u128::from(self.output_bytes_max) / u128::from(emitted.max(1));
        let fits = u64::try_from(fits).unwrap_or(BYTES_MAX).clamp(1, BYTES_MAX);
        if emitted > self.output_bytes_max {
            self.bytes = fits;
        } else if given >= self.bytes / 2 {
            self.bytes = self.bytes.saturating_mul(2).min(fits).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_ordinary_operator_is_given_whole_batches_after_a_few_calls() {
        let (mut portion, mut calls) = (Portion::new(4 << 20), 0);
        while portion.rows(4096, 256 << 10) < 4096 {
            let rows = portion.rows(4096, 256 << 10) as u64 * 64;
            portion.note(rows, rows * 2);
            calls += 1;
        }
        assert!(calls <= 8, "{calls} calls");
    }

    #[test]
    fn a_call_with_little_says_nothing_of_large_ones() {
        let mut portion = Portion::new(1 << 20);
        let before = portion;
        portion.note(16, 16);
        assert_eq!(portion, before);
    }

    proptest! {
        #[test]
        fn the_output_stays_within_its_measure_but_for_the_first_call_and_single_rows(
            factor in 1u64..100_000, row in 17u64..2_000, rows in 1usize..5_000, calls in 2usize..50,
        ) {
            let measure = 4 << 20;
            let mut portion = Portion::new(measure);
            for call in 0..calls {
                let given = portion.rows(rows, rows as u64 * row);
                prop_assert!((1..=rows).contains(&given));
                let (given_bytes, emitted) = (given as u64 * row, given as u64 * row * factor);
                prop_assert!(call == 0 || given == 1 || emitted <= measure, "call {call}: {given} rows make {emitted} bytes");
                prop_assert!(call > 0 || given == 1 || given_bytes <= FIRST_BYTES);
                portion.note(given_bytes, emitted);
            }
        }
    }
}
