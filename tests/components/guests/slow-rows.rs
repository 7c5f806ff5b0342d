//! Counts rows by key, and takes its time over each.

use reprise_guest::{Description, Keyed, Operator, Output, Record, export};

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
        components::keep_busy(STEPS);
        components::count(&mut self.counts, row, out);
        Ok(())
    }
}

export!(SlowRows { counts });
