//! An instance that has worn out is to blame for what fails, and not the rows that happen to come: they wait, and all of them come out once
//! somebody has raised the limit or mended the component. Rows that no instance can take go to quarantine as ever.

use crate::recovery::jobs::{Folder, Run, Then, Topology, running_counts};
use reprise::engine::OperatorEvent;
use reprise::job::{Ending, Notice};

/// Lines `key,value,7`, which a guest takes by key.
fn worn(guest: &str, settings: &str) -> Topology {
    Topology::new("")
        .step_by_step(3)
        .source("lines", "", false)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("worn", guest, r#"{ from = "parse", by = "key" }"#, settings)
        .sink("out", "\"worn\"")
}

fn settings(more: &str) -> String {
    format!("on-failure = {{ retries = 1, backoff = \"1ms..1ms\", faults-max = 1000000, pause = \"1h\" }}\n{more}")
}

/// Every row has a key of its own.
fn lines(rows: usize, value: &str) -> Vec<String> {
    (0..rows).map(|row| format!("k{row:03},{value},7")).collect()
}

fn counted(lines: &[String]) -> Vec<(String, String)> {
    running_counts(lines.iter().map(|line| line.split(',').next().unwrap()))
}

/// Why the operator was paused, each time.
fn pauses(run: &Run) -> Vec<&str> {
    let reason =
        |notice| if let &Notice::Operator(OperatorEvent::Paused { ref reason, .. }) = notice { Some(reason.as_str()) } else { None };
    run.notices.iter().filter_map(reason).collect()
}

/// Runs until the operator is paused, and asks to stop then.
fn until_paused(folder: &Folder) -> Run {
    folder.run_with(1, |notice| match notice {
        Notice::Operator(OperatorEvent::Paused { .. }) => Then::Stop,
        _ => Then::GoOn,
    })
}

#[test]
fn an_instance_that_wears_out_is_paused_and_every_row_comes_out_once_it_can() {
    let cases = [
        ("memory", "memory = \"4MiB\"\ndeadline = \"60s\"", "raise `memory`, or `parallelism`", "worn-out"),
        ("time", "deadline = \"25ms\"", "raise `deadline`, or `parallelism`", "running-count"),
        ("trap", "deadline = \"60s\"", "mend the component", "running-count"),
    ];
    for (how, limit, remedy, mended) in cases {
        let folder = Folder::new(&worn("worn-out", &settings(limit)));
        let lines = lines(if how == "time" { 200 } else { 60 }, how);
        folder.feed("lines", "all", &lines);
        let run = until_paused(&folder).expect(Ending::Stopped);
        let pauses = pauses(&run);
        assert!(!pauses.is_empty(), "{how}: it was not paused");
        assert!(pauses[0].contains("no row is to blame") && pauses[0].contains(remedy), "{how}: {}", pauses[0]);
        assert_eq!(folder.objects("quarantine"), Vec::<String>::new(), "{how}: innocent rows went to quarantine");
        folder.set(&worn(mended, &settings("memory = \"64MiB\"\ndeadline = \"60s\"")));
        folder.run(1).expect(Ending::Finished);
        assert_eq!(folder.rows("out"), counted(&lines), "{how}");
        assert!(folder.objects("quarantine").is_empty(), "{how}");
    }
}

#[test]
fn an_instance_that_wears_out_behind_rows_without_keys_loses_none_of_them() {
    let unkeyed = |guest: &str| worn(guest, &settings("deadline = \"60s\""));
    let folder = Folder::new(&unkeyed("worn-out"));
    folder.feed("lines", "all", vec![",rows,7"; 60]);
    let run = until_paused(&folder).expect(Ending::Stopped);
    let pauses = pauses(&run);
    assert!(pauses.first().is_some_and(|reason| reason.contains("no row is to blame")), "{pauses:?}");
    assert_eq!(folder.objects("quarantine"), Vec::<String>::new(), "innocent rows went to quarantine");
    folder.set(&unkeyed("running-count"));
    folder.run(1).expect(Ending::Finished);
    let values = |rows: Vec<(String, String)>| rows.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(values(folder.rows("out")), values(running_counts([""; 60])));
    assert!(folder.objects("quarantine").is_empty());
}

#[test]
fn an_operator_that_is_to_stop_when_it_fails_too_often_stops_the_job_for_a_worn_out_instance() {
    let on_failure = "on-failure = { retries = 0, open = \"stop\" }\nmemory = \"4MiB\"\ndeadline = \"60s\"";
    let folder = Folder::new(&worn("worn-out", on_failure));
    let lines = lines(60, "memory");
    folder.feed("lines", "all", &lines);
    let run = folder.run(1);
    let text = run.error().to_string();
    assert!(text.contains("out of memory") && text.contains("no row is to blame") && text.contains("raise `memory`"), "{text}");
    assert!(folder.objects("quarantine").is_empty());
    folder.set(&worn("worn-out", &settings("memory = \"64MiB\"\ndeadline = \"60s\"")));
    folder.run(1).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), counted(&lines));
}

#[test]
fn a_pause_that_ends_with_the_instance_as_worn_out_as_before_puts_no_row_into_quarantine_either() {
    let on_failure = "on-failure = { retries = 0, faults-max = 1000000, pause = \"10ms\" }\nmemory = \"4MiB\"\ndeadline = \"60s\"";
    let folder = Folder::new(&worn("worn-out", on_failure));
    folder.feed("lines", "all", lines(60, "memory"));
    let mut paused = 0;
    let run = folder.run_with(1, |notice| match notice {
        Notice::Operator(OperatorEvent::Paused { .. }) => {
            paused += 1;
            if paused < 4 { Then::GoOn } else { Then::Stop }
        }
        _ => Then::GoOn,
    });
    let run = run.expect(Ending::Stopped);
    assert!(pauses(&run).iter().all(|reason| reason.contains("raise `memory`")), "{:?}", pauses(&run));
    assert!(folder.objects("quarantine").is_empty());
}

#[test]
fn rows_in_a_row_that_no_instance_can_take_all_go_to_quarantine() {
    for (guest, limit) in [
        ("trap-unreachable", "deadline = \"60s\""),
        ("endless-loop", "deadline = \"30ms\""),
        ("memory-bomb", "memory = \"4MiB\"\ndeadline = \"60s\""),
        ("stack-overflow", "deadline = \"60s\""),
        ("worn-out", "deadline = \"60s\""),
    ] {
        let folder = Folder::new(&worn(guest, &settings(limit)));
        let mut good = lines(9, "v");
        let poison: Vec<String> = (0..8).map(|row| format!("p{row},poison,7")).collect();
        let all = [&good[..], &poison[..], &["z,v,7".to_owned()]].concat();
        folder.feed("lines", "all", &all);
        good.push("z,v,7".to_owned());
        let run = folder.run(1).expect(Ending::Finished);
        assert_eq!(pauses(&run), Vec::<&str>::new(), "{guest}");
        assert_eq!(folder.rows("out"), counted(&good), "{guest}");
        let quarantined = |notice: &&Notice| matches!(notice, Notice::Operator(OperatorEvent::Quarantined { .. }));
        assert_eq!(run.notices.iter().filter(quarantined).count(), poison.len(), "{guest}");
    }
}
