//! Operators that are paused or slow while the others go on: what waits for them is parked. The oracle is the run without faults, by components
//! that are mended.

use super::jobs::{Folder, Run, Then, Topology, keys, running_counts};
use reprise::engine::Control;
use reprise::job::{CheckpointNotice, Ending, Notice, StartFrom};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::manifest::ParkedRef;
use std::sync::Arc;

/// A pause that is longer than any test, at the first fault; the row stays.
const PAUSES: &str = "on-failure = { retries = 0, then = \"pause\", pause = \"1h\" }\ndeadline = \"60s\"";

/// Keys with poison from row `from` on.
fn lines(from: usize, to: usize, poison_from: usize) -> Vec<String> {
    let value = |row| if row >= poison_from { "poison" } else { "v" };
    keys(from, to, 9).iter().zip(from..).map(|(key, row)| format!("{key},{},7", value(row))).collect()
}

fn key(line: &str) -> &str {
    line.split(',').next().unwrap()
}

/// Lines go to `a`, a guest, and to `b`, a counter, each with a sink of its own.
fn branches(a: &str) -> Topology {
    Topology::new("align-max = \"1h\"\nkeep = 1000")
        .source("lines", "", true)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("a", a, r#"{ from = "parse", by = "key" }"#, PAUSES)
        .operator("b", "running-count", r#"{ from = "parse", by = "key" }"#)
        .sink("out-a", "\"a\"")
        .sink("out-b", "\"b\"")
}

/// What waits for an operator in a checkpoint.
fn parked<'a>(manifest: &'a Manifest, operator: &str) -> Vec<&'a ParkedRef> {
    let operator = manifest.operators.iter().find(|found| found.name == operator).unwrap();
    operator.instances.iter().flat_map(|instance| &instance.parked).collect()
}

fn parked_rows(manifest: &Manifest, operator: &str) -> u64 {
    parked(manifest, operator).iter().map(|of| of.rows).sum()
}

/// Feeds files one after the other, each after a checkpoint that holds all rows before, then stops.
fn feed(folder: &Folder, workers: u32, files: std::ops::Range<usize>, poison_from: usize) -> Run {
    let files: Vec<(String, Vec<String>)> = files.map(|file| (format!("f{file}"), lines(file * 50, file * 50 + 50, poison_from))).collect();
    let files: Vec<(&str, Vec<String>)> = files.iter().map(|(name, lines)| (name.as_str(), lines.clone())).collect();
    let (first, rest) = files.split_first().unwrap();
    folder.feed("lines", first.0, &first.1);
    folder.run_feeding(workers, "lines", rest).expect(Ending::Stopped)
}

/// Runs until a checkpoint holds every row and nothing waits, then stops.
fn work_off(folder: &Folder, workers: u32) -> Run {
    let mut control: Option<Arc<Control>> = None;
    let run = folder.run_with(workers, |notice| {
        if let Notice::Started { control: started, .. } = notice {
            control = Some(Arc::clone(started));
        }
        let waits = control.iter().flat_map(|control| &control.operators_parked).any(|parked| parked.tally().rows > 0);
        let is_over = |made: &CheckpointNotice| folder.is_covered_by(made) && !waits && !folder.newest().has_parked();
        if matches!(notice, Notice::Checkpoint(made) if is_over(made)) { Then::Stop } else { Then::GoOn }
    });
    run.expect(Ending::Stopped)
}

#[test]
fn a_paused_operator_holds_nobodys_checkpoint_and_its_rows_come_when_it_is_mended() {
    for mended_on in [2, 1, 3] {
        let folder = Folder::new(&branches("trap-unreachable"));
        let run = feed(&folder, 2, 0..6, 20);
        assert!(run.checkpoints().len() >= 6, "each file has a checkpoint");
        let all: Vec<String> = lines(0, 300, usize::MAX);
        let counted = running_counts(all.iter().map(|line| key(line)));
        assert_eq!(folder.rows("out-b"), counted, "the other branch is not held up");
        let newest = folder.newest();
        assert!(parked_rows(&newest, "a") >= 280 && parked(&newest, "b").is_empty(), "{newest:?}");
        assert_eq!(parked_rows(&newest, "a") as usize + folder.rows("out-a").len(), 300, "rows that are done are shown, the others wait");
        // It is taken up as it is, on other workers, while it still fails.
        let run = feed(&folder, mended_on, 6..7, 0);
        assert!(!run.checkpoints().is_empty());
        folder.set(&branches("running-count"));
        work_off(&folder, mended_on);
        let all: Vec<String> = lines(0, 350, usize::MAX);
        let counted = running_counts(all.iter().map(|line| key(line)));
        assert_eq!((folder.rows("out-a"), folder.rows("out-b")), (counted.clone(), counted), "{mended_on} workers");
    }
}

#[test]
fn a_chain_of_paused_operators_with_several_instances_loses_nothing() {
    let chain = |a: &str, c: &str| {
        Topology::new("align-max = \"1h\"\nkeep = 1000")
            .source("lines", "", true)
            .operator("parse", "parse-text", "\"lines\"")
            .operator_set("a", a, r#"{ from = "parse", by = "key" }"#, PAUSES)
            .operator_set("c", c, r#"{ from = "parse", by = "key" }"#, PAUSES)
            .operator_set("d", "running-count", r#"[{ from = "a", by = "key" }, { from = "c", by = "key" }]"#, PAUSES)
            .sink("out", "\"d\"")
            .parallel(4)
    };
    let folder = Folder::new(&chain("trap-unreachable", "worn-out"));
    feed(&folder, 2, 0..3, 60);
    let newest = folder.newest();
    assert!(parked_rows(&newest, "a") > 0 && parked_rows(&newest, "c") > 0, "both are paused");
    feed(&folder, 3, 3..5, 0);
    folder.set(&chain("running-count", "running-count"));
    work_off(&folder, 1);
    let all: Vec<String> = lines(0, 250, usize::MAX);
    let twice = all.iter().chain(&all).map(|line| key(line));
    assert_eq!(folder.rows("out"), running_counts(twice));
}

/// A slow operator, with checkpoints that wait for nobody.
fn slow(settings: &str) -> Topology {
    Topology::new("align-max = \"0ms\"\nkeep = 1000")
        .source("lines", "", false)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("a", "slow-rows", r#"{ from = "parse", by = "key" }"#, settings)
        .operator("b", "running-count", r#"{ from = "parse", by = "key" }"#)
        .sink("out-a", "\"a\"")
        .sink("out-b", "\"b\"")
}

#[test]
fn a_slow_operator_is_waited_for_at_the_end_and_its_rows_keep_their_order() {
    for (workers, settings) in [(1, "deadline = \"60s\""), (2, "deadline = \"60s\"\nparallelism = 4")] {
        let folder = Folder::new(&slow(settings));
        // Rows are long, so that an epoch takes several calls, each of which takes longer than an epoch is to last.
        let all: Vec<String> =
            lines(0, 600, usize::MAX).iter().map(|line| line.replace(",v,", &format!(",{},", "v".repeat(1_000)))).collect();
        folder.feed("lines", "all", &all);
        let mut most = 0;
        let run = folder.run_with(workers, |notice| {
            if matches!(notice, Notice::Checkpoint(_)) {
                most = most.max(parked_rows(&folder.newest(), "a"));
            }
            Then::GoOn
        });
        let run = run.expect(Ending::Finished);
        assert!(run.checkpoints().len() > 2 && most > 0, "{} checkpoints, {most} rows parked", run.checkpoints().len());
        let counted = running_counts(all.iter().map(|line| key(line)));
        assert_eq!((folder.rows("out-a"), folder.rows("out-b")), (counted.clone(), counted));
        assert!(!folder.newest().has_parked() && folder.newest().finished);
    }
}

#[test]
fn a_job_with_parked_rows_is_not_finished_and_another_run_works_them_off() {
    let bounded = |guest: &str| {
        Topology::new("align-max = \"1h\"\nkeep = 1000")
            .source("lines", "", false)
            .operator("parse", "parse-text", "\"lines\"")
            .operator_set("a", guest, r#"{ from = "parse", by = "key" }"#, PAUSES)
            .sink("out", "\"a\"")
    };
    let folder = Folder::new(&bounded("trap-unreachable"));
    let all = lines(0, 100, 30);
    folder.feed("lines", "all", &all);
    let stopped = folder.run_with(2, |notice| {
        let Notice::Checkpoint(made) = notice else { return Then::GoOn };
        assert!(!made.finished);
        if folder.is_covered_by(made) { Then::Stop } else { Then::GoOn }
    });
    stopped.expect(Ending::Stopped);
    assert!(parked_rows(&folder.newest(), "a") > 0 && !folder.newest().finished);
    folder.set(&bounded("running-count"));
    folder.run(3).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(all.iter().map(|line| key(line))));
    assert!(folder.newest().finished && !folder.newest().has_parked());
}

#[test]
fn parked_rows_of_an_operator_that_is_gone_or_has_lost_its_input_are_refused_with_the_way_out() {
    let folder = Folder::new(&branches("trap-unreachable"));
    feed(&folder, 1, 0..2, 20);
    let without = Topology::new("")
        .source("lines", "", true)
        .operator("parse", "parse-text", "\"lines\"")
        .operator("b", "running-count", r#"{ from = "parse", by = "key" }"#)
        .sink("out-b", "\"b\"");
    folder.set(&without);
    let text = folder.run(1).error().to_string();
    assert!(text.contains("rows are parked for the operator `a`, which the topology does not have"), "{text}");
    assert!(text.contains("help: ") && text.contains("reprise parked"), "{text}");
    folder.set(&branches("running-count"));
    work_off(&folder, 2);
    let all: Vec<String> = lines(0, 100, usize::MAX);
    assert_eq!(folder.rows("out-a"), running_counts(all.iter().map(|line| key(line))));
}

#[test]
fn damaged_parked_input_sends_the_job_back_to_the_checkpoint_before() {
    let folder = Folder::new(&branches("trap-unreachable"));
    feed(&folder, 2, 0..4, 20);
    let manifests = folder.manifests();
    let newest = manifests.last().unwrap();
    // Of what the newest checkpoint needs, that which came last: a checkpoint before it is whole without it.
    let first = |of: &&ParkedRef| manifests.iter().position(|m| parked(m, "a").iter().any(|other| other.object.path == of.object.path));
    let own = parked(newest, "a").into_iter().max_by_key(first).expect("rows are parked");
    assert!(first(&own) > Some(0), "a checkpoint came before it");
    let path = folder.store().join(&own.object.path);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    folder.set(&branches("running-count"));
    let run = work_off(&folder, 2);
    let passed = run.passed_over();
    assert!(
        passed.iter().any(|(epoch, reason)| *epoch == newest.epoch.0 && reason.contains(".parked") && reason.contains("damaged")),
        "{passed:?}"
    );
    let all: Vec<String> = lines(0, 200, usize::MAX);
    let counted = running_counts(all.iter().map(|line| key(line)));
    assert_eq!((folder.rows("out-a"), folder.rows("out-b")), (counted.clone(), counted));
}

/// Rows and notes, into an operator with two inputs.
fn joined(settings: &str) -> Topology {
    Topology::new("align-max = \"1h\"\nsavepoint-poll = \"10ms\"\nkeep = 1000")
        .source("lines", "", true)
        .source("notes", "", true)
        .operator("parse", "parse-text", "\"lines\"")
        .operator("parse-notes", "parse-text", "\"notes\"")
        .operator_set(
            "a",
            "two-inputs",
            r#"[{ from = "parse", by = "key" }, { from = "parse-notes", by = "key" }]"#,
            &format!("{PAUSES}\n{settings}"),
        )
        .sink("out", "\"a\"")
}

#[test]
fn what_waits_on_two_inputs_comes_out_once_and_a_savepoint_has_it_too() {
    let folder = Folder::new(&joined("parallelism = 2"));
    folder.feed("lines", "one", lines(0, 60, 20));
    folder.feed("notes", "one", (0..10).map(|note| format!("n{note},poison,7")));
    // A savepoint is kept during the pause; what the job does after it is given up later.
    let kept = folder.run_set(
        2,
        |options| options.savepoint = Some("paused".to_owned()),
        |notice| if matches!(notice, Notice::Checkpoint(made) if folder.is_covered_by(made)) { Then::Stop } else { Then::GoOn },
    );
    kept.expect(Ending::Stopped);
    assert!(parked_rows(&folder.newest(), "a") >= 40, "{:?}", folder.newest());
    let shown = folder.rows("out");
    folder.feed("lines", "two", lines(60, 100, 0));
    let more =
        folder.run_with(
            2,
            |notice| {
                if matches!(notice, Notice::Checkpoint(made) if folder.is_covered_by(made)) { Then::Stop } else { Then::GoOn }
            },
        );
    more.expect(Ending::Stopped);
    let mut expected = running_counts(lines(0, 100, usize::MAX).iter().map(|line| key(line)));
    expected.extend((0..10).map(|note| (format!("n{note}"), "a note".to_owned())));
    expected.sort();
    for (from, is_elsewhere) in [(Some("paused"), false), (Some("paused"), true), (None, false)] {
        let copy = folder.copy();
        if is_elsewhere {
            // Nothing but the savepoint, what it names and the input goes along.
            for gone in [copy.store().join("checkpoints"), copy.store().join("generations"), copy.path("out")] {
                std::fs::remove_dir_all(gone).unwrap();
            }
        }
        copy.set(&joined("parallelism = 2\nconfig = { state = \"mended\" }"));
        let mut control: Option<Arc<Control>> = None;
        let run = copy.run_set(
            1,
            |options| options.start = from.map(|name| StartFrom::Savepoint(name.to_owned())),
            |notice| {
                if let Notice::Started { control: started, .. } = notice {
                    control = Some(Arc::clone(started));
                }
                let waits = control.iter().flat_map(|control| &control.operators_parked).any(|parked| parked.tally().rows > 0);
                let is_over = |made: &CheckpointNotice| copy.is_covered_by(made) && !waits && !copy.newest().has_parked();
                if matches!(notice, Notice::Checkpoint(made) if is_over(made)) { Then::Stop } else { Then::GoOn }
            },
        );
        run.expect(Ending::Stopped);
        let due: Vec<_> = expected.iter().filter(|row| !is_elsewhere || !shown.contains(row)).cloned().collect();
        assert_eq!(copy.rows("out"), due, "from {from:?}, elsewhere: {is_elsewhere}");
    }
}

#[test]
fn rows_for_all_wait_at_each_instance_and_come_out_of_each_once_whatever_their_number_is_then() {
    let topology = |instances: usize, config: &str| {
        let settings = format!("{PAUSES}\nparallelism = {instances}\n{config}");
        Topology::new("align-max = \"1h\"\nkeep = 1000")
            .source("lines", "", true)
            .operator("parse", "parse-text", "\"lines\"")
            .operator_set("a", "sick-echo", r#"{ from = "parse", by = "all" }"#, &settings)
            .sink("out", "\"a\"")
    };
    let paused = Folder::new(&topology(4, ""));
    // The first file is whole before the second one comes, all of which waits.
    feed(&paused, 2, 0..3, 50);
    assert!(parked_rows(&paused.newest(), "a") >= 4 * 100);
    // Each worker runs at least one instance.
    for (workers, instances) in [(1, 4), (1, 1), (2, 2), (2, 6)] {
        let folder = paused.copy();
        folder.set(&topology(instances, "config = { state = \"mended\" }"));
        work_off(&folder, workers);
        let row = |line: &String| (key(line).to_owned(), line.split(',').nth(1).unwrap().to_owned());
        let all = lines(0, 150, 50).into_iter().enumerate();
        let mut expected: Vec<_> = all.flat_map(|(at, line)| vec![row(&line); if at < 50 { 4 } else { instances }]).collect();
        expected.sort();
        assert_eq!(folder.rows("out"), expected, "{instances} instances");
    }
}
