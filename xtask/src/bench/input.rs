//! The benchmark's inputs, the same at every call.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Values lie in `-VALUE_MAX..=VALUE_MAX`.
const VALUE_MAX: i64 = 1000;
/// Event time of the first row: 2023-11-14T22:13:20Z. Each further one is a millisecond later, so that a time says which row it is.
pub const FIRST_TIME_MS: u64 = 1_700_000_000_000;
const WRITE_BYTES: usize = 1 << 20;

/// What an input has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Lines `key,value,time`; the keys have Zipf's frequencies.
    Zipf { rows: u64, keys: u64 },
    /// The same where every key comes once, then every key once more in another order, and so on. So the row with the number `n` is the
    /// `n / keys + 1`th of its key. After the first time, each `poison_apart`th row (0: none) has one with poison before it, of a key of its own.
    Even { rows: u64, keys: u64, poison_apart: u64 },
    /// As `Zipf`, below a line that names the columns.
    Columns { rows: u64, keys: u64 },
    /// Lines of 32 bytes.
    Lines { rows: u64 },
}

impl Content {
    /// Rows, those with poison left out.
    pub fn rows(self) -> u64 {
        match self {
            Self::Zipf { rows, .. } | Self::Even { rows, .. } | Self::Columns { rows, .. } | Self::Lines { rows } => rows,
        }
    }

    fn file_name(self) -> String {
        match self {
            Self::Zipf { rows, keys } => format!("zipf-{rows}-{keys}.csv"),
            Self::Even { rows, keys, poison_apart } => format!("even-{rows}-{keys}-{poison_apart}.csv"),
            Self::Columns { rows, keys } => format!("columns-{rows}-{keys}.csv"),
            Self::Lines { rows } => format!("lines-{rows}.txt"),
        }
    }
}

/// The file of an input, which is generated if it is not there, and brought into the page cache.
///
/// # Errors
/// It cannot be written, or read.
pub fn file(folder: &Path, content: Content) -> io::Result<PathBuf> {
    let file = folder.join(content.file_name());
    if !file.is_file() {
        println!("generating {}", file.display());
        let fresh = file.with_extension("fresh");
        let mut out = BufWriter::with_capacity(WRITE_BYTES, File::create(&fresh)?);
        write_rows(content, &mut out)?;
        out.flush()?;
        std::fs::rename(&fresh, &file)?;
    }
    // Once through the page cache, so that the first run does not pay for the disk.
    io::copy(&mut File::open(&file)?, &mut io::sink())?;
    Ok(file)
}

fn write_rows(content: Content, out: &mut impl Write) -> io::Result<()> {
    let mut random = Random(0);
    match content {
        Content::Columns { rows, keys } => {
            writeln!(out, "key,value,time")?;
            write_rows(Content::Zipf { rows, keys }, out)
        }
        Content::Zipf { rows, keys } => {
            let keys = Zipf::new(keys as usize);
            (0..rows).try_for_each(|row| {
                let key = keys.rank(random.unit());
                write_row(out, key as u64, &mut random, row)
            })
        }
        Content::Even { rows, keys, poison_apart } => {
            let mut order: Vec<u64> = (0..keys).collect();
            (0..rows).try_for_each(|row| {
                if row % keys == 0 {
                    random.shuffle(&mut order);
                }
                if is_poisoned(row, keys, poison_apart) {
                    writeln!(out, "poison,poison,{}", FIRST_TIME_MS + row)?;
                }
                write_row(out, order[(row % keys) as usize], &mut random, row)
            })
        }
        Content::Lines { rows } => (0..rows).try_for_each(|row| writeln!(out, "a line with {row:010} as number")),
    }
}

fn write_row(out: &mut impl Write, key: u64, random: &mut Random, row: u64) -> io::Result<()> {
    let value = random.below(2 * VALUE_MAX.unsigned_abs() + 1).cast_signed() - VALUE_MAX;
    writeln!(out, "key-{key:05},{value},{}", FIRST_TIME_MS + row)
}

/// Whether a row with poison comes before the row with this number.
pub fn is_poisoned(row: u64, keys: u64, poison_apart: u64) -> bool {
    poison_apart > 0 && row >= keys && row.is_multiple_of(poison_apart)
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

    fn shuffle(&mut self, values: &mut [u64]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last as u64 + 1) as usize);
        }
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

    fn text(content: Content) -> String {
        let mut out = Vec::new();
        write_rows(content, &mut out).expect("memory takes everything");
        String::from_utf8(out).expect("rows are ASCII")
    }

    #[test]
    fn the_input_is_the_same_at_every_call() {
        let content = Content::Zipf { rows: 3, keys: 100_000 };
        let first = text(content);
        assert_eq!(first, text(content));
        let fields: Vec<&str> = first.lines().next().expect("there are rows").split(',').collect();
        assert_eq!((fields.len(), fields[0].len(), fields[2]), (3, 9, "1700000000000"), "{first}");
        assert_eq!(text(Content::Columns { rows: 3, keys: 100_000 }), format!("key,value,time\n{first}"));
        assert!(text(Content::Lines { rows: 9 }).lines().all(|line| line.len() == 32));
    }

    #[test]
    fn each_key_comes_once_before_one_comes_again() {
        let text = text(Content::Even { rows: 30, keys: 10, poison_apart: 7 });
        let (poison, rows): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("poison,"));
        let keys: Vec<&str> = rows.iter().map(|row| &row[..9]).collect();
        let sorted = |keys: &[&str]| keys.iter().map(|key| key.to_string()).collect::<std::collections::BTreeSet<_>>();
        for pass in keys.chunks(10) {
            assert_eq!(sorted(pass).len(), 10);
        }
        assert_ne!(keys[..10], keys[10..20]);
        assert_eq!(poison, [14, 21, 28].map(|row| format!("poison,poison,{}", FIRST_TIME_MS + row)));
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
