//! Files that grow while they are read.

use super::{Given, LIMITS, Random, open, settings};
use crate::connect::{BatchLimits, ConnectError, InputStatus, SourceConnector, SourceReader};
use reprise_core::topology::{Field, FileSource, OnLost, SourceFormat, TimeField, TimeUnit};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

fn followed(path: &str, format: SourceFormat) -> FileSource {
    FileSource { follow: true, ..settings(path, format) }
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn start(settings: &FileSource, folder: &Path, given: &mut Given) -> (Box<dyn SourceConnector>, Box<dyn SourceReader>) {
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
    assert!(matches!(reader.next().unwrap(), InputStatus::Idle(_)));
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

/// Reads what there is, again and again, until so many rows have come out.
fn take_until(given: &mut Given, reader: &mut dyn SourceReader, rows: usize) {
    for _ in 0..1_000 {
        given.take(reader, u64::MAX);
        if given.rows.len() >= rows {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{rows} rows do not come: {:?}", given.values());
}

#[test]
fn a_file_that_is_replaced_is_read_to_its_end_and_the_new_one_from_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("in"), "one\n").unwrap();
    let mut given = Given::default();
    let (_source, mut reader) = start(&followed("in", SourceFormat::Lines), folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    append(&at("in"), b"two\nhal");
    fs::write(at("new"), "three\n").unwrap();
    fs::rename(at("new"), at("in")).unwrap();
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "two", "three"]);
    assert_eq!(given.rejected[0].bytes, b"hal");
    assert!(given.rejected[0].reason.contains("it may be cut"), "{:?}", given.reasons());
    // Moved away while nobody runs; it is found by its inode.
    drop(reader);
    append(&at("in"), b"four\n");
    fs::rename(at("in"), at("in.1")).unwrap();
    fs::write(at("in"), "five\n").unwrap();
    let (_source, mut reader) = start(&followed("in", SourceFormat::Lines), folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    let mut values = given.values();
    values.sort();
    assert_eq!(values, ["five", "four", "one", "three", "two"]);
}

#[test]
fn a_truncated_file_is_read_from_its_start_also_by_the_next_run() {
    for restarts in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut given = Given::default();
        let settings = followed("in", SourceFormat::Lines);
        let (_source, mut reader) = start(&settings, folder.path(), &mut given);
        given.take(reader.as_mut(), u64::MAX);
        fs::write(&path, "x\n").unwrap();
        let mut pair = None;
        if restarts {
            pair = Some(start(&settings, folder.path(), &mut given));
        }
        let reader = pair.as_mut().map_or(&mut reader, |pair| &mut pair.1);
        given.take(reader.as_mut(), u64::MAX);
        append(&path, b"y\n");
        given.take(reader.as_mut(), u64::MAX);
        assert_eq!(given.values(), ["one", "two", "x", "y"]);
    }
}

#[test]
fn a_file_that_is_rewritten_in_place_is_refused_unless_a_copy_explains_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    for (on_lost, copies) in [(OnLost::Stop, false), (OnLost::Skip, false), (OnLost::Stop, true)] {
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut given = Given::default();
        let settings = FileSource { on_lost, ..followed("in", SourceFormat::Lines) };
        let (_source, mut reader) = start(&settings, folder.path(), &mut given);
        given.take(reader.as_mut(), u64::MAX);
        if copies {
            fs::copy(&path, folder.path().join("in.1")).unwrap();
        }
        fs::write(&path, "rewritten in place, and longer\n").unwrap();
        // Whoever takes the job up afterwards finds the same.
        let again = open(&settings, folder.path(), LIMITS).splits(&given.known());
        if on_lost == OnLost::Stop && !copies {
            assert!(matches!(again, Err(ConnectError::Changed { offset: 8, .. })), "{again:?}");
            let error = reader.next().unwrap_err();
            assert!(matches!(error, ConnectError::Changed { offset: 8, .. }), "{error:?}");
            continue;
        }
        assert!(again.is_ok(), "{again:?}");
        given.take(reader.as_mut(), u64::MAX);
        assert_eq!(given.values(), ["one", "two", "rewritten in place, and longer"]);
    }
}

#[test]
fn a_removed_file_is_read_to_its_end_and_half_a_row_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    fs::write(&path, "one\n").unwrap();
    let mut given = Given::default();
    let settings = followed("in", SourceFormat::Lines);
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    append(&path, b"two\nthree");
    fs::remove_file(&path).unwrap();
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "two"]);
    assert_eq!((given.rejected[0].bytes.as_slice(), given.rejected[0].offset), (&b"three"[..], 8));
    // A later run does not miss it, and takes one of that name for a new one.
    append(&path, b"four\n");
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "two", "four"]);
}

#[test]
fn a_file_that_is_gone_while_nobody_runs_is_missed_only_where_it_was_not_read() {
    for (limit, on_lost) in [(1_000, OnLost::Stop), (1, OnLost::Stop), (1, OnLost::Skip)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("in"), "one\ntwo\n").unwrap();
        let mut given = Given::default();
        let settings = FileSource { on_lost, ..followed("in", SourceFormat::Lines) };
        let source = open(&settings, folder.path(), BatchLimits { rows_max: limit, bytes_max: 1_000 });
        let splits = given.list(source.as_ref());
        given.take(source.reader(splits).unwrap().as_mut(), 1);
        fs::remove_file(folder.path().join("in")).unwrap();
        let again = open(&settings, folder.path(), LIMITS).splits(&given.known());
        if limit == 1 && on_lost == OnLost::Stop {
            let error = again.unwrap_err();
            assert!(matches!(error, ConnectError::Missing { .. }), "{error:?}");
            assert!(error.to_string().contains("4 bytes behind that were not read"), "{error}");
            assert!(error.to_string().contains("on-lost = \"skip\""), "{error}");
        } else {
            assert!(again.is_ok(), "{again:?}");
        }
    }
}

#[test]
fn half_a_row_comes_out_after_a_time_where_that_is_asked() {
    for (format, text, row) in
        [(SourceFormat::Lines, "one\ntw", "tw"), (SourceFormat::Csv { header: false, delimiter: b',' }, "one\ntw", "[\"tw\"]")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        append(&path, text.as_bytes());
        let mut given = Given::default();
        let settings = FileSource { partial_after: Some(std::time::Duration::from_millis(20)), ..followed("in", format) };
        let (_source, mut reader) = start(&settings, folder.path(), &mut given);
        take_until(&mut given, reader.as_mut(), 2);
        assert_eq!(given.values()[1], row);
        append(&path, b"three\n");
        given.take(reader.as_mut(), u64::MAX);
        assert_eq!(given.rows.len(), 3);
        let (_source, mut reader) = start(&settings, folder.path(), &mut given);
        given.take(reader.as_mut(), u64::MAX);
        assert_eq!(given.rows.len(), 3);
    }
}

#[test]
fn one_file_that_cannot_be_read_does_not_keep_the_others() {
    let folder = tempfile::tempdir().unwrap();
    // Its header does not have the column.
    fs::write(folder.path().join("bad.csv"), "x,y\n1,2\n").unwrap();
    fs::write(folder.path().join("good.csv"), "k,y\n1,2\n").unwrap();
    let mut given = Given::default();
    let csv = SourceFormat::Csv { header: true, delimiter: b',' };
    let settings = FileSource { key: Some(Field::Column("k".to_owned())), ..followed("*.csv", csv) };
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    given.take(reader.as_mut(), u64::MAX);
    append(&folder.path().join("good.csv"), b"3,4\n");
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.rows.len(), 2);
}

#[test]
fn many_files_that_stay_are_folded_and_go_on_where_they_grow() {
    let folder = tempfile::tempdir().unwrap();
    let at = |number: usize| folder.path().join(format!("{number:04}.txt"));
    (0..1_000).for_each(|number| fs::write(at(number), format!("{number}\n")).unwrap());
    let settings = followed("*.txt", SourceFormat::Lines);
    let mut given = Given::default();
    let (_source, mut reader) = start(&settings, folder.path(), &mut given);
    take_until(&mut given, reader.as_mut(), 1_000);
    let bytes = |given: &Given| given.positions.iter().map(|(split, position)| split.len() + position.len()).sum::<usize>();
    fs::write(at(1_000), "1000\n").unwrap();
    take_until(&mut given, reader.as_mut(), 1_001);
    assert!(bytes(&given) < 80_000, "{} bytes in {} splits", bytes(&given), given.positions.len());
    for restart in [false, true] {
        if restart {
            let pair = start(&settings, folder.path(), &mut given);
            reader = pair.1;
        }
        let before = given.rows.len();
        for number in [0, 500, 999] {
            append(&at(number), b"more\n");
        }
        take_until(&mut given, reader.as_mut(), before + 3);
        given.take(reader.as_mut(), u64::MAX);
        assert_eq!(given.rows.len(), before + 3);
    }
    assert!(bytes(&given) < 80_000, "{} bytes in {} splits", bytes(&given), given.positions.len());
}

#[test]
fn new_files_are_found_once_and_by_one_reader() {
    let folder = tempfile::tempdir().unwrap();
    let settings = followed("*.txt", SourceFormat::Lines);
    let source = open(&settings, folder.path(), LIMITS);
    let mut given = Given::default();
    assert!(given.list(source.as_ref()).is_empty());
    let mut finder = source.reader(Vec::new()).unwrap();
    assert!(matches!(source.reader(Vec::new()).unwrap().next().unwrap(), InputStatus::End));
    assert!(matches!(finder.next().unwrap(), InputStatus::Idle(_)));
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
