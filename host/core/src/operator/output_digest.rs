//! What a call returned, as digests: of the rows of each output in blocks, and of the rows that were rejected. The rows themselves are sent and
//! gone. When the call is repeated, the first block whose digest is another one tells where the repetition went another way.
//!
//! A block has [`BLOCK_ROWS`] rows; an output of no more rows than that has blocks of one row, so that a small call names the very row. Keys and
//! values of a block lie side by side in their columns, so a block costs a handful of hashes.

use super::call::{Outcome, Rejection};
use crate::batch::Batch;
use crate::codec::{Checksum, checksum};
use crate::description::Port;
use std::collections::BTreeMap;

/// Rows of a block, and the most rows that an output may have for its blocks to have one.
const BLOCK_ROWS: usize = 16;
/// Bytes of a key that a message shows.
const KEY_BYTES_SHOWN: usize = 64;
/// The odd multiplier of the sums below: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The digests of what a call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputDigest {
    digest: u64,
    /// Of the rejected rows; then for each piece of output its port, its number of rows, and its blocks. Empty where all but the digest is
    /// unknown.
    sums: Box<[u64]>,
}

impl OutputDigest {
    /// The digests of an outcome.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        let length = outcome.outputs.iter().map(|(_, rows)| 2 + rows.len().div_ceil(block_rows(rows.len()))).sum::<usize>();
        let mut sums = Vec::with_capacity(1 + length);
        sums.push(rejections(&outcome.rejected));
        for (port, rows) in &outcome.outputs {
            sums.extend([u64::from(*port), rows.len() as u64]);
            let size = block_rows(rows.len());
            sums.extend((0..rows.len()).step_by(size).map(|from| block(rows, from, (from + size).min(rows.len()))));
        }
        Self { digest: fold(&sums, |sum| *sum), sums: sums.into_boxed_slice() }
    }

    /// Where nothing but the digest of all was written down: a difference can be seen, not its place.
    #[must_use]
    pub fn known_by(digest: u64) -> Self {
        Self { digest, sums: Box::default() }
    }

    /// The digest of all that the call returned.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Bytes that the digests hold.
    pub fn size_bytes(&self) -> u64 {
        size_of_val(&*self.sums) as u64
    }

    /// Where a repetition of the call returned something else; `None` where it did not.
    pub fn difference(&self, again: &Outcome) -> Option<Difference> {
        (Self::of(again).digest != self.digest).then(|| self.find(again))
    }

    fn find(&self, again: &Outcome) -> Difference {
        let Some((rejected, mut sums)) = self.sums.split_first() else { return Difference::Somewhere };
        let mut outputs = again.outputs.iter();
        // Rows of earlier pieces, by port.
        let mut earlier = BTreeMap::<u32, u64>::new();
        while let [port, rows, rest @ ..] = sums {
            let Ok(port) = u32::try_from(*port) else { return Difference::Somewhere };
            let before = earlier.get(&port).copied().unwrap_or_default();
            let (blocks, rest) = rest.split_at((*rows as usize).div_ceil(block_rows(*rows as usize)).min(rest.len()));
            sums = rest;
            let now = match outputs.next() {
                Some((now, _)) if *now != port => return Difference::Ports,
                Some((_, now)) => Some(now),
                None => None,
            };
            if let Some(place) = first_difference(*rows as usize, blocks, now) {
                return Difference::Rows { port, before, place };
            }
            earlier.insert(port, before + rows);
        }
        if let Some((port, rows)) = outputs.next() {
            let before = earlier.get(port).copied().unwrap_or_default();
            let place = DifferencePlace { rows: 0..0, then: 0, now: rows.len(), found: Some(FoundRow::of(rows, 0)) };
            return Difference::Rows { port: *port, before, place };
        }
        if rejections(&again.rejected) == *rejected { Difference::Somewhere } else { Difference::Rejected }
    }
}

/// The first block of a piece of output in which a repetition has other rows, or none.
fn first_difference(then: usize, blocks: &[u64], now: Option<&Batch>) -> Option<DifferencePlace> {
    let count = now.map_or(0, Batch::len);
    let size = block_rows(then);
    let span = |at: usize| at * size..((at + 1) * size).min(then);
    let is_other = |at: &usize| {
        let span = span(*at);
        now.filter(|_| span.end <= count).is_none_or(|now| block(now, span.start, span.end) != blocks[*at])
    };
    let rows = match (0..blocks.len()).find(is_other) {
        Some(at) => span(at),
        None if count > then => then..then,
        None => return None,
    };
    let found = now.filter(|now| rows.start < now.len()).map(|now| FoundRow::of(now, rows.start));
    Some(DifferencePlace { rows, then, now: count, found })
}

/// How a repetition differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// In the rows of an output.
    Rows {
        /// Its index.
        port: u32,
        /// Rows of the output in earlier pieces, which are the same.
        before: u64,
        /// Where, in the piece that differs.
        place: DifferencePlace,
    },
    /// In the outputs that its rows are for, or in their order.
    Ports,
    /// In the rows that it rejected, or in its reasons.
    Rejected,
    /// In nothing that was written down.
    Somewhere,
}

/// Where a piece of output differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferencePlace {
    /// The rows of the first block with a difference; empty where all rows of the first time are there and others follow.
    rows: std::ops::Range<usize>,
    /// How many rows there were the first time.
    then: usize,
    /// How many there were now.
    now: usize,
    /// The first of the rows now.
    found: Option<FoundRow>,
}

/// A row of a repetition, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FoundRow {
    key: String,
    time: i64,
}

impl FoundRow {
    fn of(rows: &Batch, at: usize) -> Self {
        Self { key: shown(rows.key(at)), time: rows.times()[at] }
    }
}

/// A key in a line of text: nothing in it can end the line or the quotes.
fn shown(key: &[u8]) -> String {
    let part = &key[..key.len().min(KEY_BYTES_SHOWN)];
    let text = match std::str::from_utf8(part) {
        // The cut may go through a character.
        Err(error) if error.error_len().is_none() && part.len() < key.len() => std::str::from_utf8(&part[..error.valid_up_to()]),
        read => read,
    };
    let shown = text.map_or_else(|_| part.escape_ascii().to_string(), |text| text.escape_debug().collect()).replace('`', "\\`");
    if part.len() < key.len() { format!("{shown}...") } else { shown }
}

impl Difference {
    /// For people. `outputs`: those of the operator.
    pub fn describe(&self, outputs: &[Port]) -> String {
        let (port, before, place) = match self {
            Self::Rows { port, before, place } => (port, before, place),
            Self::Ports => return "its rows are for other outputs, or for the same ones in another order".to_owned(),
            Self::Rejected => return "it rejected other rows, or for other reasons".to_owned(),
            Self::Somewhere => return "where it differs was not written down".to_owned(),
        };
        let name = outputs.get(*port as usize).map_or("?", |port| port.name.as_str());
        let DifferencePlace { rows, then, now, found } = place;
        let first = before + rows.start as u64;
        let found = found.as_ref().map(|found| format!("row {first} now has the key `{}` and the event time {} ms", found.key, found.time));
        let what = match (then == now, rows.len()) {
            (true, 1) => format!("row {first} of its output `{name}` is another one"),
            (true, _) => format!("one of rows {first} to {} of its output `{name}` is another one", before + rows.end as u64 - 1),
            (false, _) => {
                format!(
                    "its output `{name}` now has {} rows, and had {}: the first {first} are the same",
                    before + *now as u64,
                    before + *then as u64
                )
            }
        };
        found.map_or_else(|| what.clone(), |found| format!("{what}; {found}"))
    }
}

/// Rows of the blocks of an output with so many rows.
fn block_rows(rows: usize) -> usize {
    if rows <= BLOCK_ROWS { 1 } else { BLOCK_ROWS }
}

/// A digest of rows that follow each other. Ends count from the start of the batch: only the first difference is looked for.
fn block(rows: &Batch, from: usize, to: usize) -> u64 {
    let (key_ends, value_ends) = (rows.key_ends(), rows.value_ends());
    let begin = |ends: &[u32]| from.checked_sub(1).map_or(0, |before| ends[before] as usize);
    let end = |ends: &[u32]| to.checked_sub(1).map_or(0, |last| ends[last] as usize);
    let sums = [
        checksum(&rows.keys()[begin(key_ends)..end(key_ends)]),
        checksum(&rows.values()[begin(value_ends)..end(value_ends)]),
        fold(&rows.times()[from..to], |time| *time as u64),
        fold(&key_ends[from..to], |end| u64::from(*end)),
        fold(&value_ends[from..to], |end| u64::from(*end)),
    ];
    fold(&sums, |sum| *sum)
}

fn rejections(rejected: &[Rejection]) -> u64 {
    if rejected.is_empty() {
        return 0;
    }
    let mut sum = Checksum::default();
    for Rejection { row, reason } in rejected {
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
    use crate::batch::Row;
    use crate::description::Encoding;

    fn batch(rows: &[(i64, &str, &str)]) -> Batch {
        let mut batch = Batch::new();
        for (time, key, value) in rows {
            batch.push(Row { time: *time, key: key.as_bytes(), value: value.as_bytes() }).unwrap();
        }
        batch
    }

    /// So many rows, of which some have another value.
    fn many(rows: usize, others: &[usize]) -> Batch {
        let mut batch = Batch::new();
        for row in 0..rows {
            let value: &[u8] = if others.contains(&row) { b"x" } else { b"v" };
            batch.push(Row { time: row as i64, key: format!("k{row}").as_bytes(), value }).unwrap();
        }
        batch
    }

    fn outcome(outputs: Vec<(u32, Batch)>) -> Outcome {
        Outcome { outputs, rejected: Vec::new() }
    }

    fn of(outputs: Vec<(u32, Batch)>) -> u64 {
        OutputDigest::of(&outcome(outputs)).digest()
    }

    fn told(then: Vec<(u32, Batch)>, now: Vec<(u32, Batch)>) -> String {
        let ports = ["counts", "late"].map(|name| Port { name: name.to_owned(), key: Encoding::Utf8, value: Encoding::Utf8 });
        let returned = OutputDigest::of(&outcome(then.clone()));
        assert_eq!(returned.difference(&outcome(then)), None);
        returned.difference(&outcome(now)).expect("they differ").describe(&ports)
    }

    #[test]
    fn every_part_of_what_a_call_returns_counts() {
        let rows = [(1, "a", "bc"), (2, "d", "e")];
        let plain = of(vec![(0, batch(&rows))]);
        assert_eq!(plain, of(vec![(0, batch(&rows))]));
        let rejected = Outcome { outputs: vec![(0, batch(&rows))], rejected: vec![Rejection { row: 0, reason: "x".into() }] };
        let others = [
            of(vec![(1, batch(&rows))]),
            of(vec![(0, batch(&[rows[1], rows[0]]))]),
            of(vec![(0, batch(&[(1, "ab", "c"), rows[1]]))]),
            of(vec![(0, batch(&[(3, "a", "bc"), rows[1]]))]),
            of(vec![(0, batch(&[rows[0]])), (0, batch(&[rows[1]]))]),
            of(vec![]),
            OutputDigest::of(&rejected).digest(),
        ];
        for (at, other) in others.iter().enumerate() {
            assert_ne!(*other, plain, "{at}");
            assert_eq!(others.iter().filter(|same| *same == other).count(), 1, "{at}");
        }
    }

    #[test]
    fn a_difference_in_any_row_is_found_in_its_block() {
        for rows in [1, 15, 16, 17, 40, 48] {
            for other in 0..rows {
                // What follows the first difference does not matter.
                let text = told(vec![(0, many(rows, &[]))], vec![(0, many(rows, &[other, rows - 1]))]);
                let first = if rows <= 16 { other } else { other / 16 * 16 };
                let last = (first + 15).min(rows - 1);
                let place = match rows <= 16 || first == last {
                    true => format!("row {first} of its output `counts` is another one"),
                    false => format!("one of rows {first} to {last} of its output `counts` is another one"),
                };
                assert_eq!(text, format!("{place}; row {first} now has the key `k{first}` and the event time {first} ms"));
            }
        }
    }

    #[test]
    fn a_difference_of_time_key_or_value_is_told_with_the_row_that_is_there_now() {
        let row = |time, key, value| vec![(0, batch(&[(1, "a", "b"), (time, key, value)]))];
        for (now, shown) in [
            (row(3, "k", "v"), "the key `k` and the event time 3 ms"),
            (row(2, "k'\n\u{1b}`", "v"), "the key `k\\'\\n\\u{1b}\\`` and the event time 2 ms"),
            (row(2, "k", "w"), "the key `k` and the event time 2 ms"),
        ] {
            assert_eq!(told(row(2, "k", "v"), now), format!("row 1 of its output `counts` is another one; row 1 now has {shown}"));
        }
        let mut binary = Batch::new();
        binary.push(Row { time: 0, key: &[0xff, b'a'], value: b"" }).unwrap();
        assert!(told(vec![(0, many(1, &[]))], vec![(0, binary)]).contains("the key `\\xffa` and"));
        let long = format!("{}ä", "a".repeat(KEY_BYTES_SHOWN - 1));
        let told = told(vec![(0, many(1, &[]))], vec![(0, batch(&[(0, &long, "")]))]);
        assert!(told.contains(&format!("the key `{}...` and", "a".repeat(KEY_BYTES_SHOWN - 1))), "{told}");
    }

    #[test]
    fn rows_that_are_missing_or_too_many_are_counted() {
        let fewer = told(vec![(0, many(5, &[]))], vec![(0, many(3, &[]))]);
        assert_eq!(fewer, "its output `counts` now has 3 rows, and had 5: the first 3 are the same");
        let more = told(vec![(0, many(16, &[]))], vec![(0, many(18, &[]))]);
        assert_eq!(
            more,
            "its output `counts` now has 18 rows, and had 16: the first 16 are the same; row 16 now has the key `k16` and the event time 16 ms"
        );
        let none = told(vec![(0, many(20, &[]))], vec![]);
        assert_eq!(none, "its output `counts` now has 0 rows, and had 20: the first 0 are the same");
        let some = told(vec![], vec![(1, many(2, &[]))]);
        assert!(some.starts_with("its output `late` now has 2 rows, and had 0: the first 0 are the same; row 0 now has"), "{some}");
        let piece = told(vec![(0, many(3, &[])), (0, many(2, &[]))], vec![(0, many(3, &[])), (0, many(2, &[1]))]);
        assert!(piece.starts_with("row 4 of its output `counts` is another one"), "{piece}");
        let behind = told(vec![(0, many(3, &[])), (0, many(2, &[]))], vec![(0, many(3, &[]))]);
        assert_eq!(behind, "its output `counts` now has 3 rows, and had 5: the first 3 are the same");
    }

    #[test]
    fn other_outputs_and_other_rejections_are_told_apart() {
        let ports = told(vec![(0, many(1, &[])), (1, many(1, &[]))], vec![(1, many(1, &[])), (0, many(1, &[]))]);
        assert_eq!(ports, "its rows are for other outputs, or for the same ones in another order");
        let rejecting = |row| Outcome { outputs: vec![(0, many(2, &[]))], rejected: vec![Rejection { row, reason: "x".into() }] };
        assert_eq!(OutputDigest::of(&rejecting(0)).difference(&rejecting(1)), Some(Difference::Rejected));
        let known = OutputDigest::known_by(OutputDigest::of(&rejecting(0)).digest());
        assert_eq!((known.difference(&rejecting(0)), known.difference(&rejecting(1))), (None, Some(Difference::Somewhere)));
    }

    #[test]
    fn the_digests_are_small_beside_the_rows() {
        let rows = many(4096, &[]);
        let bytes = rows.size_bytes() as u64;
        let returned = OutputDigest::of(&outcome(vec![(0, rows)]));
        assert_eq!(returned.size_bytes(), 8 * (1 + 2 + 256));
        assert!(returned.size_bytes() * 16 < bytes);
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
}
