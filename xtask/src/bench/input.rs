//! The benchmark's input: lines `key,value,time`, the same at every call.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Different keys.
pub const KEYS: usize = 100_000;
/// Values lie in `-VALUE_MAX..=VALUE_MAX`.
const VALUE_MAX: i64 = 1000;
/// Event time of the first row: 2023-11-14T22:13:20Z. A thousand rows share each second.
const FIRST_TIME_MS: u64 = 1_700_000_000_000;
const WRITE_BYTES: usize = 1 << 20;

/// Writes so many rows of so many keys.
///
/// # Errors
/// The file cannot be written.
pub fn write(rows: u64, keys: usize, file: &Path) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(WRITE_BYTES, File::create(file)?);
    write_rows(rows, keys, &mut out)?;
    out.flush()
}

fn write_rows(rows: u64, keys: usize, out: &mut impl Write) -> io::Result<()> {
    let keys = Zipf::new(keys);
    let mut random = Random(0);
    for row in 0..rows {
        let key = keys.rank(random.unit());
        let value = random.below(2 * VALUE_MAX.unsigned_abs() + 1).cast_signed() - VALUE_MAX;
        writeln!(out, "key-{key:05},{value},{}", FIRST_TIME_MS + row)?;
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// In `0.0..1.0`, with the 53 bits that a double holds.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// In `0..bound`; the bias is below `bound` / 2^64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// Zipf's distribution with exponent 1: rank `r`, from 0, has the weight `1 / (r + 1)`.
struct Zipf {
    /// Weights summed up to and including each rank.
    sums: Vec<f64>,
}

impl Zipf {
    fn new(ranks: usize) -> Self {
        let weights = (1..=ranks).map(|place| 1.0 / place as f64);
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// The rank at a point of `0.0..1.0`.
    fn rank(&self, unit: f64) -> usize {
        let total = self.sums.last().copied().unwrap_or(0.0);
        self.sums.partition_point(|sum| *sum <= unit * total).min(self.sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_input_is_the_same_at_every_call() {
        let text = || {
            let mut out = Vec::new();
            write_rows(3, KEYS, &mut out).expect("memory takes everything");
            String::from_utf8(out).expect("rows are ASCII")
        };
        assert_eq!(text(), text());
        let first = text();
        let fields: Vec<&str> = first.lines().next().expect("there are rows").split(',').collect();
        assert_eq!((fields.len(), fields[0].len(), fields[2]), (3, 9, "1700000000000"), "{first}");
    }

    #[test]
    fn frequencies_fall_as_the_rank_rises() {
        let (zipf, mut random) = (Zipf::new(1000), Random(1));
        let mut counts: BTreeMap<usize, u32> = BTreeMap::new();
        for _ in 0..1_000_000 {
            *counts.entry(zipf.rank(random.unit())).or_default() += 1;
        }
        // The harmonic number of 1000 is 7.4855.
        for (rank, expected) in [(0, 133_592), (1, 66_796), (9, 13_359), (99, 1336)] {
            assert!(counts[&rank].abs_diff(expected) < expected / 8, "rank {rank}: {} instead of about {expected}", counts[&rank]);
        }
        assert_eq!((zipf.rank(0.0), zipf.rank(0.999_999_999)), (0, 999));
    }

    #[test]
    fn random_numbers_stay_in_their_bounds() {
        let mut random = Random(2);
        for _ in 0..1000 {
            assert!(random.below(3) < 3);
            assert!((0.0..1.0).contains(&random.unit()));
        }
    }
}
