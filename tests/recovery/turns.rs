//! What an operator takes of the time of its worker: a neighbour there gets its turns, whatever the operator does.

use super::jobs::{Folder, Then, Topology, running_counts};
use reprise::engine::{Control, NodeCounters, OperatorEvent};
use reprise::job::{Ending, Notice};
use std::collections::BTreeMap;
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
    fn new(operator: (&str, &str), neighbour: &str, lines: impl Iterator<Item = String>) -> Self {
        Self::set("", operator, neighbour, lines)
    }

    /// `checkpoint`: settings of that table. Parts of snapshots are as small as can be.
    fn set(checkpoint: &str, (operator, settings): (&str, &str), neighbour: &str, lines: impl Iterator<Item = String>) -> Self {
        let topology =
            Topology::on_request_set(BATCH, &format!("snapshot-part = \"64KiB\"\n{checkpoint}")).ahead(64).source("lines", "", false);
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
    assert_eq!(job.folder.rows("out"), running_counts((0..ROWS).map(|row| format!("k{}", row % 10))));
}

#[test]
fn a_neighbour_gets_its_turn_between_the_parts_of_a_snapshot() {
    let job = Job::new(("slow-snapshot", "deadline = \"60s\""), "slow-rows", lines(ROWS));
    let (mut most, mut rows, mut calls_then) = (0, 0, 0);
    job.watch(|operator, neighbour| {
        let (before, calls, now) = (rows_in(neighbour), operator.calls.load(Ordering::Relaxed), rows_in(neighbour));
        if now == before && now != rows {
            (rows, calls_then) = (now, calls);
        }
        if now == before && now < ROWS as u64 {
            most = most.max(calls - calls_then);
        }
    });
    let calls = job.counters(|operator, _| operator.calls.load(Ordering::Relaxed)).unwrap();
    // Six cells a part, and eight calls with rows a turn. Others of the parts came while the neighbour was at work.
    assert!(calls > 60 && (30..=calls).contains(&calls_then), "{calls_then} calls of {calls} when the neighbour was done");
    assert!(most <= 30, "{most} calls of {calls} while the neighbour waited");
}

#[test]
fn state_that_is_read_over_many_turns_is_whole() {
    let often = "replay-log-max = \"64KiB\"";
    let standby = format!("{often}\nstandby = true");
    for (checkpoint, settings) in
        [("", ""), ("", often), ("", &standby), ("chain-length-max = 0", often), ("chain-length-max = 0", &standby)]
    {
        let settings = format!("deadline = \"60s\"\non-failure = {{ retries = 1, backoff = \"1ms..1ms\" }}\n{settings}");
        let poisoned = lines(100).enumerate().map(|(row, line)| if row % 90 == 89 { "k0,poison,7".to_owned() } else { line });
        let job = Job::set(checkpoint, ("slow-snapshot", &settings), "running-count", poisoned);
        job.run(|_| ());
        let good = || (0..ROWS).filter(|row| row % 90 != 89).map(|row| format!("k{}", row % 100));
        assert_eq!(job.folder.rows("out-operator"), running_counts(good()), "{checkpoint} {settings}");
        let mut counts = BTreeMap::<String, u64>::new();
        good().for_each(|key| *counts.entry(key).or_default() += 1);
        let cells = job.folder.cells(&job.folder.newest(), "operator");
        let cells = cells.into_iter().map(|((_, key, _), value)| {
            assert_eq!(value.len(), 10_000);
            (String::from_utf8(key).unwrap(), u64::from_le_bytes(value[..8].try_into().unwrap()))
        });
        assert_eq!(cells.collect::<BTreeMap<_, _>>(), counts, "{checkpoint} {settings}");
    }
}

#[test]
fn a_neighbour_works_on_while_calls_run_into_their_deadlines() {
    let failure = "deadline = \"100ms\"\non-failure = { retries = 1, backoff = \"1ms..1ms\" }";
    let poisoned = lines(10).enumerate().map(|(row, line)| if row == 100 { "k0,poison,7".to_owned() } else { line });
    let job = Job::new(("endless-loop", failure), "running-count", poisoned);
    let mut at_quarantine = None;
    job.run(|notice| {
        if matches!(notice, Notice::Operator(OperatorEvent::Quarantined { .. })) {
            at_quarantine = job.counters(|_, neighbour| rows_in(neighbour));
        }
    });
    // The operator has some hundred rows.
    assert!(at_quarantine.is_some_and(|rows| rows >= 160), "the neighbour had {at_quarantine:?} rows");
    assert_eq!(job.folder.rows("out"), running_counts((0..ROWS).map(|row| format!("k{}", row % 10))));
}
