//! Tests of sinks: what is visible after every crash.

use super::staging::Folders;
use crate::connect::{ConnectError, Recovered, Recovery, RowEncoding, SinkConnector, SinkContext, Staged};
use reprise_core::batch::{Batch, Row};
use reprise_core::description::Encoding::{I64Le, Utf8};
use reprise_core::ids::Life;
use reprise_core::topology::{self, Delivery, FileSink, SinkFormat, SinkKind};
use std::fs;
use std::path::Path;
use std::slice;
use std::sync::LazyLock;
use std::time::Duration;

pub(super) const COUNTS: RowEncoding = RowEncoding { key: Utf8, value: I64Le };

/// What is around a sink. The runtime of its storage calls lives as long as the tests.
pub(super) fn around(folder: &Path, job: &str, name: &str) -> SinkContext {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    let storage = crate::store::StoreLimits::default();
    let (base_dir, job, sink, runtime) = (folder.to_owned(), job.to_owned(), name.to_owned(), RUNTIME.handle().clone());
    SinkContext { base_dir, job, sink, runtime, storage, intercept: None }
}

/// The settings of a sink of any kind.
pub(super) fn settings(kind: SinkKind, delivery: Delivery, name: &str) -> topology::Sink {
    let taken_back = topology::TakenBack { keep: Duration::from_secs(3_600), bytes_max: 1 << 20 };
    topology::Sink { name: name.to_owned(), inputs: Vec::new(), kind, delivery, taken_back, line: 1 }
}

/// A sink of any kind.
pub(super) fn open_kind(
    kind: SinkKind,
    delivery: Delivery,
    folder: &Path,
    job: &str,
    name: &str,
) -> Result<Box<dyn SinkConnector>, ConnectError> {
    crate::connect::sink(&settings(kind, delivery, name), &around(folder, job, name), vec![COUNTS])
}

/// The life of the job's store.
pub(super) const LIFE: Life = Life([7; 16]);

/// The recovery of a run.
pub(super) fn run(recovered: Option<u64>, taken: u64, generation: u64) -> Recovery {
    Recovery { recovered, taken, generation, life: LIFE, writer: generation, adopt: None, now_ms: 0 }
}

/// The recovery of a run that comes after all others.
pub(super) fn after(recovered: Option<u64>) -> Recovery {
    run(recovered, u64::MAX, u64::MAX)
}

fn open(folder: &Path, job: &str, name: &str, format: SinkFormat) -> Box<dyn SinkConnector> {
    let kind = SinkKind::File(FileSink { path: "out".to_owned(), format });
    open_kind(kind, Delivery::ExactlyOnce, folder, job, name).unwrap()
}

fn sink(folder: &Path) -> Box<dyn SinkConnector> {
    open(folder, "job", "counts", SinkFormat::Json)
}

pub(super) fn batch(key: &str, count: i64) -> Batch {
    let mut batch = Batch::new();
    batch.push(Row { time: 7, key: key.as_bytes(), value: &count.to_le_bytes() }).unwrap();
    batch
}

fn stage(sink: &dyn SinkConnector, generation: u64, epoch: u64, key: &str) -> Staged {
    let mut writer = sink.writer(0, generation).unwrap();
    writer.write(epoch, 0, &batch(key, 1)).unwrap();
    writer.seal(epoch).unwrap().unwrap()
}

/// Names of a folder's plain files.
fn list(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file());
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn rows_are_visible_only_once_published() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let sink = sink(folder.path());
    assert!(sink.exactly_once());
    assert_eq!(sink.recover(&after(None), &[]).unwrap(), Recovered::default());
    let mut writer = sink.writer(3, 1).unwrap();
    writer.write(41, 0, &batch("a", 1)).unwrap();
    writer.write(41, 0, &batch("b", 2)).unwrap();
    let staged = writer.seal(41).unwrap().unwrap();
    let text = "{\"key\":\"a\",\"value\":1,\"time\":7}\n{\"key\":\"b\",\"value\":2,\"time\":7}\n";
    let token = format!("000000000041-1-3.json:{:016x}", reprise_core::codec::checksum(text.as_bytes()));
    assert_eq!((staged.token.clone(), staged.rows), (token, 2));
    assert!(list(&out).is_empty());
    sink.publish(slice::from_ref(&staged)).unwrap();
    sink.publish(slice::from_ref(&staged)).unwrap();
    assert_eq!(list(&out), ["counts-000000000041-3.json"]);
    let text = fs::read_to_string(out.join("counts-000000000041-3.json")).unwrap();
    assert_eq!(text, "{\"key\":\"a\",\"value\":1,\"time\":7}\n{\"key\":\"b\",\"value\":2,\"time\":7}\n");
    assert_eq!(staged.bytes, text.len() as u64);
}

#[test]
fn an_epoch_without_rows_stages_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let mut writer = sink.writer(0, 1).unwrap();
    writer.write(1, 0, &Batch::new()).unwrap();
    assert_eq!(writer.seal(1).unwrap(), None);
    assert_eq!(writer.seal(2).unwrap(), None);
}

#[test]
fn rows_of_a_later_epoch_may_come_before_the_seal_but_none_for_a_sealed_one() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let mut writer = sink.writer(0, 1).unwrap();
    writer.write(1, 0, &batch("a", 1)).unwrap();
    writer.write(2, 0, &batch("b", 1)).unwrap();
    assert_eq!(writer.seal(1).unwrap().unwrap().rows, 1);
    assert!(matches!(writer.write(1, 0, &batch("c", 1)), Err(ConnectError::Order { epoch: 1, sealed: 1, .. })));
    assert!(matches!(writer.seal(1), Err(ConnectError::Order { .. })));
    assert_eq!(writer.seal(2).unwrap().unwrap().rows, 1);
}

#[test]
fn a_crash_between_manifest_and_publish_is_made_good_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let staged = stage(sink(folder.path()).as_ref(), 1, 5, "a");
    let sink = sink(folder.path());
    let done = sink.recover(&after(Some(5)), std::slice::from_ref(&staged)).unwrap();
    assert_eq!(done, Recovered { published: 1, taken_back: 0, removed: 0, expired: 0 });
    assert_eq!(list(&folder.path().join("out")), ["counts-000000000005-0.json"]);
    assert_eq!(sink.recover(&after(Some(5)), &[staged]).unwrap(), Recovered::default());
}

#[test]
fn output_that_no_manifest_names_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let old = sink(folder.path());
    let staged = stage(old.as_ref(), 1, 5, "a");
    stage(old.as_ref(), 1, 6, "sealed, not named");
    old.writer(1, 1).unwrap().write(6, 0, &batch("not even sealed", 1)).unwrap();
    let done = sink(folder.path()).recover(&after(Some(5)), &[staged]).unwrap();
    assert_eq!(done, Recovered { published: 1, taken_back: 0, removed: 2, expired: 0 });
    assert_eq!(list(&folder.path().join("out/.reprise/counts/staged")), [""; 0]);
}

#[test]
fn visible_output_after_the_recovered_epoch_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let old = sink(folder.path());
    for epoch in 4..=6 {
        old.publish(&[stage(old.as_ref(), 1, epoch, "a")]).unwrap();
    }
    let sink = sink(folder.path());
    assert_eq!(sink.recover(&after(Some(4)), &[]).unwrap(), Recovered { published: 0, taken_back: 2, removed: 0, expired: 0 });
    assert_eq!(list(&out), ["counts-000000000004-0.json"]);
    let aside = out.join(".reprise/counts/taken-back");
    assert_eq!(list(&aside), ["counts-000000000005-0.json", "counts-000000000006-0.json"]);
    // Produced again, and taken back once more by a fresh start: nothing set aside is overwritten.
    sink.publish(&[stage(sink.as_ref(), 2, 5, "b")]).unwrap();
    assert_eq!(sink.recover(&after(None), &[]).unwrap().taken_back, 2);
    assert_eq!(list(&out), [""; 0]);
    assert_eq!(list(&aside).len(), 4);
    assert!(fs::read_to_string(aside.join("counts-000000000005-0.json.1")).unwrap().contains("\"b\""));
}

/// Rows that are set aside by a run at a time, in milliseconds.
fn set_aside(folder: &Path, epoch: u64, key: &str, now_ms: i64) -> Recovered {
    let sink = sink(folder);
    sink.publish(&[stage(sink.as_ref(), 1, epoch, key)]).unwrap();
    sink.recover(&Recovery { now_ms, ..after(Some(epoch - 1)) }, &[]).unwrap()
}

#[test]
fn output_that_was_taken_back_goes_when_it_is_old_or_too_much_and_never_at_once() {
    let hour = 3_600_000;
    let folder = tempfile::tempdir().unwrap();
    let aside = folder.path().join("out/.reprise/counts/taken-back");
    assert_eq!(set_aside(folder.path(), 5, "a", 10 * hour), Recovered { taken_back: 1, ..Recovered::default() });
    fs::write(aside.join("of-somebody.json"), "left alone").unwrap();
    assert_eq!(
        set_aside(folder.path(), 6, "b", 11 * hour),
        Recovered { taken_back: 1, ..Recovered::default() },
        "an hour is not over an hour"
    );
    assert_eq!(set_aside(folder.path(), 7, "c", 11 * hour + 1), Recovered { taken_back: 1, expired: 1, ..Recovered::default() });
    assert_eq!(list(&aside), ["counts-000000000006-0.json", "counts-000000000007-0.json", "of-somebody.json"]);
    // More than may stay, at once: it stays until the next start, when the oldest of it goes.
    let large = "x".repeat(700 << 10);
    assert_eq!(set_aside(folder.path(), 8, &large, 11 * hour + 2).expired, 0);
    assert_eq!(set_aside(folder.path(), 9, &large, 11 * hour + 3), Recovered { taken_back: 1, ..Recovered::default() });
    assert_eq!(sink(folder.path()).recover(&Recovery { now_ms: 11 * hour + 4, ..after(Some(8)) }, &[]).unwrap().expired, 3);
    assert_eq!(list(&aside), ["counts-000000000009-0.json", "of-somebody.json"]);
}

#[test]
fn an_epoch_of_many_instances_is_published_as_a_whole_and_its_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let large = "x".repeat(200 << 10);
    let stage_all = |epoch| -> Vec<Staged> {
        let of = |instance| {
            let mut writer = sink.writer(instance, 1).unwrap();
            writer.write(epoch, 0, &batch(&large, i64::from(instance))).unwrap();
            writer.seal(epoch).unwrap().unwrap()
        };
        (0..16).map(of).collect()
    };
    let all: Vec<Staged> = [stage_all(5), stage_all(6)].concat();
    sink.publish(&all).unwrap();
    sink.publish(&all).unwrap();
    assert_eq!(list(&folder.path().join("out")).len(), 32);
    assert_eq!(list(&folder.path().join("out/.reprise/counts/published")).len(), 16, "one note for each instance is enough");
    let damaged = stage_all(7);
    fs::write(folder.path().join("out/.reprise/counts/staged").join(name(&damaged[9])), vec![b'y'; damaged[9].bytes as usize]).unwrap();
    assert!(matches!(sink.publish(&damaged), Err(ConnectError::Corrupt { .. })));
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir_all(&out).unwrap();
    let foreign = [
        "counts.json",
        "counts-1-0.json",
        "counts-000000000009-0.parquet",
        "counts-000000000009-0-1.json",
        "counts-000000000009-00.json",
        "other-000000000009-0.json",
        "counts-b-000000000009-0.json",
        "counts-000000000009-+1.json",
        "README",
    ];
    for name in foreign {
        fs::write(out.join(name), "x").unwrap();
    }
    assert_eq!(sink(folder.path()).recover(&after(None), &[]).unwrap().taken_back, 0);
    assert_eq!(list(&out).len(), foreign.len());
}

#[test]
fn published_files_that_a_reader_moved_away_are_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let old = sink(folder.path());
    let staged = stage(old.as_ref(), 1, 5, "a");
    old.publish(slice::from_ref(&staged)).unwrap();
    fs::remove_file(folder.path().join("out/counts-000000000005-0.json")).unwrap();
    assert_eq!(sink(folder.path()).recover(&after(Some(5)), &[staged]).unwrap(), Recovered::default());
}

/// The name of a staged file.
fn name(staged: &Staged) -> &str {
    staged.token.split(':').next().unwrap()
}

#[test]
fn what_the_first_hosts_sealed_without_a_checksum_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let sealed = stage(sink.as_ref(), 1, 5, "a");
    let old = Staged { token: name(&sealed).to_owned(), ..sealed };
    assert_eq!(sink.recover(&after(Some(5)), &[old]).unwrap().published, 1);
}

#[test]
fn notes_and_owners_that_are_no_text_are_as_good_as_wrong_ones() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let staged = stage(sink.as_ref(), 1, 5, "a");
    fs::write(folder.path().join("out/.reprise/counts/published/0"), [0xff]).unwrap();
    assert_eq!(sink.recover(&after(Some(5)), &[staged]).unwrap().published, 1);
    fs::write(folder.path().join("out/.reprise/counts/owner"), [0xff]).unwrap();
    assert!(matches!(sink.recover(&after(Some(5)), &[]), Err(ConnectError::Config { .. })));
}

#[test]
fn output_of_the_epoch_with_which_a_run_took_over_is_of_a_manifest_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    sink.publish(&[stage(sink.as_ref(), 1, 5, "a")]).unwrap();
    let recovery = run(Some(4), 5, 2);
    assert_eq!(sink.recover(&recovery, &[]).unwrap(), Recovered { taken_back: 1, ..Recovered::default() });
}

#[test]
fn staged_output_that_is_lost_or_damaged_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let staged = stage(sink.as_ref(), 1, 5, "a");
    let file = folder.path().join("out/.reprise/counts/staged").join(name(&staged));
    let kept = fs::read(&file).unwrap();
    let mut flipped = kept.clone();
    flipped[3] ^= 1;
    for damaged in [&kept[1..], &flipped] {
        fs::write(&file, damaged).unwrap();
        assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Corrupt { .. })));
    }
    fs::remove_file(&file).unwrap();
    let error = sink.publish(slice::from_ref(&staged)).unwrap_err();
    assert!(matches!(error, ConnectError::Missing { .. }));
    assert!(error.to_string().contains("staged output is missing"), "{error}");
    // After a walk back the epoch is produced again, and its loss is not excused by the first time.
    fs::write(&file, &kept).unwrap();
    sink.publish(slice::from_ref(&staged)).unwrap();
    sink.recover(&after(Some(4)), &[]).unwrap();
    assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Missing { .. })));
}

#[test]
fn a_visible_file_with_other_contents_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let staged = stage(sink.as_ref(), 1, 5, "a");
    let out = folder.path().join("out/counts-000000000005-0.json");
    let other = "x".repeat(staged.bytes as usize);
    fs::write(&out, &other).unwrap();
    assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Corrupt { .. })));
    assert_eq!(fs::read_to_string(&out).unwrap(), other);
    let same = folder.path().join("out/.reprise/counts/staged").join(name(&staged));
    fs::copy(&same, &out).unwrap();
    sink.publish(slice::from_ref(&staged)).unwrap();
    assert!(!same.exists());
}

#[test]
fn hosts_that_publish_the_same_output_side_by_side_look_again_where_it_moves_under_them() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (sink(folder.path()), sink(folder.path()));
    for epoch in (0..400).step_by(20) {
        let mut writer = one.writer(0, 1).unwrap();
        let mut sealed = |epoch| {
            writer.write(epoch, 0, &batch("a", 1)).unwrap();
            writer.seal(epoch).unwrap().unwrap()
        };
        let staged: Vec<Staged> = (epoch..epoch + 20).map(&mut sealed).collect();
        std::thread::scope(|scope| {
            let both = [&one, &other].map(|sink| scope.spawn(|| sink.publish(&staged)));
            for published in both {
                published.join().unwrap().unwrap_or_else(|error| panic!("{epoch}: {error}"));
            }
        });
    }
    assert_eq!(list(&folder.path().join("out")).len(), 400);
    let (there, gone) = (folder.path().join("out/counts-000000000000-0.json"), folder.path().join("gone"));
    assert_eq!(super::disk::is_equal(&gone, &there).unwrap(), None, "one that is gone has no other contents");
    assert_eq!(super::disk::is_equal(&there, &there).unwrap(), Some(true));
}

#[test]
fn tokens_that_lie_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    for token in [
        "",
        "../x",
        "5-1-0.json",
        "000000000005-1-0.exe",
        "000000000005-1-0.json/..",
        "+00000000005-1-0.json",
        "000000000005-1-0",
        "000000000005-1-0.json:",
        "000000000005-1-0.json:1",
    ] {
        let staged = Staged { token: token.to_owned(), rows: 1, bytes: 1 };
        assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Corrupt { .. })), "{token}");
    }
    let later = Staged { token: "000000000005-1-0.json".to_owned(), rows: 1, bytes: 1 };
    assert!(matches!(sink.recover(&after(Some(4)), &[later]), Err(ConnectError::Corrupt { .. })));
}

#[test]
fn a_folder_belongs_to_one_job_for_each_sink_name() {
    let folder = tempfile::tempdir().unwrap();
    sink(folder.path()).recover(&after(None), &[]).unwrap();
    open(folder.path(), "job", "others", SinkFormat::Csv).recover(&after(None), &[]).unwrap();
    let error = open(folder.path(), "another", "counts", SinkFormat::Json).recover(&after(None), &[]).unwrap_err();
    assert!(matches!(error, ConnectError::Config { .. }));
    assert!(error.to_string().contains("of job `job`"), "{error}");
}

fn at_once(folder: &Path) -> Box<dyn SinkConnector> {
    let kind = SinkKind::File(FileSink { path: "out".to_owned(), format: SinkFormat::Csv });
    open_kind(kind, Delivery::Immediate, folder, "job", "counts").unwrap()
}

#[test]
fn immediate_rows_are_visible_when_the_write_returns_and_stay_whatever_is_recovered() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let sink = at_once(folder.path());
    assert!(!sink.exactly_once());
    sink.recover(&after(None), &[]).unwrap();
    let mut writer = sink.writer(3, 7).unwrap();
    writer.write(41, 0, &batch("a", 1)).unwrap();
    assert_eq!(list(&out), ["counts-000000000041-7-3-0.csv"]);
    assert_eq!(fs::read_to_string(out.join("counts-000000000041-7-3-0.csv")).unwrap(), "a,1,7\n");
    writer.write(41, 0, &batch("b", 2)).unwrap();
    assert_eq!(fs::read_to_string(out.join("counts-000000000041-7-3-0.csv")).unwrap(), "a,1,7\nb,2,7\n");
    assert_eq!(writer.seal(41).unwrap(), None);
    assert!(matches!(writer.write(41, 0, &batch("c", 1)), Err(ConnectError::Order { .. })));
    assert_eq!(sink.recover(&after(Some(40)), &[]).unwrap(), Recovered::default());
    // Another life of the job, with a store that knows nothing: the same epoch, generation and instance.
    let mut again = sink.writer(3, 7).unwrap();
    again.write(41, 0, &batch("d", 4)).unwrap();
    assert_eq!(list(&out), ["counts-000000000041-7-3-0.csv", "counts-000000000041-7-3-1.csv"]);
    assert_eq!(fs::read_to_string(out.join("counts-000000000041-7-3-0.csv")).unwrap(), "a,1,7\nb,2,7\n");
}

#[test]
fn delivery_may_change_between_two_runs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let staged = stage(sink(folder.path()).as_ref(), 1, 5, "a");
    stage(sink(folder.path()).as_ref(), 1, 6, "not named");
    let done = at_once(folder.path()).recover(&after(Some(5)), &[staged]).unwrap();
    assert_eq!(done, Recovered { published: 1, taken_back: 0, removed: 1, expired: 0 });
    at_once(folder.path()).writer(0, 2).unwrap().write(6, 0, &batch("b", 1)).unwrap();
    assert_eq!(sink(folder.path()).recover(&after(Some(5)), &[]).unwrap(), Recovered::default());
    assert_eq!(list(&out), ["counts-000000000005-0.json", "counts-000000000006-2-0-0.csv"]);
}

#[test]
fn a_recovery_that_sleeps_touches_nothing_of_the_run_that_came_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = sink(folder.path());
    place.recover(&run(None, 1, 1), &[]).unwrap();
    let ours = stage(place.as_ref(), 1, 4, "a");
    place.publish(slice::from_ref(&ours)).unwrap();
    // Generation 2 takes over with the manifest of epoch 5 and sleeps; generation 3 takes over with 6, publishes 7 and stages 8.
    let published = stage(place.as_ref(), 3, 7, "b");
    place.publish(slice::from_ref(&published)).unwrap();
    let staged = stage(place.as_ref(), 3, 8, "c");
    let sleeper = run(Some(4), 5, 2);
    assert!(
        matches!(sink(folder.path()).recover(&sleeper, &[]), Err(ConnectError::Unknown { .. })),
        "there is output that it does not know"
    );
    // It fell asleep only after it had looked.
    let asleep = Folders::new(folder.path().join("out"), "counts");
    assert_eq!((asleep.remove_staged(2).unwrap(), asleep.take_back(&sleeper).unwrap()), (0, 0));
    place.publish(slice::from_ref(&staged)).unwrap();
    // What it may publish again is published already, and a reader may have it.
    for name in ["counts-000000000007-0.json", "counts-000000000008-0.json"] {
        fs::remove_file(folder.path().join("out").join(name)).unwrap();
    }
    place.publish(slice::from_ref(&published)).unwrap();
    place.publish(slice::from_ref(&staged)).unwrap();
}

#[test]
fn an_adoption_that_sleeps_removes_nothing_of_the_run_that_adopted_the_place_meanwhile() {
    let objects = topology::ObjectsSink { url: "file:./out".to_owned(), format: SinkFormat::Json, part_bytes_max: 1 << 20 };
    let files = FileSink { path: "out".to_owned(), format: SinkFormat::Json };
    for kind in [SinkKind::File(files), SinkKind::Objects(objects)] {
        let folder = tempfile::tempdir().unwrap();
        let open = || open_kind(kind.clone(), Delivery::ExactlyOnce, folder.path(), "job", "counts").unwrap();
        let stranger = Recovery { life: Life([9; 16]), ..run(None, 1, 30) };
        open().recover(&stranger, &[]).unwrap();
        drop(stage(open().as_ref(), 30, 4, "a"));
        let seen = open().holding().unwrap().newest_note();
        let adopting = |generation| Recovery { adopt: Some(seen), ..run(None, 10, generation) };
        // The run of generation 3 has looked, and sleeps; that of generation 4 takes the place and seals output.
        open().recover(&adopting(4), &[]).unwrap();
        assert_eq!(open().holding().unwrap().staged, None, "what the stranger staged is removed");
        let sealed = stage(open().as_ref(), 4, 11, "b");
        assert!(matches!(open().recover(&adopting(3), &[]), Err(ConnectError::Unknown { .. })));
        open().publish(slice::from_ref(&sealed)).unwrap();
        assert_eq!(list(&folder.path().join("out")).len(), 1);
        // Asked again, who took the place has it.
        open().recover(&Recovery { recovered: Some(11), ..adopting(4) }, &[]).unwrap();
    }
}
