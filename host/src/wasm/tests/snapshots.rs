//! Snapshots that lie, that never end, and that are too large.

use super::build::{Wat, call, limits, rows, snapshot, start, words};
use crate::wasm::time_budget::TimeBudget;
use crate::wasm::{CHUNKS_PER_PART_MAX, EMPTY_PARTS_MAX, Fault, GuestError, Instance, Limits, Scope};
use reprise_core::cells::{Cell, Chunk};
use std::time::Duration;

/// Hands out, at every call, one chunk: slot, then address and length of the seven columns. Address 3000 holds `data`.
fn hands_out(done: u32, chunk: [u32; 15], data: &[u32]) -> Wat {
    let mut guest = snapshot("(i32.const 2816)");
    // The result: success, the list of chunks, `done`.
    guest.description = vec![(2816, words(&[0, 2944, 1, done])), (2944, words(&chunk)), (3072, words(data))];
    guest
}

/// One cell: key `k`, no item, value of one byte. Ends of 1 at 3072, of 0 at 3076.
const HONEST: [u32; 15] = [0, 3072, 1, 3072, 1, 3076, 1, 0, 0, 3072, 1, 3072, 1, 0, 0];
const DATA: [u32; 2] = [1, 0];

fn lie(result: Result<impl Sized, GuestError>) -> String {
    match result.map(|_| ()).unwrap_err() {
        GuestError { call: "snapshot", fault: Fault::Lie(how), .. } => how,
        error => panic!("not a lie in a snapshot: {error:?}"),
    }
}

#[test]
fn an_honest_part_is_handed_on() {
    let mut instance = hands_out(1, HONEST, &DATA).start();
    let part = instance.snapshot(Scope::Full, 100).unwrap();
    assert!(part.done);
    let cells: Vec<_> = part.chunks[0].cells().collect();
    assert_eq!(cells, [Cell { key: b"\x01", item: b"", value: Some(b"\x01") }]);
}

#[test]
fn chunks_that_lie_are_refused() {
    let with = |place: usize, value: u32| {
        let mut chunk = HONEST;
        chunk[place] = value;
        lie(hands_out(1, chunk, &DATA).start().snapshot(Scope::Full, 100))
    };
    assert_eq!(with(0, 1), "snapshot chunk: slot 1 does not exist; the description has 1");
    assert!(with(6, 0).contains("column `items` has 0 ends for 1 rows"));
    assert!(with(4, 2).contains("the last end is 1, but there are 2 bytes"));
    assert!(with(12, 4_000_000).contains("out of bounds"));
    let mut removing = HONEST;
    removing[10..].copy_from_slice(&[1, 0, 0, 3076, 1]);
    removing[9] = 3076;
    assert!(lie(hands_out(1, removing, &DATA).start().snapshot(Scope::Full, 100)).contains("cannot remove cells"));
    let part = hands_out(1, removing, &DATA).start().snapshot(Scope::Changes, 100).unwrap();
    assert_eq!(part.chunks[0].cells().next().unwrap().value, None);
}

#[test]
fn a_part_far_over_the_size_asked_for_is_refused() {
    // Two cells, the second with a value of 200 bytes.
    let chunk = [0, 3072, 2, 3072, 2, 3080, 2, 0, 0, 3088, 2, 3072, 200, 0, 0];
    let guest = hands_out(1, chunk, &[1, 2, 0, 0, 0, 200]);
    // Each cell counts 12 bytes for its ends.
    assert!(lie(guest.start().snapshot(Scope::Full, 112)).contains("226 bytes in 2 cells; 112 were asked for"));
    guest.start().snapshot(Scope::Full, 113).unwrap();
    // One cell alone may be larger than what was asked for.
    let chunk = [0, 3072, 1, 3072, 1, 3076, 1, 0, 0, 3080, 1, 3072, 200, 0, 0];
    hands_out(1, chunk, &[1, 0, 200]).start().snapshot(Scope::Full, 10).unwrap();
}

#[test]
fn a_snapshot_that_never_ends_is_ended() {
    let mut instance = hands_out(0, [0; 15], &DATA).start();
    let how = lie(instance.read_snapshot(Scope::Full, 100, &mut drop));
    assert_eq!(how, "the snapshot goes on after 17 parts without a cell");
    assert_eq!(EMPTY_PARTS_MAX, 16);
    assert!(instance.is_dead());
    let limits = Limits { snapshot_bytes_max: 1000, ..limits() };
    let mut instance = start(&hands_out(0, HONEST, &DATA).load(), &limits).unwrap();
    assert_eq!(
        lie(instance.read_snapshot(Scope::Full, 100, &mut drop)),
        "the snapshot is over the limit of 1000 bytes (`limits.snapshot` of the operator)"
    );
    // A cell of 14 bytes a part.
    assert_eq!(instance.take_usage().calls, 72);
}

#[test]
fn a_part_of_too_many_chunks_is_refused() {
    let part = |count| {
        let mut guest = snapshot("(i32.const 2816)");
        guest.memory = "(memory (export \"memory\") 8)".to_owned();
        // Chunks of zeros: slot 0, no cell.
        guest.description = vec![(2816, words(&[0, 131_072, count, 1]))];
        guest.start().snapshot(Scope::Full, 100)
    };
    assert_eq!(CHUNKS_PER_PART_MAX, 4096);
    assert!(part(4096).unwrap().chunks.is_empty());
    assert_eq!(lie(part(4097)), "4097 chunks in one part of a snapshot; at most 4096 are allowed");
}

#[test]
fn cells_that_come_one_by_one_are_handed_on_together() {
    let mut guest = hands_out(0, HONEST, &DATA);
    guest.snapshot = counted("", 5000);
    let mut chunks = Vec::new();
    let size = guest.start().read_snapshot(Scope::Full, 100, &mut |chunk| chunks.push(chunk)).unwrap();
    assert_eq!((size.parts, size.cells, size.bytes), (5000, 5000, 10_000));
    assert_eq!(chunks.iter().map(Chunk::len).collect::<Vec<_>>(), [(64 << 10) / 14, 5000 - (64 << 10) / 14]);
}

/// Does something and hands out a part, the last of so many.
fn counted(what: &str, parts: u32) -> String {
    format!(
        "{what}
        (i32.store (i32.const 2832) (i32.add (i32.load (i32.const 2832)) (i32.const 1)))
        (i32.store (i32.const 2828) (i32.eq (i32.load (i32.const 2832)) (i32.const {parts})))
        (i32.const 2816)"
    )
}

/// Keeps busy for so many rounds.
fn rounds(count: u32) -> String {
    format!(
        "(local $i i32)
        (loop $again (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))"
    )
}

fn start_within(guest: &Wat, deadline: Duration) -> Instance {
    start(&guest.load(), &Limits { deadline, ..limits() }).unwrap()
}

#[test]
fn small_parts_have_one_deadline_together() {
    // A million rounds a part are far below the deadline; a million parts of them are far above.
    let mut guest = hands_out(0, HONEST, &DATA);
    guest.snapshot = counted(&rounds(1_000_000), u32::MAX);
    let deadline = Duration::from_millis(100);
    let mut instance = start_within(&guest, deadline);
    let error = instance.read_snapshot(Scope::Full, 64 << 10, &mut drop).unwrap_err();
    assert_eq!((error.call, error.fault), ("snapshot", Fault::Deadline { limit: deadline }));
    assert!(instance.is_dead());
}

#[test]
fn full_parts_and_large_chunks_buy_a_deadline_each() {
    let deadline = Duration::from_secs(60);
    let mut guest = hands_out(0, HONEST, &DATA);
    guest.snapshot = counted("", 1000);
    let mut instance = start_within(&guest, deadline);
    // A cell of 14 bytes a part.
    let mut reading = instance.begin_snapshot(Scope::Full, 100);
    assert!(instance.read_on(&mut reading, &|| false, &mut drop).unwrap());
    assert_eq!(reading.budget.all(), 141 * deadline);
    let mut chunk = Chunk::new(0);
    chunk.push(Cell { key: b"k", item: b"", value: Some(b"v") }).unwrap();
    let mut budget = TimeBudget::new(deadline, 100);
    snapshot("(global.get $zeros)").start().restore_within(&mut budget, (0..1000).map(|_| (1, &chunk))).unwrap();
    assert_eq!(budget.all(), 141 * deadline);
}

#[test]
fn a_snapshot_that_is_read_with_pauses_is_the_same() {
    let read = |every| {
        let mut guest = hands_out(0, HONEST, &DATA);
        guest.snapshot = counted("", 5000);
        let mut instance = guest.start();
        let mut reading = instance.begin_snapshot(Scope::Full, 100);
        let (mut chunks, mut pauses, asked) = (Vec::new(), 0, std::cell::Cell::new(0));
        let is_time = || asked.replace(asked.get() + 1) % every == every - 1;
        while !instance.read_on(&mut reading, &is_time, &mut |chunk| chunks.push(chunk)).unwrap() {
            pauses += 1;
        }
        (chunks, pauses, instance.take_usage().calls)
    };
    let (at_once, none, calls) = read(u32::MAX);
    assert_eq!((none, calls), (0, 5000));
    assert_eq!(read(1), (at_once.clone(), 4999, 5000));
    assert_eq!(read(7), (at_once, 4999 / 7, 5000));
}

#[test]
fn limits_of_a_snapshot_count_over_pauses() {
    let mut instance = hands_out(0, [0; 15], &DATA).start();
    let mut reading = instance.begin_snapshot(Scope::Full, 100);
    let how = lie((0..100).find_map(|_| instance.read_on(&mut reading, &|| true, &mut drop).err()).map_or(Ok(()), Err));
    assert_eq!(how, "the snapshot goes on after 17 parts without a cell");
    let mut guest = hands_out(0, HONEST, &DATA);
    guest.snapshot = counted(&rounds(1_000_000), u32::MAX);
    let deadline = Duration::from_millis(100);
    let mut instance = start_within(&guest, deadline);
    let mut reading = instance.begin_snapshot(Scope::Full, 64 << 10);
    let error = (0..u32::MAX).find_map(|_| instance.read_on(&mut reading, &|| true, &mut drop).err());
    assert_eq!(error.map(|error| error.fault), Some(Fault::Deadline { limit: deadline }));
}

#[test]
fn small_chunks_are_restored_within_one_deadline_together() {
    let mut guest = snapshot("(global.get $zeros)");
    guest.restore = format!("{} (global.set $top (i32.const 65536)) (global.get $zeros)", rounds(1_000_000));
    let mut chunk = Chunk::new(0);
    chunk.push(Cell { key: b"k", item: b"", value: Some(b"v") }).unwrap();
    let deadline = Duration::from_millis(100);
    let error = start_within(&guest, deadline).restore_all((0..u32::MAX).map(|_| (1, &chunk))).unwrap_err();
    assert_eq!((error.call, error.fault), ("restore", Fault::Deadline { limit: deadline }));
}

#[test]
fn a_component_without_state_has_an_empty_snapshot_and_takes_none() {
    let mut instance = Wat::default().start();
    let size = instance.read_snapshot(Scope::Full, 100, &mut |_| panic!("a chunk")).unwrap();
    assert_eq!(size.cells, 0);
    assert_eq!(instance.restore(1, &Chunk::new(0)).unwrap_err().to_string(), "`restore` was not called: the component keeps no state");
    instance.process(0, &rows(1), call(1)).unwrap();
}

#[test]
fn cells_of_an_unknown_slot_reach_no_guest() {
    let mut instance = snapshot("(global.get $zeros)").start();
    let error = instance.restore(1, &Chunk::new(1)).unwrap_err();
    assert_eq!(error.to_string(), "`restore` was not called: slot 1 does not exist; the description has 1");
    instance.restore(1, &Chunk::new(0)).unwrap();
}

#[test]
fn a_guest_may_refuse_what_it_is_to_restore() {
    let mut guest = snapshot("(global.get $zeros)");
    guest.restore = "(call $failure (i32.const 1280) (i32.const 2))".into();
    let error = guest.start().restore(1, &Chunk::new(0)).unwrap_err();
    assert_eq!((error.call, error.fault), ("restore", Fault::Returned("in".into())));
}

#[test]
fn the_guest_is_told_which_version_wrote_the_cells() {
    let mut guest = snapshot("(global.get $zeros)");
    guest.restore = "(if (i32.ne (local.get 0) (i32.const 7)) (then unreachable)) (global.get $zeros)".into();
    let mut instance = guest.start();
    instance.restore(7, &Chunk::new(0)).unwrap();
    assert_eq!(instance.restore(6, &Chunk::new(0)).unwrap_err().fault.kind(), "trap");
}
