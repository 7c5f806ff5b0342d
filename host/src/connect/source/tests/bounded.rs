//! Files that are read to their ends.

use super::{Given, LIMITS, Random, open, read_all, read_with_restarts, settings};
use crate::connect::{BatchLimits, ConnectError};
use reprise_core::topology::{Field, FileSource, SourceFormat, TimeField, TimeUnit};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

pub fn lines(random: &mut Random, count: u64) -> Vec<u8> {
    let mut bytes = if random.one_of(20) { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
    for _ in 0..random.below(count) {
        let length = if random.one_of(10) { random.below(300) } else { random.below(12) };
        bytes.extend((0..length).map(|_| b"ab \r\xff"[random.below(5) as usize]));
        bytes.extend_from_slice(if random.one_of(30) { b"\r\n" } else { b"\n" });
    }
    if random.one_of(50) {
        bytes.extend_from_slice(b"last");
    }
    bytes
}

/// Lines, and the offsets of those that are too long.
fn reference(bytes: &[u8], row_bytes_max: usize) -> (Vec<Vec<u8>>, Vec<u64>) {
    let (mut rows, mut long, mut offset) = (Vec::new(), Vec::new(), 0);
    for piece in bytes.split_inclusive(|b| *b == b'\n') {
        let row = piece.strip_suffix(b"\n").map_or(piece, |row| row.strip_suffix(b"\r").unwrap_or(row));
        let bare = if offset == 0 { row.strip_prefix(b"\xef\xbb\xbf").unwrap_or(row) } else { row };
        if bare.len() > row_bytes_max {
            long.push(offset);
        } else if piece != b"\xef\xbb\xbf" || offset > 0 {
            rows.push(bare.to_vec());
        }
        offset += piece.len() as u64;
    }
    (rows, long)
}

pub fn check_lines(given: &Given, bytes: &[u8], row_bytes_max: usize, case: &str) {
    let (rows, long) = reference(bytes, row_bytes_max);
    let values: Vec<_> = given.rows.iter().map(|(_, value, _)| value.clone()).collect();
    assert_eq!(values, rows, "{case}");
    let rejected: Vec<_> = given.rejected.iter().map(|row| row.offset).collect();
    assert_eq!(rejected, long, "{case}");
    assert!(given.rejected.iter().all(|row| row.bytes.len() == row_bytes_max), "{case}");
}

#[test]
fn any_cut_and_any_restart_give_the_lines_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let bytes = lines(&mut random, 60);
        fs::write(folder.path().join("in"), &bytes).unwrap();
        let mut settings = settings("in", SourceFormat::Lines);
        settings.split_bytes = 1 + random.below(bytes.len() as u64 + 40);
        settings.row_bytes_max = if random.one_of(30) { 1 + random.below(100) } else { 1_000 };
        let given = read_with_restarts(&settings, folder.path(), &mut random);
        check_lines(&given, &bytes, settings.row_bytes_max as usize, &format!("seed {seed}"));
        let again = read_with_restarts(&settings, folder.path(), &mut random);
        assert_eq!(again.rows, given.rows, "seed {seed}");
    }
}

#[test]
fn rows_across_blocks_and_rows_longer_than_blocks_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(7);
    let mut bytes = Vec::new();
    while bytes.len() < 5 << 20 {
        let length = if random.one_of(1) { 700_000 + random.below(900_000) } else { random.below(90) };
        bytes.extend((0..length).map(|at| b'a' + (at % 26) as u8));
        bytes.push(b'\n');
    }
    fs::write(folder.path().join("in"), &bytes).unwrap();
    let mut settings = settings("in", SourceFormat::Lines);
    settings.split_bytes = 600_000;
    for row_bytes_max in [64, 1 << 20, 4 << 20] {
        settings.row_bytes_max = row_bytes_max;
        check_lines(&read_all(&settings, folder.path()), &bytes, row_bytes_max as usize, &format!("{row_bytes_max}"));
    }
}

#[test]
fn readers_share_the_splits_of_many_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(3);
    let mut expect = Vec::new();
    for name in ["a.txt", "b.txt", "c.txt"] {
        let bytes = lines(&mut random, 200);
        expect.extend(reference(&bytes, 1_000).0);
        fs::write(folder.path().join(name), &bytes).unwrap();
    }
    fs::write(folder.path().join("empty.txt"), "").unwrap();
    let mut settings = settings("*.txt", SourceFormat::Lines);
    (settings.split_bytes, settings.row_bytes_max) = (100, 1_000);
    let source = open(&settings, folder.path(), LIMITS);
    let splits = source.splits(&[]).unwrap();
    assert!(splits.len() > 10);
    let mut given = Given::default();
    for instance in 0..3 {
        let mine = splits.iter().skip(instance).step_by(3).cloned().collect();
        assert!(given.take(source.reader(mine).unwrap().as_mut(), u64::MAX));
    }
    let mut values: Vec<_> = given.rows.into_iter().map(|(_, value, _)| value).collect();
    values.sort_unstable();
    expect.sort_unstable();
    assert_eq!(values, expect);
}

#[test]
fn a_finished_source_goes_on_with_files_that_are_new_or_have_grown() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.txt"), "1\n2\n").unwrap();
    let settings = settings("*.txt", SourceFormat::Lines);
    let mut given = read_all(&settings, folder.path());
    let mut go_on = |expect: &[&str], told: Option<&str>| {
        let source = open(&settings, folder.path(), LIMITS);
        let known = given.known();
        let splits = given.list(source.as_ref());
        assert_eq!(source.unread(&known, &splits).as_deref(), told);
        assert_eq!(splits.iter().all(|split| source.is_done(split)), told.is_none());
        assert!(given.take(source.reader(splits).unwrap().as_mut(), u64::MAX));
        assert_eq!(given.values(), expect);
    };
    go_on(&["1", "2"], None);
    fs::write(at("b.txt"), "3\n").unwrap();
    go_on(&["1", "2", "3"], Some("`b.txt` is new"));
    fs::write(at("a.txt"), "1\n2\n4\n").unwrap();
    go_on(&["1", "2", "3", "4"], Some("`a.txt` has grown"));
    fs::rename(at("a.txt"), at("c.txt")).unwrap();
    go_on(&["1", "2", "3", "4"], None);
    // Put back from a backup: another inode, the same name and contents.
    fs::copy(at("c.txt"), at("d.tmp")).unwrap();
    fs::rename(at("d.tmp"), at("c.txt")).unwrap();
    go_on(&["1", "2", "3", "4"], None);
    // Rewritten in place: told, and not read.
    fs::write(at("b.txt"), "8\n9\n").unwrap();
    go_on(&["1", "2", "3", "4"], None);
    fs::remove_file(at("b.txt")).unwrap();
    go_on(&["1", "2", "3", "4"], None);
    assert_eq!(given.positions.len(), 1, "{:?}", given.positions);
}

#[test]
fn a_file_that_is_known_by_another_name_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("in")).unwrap();
    fs::write(at("in/a.txt"), "1\n2\n3\n").unwrap();
    let limits = BatchLimits { rows_max: 1, bytes_max: 1_000 };
    let mut given = Given::default();
    for path in ["in/a.txt", "./in/*.txt", "in/../in/b.txt", "in/**/*.txt"] {
        let absolute = at(path);
        let source = open(&settings(absolute.to_str().unwrap(), SourceFormat::Lines), &at("in/.."), limits);
        let splits = given.list(source.as_ref());
        given.take(source.reader(splits).unwrap().as_mut(), 1);
        if path == "./in/*.txt" {
            fs::rename(at("in/a.txt"), at("in/b.txt")).unwrap();
        }
    }
    assert_eq!(given.values(), ["1", "2", "3"]);
}

#[test]
fn a_bounded_file_that_was_rewritten_behind_its_beginning_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let text = |middle: char| format!("{}\n{middle}\n{}\n", "a".repeat(9_000), "b".repeat(100));
    fs::write(&path, text('x')).unwrap();
    let settings = settings("in", SourceFormat::Lines);
    let source = open(&settings, folder.path(), BatchLimits { rows_max: 2, bytes_max: 100_000 });
    let mut given = Given::default();
    let splits = given.list(source.as_ref());
    given.take(source.reader(splits).unwrap().as_mut(), 1);
    assert_eq!(given.rows.len(), 2);
    fs::write(&path, text('y')).unwrap();
    let error = open(&settings, folder.path(), LIMITS).splits(&given.known()).unwrap_err();
    assert!(matches!(error, ConnectError::Changed { .. }), "{error:?}");
    assert!(error.to_string().contains("it was rewritten"), "{error}");
}

#[test]
fn a_file_that_grows_while_it_is_read_keeps_the_length_it_was_listed_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    fs::write(&path, "one\ntwo").unwrap();
    let source = open(&settings("in", SourceFormat::Lines), folder.path(), LIMITS);
    let splits = source.splits(&[]).unwrap();
    fs::write(&path, "one\ntwofold\nthree\n").unwrap();
    let mut given = Given::default();
    given.take(source.reader(splits).unwrap().as_mut(), u64::MAX);
    assert_eq!(given.values(), ["one", "twofold"], "a row that began before the end is read to its own");
}

fn json(key: Option<&str>, time: Option<&str>) -> FileSource {
    let mut settings = settings("in", SourceFormat::Json);
    settings.key = key.map(|pointer| Field::Pointer(pointer.to_owned()));
    settings.time = time.map(|pointer| TimeField { field: Field::Pointer(pointer.to_owned()), unit: TimeUnit::Milliseconds });
    settings
}

#[test]
fn json_rows_keep_their_text_and_give_key_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let text = " {\"k\": \"a\\u0062\", \"t\": 5}\r\n\n  \n{\"k\":1.50,\"t\":\"7\"}\n{\"k\":null,\"t\":-1}";
    fs::write(folder.path().join("in"), text).unwrap();
    let given = read_all(&json(Some("/k"), Some("/t")), folder.path());
    assert_eq!(given.values(), [" {\"k\": \"a\\u0062\", \"t\": 5}", "{\"k\":1.50,\"t\":\"7\"}", "{\"k\":null,\"t\":-1}"]);
    let keys: Vec<_> = given.rows.iter().map(|(key, _, time)| (key.as_slice(), *time)).collect();
    assert_eq!(keys, [(&b"ab"[..], 5), (b"1.50", 7), (b"null", -1)]);
    assert!(given.rejected.is_empty());
}

#[test]
fn json_rows_that_cannot_be_used_are_rejected_and_the_rest_stands() {
    let folder = tempfile::tempdir().unwrap();
    let rows: [&[u8]; 9] = [
        b"{\"k\":1,\"t\":1}",
        b"{\"k\":1,\"t\":}",
        b"{\"t\":1}",
        b"{\"k\":{},\"t\":1}",
        b"{\"k\":\"\\ud800\",\"t\":1}",
        b"{\"k\":1,\"t\":\"soon\"}",
        b"{\"k\":\"\xff\",\"t\":1}",
        b"{\"k\":1,\"t\":1} 2",
        b"{\"k\":2,\"t\":2}",
    ];
    fs::write(folder.path().join("in"), rows.join(&b'\n')).unwrap();
    let given = read_all(&json(Some("/k"), Some("/t")), folder.path());
    assert_eq!(given.values(), ["{\"k\":1,\"t\":1}", "{\"k\":2,\"t\":2}"]);
    let rejected: Vec<_> = given.rejected.iter().map(|row| row.bytes.as_slice()).collect();
    assert_eq!(rejected, rows[1..8]);
    let reasons = given.reasons().join("\n");
    for part in ["not JSON", "no key at `/k`", "key at `/k` is an object", "half a surrogate", "`soon` is not a time", "not UTF-8"] {
        assert!(reasons.contains(part), "{part} in {reasons}");
    }
    assert!(given.rejected.iter().all(|row| row.split == "in@0"));
}

#[test]
fn a_watermark_rises_only_in_the_last_split_and_trails_by_the_lateness() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "{\"t\":90}\n{\"t\":10}\n{\"t\":70}\n{\"t\":50}\n{\"t\":80}\n").unwrap();
    let mut settings = json(None, Some("/t"));
    (settings.split_bytes, settings.lateness) = (27, Duration::from_millis(5));
    let source = open(&settings, folder.path(), BatchLimits { rows_max: 1, bytes_max: 1_000 });
    let splits = source.splits(&[]).unwrap();
    let mut given = Given::default();
    given.take(source.reader(splits).unwrap().as_mut(), u64::MAX);
    let mut watermarks = given.watermarks.clone();
    watermarks.dedup();
    assert_eq!(given.rows.len(), 5);
    assert_eq!(watermarks, [i64::MIN, 44]);
    assert!(given.positions.values().any(|position| position.contains("\"time_max\":90")), "{:?}", given.positions);
}

#[test]
fn inputs_that_changed_or_went_are_errors_with_path_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    let mut first = Given::default();
    let settings = settings("in", SourceFormat::Lines);
    let restart = |given: &Given| open(&settings, folder.path(), LIMITS).splits(&given.known());
    fs::write(&path, "one\ntwo\nthree\n").unwrap();
    let source = open(&settings, folder.path(), BatchLimits { rows_max: 1, bytes_max: 1_000 });
    let splits = first.list(source.as_ref());
    first.take(source.reader(splits).unwrap().as_mut(), 1);
    assert!(restart(&first).is_ok());
    fs::write(&path, "one\n").unwrap();
    let error = restart(&first).unwrap_err();
    assert!(matches!(error, ConnectError::Changed { offset: 4, .. }), "{error:?}");
    assert!(error.to_string().contains("it has 4 bytes, but had at least 14"), "{error}");
    fs::write(&path, "ONE\ntwo\nthree\n").unwrap();
    assert!(matches!(restart(&first).unwrap_err(), ConnectError::Changed { offset: 4, .. }));
    fs::remove_file(&path).unwrap();
    assert!(matches!(restart(&first).unwrap_err(), ConnectError::Missing { .. }));
}

#[test]
fn positions_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in"), "one\ntwo\n").unwrap();
    let source = open(&settings("in", SourceFormat::Lines), folder.path(), LIMITS);
    let good = source.splits(&[]).unwrap().remove(0);
    let refuse = |from: &str, to: &str| {
        let mut split = good.clone();
        assert!(split.position.contains(from), "{}", split.position);
        split.position = split.position.replace(from, to);
        source.splits(&[split]).unwrap_err()
    };
    assert!(matches!(refuse("\"offset\":0", "\"offset\":9"), ConnectError::Corrupt { .. }));
    assert!(matches!(refuse("\"end\":8", "\"end\":9"), ConnectError::Corrupt { .. }));
    assert!(matches!(refuse("\"start\":0", "\"start\":1"), ConnectError::Corrupt { .. }));
    assert!(matches!(refuse("\"start\":0", "\"start\":\"\""), ConnectError::Corrupt { .. }));
    assert!(matches!(refuse("\"path\":\"in\"", "\"path\":\"out\""), ConnectError::Corrupt { .. }));
    let mut elsewhere = good.clone();
    elsewhere.position = elsewhere.position.replace("\"in\"", "\"/etc/passwd\"").replace("\"ino\":", "\"ino\":9");
    elsewhere.split = "/etc/passwd@0".to_owned();
    assert!(matches!(source.splits(&[elsewhere]).unwrap_err(), ConnectError::Config { .. }));
}

#[test]
fn nothing_to_read_is_an_error_unless_it_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings("*.txt", SourceFormat::Lines);
    let error = open(&settings, folder.path(), LIMITS).splits(&[]).unwrap_err();
    assert!(matches!(error, ConnectError::Missing { .. }), "{error:?}");
    settings.follow = true;
    assert!(open(&settings, folder.path(), LIMITS).splits(&[]).unwrap().is_empty());
}

/// Reads on what a job has not read of a folder, in a run of its own.
fn run_again(settings: &FileSource, folder: &Path, given: &mut Given) {
    let source = open(settings, folder, LIMITS);
    let splits = given.list(source.as_ref());
    let mut reader = source.reader(splits).unwrap();
    for _ in 0..3 {
        given.take(reader.as_mut(), u64::MAX);
    }
}

fn append(path: &Path, text: &str) {
    fs::OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Copies a log and truncates it, as `copytruncate` does, and writes to it again.
fn copy_and_truncate(folder: &Path, copy: &str, then: &str) {
    fs::copy(folder.join("app.log"), folder.join(copy)).unwrap();
    fs::write(folder.join("app.log"), then).unwrap();
}

#[test]
fn a_log_that_was_truncated_behind_a_copy_between_two_runs_gives_each_row_once() {
    for (header, copy) in [("", "app.log.1"), ("", "app-20260101.log"), ("id,text\n", "app.log.1")] {
        let (folder, csv) = (tempfile::tempdir().unwrap(), SourceFormat::Csv { header: true, delimiter: b',' });
        let bounded = settings("*.log*", if header.is_empty() { SourceFormat::Lines } else { csv });
        let (mut given, line) = (Given::default(), |number: u32| format!("{number},x\n"));
        append(&folder.path().join("app.log"), &format!("{header}{}{}", line(1), line(2)));
        run_again(&bounded, folder.path(), &mut given);
        assert_eq!(given.rows.len(), 2, "{copy}");
        // What is written before the copy is made is in the copy alone. Copies are shifted, as logrotate does, or removed.
        for round in 0..3 {
            append(&folder.path().join("app.log"), &line(3 + 2 * round));
            let at = |name: &str| folder.path().join(name);
            if round == 1 && at(copy).exists() {
                fs::rename(at(copy), at("app.log.2")).unwrap();
            } else if round == 2 {
                fs::remove_file(at(copy)).unwrap();
            }
            copy_and_truncate(folder.path(), copy, &format!("{header}{}", line(4 + 2 * round)));
            run_again(&bounded, folder.path(), &mut given);
            // A look in between makes a mark of what was finished.
            if round != 0 {
                run_again(&bounded, folder.path(), &mut given);
            }
            let mut numbers: Vec<char> = given.values().iter().map(|row| row.chars().find(char::is_ascii_digit).unwrap()).collect();
            numbers.sort_unstable();
            let expected: Vec<char> = (1..=4 + 2 * round).map(|number| char::from_digit(number, 10).unwrap()).collect();
            assert_eq!(numbers, expected, "{copy}, round {round}: {:?}", given.values());
        }
    }
}

#[test]
fn a_copy_of_a_file_that_is_as_it_was_is_a_file_of_its_own() {
    let (folder, mut given) = (tempfile::tempdir().unwrap(), Given::default());
    let bounded = settings("*.log*", SourceFormat::Lines);
    append(&folder.path().join("app.log"), "1\n2\n");
    run_again(&bounded, folder.path(), &mut given);
    fs::copy(folder.path().join("app.log"), folder.path().join("app.log.1")).unwrap();
    // One that is like it and has another name is none, even where the log is truncated.
    fs::copy(folder.path().join("app.log"), folder.path().join("other.log")).unwrap();
    run_again(&bounded, folder.path(), &mut given);
    assert_eq!(given.values(), ["1", "2", "1", "2", "1", "2"]);
    fs::write(folder.path().join("app.log"), "3\n").unwrap();
    run_again(&bounded, folder.path(), &mut given);
    assert_eq!(given.rows.len(), 6, "known copies tell nothing: the log was rewritten, which is told");
}

#[test]
fn a_source_that_follows_no_more_reads_no_copy_again_of_which_it_had_read_the_log() {
    for seen in [false, true] {
        let (folder, mut given) = (tempfile::tempdir().unwrap(), Given::default());
        let bounded = settings("*.log*", SourceFormat::Lines);
        let followed = FileSource { follow: true, ..bounded.clone() };
        append(&folder.path().join("app.log"), "1\n2\n");
        let source = open(&followed, folder.path(), LIMITS);
        let splits = given.list(source.as_ref());
        let mut reader = source.reader(splits).unwrap();
        given.take(reader.as_mut(), u64::MAX);
        assert_eq!(given.values(), ["1", "2"]);
        if seen {
            // The truncation is seen while the copy lies elsewhere; that comes back once nobody looks.
            fs::rename(folder.path().join("app.log"), folder.path().join("keep")).unwrap();
            fs::copy(folder.path().join("keep"), folder.path().join("elsewhere")).unwrap();
            fs::rename(folder.path().join("keep"), folder.path().join("app.log")).unwrap();
            fs::write(folder.path().join("app.log"), "3\n").unwrap();
            given.take(reader.as_mut(), u64::MAX);
            given.take(reader.as_mut(), u64::MAX);
            drop(reader);
            fs::rename(folder.path().join("elsewhere"), folder.path().join("app.log.1")).unwrap();
            run_again(&bounded, folder.path(), &mut given);
            assert_eq!(given.values(), ["1", "2", "3"]);
        } else {
            drop(reader);
            copy_and_truncate(folder.path(), "app.log.1", "3\n");
            let error = open(&bounded, folder.path(), LIMITS).splits(&given.known()).unwrap_err();
            assert!(matches!(error, ConnectError::Changed { .. }), "{error:?}");
            // The way out: it follows once more.
            run_again(&followed, folder.path(), &mut given);
            run_again(&bounded, folder.path(), &mut given);
            assert_eq!(given.values(), ["1", "2", "3"]);
        }
    }
}
