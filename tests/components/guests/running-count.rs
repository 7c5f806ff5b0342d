//! Counts rows by key, and emits the running count at each row: the oracle of recovery tests, since a lost or doubled row shows.

use reprise_guest::{Description, Keyed, Operator, Output, Record, export};

#[derive(Default)]
struct RunningCount {
    counts: Keyed<u64>,
}

impl Operator for RunningCount {
    fn describe() -> Description {
        components::counting("running-count")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        components::count(&mut self.counts, row, out);
        Ok(())
    }
}

export!(RunningCount { counts });
