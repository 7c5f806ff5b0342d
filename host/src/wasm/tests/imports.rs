//! What a guest gets from `runtime`, seen from the guest.

use super::build::{Wat, call, limits, process, rows, start};
use crate::wasm::{Call, Level, Limits, LogLine};

/// One row whose time is what `$value` gives.
fn reports(value: &str) -> Wat {
    let mut guest = process(&format!(
        "(i64.store (i32.const 4000) {value})
        (call $echo (i32.const 0) (i32.const 4000) (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 0)
            (i32.const 64) (i32.const 1) (i32.const 0) (i32.const 0))"
    ));
    guest.more = "(data (i32.const 64) \"\\00\\00\\00\\00\")".into();
    guest
}

fn reported(guest: &Wat, call: Call) -> i64 {
    guest.start().process(0, &rows(1), call).unwrap().outputs[0].1.times()[0]
}

#[test]
fn now_is_the_time_of_the_call() {
    assert_eq!(reported(&reports("(call $now)"), Call { number: 1, now_ms: 77, instant_ns: 0 }), 77);
}

#[test]
fn random_repeats_when_the_call_is_replayed() {
    let guest = reports("(call $random)");
    assert_eq!(reported(&guest, call(3)), reported(&guest, call(3)));
    assert_ne!(reported(&guest, call(3)), reported(&guest, call(4)));
    assert_ne!(reported(&guest, call(3)), reported(&reports("(drop (call $random)) (call $random)"), call(3)));
}

#[test]
fn logs_and_counters_reach_the_host_and_the_report() {
    let mut guest = process(
        "(call $log (i32.const 4) (i32.const 3000) (i32.const 5))
        (call $count (i32.const 3000) (i32.const 5) (i64.const 2))
        (if (i64.eq (call $now) (i64.const 0)) (then unreachable))
        (global.get $zeros)",
    );
    guest.more = "(data (i32.const 3000) \"hello\")".to_owned();
    let mut instance = guest.start();
    instance.process(0, &rows(1), call(7)).unwrap();
    assert_eq!(instance.take_log(), [LogLine { level: Level::Error, message: "hello".into(), call: 7 }]);
    assert_eq!(instance.counters().get("hello"), Some(&2));
    let error = instance.process(0, &rows(1), Call { number: 8, now_ms: 0, instant_ns: 0 }).unwrap_err();
    assert_eq!(error.log_tail, ["hello", "hello"]);
}

#[test]
fn a_flood_of_lines_is_dropped_and_counted() {
    let guest = process(
        "(local $i i32)
        (loop $again
            (call $log (i32.const 2) (i32.const 1280) (i32.const 2))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 5000))))
        (global.get $zeros)",
    );
    let mut instance = start(&guest.load(), &Limits { log_lines_per_call_max: 10, ..limits() }).unwrap();
    instance.process(0, &rows(1), call(1)).unwrap();
    let log = instance.take_log();
    assert_eq!(log.len(), 11);
    assert_eq!(log[10].message, "4990 more lines were dropped: 10 a call and 1000 a second are kept");
}

#[test]
fn a_log_line_outside_the_memory_ends_the_call() {
    let guest = process("(call $log (i32.const 2) (i32.const 100) (i32.const -1)) (global.get $zeros)");
    let error = guest.start().process(0, &rows(1), call(1)).unwrap_err();
    assert_eq!((error.call, error.fault.kind()), ("process", "lie"), "{error}");
}
