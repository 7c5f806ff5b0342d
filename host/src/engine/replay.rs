//! The calls of an instance since its last snapshot: what its successor has to repeat, and what came of each.
//!
//! A call that is repeated gets the same rows, the same number and the same time. What it returns was sent when it was made, and is dropped;
//! its digest must be that of the first time.

use crate::wasm::{Call, GuestError, Instance, Outcome, Rejection};
use reprise_core::batch::Batch;
use reprise_core::codec::Checksum;
use reprise_core::failure::pace::Logged;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that an entry counts beside its rows.
pub(super) const ENTRY_BYTES: u64 = 128;

/// What a call is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Rows of one of the operator's inputs.
    Rows {
        /// Its index.
        input: u32,
        /// The rows.
        rows: Batch,
    },
    /// A watermark.
    Watermark(i64),
}

impl Input {
    /// Makes the call.
    pub(super) fn make(&self, instance: &mut Instance, call: Call) -> Result<Outcome, GuestError> {
        match self {
            Self::Rows { input, rows } => instance.process(*input, rows, call),
            Self::Watermark(watermark) => instance.advance(*watermark, call).map(|outputs| Outcome { outputs, rejected: Vec::new() }),
        }
    }

    /// What the call was working on, for a message.
    pub(super) fn describe(&self, inputs: &[String]) -> String {
        match self {
            Self::Rows { input, rows } => {
                let name = inputs.get(*input as usize).map_or("?", String::as_str);
                let times = rows.times();
                let span = match (times.iter().min(), times.iter().max()) {
                    (Some(first), Some(last)) if *last != 0 => format!(", event times {first} to {last} ms"),
                    _ => String::new(),
                };
                let count = rows.len();
                format!("input `{name}`, {count} row{}{span}", if count == 1 { "" } else { "s" })
            }
            Self::Watermark(watermark) => format!("watermark {watermark}"),
        }
    }

    fn bytes(&self) -> u64 {
        ENTRY_BYTES + if let Self::Rows { rows, .. } = self { rows.size_bytes() as u64 } else { 0 }
    }
}

/// A call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it was given.
    pub input: Input,
    /// Its number and time.
    pub call: Call,
    /// Digest of what it returned.
    pub digest: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct InputLog {
    entries: Vec<Arc<Entry>>,
    logged: Logged,
}

impl InputLog {
    /// Adds a call that took so long.
    pub fn push(&mut self, entry: Entry, busy: Duration) {
        self.logged.bytes += entry.input.bytes();
        self.logged.busy += busy;
        self.entries.push(Arc::new(entry));
    }

    /// Forgets all calls: a snapshot holds what they did.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.logged = Logged::default();
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub fn logged(&self) -> Logged {
        self.logged
    }
}

/// The odd multiplier of the sums below: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A digest of all that a call returned: ports, rows, rejections.
pub(super) fn digest(outcome: &Outcome) -> u64 {
    let mut sum = Checksum::default();
    for (port, rows) in &outcome.outputs {
        let sums = [
            u64::from(*port),
            rows.len() as u64,
            fold(rows.times(), |time| *time as u64),
            fold(rows.key_ends(), |end| u64::from(*end)),
            fold(rows.value_ends(), |end| u64::from(*end)),
        ];
        sums.iter().for_each(|part| sum.update(&part.to_le_bytes()));
        sum.update(rows.keys());
        sum.update(rows.values());
    }
    for Rejection { row, reason } in &outcome.rejected {
        sum.update(&row.to_le_bytes());
        sum.update(&(reason.len() as u64).to_le_bytes());
        sum.update(reason.as_bytes());
    }
    sum.digest()
}

/// A sum of numbers in which their order counts. Four lanes, since each step of one waits for the step before it.
fn fold<T>(numbers: &[T], number: impl Fn(&T) -> u64) -> u64 {
    let (fours, rest) = numbers.as_chunks::<4>();
    let mut lanes = [1u64, 2, 3, 4];
    let step = |lane: &mut u64, number: u64| *lane = (*lane ^ number).wrapping_mul(MULTIPLIER).rotate_left(23);
    for four in fours {
        lanes.iter_mut().zip(four).for_each(|(lane, value)| step(lane, number(value)));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, value)| step(lane, number(value)));
    lanes.iter().fold(0, |sum, lane| (sum ^ lane).wrapping_mul(MULTIPLIER).rotate_left(23))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::batch::Row;

    fn batch(rows: &[(i64, &str, &str)]) -> Batch {
        let mut batch = Batch::new();
        for (time, key, value) in rows {
            batch.push(Row { time: *time, key: key.as_bytes(), value: value.as_bytes() }).unwrap();
        }
        batch
    }

    fn of(outputs: Vec<(u32, Batch)>) -> u64 {
        digest(&Outcome { outputs, rejected: Vec::new() })
    }

    #[test]
    fn every_part_of_what_a_call_returns_counts() {
        let rows = [(1, "a", "bc"), (2, "d", "e")];
        let plain = of(vec![(0, batch(&rows))]);
        assert_eq!(plain, of(vec![(0, batch(&rows))]));
        let others = [
            of(vec![(1, batch(&rows))]),
            of(vec![(0, batch(&[rows[1], rows[0]]))]),
            of(vec![(0, batch(&[(1, "ab", "c"), rows[1]]))]),
            of(vec![(0, batch(&[(3, "a", "bc"), rows[1]]))]),
            of(vec![(0, batch(&[rows[0]])), (0, batch(&[rows[1]]))]),
            of(vec![]),
            digest(&Outcome { outputs: vec![(0, batch(&rows))], rejected: vec![Rejection { row: 0, reason: "x".into() }] }),
        ];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(*other, plain, "{at}");
            assert_eq!(others.iter().filter(|same| *same == other).count(), 1, "{at}");
        }
    }

    #[test]
    fn the_order_of_numbers_counts_in_every_lane() {
        let numbers: Vec<u64> = (0..11).collect();
        let plain = fold(&numbers, |number| *number);
        for (a, b) in [(0, 1), (0, 4), (3, 7), (9, 10), (7, 10)] {
            let mut swapped = numbers.clone();
            swapped.swap(a, b);
            assert_ne!(fold(&swapped, |number| *number), plain, "{a} {b}");
        }
    }

    #[test]
    fn a_log_knows_its_size_and_forgets() {
        let mut log = InputLog::default();
        let entry = |input| Entry { input, call: Call::default(), digest: 0 };
        log.push(entry(Input::Watermark(5)), Duration::from_millis(2));
        log.push(entry(Input::Rows { input: 0, rows: batch(&[(1, "a", "bc")]) }), Duration::from_millis(3));
        assert_eq!(log.logged(), Logged { bytes: 2 * ENTRY_BYTES + 19, busy: Duration::from_millis(5) });
        log.clear();
        assert_eq!((log.logged(), log.entries().len()), (Logged::default(), 0));
    }
}
