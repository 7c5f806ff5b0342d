//! Damaged objects: the newest checkpoint that is whole is taken up, and the output is as if nothing had been.

use super::jobs::{Folder, Run, counting, keys, running_counts};
use reprise::job::{Ending, Error, Kind};
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
    let later: Vec<(&str, Vec<String>)> = vec![("1", keys(400, 410, DIFFERENT)), ("2", keys(410, 420, DIFFERENT)), ("3", keys(420, 430, DIFFERENT))];
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
    let is_needed = |manifest: &&reprise_core::checkpoint::manifest::Manifest| manifest.objects().any(|needed| needed.path == *object);
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

#[test]
fn a_checkpoint_damaged_after_another_was_passed_over_still_leaves_one_to_take_up() {
    let folder = stopped(true);
    folder.set(&counting("keep = 3\nchain-length-max = 0", true));
    // Two of the three newest are of no use; the run goes on from the third.
    for manifest in folder.manifests().iter().rev().take(2) {
        let object = &manifest.operators[0].instances[0].chain[0];
        fs::remove_file(folder.store().join(&object.path)).unwrap();
    }
    let run = folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    assert_eq!(run.passed_over().len(), 2);
    let newest = folder.objects("checkpoints").pop().unwrap();
    Damage::Cut(9).strike(&folder.store().join(newest), Path::new(""));
    folder.set(&counting("keep = 3", false));
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), expected());
}
