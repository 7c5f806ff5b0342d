//! Snapshots that lie, that never end, and that are too large.

use super::build::{Wat, call, limits, rows, snapshot, start, words};
use crate::wasm::{EMPTY_PARTS_MAX, Fault, GuestError, Limits, Scope};
use reprise_core::cells::{Cell, Chunk};

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
    let mut cells = 0;
    let how = lie(instance.read_snapshot(Scope::Full, 100, &mut |chunk| cells += chunk.len()));
    assert_eq!((how.as_str(), cells), ("the snapshot goes on after 17 parts without a cell", 0));
    assert_eq!(EMPTY_PARTS_MAX, 16);
    assert!(instance.is_dead());
    let limits = Limits { snapshot_bytes_max: 1000, ..limits() };
    let mut instance = start(&hands_out(0, HONEST, &DATA).load(), &limits).unwrap();
    let how = lie(instance.read_snapshot(Scope::Full, 100, &mut |chunk| cells += chunk.len()));
    assert_eq!((how.as_str(), cells), ("the snapshot is over the limit of 1000 bytes", 72));
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
