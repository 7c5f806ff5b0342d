//! Wrong: keeps a total of all rows in a keyed slot, under a key of its own. With more instances, each has a total.

use reprise_guest::{Description, Encoding::Utf8, Int, Keyed, Operator, Output, Record, export};

#[derive(Default)]
struct SharedKey {
    totals: Keyed<u64>,
}

impl Operator for SharedKey {
    fn describe() -> Description {
        Description::new("wrong-shared-key").input("rows").output("totals", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let total = self.totals.entry(b"all rows");
        *total += 1;
        out.emit(row.time, row.key, Int(*total));
        Ok(())
    }
}

export!(SharedKey { totals });
