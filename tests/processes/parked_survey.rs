//! What commands tell of parked input, on a store that is written here: what they print is golden, save what depends on the time of day.

use super::survey::{JOB, check, orders, put};
use crate::support::Place;
use reprise_core::batch::{Batch, Row};
use reprise_core::checkpoint::manifest::{Hop, ParkedRef};
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef};
use reprise_core::checkpoint::paths;
use reprise_core::codec::parked::{ParkedEdge, ParkedHead, ParkedItem, encode};
use reprise_core::codec::record;
use reprise_core::ids::{Epoch, Generation, Instance};
use serde_json::{Value, json};
use std::fs;

const SINCE_MS: i64 = 1_700_000_002_000;

/// The store of the surveys with one checkpoint more: both instances have a share of one object, and the second has another.
fn place() -> Place {
    let place = orders();
    let bytes = fs::read(place.path(&format!("state/{JOB}/{}", paths::manifest(Epoch(42))))).unwrap();
    let mut manifest: Manifest = record::decode(&bytes).unwrap();
    (manifest.epoch, manifest.parent, manifest.taken_over) = (Epoch(43), Some(Epoch(42)), false);
    let (operator, generation) = ("count".to_owned(), Generation(8));
    let object = |instance, epoch, number| {
        let edges = vec![ParkedEdge { from: "in".into(), port: 0, input: "rows".into() }];
        let head = ParkedHead { job: JOB.into(), operator: operator.clone(), instance, epoch, generation, edges };
        let mut rows = Batch::new();
        (0..4).for_each(|time| rows.push(Row { time, key: b"be", value: b"1" }).unwrap());
        let bytes = encode(&head, &[ParkedItem::Rows { edge: 0, rows }, ParkedItem::Watermark(3)]).unwrap();
        ObjectRef { entries: 5, ..put(&place, &paths::parked(&operator, instance, epoch, generation, number), &bytes) }
    };
    let parked =
        |object: &ObjectRef, hops, done, rows| ParkedRef { object: object.clone(), hops, done, rows, bytes: 19 * rows, since_ms: SINCE_MS };
    let (shared, own) = (object(Instance(0), Epoch(42), 0), object(Instance(1), Epoch(43), 1));
    let hop = |to| vec![Hop { done: 0, from: 0, to, of: 2 }];
    let instances = &mut manifest.operators[0].instances;
    instances[0].parked = vec![parked(&shared, hop(0), 0, 1)];
    instances[1].parked = vec![parked(&shared, hop(1), 1, 2), parked(&own, vec![], 1, 3)];
    put(&place, &paths::manifest(Epoch(43)), &record::encode(&manifest).unwrap());
    place
}

#[test]
fn parked_input_is_shown_compared_and_verified() {
    let place = place();
    for (name, arguments) in [
        ("show-parked", &["checkpoint", "show", "job.toml", "43"][..]),
        ("show-parked-json", &["checkpoint", "show", "job.toml", "43", "--json"]),
        ("diff-parked", &["checkpoint", "diff", "job.toml", "41", "43"]),
        ("verify-parked", &["checkpoint", "verify", "job.toml", "43"]),
        ("state-parked", &["state", "show", "job.toml", "count", "--limit", "0"]),
        ("state-parked-json", &["state", "show", "job.toml", "count", "--limit", "0", "--json"]),
    ] {
        let ended = check(&place, name, arguments);
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{ended}");
    }
    fs::remove_file(place.path(&format!("state/{JOB}/{}", paths::parked("count", Instance(1), Epoch(43), Generation(8), 1)))).unwrap();
    let ended = check(&place, "verify-parked-damaged", &["checkpoint", "verify", "job.toml", "43"]);
    assert_eq!(ended.code(), Some(6), "without it the checkpoint cannot be taken up: {ended}");
}

#[test]
fn what_is_parked_is_listed_by_operator() {
    let place = place();
    let listed = place.run(&["parked", "list", "job.toml", "--json"]);
    assert_eq!((listed.code(), listed.stderr.as_str()), (Some(0), ""), "{listed}");
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let one = &listed["operators"][0];
    assert!(one["age_ms"].as_i64().is_some_and(|age| age > 0), "{listed}");
    let told = ["operator", "rows", "bytes", "since_ms", "objects"].map(|member| one[member].clone());
    assert_eq!(told, [json!("count"), json!(6), json!(6 * 19), json!(SINCE_MS), json!(2)]);
    let listed = place.run(&["parked", "list", "--store", "file:state", "--job", JOB, "--at", "41"]);
    assert_eq!((listed.code(), listed.stdout.as_str()), (Some(0), "parked input at checkpoint 41 of job `orders`\n  nothing is parked\n"));
    let listed = place.run(&["parked", "list", "job.toml"]);
    assert!(listed.stdout.starts_with("parked input at checkpoint 43 of job `orders`\n  operator  rows"), "{listed}");
}

#[test]
fn who_gives_up_where_no_host_runs_is_told_so_and_leaves_nothing() {
    let place = place();
    for command in ["drop", "move-to-quarantine"] {
        let refused = place.run(&["parked", command, "job.toml", "cuont"]);
        assert_eq!(refused.code(), Some(2), "{refused}");
        assert_eq!(refused.stderr, "error: operator `cuont` does not exist\n  help: the topology has `count`\n");
        let unheard = place.run(&["parked", command, "job.toml", "count", "--wait", "0"]);
        assert_eq!((unheard.code(), unheard.stdout.as_str()), (Some(2), ""), "{unheard}");
        let message = "error: operator `count` has parked input that was not given up in time: no host answered\n  help: ";
        assert!(unheard.stderr.starts_with(message), "{unheard}");
        assert!(crate::support::files_below(&place.path(&format!("state/{JOB}/requests"))).is_empty(), "the request is taken back");
    }
}
