//! What an operator takes of the time of its worker: a neighbour there gets its turns, whatever the operator does.

use super::jobs::{Folder, Then, Topology, running_counts};
use reprise::engine::{Control, Event, NodeCounters};
use reprise::job::{Ending, Notice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROWS: usize = 320;
const BATCH: u32 = 16;

/// One worker. The rows are there at once; each batch of them is so large that it is a call of its own.
struct Job {
    folder: Folder,
    control: Mutex<Option<Arc<Control>>>,
}

impl Job {
    fn new((operator, settings): (&str, &str), neighbour: &str, lines: impl Iterator<Item = String>) -> Self {
        let topology = Topology::on_request(BATCH).in_parts().ahead(64).source("lines", "", false);
        let (by_key, patient) = (r#"{ from = "parse", by = "key" }"#, "deadline = \"60s\"");
        let topology = topology.operator("parse", "parse-text", "\"lines\"").operator_set("operator", operator, by_key, settings);
        let topology = topology.operator_set("neighbour", neighbour, by_key, patient);
        let folder = Folder::new(&topology.sink("out-operator", "\"operator\"").sink("out", "\"neighbour\""));
        folder.feed("lines", "all", lines);
        Self { folder, control: Mutex::default() }
    }

    fn counters<T>(&self, look: impl FnOnce(&NodeCounters, &NodeCounters) -> T) -> Option<T> {
        let control = self.control.lock().unwrap();
        control.as_ref().map(|control| look(&control.operators[1], &control.operators[2]))
    }

    fn run(&self, mut on: impl FnMut(&Notice) + Send) {
        let run = self.folder.run_with(1, |notice| {
            if let Notice::Started { control, .. } = notice {
                *self.control.lock().unwrap() = Some(Arc::clone(control));
            }
            on(notice);
            Then::GoOn
        });
        run.expect(Ending::Finished);
    }

    /// Runs to the end, and looks at the operator and its neighbour all the while.
    fn watch(&self, mut look: impl FnMut(&NodeCounters, &NodeCounters) + Send) {
        let is_over = AtomicBool::new(false);
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    self.counters(&mut look);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let ran = scope.spawn(|| self.run(|_| ())).join();
            is_over.store(true, Ordering::Relaxed);
            ran
        });
        ran.unwrap();
    }
}

/// Lines with so many keys and values of 10 kB.
fn lines(keys: usize) -> impl Iterator<Item = String> {
    (0..ROWS).map(move |row| format!("k{},{},7", row % keys, "v".repeat(10_000)))
}

fn rows_in(counters: &NodeCounters) -> u64 {
    counters.rows_in.load(Ordering::Relaxed)
}

#[test]
fn a_neighbour_gets_its_turn_after_each_call_that_takes_long() {
    let job = Job::new(("slow-rows", "deadline = \"60s\""), "running-count", lines(10));
    let mut most = 0;
    job.watch(|operator, neighbour| {
        let of_operator = rows_in(operator);
        most = most.max(of_operator.saturating_sub(rows_in(neighbour)));
    });
    assert!(most <= 2 * u64::from(BATCH), "the operator was {most} rows ahead");
}

#[test]
fn a_neighbour_gets_its_turn_between_the_parts_of_a_snapshot() {
    let job = Job::new(("slow-snapshot", "deadline = \"60s\""), "slow-rows", lines(ROWS));
    let (mut most, mut rows, mut calls_then) = (0, 0, 0);
    job.watch(|operator, neighbour| {
        let calls = operator.calls.load(Ordering::Relaxed);
        if rows != rows_in(neighbour) {
            (rows, calls_then) = (rows_in(neighbour), calls);
        }
        if rows < ROWS as u64 {
            most = most.max(calls - calls_then);
        }
    });
    let calls = job.counters(|operator, _| operator.calls.load(Ordering::Relaxed)).unwrap();
    // Six cells a part, and eight calls with rows a turn.
    assert!(calls > 60 && most <= 30, "{most} calls of {calls} while the neighbour waited");
}

#[test]
fn a_neighbour_works_on_while_calls_run_into_their_deadlines() {
    let failure = "deadline = \"100ms\"\non-failure = { retries = 1, backoff = \"1ms..1ms\" }";
    let poisoned = lines(10).enumerate().map(|(row, line)| if row == 100 { "k0,poison,7".to_owned() } else { line });
    let job = Job::new(("endless-loop", failure), "running-count", poisoned);
    let mut at_quarantine = None;
    job.run(|notice| {
        if matches!(notice, Notice::Operator(Event::Quarantined { .. })) {
            at_quarantine = job.counters(|_, neighbour| rows_in(neighbour));
        }
    });
    assert_eq!(at_quarantine, Some(ROWS as u64), "the neighbour waited for the operator");
    assert_eq!(job.folder.rows("out"), running_counts((0..ROWS).map(|row| format!("k{}", row % 10))));
}
