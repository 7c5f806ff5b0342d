//! Files that grow while they are read.

use super::{Given, LIMITS, Random, open, settings};
use crate::connect::{ConnectError, Source, SourceReader, Step};
use reprise_core::topology::{Field, FileSource, SourceFormat, TimeField, TimeUnit};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

fn followed(path: &str, format: SourceFormat) -> FileSource {
    FileSource { follow: true, ..settings(path, format) }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn start(settings: &FileSource, folder: &Path, given: &mut Given) -> (Box<dyn Source>, Box<dyn SourceReader>) {
    let source = open(settings, folder, LIMITS);
    let splits = given.list(source.as_ref());
    let reader = source.reader(splits).unwrap();
    (source, reader)
}

#[test]
fn a_line_that_is_written_in_two_halves_is_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    append(&path, b"one\ntw");
    let mut given = Given::default();
    let (_source, mut reader) = start(&followed("in", SourceFormat::Lines), folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one"]);
    assert!(matches!(reader.next().unwrap(), Step::Idle(_)));
    append(&path, b"o\n");
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "two"]);
    append(&path, b"three\r");
    given.take(reader.as_mut(), u64::MAX);
    append(&path, b"\n");
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "two", "three"]);
}

#[test]
fn any_growth_and_any_restart_give_the_rows_of_the_whole_file() {
    let csv = SourceFormat::Csv { header: true, delimiter: b',' };
    for (seed, format) in (0..120).flat_map(|seed| [(seed, SourceFormat::Lines), (seed, csv)]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        let mut random = Random::new(seed);
        let mut text = "a,b\n".to_owned();
        for row in 0..200 {
            let quoted =
                if format == csv { format!("{row},\"{}\n\"\r\n", "y".repeat(random.below(30) as usize)) } else { format!("{row}\r\n") };
            text.push_str(&quoted);
        }
        let mut settings = followed("in", format);
        settings.row_bytes_max = 64;
        fs::write(&path, "").unwrap();
        let mut given = Given::default();
        let mut pair = start(&settings, folder.path(), &mut given);
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let count = rest.len().min(random.below(60) as usize);
            append(&path, &rest[..count]);
            rest = &rest[count..];
            given.take(pair.1.as_mut(), 3);
            if random.one_of(20) {
                pair = start(&settings, folder.path(), &mut given);
            }
        }
        given.take(pair.1.as_mut(), u64::MAX);
        settings.follow = false;
        let whole = super::read_all(&settings, folder.path());
        assert!(whole.rows.len() >= 200);
        assert_eq!(given.rows, whole.rows, "seed {seed}");
        assert!(given.rejected.is_empty() && whole.rejected.is_empty());
    }
}

#[test]
fn a_row_that_grows_too_long_is_rejected_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let mut settings = followed("in", SourceFormat::Lines);
    settings.row_bytes_max = 10;
    append(&path, b"ok\n0123456789ab");
    let mut given = Given::default();
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    append(&path, &[b'c'; 100_000]);
    given.take(reader.as_mut(), u64::MAX);
    assert!(given.rejected.is_empty());
    assert!(given.positions["in@0"].contains("\"offset\":3,"), "{:?}", given.positions);
    append(&path, b"\nfine\n");
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["ok", "fine"]);
    assert_eq!((given.rejected[0].offset, given.rejected[0].bytes.as_slice()), (3, &b"0123456789"[..]));
}

#[test]
fn truncating_or_replacing_a_followed_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    for change in [
        (|path: &Path| fs::write(path, "x\n").unwrap()) as fn(&Path),
        |path| {
            fs::write(path.with_extension("new"), "another file, and longer\n").unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        },
        |path| fs::write(path, "rewritten in place, and longer\n").unwrap(),
    ] {
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut given = Given::default();
        let (_source, mut reader) = start(&followed("in", SourceFormat::Lines), folder.path(), &mut given);
        given.take(reader.as_mut(), u64::MAX);
        change(&path);
        let error = reader.next().unwrap_err();
        assert!(matches!(error, ConnectError::Changed { offset: 8, .. }), "{error:?}");
        // Whoever takes the job up afterwards is told as well.
        let again = open(&followed("in", SourceFormat::Lines), folder.path(), LIMITS).splits(&given.known());
        assert!(matches!(again, Err(ConnectError::Changed { .. })), "{again:?}");
    }
}

#[test]
fn a_removed_file_is_read_to_its_end_and_then_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    fs::write(&path, "one\ntwo").unwrap();
    let mut given = Given::default();
    let settings = followed("in", SourceFormat::Lines);
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    fs::remove_file(&path).unwrap();
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "two"]);
    // A later run does not miss it.
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    assert!(matches!(reader.next().unwrap(), Step::Idle(_)));
}

#[test]
fn new_files_are_found_once_and_by_one_reader() {
    let folder = tempfile::tempdir().unwrap();
    let settings = followed("*.txt", SourceFormat::Lines);
    let source = open(&settings, folder.path(), LIMITS);
    let mut given = Given::default();
    assert!(given.list(source.as_ref()).is_empty());
    let mut finder = source.reader(Vec::new()).unwrap();
    assert!(matches!(source.reader(Vec::new()).unwrap().next().unwrap(), Step::End));
    assert!(matches!(finder.next().unwrap(), Step::Idle(_)));
    append(&folder.path().join("b.txt"), b"b\n");
    append(&folder.path().join("a.txt"), b"a\n");
    given.take(finder.as_mut(), u64::MAX);
    let mut values = given.values();
    values.sort();
    assert_eq!(values, ["a", "b"]);
    given.take(finder.as_mut(), u64::MAX);
    assert_eq!(given.values().len(), 2);
    append(&folder.path().join("c.txt"), b"c\n");
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values().last().map(String::as_str), Some("c"));
    assert_eq!(given.values().len(), 3);
}

#[test]
fn a_file_that_was_read_to_its_end_can_be_followed_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    fs::write(&path, "one\ntwo\n").unwrap();
    let mut given = super::read_all(&settings("in", SourceFormat::Lines), folder.path());
    append(&path, b"three\n");
    let (_source, mut reader) = start(&followed("in", SourceFormat::Lines), folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "two", "three"]);
}

#[test]
fn the_watermark_is_that_of_the_slowest_followed_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = followed("*", SourceFormat::Json);
    settings.time = Some(TimeField { field: Field::Pointer("/t".to_owned()), unit: TimeUnit::Milliseconds });
    append(&folder.path().join("a"), b"{\"t\":10}\n");
    append(&folder.path().join("b"), b"");
    let mut given = Given::default();
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    append(&folder.path().join("b"), b"{\"t\":7}\n");
    given.take(reader.as_mut(), u64::MAX);
    append(&folder.path().join("b"), b"{\"t\":20}\n");
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.watermarks, [i64::MIN, 6, 9]);
}
