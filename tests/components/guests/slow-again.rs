//! Counts rows by key, traps when it meets poison, and takes long over each row once it was restored: fast at first, slow when it has to
//! repeat its calls.

use reprise_guest::{Cell, Description, Encoding, Keyed, Operator, Output, Record, Text, export};
use std::hint::black_box;
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
        if row.value == components::POISON {
            std::process::abort();
        }
        if RESTORED.load(Ordering::Relaxed) {
            (0..STEPS).for_each(|step| _ = black_box(step));
        }
        let count = self.counts.entry(row.key);
        count.0 += 1;
        out.emit(row.time, row.key, Text(count.0));
        Ok(())
    }
}

export!(SlowAgain { counts });
