//! Sinks in real processes: whose output a folder holds, jobs that would read what they write, outputs that take no more, things in the
//! output folder that are nobody's.

mod foreign;
mod lives;
mod overlaps;
mod trouble;

use crate::support::{Counting, Ended, Input, Place};

/// Rows of a job that is stopped somewhere in the middle.
const ROWS: usize = 60_000;

/// A slow job, so that it can be stopped in the middle, with its input.
fn slow(sink: &'static str) -> (Counting, Input) {
    let flow = "steps-ahead = 1\nbatch-rows = 256";
    let counting = Counting { sink, flow, checkpoint: "interval = \"20ms\"\nkeep = 3", ..Counting::default() };
    (counting, Input::new(51, ROWS, 500, |_| "1".to_owned()))
}

/// Runs until some output is visible, and stops with a last checkpoint.
fn stopped_in_the_middle(place: &Place, arguments: &[&str]) -> Ended {
    let mut command = vec!["run", "job.toml", "--workers", "2"];
    command.extend(arguments);
    let mut running = place.start(&command);
    running.wait_until("some output", |_| place.published().len() > 0);
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(place.published().len() < ROWS, "nothing is left to do");
    ended
}

/// A run that is refused with exit code 7, with these texts.
#[track_caller]
fn refused(place: &Place, texts: &[&str]) -> Ended {
    let ended = place.run(&["run", "job.toml", "--workers", "2"]);
    assert_eq!(ended.code(), Some(7), "{ended}");
    for text in texts {
        assert!(ended.stderr.contains(text), "the message lacks `{text}`: {ended}");
    }
    ended
}
