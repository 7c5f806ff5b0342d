//! Rows that are whole: files that grow while they are read, packed files, and positions that say how they are read.

use super::{Given, LIMITS, NOW_MS, Random, open, read_with_restarts, settings};
use crate::connect::{BatchLimits, ConnectError, InputStatus};
use reprise_core::topology::{Compression, Field, FileSource, SourceFormat, TimeField, TimeUnit};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

const CSV: SourceFormat = SourceFormat::Csv { header: true, delimiter: b',' };

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Lists a file, lets it grow, and reads it as it was listed.
fn read_grown(settings: &FileSource, folder: &Path, before: &str, more: &str) -> Given {
    let path = folder.join("in");
    fs::write(&path, before).unwrap();
    let source = open(settings, folder, LIMITS);
    let mut given = Given::default();
    let splits = given.list(source.as_ref());
    append(&path, more.as_bytes());
    assert!(given.take(source.reader(splits).unwrap().as_mut(), u64::MAX));
    given
}

#[test]
fn a_row_at_the_end_of_a_file_that_grows_is_read_whole_or_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let csv = settings("in", CSV);
    let given = read_grown(&csv, folder.path(), "id,amount\n1,100\n2,20", "00\n3,300\n");
    assert_eq!(given.values(), [r#"{"id":"1","amount":"100"}"#, r#"{"id":"2","amount":"2000"}"#]);
    let given = read_grown(&csv, folder.path(), "id,amount\n1,100\n2,20", "0");
    assert_eq!(given.values(), [r#"{"id":"1","amount":"100"}"#]);
    assert!(given.rejected.is_empty());
    let given = read_grown(&csv, folder.path(), "id,amount\n1,\"a", "b\nc\"\n3,x\n");
    assert_eq!(given.values(), [r#"{"id":"1","amount":"ab\nc"}"#]);
    let given = read_grown(&csv, folder.path(), "id,am", "ount\n1,100\n");
    assert!(given.values().is_empty() && given.rejected.is_empty());
    let lines = settings("in", SourceFormat::Lines);
    assert_eq!(read_grown(&lines, folder.path(), "one\ntwo\n", "three\n").values(), ["one", "two"]);
    assert_eq!(read_grown(&lines, folder.path(), "one\ntwo", "").values(), ["one", "two"]);
    assert_eq!(read_grown(&lines, folder.path(), "one\ntwo", "\nthree\n").values(), ["one", "two"]);
}

#[test]
fn a_row_that_was_left_out_is_read_by_who_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings("in", SourceFormat::Lines);
    for split_bytes in [1 << 20, 10] {
        settings.split_bytes = split_bytes;
        let mut given = read_grown(&settings, folder.path(), "one\ntwo\nthree\nfo", "u");
        assert_eq!(given.values(), ["one", "two", "three"]);
        append(&folder.path().join("in"), b"r\nfive\n");
        let followed = FileSource { follow: true, ..settings.clone() };
        let source = open(&followed, folder.path(), LIMITS);
        let splits = given.list(source.as_ref());
        given.take(source.reader(splits).unwrap().as_mut(), u64::MAX);
        assert_eq!(given.values(), ["one", "two", "three", "four", "five"], "{split_bytes}");
    }
}

#[test]
fn a_row_without_an_end_that_began_in_an_earlier_piece_goes_to_quarantine() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings("in", SourceFormat::Lines);
    settings.split_bytes = 10;
    let given = read_grown(&settings, folder.path(), "one\ntwo, and much more of it", " still");
    assert_eq!(given.values(), ["one"]);
    assert_eq!((given.rejected.len(), given.rejected[0].offset), (1, 4));
    assert!(given.rejected[0].reason.contains("was being written"), "{:?}", given.reasons());
}

#[test]
fn any_restart_gives_the_rows_of_packed_files() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let rows: Vec<String> =
            (0..random.below(400)).map(|row| format!("{row},\"a\n{}\"", "x".repeat(random.below(9) as usize))).collect();
        let text = format!("id,note\n{}\n", rows.join("\n"));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        fs::write(folder.path().join("in"), &text).unwrap();
        let plain = super::read_all(&settings("in", CSV), folder.path());
        assert_eq!(plain.rows.len(), rows.len());
        for packed in [gzip.finish().unwrap(), zstd::stream::encode_all(text.as_bytes(), 1).unwrap()] {
            fs::write(folder.path().join("in"), packed).unwrap();
            let given = read_with_restarts(&settings("in", CSV), folder.path(), &mut random);
            assert_eq!(given.rows, plain.rows, "seed {seed}");
            let again = read_with_restarts(&settings("in", CSV), folder.path(), &mut random);
            assert_eq!(again.rows, plain.rows, "seed {seed}");
        }
    }
}

#[test]
fn a_packed_file_under_way_is_read_on_as_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), zstd::stream::encode_all(&b"one\ntwo\nthree\n"[..], 1).unwrap()).unwrap();
    let settings = settings("in", SourceFormat::Lines);
    let source = open(&settings, folder.path(), BatchLimits { rows_max: 1, bytes_max: 100 });
    let mut given = Given::default();
    let splits = given.list(source.as_ref());
    given.take(source.reader(splits).unwrap().as_mut(), 1);
    for other in [FileSource { follow: true, ..settings.clone() }, FileSource { compression: Compression::None, ..settings.clone() }] {
        let error = open(&other, folder.path(), LIMITS).splits(&given.known()).unwrap_err();
        assert!(matches!(error, ConnectError::Config { .. }) && error.to_string().contains("as a packed file"), "{error}");
    }
}

#[test]
fn positions_of_early_versions_are_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "one\ntwo\n").unwrap();
    let settings = settings("in", SourceFormat::Lines);
    let mut split = open(&settings, folder.path(), LIMITS).splits(&[]).unwrap().remove(0);
    let at = split.position.find(",\"reads\"").unwrap();
    split.position = format!("{}}}", &split.position[..at]).replace("\"offset\":0", "\"offset\":4");
    let source = open(&settings, folder.path(), LIMITS);
    let splits = source.splits(&[split]).unwrap();
    let mut given = Given::default();
    given.take(source.reader(splits).unwrap().as_mut(), u64::MAX);
    assert_eq!(given.values(), ["two"]);
}

#[test]
fn of_pieces_one_that_is_not_begun_keeps_its_settings_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "1,2\n3,4\n5,6\n").unwrap();
    let mut lines = settings("in", SourceFormat::Lines);
    let whole = open(&lines, folder.path(), LIMITS).splits(&[]).unwrap();
    assert!(open(&settings("in", CSV), folder.path(), LIMITS).splits(&whole).is_ok(), "nothing of the file has been read");
    lines.split_bytes = 4;
    let pieces = open(&lines, folder.path(), LIMITS).splits(&[]).unwrap();
    let error = open(&settings("in", CSV), folder.path(), LIMITS).splits(&pieces).unwrap_err().to_string();
    assert!(error.contains("as lines") && error.contains("csv with header"), "{error}");
}

#[test]
fn times_beyond_the_horizon_are_refused_and_those_before_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let hour_ms = 3_600_000;
    let mut json = settings("in", SourceFormat::Json);
    json.time = Some(TimeField { field: Field::Pointer("/t".to_owned()), unit: TimeUnit::Milliseconds });
    json.time_ahead_max = Some(Duration::from_millis(hour_ms));
    let hour_ms = hour_ms as i64;
    let times = [0, NOW_MS, NOW_MS + hour_ms, NOW_MS + hour_ms + 1, i64::MAX];
    fs::write(folder.path().join("in"), times.map(|time| format!("{{\"t\":{time}}}\n")).concat()).unwrap();
    let given = super::read_all(&json, folder.path());
    assert_eq!(given.rows.iter().map(|row| row.2).collect::<Vec<_>>(), times[..3]);
    assert_eq!(given.rejected.len(), 2);
    assert!(
        given.reasons()[0].contains("2023-11-14T23:13:20.001Z") && given.reasons()[0].contains("`time-ahead-max`"),
        "{:?}",
        given.reasons()
    );
    let csv = FileSource {
        time: Some(TimeField { field: Field::Index(0), unit: TimeUnit::Milliseconds }),
        ..FileSource { format: SourceFormat::Csv { header: false, delimiter: b',' }, ..json }
    };
    fs::write(folder.path().join("in"), format!("{},a\n{},b\n", i64::MAX, NOW_MS)).unwrap();
    let given = super::read_all(&csv, folder.path());
    assert_eq!((given.rows.len(), given.rejected[0].bytes.as_slice()), (1, format!("{},a", i64::MAX).as_bytes()));
}

#[test]
fn an_idle_followed_file_lets_the_watermark_rise_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut json = settings("*", SourceFormat::Json);
    json.time = Some(TimeField { field: Field::Pointer("/t".to_owned()), unit: TimeUnit::Milliseconds });
    (json.follow, json.idle_after) = (true, Some(Duration::from_millis(200)));
    fs::write(folder.path().join("a"), "{\"t\":10}\n").unwrap();
    fs::write(folder.path().join("b"), "{\"t\":20}\n").unwrap();
    let source = open(&json, folder.path(), LIMITS);
    let mut given = Given::default();
    let splits = given.list(source.as_ref());
    let mut reader = source.reader(splits).unwrap();
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.watermarks.last(), Some(&9));
    // The second one goes on, the first one does not.
    let mut time = 20;
    while given.watermarks.last() == Some(&9) {
        time += 1;
        append(&folder.path().join("b"), format!("{{\"t\":{time}}}\n").as_bytes());
        std::thread::sleep(Duration::from_millis(5));
        given.take(reader.as_mut(), u64::MAX);
    }
    assert_eq!(given.watermarks.last(), Some(&(time - 1)));
    append(&folder.path().join("a"), b"{\"t\":15}\n");
    given.take(reader.as_mut(), u64::MAX);
    assert_eq!(given.watermarks.last(), Some(&(time - 1)), "it never falls");
    assert!(matches!(reader.next().unwrap(), InputStatus::Idle(_)));
}

#[test]
fn a_header_of_very_many_columns_is_taken_in_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100_000).map(|column| format!("c{column}")).collect();
    let mut csv = settings("in", CSV);
    csv.row_bytes_max = 4 << 20;
    fs::write(folder.path().join("in"), format!("{}\n{}\n", names.join(","), vec!["1"; names.len()].join(","))).unwrap();
    assert_eq!(super::read_all(&csv, folder.path()).rows.len(), 1);
    fs::write(folder.path().join("in"), format!("{},c77\n", names.join(","))).unwrap();
    let source = open(&csv, folder.path(), LIMITS);
    let error = source.reader(source.splits(&[]).unwrap()).unwrap().next().unwrap_err();
    assert!(error.to_string().contains("names column `c77` twice"), "{error}");
}
