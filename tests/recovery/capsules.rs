//! Failed calls as files: whatever fails, and wherever the job ends for it, its capsule fails in the same way.

use super::jobs::{Folder, Run, Then, Topology};
use reprise::clock::Clock;
use reprise::engine::Reproduced;
use reprise::job::{CapsuleExtras, Ending, Notice, Reproduction, reproduce_capsule};
use reprise_core::checkpoint::capsule::{Capsule, CapsuleInput};
use reprise_core::checkpoint::faulted::FaultedRows;
use reprise_core::codec::record;
use reprise_core::codec::snapshot::SnapshotScope;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// Lines `key,value,time` go to `a`, a guest, by key.
fn topology(guest: &str, checkpoint: &str, settings: &str, follow: bool) -> Topology {
    topology_within("60s", guest, checkpoint, settings, follow)
}

fn topology_within(deadline: &str, guest: &str, checkpoint: &str, settings: &str, follow: bool) -> Topology {
    Topology::new(checkpoint)
        .source("lines", "", follow)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("a", guest, r#"{ from = "parse", by = "key" }"#, &format!("{settings}\ndeadline = \"{deadline}\""))
        .sink("out", "\"a\"")
}

fn on_failure(retries: u32, then: &str) -> String {
    format!("on-failure = {{ retries = {retries}, backoff = \"1ms..1ms\", then = \"{then}\", capsules = \"always\" }}")
}

fn tried(folder: &Folder, path: &str) -> Reproduction {
    reproduce_capsule(&folder.store().join(path), &CapsuleExtras::default()).unwrap()
}

/// A run that gets these lines, too, once a checkpoint has those before.
fn run_and_feed(folder: &Folder, late: &[&str]) -> Run {
    let mut fed = false;
    folder.run_with(1, |notice| {
        if matches!(notice, Notice::Checkpoint(made) if folder.is_covered_by(made)) && !std::mem::replace(&mut fed, true) {
            folder.feed("lines", "late", late);
        }
        Then::GoOn
    })
}

/// All capsules, each tried: they fail as they say, to the word.
fn all_reproduced(folder: &Folder, about: &str) -> Vec<Reproduction> {
    let all: Vec<Reproduction> = folder.objects("capsules").iter().map(|path| tried(folder, path)).collect();
    for tried in &all {
        let Reproduced::Failed(error) = &tried.attempt else { panic!("{about}: {:?}", tried.attempt) };
        assert!(tried.is_reproduced(), "{about}: {error}, and not {:?}", tried.capsule.fault);
        assert_eq!(error.to_string(), tried.capsule.fault.message, "{about}");
        let guests_own = ["trap", "stack", "deadline"].contains(&tried.capsule.fault.kind.as_str());
        assert_eq!(tried.capsule.fault.backtrace.is_empty(), !guests_own, "{about}");
    }
    all
}

/// The failure that ended a run names its capsule.
#[track_caller]
fn names_its_capsule(folder: &Folder, run: &Run) {
    let told = run.error().to_string();
    let names = folder.objects("capsules");
    assert!(names.iter().any(|name| told.contains(&format!("\n  capsule: {name}"))), "{told}\n{names:?}");
}

#[test]
fn a_capsule_has_the_stack_and_the_counting_of_its_job() {
    for (fuel, counted) in [("", 0), ("\nfuel = true", 1)] {
        let settings = format!("{}{fuel}", on_failure(0, "quarantine"));
        let folder = Folder::new(&topology("stack-deep", "[limits]\nstack = \"64KiB\"", &settings, false));
        folder.feed("lines", "all", ["a,v,1", "a,v,2", "a,poison,3", "b,v,4"]);
        folder.run(1).expect(Ending::Finished);
        let held: Vec<FaultedRows> = folder
            .objects("quarantine/a")
            .iter()
            .map(|path| record::decode(&fs::read(folder.store().join(path)).unwrap()).unwrap())
            .collect();
        let [row] = &held[0].rows[..] else { panic!("{held:?}") };
        assert_eq!(row.kind, "stack");
        let path = folder.store().join(row.capsule.as_ref().unwrap());
        let first = reproduce_capsule(&path, &CapsuleExtras::default()).unwrap();
        assert!(first.is_reproduced(), "{:?}", first.attempt);
        assert_eq!(all_reproduced(&folder, fuel).len(), 2, "the call with all rows, and the row that is to blame");
        let mut capsule: Capsule = record::decode(&fs::read(&path).unwrap()).unwrap();
        let named = |name: &str| capsule.limits.iter().find(|(limit, _)| limit == name).map(|(_, value)| *value);
        assert_eq!((named("stack-bytes"), named("fuel")), (Some(64 << 10), Some(counted)));
        // As hosts wrote them that recorded neither: the guest has the default stack, and gets to the bottom.
        capsule.limits.retain(|(name, _)| name != "stack-bytes" && name != "fuel");
        let other = folder.path("other.capsule");
        fs::write(&other, record::encode(&capsule).unwrap()).unwrap();
        let other = reproduce_capsule(&other, &CapsuleExtras::default()).unwrap();
        let Reproduced::Failed(error) = &other.attempt else { panic!("{:?}", other.attempt) };
        assert_eq!((error.fault.kind(), other.is_reproduced()), ("trap", false));
    }
}

#[test]
fn a_capsule_has_the_rows_of_its_call_and_not_those_that_were_to_follow() {
    // The first call is given 4 KiB: a few rows of a batch whose keys have a kilobyte each.
    let folder = Folder::new(&topology("trap-unreachable", "", &on_failure(1, "quarantine"), false));
    let key = "k".repeat(1_000);
    let row = |row: usize| format!("{key}{row},{},1", if row == 1 { "poison" } else { "v" });
    folder.feed("lines", "all", (0..16).map(row));
    folder.run(1).expect(Ending::Finished);
    let capsules = all_reproduced(&folder, "portion");
    let rows = |tried: &Reproduction| match tried.capsule.given.clone() {
        CapsuleInput::Rows { rows, .. } => rows.batch().unwrap().len(),
        given => panic!("{given:?}"),
    };
    let mut rows: Vec<usize> = capsules.iter().map(rows).collect();
    rows.sort_unstable();
    assert!(matches!(rows[..], [1, 2..=8]), "the row that is to blame, and the call with it: {rows:?}");
}

#[test]
fn a_trap_in_a_snapshot_is_a_capsule_though_the_job_stops_for_it() {
    let part = "snapshot-part = \"64KiB\"";
    for (guest, kind) in [("snapshot-recursion", "stack"), ("snapshot-part-large", "lie"), ("lie-snapshot-changing", "lie")] {
        for retries in [0, 2] {
            // The first snapshot is a full one.
            let folder = Folder::new(&topology(guest, part, &on_failure(retries, "stop"), false));
            folder.feed("lines", "all", ["a,v,1", "a,poison,2"]);
            let run = folder.run(1);
            names_its_capsule(&folder, &run);
            let capsules = all_reproduced(&folder, guest);
            assert_eq!(capsules.len(), 1, "{guest}");
            let capsule = &capsules[0].capsule;
            assert_eq!(capsule.given, CapsuleInput::Snapshot { scope: SnapshotScope::Full, part_bytes_max: 64 << 10 });
            assert_eq!((capsule.fault.call.as_str(), capsule.fault.kind.as_str()), ("snapshot", kind));
            assert!(capsules[0].calls > 0, "without the call that poisoned it nothing happens");
        }
    }
}

#[test]
fn a_snapshot_that_drips_is_a_capsule_that_runs_out_of_time_again_in_a_part_or_between_two() {
    let folder = Folder::new(&topology_within("500ms", "snapshot-drip", "snapshot-part = \"64KiB\"", &on_failure(1, "stop"), false));
    folder.feed("lines", "all", ["a,v,1", "a,poison,2"]);
    let run = folder.run(1);
    names_its_capsule(&folder, &run);
    let capsules: Vec<Reproduction> = folder.objects("capsules").iter().map(|path| tried(&folder, path)).collect();
    let [tried] = &capsules[..] else { panic!("{capsules:?}") };
    assert_eq!((tried.capsule.fault.call.as_str(), tried.capsule.fault.kind.as_str()), ("snapshot", "deadline"));
    assert!(tried.is_reproduced(), "{:?}, and not {:?}", tried.attempt, tried.capsule.fault);
}

#[test]
fn a_trap_in_a_snapshot_of_changes_is_a_capsule_with_the_state_before() {
    let folder = Folder::new(&topology("snapshot-recursion", "", &on_failure(1, "stop"), true));
    folder.feed("lines", "good", ["a,v,1", "b,v,1"]);
    let run = run_and_feed(&folder, &["a,v,2", "a,poison,2"]);
    names_its_capsule(&folder, &run);
    let capsules = all_reproduced(&folder, "changes");
    assert_eq!(capsules.len(), 1);
    assert!(matches!(capsules[0].capsule.given, CapsuleInput::Snapshot { scope: SnapshotScope::Delta, .. }));
    assert_eq!(capsules[0].cells, 2);
}

#[test]
fn a_watermark_that_always_fails_is_a_capsule_though_the_job_stops_for_it() {
    for retries in [0, 1] {
        let folder = Folder::new(&topology("advance-panic", "", &on_failure(retries, "quarantine"), false));
        folder.feed("lines", "all", ["a,v,1"]);
        let run = folder.run(1);
        names_its_capsule(&folder, &run);
        let capsules = all_reproduced(&folder, "advance");
        assert_eq!(capsules.len(), 1);
        assert!(matches!(capsules[0].capsule.given, CapsuleInput::Watermark(_)));
    }
}

#[test]
fn an_instance_that_cannot_come_back_is_a_capsule() {
    let folder = Folder::new(&topology("restore-trap", "", &on_failure(1, "stop"), true));
    folder.feed("lines", "good", ["a,v,1", "b,v,1"]);
    let run = run_and_feed(&folder, &["a,poison,2"]);
    names_its_capsule(&folder, &run);
    let all = folder.objects("capsules").into_iter().map(|path| tried(&folder, &path));
    let (starts, rows): (Vec<_>, Vec<_>) = all.partition(|tried| tried.capsule.given == CapsuleInput::Start);
    // The instance that was to take over, and the one that the job was taken up again with.
    assert_eq!(starts.len(), 2);
    assert!(starts.iter().all(|tried| tried.is_reproduced() && tried.capsule.fault.call == "restore" && tried.cells == 2));
    // The row with the poison does not get its turn.
    assert!(matches!(&rows[..], [row] if matches!(row.attempt, Reproduced::Before { .. })));
}

#[test]
fn an_instance_that_is_refused_its_configuration_is_a_capsule() {
    let folder = Folder::new(&topology("open-error", "", &on_failure(1, "stop"), false));
    folder.feed("lines", "all", ["a,v,1"]);
    let run = folder.run(1);
    names_its_capsule(&folder, &run);
    let capsules = all_reproduced(&folder, "open");
    assert_eq!((capsules.len(), capsules[0].capsule.fault.kind.as_str()), (1, "returned"));
}

/// How many calls and cells there are in the capsule of a row that fails after so many others, each with a key of its own and a value of so
/// many bytes, each in a call of its own; there is no checkpoint.
fn before_the_failure(settings: &str, rows: usize, value_bytes: usize) -> (u64, u64) {
    let value = "v".repeat(value_bytes);
    let topology = Topology::on_request(1)
        .source("lines", "", false)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("a", "trap-unreachable", r#"{ from = "parse", by = "key" }"#, &format!("{settings}\ndeadline = \"60s\""))
        .sink("out", "\"a\"");
    let folder = Folder::new(&topology);
    folder.feed("lines", "all", (0..rows).map(|row| format!("k{row},{value},1")).chain(["k0,poison,1".to_owned()]));
    folder.run(1).expect(Ending::Finished);
    let capsules = folder.objects("capsules");
    let [path] = &capsules[..] else { panic!("{capsules:?}") };
    let tried = tried(&folder, path);
    assert!(tried.is_reproduced());
    (tried.calls as u64, tried.cells as u64)
}

#[test]
fn the_host_takes_snapshots_between_checkpoints_where_there_would_be_too_much_to_repeat() {
    let settings = |within: &str, log_max: &str| {
        format!("recover-within = \"{within}\"\nreplay-log-max = \"{log_max}\"\non-failure = {{ retries = 0 }}")
    };
    assert_eq!(before_the_failure(&settings("1h", "1GiB"), 40, 10_000), (40, 0), "without a reason there is none");
    let (calls, cells) = before_the_failure(&settings("1h", "64KiB"), 40, 10_000);
    assert!(calls <= 6 && calls + cells == 40, "{calls} calls of 10 kB, {cells} cells");
    // However fast a machine is, so many calls take longer than a millisecond.
    let (calls, cells) = before_the_failure(&settings("1ms", "1GiB"), 10_000, 1);
    assert!(calls < 10_000 && calls + cells == 10_000, "{calls} calls, {cells} cells");
}

#[test]
fn a_failure_that_passes_is_a_capsule_where_all_are_written_down() {
    let folder = Folder::new(&topology("trap-sometimes", "", &on_failure(1000, "stop"), false).step_by_step(4));
    folder.feed("lines", "all", (0..200).map(|row| format!("a,{},1", if row % 8 == 7 { "poison" } else { "v" })));
    let run = folder.run_set(1, |options| options.clock = Clock::Stepping(Arc::new(AtomicI64::new(0))), |_| Then::GoOn);
    run.expect(Ending::Finished);
    let capsules = all_reproduced(&folder, "passing");
    assert!(!capsules.is_empty() && folder.objects("quarantine").is_empty());
}

#[test]
fn nothing_is_written_down_where_the_topology_says_so() {
    for capsules in ["never", "quarantine"] {
        let settings = on_failure(1, "stop").replace("always", capsules);
        let folder = Folder::new(&topology("snapshot-recursion", "", &settings, false));
        folder.feed("lines", "all", ["a,poison,2"]);
        assert!(!folder.run(1).error().to_string().contains("capsule"));
        assert_eq!(folder.objects("capsules"), Vec::<String>::new());
    }
}
