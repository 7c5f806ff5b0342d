//! Logs that cannot be written, signals, limits of the system, and the text of guests on a terminal.

mod components;
mod limits;
mod logs;
mod signals;
mod text;

use crate::support::{Place, Running, guest};
use std::time::{Duration, Instant};

/// How soon a job ends that is asked to, where nothing is in its way. Far more than it takes.
const SOON: Duration = Duration::from_secs(15);

/// `source -> [operator ->] sink`, from the files `in/*` or what `file` says.
fn topology(checkpoint: &str, file: &str, operator: Option<(&str, &str)>) -> String {
    let (input, operator) = match operator {
        Some((name, settings)) => {
            let text = format!("[[operator]]\nname = \"op\"\ncomponent = {:?}\ninput = \"in\"\n{settings}\n", guest(name));
            ("op", text)
        }
        None => ("in", String::new()),
    };
    format!(
        "name = \"rim\"\n[checkpoint]\nstore = \"file:state\"\n{checkpoint}\n\
         [[source]]\nname = \"in\"\nfile = {{ {file} }}\n{operator}\
         [[sink]]\nname = \"out\"\ninput = \"{input}\"\nfile = {{ path = \"out\", format = \"lines\" }}\n"
    )
}

const BOUNDED: &str = "path = \"in/*\", format = \"lines\"";
const FOLLOWED: &str = "path = \"in/*\", format = \"lines\", follow = true, poll = \"20ms\"";

fn numbers(rows: std::ops::Range<usize>) -> String {
    rows.map(|row| format!("{row}\n")).collect()
}

/// Waits for its end, which must come soon. Gives the exit code and what it said.
#[track_caller]
fn ends_soon(running: Running) -> crate::support::Ended {
    let began = Instant::now();
    let ended = running.wait();
    assert!(began.elapsed() < SOON, "it took {:?}: {ended}", began.elapsed());
    ended
}

fn rows(place: &Place) -> usize {
    place.published().len()
}
