//! Tests of sources: every way to cut, batch, stop and take up must give the rows of an independent reading of the bytes.

mod bounded;
mod csv;
mod follow;
mod log;
mod readers;
mod rotation;
mod stdin;
mod whole;

use crate::clock::Clock;
use crate::connect::{BatchLimits, InputStatus, Rejected, SourceConnector, SourceReader, SourceSplit};
use reprise_core::topology::{Compression, FileSource, OnLost, SourceFormat};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A small seeded generator (xorshift64*); a failure names its seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_of(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub type Rows = Vec<(Vec<u8>, Vec<u8>, i64)>;

/// All that a source gave.
#[derive(Default)]
pub struct Given {
    pub rows: Rows,
    pub rejected: Vec<Rejected>,
    pub positions: BTreeMap<String, String>,
    pub watermarks: Vec<i64>,
}

impl Given {
    pub fn values(&self) -> Vec<String> {
        self.rows.iter().map(|(_, value, _)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    pub fn reasons(&self) -> Vec<&str> {
        self.rejected.iter().map(|row| row.reason.as_str()).collect()
    }

    pub fn known(&self) -> Vec<SourceSplit> {
        self.positions.iter().map(|(split, position)| SourceSplit { split: split.clone(), position: position.clone() }).collect()
    }

    /// Takes what `reader` has until it is idle or at its end, at most `batches` batches. True at the end or when idle.
    pub fn take(&mut self, reader: &mut dyn SourceReader, batches: u64) -> bool {
        for _ in 0..batches {
            match reader.next().unwrap() {
                InputStatus::Rows(batch) => {
                    self.rows.extend(batch.rows.rows().map(|row| (row.key.to_vec(), row.value.to_vec(), row.time)));
                    self.rejected.extend(batch.rejected);
                    for SourceSplit { split, position } in batch.positions {
                        match position.is_empty() {
                            true => drop(self.positions.remove(&split)),
                            false => drop(self.positions.insert(split, position)),
                        }
                    }
                    self.watermarks.push(batch.watermark);
                }
                InputStatus::Idle(_) | InputStatus::End => return true,
            }
        }
        false
    }

    /// Lists splits, as at the start of a run.
    pub fn list(&mut self, source: &dyn SourceConnector) -> Vec<SourceSplit> {
        let splits = source.splits(&self.known()).unwrap();
        self.positions = splits.iter().map(|p| (p.split.clone(), p.position.clone())).collect();
        splits
    }
}

pub fn settings(path: &str, format: SourceFormat) -> FileSource {
    FileSource {
        path: path.to_owned(),
        format,
        key: None,
        time: None,
        follow: false,
        lateness: Duration::ZERO,
        split_bytes: 1 << 20,
        row_bytes_max: 1 << 20,
        poll: Duration::from_millis(1),
        on_lost: OnLost::Stop,
        partial_after: None,
        compression: Compression::Auto,
        idle_after: None,
        time_ahead_max: None,
    }
}

/// What the clock says: some day in 2023.
pub const NOW_MS: i64 = 1_700_000_000_000;
pub const LIMITS: BatchLimits = BatchLimits { rows_max: 1_000, bytes_max: 1 << 20 };

pub fn open(settings: &FileSource, folder: &Path, limits: BatchLimits) -> Box<dyn SourceConnector> {
    let clock = Clock::Fixed(NOW_MS);
    crate::connect::source(&reprise_core::topology::SourceKind::File(settings.clone()), folder, limits, clock).unwrap()
}

/// Reads everything in one go.
pub fn read_all(settings: &FileSource, folder: &Path) -> Given {
    let source = open(settings, folder, LIMITS);
    let mut given = Given::default();
    let splits = given.list(source.as_ref());
    let mut reader = source.reader(splits).unwrap();
    assert!(given.take(reader.as_mut(), u64::MAX));
    given
}

/// Reads everything in batches of random bounds, taking the job up anew at random moments.
pub fn read_with_restarts(settings: &FileSource, folder: &Path, random: &mut Random) -> Given {
    let mut given = Given::default();
    loop {
        let limits = BatchLimits { rows_max: 1 + random.below(20) as usize, bytes_max: 1 + random.below(500) as usize };
        let source = open(settings, folder, limits);
        let splits = given.list(source.as_ref());
        let mut reader = source.reader(splits).unwrap();
        if given.take(reader.as_mut(), 1 + random.below(30)) {
            return given;
        }
    }
}
