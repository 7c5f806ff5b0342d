//! Damaged objects: the newest checkpoint that is whole is taken up, and the output is as if nothing had been.

use super::jobs::{Folder, Run, Topology, counting, keys, running_counts};
use crate::support;
use reprise::job::{Ending, Error, Kind};
use reprise_core::checkpoint::manifest::Manifest;
use std::fs;
use std::path::Path;

const ROWS: usize = 1_000;
const DIFFERENT: usize = 150;

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    /// Only so many bytes are left.
    Cut(usize),
    /// One bit of this byte is another.
    Flip(usize),
    /// A byte more at its end.
    Grown,
    /// Another object of the same job in its place.
    Replaced,
    Gone,
}

impl Damage {
    /// Every kind, at the places of the format that matter: each field of a frame's head, and within what follows.
    fn all(length: usize) -> Vec<Self> {
        let cuts = [0, 1, 31, 32, length / 2, length - 1].map(Self::Cut);
        let flips = [0, 8, 10, 12, 16, 23, 24, 31, 32, length / 2, length - 1].map(Self::Flip);
        cuts.into_iter().chain(flips).chain([Self::Grown, Self::Replaced, Self::Gone]).collect()
    }

    fn strike(self, path: &Path, other: &Path) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::Cut(length) => bytes.truncate(length),
            Self::Flip(at) => bytes[at] ^= 1 << (at % 8),
            Self::Grown => bytes.push(0),
            Self::Replaced => bytes = fs::read(other).unwrap(),
            Self::Gone => return fs::remove_file(path).unwrap(),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// A job that was stopped after several checkpoints with rows left to read. Each snapshot is full, or all but the first are deltas.
fn stopped(full: bool) -> Folder {
    let chain = if full { "chain-length-max = 0" } else { "chain-length-max = 100" };
    let checkpoint = format!("keep = 100\n{chain}");
    let folder = Folder::new(&counting(&checkpoint, true));
    folder.feed("keys", "0", keys(0, 400, DIFFERENT));
    let later: Vec<(&str, Vec<String>)> =
        vec![("1", keys(400, 410, DIFFERENT)), ("2", keys(410, 420, DIFFERENT)), ("3", keys(420, 430, DIFFERENT))];
    folder.run_feeding(2, "keys", &later).expect(Ending::Stopped);
    folder.feed("keys", "4", keys(430, ROWS, DIFFERENT));
    folder.set(&counting(&checkpoint, false));
    folder
}

fn expected() -> Vec<(String, String)> {
    running_counts(keys(0, ROWS, DIFFERENT))
}

/// The lines of the run that nothing happened to.
fn undisturbed(folder: &Folder) -> Vec<String> {
    let copy = folder.copy();
    let run = copy.run(2).expect(Ending::Finished);
    assert!(run.passed_over().is_empty());
    assert_eq!(copy.rows("out"), expected());
    copy.lines("out")
}

/// Strikes one object in every way, each on a copy of the folder, and lets `check` look at the run and the damage.
fn strike_all(folder: &Folder, object: &str, other: &str, check: impl Fn(&Run, Damage)) {
    let undisturbed = undisturbed(folder);
    let length = fs::metadata(folder.store().join(object)).unwrap().len() as usize;
    for damage in Damage::all(length) {
        let copy = folder.copy();
        damage.strike(&copy.store().join(object), &copy.store().join(other));
        let run = copy.run(2);
        assert!(matches!(run.result, Ok(Ending::Finished)), "{object} {damage:?}: {:?}", run.result);
        check(&run, damage);
        assert!(copy.lines("out") == undisturbed, "{object} {damage:?}: the output differs");
    }
}

#[test]
fn a_damaged_newest_manifest_is_passed_over() {
    let folder = stopped(false);
    let manifests = folder.objects("checkpoints");
    let [.., older, newest] = &manifests[..] else { panic!("{manifests:?}") };
    let epoch = folder.newest().epoch.0;
    strike_all(&folder, newest, older, |run, damage| {
        let passed = run.passed_over();
        if matches!(damage, Damage::Gone) {
            // A checkpoint exists by its manifest alone.
            assert!(passed.is_empty());
        } else {
            assert!(passed.len() == 1 && passed[0].0 == epoch && passed[0].1.contains(newest.as_str()), "{damage:?}: {passed:?}");
        }
        assert!(run.from().is_some_and(|from| from < epoch));
    });
}

/// Strikes the last snapshot of the newest checkpoint.
fn strike_last_snapshot(full: bool) {
    let folder = stopped(full);
    let newest = folder.newest();
    let chain = newest.operators[0].instances.iter().map(|instance| &instance.chain).max_by_key(|chain| chain.len()).unwrap();
    let object = &chain.last().unwrap().path;
    assert!(object.ends_with(if full { ".full" } else { ".delta" }) && (chain.len() == 1) == full, "{chain:?}");
    let is_needed = |manifest: &&Manifest| manifest.objects().any(|needed| needed.path == *object);
    let needing: Vec<u64> = folder.manifests().iter().filter(is_needed).map(|manifest| manifest.epoch.0).rev().collect();
    let snapshots = folder.objects("snapshots");
    let other = snapshots.iter().find(|other| *other != object).unwrap();
    strike_all(&folder, object, other, |run, damage| {
        let passed = run.passed_over();
        let epochs: Vec<u64> = passed.iter().map(|(epoch, _)| *epoch).collect();
        assert_eq!(epochs, needing, "{damage:?}: each checkpoint that needs the object, and no other");
        assert!(passed.iter().all(|(_, reason)| reason.contains(object.as_str())), "{damage:?}: {passed:?}");
        assert!(run.from().is_some_and(|from| from < needing[needing.len() - 1]));
    });
}

#[test]
fn a_damaged_full_snapshot_of_the_newest_checkpoint_is_passed_over() {
    strike_last_snapshot(true);
}

#[test]
fn a_damaged_delta_of_the_newest_checkpoint_is_passed_over() {
    strike_last_snapshot(false);
}

#[test]
fn where_every_checkpoint_is_damaged_nothing_runs_and_nothing_is_published() {
    let folder = stopped(false);
    let manifests = folder.objects("checkpoints");
    for (place, manifest) in manifests.iter().enumerate() {
        Damage::all(200)[place % 17].strike(&folder.store().join(manifest), Path::new(""));
    }
    let before = folder.lines("out");
    let mut command = std::process::Command::new(support::binary());
    let ended = command.args(["run", "--workers", "2"]).arg(folder.path("topology.toml")).output().unwrap();
    assert_eq!(ended.status.code(), Some(6), "{}", String::from_utf8_lossy(&ended.stderr));
    for _ in 0..2 {
        let run = folder.run(2);
        let error = run.error();
        assert_eq!(error.kind(), Kind::Corrupt);
        let text = error.to_string();
        assert!(matches!(error, Error::NoCheckpoint { .. }) && text.contains("help:"), "{text}");
        assert!(manifests.iter().all(|manifest| text.contains(manifest.as_str())), "each is named: {text}");
        assert_eq!(folder.lines("out"), before);
    }
}

const STAGE: usize = 50;

/// A job of one checkpoint a run, each with rows of its own and a full snapshot.
fn in_stages(keep: u32, follow: bool) -> Topology {
    let topology = Topology::every("24h", &format!("keep = {keep}\nchain-length-max = 0")).keys("keys", follow);
    topology.operator("count", "running-count", r#"{ from = "keys", by = "key" }"#).sink("out", "\"count\"")
}

fn run_stage(folder: &Folder, stage: usize) -> Run {
    folder.feed("keys", &stage.to_string(), keys(stage * STAGE, (stage + 1) * STAGE, 20));
    folder.run_for(1, 0, STAGE as u64)
}

fn expected_of_stages(stages: usize) -> Vec<(String, String)> {
    running_counts(keys(0, stages * STAGE, 20))
}

/// Five checkpoints, of which the two newest lose a snapshot each, and a sixth, which goes on from the third. Gives the lost snapshots: path
/// and bytes.
fn twice_unlucky() -> (Folder, Vec<(String, Vec<u8>)>) {
    let folder = Folder::new(&in_stages(100, true));
    (0..5).for_each(|stage| drop(run_stage(&folder, stage)));
    let manifests = folder.manifests();
    assert_eq!(manifests.len(), 5);
    let lose = |manifest: &Manifest| {
        let path = &manifest.operators[0].instances[0].chain[0].path;
        let bytes = fs::read(folder.store().join(path)).unwrap();
        fs::remove_file(folder.store().join(path)).unwrap();
        (path.clone(), bytes)
    };
    let lost = manifests[3..].iter().map(lose).collect();
    folder.set(&in_stages(3, true));
    folder.feed("keys", "5", keys(5 * STAGE, 6 * STAGE, 20));
    let run = folder.run_for(1, 0, 3 * STAGE as u64);
    // The two, and the manifest between them, with which a run took over what is lost. The next one has the state of the third.
    assert_eq!(run.passed_over().len(), 3);
    assert_eq!(run.from(), Some(manifests[2].epoch.0 + 1));
    let is_follower = |manifest: &Manifest| manifest.taken_over && manifest.epoch > manifests[4].epoch;
    let follower = folder.all_manifests().into_iter().find(is_follower).expect("the run put a manifest of its own after the lost ones");
    assert_eq!(follower.parent, Some(manifests[2].epoch), "what merely took over does not stand between a checkpoint and what follows it");
    assert_eq!(folder.rows("out"), expected_of_stages(6));
    (folder, lost)
}

/// Cuts the manifests of the newest checkpoints and runs the job to its end.
fn cut_and_finish(folder: &Folder, newest: usize) {
    for manifest in folder.objects("checkpoints").iter().rev().take(newest) {
        Damage::Cut(9).strike(&folder.store().join(manifest), Path::new(""));
    }
    folder.set(&in_stages(3, false));
    folder.run(1).expect(Ending::Finished);
}

#[test]
fn checkpoints_that_were_passed_over_do_not_count_as_kept() {
    let (folder, _) = twice_unlucky();
    run_stage(&folder, 6);
    let parents: Vec<_> = folder.all_manifests().iter().map(|manifest| manifest.parent).collect();
    let epochs: Vec<_> = folder.all_manifests().iter().map(|manifest| Some(manifest.epoch)).collect();
    assert_eq!((folder.manifests().len(), &parents[1..]), (3, &epochs[..epochs.len() - 1]), "what is kept is one line of history");
    cut_and_finish(&folder, 2);
    assert_eq!(folder.rows("out"), expected_of_stages(7));
}

#[test]
fn a_history_that_was_given_up_is_not_taken_up_when_its_objects_come_back() {
    let (folder, lost) = twice_unlucky();
    for (path, bytes) in lost {
        fs::write(folder.store().join(path), bytes).unwrap();
    }
    cut_and_finish(&folder, 1);
    assert_eq!(folder.rows("out"), expected_of_stages(6));
}
