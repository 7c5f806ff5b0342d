//! Emits for each row which instance it is, of how many.

use reprise_guest::{Context, Description, Encoding::Utf8, Operator, Output, Record, Text, export};

#[derive(Default)]
struct WhoAmI {
    instance: u32,
    parallelism: u32,
}

impl Operator for WhoAmI {
    fn describe() -> Description {
        Description::new("who-am-i").input("rows").output("instances", Utf8, Utf8)
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        (self.instance, self.parallelism) = (context.instance, context.parallelism);
        Ok(())
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        out.emit(row.time, row.key, Text(format_args!("{} of {}", self.instance, self.parallelism)));
        Ok(())
    }
}

export!(WhoAmI);
