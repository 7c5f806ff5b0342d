//! Parses lines `key,value,time`. Emits the value as a 64-bit integer; refuses lines that are wrong. The first half of the benchmark.

use components::parse;
use reprise_guest::{Description, Encoding, Operator, Output, Record, export};

#[derive(Default)]
struct ParseKv;

impl Operator for ParseKv {
    fn describe() -> Description {
        Description::new("parse-kv").input("lines").output("rows", Encoding::Utf8, Encoding::I64Le)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        match parse::line(row.value) {
            Ok(line) => out.emit(line.time, line.key, line.value.to_le_bytes()),
            Err(reason) => out.reject(row.row, reason),
        }
        Ok(())
    }
}

export!(ParseKv);
