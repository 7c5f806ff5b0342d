//! Counts rows by key, traps when it meets poison, and takes its time to hand out each of its cells, which are large.

use reprise_guest::{Cell, Description, Encoding, Keyed, Operator, Output, Record, export};

/// Steps that a cell costs: a millisecond or more.
const STEPS: u32 = 4_000_000;
/// Bytes that a cell has.
const BYTES: usize = 10_000;

#[derive(Default)]
struct Count(u64);

impl Cell for Count {
    const ENCODING: Encoding = u64::ENCODING;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        components::keep_busy(STEPS);
        bytes.extend(self.0.to_le_bytes());
        bytes.resize(bytes.len() + BYTES - 8, 0);
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (count, _) = bytes.split_first_chunk().ok_or("a cell is too short")?;
        Ok(Self(u64::from_le_bytes(*count)))
    }
}

#[derive(Default)]
struct SlowSnapshot {
    counts: Keyed<Count>,
}

impl Operator for SlowSnapshot {
    fn describe() -> Description {
        components::counting("slow-snapshot")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        components::fall_over_poison(row);
        components::count_on(&mut self.counts.entry(row.key).0, row, out);
        Ok(())
    }
}

export!(SlowSnapshot { counts });
