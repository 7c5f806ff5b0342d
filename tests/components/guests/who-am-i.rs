//! Emits for each row which instance it is, of how many; for a row with the key `?` also how many rows came to that instance, in all runs.

use reprise_guest::{Context, Description, Encoding::Utf8, Operator, Output, Record, Text, Value, export};

#[derive(Default)]
struct WhoAmI {
    instance: u32,
    parallelism: u32,
    rows: Value<u64>,
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
        *self.rows.entry() += 1;
        let (instance, parallelism, rows) = (self.instance, self.parallelism, *self.rows.get());
        match row.key {
            b"?" => out.emit(row.time, row.key, Text(format_args!("{instance} of {parallelism}, row {rows}"))),
            _ => out.emit(row.time, row.key, Text(format_args!("{instance} of {parallelism}"))),
        }
        Ok(())
    }
}

export!(WhoAmI { rows });
