//! Tests of rows as text: every encoding in every format.

use super::RowWriter;
use crate::connect::sink::stdout::write_to;
use crate::connect::sink::tests::{COUNTS, batch};
use crate::connect::{ConnectError, RowEncoding};
use reprise_core::batch::{Batch, Row};
use reprise_core::description::Encoding::{self, *};
use reprise_core::topology::SinkFormat;

fn text(format: SinkFormat, encoding: Encoding, value: &[u8]) -> String {
    let mut rows = Batch::new();
    rows.push(Row { time: -1, key: value, value }).unwrap();
    let mut out = Vec::new();
    let mut writer = RowWriter::new(format, vec![RowEncoding { key: encoding, value: encoding }]);
    let bytes = writer.write(0, &rows, &mut out).unwrap();
    assert_eq!(bytes, out.len() as u64);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn every_encoding_has_its_text_in_every_format() {
    let eight = 1.5_f64.to_le_bytes();
    let nan = f64::NAN.to_le_bytes();
    let minus = (-2_i64).to_le_bytes();
    let cases: [(Encoding, &[u8], &str, &str, &str); 15] = [
        (Utf8, b"a\"b\nc", r#""a\"b\nc""#, "a\"b\\nc", "\"a\"\"b\nc\""),
        (Utf8, b"\xff", r#"{"base64":"/w=="}"#, "\u{fffd}", "\u{fffd}"),
        (Bytes, b"plain", r#""plain""#, "plain", "plain"),
        (Bytes, b"a\xff,", r#"{"base64":"Yf8s"}"#, "a\u{fffd},", "\"a\u{fffd},\""),
        (Json, b" {\"a\":\r\n [1]} ", "{\"a\":   [1]}", " {\"a\":\\r\\n [1]} ", "\" {\"\"a\"\":\r\n [1]} \""),
        (Json, b"{", r#""{""#, "{", "{"),
        (Json, b"\"\xff\"", r#"{"base64":"Iv8i"}"#, "\"\u{fffd}\"", "\"\"\"\u{fffd}\"\"\""),
        (I64Le, &minus, "-2", "-2", "-2"),
        (U64Le, &minus, "18446744073709551614", "18446744073709551614", "18446744073709551614"),
        (F64Le, &eight, "1.5", "1.5", "1.5"),
        (F64Le, &nan, r#""NaN""#, "NaN", "NaN"),
        (I64Le, b"short", r#""short""#, "short", "short"),
        (Cbor, b"\x01", r#"{"base64":"AQ=="}"#, "AQ==", "AQ=="),
        (Msgpack, b"text", r#"{"base64":"dGV4dA=="}"#, "dGV4dA==", "dGV4dA=="),
        (Utf8, b"", r#""""#, "", ""),
    ];
    for (encoding, bytes, json, line, csv) in cases {
        let case = format!("{encoding:?} {}", bytes.escape_ascii());
        assert_eq!(text(SinkFormat::Json, encoding, bytes), format!("{{\"key\":{json},\"value\":{json},\"time\":-1}}\n"), "{case}");
        assert_eq!(text(SinkFormat::Lines, encoding, bytes), format!("{line}\n"), "{case}");
        assert_eq!(text(SinkFormat::Csv, encoding, bytes), format!("{csv},{csv},-1\n"), "{case}");
    }
}

#[test]
fn csv_text_reads_back_and_json_stays_one_line() {
    for value in ["", "\"", "a,b", "\r", "\"\"\"", " x ", "é\n\"", "#"] {
        let line = text(SinkFormat::Csv, Utf8, value.as_bytes());
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.iter().collect::<Vec<_>>(), [value, value, "-1"]);
        assert_eq!(text(SinkFormat::Json, Utf8, value.as_bytes()).matches('\n').count(), 1);
    }
}

#[test]
fn inputs_of_one_sink_have_their_own_encodings() {
    let mut writer = RowWriter::new(SinkFormat::Lines, vec![COUNTS, RowEncoding { key: Utf8, value: Cbor }]);
    let mut out = Vec::new();
    for input in 0..3 {
        writer.write(input, &batch("k", 0x41), &mut out).unwrap();
    }
    assert_eq!(out, b"65\nQQAAAAAAAAA=\nA\0\0\0\0\0\0\0\n");
}

#[test]
fn a_batch_larger_than_the_buffer_is_written_whole() {
    let mut rows = Batch::new();
    for at in 0..20_000_i64 {
        rows.push(Row { time: 0, key: b"key", value: &at.to_le_bytes() }).unwrap();
    }
    let mut out = Vec::new();
    let bytes = RowWriter::new(SinkFormat::Csv, vec![COUNTS]).write(0, &rows, &mut out).unwrap();
    assert_eq!(bytes, out.len() as u64);
    assert_eq!(String::from_utf8(out).unwrap().lines().nth(19_999), Some("key,19999,0"));
}

/// An output whose reader has gone.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_an_error_of_its_own() {
    let mut writer = RowWriter::new(SinkFormat::Lines, vec![COUNTS]);
    let error = write_to(&mut writer, &mut Gone, 0, &batch("k", 1)).unwrap_err();
    assert!(matches!(error, ConnectError::ClosedPipe { .. }));
}
