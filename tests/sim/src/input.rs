//! The records of a job, and what a run without any fault makes of them.
//!
//! The operator counts the records of each key, and remembers for each key and split the offset of the last one; every fourth record of a
//! split forgets it instead. So running counts depend on the order in which splits are read, and all else does not. It also remembers the
//! last watermark for each key that may come; watermarks are the number of records read of the split that is furthest behind. So none of
//! this depends on how many instances there are. On some records, poison, it fails whenever they come: a run without faults has none of them.

use crate::plan::Plan;
use crate::random::Random;
use crate::shape::Shape;
use reprise_core::batch::{self, Batch};
use std::collections::{BTreeMap, BTreeSet};

/// Slot of the counts: one cell a key.
pub const COUNTS: u32 = 0;
/// Slot of the last offsets: a cell for each key and split.
pub const LAST: u32 = 1;
/// Slot of the last watermark: one cell a key.
pub const MARKS: u32 = 2;

/// Slot, key and item of a cell.
pub type CellName = (u32, Vec<u8>, Vec<u8>);
/// The cells of an operator.
pub type Cells = BTreeMap<CellName, Vec<u8>>;

/// A record as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Its split.
    pub split: u8,
    /// Its place there, from 0.
    pub offset: u32,
    /// Its key.
    pub key: u8,
}

/// A row of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The record that made it.
    pub record: Record,
    /// Records of its key up to and with this one.
    pub count: u64,
    /// The offset that was remembered for its key and split.
    pub last: Option<u32>,
}

impl Row {
    /// Adds the row to a batch, as the operator emits it.
    ///
    /// # Panics
    /// The batch is full, which those of a simulation never are.
    pub fn push_to(&self, rows: &mut Batch) {
        let mut value = vec![self.record.split];
        value.extend(self.record.offset.to_le_bytes());
        value.extend(self.count.to_le_bytes());
        self.last.into_iter().for_each(|last| value.extend(last.to_le_bytes()));
        rows.push(batch::Row { time: 0, key: &[self.record.key], value: &value }).expect("the rows of a simulation are few");
    }

    /// Reads a row of a batch.
    ///
    /// # Panics
    /// It is no row of the operator.
    #[must_use]
    pub fn of_row(row: batch::Row<'_>) -> Self {
        let count = u64::from_le_bytes(row.value[5..13].try_into().expect("eight bytes"));
        let last = row.value[13..].try_into().ok().map(u32::from_le_bytes);
        Self { record: Record::of_row(row), count, last }
    }
}

/// The records of all splits.
#[derive(Debug)]
pub struct Input {
    splits: Vec<Vec<u8>>,
    /// Split and offset of the records on which the operator fails.
    poison: BTreeSet<(u8, u32)>,
    keys: u8,
}

impl Input {
    /// The input of a seed.
    #[must_use]
    pub fn new(seed: u64, plan: &Plan) -> Self {
        let mut random = Random::new(seed ^ 0x1290_7700_0000_0001);
        let mut split = || {
            let length = random.between(plan.records_max / 2, plan.records_max);
            (0..length).map(|_| random.below(plan.keys) as u8).collect()
        };
        let splits: Vec<Vec<u8>> = (0..plan.splits).map(|_| split()).collect();
        let mut random = Random::new(seed ^ 0x0DD5_0000_0000_0002);
        let places = (0u8..).zip(&splits).flat_map(|(split, records)| (0..records.len() as u32).map(move |offset| (split, offset)));
        Self { poison: places.filter(|_| random.chance(plan.trouble.poison)).collect(), splits, keys: plan.keys as u8 }
    }

    /// The operator fails whenever this record comes.
    #[must_use]
    pub fn is_poison(&self, record: &Record) -> bool {
        self.poison.contains(&(record.split, record.offset))
    }

    /// What reaches the state and the output.
    fn is_sound(&self, record: &Record) -> bool {
        !record.is_refused() && !self.is_poison(record)
    }

    /// The watermark of a source instance at these positions; `None` where it has no split.
    #[must_use]
    pub fn watermark(&self, shape: Shape, instance: u32, positions: &[u32]) -> Option<i64> {
        let own = positions.iter().enumerate().filter(|(split, _)| shape.reader(*split) == instance);
        own.map(|(_, position)| i64::from(*position)).min()
    }

    /// All keys that may come.
    pub fn keys(&self) -> impl Iterator<Item = u8> {
        0..self.keys
    }

    /// Number of splits.
    #[must_use]
    pub fn splits(&self) -> usize {
        self.splits.len()
    }

    /// Records of a split.
    #[must_use]
    pub fn length(&self, split: usize) -> u32 {
        self.splits[split].len() as u32
    }

    /// A record.
    #[must_use]
    pub fn record(&self, split: usize, offset: u32) -> Record {
        Record { split: split as u8, offset, key: self.splits[split][offset as usize] }
    }

    /// All records before these positions, split by split.
    fn before<'a>(&'a self, positions: &'a [u32]) -> impl Iterator<Item = Record> + 'a {
        let of = move |(split, &end): (usize, &u32)| (0..end).map(move |offset| self.record(split, offset)).collect::<Vec<_>>();
        positions.iter().enumerate().flat_map(of)
    }

    /// The ends of all splits.
    #[must_use]
    pub fn ends(&self) -> Vec<u32> {
        self.splits.iter().map(|split| split.len() as u32).collect()
    }

    /// The cells of all instances together at these positions.
    #[must_use]
    pub fn cells(&self, positions: &[u32]) -> Cells {
        let mut cells = Cells::new();
        for record in self.before(positions).filter(|record| self.is_sound(record)) {
            apply(&mut cells, record, |_| {});
        }
        let watermark = positions.iter().min().copied().map_or(0, i64::from);
        if watermark > 0 {
            cells.extend(self.keys().map(|key| ((MARKS, vec![key], vec![]), watermark.to_le_bytes().to_vec())));
        }
        cells
    }

    /// Records that the operator takes, of all before these positions.
    #[must_use]
    pub fn taken(&self, positions: &[u32]) -> u64 {
        self.before(positions).filter(|record| !record.is_refused()).count() as u64
    }

    /// Poison among the records that the operator takes, of all before these positions.
    #[must_use]
    pub fn poison(&self, positions: &[u32]) -> Vec<Record> {
        self.before(positions).filter(|record| !record.is_refused() && self.is_poison(record)).collect()
    }

    /// Refused records, of all before these positions.
    #[must_use]
    pub fn refused(&self, positions: &[u32]) -> Vec<Record> {
        self.before(positions).filter(Record::is_refused).collect()
    }

    /// What is remembered when this record comes.
    #[must_use]
    pub fn last_before(&self, record: Record) -> Option<u32> {
        let earlier = (0..record.offset).rev().map(|offset| self.record(record.split as usize, offset));
        let before = earlier.filter(|other| self.is_sound(other)).find(|other| other.key == record.key)?;
        (!before.forgets()).then_some(before.offset)
    }
}

impl Record {
    /// The source cannot read it: it goes to quarantine.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.offset % 11 == 7
    }

    /// Adds the record to a batch, as the source sends it.
    ///
    /// # Panics
    /// The batch is full, which those of a simulation never are.
    pub fn push_to(&self, rows: &mut Batch) {
        let mut value = vec![self.split];
        value.extend(self.offset.to_le_bytes());
        rows.push(batch::Row { time: 0, key: &[self.key], value: &value }).expect("the rows of a simulation are few");
    }

    /// The record of a row.
    #[must_use]
    pub fn of_row(row: batch::Row<'_>) -> Self {
        Self::of_parts(row.key, row.value)
    }

    /// The record of the key and the value of a row; more bytes may follow.
    ///
    /// # Panics
    /// It is the row of no record.
    #[must_use]
    pub fn of_parts(key: &[u8], value: &[u8]) -> Self {
        let offset = value[1..5].try_into().expect("four bytes");
        Self { split: value[0], offset: u32::from_le_bytes(offset), key: key[0] }
    }

    fn forgets(&self) -> bool {
        self.offset % 4 == 3
    }

    /// The instance of the sink that writes this key.
    #[must_use]
    pub fn sink(&self, workers: u32) -> u32 {
        (u32::from(self.key) / 2 + 1) % workers
    }
}

/// What the operator does with a record. Tells each cell that it touches.
pub fn apply(cells: &mut Cells, record: Record, mut touched: impl FnMut(&CellName)) -> Row {
    let counts = (COUNTS, vec![record.key], vec![]);
    let last = (LAST, vec![record.key], vec![record.split]);
    let count = cells.get(&counts).and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_le_bytes) + 1;
    let before = cells.get(&last).and_then(|bytes| bytes[..].try_into().ok()).map(u32::from_le_bytes);
    touched(&counts);
    cells.insert(counts, count.to_le_bytes().to_vec());
    touched(&last);
    if record.forgets() {
        cells.remove(&last);
    } else {
        cells.insert(last, record.offset.to_le_bytes().to_vec());
    }
    Row { record, count, last: before }
}
