//! How many rows an operator is given in one call, so that what comes of it has room and its neighbours get their turn.
//!
//! A call is one step: whatever it emits is in memory before any of it is handed on, and nothing else runs on its worker before it returns. An
//! operator that makes ten thousand rows of each one would fill the host from a single batch; one that takes a millisecond a row would hold the
//! other operators of its worker for seconds. What a call will emit and take is known only from those before, so an operator begins with a
//! little, and the portion doubles as long as output and time keep within their measures; where one does not, the portion shrinks in proportion.
//! Ordinary operators are at whole batches after a handful of calls.

use std::time::Duration;

/// Bytes of rows that the first call is given.
pub const FIRST_BYTES: u64 = 4 << 10;
/// More is never given at once on account of this: batches are smaller.
const BYTES_MAX: u64 = 1 << 30;
/// Time that a call should take at most: as long as a turn.
pub const CALL_TIME_MAX: Duration = Duration::from_millis(10);

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

    /// Takes note of a call: the bytes that it was given, those that it emitted, and how long it took.
    pub fn note(&mut self, given: u64, emitted: u64, took: Duration) {
        let within = |measure: u128, used: u128| u128::from(given) * measure / used.max(1);
        let by_output = within(self.output_bytes_max.into(), emitted.into());
        let by_time = within(CALL_TIME_MAX.as_nanos(), took.as_nanos());
        let fits = u64::try_from(by_output.min(by_time)).unwrap_or(BYTES_MAX).clamp(1, BYTES_MAX);
        if emitted > self.output_bytes_max || took > CALL_TIME_MAX {
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
            portion.note(rows, rows * 2, Duration::from_nanos(rows));
            calls += 1;
        }
        assert!(calls <= 8, "{calls} calls");
    }

    #[test]
    fn a_call_with_little_says_nothing_of_large_ones() {
        let mut portion = Portion::new(1 << 20);
        let before = portion;
        portion.note(16, 16, Duration::from_micros(1));
        assert_eq!(portion, before);
    }

    #[test]
    fn a_slow_operator_is_given_what_it_does_within_its_time_and_whole_batches_when_it_is_fast_again() {
        let mut portion = Portion::new(4 << 20);
        let rows_of = |portion: &Portion| portion.rows(4096, 256 << 10);
        let call = |portion: &mut Portion, a_row: Duration| {
            let rows = rows_of(portion);
            let took = a_row * u32::try_from(rows).unwrap();
            portion.note(rows as u64 * 64, 64, took);
            took
        };
        let slow = Duration::from_millis(1);
        let first = call(&mut portion, slow);
        assert!(first <= slow * 64, "{first:?}");
        for _ in 0..20 {
            let took = call(&mut portion, slow);
            assert!(took <= CALL_TIME_MAX && took >= CALL_TIME_MAX / 4, "{took:?}");
        }
        // One that takes longer than its time for a single row is given single rows.
        for _ in 0..3 {
            call(&mut portion, CALL_TIME_MAX * 3);
        }
        assert_eq!(rows_of(&portion), 1);
        for _ in 0..20 {
            call(&mut portion, Duration::from_nanos(300));
        }
        assert_eq!(rows_of(&portion), 4096);
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
                portion.note(given_bytes, emitted, Duration::ZERO);
            }
        }
    }
}
