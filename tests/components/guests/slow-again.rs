//! Counts rows by key, traps when it meets poison, and takes long over each row once it was restored: fast at first, slow when it has to
//! repeat its calls.

use reprise_guest::{Cell, Description, Encoding, Keyed, Operator, Output, Record, export};
use std::sync::atomic::{AtomicBool, Ordering};

/// Steps that a row costs: a millisecond or more.
const STEPS: u32 = 4_000_000;

static RESTORED: AtomicBool = AtomicBool::new(false);

#[derive(Default)]
struct Count(u64);

impl Cell for Count {
    const ENCODING: Encoding = u64::ENCODING;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        self.0.encode(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        RESTORED.store(true, Ordering::Relaxed);
        u64::decode(bytes).map(Self)
    }
}

#[derive(Default)]
struct SlowAgain {
    counts: Keyed<Count>,
}

impl Operator for SlowAgain {
    fn describe() -> Description {
        components::counting("slow-again")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        components::fall_over_poison(row);
        if RESTORED.load(Ordering::Relaxed) {
            components::keep_busy(STEPS);
        }
        components::count_on(&mut self.counts.entry(row.key).0, row, out);
        Ok(())
    }
}

export!(SlowAgain { counts });
