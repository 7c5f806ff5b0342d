//! Operators whose repeated calls return something else: the host tells which call and which row, and trusts nothing of the epoch.

use super::jobs::{Folder, Run, Then, Topology};
use crate::support;
use reprise::engine::{Control, OperatorEvent, Reproduced};
use reprise::job::{CapsuleExtras, Ending, Error, Kind, Notice, reproduce_capsule};
use reprise_core::checkpoint::capsule::Capsule;
use reprise_core::checkpoint::faulted::FaultedRows;
use reprise_core::codec::record;
use std::fs;
use std::sync::atomic::Ordering;

/// Lines `key,value,time` go to `a`, a guest, by key: one call after the other, each of so many rows, with checkpoints when somebody asks.
fn topology(guest: &str, rows_a_call: u32, retries: u32, follow: bool) -> Topology {
    Topology::on_request(rows_a_call)
        .source("lines", "", follow)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set(
            "a",
            guest,
            r#"{ from = "parse", by = "key" }"#,
            &format!("on-failure = {{ retries = {retries}, backoff = \"1ms..1ms\" }}\ndeadline = \"60s\""),
        )
        .sink("out", "\"a\"")
}

/// So many rows, of which one has the value `total`.
fn rows(count: usize, total: usize) -> Vec<String> {
    (0..count).map(move |row| format!("k{row},{},{row}", if row == total { "total" } else { "v" })).collect()
}

/// Waits until so many rows have gone through the operator.
fn let_through(control: &Control, rows: u64) {
    while control.operators[1].rows_in.load(Ordering::Relaxed) < rows && !control.aborted() {
        std::thread::yield_now();
    }
}

/// Runs until a row is in quarantine. The first file is in a snapshot of the living instance, the second one is not when its last row fails.
fn run(folder: &Folder, first: usize, second: Vec<String>) -> Run {
    folder.feed("lines", "first", rows(first, first));
    let mut second = Some(second);
    folder.run_with(1, |notice| {
        match notice {
            Notice::Started { control, from: None, .. } => {
                let_through(control, first as u64);
                control.want_epoch();
            }
            Notice::Checkpoint(made) if folder.is_covered_by(made) => {
                if let Some(second) = second.take() {
                    folder.feed("lines", "second", second.into_iter().chain(["k0,poison,0".to_owned()]));
                }
            }
            Notice::Operator(OperatorEvent::Quarantined { .. }) => return Then::Stop,
            _ => {}
        }
        Then::GoOn
    })
}

#[test]
fn an_operator_with_hidden_state_is_told_with_its_call_and_its_row() {
    let small = (4, "4 rows", "row 2 of its output `counts` is another one; row 2 now has the key `k2` and the event time 2 ms");
    let large = (
        40,
        "40 rows",
        "one of rows 32 to 39 of its output `counts` is another one; row 32 now has the key `k32` and the event time 32 ms",
    );
    for ((count, given, place), total) in [(small, 2), (large, 35)] {
        let folder = Folder::new(&topology("hidden-total", count as u32, 0, true));
        let run = run(&folder, count, rows(count, total));
        let error = run.error();
        assert!(matches!(error, Error::Gave { failures: 1, .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Guest);
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "operator `a` instance 0 is not deterministic: a call that was repeated returned something else", "{text}");
        assert!(lines[1].starts_with("  at epoch 3, call "), "{text}");
        assert!(lines[1].contains(&format!(", input `rows`, {given}, event times 0 to {} ms", count - 1)), "{text}");
        assert_eq!(lines[2], format!("  {place}"), "{text}");
        assert!(text.contains("help: it may keep state that it does not declare; `reprise verify` looks for it"), "{text}");
        assert_eq!(folder.lines("out").len(), count, "nothing of the epoch is published");
    }
}

#[test]
fn a_job_whose_operator_is_not_deterministic_is_taken_up_again_from_its_last_checkpoint() {
    let folder = Folder::new(&topology("hidden-total", 4, 1, true));
    let run = run(&folder, 4, rows(4, 2)).expect(Ending::Stopped);
    let told: Vec<&str> = run
        .notices
        .iter()
        .filter_map(|notice| if let Notice::Failed { report, .. } = notice { Some(report.as_str()) } else { None })
        .collect();
    assert!(matches!(told[..], [report] if report.contains("is not deterministic") && report.contains("row 2 of its output")), "{told:?}");
    // What the new instance returns is repeated by one that was restored from the same checkpoint: it knows as little of the total.
    assert_eq!(run.from(), Some(2), "the one that was asked for, after that with which the run took over");
    assert_eq!(folder.rows("out").len(), 8);
    assert_eq!(folder.objects("quarantine/a").len(), 1);
}

#[test]
fn a_capsule_whose_calls_return_something_else_is_not_reproduced() {
    let folder = Folder::new(&topology("trap-unreachable", 1, 0, false));
    folder.feed("lines", "all", ["a,v,1", "b,total,2", "c,poison,3"]);
    folder.run(1).expect(Ending::Finished);
    let objects = folder.objects("quarantine/a");
    let held: FaultedRows = record::decode(&fs::read(folder.store().join(&objects[0])).unwrap()).unwrap();
    let path = folder.store().join(held.rows[0].capsule.as_ref().unwrap());
    let mut capsule: Capsule = record::decode(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(capsule.calls.len(), 2);
    let second = capsule.calls[1].call.number;
    assert!(reproduce_capsule(&path, &CapsuleExtras::default()).unwrap().is_reproduced());
    // Another component, which counts all rows where this one counts those of a key.
    let other = CapsuleExtras { component: Some(support::guest("hidden-total")), ..CapsuleExtras::default() };
    let tried = reproduce_capsule(&path, &other).unwrap();
    assert_eq!((&tried.attempt, tried.is_reproduced()), (&Reproduced::Diverged { call: second }, false));
    // The same one, where what it returned on the other machine was not this.
    capsule.calls[1].digest ^= 1;
    let changed = folder.path("changed.capsule");
    fs::write(&changed, record::encode(&capsule).unwrap()).unwrap();
    let tried = reproduce_capsule(&changed, &CapsuleExtras::default()).unwrap();
    assert_eq!((&tried.attempt, tried.is_reproduced()), (&Reproduced::Diverged { call: second }, false));
}
