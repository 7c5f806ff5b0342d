//! What an operator takes of the time of its worker: a neighbour there gets its turns, whatever the operator does.

use super::jobs::{Folder, Run, Then, Topology, running_counts};
use reprise::engine::{Control, Event};
use reprise::job::{Ending, Notice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const ROWS: usize = 320;
const BATCH: u32 = 16;
const OPERATOR: usize = 1;
const NEIGHBOUR: usize = 2;

/// One worker. The rows are there at once; each batch of them is so large that it is a call of its own.
fn folder(guest: &str, settings: &str, poison: Option<usize>) -> Folder {
    let topology = Topology::on_request(BATCH).ahead(64).source("lines", "", false).operator("parse", "parse-text", "\"lines\"");
    let by_key = r#"{ from = "parse", by = "key" }"#;
    let topology = topology.operator_set("operator", guest, by_key, settings).operator("neighbour", "running-count", by_key);
    let folder = Folder::new(&topology.sink("out-operator", "\"operator\"").sink("out", "\"neighbour\""));
    let value = |row| if poison == Some(row) { "poison".to_owned() } else { "v".repeat(10_000) };
    folder.feed("lines", "all", (0..ROWS).map(|row| format!("k{},{},7", row % 10, value(row))));
    folder
}

fn rows_in(control: &Control, operator: usize) -> u64 {
    control.operators[operator].rows_in.load(Ordering::Relaxed)
}

fn run(folder: &Folder, mut on: impl FnMut(&Notice, &Control) + Send, started: &Mutex<Option<Arc<Control>>>) -> Run {
    let run = folder.run_with(1, |notice| {
        let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
        if let Notice::Started { control, .. } = notice {
            *started = Some(Arc::clone(control));
        }
        if let Some(control) = &*started {
            on(notice, control);
        }
        Then::GoOn
    });
    run.expect(Ending::Finished)
}

#[test]
fn a_neighbour_gets_its_turn_after_each_call_that_takes_long() {
    let folder = folder("slow-rows", "deadline = \"60s\"", None);
    let (started, is_over) = (Mutex::<Option<Arc<Control>>>::new(None), AtomicBool::new(false));
    let most = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                if let Some(control) = started.lock().unwrap().as_deref() {
                    let of_operator = rows_in(control, OPERATOR);
                    most = most.max(of_operator.saturating_sub(rows_in(control, NEIGHBOUR)));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            most
        });
        let ran = scope.spawn(|| run(&folder, |_, _| (), &started)).join();
        is_over.store(true, Ordering::Relaxed);
        ran.unwrap();
        watcher.join().unwrap()
    });
    assert_eq!(folder.rows("out"), running_counts((0..ROWS).map(|row| format!("k{}", row % 10))));
    assert!(most <= 2 * u64::from(BATCH), "the operator was {most} rows ahead");
}

#[test]
fn a_neighbour_works_on_while_calls_run_into_their_deadlines() {
    let failure = "deadline = \"100ms\"\non-failure = { retries = 1, backoff = \"1ms..1ms\" }";
    let folder = folder("endless-loop", failure, Some(100));
    let (started, at_quarantine) = (Mutex::new(None), Mutex::new(None));
    let on = |notice: &Notice, control: &Control| {
        if matches!(notice, Notice::Operator(Event::Quarantined { .. })) {
            *at_quarantine.lock().unwrap() = Some(rows_in(control, NEIGHBOUR));
        }
    };
    drop(run(&folder, on, &started));
    assert_eq!(at_quarantine.into_inner().unwrap(), Some(ROWS as u64), "the neighbour waited for the operator");
    assert_eq!(folder.rows("out"), running_counts((0..ROWS).map(|row| format!("k{}", row % 10))));
}
