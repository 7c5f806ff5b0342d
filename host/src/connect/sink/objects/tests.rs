//! Tests of the object sink: what is visible after a crash at every step, in memory, in a folder, and in a bucket behind a bad network.

mod bucket;

use super::super::tests::{COUNTS, around, batch, open_kind};
use super::ObjectsSinkConnector;
use crate::connect::sink::foreign::{Foreign, LOOKED_AT_MAX};
use crate::connect::{ConnectError, Recovered, Recovery, SinkConnector, SinkContext, Staged};
use crate::store::{CallKind, Copied, Intercept, Interference, StorageCall, Store, StoreLimits};
use bytes::Bytes;
use reprise_core::topology::{self, Delivery, SinkFormat, SinkKind};
use std::slice;
use std::sync::Arc;
use tempfile::TempDir;

/// A place for objects, and a look at it past the sink.
struct Place {
    folder: TempDir,
    url: String,
    store: Store,
}

fn settings(url: &str, part_bytes_max: u64) -> topology::ObjectsSink {
    topology::ObjectsSink { url: url.to_owned(), format: SinkFormat::Json, part_bytes_max }
}

/// Waits for a storage call on this thread.
fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

impl Place {
    fn at(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = now(Store::open_place(url, folder.path(), StoreLimits::default())).unwrap();
        Self { folder, url: url.to_owned(), store }
    }

    /// One in memory that no other test sees, and one in a folder.
    fn all(test: &str) -> [Self; 2] {
        [Self::at(&format!("memory:{test}")), Self::at("file:./out")]
    }

    fn open(&self, job: &str, name: &str, delivery: Delivery, part_bytes_max: u64) -> Result<Box<dyn SinkConnector>, ConnectError> {
        open_kind(SinkKind::Objects(settings(&self.url, part_bytes_max)), delivery, self.folder.path(), job, name)
    }

    fn sink(&self) -> Box<dyn SinkConnector> {
        self.open("job", "counts", Delivery::ExactlyOnce, 1 << 20).unwrap()
    }

    /// One whose parts hold two rows of [`stage`] each.
    fn parted(&self) -> Box<dyn SinkConnector> {
        self.open("job", "counts", Delivery::ExactlyOnce, 70).unwrap()
    }

    /// Paths of objects below a folder of the sink that nobody shall look into.
    fn hidden(&self, below: &str) -> Vec<String> {
        let within = format!(".reprise/counts/{below}");
        let listed = now(self.store.list(&within)).unwrap();
        listed.into_iter().map(|entry| entry.path[within.len() + 1..].to_owned()).collect()
    }

    fn visible(&self) -> Vec<String> {
        let listed = now(self.store.list("")).unwrap();
        listed.into_iter().map(|entry| entry.path).filter(|path| !path.starts_with('.')).collect()
    }

    fn read(&self, path: &str) -> String {
        String::from_utf8(now(self.store.get(path)).unwrap().unwrap().to_vec()).unwrap()
    }

    fn create(&self, path: &str, text: &str) {
        now(self.store.create(path, Bytes::from(text.to_owned()))).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        assert_eq!(now(self.store.copy(from, to, 1)).unwrap(), Copied::New);
    }

    fn delete(&self, path: &str) {
        now(self.store.delete(path)).unwrap();
    }
}

/// The rows of some keys, one write each.
fn stage(sink: &dyn SinkConnector, generation: u64, epoch: u64, keys: &[&str]) -> Staged {
    let mut writer = sink.writer(0, generation).unwrap();
    for key in keys {
        writer.write(epoch, 0, &batch(key, 1)).unwrap();
    }
    writer.seal(epoch).unwrap().unwrap()
}

use crate::connect::sink::tests::{after, run, settings as of_sink};

fn recover(sink: &dyn SinkConnector, recovered: Option<u64>, staged: &[Staged]) -> Recovered {
    sink.recover(&after(recovered), staged).unwrap()
}

const FIVE: &str = "counts-000000000005-0-0.json";
const STAGED_FIVE: &str = ".reprise/counts/staged/000000000005-1-0-0.json";
/// A token as the first hosts wrote them: without checksums.
fn lengths(staged: &Staged) -> String {
    let (name, parts) = staged.token.split_once(':').unwrap();
    let parts: Vec<&str> = parts.split(',').map(|part| part.split_once('/').unwrap().0).collect();
    format!("{name}:{}", parts.join(","))
}

const NOTHING: Recovered = Recovered { published: 0, taken_back: 0, removed: 0, expired: 0 };

#[test]
fn rows_are_visible_only_once_published_and_publishing_again_changes_nothing() {
    for place in Place::all("published") {
        let sink = place.sink();
        assert!(sink.exactly_once());
        assert_eq!(recover(sink.as_ref(), None, &[]), NOTHING);
        let staged = stage(sink.as_ref(), 1, 5, &["a", "b"]);
        assert_eq!((lengths(&staged).as_str(), staged.rows, staged.bytes), ("000000000005-1-0.json:62", 2, 62));
        assert!(place.visible().is_empty());
        sink.publish(slice::from_ref(&staged)).unwrap();
        sink.publish(slice::from_ref(&staged)).unwrap();
        // Another process, which has not seen the first time.
        place.sink().publish(slice::from_ref(&staged)).unwrap();
        assert_eq!(place.visible(), [FIVE]);
        assert_eq!(place.read(FIVE), "{\"key\":\"a\",\"value\":1,\"time\":7}\n{\"key\":\"b\",\"value\":1,\"time\":7}\n");
        assert_eq!(place.hidden("staged"), [""; 0]);
        assert_eq!(place.hidden("published"), ["0-000000000005"]);
        sink.publish(&[stage(sink.as_ref(), 1, 6, &["a"])]).unwrap();
        assert_eq!(place.hidden("published"), ["0-000000000006"], "one mark is enough");
    }
}

#[test]
fn an_epoch_without_rows_stores_nothing_and_sealed_epochs_take_no_more() {
    for place in Place::all("empty") {
        let sink = place.sink();
        let mut writer = sink.writer(0, 1).unwrap();
        writer.write(1, 0, &reprise_core::batch::Batch::new()).unwrap();
        assert_eq!(writer.seal(1).unwrap(), None);
        writer.write(2, 0, &batch("a", 1)).unwrap();
        writer.write(3, 0, &batch("b", 1)).unwrap();
        assert_eq!(writer.seal(2).unwrap().unwrap().rows, 1);
        assert!(matches!(writer.write(2, 0, &batch("c", 1)), Err(ConnectError::Order { epoch: 2, sealed: 2, .. })));
        assert!(matches!(writer.seal(1), Err(ConnectError::Order { .. })));
        assert_eq!(lengths(&writer.seal(3).unwrap().unwrap()), "000000000003-1-0.json:31");
        assert_eq!(place.hidden("staged").len(), 2);
    }
}

#[test]
fn an_epoch_that_is_larger_than_a_part_becomes_several_objects() {
    for place in Place::all("parts") {
        let sink = place.parted();
        let staged = stage(sink.as_ref(), 1, 5, &["a", "b", "c", "d", "e"]);
        assert_eq!((lengths(&staged).as_str(), staged.rows, staged.bytes), ("000000000005-1-0.json:62,62,31", 5, 155));
        sink.publish(slice::from_ref(&staged)).unwrap();
        assert_eq!(place.visible(), [FIVE, "counts-000000000005-0-1.json", "counts-000000000005-0-2.json"]);
        let all: String = place.visible().iter().map(|path| place.read(path)).collect();
        assert_eq!(all.matches("\"key\"").count(), 5);
        assert!(all.ends_with("{\"key\":\"e\",\"value\":1,\"time\":7}\n"));
    }
}

#[test]
fn whatever_step_of_publishing_a_run_dies_at_the_next_one_ends_it() {
    let parts =
        |part: usize| (format!(".reprise/counts/staged/000000000005-1-0-{part}.json"), format!("counts-000000000005-0-{part}.json"));
    // Steps: copies of part 0 and 1, the mark, removal of part 0 and 1.
    for steps in 0..=5 {
        for place in Place::all(&format!("step-{steps}")) {
            let staged = stage(place.parted().as_ref(), 1, 5, &["a", "b", "c"]);
            let death = |step: usize| match step {
                0 | 1 => place.copy(&parts(step).0, &parts(step).1),
                2 => place.create(".reprise/counts/published/0-000000000005", ""),
                _ => place.delete(&parts(step - 3).0),
            };
            (0..steps).for_each(death);
            let next = place.parted();
            let done = recover(next.as_ref(), Some(5), std::slice::from_ref(&staged));
            assert_eq!(done, Recovered { published: u64::from(steps < 2), ..NOTHING }, "{steps}");
            assert_eq!(place.visible(), [parts(0).1, parts(1).1], "{steps}");
            assert_eq!(place.read(&parts(0).1).len() + place.read(&parts(1).1).len(), staged.bytes as usize);
            assert_eq!(place.hidden("staged"), [""; 0], "{steps}");
            assert_eq!(recover(next.as_ref(), Some(5), &[staged]), NOTHING);
        }
    }
}

#[test]
fn output_that_no_manifest_names_is_removed() {
    for place in Place::all("leftovers") {
        let old = place.sink();
        let staged = stage(old.as_ref(), 1, 5, &["a"]);
        stage(old.as_ref(), 1, 6, &["sealed, not named"]);
        let done = recover(place.sink().as_ref(), Some(5), &[staged]);
        assert_eq!(done, Recovered { published: 1, taken_back: 0, removed: 1, expired: 0 });
        assert_eq!((place.visible(), place.hidden("staged")), (vec![FIVE.to_owned()], Vec::new()));
    }
}

#[test]
fn visible_output_after_the_recovered_epoch_is_set_aside() {
    for place in Place::all("aside") {
        let old = place.sink();
        for epoch in 4..=6 {
            old.publish(&[stage(old.as_ref(), 1, epoch, &["a"])]).unwrap();
        }
        let sink = place.sink();
        assert_eq!(recover(sink.as_ref(), Some(4), &[]), Recovered { taken_back: 2, ..NOTHING });
        assert_eq!(place.visible(), ["counts-000000000004-0-0.json"]);
        assert_eq!(place.hidden("taken-back"), [FIVE, "counts-000000000006-0-0.json"]);
        assert_eq!(place.hidden("published"), ["0-000000000004"]);
        // Produced again, with other rows; a recovery that died between the copy and the removal; and then a fresh start.
        sink.publish(&[stage(sink.as_ref(), 2, 5, &["b"])]).unwrap();
        place.copy(FIVE, &format!(".reprise/counts/taken-back/{FIVE}.1"));
        assert_eq!(recover(place.sink().as_ref(), None, &[]), Recovered { taken_back: 2, ..NOTHING });
        assert_eq!(place.visible(), [""; 0]);
        assert_eq!(place.hidden("taken-back").len(), 4);
        assert!(place.read(&format!(".reprise/counts/taken-back/{FIVE}.1")).contains("\"b\""));
        assert!(place.read(&format!(".reprise/counts/taken-back/{FIVE}")).contains("\"a\""));
        assert_eq!(place.hidden("published"), [""; 0]);
    }
}

#[test]
fn objects_of_others_are_left_alone() {
    for place in Place::all("foreign") {
        let mut foreign = [
            "README",
            "counts-000000000009-00-0.json",
            "counts-000000000009-0-0-0.json",
            "counts-000000000009-0-0.parquet",
            "counts-000000000009-0.json",
            "counts-b-000000000009-0-0.json",
            "counts.json",
            "other-000000000009-0-0.json",
            "zoo/counts-000000000009-0-0.json",
        ];
        foreign.sort_unstable();
        for path in foreign {
            place.create(path, "x");
        }
        assert_eq!(recover(place.sink().as_ref(), None, &[]), NOTHING);
        assert_eq!(place.visible(), foreign);
        let told = place.sink().foreign().unwrap();
        let named = ["README", "counts-000000000009-0-0.parquet", "counts-000000000009-00-0.json"].map(str::to_owned).to_vec();
        assert_eq!(told, Foreign { named, count: 5, is_part: false }, "with `counts.json` and `zoo/`; the others are of some sink");
    }
}

#[test]
fn foreign_objects_are_named_in_any_place_and_none_that_a_sink_made() {
    for place in Place::all("told") {
        let sink = place.parted();
        recover(sink.as_ref(), None, &[]);
        sink.publish(&[stage(sink.as_ref(), 1, 5, &["a", "b", "c"])]).unwrap();
        stage(sink.as_ref(), 1, 6, &["a"]);
        assert_eq!(sink.foreign().unwrap(), Foreign::default());
        for path in
            ["!first", "counts-", "zoo/a", "zoo/b", ".reprise/counts/staged/x", ".reprise/counts/y/z", "daily/.reprise/a/owner", "daily/z"]
        {
            place.create(path, "x");
        }
        let named = ["!first", ".reprise/counts/staged/x", ".reprise/counts/y/"].map(str::to_owned).to_vec();
        assert_eq!(sink.foreign().unwrap(), Foreign { named, count: 5, is_part: false });
    }
}

#[test]
fn a_foreign_object_behind_more_output_than_is_looked_at_is_found() {
    let place = Place::at("memory:many-told");
    for number in 0..=LOOKED_AT_MAX {
        place.create(&format!("counts-000000000005-0-{number}.json"), "x");
    }
    place.create("zoo", "x");
    let told = place.sink().foreign().unwrap();
    assert_eq!(told, Foreign { named: vec!["zoo".to_owned()], count: 1, is_part: true });
}

#[test]
fn a_host_that_wakes_up_after_another_one_took_over_makes_nothing_visible() {
    for place in Place::all("zombie") {
        let zombie = place.parted();
        recover(zombie.as_ref(), None, &[]);
        let staged = stage(zombie.as_ref(), 1, 5, &["a", "b", "c"]);
        // It falls asleep with one of two parts published; the checkpoint is found damaged, and the one before it is taken up.
        place.copy(STAGED_FIVE, FIVE);
        let sink = place.parted();
        assert_eq!(recover(sink.as_ref(), Some(4), &[]), Recovered { published: 0, taken_back: 1, removed: 2, expired: 0 });
        assert!(matches!(zombie.publish(slice::from_ref(&staged)), Err(ConnectError::Missing { .. })));
        assert_eq!(now(place.store.copy(STAGED_FIVE, FIVE, 1)).unwrap(), Copied::Absent, "not even if it had looked before");
        assert_eq!(place.visible(), [""; 0]);
        // Where the other one has published the very same output, nothing is wrong, and nothing comes twice.
        let again = stage(zombie.as_ref(), 1, 6, &["d"]);
        recover(place.parted().as_ref(), Some(6), std::slice::from_ref(&again));
        place.delete("counts-000000000006-0-0.json");
        zombie.publish(slice::from_ref(&again)).unwrap();
        assert_eq!(place.visible(), [""; 0]);
    }
}

/// Another host that removes a staged object, which it has published, just before it is read.
#[derive(Debug)]
struct Faster(std::path::PathBuf);

impl Intercept for Faster {
    fn before(&self, call: &StorageCall) -> Interference {
        if call.kind == CallKind::Get && call.path.contains("/staged/") {
            let _ = std::fs::remove_file(self.0.join(&call.path));
        }
        Interference::Pass
    }
}

#[test]
fn what_another_host_publishes_between_two_looks_is_looked_at_again() {
    let place = Place::at("file:./out");
    let staged = stage(place.sink().as_ref(), 1, 5, &["a"]);
    place.copy(STAGED_FIVE, FIVE);
    let faster: Arc<dyn Intercept> = Arc::new(Faster(place.folder.path().join("out")));
    let around = SinkContext { intercept: Some(faster), ..around(place.folder.path(), "job", "counts") };
    let settings = settings(&place.url, 1 << 20);
    let of = of_sink(SinkKind::Objects(settings.clone()), Delivery::ExactlyOnce, "counts");
    let sink = ObjectsSinkConnector::open(&settings, &of, &around, vec![COUNTS]).unwrap();
    sink.publish(slice::from_ref(&staged)).unwrap();
    assert_eq!((place.visible(), place.hidden("staged")), (vec![FIVE.to_owned()], Vec::new()));
}

#[test]
fn published_objects_that_a_reader_moved_away_are_not_missed() {
    for place in Place::all("moved") {
        let old = place.sink();
        let staged = stage(old.as_ref(), 1, 5, &["a"]);
        old.publish(slice::from_ref(&staged)).unwrap();
        place.delete(FIVE);
        assert_eq!(recover(place.sink().as_ref(), Some(5), std::slice::from_ref(&staged)), NOTHING);
        // After a walk back the epoch is produced again, and its loss is not excused by the first time.
        recover(place.sink().as_ref(), Some(4), &[]);
        assert!(matches!(place.sink().publish(slice::from_ref(&staged)), Err(ConnectError::Missing { .. })));
    }
}

#[test]
fn what_is_staged_is_published_whatever_an_earlier_life_of_the_job_had_marked() {
    for place in Place::all("lives") {
        place.create(".reprise/counts/published/0-000000000100", "");
        let first = place.sink();
        assert!(matches!(first.recover(&run(None, 1, 1), &[]), Err(ConnectError::Unknown { .. })), "the store does not know it");
        assert_eq!(place.hidden("lives"), [""; 0]);
        first.recover(&Recovery { adopt: Some(0), ..run(None, 101, 1) }, &[]).unwrap();
        let staged = stage(first.as_ref(), 1, 105, &["a"]);
        // It dies before it publishes.
        let next = place.sink();
        let done = next.recover(&run(Some(105), 106, 2), std::slice::from_ref(&staged)).unwrap();
        assert_eq!(done, Recovered { published: 1, ..NOTHING });
        assert_eq!((place.visible(), place.hidden("staged")), (vec!["counts-000000000105-0-0.json".to_owned()], Vec::new()));
    }
}

#[test]
fn a_place_that_no_run_has_noted_itself_in_may_hold_more_than_one_list() {
    let place = Place::at("memory:many");
    for epoch in [3, 9, 4, 1] {
        place.create(&format!("counts-{epoch:012}-0-0.json"), "x");
    }
    place.create("other/counts-000000000099-0-0.json", "x");
    let settings = settings(&place.url, 1 << 20);
    let of = of_sink(SinkKind::Objects(settings.clone()), Delivery::ExactlyOnce, "counts");
    let around =
        SinkContext { storage: StoreLimits { list_max: 2, ..StoreLimits::default() }, ..around(place.folder.path(), "job", "counts") };
    let sink = ObjectsSinkConnector::open(&settings, &of, &around, vec![COUNTS]).unwrap();
    assert_eq!(sink.holding().unwrap().newest, Some(9));
}

#[test]
fn what_an_earlier_run_staged_is_held_against_its_checksum_where_there_is_one() {
    for place in Place::all("flipped") {
        let sink = place.sink();
        let staged = stage(sink.as_ref(), 1, 5, &["a"]);
        let text = place.read(STAGED_FIVE).replace("\"a\"", "\"b\"");
        place.delete(STAGED_FIVE);
        place.create(STAGED_FIVE, &text);
        let error = place.sink().recover(&after(Some(5)), std::slice::from_ref(&staged)).unwrap_err();
        assert!(matches!(error, ConnectError::Corrupt { .. }) && error.to_string().contains("000000000005-1-0-0.json"), "{error}");
        assert!(place.visible().is_empty());
        let old = Staged { token: lengths(&staged), ..staged };
        assert_eq!(place.sink().recover(&after(Some(5)), &[old]).unwrap().published, 1);
    }
}

#[test]
fn what_is_not_as_it_was_sealed_is_refused_and_never_overwritten() {
    for place in Place::all("damaged") {
        let sink = place.sink();
        let staged = stage(sink.as_ref(), 1, 5, &["a"]);
        let bytes = place.read(STAGED_FIVE);
        let other = "x".repeat(bytes.len());
        for text in [other.as_str(), "short"] {
            place.create(FIVE, text);
            assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Corrupt { .. })), "{text}");
            assert_eq!(place.read(FIVE), text);
            place.delete(FIVE);
        }
        place.delete(STAGED_FIVE);
        let error = sink.publish(slice::from_ref(&staged)).unwrap_err();
        assert!(matches!(error, ConnectError::Missing { .. }) && error.to_string().contains("staged output is missing"), "{error}");
        place.create(STAGED_FIVE, "short");
        assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Corrupt { .. })));
        assert_eq!(place.visible(), [""; 0]);
        place.create(FIVE, "short");
        place.delete(STAGED_FIVE);
        assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Corrupt { .. })));
        assert_eq!(place.hidden("published"), [""; 0]);
    }
}

#[test]
fn tokens_that_lie_are_refused_before_anything_is_touched() {
    let place = Place::at("memory:lies");
    let sink = place.sink();
    for (token, bytes) in
        [("", 1), ("../x", 1), ("000000000005-1-0.json:1", 2), ("000000000005-1-0.json", 1), ("000000000005-1-0.json:1,1", 1)]
    {
        let staged = Staged { token: token.to_owned(), rows: 1, bytes };
        assert!(matches!(sink.publish(slice::from_ref(&staged)), Err(ConnectError::Corrupt { .. })), "{token}");
        assert!(matches!(sink.recover(&after(Some(9)), &[staged]), Err(ConnectError::Corrupt { .. })), "{token}");
    }
    let later = stage(sink.as_ref(), 1, 5, &["a"]);
    assert!(matches!(sink.recover(&after(Some(4)), &[later]), Err(ConnectError::Corrupt { .. })));
    assert_eq!(place.hidden("staged").len(), 1);
}

#[test]
fn a_place_belongs_to_one_job_for_each_sink_name() {
    for place in Place::all("owned") {
        recover(place.sink().as_ref(), None, &[]);
        recover(place.open("job", "others", Delivery::Immediate, 1 << 20).unwrap().as_ref(), None, &[]);
        let error = place.open("another", "counts", Delivery::ExactlyOnce, 1 << 20).unwrap().recover(&after(None), &[]).unwrap_err();
        assert!(matches!(error, ConnectError::Config { .. }));
        assert!(error.to_string().contains("of job `job`"), "{error}");
    }
}

#[test]
fn immediate_parts_are_visible_at_once_and_stay_whatever_is_recovered() {
    for place in Place::all("immediate") {
        let sink = place.open("job", "counts", Delivery::Immediate, 70).unwrap();
        assert!(!sink.exactly_once());
        recover(sink.as_ref(), None, &[]);
        let mut writer = sink.writer(0, 7).unwrap();
        for key in ["a", "b", "c"] {
            writer.write(5, 0, &batch(key, 1)).unwrap();
        }
        assert_eq!(place.visible(), ["counts-000000000005-7-0-0.json"], "the first part is full");
        assert_eq!(writer.seal(5).unwrap(), None);
        let both = ["counts-000000000005-7-0-0.json", "counts-000000000005-7-0-1.json"];
        assert_eq!(place.visible(), both);
        assert_eq!(recover(sink.as_ref(), Some(4), &[]), NOTHING);
        assert_eq!(place.visible(), both);
        // Another life of the job, with a store that knows nothing: the same epoch, generation and instance.
        let mut again = sink.writer(0, 7).unwrap();
        again.write(5, 0, &batch("d", 1)).unwrap();
        again.seal(5).unwrap();
        assert_eq!(place.visible(), [both[0], both[1], "counts-000000000005-7-0-2.json"]);
        assert!(place.read(both[0]).contains("\"a\""));
        // What an earlier run has staged is published all the same.
        let staged = stage(place.sink().as_ref(), 8, 6, &["e"]);
        assert_eq!(recover(sink.as_ref(), Some(6), &[staged]), Recovered { published: 1, ..NOTHING });
    }
}

#[test]
fn a_recovery_that_sleeps_touches_nothing_of_the_run_that_came_after_it() {
    for place in Place::all("sleeper") {
        let sink = place.sink();
        sink.recover(&run(None, 1, 1), &[]).unwrap();
        sink.publish(&[stage(sink.as_ref(), 1, 4, &["a"])]).unwrap();
        // Generation 2 takes over with the manifest of epoch 5 and sleeps; generation 3 takes over with 6, publishes 7 and stages 8.
        sink.publish(&[stage(sink.as_ref(), 3, 7, &["b"])]).unwrap();
        let staged = stage(sink.as_ref(), 3, 8, &["c"]);
        let sleeper = run(Some(4), 5, 2);
        assert!(matches!(place.sink().recover(&sleeper, &[]), Err(ConnectError::Unknown { .. })), "there is output that it does not know");
        // It fell asleep only after it had looked.
        let asleep = super::ObjectsPlace::new(place.store.clone(), "job", "counts");
        assert_eq!(now(asleep.remove_staged(2)).unwrap() + now(asleep.take_back(&sleeper)).unwrap(), 0);
        sink.publish(slice::from_ref(&staged)).unwrap();
        assert_eq!(place.visible().len(), 3);
        assert!(place.hidden("published").contains(&"0-000000000008".to_owned()));
    }
}
