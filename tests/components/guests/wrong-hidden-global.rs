//! Wrong: numbers rows by a global, and declares no state at all.

use reprise_guest::{Description, Encoding::Utf8, Int, Operator, Output, Record, export};
use std::sync::atomic::{AtomicU64, Ordering};

static ROWS: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct HiddenGlobal;

impl Operator for HiddenGlobal {
    fn describe() -> Description {
        Description::new("wrong-hidden-global").input("rows").output("numbers", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        out.emit(row.time, row.key, Int(ROWS.fetch_add(1, Ordering::Relaxed)));
        Ok(())
    }
}

export!(HiddenGlobal);
