//! Emits each row as it came. Traps at a row with poison, unless its config says `mended`.

use reprise_guest::{Context, Description, Encoding::Utf8, Operator, Output, Record, export};

#[derive(Default)]
struct SickEcho {
    sickness: components::Sickness,
}

impl Operator for SickEcho {
    fn describe() -> Description {
        Description::new("sick-echo").input("rows").output("rows", Utf8, Utf8)
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        self.sickness.open(context)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        self.sickness.meet(row);
        out.emit(row.time, row.key, row.value);
        Ok(())
    }
}

export!(SickEcho);
