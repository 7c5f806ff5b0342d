//! Each hostile guest against the wasm layer: the call that ends it, and as what. `tests/guests.rs` has those whose fault is a plain one.

use crate::guests::{
    AFTER, BEFORE, MEMORY_BYTES_MAX, PART_BYTES_MAX, POISON, batch, call, counts, emitted, identity, limits, load, open, restored, snapshot,
};
use reprise::wasm::{COUNTERS_MAX, Component, Fault, GuestError, Limits, Scope, TEXT_BYTES_MAX};
use reprise_core::cells::JOINED_BYTES_MAX;
use std::time::Duration;

/// Short, for guests that never come back.
const DEADLINE: Duration = Duration::from_millis(200);

fn is_lie(fault: &Fault, how: &str) -> bool {
    matches!(fault, Fault::Lie(told) if told.contains(how))
}

/// Lets a guest count, takes a snapshot, and poisons it. What comes after it in its place goes on from the snapshot.
#[track_caller]
fn poisoned(name: &str, limits: &Limits) -> GuestError {
    let component = load(name);
    let mut instance = open(&component, limits);
    assert_eq!(emitted(&mut instance, &BEFORE), counts(&[("a", 1), ("b", 1), ("a", 2), ("c", 1)]), "{name}");
    let chunks = snapshot(&mut instance, Scope::Full);
    let error = instance.process(0, &batch(&[("b", "x"), POISON]), call(2)).unwrap_err();
    assert!(instance.is_dead(), "{name}");
    goes_on(name, &component, &chunks);
    error
}

#[track_caller]
fn goes_on(name: &str, component: &Component, chunks: &[reprise_core::cells::Chunk]) {
    assert_eq!(emitted(&mut restored(component, chunks), &AFTER), counts(&[("a", 3), ("b", 2), ("d", 1)]), "{name}");
}

#[test]
fn output_that_lies_or_never_ends_is_told() {
    type Case = (&'static str, Limits, &'static str, &'static str);
    let cases: [Case; 7] = [
        ("endless-pieces", limits(), "resume", "goes on after 65536 pieces"),
        ("output-bomb", Limits { call_output_bytes_max: 4 << 20, ..limits() }, "resume", "is over the limit of 4194304 bytes in all"),
        ("output-large", Limits { output_bytes_max: 1 << 20, ..limits() }, "process", "output over the limit of"),
        ("output-many", limits(), "process", "10000 batches in one piece"),
        ("lie-reject-twice", limits(), "process", "row 0 is rejected twice"),
        ("lie-reason-utf8", limits(), "process", "utf-8"),
        ("lie-reason-huge", limits(), "process", "bounds"),
    ];
    for (name, limits, call, how) in cases {
        let error = poisoned(name, &limits);
        assert_eq!(error.call, call, "{name}: {error}");
        assert!(is_lie(&error.fault, how), "{name}: {error}");
    }
}

#[test]
fn a_slow_drip_ends_at_the_deadline_of_the_whole_call() {
    let error = poisoned("slow-drip", &Limits { deadline: DEADLINE, ..limits() });
    assert_eq!((error.call, error.fault), ("resume", Fault::Deadline { limit: DEADLINE }));
}

#[test]
fn a_storm_of_host_calls_ends_at_its_limit() {
    let error = poisoned("host-call-storm", &Limits { host_calls_per_call_max: 10_000, ..limits() });
    assert_eq!((error.call, error.fault), ("process", Fault::HostCalls { limit: 10_000 }));
}

#[test]
fn floods_of_lines_and_counters_are_dropped_and_the_guest_lives() {
    let mut flooding = open(&load("log-flood"), &limits());
    assert_eq!(emitted(&mut flooding, &[POISON]), counts(&[("a", 1)]));
    let log = flooding.take_log();
    assert_eq!(log.len(), 1001, "a thousand, and one that tells of the others");
    assert!(log.iter().all(|line| line.message.len() <= TEXT_BYTES_MAX));
    assert_eq!(flooding.take_usage().log_lines_dropped, 49_000);
    emitted(&mut flooding, &[POISON]);
    assert!(flooding.take_log().len() <= 1, "the second has had its lines");
    let mut flooding = open(&load("counter-flood"), &limits());
    assert_eq!(emitted(&mut flooding, &[POISON]), counts(&[("a", 1)]));
    assert_eq!(flooding.counters().len(), COUNTERS_MAX);
    assert_eq!((flooding.take_log().len(), flooding.take_usage().host_calls), (1, 100_000));
}

#[test]
fn what_is_too_large_from_the_start_is_refused() {
    let start = |name, limits: Limits| load(name).instantiate(&limits, identity()).unwrap_err();
    let error = start("large-start", limits());
    assert!(matches!(error.fault, Fault::Memory { limit: MEMORY_BYTES_MAX, asked } if asked > 64 << 20), "{error}");
    let error = start("table-bomb", Limits { table_elements_max: 2000, ..limits() });
    assert!(matches!(error.fault, Fault::Table { limit: 2000, asked } if asked > 4096), "{error}");
    let mut fits = open(&load("table-bomb"), &limits());
    assert_eq!(emitted(&mut fits, &[POISON]), counts(&[("a", 1)]));
}

#[test]
fn faults_outside_of_process_are_told_with_their_call() {
    let deadline = Limits { deadline: DEADLINE, ..limits() };
    let mut instance = load("open-endless").instantiate(&deadline, identity()).unwrap();
    let error = instance.open("{}", 1, call(0)).unwrap_err();
    assert_eq!((error.call, error.fault), ("open", Fault::Deadline { limit: DEADLINE }));

    let mut instance = open(&load("advance-panic"), &limits());
    emitted(&mut instance, &BEFORE);
    let error = instance.advance(7, call(2)).unwrap_err();
    assert_eq!((error.call, error.fault.kind()), ("advance", "trap"));
    assert!(error.log_tail.iter().any(|line| line.contains("no time like 7")), "{:?}", error.log_tail);

    let mut instance = open(&load("lie-advance"), &limits());
    instance.advance(7, call(1)).unwrap();
    emitted(&mut instance, &[POISON]);
    let error = instance.advance(8, call(3)).unwrap_err();
    assert!(error.call == "advance" && is_lie(&error.fault, "output port 7 does not exist"), "{error}");

    let mut instance = open(&load("restore-trap"), &limits());
    emitted(&mut instance, &BEFORE);
    let chunks = snapshot(&mut instance, Scope::Full);
    let error = open(&load("restore-trap"), &limits()).restore(1, &chunks[0]).unwrap_err();
    assert_eq!((error.call, error.fault.kind()), ("restore", "trap"));
}

#[test]
fn snapshots_that_lie_or_never_end_are_told() {
    let small = || Limits { snapshot_bytes_max: 1 << 20, ..limits() };
    let read = |name, limits: &Limits, scope| {
        let mut instance = open(&load(name), limits);
        instance.process(0, &batch(&[POISON]), call(1)).unwrap();
        let read = instance.read_snapshot(scope, PART_BYTES_MAX, &mut drop);
        assert_eq!(instance.is_dead(), read.is_err(), "{name}");
        read
    };
    for scope in [Scope::Full, Scope::Changes] {
        for (name, how) in [
            ("snapshot-grows", "the snapshot is over the limit of 1048576 bytes"),
            ("snapshot-part-large", "65536 were asked for"),
            ("snapshot-many", "10000 chunks in one part"),
            ("lie-snapshot-changing", "remove"),
        ] {
            let error = read(name, &small(), scope).unwrap_err();
            assert!(error.call == "snapshot" && is_lie(&error.fault, how), "{name}: {error}");
        }
        let error = read("snapshot-recursion", &small(), scope).unwrap_err();
        assert_eq!((error.call, error.fault), ("snapshot", Fault::Stack));
    }
    let error = read("lie-full-removed", &limits(), Scope::Full).unwrap_err();
    assert!(is_lie(&error.fault, "a full snapshot cannot remove cells"), "{error}");
    assert_eq!(read("lie-full-removed", &limits(), Scope::Changes).unwrap().cells, 1, "among changes it is no lie");
}

#[test]
fn a_snapshot_that_drips_ends_at_the_deadline_of_all_its_parts() {
    let mut instance = open(&load("snapshot-drip"), &Limits { deadline: DEADLINE, ..limits() });
    instance.process(0, &batch(&[POISON]), call(1)).unwrap();
    let error = instance.read_snapshot(Scope::Full, PART_BYTES_MAX, &mut drop).unwrap_err();
    assert_eq!((error.call, error.fault), ("snapshot", Fault::Deadline { limit: DEADLINE }));
    assert!(instance.is_dead());
}

#[test]
fn crumbs_of_a_snapshot_are_joined_as_they_come() {
    const SNAPSHOT_BYTES_MAX: u64 = 8 << 20;
    let mut instance = open(&load("snapshot-crumbs"), &Limits { snapshot_bytes_max: SNAPSHOT_BYTES_MAX, ..limits() });
    instance.process(0, &batch(&[POISON]), call(1)).unwrap();
    let (mut chunks, mut cells) = (0, 0);
    let error = instance.read_snapshot(Scope::Full, PART_BYTES_MAX, &mut |chunk| (chunks, cells) = (chunks + 1, cells + chunk.len()));
    let error = error.unwrap_err();
    assert!(error.call == "snapshot" && is_lie(&error.fault, "the snapshot is over the limit of 8388608 bytes"), "{error}");
    assert!(cells > 600_000 && chunks <= 2 * SNAPSHOT_BYTES_MAX as usize / JOINED_BYTES_MAX, "{cells} cells in {chunks} chunks");
}

#[test]
fn a_description_that_changes_is_the_first_one_for_good() {
    let component = load("describe-changes");
    let first = component.describe().unwrap();
    assert_eq!(first.outputs.len(), 2);
    assert_eq!(component.describe().unwrap(), first);
    let mut instance = open(&component, &limits());
    assert_eq!(*instance.description(), first);
    assert_eq!(emitted(&mut instance, &BEFORE).len(), 4);
}
