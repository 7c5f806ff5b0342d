//! `savepoint` and `run --from`: asked for while a host runs, made where none does, begun with, and dropped.

use super::{events, of_kind, rows_checkpointed};
use crate::support::{Counting, Input, Place};
use serde_json::Value;

const ROWS: usize = 4_000;
const FOLLOWING: &str = "follow = true\npoll = \"20ms\"";
const SETTINGS: &str = "interval = \"20ms\"\nsavepoint-poll = \"100ms\"";

fn input() -> Input {
    Input::new(31, ROWS, 60, |_| "1".to_owned())
}

fn counting(source: &'static str) -> Counting {
    Counting { source, checkpoint: SETTINGS, ..Counting::default() }
}

#[track_caller]
fn savepoint(place: &Place, arguments: &[&str]) -> String {
    let ended = place.run(&[&["savepoint", "job.toml"], arguments].concat());
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{ended}");
    ended.stdout
}

#[track_caller]
fn savepoints(place: &Place) -> Vec<Value> {
    let ended = place.run(&["checkpoint", "list", "job.toml", "--json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    serde_json::from_str::<Value>(&ended.stdout).unwrap()["savepoints"].as_array().unwrap().clone()
}

#[test]
fn a_job_begins_again_with_a_savepoint_of_a_host_that_ran() {
    let input = input();
    let lines: Vec<&str> = input.text.split_inclusive('\n').collect();
    let place = counting(FOLLOWING).place(&lines[..ROWS / 2].concat());
    let mut running = place.start(&["run", "job.toml", "--workers", "2", "--log", "json"]);
    running.wait_until("half of the rows", |running| rows_checkpointed(&running.told()) == ROWS as u64 / 2);
    assert_eq!(savepoint(&place, &["middle"]), "savepoint `middle` is made\n");
    running.wait_until("the word of it", |running| {
        of_kind(&events(&running.told()), "savepoint").iter().any(|event| event["name"] == "middle")
    });
    place.write("in/more.txt", lines[ROWS / 2..].concat());
    running.wait_until("all rows", |running| rows_checkpointed(&running.told()) == ROWS as u64);
    assert_eq!(savepoint(&place, &["end", "--stop"]), "savepoint `end` is made\n");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    let found = savepoints(&place);
    let names: Vec<&str> = found.iter().map(|savepoint| savepoint["savepoint"].as_str().unwrap()).collect();
    assert_eq!(names, ["end", "middle"]);
    // Some day in this century.
    assert!(found.iter().all(|savepoint| savepoint["written_ms"].as_i64().unwrap() > 1_600_000_000_000), "{found:?}");

    let again = place.run(&["savepoint", "job.toml", "middle", "--wait", "0"]);
    assert_eq!(again.code(), Some(2), "{again}");
    assert!(again.stderr.starts_with("error: savepoint `middle` exists already"), "{again}");
    place.write("job.toml", std::fs::read_to_string(place.path("job.toml")).unwrap().replace(FOLLOWING, ""));
    let ended = place.run(&["run", "job.toml", "--workers", "3", "--from", "middle"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    place.published().assert_equals(&input.counted, "begun again with a savepoint");
    place.assert_counts_in_order();
    let none = place.run(&["run", "job.toml", "--from", "nothing"]);
    assert_eq!(none.code(), Some(6), "{none}");
    assert_eq!(savepoint(&place, &["middle", "--drop"]), "savepoint `middle` is removed\n");
    assert_eq!(savepoints(&place).len(), 1);
}

#[test]
fn a_savepoint_is_made_where_no_host_runs_and_refused_where_none_answers() {
    let input = input();
    let place = counting("").place(&input.text);
    place.finish(2);
    let unheard = place.run(&["savepoint", "job.toml", "unheard", "--wait", "0"]);
    assert_eq!(unheard.code(), Some(2), "{unheard}");
    assert!(
        unheard.stderr.starts_with("error: savepoint `unheard` was not made in time") && unheard.stderr.contains("--offline"),
        "{unheard}"
    );
    savepoint(&place, &["offline", "--offline"]);
    let found = savepoints(&place);
    assert_eq!((found.len(), &found[0]["savepoint"]), (1, &Value::from("offline")));
    assert!(found[0]["written_ms"].as_i64().unwrap() > 1_600_000_000_000, "{found:?}");
}
