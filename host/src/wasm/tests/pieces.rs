//! Output that is handed out in pieces: it is one output, of one call, under the limits of one call.

use super::build::{Wat, call, limits, process, rows, start};
use super::calls::ECHO;
use crate::wasm::{Fault, GuestError, Limits, PIECES_MAX};
use std::time::Duration;

/// Echoes rows, and says that there is more; `resume` has this body. `$again` is the batch that was echoed, `$left` counts down from 3.
fn echoes_and(resume: &str) -> Wat {
    let mut guest = process(&format!("(global.set $left (i32.const 3)) (call $more {ECHO})"));
    guest.resume = resume.to_owned();
    guest.more = "(global $again i32 (i32.const 2112)) (global $left (mut i32) (i32.const 3))".to_owned();
    guest
}

/// The same batch three times, at the time of the call.
const THRICE: &str = "(if (i64.ne (call $now) (i64.const 1000)) (then unreachable))
    (global.set $left (i32.sub (global.get $left) (i32.const 1)))
    (call $answer (global.get $again) (i32.const 1) (i32.ne (global.get $left) (i32.const 0)) (i32.const 0))";
/// The same batch again, for ever.
const FOR_EVER: &str = "(call $answer (global.get $again) (i32.const 1) (i32.const 1) (i32.const 0))";
/// No rows, for ever.
const EMPTY_FOR_EVER: &str = "(call $answer (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))";

fn fail(guest: &Wat, limits: &Limits) -> GuestError {
    let mut instance = start(&guest.load(), limits).unwrap();
    let error = instance.process(0, &rows(2), call(1)).unwrap_err();
    assert!(instance.is_dead());
    assert_eq!(error.call, "resume", "{error}");
    error
}

#[test]
fn pieces_make_up_one_output() {
    let mut guest = echoes_and(THRICE);
    let mut instance = guest.start();
    for count in [1, 100] {
        let outcome = instance.process(0, &rows(count), call(1)).unwrap();
        assert_eq!(outcome.outputs, [const { 0 }; 4].map(|port| (port, rows(count))));
    }
    guest.advance = "(global.set $left (i32.const 2)) (call $answer (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))".to_owned();
    guest.process = ECHO.to_owned();
    let mut instance = guest.start();
    instance.process(0, &rows(3), call(1)).unwrap();
    assert_eq!(instance.advance(5, call(2)).unwrap(), [(0, rows(3)), (0, rows(3))], "the first piece may be empty");
}

#[test]
fn rejections_come_with_the_first_piece() {
    let mut guest = echoes_and(THRICE);
    guest.process = format!("(drop {ECHO}) (call $more (call $answer (i32.const 0) (i32.const 0) (i32.const 3000) (i32.const 1)))");
    guest.more += r#"(data (i32.const 3000) "\01\00\00\00\00\0c\00\00\03\00\00\00") (data (i32.const 3072) "bad")"#;
    let outcome = guest.start().process(0, &rows(2), call(1)).unwrap();
    assert_eq!((outcome.outputs.len(), outcome.rejected.len()), (3, 1));
}

#[test]
fn output_without_end_is_ended() {
    let error = fail(&echoes_and(FOR_EVER), &limits());
    assert_eq!(error.to_string(), "`resume` broke the contract: the output of `process` goes on after 65536 pieces");
    assert_eq!(PIECES_MAX, 65_536);
    let error = fail(&echoes_and(EMPTY_FOR_EVER), &limits());
    assert_eq!(error.to_string(), "`resume` broke the contract: the output of `process` goes on after 17 pieces without a row");
}

#[test]
fn all_pieces_together_have_a_limit_and_each_has_its_own() {
    // Two rows take 40 bytes, and their batch 256.
    let limits = |piece, all| Limits { output_bytes_max: piece, call_output_bytes_max: all, ..limits() };
    let mut instance = start(&echoes_and(THRICE).load(), &limits(40, 4 * 296)).unwrap();
    assert_eq!(instance.process(0, &rows(2), call(1)).unwrap().outputs.len(), 4);
    let error = fail(&echoes_and(THRICE), &limits(40, 4 * 296 - 1));
    assert_eq!(
        error.fault,
        Fault::Lie("the output of `process` is over the limit of 1183 bytes in all (`limits.call-output` of the operator)".into())
    );
    let two = "(call $answer (i32.const 8192) (i32.const 2) (i32.const 0) (i32.const 0))";
    let mut guest = echoes_and(&format!(
        "(memory.copy (i32.const 8192) (global.get $again) (i32.const 44)) (memory.copy (i32.const 8236) (global.get $again) (i32.const 44)) {two}"
    ));
    assert_eq!(
        fail(&guest, &limits(79, 10_000)).fault,
        Fault::Lie("output over the limit of 79 bytes (`output-max` of the operator)".into())
    );
    guest.open = "(if (i32.ne (local.get 4) (i32.const 79)) (then unreachable)) (global.get $zeros)".to_owned();
    start(&guest.load(), &limits(79, 10_000)).unwrap().open("{}", 1, call(0)).unwrap();
}

#[test]
fn a_piece_that_fails_takes_the_whole_call_with_it() {
    assert_eq!(fail(&echoes_and("unreachable"), &limits()).fault, Fault::Trap("unreachable executed".into()));
    let refuse = "(call $failure (i32.const 1280) (i32.const 2))";
    assert_eq!(fail(&echoes_and(refuse), &limits()).to_string(), "`resume` returned an error: in");
    let wrong_port = format!("(i32.store (global.get $again) (i32.const 9)) {FOR_EVER}");
    assert_eq!(fail(&echoes_and(&wrong_port), &limits()).fault, Fault::Lie("output port 9 does not exist; the description has 1".into()));
}

#[test]
fn the_deadline_is_that_of_the_whole_call() {
    // A million rounds a piece are far below the deadline; 65,536 pieces of them are far above.
    let slow = format!(
        "(local $i i32)
        (loop $again (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const 1000000))))
        {FOR_EVER}"
    );
    let deadline = Duration::from_millis(100);
    assert_eq!(fail(&echoes_and(&slow), &Limits { deadline, ..limits() }).fault, Fault::Deadline { limit: deadline });
}
