//! CSV: records as an independent reader finds them, quotes that are not sound, and headers.

use super::{LIMITS, Random, open, read_all, read_with_restarts, settings};
use crate::connect::ConnectError;
use reprise_core::topology::{Field, SourceFormat, TimeField, TimeUnit};
use std::fs;

pub const CSV: SourceFormat = SourceFormat::Csv { header: true, delimiter: b',' };
pub const CSV_BARE: SourceFormat = SourceFormat::Csv { header: false, delimiter: b',' };

/// A record of sound quotes and its bytes; or nothing, and the bytes of a first line whose record is not sound.
fn csv_record(bytes: &[u8]) -> (Option<csv::ByteRecord>, usize) {
    let line = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')).map_or(bytes.len(), |at| at + 1);
    let (mut at, mut starts_field) = (0, true);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' | b'\r' => break,
            b',' => starts_field = true,
            b'"' if starts_field => loop {
                let Some(next) = bytes[at + 1..].iter().position(|b| *b == b'"') else { return (None, line) };
                at += 1 + next;
                match bytes.get(at + 1) {
                    Some(b'"') => at += 1,
                    None | Some(b',' | b'\n' | b'\r') => break,
                    Some(_) => return (None, line),
                }
            },
            _ => starts_field = false,
        }
        if bytes[at] == b'"' {
            starts_field = false;
        }
        at += 1;
    }
    let end = bytes.len().min(at + 1);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..end]);
    let mut record = csv::ByteRecord::new();
    (reader.read_byte_record(&mut record).unwrap().then_some(record), end)
}

/// Records as the csv crate reads them one by one; those with another number of fields than the first, and lines that are none, are apart.
pub fn csv_reference(mut bytes: &[u8]) -> (Vec<Vec<String>>, usize) {
    bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let (mut records, mut unsound) = (Vec::new(), 0);
    while !bytes.is_empty() {
        let blank = bytes.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        bytes = &bytes[blank..];
        if bytes.is_empty() {
            break;
        }
        let (record, used) = csv_record(bytes);
        match record {
            Some(record) => records.push(record),
            None => unsound += 1,
        }
        bytes = &bytes[used..];
    }
    let width = records.first().map_or(0, csv::ByteRecord::len);
    let mut rows = Vec::new();
    let mut bad = unsound;
    for record in records {
        match csv::StringRecord::from_byte_record(record) {
            Ok(record) if record.len() == width => rows.push(record.iter().map(str::to_owned).collect()),
            _ => bad += 1,
        }
    }
    (rows, bad)
}

#[test]
fn any_restart_gives_the_records_that_the_csv_crate_gives() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let mut bytes = if random.one_of(20) { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
        for _ in 0..random.below(400) {
            let pieces: [&[u8]; 14] = [
                b"a",
                b"bc",
                b",",
                b",",
                b"\n",
                b"\r\n",
                b"\"x\ny\",",
                b"\"",
                b"\"\"",
                b" ",
                b",\"q\"\"q\"\n",
                b"\xff",
                "é".as_bytes(),
                b"1,2\n",
            ];
            let choices = if random.one_of(80) { 7 } else { 14 };
            let piece = random.below(choices);
            bytes.extend_from_slice(pieces[piece as usize]);
        }
        fs::write(folder.path().join("in"), &bytes).unwrap();
        let given = read_with_restarts(&settings("in", CSV_BARE), folder.path(), &mut random);
        let rows: Vec<Vec<String>> = given.rows.iter().map(|(_, value, _)| serde_json::from_slice(value).unwrap()).collect();
        let (expect, bad) = csv_reference(&bytes);
        assert_eq!(rows, expect, "seed {seed}");
        assert_eq!(given.rejected.len(), bad, "seed {seed}: {:?}", given.reasons());
    }
}

#[test]
fn csv_rows_are_objects_by_header_and_restarts_read_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "\u{feff}id,\"na\"\"me\",at\r\n1,\"two\nlines\",2026-01-01T00:00:00Z\r\n\r\n2,short\r\n3,x,never\r\n4,y,2026-01-01T00:00:01Z";
    fs::write(folder.path().join("in.csv"), text).unwrap();
    let mut settings = settings("in.csv", CSV);
    settings.key = Some(Field::Column("na\"me".to_owned()));
    settings.time = Some(TimeField { field: Field::Index(2), unit: TimeUnit::Rfc3339 });
    for seed in 0..20 {
        let given = read_with_restarts(&settings, folder.path(), &mut Random::new(seed));
        assert_eq!(
            given.values(),
            [r#"{"id":"1","na\"me":"two\nlines","at":"2026-01-01T00:00:00Z"}"#, r#"{"id":"4","na\"me":"y","at":"2026-01-01T00:00:01Z"}"#]
        );
        assert_eq!(given.rows[0].0, b"two\nlines");
        assert_eq!((given.rows[0].2, given.rows[1].2), (1_767_225_600_000, 1_767_225_601_000));
        assert_eq!(given.reasons(), ["the record has 2 fields, the first one of the file has 3", "`never` is not a time in `rfc3339`"]);
        assert_eq!(given.rejected[0].bytes, b"2,short");
        assert_eq!(given.rejected[0].offset, text.find("2,short").unwrap() as u64);
    }
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("a,b\n1,2\n3,\"x\n{}", "4,5\n".repeat(500_000));
    fs::write(folder.path().join("in.csv"), text).unwrap();
    let mut settings = settings("in.csv", CSV);
    for (row_bytes_max, follow) in [(100, false), (1 << 20, false), (64 << 20, false), (100, true)] {
        (settings.row_bytes_max, settings.follow) = (row_bytes_max, follow);
        let given = read_all(&settings, folder.path());
        assert_eq!(given.rows.len(), 500_001, "{row_bytes_max}");
        assert_eq!((given.rejected.len(), given.rejected[0].offset, given.rejected[0].bytes.as_slice()), (1, 8, &b"3,\"x"[..]));
        assert!(given.rejected[0].reason.contains("a quote is opened and n"), "{:?}", given.rejected);
    }
}

#[test]
fn a_record_longer_than_allowed_is_rejected_whole_where_its_quotes_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("a,b\n1,\"{}\"\n2,x\n3,\"{}\"y\n4,z\n", "5,6\n".repeat(400_000), "7,8\n".repeat(3));
    fs::write(folder.path().join("in.csv"), text).unwrap();
    let mut settings = settings("in.csv", CSV);
    settings.row_bytes_max = 100;
    let given = read_all(&settings, folder.path());
    // Behind `3,"7,8` the lines stand for themselves.
    let rest = [r#"{"a":"2","b":"x"}"#, r#"{"a":"7","b":"8"}"#, r#"{"a":"7","b":"8"}"#, r#"{"a":"4","b":"z"}"#];
    assert_eq!(given.values(), rest);
    let bytes: Vec<usize> = given.rejected.iter().map(|row| row.bytes.len()).collect();
    assert_eq!(bytes, [100, 6, 2], "{:?}", given.reasons());
}

#[test]
fn a_header_that_does_not_fit_is_an_error_that_names_the_columns() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.csv"), "a,b\n1,2\n").unwrap();
    let mut settings = settings("in.csv", CSV);
    settings.key = Some(Field::Column("c".to_owned()));
    let source = open(&settings, folder.path(), LIMITS);
    let splits = source.splits(&[]).unwrap();
    let error = source.reader(splits).unwrap().next().unwrap_err();
    assert!(matches!(error, ConnectError::Config { .. }));
    assert!(error.to_string().contains("has no column `c` for the key; it has `a`, `b`"), "{error}");
}
