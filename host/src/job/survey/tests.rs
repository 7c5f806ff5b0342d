//! Surveys of stores that are made here, object by object: what a run would write, and what damage makes of it.

use super::*;
use crate::job::{Error, Kind};
use crate::store::{Store, StoreLimits};
use bytes::Bytes;
use reprise_core::cells::{Cell, Chunk};
use reprise_core::checkpoint::manifest::{
    Claim, InstanceState, Manifest, ObjectRef, OperatorState, Quarantine, QuarantinedRow, SourceState, SplitPosition,
};
use reprise_core::checkpoint::paths;
use reprise_core::codec::snapshot::{SnapshotHead, SnapshotScope, Writer};
use reprise_core::codec::{checksum, frame, record};
use reprise_core::description::{Encoding, Slot, SlotKind};
use reprise_core::ids::{Digest, Epoch, Generation, Instance};
use std::collections::BTreeMap;
use std::path::Path;

mod parked_input;

const JOB: &str = "j";

/// Key, item, and value or removal.
type Change<'a> = (&'a str, &'a str, Option<&'a str>);

/// A store in memory, of its own.
struct Bench {
    store: Store,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new(name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("memory:survey-{name}");
        let store = runtime.block_on(Store::open(&url, Path::new("."), JOB, StoreLimits::default())).unwrap();
        Self { store, runtime }
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    fn put(&self, path: &str, bytes: Vec<u8>) {
        self.wait(self.store.delete(path)).unwrap();
        self.wait(self.store.create(path, Bytes::from(bytes))).unwrap();
    }

    fn bytes(&self, path: &str) -> Vec<u8> {
        self.wait(self.store.get(path)).unwrap().unwrap().to_vec()
    }

    /// Stores a snapshot of the operator `o` and gives what a manifest says of it.
    fn snapshot(&self, instance: u32, epoch: u64, scope: SnapshotScope, slots: &[(u32, &[Change<'_>])]) -> ObjectRef {
        let head = SnapshotHead {
            job: JOB.into(),
            operator: "o".into(),
            instance: Instance(instance),
            epoch: Epoch(epoch),
            generation: Generation(1),
            scope,
        };
        let mut writer = Writer::new(&head).unwrap();
        for (slot, changes) in slots {
            let mut chunk = Chunk::new(*slot);
            for (key, item, value) in *changes {
                chunk.push(Cell { key: key.as_bytes(), item: item.as_bytes(), value: value.map(str::as_bytes) }).unwrap();
            }
            writer.chunk(&chunk).unwrap();
        }
        let entries = writer.cells();
        let bytes = writer.finish().unwrap();
        let path = paths::snapshot("o", Instance(instance), Epoch(epoch), Generation(1), scope == SnapshotScope::Full);
        let object = ObjectRef { path: path.clone(), scope, bytes: bytes.len() as u64, checksum: checksum(&bytes), entries };
        self.put(&path, bytes);
        object
    }

    fn manifest(&self, manifest: &Manifest) {
        self.put(&paths::manifest(manifest.epoch), record::encode(manifest).unwrap());
    }

    fn verify(&self, what: &Verify) -> Verified {
        self.wait(verify(&self.store, JOB, what, &mut |_| ())).unwrap()
    }

    fn cells(&self, manifest: &Manifest) -> Result<StateCells, SurveyError> {
        self.wait(cells(&self.store, manifest, "o", STATE_BYTES_MAX))
    }
}

fn slots() -> Vec<Slot> {
    let slot = |name: &str, kind| Slot { name: name.into(), kind, version: 1, encoding: Encoding::Utf8 };
    vec![slot("keyed", SlotKind::Keyed), slot("own", SlotKind::Instance), slot("all", SlotKind::Broadcast)]
}

fn manifest(epoch: u64, chains: Vec<Vec<ObjectRef>>) -> Manifest {
    let instances: Vec<InstanceState> = chains.into_iter().map(|chain| InstanceState { chain, ..InstanceState::default() }).collect();
    Manifest {
        job: JOB.into(),
        epoch: Epoch(epoch),
        generation: Generation(1),
        writer: 9,
        parent: epoch.checked_sub(1).filter(|e| *e > 0).map(Epoch),
        workers: instances.len() as u32,
        operators: vec![OperatorState { name: "o".into(), component: Digest([1; 32]), slots: slots(), instances }],
        ..Manifest::default()
    }
}

/// Two checkpoints: the second has a delta of the first of two instances.
fn two_checkpoints(bench: &Bench) -> (Manifest, Manifest) {
    let full = [
        bench.snapshot(
            0,
            1,
            SnapshotScope::Full,
            &[(0, &[("a", "", Some("1")), ("b", "x", Some("2"))]), (1, &[("", "", Some("mine"))]), (2, &[("", "", Some("same"))])],
        ),
        bench.snapshot(
            1,
            1,
            SnapshotScope::Full,
            &[(0, &[("c", "", Some("3"))]), (1, &[("", "", Some("yours"))]), (2, &[("", "", Some("same"))])],
        ),
    ];
    let delta = bench.snapshot(0, 2, SnapshotScope::Delta, &[(0, &[("a", "", None), ("b", "x", Some("20")), ("d", "", Some("4"))])]);
    let [zero, one] = full;
    let first = manifest(1, vec![vec![zero.clone()], vec![one.clone()]]);
    let second = manifest(2, vec![vec![zero, delta], vec![one]]);
    bench.manifest(&first);
    bench.manifest(&second);
    (first, second)
}

fn cell(slot: &str, key: &str, item: &str, value: &str) -> ((String, Vec<u8>, Vec<u8>), Vec<u8>) {
    ((slot.into(), key.into(), item.into()), value.into())
}

#[test]
fn state_is_the_chains_of_all_instances_folded() {
    let bench = Bench::new("fold");
    let (first, second) = two_checkpoints(&bench);
    let others = [cell("own@0", "", "", "mine"), cell("own@1", "", "", "yours"), cell("all", "", "", "same")];
    let keyed = [cell("keyed", "a", "", "1"), cell("keyed", "b", "x", "2"), cell("keyed", "c", "", "3")];
    assert_eq!(bench.cells(&first).unwrap(), keyed.into_iter().chain(others.clone()).collect());
    let keyed = [cell("keyed", "b", "x", "20"), cell("keyed", "c", "", "3"), cell("keyed", "d", "", "4")];
    assert_eq!(bench.cells(&second).unwrap(), keyed.into_iter().chain(others).collect());
}

#[test]
fn a_filter_lets_through_what_it_names() {
    let bench = Bench::new("filter");
    let (_, second) = two_checkpoints(&bench);
    let fold = |filter: Filter, bytes_max| bench.wait(fold(&bench.store, &second, "o", &filter, bytes_max));
    let keys = |filter: Filter| -> Vec<(String, Vec<u8>, u32)> {
        let folded = fold(filter, STATE_BYTES_MAX).unwrap();
        let slots = folded.slots.into_iter();
        slots.flat_map(|s| s.cells.into_iter().map(move |(place, held)| (s.slot.name.clone(), place.key, held.instance))).collect()
    };
    let keyed = |key: &str, instance| ("keyed".to_owned(), key.as_bytes().to_vec(), instance);
    let slot = |name: &str| Filter { slot: Some(name.into()), ..Filter::default() };
    assert_eq!(keys(slot("keyed")), [keyed("b", 0), keyed("c", 1), keyed("d", 0)]);
    assert_eq!(keys(Filter { key_prefix: b"c".to_vec(), ..Filter::default() }), [keyed("c", 1)]);
    assert_eq!(keys(Filter { instance: Some(1), ..slot("keyed") }), [keyed("c", 1)]);
    assert_eq!(keys(Filter { instance: Some(1), ..slot("all") }), [("all".to_owned(), vec![], 1)]);

    for (filter, what) in [(slot("no"), "slot `no`"), (Filter { instance: Some(2), ..Filter::default() }, "instance 2")] {
        let error = fold(filter, STATE_BYTES_MAX).unwrap_err();
        assert!(matches!(&error, SurveyError::NotThere { what: named, .. } if named.contains(what)), "{error}");
        assert_eq!(error.kind(), Kind::Topology);
    }
    // Three keyed cells and their bytes fit exactly; the cell that was removed gave its bytes back.
    let keyed_bytes = 3 * CELL_BYTES + 2 + 3 + 3;
    fold(slot("keyed"), keyed_bytes).unwrap();
    let error = fold(slot("keyed"), 3 * CELL_BYTES + 2).unwrap_err();
    assert!(matches!(error, SurveyError::Size { .. }) && error.kind() == Kind::Limit, "{error}");
}

#[test]
fn state_that_is_damaged_gives_no_cells() {
    let bench = Bench::new("damaged");
    let (_, second) = two_checkpoints(&bench);
    let path = &second.operators[0].instances[0].chain[1].path;
    let good = bench.bytes(path);
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    let other = bench.bytes(&second.operators[0].instances[1].chain[0].path);
    for bad in [flipped, good[..good.len() - 1].to_vec(), other, b"junk".to_vec(), vec![]] {
        bench.put(path, bad);
        let error = bench.cells(&second).unwrap_err();
        assert!(matches!(&error, SurveyError::Damaged { reason, .. } if reason.contains(path)), "{error}");
        assert_eq!(error.kind(), Kind::Corrupt);
    }
    bench.wait(bench.store.delete(path)).unwrap();
    assert!(bench.cells(&second).unwrap_err().to_string().contains("is missing"));

    // One key in two instances, each snapshot whole.
    let twice = bench.snapshot(1, 3, SnapshotScope::Full, &[(0, &[("b", "x", Some("5"))])]);
    bench.put(path, good);
    let mut both = second;
    both.operators[0].instances[1].chain = vec![twice];
    let error = bench.cells(&both).unwrap_err().to_string();
    assert!(error.contains("\"b\" of slot `keyed` is in instance 0 and in instance 1"), "{error}");
}

#[test]
fn a_difference_names_what_was_added_removed_and_changed() {
    let bench = Bench::new("diff");
    let (first, second) = two_checkpoints(&bench);
    let diff =
        |before: &Manifest, after: &Manifest, cells_max| bench.wait(diff(&bench.store, before, after, cells_max, STATE_BYTES_MAX)).unwrap();
    let found = diff(&first, &second, 10);
    let [operator] = &found.operators[..] else { panic!("{found:?}") };
    let keyed = &operator.slots[0];
    let tally = |cells, bytes| Tally { cells, bytes };
    assert_eq!((keyed.added, keyed.removed, keyed.same), (tally(1, 2), tally(1, 2), tally(1, 2)));
    assert_eq!((keyed.changed_before, keyed.changed_after), (tally(1, 3), tally(1, 4)));
    let keys: Vec<&[u8]> = keyed.cells.iter().map(|change| &change.place.key[..]).collect();
    assert_eq!(keys, [b"a", b"b", b"d"]);
    assert!(operator.slots[1..].iter().all(|slot| !slot.differs()));
    assert_eq!(diff(&first, &second, 2).operators[0].slots[0].cells, keyed.cells[..2]);

    let mut taken = second.take_over(Epoch(3), Generation(2), 1);
    assert!(diff(&second, &taken, 10).operators[0].same_snapshots, "nothing is read where the snapshots are the same");
    taken.operators[0].name = "p".into();
    taken.operators[0].instances.clear();
    let renamed = diff(&second, &taken, 0);
    let names: Vec<&str> = renamed.operators.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["p", "o"]);
    assert_eq!(renamed.operators[1].slots[0].removed.cells, 3);
}

#[test]
fn folding_and_comparing_agree_with_plain_maps() {
    let mut state = 7u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..100 {
        let bench = Bench::new("model");
        let mut model = BTreeMap::new();
        let (mut chain, mut states) = (Vec::new(), Vec::new());
        for epoch in 1..=1 + random(4) {
            // A full snapshot removes nothing.
            let mut change = || (random(6).to_string(), Some(random(4)).filter(|value| epoch == 1 || *value > 0).map(|v| v.to_string()));
            let texts: Vec<(String, Option<String>)> = (0..4).map(|_| change()).collect();
            let changes: Vec<Change<'_>> = texts.iter().map(|(key, value)| (key.as_str(), "", value.as_deref())).collect();
            let scope = if epoch == 1 { SnapshotScope::Full } else { SnapshotScope::Delta };
            chain.push(bench.snapshot(0, epoch, scope, &[(0, &changes)]));
            for (key, value) in texts {
                match value {
                    Some(value) => drop(model.insert(key, value)),
                    None => drop(model.remove(&key)),
                }
            }
            states.push((manifest(epoch, vec![chain.clone()]), model.clone()));
        }
        for (manifest, model) in &states {
            let expected: StateCells = model.iter().map(|(key, value)| cell("keyed", key, "", value)).collect();
            assert_eq!(bench.cells(manifest).unwrap(), expected);
        }
        let ((first, old), (last, new)) = (&states[0], &states[states.len() - 1]);
        let found = bench.wait(diff(&bench.store, first, last, usize::MAX, STATE_BYTES_MAX)).unwrap();
        let operator = &found.operators[0];
        assert_eq!(operator.same_snapshots, states.len() == 1);
        let Some(keyed) = operator.slots.first() else { continue };
        let changed = new.iter().filter(|(key, value)| old.get(*key).is_some_and(|other| other != *value)).count() as u64;
        assert_eq!(keyed.added.cells, new.keys().filter(|key| !old.contains_key(*key)).count() as u64);
        assert_eq!(keyed.removed.cells, old.keys().filter(|key| !new.contains_key(*key)).count() as u64);
        assert_eq!(keyed.changed_after.cells, changed);
        assert_eq!(keyed.cells.len() as u64, keyed.added.cells + keyed.removed.cells + changed);
    }
}

#[test]
fn a_store_without_the_job_is_named() {
    let bench = Bench::new("nothing");
    for error in [
        bench.wait(catalog(&bench.store, JOB, 10)).unwrap_err(),
        bench.wait(choose(&bench.store, JOB, &Choice::Latest)).unwrap_err(),
        bench.wait(verify(&bench.store, JOB, &Verify::All, &mut |_| ())).unwrap_err(),
    ] {
        assert!(matches!(&error, SurveyError::NoJob { store, .. } if store == "memory:survey-nothing"), "{error}");
        assert_eq!(error.kind(), Kind::Topology);
    }
    // A run that died before its first checkpoint.
    let claim = Claim { generation: Generation(1), writer: 1, host: String::new(), claimed_ms: 0 };
    bench.put(&paths::claim(Generation(1)), record::encode(&claim).unwrap());
    assert_eq!(bench.wait(catalog(&bench.store, JOB, 10)).unwrap().checkpoints, []);
    let error = bench.wait(choose(&bench.store, JOB, &Choice::Latest)).unwrap_err();
    assert!(matches!(&error, SurveyError::NoCheckpoint { .. }), "{error}");
}

#[test]
fn what_cannot_be_read_is_listed_with_the_reason_and_passed_over() {
    let bench = Bench::new("catalog");
    let (_, second) = two_checkpoints(&bench);
    bench.put("savepoints/41.manifest", record::encode(&second).unwrap());
    bench.put("savepoints/.no.manifest", vec![1]);
    bench.put("checkpoints/000000000003.manifest", b"junk".to_vec());
    let foreign = Manifest { job: "other".into(), epoch: Epoch(4), ..second.clone() };
    bench.manifest(&foreign);
    let catalog = bench.wait(catalog(&bench.store, JOB, 3)).unwrap();
    assert_eq!((catalog.checkpoints.len(), catalog.older), (3, 1));
    let reason = |place: usize| catalog.checkpoints[place].summary.clone().unwrap_err();
    assert!(reason(0).contains("belongs to the job `other`") && reason(1).contains("truncated"), "{catalog:?}");
    assert_eq!(catalog.checkpoints[2].summary, Ok(Summary::of(&second)));
    assert_eq!(catalog.savepoints[0].which, Which::Savepoint("41".into()));
    assert_eq!(catalog.savepoints.len(), 1);

    let choose = |text: &str| bench.wait(choose(&bench.store, JOB, &Choice::parse(text).unwrap()));
    let latest = choose("latest").unwrap();
    assert_eq!((latest.manifest, latest.passed_over.len()), (second.clone(), 2));
    assert_eq!(choose("41").unwrap().which, Which::Savepoint("41".into()), "there is no such epoch");
    let error = choose("3").unwrap_err();
    assert!(matches!(error, SurveyError::Damaged { .. }) && error.kind() == Kind::Corrupt, "{error}");
    let error = choose("5").unwrap_err().to_string();
    assert!(error.contains("no checkpoint 5") && error.contains("4 checkpoints, from 1 to 4") && error.contains("`41`"), "{error}");
}

/// A manifest as a later version would write it: whole, and not to be understood.
fn newer(manifest: &Manifest) -> Vec<u8> {
    let mut bytes = record::encode(manifest).unwrap();
    bytes[10..12].copy_from_slice(&(frame::VERSION_PARKED + 1).to_le_bytes());
    let mut sealed = bytes[8..24].to_vec();
    sealed.extend_from_slice(&bytes[frame::HEADER_BYTES..]);
    bytes[24..32].copy_from_slice(&checksum(&sealed).to_le_bytes());
    bytes
}

#[test]
fn a_newer_version_is_refused_and_listed() {
    let bench = Bench::new("newer");
    let (_, second) = two_checkpoints(&bench);
    bench.put(&paths::manifest(Epoch(3)), newer(&Manifest { epoch: Epoch(3), ..second }));
    for text in ["latest", "3"] {
        let error = bench.wait(choose(&bench.store, JOB, &Choice::parse(text).unwrap())).unwrap_err();
        assert!(matches!(error, SurveyError::Job(Error::Newer { .. })), "{error}");
    }
    let catalog = bench.wait(catalog(&bench.store, JOB, 10)).unwrap();
    assert!(catalog.checkpoints[0].summary.as_ref().unwrap_err().contains("use a newer host"));
    assert!(
        matches!(&bench.verify(&Verify::All).verdicts[0].1, CheckpointVerdict::Unreadable(reason) if reason.contains("format version 3"))
    );
}

/// Adds refused rows of an operator and of a source to a manifest.
fn with_quarantine(bench: &Bench, manifest: &mut Manifest) -> [String; 2] {
    let row = QuarantinedRow { input: 0, origin: String::new(), time: 0, key: vec![], value: b"v".to_vec(), reason: "no".into() };
    let mut paths = Vec::new();
    for node in ["o", "s"] {
        let rows = Quarantine { node: node.into(), instance: Instance(1), epoch: manifest.epoch, rows: vec![row.clone()] };
        let bytes = record::encode(&rows).unwrap();
        let path = paths::quarantine(node, Instance(1), manifest.epoch, Generation(1), 0);
        let object =
            ObjectRef { path: path.clone(), scope: SnapshotScope::Full, bytes: bytes.len() as u64, checksum: checksum(&bytes), entries: 1 };
        bench.put(&path, bytes);
        paths.push(path);
        if node == "o" {
            manifest.operators[0].instances[1].quarantine = vec![object];
        } else {
            let split = SplitPosition { split: "a".into(), position: "{}".into(), instance: Instance(0) };
            manifest.sources.push(SourceState { name: "s".into(), splits: vec![split], rows: 1, rejected: 1, quarantine: vec![object] });
        }
    }
    bench.manifest(manifest);
    paths.try_into().unwrap()
}

#[test]
fn every_damaged_object_is_found_and_all_that_need_it_are_named() {
    let bench = Bench::new("verify");
    let (_, mut second) = two_checkpoints(&bench);
    let quarantine = with_quarantine(&bench, &mut second);
    bench.put("savepoints/s.manifest", record::encode(&second).unwrap());
    let sound = bench.verify(&Verify::All);
    assert!(sound.is_sound() && sound.bad.is_empty(), "{sound:?}");
    assert_eq!((sound.objects, sound.verdicts.len()), (5, 3), "an object that several need is read once");

    let (one, two, saved) = (Which::Epoch(Epoch(1)), Which::Epoch(Epoch(2)), Which::Savepoint("s".into()));
    let full = second.operators[0].instances[1].chain[0].path.clone();
    let delta = second.operators[0].instances[0].chain[1].path.clone();
    let cases = [(full, vec![two.clone(), one, saved.clone()]), (delta, vec![two.clone(), saved.clone()])];
    let cases = cases.into_iter().chain(quarantine.into_iter().map(|path| (path, vec![two.clone(), saved.clone()])));
    for (path, needed_by) in cases {
        let good = bench.bytes(&path);
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            bench.put(&path, bad);
            let found = bench.verify(&Verify::All);
            let [bad] = &found.bad[..] else { panic!("{path} {at}: {found:?}") };
            assert_eq!((&bad.path, &bad.needed_by, found.is_sound()), (&path, &needed_by, false));
            let is_snapshot = path.starts_with("snapshots/");
            assert!(bad.reason.contains(&path) && (bad.role == Role::Snapshot) == is_snapshot, "{bad:?}");
            let verdict = &found.verdicts[0].1;
            assert!(matches!(verdict, CheckpointVerdict::Bad { bad: 1, unusable, .. } if *unusable == is_snapshot), "{verdict:?}");
        }
        bench.put(&path, good);
    }
    assert!(bench.verify(&Verify::One(Choice::Latest)).is_sound());
}

#[test]
fn objects_of_others_and_wrong_counts_are_found_though_they_are_whole() {
    let bench = Bench::new("foreign");
    let (_, second) = two_checkpoints(&bench);
    let reasons = |change: &dyn Fn(&mut Manifest)| -> String {
        let mut manifest = second.clone();
        change(&mut manifest);
        bench.manifest(&manifest);
        let found = bench.verify(&Verify::One(Choice::Latest));
        found.bad.iter().map(|bad| bad.reason.as_str()).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(reasons(&|_| ()), "");
    assert!(reasons(&|m| m.operators[0].instances.reverse()).contains("belongs to operator `o` instance 1"));
    assert!(reasons(&|m| m.operators[0].name = "p".into()).contains("belongs to operator `o`"));
    assert!(reasons(&|m| m.operators[0].instances[1].chain[0].entries = 7).contains("has 3 entries, 7 were written"));
    assert!(reasons(&|m| m.operators[0].slots.truncate(1)).contains("slot 1 does not exist"));
    assert!(reasons(&|m| m.operators[0].instances[1].chain[0].path = "../../x".into()).contains("the path is not allowed"));
}

#[test]
fn a_checkpoint_that_a_sweep_deletes_meanwhile_is_no_damage() {
    let bench = Bench::new("gone");
    let (first, second) = two_checkpoints(&bench);
    let lost = bench.snapshot(0, 7, SnapshotScope::Full, &[]);
    let mut old = first;
    old.operators[0].instances[0].chain = vec![lost.clone()];
    bench.manifest(&old);
    bench.wait(bench.store.delete(&lost.path)).unwrap();
    assert!(!bench.verify(&Verify::All).is_sound());
    let store = bench.store.clone();
    let mut sweep = |_| futures::executor::block_on(store.delete(&paths::manifest(Epoch(1)))).unwrap();
    let found = bench.wait(verify(&bench.store, JOB, &Verify::All, &mut sweep)).unwrap();
    assert!(found.is_sound() && found.bad.is_empty(), "{found:?}");
    assert_eq!(
        found.verdicts,
        [(Which::Epoch(second.epoch), CheckpointVerdict::Sound { objects: 3 }), (Which::Epoch(Epoch(1)), CheckpointVerdict::Gone)]
    );
}

#[test]
fn a_store_that_is_missing_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site { store: "file:./state".into(), base_dir: folder.path().into(), job: JOB.into(), limits: StoreLimits::default() };
    let bench = Bench::new("missing");
    let error = bench.wait(site.open()).unwrap_err();
    assert!(matches!(error, SurveyError::NoJob { .. }), "{error}");
    assert!(!folder.path().join("state").exists());
    std::fs::create_dir(folder.path().join("state")).unwrap();
    let store = bench.wait(site.open()).unwrap();
    assert!(matches!(bench.wait(catalog(&store, JOB, 1)), Err(SurveyError::NoJob { .. })));
    assert!(!folder.path().join("state").join(JOB).exists(), "nor is the folder of the job");
    std::fs::remove_dir(folder.path().join("state")).unwrap();
    std::fs::write(folder.path().join("state"), "").unwrap();
    assert_eq!(bench.wait(site.open()).unwrap_err().kind(), Kind::Storage);
}
