//! `quarantine list`, `show`, `drop` and `replay`: what they print is golden, and what a mended component makes of the rows is what it makes of
//! the full input.

use super::survey::{check, orders, put};
use super::{events, of_kind};
use crate::support::{Place, Running, guest};
use reprise_core::checkpoint::faulted::{FaultedRow, FaultedRows};
use reprise_core::checkpoint::manifest::QuarantinedRow;
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use reprise_core::ids::{Digest, Epoch, Generation, Instance};
use serde_json::Value;
use std::collections::BTreeMap;

/// Refuses lines whose value is no number.
const STRICT: &str = "parse-kv";
/// Takes them.
const MENDED: &str = "parse-text";
const ROWS: usize = 3_000;

fn topology(parser: &str, follow: bool) -> String {
    let (parser, count) = (guest(parser), guest("running-count"));
    let follow = if follow { "follow = true\npoll = \"20ms\"" } else { "" };
    format!(
        "name = \"mended\"\n[checkpoint]\nstore = \"file:./state\"\ninterval = \"20ms\"\nkeep = 5\nsavepoint-poll = \"100ms\"\n\
         [flow]\nbatch-rows = 16\n[[source]]\nname = \"lines\"\n[source.file]\npath = \"in/*\"\n{follow}\n\
         [[operator]]\nname = \"parse\"\ncomponent = {parser:?}\ninput = \"lines\"\n\
         [[operator]]\nname = \"count\"\ncomponent = {count:?}\ninput = {{ from = \"parse\", by = \"key\" }}\n\
         [[sink]]\nname = \"out\"\ninput = \"count\"\nfile = {{ path = \"out\", format = \"csv\" }}\n"
    )
}

fn input() -> String {
    (0..ROWS).map(|row| format!("k{},{},7\n", row % 11, if row % 2 == 0 { "x".to_owned() } else { row.to_string() })).collect()
}

/// A job that has refused every other row and finished.
fn finished() -> Place {
    let place = Place::with(&topology(STRICT, false));
    place.write("in/rows.txt", input());
    place.finish(2);
    place
}

/// Each key has its counts from 1 to that of its rows, once each, without those that were dropped.
#[track_caller]
fn assert_all_counted(place: &Place, dropped: &[&str]) {
    place.assert_counts_in_order();
    let mut counts = BTreeMap::<String, usize>::new();
    for file in crate::support::files_below(&place.path("out")) {
        for line in std::fs::read_to_string(file).unwrap().lines() {
            *counts.entry(line.split(',').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    let expected: BTreeMap<String, usize> = (0..11)
        .map(|key| (key, format!("k{key}")))
        .map(|(key, name)| {
            ((0..ROWS).filter(|row| row % 11 == key).count() - dropped.iter().filter(|dropped| **dropped == name).count(), name)
        })
        .map(|(count, name)| (name, count))
        .collect();
    assert_eq!(counts, expected);
}

#[track_caller]
fn json(place: &Place, arguments: &[&str]) -> Value {
    let ended = place.run(&[&["quarantine"], arguments, &["--json"]].concat());
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{ended}");
    serde_json::from_str(&ended.stdout).unwrap()
}

fn listed(place: &Place) -> Vec<Value> {
    json(place, &["list", "job.toml", "--limit", "1000000"])["rows"].as_array().unwrap().clone()
}

#[test]
fn rows_are_listed_shown_dropped_and_sent_again() {
    let place = finished();
    let rows = listed(&place);
    assert_eq!(rows.len(), ROWS / 2);
    let id = rows[0]["id"].as_str().unwrap();
    assert!(rows.iter().all(|row| row["node"] == "parse" && row["kind"] == "refused" && row["state"] == "held"));
    let some = json(&place, &["list", "job.toml", "--limit", "2", "--node", "parse", "--reason", "integer"]);
    assert_eq!((&some["more"], some["rows"].as_array().unwrap().as_slice()), (&Value::Bool(true), &rows[..2]));
    for none in [["--node", "count"], ["--reason", "nothing of the kind"]] {
        assert_eq!(json(&place, &[&["list", "job.toml"], &none[..]].concat())["rows"], Value::Array(vec![]));
    }
    let shown = json(&place, &["show", "job.toml", id]);
    assert_eq!(
        (&shown["id"], &shown["input"], shown["component"].is_null()),
        (&rows[0]["id"], &Value::from(0), shown["written_ms"].is_null())
    );
    let raw = place.run(&["quarantine", "show", "job.toml", id, "--raw"]);
    assert_eq!((raw.code(), raw.stdout.as_str()), (Some(0), shown["value"].as_str().unwrap()), "{raw}");
    // The first one is dropped.
    let dropped = place.run(&["quarantine", "drop", "job.toml", id]);
    assert_eq!((dropped.code(), dropped.stdout.as_str()), (Some(0), "1 row is dropped\n"), "{dropped}");
    assert_eq!(listed(&place).len(), ROWS / 2 - 1);
    let asked = json(&place, &["replay", "job.toml", "--node", "parse"]);
    assert_eq!((&asked["asked"], &asked["before"]), (&Value::from(ROWS / 2 - 1), &Value::from(0)));
    assert!(listed(&place).iter().all(|row| row["state"] == "asked"));
    place.write("job.toml", topology(MENDED, false));
    let ended = place.run(&["run", "job.toml", "--workers", "3", "--log", "json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(of_kind(&ended.events(), "replays")[0]["rows"], ROWS / 2 - 1);
    assert_eq!(listed(&place), [] as [Value; 0]);
    assert_all_counted(&place, &[raw.stdout.split(',').next().unwrap()]);
    assert_eq!(json(&place, &["show", "job.toml", id])["state"], "dropped");
    assert_eq!(json(&place, &["show", "job.toml", rows[1]["id"].as_str().unwrap()])["state"], "replayed");
}

fn start(place: &Place) -> Running {
    place.start(&["run", "job.toml", "--workers", "2", "--log", "json"])
}

fn has_told(running: &Running, kind: &str) -> bool {
    !of_kind(&events(&running.told()), kind).is_empty()
}

/// A job that has refused every other row, and is to follow its input with the mended component.
fn to_follow() -> Place {
    let place = finished();
    place.write("job.toml", topology(MENDED, true));
    // A job that has finished is begun again where there is something to send.
    let first = json(&place, &["list", "job.toml", "--limit", "1"])["rows"][0]["id"].as_str().unwrap().to_owned();
    json(&place, &["replay", "job.toml", &first]);
    place
}

#[test]
fn a_host_that_runs_sends_rows_again() {
    let place = to_follow();
    let mut running = start(&place);
    running.wait_until("the first row to be sent", |running| has_told(running, "replays"));
    assert_eq!(json(&place, &["replay", "job.toml", "--all"])["asked"], ROWS / 2 - 1);
    running.wait_until("all rows to be sent", |_| listed(&place).is_empty());
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    let sent: u64 = of_kind(&ended.events(), "replays").iter().map(|event| event["rows"].as_u64().unwrap()).sum();
    assert!(sent >= ROWS as u64 / 2, "{ended}");
    assert_all_counted(&place, &[]);
}

#[test]
fn a_host_that_is_killed_while_it_sends_rows_again_neither_loses_nor_doubles_one() {
    let place = to_follow();
    json(&place, &["replay", "job.toml", "--all"]);
    for checkpoints in 0..4 {
        let mut running = start(&place);
        running.wait_until("checkpoints", |running| {
            let told = events(&running.told());
            let begun = !of_kind(&told, "started").is_empty();
            begun && (of_kind(&told, "checkpoint").len() >= checkpoints || listed(&place).is_empty())
        });
        running.kill();
        drop(running.wait());
    }
    place.write("job.toml", topology(MENDED, false));
    place.finish(2);
    assert_eq!(listed(&place), [] as [Value; 0]);
    assert_all_counted(&place, &[]);
}

/// The store of the surveys, with rows on which its operator failed in an epoch whose manifest is gone.
fn faulted() -> Place {
    let place = orders();
    let row = |key: &[u8], reason: &str| QuarantinedRow {
        input: 0,
        origin: String::new(),
        time: 1_700_000_000_000,
        key: key.to_vec(),
        value: b"{\"n\":\"\xff\x1b[2J\"}".to_vec(),
        reason: reason.to_owned(),
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let trapped = FaultedRow {
        row: row(b"k\x1b[2J", "trapped in `process`: unreachable executed\n  a second line"),
        call: "process".into(),
        kind: "trap".into(),
        backtrace: texts(&["core::panicking::panic", "count::process"]),
        log_tail: texts(&["near the end\u{1b}[2J"]),
        capsule: Some("capsules/count-30-6.capsule".into()),
    };
    let late = FaultedRow { kind: "deadline".into(), row: row(b"", "over its deadline"), capsule: None, ..trapped.clone() };
    let (node, instance, epoch) = ("count".to_owned(), Instance(0), Epoch(30));
    let object = FaultedRows { node, instance, epoch, component: Digest([0xdd; 32]), line: 5, rows: vec![trapped, late] };
    put(&place, &paths::quarantine("count", instance, epoch, Generation(6), 0), &record::encode(&object).unwrap());
    put(&place, &paths::quarantine("count", instance, Epoch(31), Generation(6), 0), b"REPRISE\0 damaged");
    place
}

#[test]
fn lists_and_rows_print_their_golden_text_and_json() {
    let place = faulted();
    let commands: [(&str, &[&str]); 3] = [
        ("quarantine-list", &["quarantine", "list", "job.toml"]),
        ("quarantine-show", &["quarantine", "show", "job.toml", "count/30-6-0-0/0"]),
        ("quarantine-show-refused", &["quarantine", "show", "job.toml", "count/41-7-1-0/1"]),
    ];
    for (name, arguments) in commands {
        let ended = check(&place, name, arguments);
        assert_eq!(ended.code(), Some(0), "{ended}");
        assert!(!ended.stdout.contains('\u{1b}') && !ended.stderr.contains('\u{1b}'), "what is stored does not steer a terminal: {ended}");
        let ended = check(&place, &format!("{name}-json"), &[arguments, &["--json"]].concat());
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((&json["job"], ended.stdout.lines().count()), (&Value::from("orders"), 1));
    }
    let errors: [(&str, &[&str]); 4] = [
        ("quarantine-no-row", &["quarantine", "show", "job.toml", "count/41-7-1-0/2"]),
        ("quarantine-no-id", &["quarantine", "show", "job.toml", "count"]),
        ("quarantine-nothing", &["quarantine", "drop", "job.toml"]),
        ("quarantine-too-much", &["quarantine", "replay", "job.toml", "count/41-7-1-0/1", "--all"]),
    ];
    for (name, arguments) in errors {
        let ended = check(&place, &format!("error-{name}"), arguments);
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(2), ""), "{ended}");
    }
}
