//! Sinks of real processes under SIGKILL: objects, and output that is visible at once.

use super::moments::{kill_again_and_again, slow, start};
use super::rows_checkpointed;
use crate::support::{Counting, Input, Place, files_below};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;

const ROWS: usize = 600_000;

#[test]
fn objects_of_a_job_that_is_killed_are_those_of_an_undisturbed_run() {
    let input = Input::new(31, ROWS, 20_000, |_| "1".to_owned());
    let sink = "objects = { url = \"file:./out\", format = \"csv\", part-bytes = \"64KiB\" }";
    let place = Counting { sink, ..slow() }.place(&input.text);
    kill_again_and_again(&place, 12, ROWS as u64, &mut StdRng::seed_from_u64(31));
    let last = place.finish(2);
    assert!(last.stderr.contains("takes up again from checkpoint"), "{last}");
    place.published().assert_equals(&input.counted, "after 12 kills");
    let files = files_below(&place.path("out"));
    assert!(files.iter().all(|file| file.to_string_lossy().ends_with(".csv")), "{files:?}");
    assert_eq!(files_below(&place.path("out/.reprise/counts/staged")).len(), unfinished(&place), "all that was staged is published");
    place.finish(2);
    assert_eq!(files_below(&place.path("out")), files, "a second run of the finished job");
}

#[test]
fn a_host_that_froze_and_was_replaced_adds_no_objects() {
    let input = Input::new(32, ROWS, 20_000, |_| "1".to_owned());
    let place = Counting { sink: "objects = { url = \"file:./out\", format = \"csv\" }", ..slow() }.place(&input.text);
    let mut running = start(&place, 2);
    for round in 1..=4 {
        let had = round * ROWS as u64 / 8;
        running.wait_until("some checkpoints", |running| rows_checkpointed(&running.told()) >= had);
        running.signal("STOP");
        let mut next = start(&place, 2);
        next.wait_until("a checkpoint of the new host", |next| rows_checkpointed(&next.told()) > had);
        running.signal("CONT");
        let ended = running.wait();
        assert_eq!(ended.code(), Some(5), "{ended}");
        running = next;
    }
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    place.published().assert_equals(&input.counted, "after four frozen hosts");
}

/// Staged objects that a kill left half written; they are never read.
fn unfinished(place: &Place) -> usize {
    let files = files_below(&place.path("out/.reprise/counts/staged"));
    files.iter().filter(|file| file.to_string_lossy().contains('#')).count()
}

/// Whole rows in visible files, and how often each is there. A kill may cut the last row of a file, and leave a file that no name is
/// given to yet.
fn shown(place: &Place) -> BTreeMap<Vec<u8>, usize> {
    let mut rows = BTreeMap::new();
    for file in files_below(&place.path("out")).into_iter().filter(|file| !file.to_string_lossy().contains('#')) {
        let bytes = std::fs::read(file).expect("it was listed");
        for line in bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            *rows.entry(line.to_vec()).or_default() += 1;
        }
    }
    rows
}

#[test]
fn immediate_output_of_a_job_that_is_killed_lacks_nothing() {
    let sinks = [
        "delivery = \"immediate\"\nfile = { path = \"out\", format = \"csv\" }",
        "delivery = \"immediate\"\nobjects = { url = \"file:./out\", format = \"csv\", part-bytes = \"64KiB\" }",
    ];
    for (seed, sink) in (41..).zip(sinks) {
        let input = Input::new(seed, ROWS, 20_000, |_| "1".to_owned());
        let place = Counting { sink, ..slow() }.place(&input.text);
        kill_again_and_again(&place, 6, ROWS as u64, &mut StdRng::seed_from_u64(seed));
        let last = place.finish(2);
        assert!(last.stderr.contains("shows rows at once"), "{last}");
        let shown = shown(&place);
        let mut expected = BTreeMap::<Vec<u8>, usize>::new();
        input.counted.iter().for_each(|row| *expected.entry(row.to_vec()).or_default() += 1);
        let lost = expected.iter().find(|(row, count)| shown.get(*row).is_none_or(|there| there < count));
        assert!(lost.is_none(), "{sink}: lost {:?}", lost.map(|(row, _)| String::from_utf8_lossy(row)));
        let foreign = shown.keys().find(|row| !expected.contains_key(*row));
        assert!(foreign.is_none(), "{sink}: nobody wrote {:?}", foreign.map(|row| String::from_utf8_lossy(row)));
    }
}
