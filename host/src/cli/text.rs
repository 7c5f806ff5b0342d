//! Text for people, and the last touches of JSON for scripts: tables, times, bytes that may be anything.

use super::outlet;
use crate::job::survey::decode;
use crate::job::survey::{CellPlace, Which};
use chrono::{DateTime, SecondsFormat};
use reprise_core::description::Encoding;
pub(super) use reprise_core::plain::plain;
use reprise_core::plain::{plain_json, plain_page};
use serde_json::Value;
use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// Characters of a value that a line of text shows; JSON has all of it.
const VALUE_CHARS_MAX: usize = 200;

/// Something could not be written to standard output.
static IS_INCOMPLETE: AtomicBool = AtomicBool::new(false);

/// Writes a page of text to standard output. A reader that has seen enough, as `head` has, is no failure.
pub(super) fn put(text: &str) {
    write(plain_page(text).as_bytes());
}

/// Writes one JSON text to standard output, in a line of its own.
pub(super) fn put_json(json: &impl Display) {
    write(plain_json(&format!("{json}\n")).as_bytes());
}

/// Writes the answer of a command to standard output: as JSON, or as a page of text.
pub(super) fn put_as<J: Display>(is_json: bool, json: impl FnOnce() -> J, text: impl FnOnce() -> String) {
    if is_json { put_json(&json()) } else { put(&text()) }
}

/// Writes the bytes of a row to standard output as they are.
pub(super) fn put_raw(bytes: &[u8]) {
    write(bytes);
}

fn write(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        IS_INCOMPLETE.store(true, Ordering::Release);
        outlet::say(&format!("error: cannot write to standard output: {error}"));
    }
}

/// True where something that was to be written to standard output was not, and a reader would have wanted it.
pub(super) fn is_incomplete() -> bool {
    IS_INCOMPLETE.load(Ordering::Acquire)
}

/// A time, to the millisecond.
pub(super) fn time(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms);
    time.map_or_else(|| format!("{ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// A watermark.
pub(super) fn watermark(ms: i64) -> String {
    match ms {
        i64::MIN => "none".to_owned(),
        i64::MAX => "end of input".to_owned(),
        ms => time(ms),
    }
}

/// A number and what it counts.
pub(super) fn count(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", thousands(number))
}

/// The word that a topology or a contract has for it: `u64-le`, `keyed`.
pub(super) fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A number with a comma between thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A key or item: a string where it is text, else hexadecimal.
pub(super) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(_) => plain(&decode::bytes(bytes)),
        Err(_) => bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
    }
}

/// The place of a cell.
pub(super) fn place(place: &CellPlace) -> String {
    let mut text = bytes(&place.key);
    if !place.item.is_empty() {
        text.push_str(" / ");
        text.push_str(&bytes(&place.item));
    }
    if let Some(instance) = place.instance {
        text.push_str(&format!(" (instance {instance})"));
    }
    text
}

/// A value by its encoding, cut to a line of some length.
pub(super) fn value(encoding: Encoding, value: &[u8]) -> String {
    let decoded = decode::value(encoding, value);
    let shown: String = decoded.json.chars().take(VALUE_CHARS_MAX).collect();
    let cut = if shown.len() < decoded.json.len() { format!(" ... ({} bytes)", value.len()) } else { String::new() };
    let misfit = if decoded.as_declared { String::new() } else { format!(" (not {})", word(encoding)) };
    format!("{}{cut}{misfit}", plain(&shown))
}

/// Rows in columns below their heads. `right`: see [`table`].
pub(super) fn table_below<const N: usize>(heads: [&str; N], rows: impl Iterator<Item = Vec<String>>, right: &[bool]) -> String {
    let heads = heads.map(str::to_owned).to_vec();
    table(&std::iter::once(heads).chain(rows).collect::<Vec<_>>(), right)
}

/// Rows in columns. `right`: which columns end, rather than begin, at one place.
pub(super) fn table(rows: &[Vec<String>], right: &[bool]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let is_right = right.get(column).copied().unwrap_or(false);
            line.push_str("  ");
            line.push_str(&if is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A JSON object with further members, whose values are JSON text already: numbers in it keep all their digits.
pub(super) fn with_members<const N: usize>(object: &impl Display, members: [(&str, String); N]) -> String {
    members.iter().fold(object.to_string(), |object, (name, text)| {
        let head = object.strip_suffix('}').unwrap_or(&object);
        let comma = if head.ends_with('{') { "" } else { "," };
        format!("{head}{comma}{}:{text}}}", Value::from(*name))
    })
}

/// Adds the members of one JSON object to another.
pub(super) fn extend(object: &mut Value, members: Value) {
    if let (Value::Object(all), Value::Object(members)) = (object, members) {
        all.extend(members);
    }
}

/// JSON texts as an array.
pub(super) fn array(texts: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", texts.into_iter().collect::<Vec<_>>().join(","))
}

/// A checkpoint or savepoint as a heading names it.
pub(super) fn heading(which: &Which, epoch: reprise_core::ids::Epoch) -> String {
    match which {
        Which::Epoch(_) => which.to_string(),
        Which::Savepoint(_) => format!("{which} (epoch {epoch})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_store_cannot_steer_a_terminal() {
        assert_eq!(plain("a\u{1b}[2J\u{9b}\n\u{202e}é"), "a\\u{1b}[2J\\u{9b}\\u{a}\\u{202e}é");
        assert_eq!(bytes(b"\x00\xff"), "0x00ff");
        assert_eq!(bytes("k\u{7f}".as_bytes()), "\"k\\u{7f}\"");
    }

    #[test]
    fn times_and_watermarks_of_any_size_are_shown() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(i64::MIN), "-9223372036854775808 ms");
        assert_eq!((watermark(i64::MIN).as_str(), watermark(i64::MAX).as_str()), ("none", "end of input"));
    }

    #[test]
    fn long_values_are_cut_and_misfits_named() {
        assert_eq!(value(Encoding::U64Le, &7u64.to_le_bytes()), "7");
        assert_eq!(value(Encoding::U64Le, b"x"), "\"x\" (not u64-le)");
        let long = value(Encoding::Utf8, &[b'a'; 1000]);
        assert!(long.ends_with("aaa ... (1000 bytes)") && long.len() < 240, "{long}");
    }

    #[test]
    fn members_are_added_to_objects_as_they_are() {
        let json = with_members(&serde_json::json!({ "a": 1 }), [("b", "[1e999]".to_owned()), ("c", "2".to_owned())]);
        assert_eq!(json, "{\"a\":1,\"b\":[1e999],\"c\":2}");
        assert_eq!(with_members(&serde_json::json!({}), [("b", "2".to_owned())]), "{\"b\":2}");
    }
}
