//! Counts rows by key, traps when it meets poison, and takes long to read back each cell that it is restored from.

use reprise_guest::{Cell, Description, Encoding, Keyed, Operator, Output, Record, export};

/// Steps that a cell costs: some milliseconds.
const STEPS: u32 = 20_000_000;

#[derive(Default)]
struct Count(u64);

impl Cell for Count {
    const ENCODING: Encoding = u64::ENCODING;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        self.0.encode(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        components::keep_busy(STEPS);
        u64::decode(bytes).map(Self)
    }
}

#[derive(Default)]
struct SlowRestore {
    counts: Keyed<Count>,
}

impl Operator for SlowRestore {
    fn describe() -> Description {
        components::counting("slow-restore")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        components::fall_over_poison(row);
        components::count_on(&mut self.counts.entry(row.key).0, row, out);
        Ok(())
    }
}

export!(SlowRestore { counts });
