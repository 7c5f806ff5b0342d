//! Processes that are killed or asked to stop, and taken up again.

use super::moments::{INTERVAL_MS, freeze_and_replace, kill_again_and_again, killed_at, slow, start, start_two};
use super::{of_kind, rows_checkpointed};
use crate::support::{Counting, Input, Lines};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The seed of the moments, unless `REPRISE_SEED` is set to another one.
const SEED: u64 = 25;

#[test]
fn killed_100_times_the_output_is_that_of_an_undisturbed_run() {
    const ROWS: usize = 1_500_000;
    const KILLS: u64 = 100;
    let seed = std::env::var("REPRISE_SEED").map_or(SEED, |seed| seed.parse().expect("REPRISE_SEED is a number"));
    println!("REPRISE_SEED={seed} draws the same moments again");
    let input = Input::new(seed, ROWS, 50_000, |row| (row % 1_000).to_string());
    let topology = Counting { checkpoint: "interval = \"20ms\"", ..slow() };

    let undisturbed = topology.place(&input.text);
    undisturbed.finish(2);
    let expected = undisturbed.published();
    expected.assert_equals(&input.counted, "the undisturbed run");

    let place = topology.place(&input.text);
    kill_again_and_again(&place, KILLS, ROWS as u64, &mut StdRng::seed_from_u64(seed));
    let last = place.finish(2);
    assert!(last.stderr.contains("takes up again from checkpoint"), "{last}");
    place.published().assert_equals(&expected, "after 100 kills");
    place.assert_counts_in_order();

    let files = crate::support::files_below(&place.path("out"));
    let again = place.finish(2);
    assert!(again.stderr.contains("finished already"), "{again}");
    assert_eq!(crate::support::files_below(&place.path("out")), files, "a second run of the finished job");
    place.published().assert_equals(&expected, "after a second run of the finished job");
}

#[test]
fn killed_with_several_instances_on_each_worker_the_output_is_that_of_an_undisturbed_run() {
    const ROWS: usize = 400_000;
    let input = Input::new(4, ROWS, 20_000, |row| (row % 1_000).to_string());
    let place = Counting { checkpoint: "interval = \"20ms\"", operator: "parallelism = 6", ..slow() }.place(&input.text);
    kill_again_and_again(&place, 20, ROWS as u64, &mut StdRng::seed_from_u64(4));
    place.finish(2);
    place.published().assert_equals(&input.counted, "after 20 kills");
    place.assert_counts_in_order();
}

#[test]
fn what_readers_see_at_any_moment_is_a_part_of_the_output() {
    let input = Input::new(2, 300_000, 1_000, |_| "1".to_owned());
    let place = slow().place(&input.text);
    let mut random = StdRng::seed_from_u64(2);
    for _ in 0..5 {
        // The job may end before: then all of the output is looked at.
        drop(killed_at(&place, 2, random.random_range(0..100_000), Duration::from_millis(random.random_range(0..INTERVAL_MS))));
        assert_part(&place.published(), &input.counted);
    }
    place.finish(2);
    place.published().assert_equals(&input.counted, "in the end");
}

/// Every line of `part` is in `whole`, as often.
#[track_caller]
fn assert_part(part: &Lines, whole: &Lines) {
    let mut rest = whole.iter();
    for line in part.iter() {
        assert!(rest.any(|other| other == line), "published, but wrong or doubled: {}", String::from_utf8_lossy(line));
    }
}

#[test]
fn ctrl_c_makes_a_last_checkpoint() {
    const ROWS: u64 = 500_000;
    let input = Input::new(3, ROWS as usize, 10_000, |_| "1".to_owned());
    let place = slow().place(&input.text);
    for signal in ["INT", "TERM"] {
        let mut running = start(&place, 2);
        running.wait_until("a checkpoint", |running| rows_checkpointed(&running.told()) > 0);
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code(), Some(0), "{ended}");
        let events = ended.events();
        let last = of_kind(&events, "checkpoint").last().unwrap()["rows"].as_u64().unwrap();
        assert!(last < ROWS, "the signal came too late to show anything: {ended}");
        assert!(of_kind(&events, "end")[0]["text"].as_str().unwrap().contains("stopped as asked"), "{ended}");
        assert_eq!(place.published().len() as u64, last, "all that was read is in the last checkpoint, and published");
        assert_part(&place.published(), &input.counted);
    }
    let ended = place.finish(2);
    assert!(ended.stderr.contains("takes up again from checkpoint"), "{ended}");
    place.published().assert_equals(&input.counted, "after two stops");
}

#[test]
fn a_host_that_froze_and_was_replaced_publishes_nothing_more() {
    let input = Input::new(8, 600_000, 10_000, |_| "1".to_owned());
    freeze_and_replace(&slow().place(&input.text), &input, 4);
}

#[test]
fn of_two_hosts_that_start_together_one_goes_on() {
    let input = Input::new(9, 200_000, 10_000, |_| "1".to_owned());
    for _ in 0..5 {
        start_two(&slow().place(&input.text), &input);
    }
}

#[test]
fn another_number_of_workers_takes_up_what_a_killed_run_left() {
    const ROWS: u64 = 600_000;
    let input = Input::new(4, ROWS as usize, 20_000, |_| "1".to_owned());
    let place = slow().place(&input.text);
    for (workers, rows) in [(2, ROWS / 6), (3, ROWS / 3), (1, ROWS / 2), (4, 2 * ROWS / 3)] {
        let ended = killed_at(&place, workers, rows, Duration::from_millis(20));
        let ended = ended.unwrap_or_else(|| panic!("the job ended before it was killed at {rows} rows"));
        assert!(rows_checkpointed(&ended.stderr) >= rows, "{ended}");
    }
    place.finish(1);
    place.published().assert_equals(&input.counted, "after runs with 2, 3, 1, 4 and 1 workers");
}

#[test]
fn a_run_that_takes_up_does_not_read_again_what_is_in_its_checkpoint() {
    const ROWS: u64 = 400_000;
    let input = Input::new(5, ROWS as usize, 1_000, |_| "1".to_owned());
    let place = slow().place(&input.text);
    let killed = killed_at(&place, 2, ROWS / 4, Duration::ZERO).expect("it is killed long before its end");
    let known = rows_checkpointed(&killed.stderr);
    let ended = start(&place, 2).wait();
    let events = ended.events();
    let status = &of_kind(&events, "end")[0]["status"];
    assert!(status["rows_in"].as_u64().unwrap() <= ROWS - known, "{known} rows were in a checkpoint: {status}");
    assert_eq!(status["rows_checkpointed"], ROWS, "{status}");
}

#[test]
fn totals_at_the_end_of_the_input_survive_a_kill_after_some_instances_have_ended() {
    const ROWS: u64 = 300_000;
    let input = Input::new(6, ROWS as usize, 100, |row| (row % 10).to_string());
    // One split: one instance of the source reads everything, the other one ends at once.
    let topology = Counting { counter: "count-sum", source: "split = \"64MiB\"", ..slow() };
    let undisturbed = topology.place(&input.text);
    undisturbed.finish(2);
    let expected = undisturbed.published();
    assert_eq!(expected.len(), 100);

    let place = topology.place(&input.text);
    for rows in [ROWS / 4, ROWS / 2] {
        let ended = killed_at(&place, 2, rows, Duration::ZERO).expect("it is killed long before its end");
        assert!(rows_checkpointed(&ended.stderr) >= rows, "{ended}");
    }
    place.finish(2);
    place.published().assert_equals(&expected, "totals after two kills");
}
