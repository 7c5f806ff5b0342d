//! Counts rows by key, and takes its time over each.

use reprise_guest::{Description, Keyed, Operator, Output, Record, Text, export};
use std::hint::black_box;

/// Steps that a row costs: a millisecond or more.
const STEPS: u32 = 4_000_000;

#[derive(Default)]
struct SlowRows {
    counts: Keyed<u64>,
}

impl Operator for SlowRows {
    fn describe() -> Description {
        components::counting("slow-rows")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        (0..STEPS).for_each(|step| _ = black_box(step));
        let count = self.counts.entry(row.key);
        *count += 1;
        out.emit(row.time, row.key, Text(*count));
        Ok(())
    }
}

export!(SlowRows { counts });
