//! What is refused: lies of guests, which stop the job with its state intact, and rows, which go to quarantine once each.

use super::jobs::{Folder, JOB, Then, Topology, running_counts};
use reprise::engine::OperatorEvent;
use reprise::job::{Ending, Error, Kind, Notice};
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, Quarantine};
use reprise_core::codec::{checksum, record};
use std::collections::BTreeMap;
use std::fs;

/// Every lie, the call that is blamed, and words of the report.
const LIES: [(&str, &str, &str); 10] = [
    ("lie-short-ends", "`process`", "ends for"),
    ("lie-decreasing-ends", "`process`", "below the end before it"),
    ("lie-last-end", "`process`", "the last end is"),
    ("lie-port", "`process`", "does not exist"),
    ("lie-huge", "`process`", "out of bounds"),
    ("lie-reject-row", "`process`", "is rejected"),
    ("lie-chunk-slot", "`snapshot`", "slot 9 does not exist"),
    ("lie-chunk-ends", "`snapshot`", "column"),
    ("lie-chunk-removed", "`snapshot`", "`removed` names cell 5 of 1"),
    ("lie-snapshot-endless", "`snapshot`", "parts without a cell"),
];

/// Lines, whose keys are empty, counted by a guest.
fn through(guest: &str, follow: bool) -> Topology {
    Topology::new("")
        .source("lines", "", follow)
        .operator("pass", "echo", "\"lines\"")
        .operator("suspect", guest, r#"{ from = "pass", by = "key" }"#)
        .sink("out", "\"suspect\"")
}

#[test]
fn what_a_lying_guest_returns_is_refused_with_its_name() {
    for (guest, call, words) in LIES {
        let folder = Folder::new(&through(guest, true));
        folder.feed("lines", "a", ["good"; 20]);
        let run = folder.run_feeding(2, "lines", &[("b", vec!["good".into(), "poison".into(), "good".into()])]);
        let error = run.error();
        let text = error.to_string();
        assert!(matches!(error, Error::Gave { failures: 2, .. }) && error.kind() == Kind::Guest, "{guest}: {error:?}");
        for expected in ["operator `suspect` instance", call, words, "help: "] {
            assert!(text.contains(expected), "{guest}: no {expected} in {text}");
        }
        assert!(run.notices.iter().any(|notice| matches!(notice, Notice::Operator(OperatorEvent::Failed { attempt: 1, .. }))), "{guest}");
        assert_eq!(folder.rows("out"), running_counts([""; 20]), "{guest}: nothing of the failed epoch is published");
        // The state is intact: an honest component with the same slot takes it up.
        folder.set(&through("running-count", false));
        folder.run(2).expect(Ending::Finished);
        assert_eq!(folder.rows("out"), running_counts([""; 23]), "{guest}");
    }
}

/// Lines of `key,value,time` parsed and summed, and JSON lines straight to a sink.
fn two_sources(checkpoint: &str, follow: bool) -> Topology {
    Topology::new(checkpoint)
        .source("lines", "", follow)
        .source("json", "format = \"json\"\nkey = { pointer = \"/id\" }", follow)
        .operator("parse", "parse-kv", "\"lines\"")
        .operator("sum", "count-sum", r#"{ from = "parse", by = "key" }"#)
        .sink("sums", "\"sum\"")
        .sink("copies", "\"json\"")
}

/// Every third line is bad; `stage` makes bad lines unlike those of other stages.
fn lines(stage: usize) -> Vec<String> {
    (0..60).map(|row| if row % 3 == 0 { format!("bad line {row} of stage {stage}") } else { format!("k{},{row},7", row % 5) }).collect()
}

fn json(stage: usize) -> Vec<String> {
    let bad = |row: usize| [format!("{{ {row} of stage {stage}"), format!("{{\"no\":\"key {row} of {stage}\"}}")][row % 2].clone();
    (0..40).map(|row| if row % 4 == 0 { bad(row / 4) } else { format!("{{\"id\":{row}}}") }).collect()
}

fn feed(folder: &Folder, stage: usize) {
    folder.feed("lines", &stage.to_string(), lines(stage));
    folder.feed_with_refused("json", &stage.to_string(), json(stage), 10);
}

/// The quarantined rows of a node, by the path of their object.
fn quarantined(folder: &Folder, node: &str) -> BTreeMap<String, Quarantine> {
    let objects = folder.objects(&format!("quarantine/{node}"));
    let read = |path: String| {
        let object: Quarantine = record::decode(&fs::read(folder.store().join(&path)).unwrap()).unwrap();
        (path, object)
    };
    objects.into_iter().map(read).collect()
}

fn values(objects: &BTreeMap<String, Quarantine>) -> Vec<String> {
    let rows = objects.values().flat_map(|object| &object.rows);
    let mut values: Vec<String> = rows.map(|row| String::from_utf8(row.value.clone()).unwrap()).collect();
    values.sort();
    values
}

fn check_references(folder: &Folder, node: &str, named: &[&ObjectRef]) {
    let objects = quarantined(folder, node);
    let mut paths: Vec<&str> = named.iter().map(|object| object.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, objects.keys().map(String::as_str).collect::<Vec<_>>(), "each object is named by one manifest, once");
    for reference in named {
        let bytes = fs::read(folder.store().join(&reference.path)).unwrap();
        let object = &objects[&reference.path];
        assert_eq!((bytes.len() as u64, checksum(&bytes)), (reference.bytes, reference.checksum));
        assert_eq!((object.rows.len() as u64, object.node.as_str()), (reference.entries, node));
        let name = format!("quarantine/{node}/{:012}-", object.epoch.0);
        assert!(reference.path.starts_with(&name) && reference.path.contains(&format!("-{:04}-", object.instance.0)), "{}", reference.path);
    }
}

#[test]
fn refused_rows_are_in_quarantine_once_each_across_a_stop_and_a_restart() {
    let folder = Folder::new(&two_sources("keep = 1000", true));
    feed(&folder, 0);
    let mut stage = 0;
    let run = folder.run_with(2, |notice| match notice {
        Notice::Checkpoint(made) if folder.is_covered_by(made) && stage == 1 => Then::Stop,
        Notice::Checkpoint(made) if folder.is_covered_by(made) => {
            stage += 1;
            feed(&folder, stage);
            Then::GoOn
        }
        _ => Then::GoOn,
    });
    run.expect(Ending::Stopped);
    feed(&folder, 2);
    folder.set(&two_sources("keep = 1000", false));
    let run = folder.run(2).expect(Ending::Finished);

    let is_bad = |line: &String| !line.starts_with('k') && !line.starts_with("{\"id\"");
    let bad = |lines: fn(usize) -> Vec<String>| {
        let mut bad: Vec<String> = (0..3).flat_map(lines).filter(is_bad).collect();
        bad.sort();
        bad
    };
    let (parse, source) = (quarantined(&folder, "parse"), quarantined(&folder, "json"));
    assert_eq!(values(&parse), bad(lines));
    assert_eq!(values(&source), bad(json));
    assert_eq!(folder.objects("quarantine").len(), parse.len() + source.len());
    assert!(parse.values().flat_map(|object| &object.rows).all(|row| row.reason.contains("comma") && row.origin.is_empty()));
    assert!(source.values().flat_map(|object| &object.rows).all(|row| !row.reason.is_empty() && row.origin.starts_with("in/json/")));

    let manifests = folder.manifests();
    let of_parse = |manifest: &Manifest| manifest.operators[0].instances.iter().flat_map(|i| i.quarantine.clone()).collect::<Vec<_>>();
    let named: Vec<ObjectRef> = manifests.iter().flat_map(of_parse).collect();
    check_references(&folder, "parse", &named.iter().collect::<Vec<_>>());
    check_references(&folder, "json", &manifests.iter().flat_map(|manifest| &manifest.sources[1].quarantine).collect::<Vec<_>>());
    let newest = folder.newest();
    assert_eq!(newest.job, JOB);
    assert_eq!(newest.operators[0].instances.iter().map(|instance| instance.rejected).sum::<u64>(), 60);
    assert_eq!((newest.sources[0].rejected, newest.sources[1].rejected), (0, 30));
    assert_eq!(run.checkpoints().last().unwrap().rejected, 90);
    assert_eq!((folder.lines("copies").len(), folder.lines("sums").len()), (90, 5), "what is good goes through");
}
