//! Emits each row as it came. Traps at a row with poison, unless its config says `mended`.

use reprise_guest::{Context, Description, Encoding::Utf8, Operator, Output, Record, export};

#[derive(Default)]
struct SickEcho {
    is_mended: bool,
}

impl Operator for SickEcho {
    fn describe() -> Description {
        Description::new("sick-echo").input("rows").output("rows", Utf8, Utf8)
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        self.is_mended = context.config.contains("mended");
        Ok(())
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        if !self.is_mended {
            components::fall_over_poison(row);
        }
        out.emit(row.time, row.key, row.value);
        Ok(())
    }
}

export!(SickEcho);
