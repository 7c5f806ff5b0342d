//! Deadlines count the time of a processor, so that a busy machine fails no job; the wall bounds them all the same. Output that is handed out in
//! pieces buys time, as a snapshot does. Each test measures first what the machine makes of its guest.

use crate::guests::{batch, call, limits, load, open};
use reprise::wasm::{Elapsed, Fault, GuestError, Limits, WALL_FACTOR};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const POISON: (&str, &str) = ("a", "poison");

/// Makes one call with limits. What it came to, and the processor time that it took.
fn called(guest: &str, limits: &Limits, rows: &[(&str, &str)]) -> (Result<(), GuestError>, Duration) {
    let mut instance = open(&load(guest), limits);
    let came = instance.process(0, &batch(rows), call(1)).map(drop);
    (came, instance.take_usage().processor)
}

/// Does something while so many threads for each processor have nothing to do but to turn round.
fn on_a_busy_machine<T>(threads_each: usize, work: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    let threads = threads_each * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        done
    })
}

#[test]
fn output_in_pieces_buys_time_by_the_bytes_that_were_handed_out() {
    let (came, took) = called("piece-by-piece", &Limits { output_bytes_max: 128 << 10, ..limits() }, &[POISON]);
    assert_eq!(came, Ok(()));
    // Ten pieces of 100 KiB: seven full shares of 128 KiB, and no piece takes longer than the deadline itself.
    let deadline = took / 3;
    let paid = Limits { output_bytes_max: 128 << 10, deadline, ..limits() };
    assert_eq!(called("piece-by-piece", &paid, &[POISON]).0, Ok(()));
    let unpaid = Limits { output_bytes_max: 64 << 20, deadline, ..limits() };
    let error = called("piece-by-piece", &unpaid, &[POISON]).0.unwrap_err();
    assert_eq!((error.call, &error.fault), ("resume", &Fault::Deadline { limit: deadline }));
    let reached = error.reached.expect("a missed deadline says how far the call came");
    // The piece of the call itself has little in it.
    assert!((1..10).contains(&reached.pieces) && reached.bytes >= u64::from(reached.pieces - 1) * 100 * 1024, "{reached:?}");
    assert!(error.to_string().contains("of a processor") && error.to_string().contains("of output of"), "{error}");
}

#[test]
fn a_busy_machine_makes_no_call_miss_its_deadline() {
    let rows = [("a", "v"); 8];
    let took = called("slow-rows", &limits(), &rows).1;
    let deadline = took * 3;
    let (came, wall) = on_a_busy_machine(6, || {
        let began = Instant::now();
        let came: Result<(), GuestError> = (0..3).try_for_each(|_| called("slow-rows", &Limits { deadline, ..limits() }, &rows).0);
        (came, began.elapsed() / 3)
    });
    println!("{took:?} of a processor, {wall:?} on the wall, the deadline is {deadline:?}");
    assert_eq!(came, Ok(()));
}

#[test]
fn a_guest_that_never_ends_is_ended_on_a_busy_machine_too() {
    let deadline = Duration::from_millis(50);
    let (came, _) = on_a_busy_machine(4, || called("endless-loop", &Limits { deadline, ..limits() }, &[POISON]));
    let error = came.unwrap_err();
    assert_eq!(error.fault, Fault::Deadline { limit: deadline });
    let Elapsed { wall, processor } = error.reached.expect("it says how far it came").elapsed;
    assert!(processor >= deadline || wall >= deadline * WALL_FACTOR, "ended too early, after {processor:?} and {wall:?}");
    assert!(wall < Duration::from_secs(20), "ended after {wall:?}");
}
