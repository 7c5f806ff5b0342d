//! Savepoints and older checkpoints as beginnings; what is kept of them, and for how long.

use super::jobs::{Folder, JOB, Run, Then, counting, keys, parsed, running_counts};
use reprise::job::{self, Ending, Kind, Notice, StartFrom};
use reprise::store::{Store, StoreLimits};
use reprise_core::checkpoint::manifest::Request;
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use reprise_core::ids::Epoch;
use std::fs;
use std::path::Path;
use std::time::Duration;

const SETTINGS: &str = "savepoint-poll = \"100ms\"\nchain-length-max = 3";

fn request(name: &str, stop: bool) -> Request {
    Request { name: name.to_owned(), stop, writer: 1, asked_ms: 0 }
}

/// Leaves a request in the store, as `reprise savepoint` does.
fn leave(folder: &Folder, request: &Request) {
    let path = folder.store().join(paths::request(&request.name).unwrap());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, record::encode(request).unwrap()).unwrap();
}

/// A job that followed its input to row 200 and made the savepoint `middle` at row 100; then it was stopped.
fn with_savepoint() -> Folder {
    let folder = Folder::new(&counting(SETTINGS, true));
    folder.feed("keys", "a", keys(0, 100, 9));
    let mut asked = false;
    let mut saved = false;
    let run = folder.run_with(2, |notice| match notice {
        Notice::Checkpoint(made) if folder.is_covered_by(made) && !asked => {
            asked = true;
            leave(&folder, &request("middle", false));
            Then::GoOn
        }
        Notice::Savepoint { name, is_new, .. } => {
            assert_eq!((name.as_str(), *is_new), ("middle", true));
            saved = true;
            folder.feed("keys", "b", keys(100, 200, 9));
            Then::GoOn
        }
        Notice::Checkpoint(made) if saved && folder.is_covered_by(made) => Then::Stop,
        _ => Then::GoOn,
    });
    run.expect(Ending::Stopped);
    assert!(saved && folder.objects("requests").is_empty(), "the request is answered");
    assert_eq!(folder.rows("out"), running_counts(keys(0, 200, 9)));
    folder
}

fn run_from(folder: &Folder, workers: u32, start: StartFrom) -> Run {
    folder.run_set(workers, |options| options.start = Some(start), |_| Then::GoOn)
}

#[test]
fn a_run_that_begins_with_a_savepoint_takes_back_what_came_after_it_and_does_it_again() {
    let folder = with_savepoint();
    folder.set(&counting(SETTINGS, false));
    let run = run_from(&folder, 2, StartFrom::Savepoint("middle".into())).expect(Ending::Finished);
    let taken_back = |notice: &Notice| matches!(notice, Notice::SinkRecovered { recovered, .. } if recovered.taken_back > 0);
    assert!(run.notices.iter().any(taken_back));
    assert_eq!(folder.rows("out"), running_counts(keys(0, 200, 9)));
    folder.run(2).expect(Ending::AlreadyFinished);
}

#[test]
fn a_savepoint_works_in_a_copy_of_the_store_alone() {
    let folder = with_savepoint();
    let before = folder.objects("checkpoints").len();
    assert!(before > 0);
    let elsewhere = folder.copy();
    // Nothing but the savepoint, the snapshots and the input goes along.
    for gone in ["state/taken-up/checkpoints", "state/taken-up/generations", "out"] {
        fs::remove_dir_all(elsewhere.path(gone)).unwrap();
    }
    elsewhere.set(&counting(SETTINGS, false));
    for workers in [2, 3] {
        let target = elsewhere.copy();
        run_from(&target, workers, StartFrom::Savepoint("middle".into())).expect(Ending::Finished);
        let all = running_counts(keys(0, 200, 9));
        let known = running_counts(keys(0, 100, 9));
        let later: Vec<_> = all.into_iter().filter(|row| !known.contains(row)).collect();
        assert_eq!(parsed(&target.lines("out")), later, "{workers} workers: only what came after the savepoint is produced");
    }
}

#[test]
fn an_older_checkpoint_is_taken_up_where_it_is_asked_for_and_one_that_is_gone_is_refused() {
    let folder = with_savepoint();
    let manifests = folder.manifests();
    let older = &manifests[manifests.len() - 2];
    folder.set(&counting(SETTINGS, false));
    let run = run_from(&folder, 2, StartFrom::Epoch(Epoch(1_000_000)));
    assert_eq!(run.error().kind(), Kind::Corrupt);
    assert!(run.error().to_string().contains("checkpoint 1000000: there is no such checkpoint"), "{}", run.error());
    let run = run_from(&folder, 2, StartFrom::Savepoint("none".into()));
    assert!(run.error().to_string().contains("savepoint `none`"), "{}", run.error());
    let run = run_from(&folder, 1, StartFrom::Epoch(older.epoch)).expect(Ending::Finished);
    assert_eq!(run.from(), Some(older.epoch.0));
    assert_eq!(folder.rows("out"), running_counts(keys(0, 200, 9)));
}

#[test]
fn a_finished_checkpoint_is_taken_up_again_where_the_job_went_on_after_it() {
    let folder = Folder::new(&counting("keep = 100", false));
    folder.feed("keys", "a", keys(0, 100, 9));
    folder.run(2).expect(Ending::Finished);
    let finished = folder.newest();
    assert!(finished.finished);
    folder.feed("keys", "b", keys(100, 200, 9));
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 200, 9)));
    let run = run_from(&folder, 2, StartFrom::Epoch(finished.epoch)).expect(Ending::Finished);
    assert_eq!(run.from(), Some(finished.epoch.0));
    folder.run(2).expect(Ending::AlreadyFinished);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 200, 9)), "what came after it is taken back and comes again, once");
}

/// The snapshots that a savepoint needs.
fn needs(folder: &Folder, name: &str) -> Vec<String> {
    let bytes = fs::read(folder.store().join(paths::savepoint(name).unwrap())).unwrap();
    let manifest: reprise_core::checkpoint::manifest::Manifest = record::decode(&bytes).unwrap();
    manifest.operators.iter().flat_map(|o| &o.instances).flat_map(|i| &i.chain).map(|object| object.path.clone()).collect()
}

#[test]
fn a_savepoint_outlives_the_checkpoints_around_it_until_it_is_dropped() {
    let folder = with_savepoint();
    let needed = needs(&folder, "middle");
    assert!(!needed.is_empty());
    for stage in 2..8 {
        let name = stage.to_string();
        folder.feed("keys", &name, keys(100 * stage, 100 * (stage + 1), 9));
        folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    }
    let is_there = |path: &String| folder.store().join(path).exists();
    assert!(needed.iter().all(is_there), "a sweep deleted what a savepoint needs");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open("file:./state", &folder.path(""), JOB, StoreLimits::default()).await.unwrap();
        job::remove_savepoint(&store, "middle").await.unwrap();
        let error = job::remove_savepoint(&store, "middle").await.unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    });
    for stage in 8..12 {
        let name = stage.to_string();
        folder.feed("keys", &name, keys(100 * stage, 100 * (stage + 1), 9));
        folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    }
    assert!(!needed.iter().all(is_there), "what only the dropped savepoint needed stays for ever");
}

#[test]
fn a_request_that_stops_the_job_makes_its_last_checkpoint_the_savepoint() {
    let folder = Folder::new(&counting(SETTINGS, true));
    folder.feed("keys", "a", keys(0, 100, 9));
    let mut asked = false;
    let run = folder.run_with(2, |notice| {
        if let Notice::Checkpoint(made) = notice
            && folder.is_covered_by(made)
            && !std::mem::replace(&mut asked, true)
        {
            leave(&folder, &request("end", true));
        }
        Then::GoOn
    });
    run.expect(Ending::Stopped);
    assert!(folder.store().join(paths::savepoint("end").unwrap()).exists());
    folder.set(&counting(SETTINGS, false));
    folder.feed("keys", "b", keys(100, 150, 9));
    run_from(&folder, 2, StartFrom::Savepoint("end".into())).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 150, 9)));
}

#[test]
fn a_savepoint_is_made_where_no_host_runs() {
    let folder = Folder::new(&counting(SETTINGS, true));
    folder.feed("keys", "a", keys(0, 100, 9));
    folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    let offline = folder.run_set(
        2,
        |options| options.savepoint = Some("offline".into()),
        |notice| {
            if let Notice::Started { .. } = notice { Then::Stop } else { Then::GoOn }
        },
    );
    offline.expect(Ending::Stopped);
    folder.set(&counting(SETTINGS, false));
    folder.feed("keys", "b", keys(100, 150, 9));
    run_from(&folder, 2, StartFrom::Savepoint("offline".into())).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 150, 9)));
    let finished = folder.run_set(2, |options| options.savepoint = Some("finished".into()), |_| Then::GoOn);
    finished.expect(Ending::AlreadyFinished);
    assert!(folder.store().join(paths::savepoint("finished").unwrap()).exists());
}

#[test]
fn who_asks_where_nobody_answers_takes_the_request_back() {
    let folder = Folder::new(&counting(SETTINGS, true));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open("file:./state", &folder.path(""), JOB, StoreLimits::default()).await.unwrap();
        let error = job::ask_for_savepoint(&store, &request("unheard", false), Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("no host answered") && error.to_string().contains("--offline"), "{error}");
        for name in ["", "../x", ".hidden", "a/b", &"n".repeat(65)] {
            let error = job::ask_for_savepoint(&store, &request(name, false), Duration::ZERO).await.unwrap_err();
            assert!(error.to_string().contains("no name for a savepoint"), "{name:?}: {error}");
        }
    });
    assert!(folder.objects("requests").is_empty());
}

#[test]
fn a_savepoint_that_is_damaged_is_refused_and_nothing_is_swept_while_it_is_there() {
    let folder = with_savepoint();
    let path = folder.store().join(paths::savepoint("middle").unwrap());
    let mut bytes = fs::read(&path).unwrap();
    let needed = needs(&folder, "middle");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let run = run_from(&folder, 2, StartFrom::Savepoint("middle".into()));
    assert_eq!(run.error().kind(), Kind::Corrupt);
    for stage in 2..8 {
        let name = stage.to_string();
        folder.feed("keys", &name, keys(100 * stage, 100 * (stage + 1), 9));
        folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    }
    assert!(needed.iter().all(|object| folder.store().join(object).exists()), "nobody can tell what the damaged savepoint needs");
    assert!(Path::new(&path).exists());
}
