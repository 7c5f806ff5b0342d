//! Counts the rows of one input by key, emits the running count, and passes the rows of the other one on. Traps at a row with poison, on either
//! input, unless its config says `mended`.

use reprise_guest::{Context, Description, Encoding::Utf8, Keyed, Operator, Output, Record, export};

#[derive(Default)]
struct TwoInputs {
    sickness: components::Sickness,
    counts: Keyed<u64>,
}

impl Operator for TwoInputs {
    fn describe() -> Description {
        Description::new("two-inputs").input("rows").input("notes").output("counts", Utf8, Utf8)
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        self.sickness.open(context)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        self.sickness.meet(row);
        match row.input {
            0 => components::count(&mut self.counts, row, out),
            _ => out.emit(row.time, row.key, "a note"),
        }
        Ok(())
    }
}

export!(TwoInputs { counts });
