//! Counts rows by key, and panics at every watermark.

use reprise_guest::{Description, Keyed, Operator, Output, Record, export};

#[derive(Default)]
struct AdvancePanic {
    counts: Keyed<u64>,
}

impl Operator for AdvancePanic {
    fn describe() -> Description {
        components::counting("advance-panic")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        components::count(&mut self.counts, row, out);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, _: &mut Output) -> Result<(), String> {
        panic!("no time like {watermark}")
    }
}

export!(AdvancePanic { counts });
