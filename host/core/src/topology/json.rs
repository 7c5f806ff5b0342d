//! The `config` table of an operator as JSON text, which is what the guest gets.
//!
//! Tables become objects in the order of the file, dates and times become strings, strings are expanded like all strings of the file.
//! JSON has no `nan` and no `inf`: they are mistakes.

use super::table::{Reader, item_at};
use std::fmt::Write;
use toml_edit::{Item, TableLike, Value};

/// Tables and arrays inside each other.
pub const CONFIG_DEPTH_MAX: usize = 32;

/// Writes a table as a JSON object. Mistakes go to the reader; then the text is of no use.
pub(super) fn object(reader: &mut Reader<'_>, table: &dyn TableLike) -> String {
    let mut out = String::new();
    write_table(reader, &mut out, table, 1);
    out
}

fn write_table(reader: &mut Reader<'_>, out: &mut String, table: &dyn TableLike, depth: usize) {
    out.push('{');
    let mut first = true;
    for (key, item) in table.iter() {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        write_text(out, key);
        out.push(':');
        write_item(reader, out, item, depth);
    }
    out.push('}');
}

fn write_item(reader: &mut Reader<'_>, out: &mut String, item: &Item, depth: usize) {
    if let Some(value) = item.as_value() {
        return write_value(reader, out, value, depth);
    }
    if depth >= CONFIG_DEPTH_MAX {
        return refuse_depth(reader, item_at(item));
    }
    if let Some(table) = item.as_table_like() {
        write_table(reader, out, table, depth + 1);
    } else if let Some(tables) = item.as_array_of_tables() {
        if depth + 1 >= CONFIG_DEPTH_MAX {
            return refuse_depth(reader, item_at(item));
        }
        write_list(out, tables.iter(), |out, table| write_table(reader, out, table, depth + 2));
    }
}

fn write_value(reader: &mut Reader<'_>, out: &mut String, value: &Value, depth: usize) {
    let at = value.span().map_or(0, |span| span.start);
    if depth >= CONFIG_DEPTH_MAX && (value.is_array() || value.is_inline_table()) {
        return refuse_depth(reader, at);
    }
    match value {
        Value::String(text) => write_text(out, &reader.expand(text.value(), at).unwrap_or_default()),
        // Writing to a string cannot fail.
        Value::Integer(number) => _ = write!(out, "{}", number.value()),
        Value::Boolean(flag) => _ = write!(out, "{}", flag.value()),
        Value::Datetime(time) => write_text(out, &time.value().to_string()),
        Value::Float(number) if number.value().is_finite() => _ = write!(out, "{:?}", number.value()),
        Value::Float(number) => {
            let help = Some("write a finite number, or a string that the operator understands".to_owned());
            let name = if number.value().is_nan() { "nan" } else { "inf" };
            reader.problems.add(at, format!("`{name}` cannot be handed to an operator: JSON has no such number"), help);
        }
        Value::Array(values) => write_list(out, values.iter(), |out, value| write_value(reader, out, value, depth + 1)),
        Value::InlineTable(table) => write_table(reader, out, table, depth + 1),
    }
}

fn write_list<T>(out: &mut String, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn refuse_depth(reader: &mut Reader<'_>, at: usize) {
    reader.problems.add(at, format!("`config` is nested more than {CONFIG_DEPTH_MAX} deep"), None);
}

/// A JSON string (RFC 8259, section 7).
fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}
