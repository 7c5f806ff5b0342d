//! Parses lines `key,text,time`. Emits the text as it stands; refuses lines that are wrong. For rows with values that mean something to
//! the guest behind.

use reprise_guest::{Description, Encoding::Utf8, Operator, Output, Record, export, text};

#[derive(Default)]
struct ParseText;

impl Operator for ParseText {
    fn describe() -> Description {
        Description::new("parse-text").input("lines").output("rows", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let mut fields = row.value.split(|&byte| byte == b',');
        let (Some(key), Some(value), Some(time), None) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
            out.reject(row.row, "expected key,text,time");
            return Ok(());
        };
        match text::integer(time) {
            Some(time) => out.emit(time, key, value),
            None => out.reject(row.row, "the time is not an integer of 64 bits"),
        }
        Ok(())
    }
}

export!(ParseText);
