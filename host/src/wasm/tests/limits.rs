//! Limits that `calls`, `imports`, `pieces` and `snapshots` do not reach, and what instances are said to have used.

use super::build::{Wat, call, limits, process, rows, runtime, start};
use super::calls::ECHO;
use crate::wasm::{CORE_INSTANCES_MAX, Fault, GuestError, Instance, Limits, Settings, TABLE_ELEMENTS_MAX};
use std::time::Duration;

/// Does something so many times, with `$i` counting up.
fn times(count: u32, what: &str) -> String {
    format!(
        "(local $i i32)
        (loop $again {what} (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))
        (global.get $zeros)"
    )
}

fn called(guest: &Wat, limits: &Limits) -> (Instance, Result<(), GuestError>) {
    let mut instance = start(&guest.load(), limits).unwrap();
    let called = instance.process(0, &rows(1), call(1)).map(drop);
    (instance, called)
}

#[test]
fn a_table_bomb_stops_at_the_limit() {
    let grow = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1)) (then unreachable))";
    let mut guest = process(&times(1_000_000, grow));
    guest.more = "(table $t 1 funcref)".to_owned();
    let (instance, called) = called(&guest, &Limits { table_elements_max: 1000, ..limits() });
    assert_eq!(called.unwrap_err().fault, Fault::Table { limit: 1000, asked: 1001 });
    assert!(instance.is_dead());
}

#[test]
fn a_table_that_is_too_large_from_the_start_is_refused() {
    let guest = |elements| Wat { more: format!("(table $t {elements} funcref)"), ..Wat::default() };
    let started = |elements, limit| start(&guest(elements).load(), &Limits { table_elements_max: limit, ..limits() });
    assert!(started(1000, 1000).is_ok());
    assert_eq!(started(1001, 1000).unwrap_err().fault, Fault::Table { limit: 1000, asked: 1001 });
    let over = TABLE_ELEMENTS_MAX as u32 + 1;
    let error = started(1000, over).unwrap_err();
    assert!(error.to_string().contains("its limit is 65537 table elements, that of the runtime 65536"), "{error}");
}

#[test]
fn a_component_of_too_many_core_instances_is_refused() {
    // The module itself, and two that join it to its imports.
    let started = |limit| start(&Wat::default().load(), &Limits { core_instances_max: limit, ..limits() });
    assert!(started(3).is_ok());
    let error = started(2).unwrap_err();
    assert_eq!((error.call, error.fault.kind()), ("instantiate", "instance"), "{error}");
    assert!(error.to_string().contains("instance count"), "{error}");
    let error = started(CORE_INSTANCES_MAX + 1).unwrap_err();
    assert!(error.to_string().contains("its limit is 65 core instances, that of the runtime 64"), "{error}");
}

#[test]
fn a_storm_of_host_calls_ends_at_the_limit() {
    for what in [
        "(drop (call $now))",
        "(drop (call $random))",
        "(call $log (i32.const 2) (i32.const 1280) (i32.const 2))",
        "(call $count (i32.const 1280) (i32.const 2) (i64.const 1))",
    ] {
        let limits = Limits { host_calls_per_call_max: 100, ..limits() };
        let (_, within) = called(&process(&times(100, what)), &limits);
        within.unwrap();
        let (mut instance, over) = called(&process(&times(101, what)), &limits);
        let error = over.unwrap_err();
        assert_eq!(error.fault, Fault::HostCalls { limit: 100 }, "{what}");
        assert_eq!(instance.take_usage().host_calls, 100);
    }
}

#[test]
fn the_stack_is_that_of_the_runtime() {
    let mut guest = process("(drop (call $deeper (i32.const 4000))) (global.get $zeros)");
    guest.more = "(func $deeper (param i32) (result i32)
        (if (result i32) (local.get 0) (then (i32.add (call $deeper (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))) (else (i32.const 0))))"
        .to_owned();
    let called = |stack_bytes_max| {
        let settings = Settings { instances_max: 2, stack_bytes_max, ..Settings::default() };
        let component = runtime(&settings).load(&guest.bytes()).unwrap();
        start(&component, &limits()).unwrap().process(0, &rows(1), call(1)).map(drop)
    };
    assert!(called(1 << 20).is_ok());
    assert_eq!(called(64 << 10).unwrap_err().fault, Fault::Stack);
}

#[test]
fn the_output_of_one_call_has_a_limit_even_in_one_piece() {
    // Two rows take 40 bytes, and their batch 256.
    let emitted = |limit| {
        let mut instance = start(&process(ECHO).load(), &Limits { call_output_bytes_max: limit, ..limits() }).unwrap();
        instance.process(0, &rows(2), call(1)).map(drop)
    };
    assert!(emitted(296).is_ok());
    let error = emitted(295).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`process` broke the contract: the output of `process` is over the limit of 295 bytes in all (`limits.call-output` of the operator)"
    );
}

#[test]
fn usage_tells_what_calls_moved_and_begins_anew_when_it_is_taken() {
    let mut guest = process(ECHO);
    guest.advance = "(drop (call $now)) (drop (call $random)) (global.get $zeros)".to_owned();
    let mut instance = guest.start();
    instance.open("{}", 1, call(0)).unwrap();
    instance.process(0, &rows(10), call(1)).unwrap();
    instance.advance(5, call(2)).unwrap();
    let used = instance.take_usage();
    let bytes = rows(10).size_bytes() as u64;
    assert_eq!((used.calls, used.bytes_in, used.bytes_out, used.host_calls, used.fuel), (3, bytes, bytes, 2, 0));
    assert!(!used.busy.is_zero() && used.processor.is_zero() != cfg!(unix), "{used:?}");
    assert_eq!(used.memory_peak_bytes, instance.memory_peak_bytes());
    let used = instance.take_usage();
    assert_eq!((used.calls, used.busy + used.processor, used.memory_peak_bytes), (0, Duration::ZERO, instance.memory_peak_bytes()));
}

#[test]
fn fuel_is_counted_where_it_is_asked_for_and_is_the_same_each_time() {
    let burnt = |fuel, count| {
        let component =
            runtime(&Settings { instances_max: 2, fuel, ..Settings::default() }).load(&process(&times(count, "")).bytes()).unwrap();
        assert_eq!(component.counts_fuel(), fuel);
        let mut instance = start(&component, &limits()).unwrap();
        let mut calls = || {
            instance.process(0, &rows(1), call(1)).unwrap();
            instance.take_usage().fuel
        };
        (calls(), calls())
    };
    assert_eq!(burnt(false, 1000), (0, 0));
    let (first, second) = burnt(true, 1000);
    assert_eq!(first, second);
    let (longer, _) = burnt(true, 2000);
    assert!(longer > first + 1000, "{first} instructions for 1,000 rounds, {longer} for 2,000");
}
