//! Hosts of one job that are killed at random moments, frozen and replaced, or started together, on whatever store the place has.

use super::{events, of_kind, rows_checkpointed};
use crate::support::{Counting, Ended, Input, Place, Running};
use rand::RngExt;
use rand::rngs::StdRng;
use std::fmt;
use std::time::Duration;

/// What SIGKILL reports.
const SIGKILL: i32 = 9;
/// Small steps, so that a run takes some seconds and has some dozens of checkpoints.
const SLOW: &str = "steps-ahead = 1\nbatch-rows = 64";
/// Time between two checkpoints, where nothing else is said.
pub const INTERVAL_MS: u64 = 50;
/// Within this time after its start a process is loading its components and taking up its state.
const STARTING_US: u64 = 60_000;

/// Rows at the end that no kill aims at, so that the last one does not come too late.
const RESERVE_ROWS: u64 = 250_000;

/// A job of small steps.
pub fn slow() -> Counting {
    Counting { flow: SLOW, ..Counting::default() }
}

/// Starts a host of the job in this place.
pub fn start(place: &Place, workers: u32) -> Running {
    place.start(&["run", "job.toml", "--workers", &workers.to_string(), "--log", "json"])
}

/// Runs until the newest checkpoint has at least so many rows, and a little further; then kills. `None` where it ended before.
pub fn killed_at(place: &Place, workers: u32, rows: u64, further: Duration) -> Option<Ended> {
    let mut running = start(place, workers);
    if rows > 0 {
        running.reaches("a checkpoint", |running| rows_checkpointed(&running.told()) >= rows);
    }
    killed_after(running, further)
}

fn killed_after(mut running: Running, further: Duration) -> Option<Ended> {
    std::thread::sleep(further);
    running.kill();
    let ended = running.wait();
    (ended.signal() == Some(SIGKILL)).then_some(ended)
}

fn has_taken_up(told: &str) -> bool {
    !of_kind(&events(told), "started").is_empty()
}

/// Where kills fell, counted.
#[derive(Default)]
pub struct Fell {
    /// Before the run had taken over and read its state.
    pub before_start: u64,
    /// After that, and before a checkpoint of the run's own.
    pub before_checkpoint: u64,
    /// After checkpoints of its own.
    pub after_checkpoint: u64,
}

impl fmt::Display for Fell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before_start, before_checkpoint, after_checkpoint } = self;
        write!(
            f,
            "{before_start} kills fell before the run had taken up, {before_checkpoint} before its first checkpoint, {after_checkpoint} \
             after checkpoints of its own"
        )
    }
}

/// Kills runs of a place at random moments: one in eight while it starts, the others after it has taken up and made a random amount of
/// progress. The kills are spread over the whole input; where the runs are ahead, the next ones are killed before they get any further.
#[track_caller]
pub fn kill_again_and_again(place: &Place, times: u64, rows: u64, random: &mut StdRng) -> Fell {
    let rows = rows - RESERVE_ROWS.min(rows / 2);
    let (mut reached, mut fell) = (0, Fell::default());
    for kill in 1..=times {
        // Drawn in any case, so that one seed draws the same moments whatever the speed.
        let (is_early, share, moment): (bool, f64, f64) = (random.random_ratio(1, 8), random.random(), random.random());
        let within = |us: u64| Duration::from_micros((us as f64 * moment) as u64);
        let ended = if is_early {
            killed_after(start(place, 2), within(STARTING_US))
        } else {
            let due = rows * kill / times;
            let target = if reached < due { reached + ((due - reached) as f64 * share) as u64 } else { 0 };
            let mut running = start(place, 2);
            running.reaches("the take-over", |running| has_taken_up(&running.told()));
            running.reaches("a checkpoint", |running| target == 0 || rows_checkpointed(&running.told()) >= target);
            killed_after(running, within(if target == 0 { INTERVAL_MS * 500 } else { INTERVAL_MS * 1_000 }))
        };
        let ended = ended.unwrap_or_else(|| panic!("the job ended before kill {kill} of {times}, at {reached} of {rows} rows"));
        let own = rows_checkpointed(&ended.stderr);
        reached = reached.max(own);
        match (has_taken_up(&ended.stderr), own) {
            (false, _) => fell.before_start += 1,
            (true, 0) => fell.before_checkpoint += 1,
            (true, _) => fell.after_checkpoint += 1,
        }
    }
    println!("{fell}; {reached} rows were in checkpoints");
    assert!(fell.before_start < times / 3, "too many kills came too early to show anything: {fell}");
    assert!(fell.after_checkpoint > times / 5, "too few runs got as far as a checkpoint: {fell}");
    fell
}

/// Stops a host of the job with SIGSTOP, starts another one that goes on, and lets the first one go on too; so many times.
#[track_caller]
pub fn freeze_and_replace(place: &Place, input: &Input, times: u64) {
    let rows = input.counted.len() as u64;
    let mut running = start(place, 2);
    for round in 1..=times {
        let had = round * rows / (2 * times);
        running.wait_until("some checkpoints", |running| rows_checkpointed(&running.told()) >= had);
        running.signal("STOP");
        let mut next = start(place, 2);
        next.wait_until("a checkpoint of the new host", |next| rows_checkpointed(&next.told()) > had);
        let before = place.published();
        running.signal("CONT");
        let ended = running.wait();
        assert_eq!(ended.code(), Some(5), "{ended}");
        assert!(place.published().len() >= before.len(), "the frozen host took back what its successor had published");
        running = next;
    }
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    place.published().assert_equals(&input.counted, "after frozen hosts");
    place.assert_counts_in_order();
}

/// Starts two hosts of the job at the same moment. One of them finishes it.
#[track_caller]
pub fn start_two(place: &Place, input: &Input) {
    let hosts = [start(place, 1), start(place, 1)];
    let [one, other] = hosts.map(Running::wait);
    // The other one is fenced off; where the first has ended before the second began, there is nothing left to do.
    let codes = (one.code(), other.code());
    assert!(matches!(codes, (Some(0), Some(5 | 0)) | (Some(5), Some(0))), "{one}\n{other}");
    place.published().assert_equals(&input.counted, "after a race");
    place.assert_counts_in_order();
}
