//! Ends: that of the input, told to each operator once, whatever stops in between; and that of old checkpoints.

use super::jobs::{Folder, Then, Topology, counting, keys, running_counts};
use reprise::engine::OperatorEvent;
use reprise::job::{Ending, Notice};
use reprise_core::checkpoint::manifest::Manifest;
use std::collections::{BTreeMap, BTreeSet};

/// Words counted; the totals come when the input ends.
fn totals(sources: &[(&str, bool)]) -> Topology {
    let mut topology = Topology::new("");
    for (name, follow) in sources {
        topology = topology.source(name, "", *follow);
    }
    let mut inputs = Vec::new();
    for (name, _) in sources {
        topology = topology.operator(&format!("split-{name}"), "split", &format!("\"{name}\""));
        inputs.push(format!("{{ from = \"split-{name}\", by = \"key\" }}"));
    }
    topology.operator("count", "count", &format!("[{}]", inputs.join(", "))).sink("out", "\"count\"")
}

fn words(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|row| ["to be or", "not to", "be that is"][row % 3].to_owned()).collect()
}

fn counted(lines: &[String]) -> Vec<(String, String)> {
    let mut counts = BTreeMap::<&str, u64>::new();
    lines.iter().flat_map(|line| line.split(' ')).for_each(|word| *counts.entry(word).or_default() += 1);
    counts.into_iter().map(|(word, count)| (word.to_owned(), count.to_string())).collect()
}

#[test]
fn the_end_of_the_input_is_told_once_though_the_run_stopped_right_before_it() {
    for workers in [1, 3] {
        let folder = Folder::new(&totals(&[("lines", true)]));
        folder.feed("lines", "a", words(0, 100));
        folder.run_feeding(workers, "lines", &[("b", words(100, 200))]).expect(Ending::Stopped);
        assert!(folder.rows("out").is_empty(), "the input has not ended");
        folder.set(&totals(&[("lines", false)]));
        folder.run(workers).expect(Ending::Finished);
        assert_eq!(folder.rows("out"), counted(&words(0, 200)));
        folder.run(workers).expect(Ending::AlreadyFinished);
        assert_eq!(folder.rows("out"), counted(&words(0, 200)));
    }
}

#[test]
fn a_source_that_ended_in_an_earlier_run_ends_again_for_all_that_read_it() {
    for workers in [1, 2] {
        let folder = Folder::new(&totals(&[("short", false), ("long", true)]));
        folder.feed("short", "a", words(0, 30));
        folder.feed("long", "a", words(30, 60));
        let has_ended = |manifest: &Manifest| manifest.operators[0].instances.iter().all(|instance| instance.watermark == i64::MAX);
        let mut more = 0;
        let run = folder.run_with(workers, |notice| match notice {
            Notice::Checkpoint(made) if folder.is_covered_by(made) && has_ended(&folder.newest()) => Then::Stop,
            Notice::Checkpoint(made) if folder.is_covered_by(made) => {
                more += 1;
                folder.feed("long", &format!("more-{more}"), words(0, 1));
                Then::GoOn
            }
            _ => Then::GoOn,
        });
        run.expect(Ending::Stopped);
        folder.set(&totals(&[("short", false), ("long", false)]));
        folder.run(workers).expect(Ending::Finished);
        let lines: Vec<String> = words(0, 60).into_iter().chain((0..more).flat_map(|_| words(0, 1))).collect();
        assert_eq!(folder.rows("out"), counted(&lines), "{workers} workers");
    }
}

/// Snapshot objects that manifests need.
fn reached(manifests: &[Manifest]) -> BTreeSet<String> {
    let instances = manifests.iter().flat_map(|manifest| &manifest.operators).flat_map(|operator| &operator.instances);
    instances.flat_map(|instance| &instance.chain).map(|object| object.path.clone()).collect()
}

#[test]
fn old_checkpoints_and_what_only_they_needed_are_deleted() {
    for chain in ["chain-length-max = 2", "chain-length-max = 100"] {
        let folder = Folder::new(&counting(&format!("keep = 3\n{chain}"), true));
        let files: Vec<(String, Vec<String>)> = (0..15).map(|file| (file.to_string(), keys(20 * file, 20 * (file + 1), 50))).collect();
        let files: Vec<(&str, Vec<String>)> = files.iter().map(|(name, keys)| (name.as_str(), keys.clone())).collect();
        folder.feed("keys", "first", [""; 0]);
        folder.feed("keys", "second", ["k1"]);
        let run = folder.run_feeding(2, "keys", &files).expect(Ending::Stopped);
        assert!(run.checkpoints().len() > files.len());
        assert!(run.notices.iter().any(|notice| matches!(notice, Notice::Swept { .. })));
        folder.set(&counting(&format!("keep = 3\n{chain}"), false));
        folder.feed("keys", "last", ["k2"]);
        folder.run(2).expect(Ending::Finished);
        let manifests = folder.manifests();
        assert_eq!(manifests.len(), 3, "{:?}", folder.objects("checkpoints"));
        let stored: BTreeSet<String> = folder.objects("snapshots").into_iter().collect();
        assert_eq!(stored, reached(&folder.all_manifests()), "{chain}: what is stored is what is needed");
        let all = keys(0, 300, 50).into_iter().chain(["k1".to_owned(), "k2".to_owned()]);
        assert_eq!(folder.rows("out"), running_counts(all));
    }
}

#[test]
fn who_asks_to_stop_while_an_operator_fails_gets_a_last_checkpoint() {
    let job = |guest| {
        let topology = Topology::new("").source("lines", "", false).operator("pass", "echo", "\"lines\"");
        topology.operator("suspect", guest, r#"{ from = "pass", by = "key" }"#).sink("out", "\"suspect\"")
    };
    let folder = Folder::new(&job("trap-unreachable").patient());
    folder.feed("lines", "a", ["good", "poison", "good"]);
    let stopped =
        folder.run_with(2, |notice| if let Notice::Operator(OperatorEvent::Failed { .. }) = notice { Then::Stop } else { Then::GoOn });
    let stopped = stopped.expect(Ending::Stopped);
    assert_eq!(stopped.checkpoints().last().map(|made| (made.rows, made.finished)), Some((0, false)));
    assert!(folder.rows("out").is_empty(), "the row that fails was not read again");
    folder.set(&job("running-count"));
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts([""; 3]));
}

#[test]
fn a_run_that_is_asked_to_stop_before_it_begins_reads_nothing() {
    let folder = Folder::new(&counting("", true));
    folder.feed("keys", "a", ["k1", "k2", "k3"]);
    for _ in 0..20 {
        let (_ask, stop) = tokio::sync::watch::channel(true);
        let run = folder.run_set(2, |options| options.stop = stop, |_| Then::GoOn).expect(Ending::Stopped);
        assert_eq!(run.checkpoints().iter().map(|made| made.rows).collect::<Vec<_>>(), [0]);
    }
    folder.set(&counting("", false));
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(["k1", "k2", "k3"].map(str::to_owned)));
}
