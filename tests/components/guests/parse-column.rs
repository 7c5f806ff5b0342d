//! Takes rows of a CSV file, whose key and time the source has read already, and emits the column `value` as a 64-bit integer; refuses rows
//! without it. The value of such a row is a JSON object of texts, or the text of the one column alone.

use reprise_guest::{Description, Encoding, Operator, Output, Record, export, text};

/// What stands behind a quote before the text of the column in an object.
const MEMBER: &[u8] = b"value\":\"";

/// The text of the column. An integer has no characters that JSON escapes.
fn column(value: &[u8]) -> Option<&[u8]> {
    if value.first() != Some(&b'{') {
        return Some(value);
    }
    let mut rest = value;
    loop {
        let quote = rest.iter().position(|&byte| byte == b'"')?;
        rest = &rest[quote + 1..];
        if let Some(text) = rest.strip_prefix(MEMBER) {
            return Some(&text[..text.iter().position(|&byte| byte == b'"')?]);
        }
    }
}

#[derive(Default)]
struct ParseColumn;

impl Operator for ParseColumn {
    fn describe() -> Description {
        Description::new("parse-column").input("rows").output("rows", Encoding::Utf8, Encoding::I64Le)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        match column(row.value).and_then(text::integer) {
            Some(value) => out.emit(row.time, row.key, value.to_le_bytes()),
            None => out.reject(row.row, "the column `value` is missing, or is not an integer of 64 bits"),
        }
        Ok(())
    }
}

export!(ParseColumn);
