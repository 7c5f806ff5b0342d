//! Wrong: counts rows by key as it declares, and all rows in a field that it does not. A row with the value `total` brings that number to
//! light, one with `poison` traps.

use reprise_guest::{Description, Int, Keyed, Operator, Output, Record, export};

#[derive(Default)]
struct HiddenTotal {
    counts: Keyed<u64>,
    total: u64,
}

impl Operator for HiddenTotal {
    fn describe() -> Description {
        components::counting("hidden-total")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        if row.value == components::POISON {
            std::process::abort();
        }
        self.total += 1;
        if row.value == b"total" {
            *self.counts.entry(row.key) += 1;
            out.emit(row.time, row.key, Int(self.total));
        } else {
            components::count(&mut self.counts, row, out);
        }
        Ok(())
    }
}

export!(HiddenTotal { counts });
