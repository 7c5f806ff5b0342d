//! Instances that fail and come back in place, and rows that cannot be worked on: the oracle is the run without faults, or without the rows.

use super::jobs::{Folder, Run, Then, Topology, running_counts};
use crate::{guests, support};
use reprise::clock::Clock;
use reprise::engine::{Control, OperatorEvent, Reproduced};
use reprise::job::{CapsuleExtras, Ending, Notice, reproduce_capsule};
use reprise_core::checkpoint::faulted::FaultedRows;
use reprise_core::codec::record;
use reprise_core::ids::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Faults by the thousand are let pass.
const PATIENT: &str = "faults-max = 1000000";

/// Lines `key,value,7` go to `a`, a guest, by key, and what that emits to `b`, a counter, by key.
fn chain(guest: &str, settings: &str) -> Topology {
    wired(false, guest, settings)
}

fn wired(follow: bool, guest: &str, settings: &str) -> Topology {
    Topology::new("")
        .source("lines", "", follow)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("a", guest, r#"{ from = "parse", by = "key" }"#, settings)
        .operator("b", "running-count", r#"{ from = "a", by = "key" }"#)
        .sink("out", "\"b\"")
}

/// Lines with poison at every `nth`, or none at 0.
fn lines(rows: usize, nth: usize, keys: usize) -> Vec<String> {
    let value = |row| if nth > 0 && row % nth == nth - 1 { "poison" } else { "v" };
    (0..rows).map(|row| format!("k{},{},7", row * 7 % keys, value(row))).collect()
}

fn key(line: &str) -> &str {
    line.split(',').next().unwrap()
}

/// Runs to the end on a clock that moves on at each look. Gives the control as well.
fn run(folder: &Folder, workers: u32) -> (Run, Arc<Control>) {
    let control = Mutex::new(None);
    let run = folder.run_set(
        workers,
        |options| options.clock = Clock::Stepping(Arc::new(AtomicI64::new(0))),
        |notice| {
            if let Notice::Started { control: started, .. } = notice {
                *control.lock().unwrap() = Some(Arc::clone(started));
            }
            Then::GoOn
        },
    );
    let control = control.into_inner().unwrap();
    (run.expect(Ending::Finished), control.unwrap())
}

fn starts(run: &Run) -> usize {
    run.notices.iter().filter(|notice| matches!(notice, Notice::Started { .. })).count()
}

/// How many of these events were told.
fn events(run: &Run, wanted: fn(&OperatorEvent) -> bool) -> usize {
    run.notices.iter().filter(|notice| matches!(notice, Notice::Operator(event) if wanted(event))).count()
}

/// Failures of each operator that were told.
fn failures(run: &Run) -> BTreeMap<&str, usize> {
    let mut failures = BTreeMap::new();
    for notice in &run.notices {
        if let Notice::Operator(OperatorEvent::Failed { operator, .. }) = notice {
            *failures.entry(operator.as_str()).or_default() += 1;
        }
    }
    failures
}

/// What the quarantine holds of an operator.
fn faulted(folder: &Folder, operator: &str) -> Vec<FaultedRows> {
    let objects = folder.objects(&format!("quarantine/{operator}"));
    objects.iter().map(|path| record::decode(&fs::read(folder.store().join(path)).unwrap()).unwrap()).collect()
}

#[test]
fn a_thousand_traps_change_nothing_and_no_neighbour_notices() {
    let settings =
        format!("recover-within = \"5ms\"\non-failure = {{ retries = 1000, backoff = \"1ms..1ms\", {PATIENT} }}\ndeadline = \"60s\"");
    for (standby, parallelism) in [("", 1), ("\nstandby = true", 1), ("", 4), ("\nstandby = true", 6)] {
        let settings = format!("{settings}{standby}\nparallelism = {parallelism}");
        let folder = Folder::new(&chain("trap-sometimes", &settings).step_by_step(8));
        let lines = lines(12_000, 4, 500);
        folder.feed("lines", "all", &lines);
        let (run, control) = run(&folder, 2);
        let failures = failures(&run);
        println!("{failures:?}, {:?}", control.breakers[1].recoveries);
        assert!(failures["a"] >= 1_000 && failures.len() == 1, "{failures:?}");
        assert_eq!(control.breakers[1].recoveries.count(), failures["a"] as u64);
        // There is none for a moment after the first snapshot, a full one.
        let [by_standby, at_once] =
            [&control.breakers[1].by_standby, &control.breakers[1].at_once].map(|count| count.load(Ordering::Relaxed) as usize);
        let expected = if standby.is_empty() { 0..=0 } else { failures["a"] * 9 / 10..=failures["a"] };
        assert!(expected.contains(&by_standby), "a standby took over {by_standby} times of {}", failures["a"]);
        println!("{by_standby} by a standby, {at_once} at once");
        assert!(at_once <= by_standby && (at_once > 0) == (by_standby > 0), "{at_once} of {by_standby} at once");
        assert_eq!((starts(&run), control.breakers[2].recoveries.count()), (1, 0), "neither the job nor the neighbour began anew");
        assert_eq!(folder.rows("out"), running_counts(lines.iter().map(|line| key(line))));
        assert!(folder.objects("quarantine").is_empty());
    }
}

#[test]
fn a_share_of_the_state_that_takes_too_long_to_restore_is_told_once() {
    for (settings, expected) in [("recover-within = \"1ms\"", 1), ("recover-within = \"1ms\"\nstandby = true", 0), ("", 0)] {
        let folder = Folder::new(&chain("running-count", settings).step_by_step(1000));
        folder.feed("lines", "all", lines(60_000, 0, 60_000));
        let (run, _) = run(&folder, 2);
        let told = run.notices.iter().filter_map(|notice| match notice {
            Notice::Operator(OperatorEvent::TooSlow { operator, instances, takes, within, .. }) => {
                Some((operator.as_str(), *instances, takes > within))
            }
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told, vec![("a", 2, true); expected], "{settings}");
    }
}

#[test]
fn standbys_that_are_given_up_faster_than_they_are_made_take_no_room_from_a_successor() {
    // Each snapshot is a full one, which takes the place of the standby; to make that takes longer than from one checkpoint to the next.
    let settings = format!("standby = true\non-failure = {{ retries = 0, {PATIENT} }}\ndeadline = \"60s\"");
    let topology = Topology::new("chain-length-max = 0").source("lines", "", true).operator("parse", "parse-text", "\"lines\"");
    let topology = topology.operator_set("slow", "slow-restore", r#"{ from = "parse", by = "key" }"#, &settings).sink("out", "\"slow\"");
    let folder = Folder::new(&topology);
    let mut good = lines(60, 0, 60);
    folder.feed("lines", "good", &good);
    let (mut stage, mut most) = (0, 0);
    let ended = folder.run_with(1, |notice| {
        let Notice::Checkpoint(made) = notice else { return Then::GoOn };
        most = most.max(threads("standby-slow"));
        if !folder.is_covered_by(made) {
            return Then::GoOn;
        }
        stage += 1;
        match stage {
            ..30 => {
                let more = lines(1, 0, 60);
                folder.feed("lines", &format!("stage-{stage:02}"), &more);
                good.extend(more);
            }
            30 => folder.feed("lines", "stage-30", ["k0,poison,7"]),
            _ => return Then::Stop,
        }
        Then::GoOn
    });
    let ended = ended.expect(Ending::Stopped);
    assert_eq!(starts(&ended), 1, "the job was taken up again");
    assert_eq!(folder.rows("out"), running_counts(good.iter().map(|line| key(line))));
    assert_eq!(faulted(&folder, "slow").iter().map(|object| object.rows.len()).sum::<usize>(), 1);
    // One, and beside it those that have nothing left to do but to end.
    assert!(most <= 3 && (most > 0 || !cfg!(target_os = "linux")), "{most} threads made or kept a standby at once");
}

#[test]
fn a_standby_that_is_slow_to_repeat_its_calls_is_left_to_a_thread() {
    // Each call has a row of 1.5 kB, so that a snapshot is due after some forty of them: they are fast, and their repetition is not.
    let settings = format!("standby = true\nreplay-log-max = \"64KiB\"\non-failure = {{ retries = 0, {PATIENT} }}\ndeadline = \"60s\"");
    let topology = Topology::on_request(1).source("lines", "", false).operator("parse", "parse-text", "\"lines\"");
    let topology = topology.operator_set("again", "slow-again", r#"{ from = "parse", by = "key" }"#, &settings).sink("out", "\"again\"");
    let is_over = AtomicBool::new(false);
    let (at_once, most) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(threads("failover-again"));
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        // What has to be repeated is not the same in all three.
        let runs = scope.spawn(|| [70, 83, 96].map(|before| repeat_slowly(&topology, before)));
        let ended = runs.join();
        is_over.store(true, Ordering::Relaxed);
        (ended.unwrap(), watcher.join().unwrap())
    });
    assert!(at_once.contains(&0) && (most > 0 || !cfg!(target_os = "linux")), "the worker did it all: {at_once:?}");
}

/// Some rows, poison, and some more. How often the worker itself made a successor.
fn repeat_slowly(topology: &Topology, before: usize) -> u64 {
    let folder = Folder::new(topology);
    let mut lines: Vec<String> = (0..before + 10).map(|row| format!("k{},{},7", row % 10, "v".repeat(1_500))).collect();
    let expected = running_counts(lines.iter().map(|line| key(line)));
    lines.insert(before, "k0,poison,7".to_owned());
    folder.feed("lines", "all", &lines);
    let (run, control) = run(&folder, 1);
    let [by_standby, at_once] = [&control.breakers[1].by_standby, &control.breakers[1].at_once].map(|count| count.load(Ordering::Relaxed));
    assert_eq!((starts(&run), by_standby), (1, 1));
    assert_eq!(folder.rows("out"), expected);
    assert_eq!(faulted(&folder, "again").iter().map(|object| object.rows.len()).sum::<usize>(), 1);
    at_once
}

/// Threads of this process with that name, where the system tells.
fn threads(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)).count()
}

#[test]
fn poison_of_every_kind_goes_to_quarantine_and_everything_else_stands() {
    let kinds = [
        ("trap-unreachable", "trap", ""),
        ("panic", "trap", ""),
        ("stack-overflow", "stack", ""),
        ("memory-bomb", "memory", "memory = \"16MiB\""),
        ("process-error", "returned", ""),
        ("lie-port", "lie", ""),
        ("lie-huge", "lie", ""),
    ];
    let lines = lines(4_000, 571, 90);
    let poison: Vec<&String> = lines.iter().filter(|line| line.contains("poison")).collect();
    assert_eq!(poison.len(), 7);
    let mut topology = Topology::new("keep = 1000").source("lines", "", false).operator("parse", "parse-text", "\"lines\"");
    for (guest, _, limit) in kinds {
        let settings = format!("on-failure = {{ retries = 1, backoff = \"1ms..1ms\", {PATIENT} }}\ndeadline = \"60s\"\n{limit}");
        topology = topology
            .operator_set(guest, guest, r#"{ from = "parse", by = "key" }"#, &settings)
            .sink(&format!("out-{guest}"), &format!("\"{guest}\""));
    }
    let folder = Folder::new(&topology);
    folder.feed("lines", "all", &lines);
    let (run, control) = run(&folder, 2);
    assert_eq!(starts(&run), 1);
    let good = running_counts(lines.iter().filter(|line| !line.contains("poison")).map(|line| key(line)));
    for (place, (guest, kind, _)) in kinds.iter().enumerate() {
        assert_eq!(folder.rows(&format!("out-{guest}")), good, "{guest}");
        let held = faulted(&folder, guest);
        let rows: Vec<_> = held.iter().flat_map(|object| &object.rows).collect();
        let mut found: Vec<String> =
            rows.iter().map(|row| format!("{},{},{}", text(&row.row.key), text(&row.row.value), row.row.time)).collect();
        let mut expected: Vec<String> = poison.iter().map(|line| (*line).clone()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{guest}");
        for object in &held {
            object.check().unwrap();
            assert!(object.line > 0 && object.node == *guest, "{object:?}");
        }
        assert!(rows.iter().all(|row| row.kind == *kind && row.call == "process" && !row.row.reason.is_empty()), "{guest}: {rows:?}");
        let other = CapsuleExtras { component: Some(support::guest("running-count")), ..CapsuleExtras::default() };
        let mended = reproduce_capsule(&folder.store().join(rows[0].capsule.as_ref().unwrap()), &other).unwrap();
        assert!(mended.is_other_component && !mended.is_reproduced(), "{guest}");
        assert!(matches!(mended.attempt, Reproduced::Succeeded), "{guest}: {:?}", mended.attempt);
        for row in &rows {
            let tried = reproduce_capsule(&folder.store().join(row.capsule.as_ref().unwrap()), &CapsuleExtras::default()).unwrap();
            assert!(tried.is_reproduced() && !tried.is_other_component, "{guest}: {:?}", tried.attempt);
            assert_eq!(tried.capsule.fault.message, row.row.reason, "{guest}");
        }
        assert_eq!(rows.iter().any(|row| !row.backtrace.is_empty()), ["trap", "stack", "memory"].contains(kind), "{guest}");
        assert_eq!(control.breakers[place + 1].quarantined.load(Ordering::Relaxed), 7, "{guest}");
    }
    let newest = folder.newest();
    assert!(newest.operators[1..].iter().all(|operator| operator.instances.iter().map(|i| i.rejected).sum::<u64>() == 7));
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_call_without_end_is_ended_and_its_row_goes_to_quarantine() {
    let settings = format!("on-failure = {{ retries = 0, {PATIENT} }}\ndeadline = \"2s\"");
    let folder = Folder::new(&chain("endless-loop", &settings).step_by_step(4));
    let lines = lines(40, 25, 9);
    folder.feed("lines", "all", &lines);
    let (run, _) = run(&folder, 1);
    assert_eq!(starts(&run), 1);
    assert_eq!(folder.rows("out"), running_counts(lines.iter().filter(|line| !line.contains("poison")).map(|line| key(line))));
    let held = faulted(&folder, "a");
    assert_eq!(held.iter().flat_map(|object| &object.rows).map(|row| row.kind.as_str()).collect::<Vec<_>>(), ["deadline"]);
}

#[test]
fn an_operator_with_too_many_faults_is_paused_and_nothing_is_lost() {
    let settings = "on-failure = { retries = 0, faults-max = 3, pause = \"10ms\" }\ndeadline = \"60s\"";
    let folder = Folder::new(&chain("trap-unreachable", settings));
    let lines = lines(400, 20, 9);
    folder.feed("lines", "all", &lines);
    let (run, _) = run(&folder, 2);
    let count = |wanted| events(&run, wanted);
    let (paused, resumed) = (count(|e| matches!(e, OperatorEvent::Paused { .. })), count(|e| matches!(e, OperatorEvent::Resumed { .. })));
    assert!(paused > 0 && resumed > 0 && resumed <= paused, "{paused} pauses, {resumed} ends of pauses");
    assert_eq!(folder.rows("out"), running_counts(lines.iter().filter(|line| !line.contains("poison")).map(|line| key(line))));
    assert_eq!(faulted(&folder, "a").iter().map(|object| object.rows.len()).sum::<usize>(), 20);
}

#[test]
fn a_fault_that_depends_on_the_batch_is_told_and_written_down_without_retries() {
    let settings = format!("on-failure = {{ retries = 0, capsules = \"always\", {PATIENT} }}\ndeadline = \"60s\"");
    let folder = Folder::new(&chain("trap-together", &settings).step_by_step(160));
    // Of 160 rows pieces have three, which fail as well.
    let lines = lines(480, 10, 9);
    folder.feed("lines", "all", &lines);
    let (run, control) = run(&folder, 1);
    let count = |wanted| events(&run, wanted);
    let (failed, back) = (
        count(|e| matches!(e, OperatorEvent::Failed { attempt: 0, retries: 0, .. })),
        count(|e| matches!(e, OperatorEvent::Recovered { .. })),
    );
    assert!(failed > 0 && failures(&run) == [("a", failed)].into(), "{failed} failures");
    assert_eq!(back, failed, "each failure is followed by a recovery");
    assert!(control.breakers[1].recoveries.count() > failed as u64, "pieces failed as well");
    let capsules = folder.objects("capsules");
    assert_eq!(capsules.len(), failed, "those of the pieces say nothing new");
    for path in &capsules {
        assert!(reproduce_capsule(&folder.store().join(path), &CapsuleExtras::default()).unwrap().is_reproduced(), "{path}");
    }
    assert_eq!(folder.rows("out"), running_counts(lines.iter().map(|line| key(line))));
    assert!(folder.objects("quarantine").is_empty());
}

#[test]
fn faults_that_pass_in_smaller_calls_open_the_breaker() {
    let lines = lines(160, 10, 9);
    let settings = |open: &str| format!("on-failure = {{ retries = 0, faults-max = 3, window = \"24h\", {open} }}\ndeadline = \"60s\"");
    let folder = Folder::new(&chain("trap-together", &settings("open = \"stop\"")).step_by_step(16));
    folder.feed("lines", "all", &lines);
    let text = folder.run(1).error().to_string();
    assert!(text.contains("operator `a` instance 0 trapped") && text.contains("stopped after 4 failures"), "{text}");
    let folder = Folder::new(&chain("trap-together", &settings("pause = \"10ms\"")).step_by_step(16));
    folder.feed("lines", "all", &lines);
    let (run, _) = run(&folder, 1);
    assert!(run.notices.iter().any(|notice| matches!(notice, Notice::Operator(OperatorEvent::Paused { .. }))));
    assert_eq!(folder.rows("out"), running_counts(lines.iter().map(|line| key(line))));
}

#[test]
fn a_call_that_ends_in_quarantine_is_one_fault_however_often_it_failed() {
    for retries in [0, 1, 2] {
        for (faults_max, stops) in [(20, false), (19, true)] {
            let settings = format!(
                "on-failure = {{ retries = {retries}, backoff = \"1ms..1ms\", faults-max = {faults_max}, window = \"24h\", open = \"stop\" }}\ndeadline = \"60s\""
            );
            let folder = Folder::new(&chain("trap-unreachable", &settings));
            folder.feed("lines", "all", lines(400, 20, 9));
            let run = folder.run(2);
            if stops {
                let text = run.error().to_string();
                assert!(text.contains("stopped after 20 failures"), "{retries} retries: {text}");
            } else {
                run.expect(Ending::Finished);
                assert_eq!(faulted(&folder, "a").iter().map(|object| object.rows.len()).sum::<usize>(), 20);
            }
        }
    }
}

#[test]
fn a_row_in_quarantine_has_what_its_operator_logged_and_the_component_that_failed() {
    let settings = format!("on-failure = {{ retries = 1, backoff = \"1ms..1ms\", {PATIENT} }}\ndeadline = \"60s\"");
    let folder = Folder::new(&chain("panic", &settings));
    folder.feed("lines", "all", ["a,v,1", "a,poison,2", "b,v,3"]);
    run(&folder, 1);
    let held = faulted(&folder, "a");
    let [FaultedRows { rows, component, .. }] = &held[..] else { panic!("{held:?}") };
    let alone = guests::start("panic").process(0, &guests::batch(&[guests::POISON]), guests::call(1)).unwrap_err();
    assert!(matches!(&alone.log_tail[..], [line] if line.contains("the value was poison")), "{:?}", alone.log_tail);
    assert_eq!(rows.iter().map(|row| &row.log_tail).collect::<Vec<_>>(), [&alone.log_tail]);
    assert_eq!(*component, Digest(Sha256::digest(fs::read(support::guest("panic")).unwrap()).into()));
}

#[test]
fn too_many_faults_stop_the_job_where_its_topology_says_so() {
    let settings = "on-failure = { retries = 0, faults-max = 3, open = \"stop\" }\ndeadline = \"60s\"";
    let folder = Folder::new(&chain("trap-unreachable", settings));
    folder.feed("lines", "all", lines(400, 20, 9));
    let run = folder.run(2);
    let text = run.error().to_string();
    assert!(text.contains("operator `a` instance") && text.contains("stopped after 4 failures"), "{text}");
    // Mended, it goes on where it was.
    folder.set(&chain("running-count", ""));
    folder.run(2).expect(Ending::Finished);
    let out = folder.rows("out");
    let poison = faulted(&folder, "a").iter().map(|object| object.rows.len()).sum::<usize>();
    assert_eq!(out.len() + poison, 400);
}

#[test]
fn an_instance_with_too_much_state_to_be_kept_takes_the_whole_job_up_again() {
    let settings =
        format!("snapshot-copy-max = \"0B\"\non-failure = {{ retries = 1000, backoff = \"1ms..1ms\", {PATIENT} }}\ndeadline = \"60s\"");
    let folder = Folder::new(&wired(true, "trap-sometimes", &settings));
    let mut fed = lines(200, 0, 40);
    folder.feed("lines", "good", &fed);
    let (mut stage, mut started) = (0, 0);
    let ended = folder.run_set(
        2,
        |options| options.clock = Clock::Stepping(Arc::new(AtomicI64::new(0))),
        |notice| match notice {
            Notice::Started { .. } => {
                started += 1;
                Then::GoOn
            }
            Notice::Checkpoint(made) if folder.is_covered_by(made) && started > 1 => Then::Stop,
            // A row with poison traps at half of all looks at the clock: some stage meets it at a bad one.
            Notice::Checkpoint(made) if folder.is_covered_by(made) => {
                stage += 1;
                let more = lines(8, 4, 40);
                folder.feed("lines", &format!("stage-{stage:04}"), &more);
                fed.extend(more);
                Then::GoOn
            }
            _ => Then::GoOn,
        },
    );
    let ended = ended.expect(Ending::Stopped);
    assert!(ended.notices.iter().any(|notice| matches!(notice, Notice::Operator(OperatorEvent::TooLarge { .. }))));
    assert!(starts(&ended) > 1);
    assert_eq!(folder.rows("out"), running_counts(fed.iter().map(|line| key(line))));
}
