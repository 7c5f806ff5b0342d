//! Rows to text, one row a line (a CSV record may have more).
//!
//! | encoding | `json` | `lines`, `csv` |
//! |---|---|---|
//! | `utf8`, `bytes` | string; `{"base64":".."}` where it is not UTF-8 | the bytes |
//! | `json` | the value itself; as `utf8` where it is not JSON | the bytes |
//! | `i64-le`, `u64-le`, `f64-le` | number; as `bytes` where it is not 8 bytes | number; the bytes |
//! | `cbor`, `msgpack` | `{"base64":".."}` | base64 |
//!
//! - `json`: `{"key":..,"value":..,"time":..}`, time in milliseconds. NaN and the infinities are strings. Line breaks between the tokens
//!   of a JSON value become spaces.
//! - `lines`: the value alone. A line break in it is written as `\n` or `\r`, two characters, so that a row stays one line; a backslash
//!   stays as it is, so where values may hold line breaks and must be read back exactly, use `json`.
//! - `csv`: key, value, time, without a header; quoted where needed.

use crate::connect::{RowEncoding, json_text};
use reprise_core::batch::{Batch, Row};
use reprise_core::description::Encoding;
use reprise_core::topology::SinkFormat;
use serde::de::IgnoredAny;
use std::io::{self, Write};

/// Bytes that are gathered before they are written.
const CHUNK_BYTES: usize = 64 << 10;

/// The writer of rows as text in one format.
pub struct RowWriter {
    format: SinkFormat,
    encodings: Vec<RowEncoding>,
    buffer: Vec<u8>,
    field: Vec<u8>,
    csv: csv_core::Writer,
}

impl RowWriter {
    /// One with an encoding for each input; rows of an input without one are read as bytes.
    pub fn new(format: SinkFormat, encodings: Vec<RowEncoding>) -> Self {
        Self { format, encodings, buffer: Vec::new(), field: Vec::new(), csv: csv_core::Writer::new() }
    }

    /// Writes all rows of a batch; gives the number of bytes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, input: u32, rows: &Batch, out: &mut impl Write) -> io::Result<u64> {
        let plain = RowEncoding { key: Encoding::Bytes, value: Encoding::Bytes };
        let encoding = self.encodings.get(input as usize).copied().unwrap_or(plain);
        let mut written = 0;
        self.buffer.clear();
        for row in rows.rows() {
            match self.format {
                SinkFormat::Json => json_row(&mut self.buffer, encoding, row),
                SinkFormat::Lines => line_row(&mut self.buffer, &mut self.field, encoding, row),
                SinkFormat::Csv => self.csv_row(encoding, row),
            }
            if self.buffer.len() >= CHUNK_BYTES {
                written += self.buffer.len() as u64;
                out.write_all(&self.buffer)?;
                self.buffer.clear();
            }
        }
        out.write_all(&self.buffer)?;
        Ok(written + self.buffer.len() as u64)
    }

    fn csv_row(&mut self, encoding: RowEncoding, row: Row<'_>) {
        for (encoding, bytes) in [(encoding.key, row.key), (encoding.value, row.value)] {
            self.field.clear();
            let field = text(&mut self.field, encoding, bytes);
            csv_field(&mut self.csv, &mut self.buffer, field);
            self.buffer.push(b',');
        }
        json_text::integer(&mut self.buffer, row.time);
        self.buffer.push(b'\n');
    }
}

fn json_row(out: &mut Vec<u8>, encoding: RowEncoding, row: Row<'_>) {
    out.extend_from_slice(b"{\"key\":");
    json_value(out, encoding.key, row.key);
    out.extend_from_slice(b",\"value\":");
    json_value(out, encoding.value, row.value);
    out.extend_from_slice(b",\"time\":");
    json_text::integer(out, row.time);
    out.extend_from_slice(b"}\n");
}

fn json_value(out: &mut Vec<u8>, encoding: Encoding, bytes: &[u8]) {
    if let Some(number) = Number::read(encoding, bytes) {
        return number.push(out);
    }
    let text = match encoding {
        Encoding::Cbor | Encoding::Msgpack => None,
        _ => std::str::from_utf8(bytes).ok(),
    };
    match text {
        Some(text) if encoding == Encoding::Json && serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            // Raw line breaks stand only between tokens.
            out.extend(text.trim_ascii().bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
        }
        Some(text) => json_text::string(out, text),
        None => json_text::binary(out, bytes),
    }
}

fn line_row(out: &mut Vec<u8>, field: &mut Vec<u8>, encoding: RowEncoding, row: Row<'_>) {
    field.clear();
    let mut rest = text(field, encoding.value, row.value);
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(if rest[at] == b'\n' { b"\\n" } else { b"\\r" });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}

/// The text of a value outside JSON, in `scratch` where it is not the bytes themselves.
fn text<'a>(scratch: &'a mut Vec<u8>, encoding: Encoding, bytes: &'a [u8]) -> &'a [u8] {
    match (Number::read(encoding, bytes), encoding) {
        (Some(Number::F64(number)), _) if let Some(word) = json_text::not_finite(number) => return word.as_bytes(),
        (Some(number), _) => number.push(scratch),
        (None, Encoding::Cbor | Encoding::Msgpack) => json_text::base64(scratch, bytes),
        (None, _) => return bytes,
    }
    scratch
}

fn csv_field(writer: &mut csv_core::Writer, out: &mut Vec<u8>, field: &[u8]) {
    if !writer.should_quote(field) {
        return out.extend_from_slice(field);
    }
    out.push(b'"');
    for part in field.split_inclusive(|b| *b == b'"') {
        out.extend_from_slice(part);
        if part.ends_with(b"\"") {
            out.push(b'"');
        }
    }
    out.push(b'"');
}

#[derive(Clone, Copy)]
enum Number {
    I64(i64),
    U64(u64),
    F64(f64),
}

impl Number {
    fn read(encoding: Encoding, bytes: &[u8]) -> Option<Self> {
        let eight: [u8; 8] = match encoding {
            Encoding::I64Le | Encoding::U64Le | Encoding::F64Le => bytes.try_into().ok()?,
            _ => return None,
        };
        Some(match encoding {
            Encoding::I64Le => Self::I64(i64::from_le_bytes(eight)),
            Encoding::U64Le => Self::U64(u64::from_le_bytes(eight)),
            _ => Self::F64(f64::from_le_bytes(eight)),
        })
    }

    fn push(self, out: &mut Vec<u8>) {
        match self {
            Self::I64(number) => json_text::integer(out, number),
            Self::U64(number) => json_text::integer(out, number),
            Self::F64(number) => json_text::float(out, number),
        }
    }
}

#[cfg(test)]
mod tests;
