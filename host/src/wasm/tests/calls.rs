//! Calls that succeed, and every way in which the guest itself ends one.

use super::build::{Wat, call, limits, process, rows, runtime, start};
use crate::wasm::{Fault, GuestError, Instance, Limits, Settings};
use reprise_core::batch::Batch;
use std::time::Duration;

pub const ECHO: &str = "(call $echo (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6)
    (local.get 7) (local.get 8) (local.get 9) (local.get 10))";

fn fail(guest: &Wat, limits: &Limits) -> GuestError {
    let mut instance = start(&guest.load(), limits).unwrap();
    let error = instance.process(0, &rows(2), call(1)).unwrap_err();
    assert_eq!(error.call, "process");
    assert!(instance.is_dead());
    error
}

#[test]
fn rows_go_in_and_come_out_unchanged() {
    let mut instance = process(ECHO).start();
    instance.open("{}", 1, call(0)).unwrap();
    for count in [1, 3, 1000, 2] {
        let outcome = instance.process(0, &rows(count), call(1)).unwrap();
        assert_eq!(outcome.outputs, [(0, rows(count))]);
        assert!(outcome.rejected.is_empty());
    }
    assert_eq!(instance.advance(5, call(2)).unwrap(), []);
    assert!(!instance.is_dead());
}

#[test]
fn an_empty_batch_works_and_empty_outputs_are_dropped() {
    let mut instance = process(ECHO).start();
    assert_eq!(instance.process(0, &Batch::new(), call(1)).unwrap().outputs, []);
}

#[test]
fn an_instance_serves_many_calls_without_growing() {
    let mut instance = process(ECHO).start();
    let batch = rows(100);
    instance.process(0, &batch, call(0)).unwrap();
    let before = instance.memory_bytes();
    (1..20_000).for_each(|number| drop(instance.process(0, &batch, call(number)).unwrap()));
    assert_eq!((instance.memory_bytes(), instance.memory_peak_bytes()), (before, before));
}

#[test]
fn rejected_rows_come_back_with_their_reasons() {
    let mut guest = process("(call $answer (i32.const 0) (i32.const 0) (i32.const 3000) (i32.const 2))");
    guest.more = r#"(data (i32.const 3000) "\01\00\00\00\00\0c\00\00\03\00\00\00\00\00\00\00\00\0c\00\00\00\00\00\00")
        (data (i32.const 3072) "bad")"#
        .to_owned();
    let rejected = guest.start().process(0, &rows(2), call(1)).unwrap().rejected;
    let rejected: Vec<_> = rejected.iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(rejected, [(1, "bad"), (0, "")]);
}

#[test]
fn traps_are_told_with_their_cause_and_place() {
    let error = fail(&process("unreachable"), &limits());
    assert_eq!(error.fault, Fault::Trap("unreachable executed".into()));
    assert_eq!(error.to_string(), "trapped in `process`: unreachable executed");
    assert_eq!(error.backtrace.len(), 1, "{:?}", error.backtrace);
    let error = fail(&process("(i32.load (i32.const -4))"), &limits());
    assert_eq!(error.fault, Fault::Trap("out of bounds memory access".into()));
    let error = fail(&process("(i32.div_u (i32.const 1) (i32.const 0))"), &limits());
    assert_eq!(error.fault, Fault::Trap("integer divide by zero".into()));
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let deadline = Duration::from_millis(20);
    let error = fail(&process("(loop $again (br $again)) unreachable"), &Limits { deadline, ..limits() });
    assert_eq!(error.fault, Fault::Deadline { limit: deadline });
}

#[test]
fn endless_recursion_is_a_stack_overflow() {
    let mut guest = process("(call $deeper (i32.const 1))");
    guest.more = "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (call $deeper (local.get 0))))".into();
    let error = fail(&guest, &limits());
    assert_eq!(error.fault, Fault::Stack);
    assert_eq!(error.backtrace.len(), crate::wasm::FRAMES_MAX);
}

#[test]
fn a_memory_bomb_stops_at_the_limit() {
    let bomb = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let mut instance = process(bomb).start();
    let error = instance.process(0, &rows(1), call(1)).unwrap_err();
    assert_eq!(error.fault, Fault::Memory { limit: 4 << 20, asked: (4 << 20) + 65536 });
    assert_eq!(instance.memory_peak_bytes(), 4 << 20);
}

#[test]
fn a_guest_may_live_with_a_refused_growth() {
    let guest = process("(drop (memory.grow (i32.const 65535))) (global.get $zeros)");
    let mut instance = guest.start();
    instance.process(0, &rows(1), call(1)).unwrap();
    assert!(!instance.is_dead());
}

#[test]
fn rows_that_do_not_fit_the_memory_are_a_memory_fault() {
    let mut batch = Batch::new();
    let value = vec![0; 8 << 20];
    batch.push(reprise_core::batch::Row { time: 0, key: b"", value: &value }).unwrap();
    let error = process(ECHO).start().process(0, &batch, call(1)).unwrap_err();
    assert!(matches!(error.fault, Fault::Memory { .. }), "{error}");
}

#[test]
fn a_returned_error_is_told_and_kills() {
    let mut guest = process("(call $failure (i32.const 3000) (i32.const 7))");
    guest.more = r#"(data (i32.const 3000) "no\1b good")"#.to_owned();
    let error = fail(&guest, &limits());
    assert_eq!(error.fault, Fault::Returned("no\u{1b} goo".into()));
    let refuse = "(call $failure (i32.const 1280) (i32.const 2))".to_owned();
    let error = Wat { open: refuse.clone(), ..Wat::default() }.start().open("{}", 1, call(0)).unwrap_err();
    assert_eq!(error.to_string(), "`open` returned an error: in");
    let error = Wat { advance: refuse, ..Wat::default() }.start().advance(0, call(0)).unwrap_err();
    assert_eq!((error.call, error.fault), ("advance", Fault::Returned("in".into())));
}

#[test]
fn a_dead_instance_stays_dead_and_is_never_called() {
    let mut guest = process("(i32.store (i32.const 3000) (i32.const 1)) unreachable");
    guest.world = "stateful";
    let mut instance = guest.start();
    instance.process(0, &rows(1), call(1)).unwrap_err();
    let refused = |result: Result<(), GuestError>, name: &str| {
        let error = result.unwrap_err();
        assert_eq!((error.call, error.fault.kind()), (name, "instance"), "{error}");
        assert!(error.to_string().contains("dead since `process` failed"), "{error}");
    };
    refused(instance.open("{}", 1, call(2)), "open");
    refused(instance.process(0, &rows(1), call(2)).map(drop), "process");
    refused(instance.advance(1, call(2)).map(drop), "advance");
    refused(instance.snapshot(crate::wasm::Scope::Full, 1).map(drop), "snapshot");
    refused(instance.restore(1, &reprise_core::cells::Chunk::new(0)), "restore");
}

#[test]
fn an_input_that_does_not_exist_reaches_no_guest() {
    let mut instance = process("unreachable").start();
    let error = instance.process(1, &rows(1), call(1)).unwrap_err();
    assert_eq!(error.to_string(), "`process` was not called: input 1 does not exist; the description has 1");
    assert!(!instance.is_dead());
}

#[test]
fn a_full_pool_is_told_and_recovers() {
    let runtime = runtime(&Settings { instances_max: 2, ..Settings::default() });
    let component = runtime.load(&process(ECHO).bytes()).unwrap();
    let kept: Vec<Instance> = (0..2).map(|_| start(&component, &limits()).unwrap()).collect();
    let error = start(&component, &limits()).unwrap_err();
    assert_eq!((error.call, error.fault.kind()), ("instantiate", "instance"), "{error}");
    assert!(error.to_string().contains('2'), "{error}");
    drop(kept);
    start(&component, &limits()).unwrap().process(0, &rows(1), call(1)).unwrap();
}

#[test]
fn a_guest_that_cannot_start_is_told() {
    let memory = |pages| Wat { memory: format!("(memory (export \"memory\") {pages})"), ..Wat::default() };
    let error = start(&memory(65).load(), &limits()).unwrap_err();
    assert_eq!((error.call, error.fault), ("instantiate", Fault::Memory { limit: 4 << 20, asked: 65 << 16 }));
    let guest = Wat { more: "(func $main unreachable) (start $main)".into(), ..Wat::default() };
    let error = start(&guest.load(), &limits()).unwrap_err();
    assert_eq!((error.call, error.fault), ("instantiate", Fault::Trap("unreachable executed".into())));
    let error = start(&Wat::default().load(), &Limits { memory_bytes_max: 5 << 30, ..limits() }).unwrap_err();
    assert_eq!(error.fault.kind(), "instance");
}
