//! `check`, `inspect` and the JSON log, as scripts see them.

use super::of_kind;
use crate::golden;
use crate::support::{Counting, Input, Place, guest};
use serde_json::Value;
use std::fs;

#[test]
fn check_reports_all_six_mistakes() {
    let place = Place::new();
    place.write("six-mistakes.toml", fs::read(golden::path("topology/six-mistakes.toml")).unwrap());
    let expected = fs::read_to_string(golden::path("topology/six-mistakes.expected")).unwrap();
    for command in ["check", "run"] {
        let ended = place.run(&[command, "six-mistakes.toml"]);
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert_eq!(ended.stderr.trim_end(), expected.trim_end(), "{command}");
        let places = ended.stderr.lines().filter(|line| line.starts_with("six-mistakes.toml:")).count();
        assert_eq!((places, ended.stdout.as_str()), (6, ""));
    }
    let ended = place.run(&["check", "six-mistakes.toml", "--json"]);
    assert_eq!(ended.code(), Some(2), "{ended}");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["ok"], answer["problems"].as_str().map(str::trim_end)), (&Value::Bool(false), Some(expected.trim_end())));
}

#[test]
fn more_instances_than_there_is_room_for_are_a_mistake_of_the_topology() {
    let many = "parallelism = 256\nstandby = true";
    let mut text = Counting { operator: many, ..Counting::default() }.text();
    let component = guest("running-count");
    for name in ["second", "third"] {
        text +=
            &format!("[[operator]]\nname = \"{name}\"\ncomponent = {component:?}\ninput = {{ from = \"parse\", by = \"key\" }}\n{many}\n");
    }
    let ended = Place::with(&text).run(&["check", "job.toml", "--workers", "1"]);
    assert_eq!(ended.code(), Some(2), "{ended}");
    let expected = ["job.toml:", "need room for 4615 instances", "at most 4096", "lower `parallelism` or `--workers`", "has 256 instances"];
    assert!(expected.iter().all(|part| ended.stderr.contains(part)), "{ended}");
}

#[test]
fn check_prints_the_plan_of_a_topology_and_begins_nothing() {
    let place = Counting::default().place("");
    let ended = place.run(&["check", "job.toml", "--workers", "3"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    for text in ["job counting: 3 workers", "operator count", "by key", "sink counts"] {
        assert!(ended.stdout.contains(text), "the plan lacks `{text}`: {ended}");
    }
    let ended = place.run(&["check", "job.toml", "--json"]);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["ok"], &answer["job"]), (&Value::Bool(true), &Value::from("counting")));
    assert_eq!(answer["operators"][1]["description"]["name"], "running-count");
    assert!(!place.path("state").exists() && !place.path("out").exists());
}

#[test]
fn a_command_line_that_is_wrong_has_exit_code_2() {
    let place = Place::new();
    for arguments in [&["run"][..], &["run", "job.toml", "--workers", "0"], &["walk"], &["run", "missing.toml"], &["check", "missing.toml"]]
    {
        let ended = place.run(arguments);
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended}");
        assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {ended}");
    }
}

#[test]
fn inspect_shows_what_a_component_is() {
    let place = Place::new();
    let file = guest("running-count");
    let file = file.to_str().unwrap();
    let ended = place.run(&["inspect", file]);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{ended}");
    for text in ["running-count", "rows", "counts", "Keyed", "reprise:operator/runtime@0.1.0", "reprise:operator/state@0.1.0"] {
        assert!(ended.stdout.contains(text), "it lacks `{text}`: {ended}");
    }
    let ended = place.run(&["inspect", file, "--json"]);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["kind"], &answer["refused"]), (&Value::from("module"), &Value::Null));
    assert_eq!(answer["description"]["slots"][0]["name"], "counts");
    assert_eq!(answer["digest"].as_str().map(str::len), Some(64));
}

#[test]
fn inspect_refuses_a_component_with_a_foreign_import_and_lists_them() {
    let place = Place::new();
    let file = guest("import-alien");
    let ended = place.run(&["inspect", file.to_str().unwrap()]);
    assert_eq!(ended.code(), Some(2), "{ended}");
    assert!(ended.stdout.contains("import    evil:host/api@0.1.0"), "{ended}");
    assert!(ended.stderr.contains("would be refused") && ended.stderr.contains("`evil:host/api@0.1.0`"), "{ended}");
    let ended = place.run(&["inspect", file.to_str().unwrap(), "--json"]);
    assert_eq!(ended.code(), Some(2), "{ended}");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(answer["imports"].as_array().unwrap().contains(&Value::from("evil:host/api@0.1.0")), "{answer}");
    assert!(answer["refused"].as_str().unwrap().contains("evil:host/api@0.1.0"), "{answer}");

    place.write("junk.wasm", b"\0asm junk");
    for arguments in [["inspect", "junk.wasm"], ["inspect", "missing.wasm"]] {
        let ended = place.run(&arguments);
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr.starts_with("error: "), "{ended}");
    }
}

#[test]
fn the_json_log_is_one_object_a_line_from_begin_to_end() {
    const ROWS: usize = 100_000;
    let input = Input::new(20, ROWS, 100, |_| "1".to_owned());
    let slow = Counting { flow: "steps-ahead = 1\nbatch-rows = 256", checkpoint: "interval = \"10ms\"", ..Counting::default() };
    let place = slow.place(&input.text);
    let ended = place.run(&["run", "job.toml", "--workers", "2", "--log", "json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let events = ended.events();
    let kind = |at: usize| events[at]["event"].as_str().unwrap_or_default();
    assert_eq!((kind(0), kind(1), kind(events.len() - 1)), ("begin", "started", "end"), "{ended}");
    assert_eq!((&events[0]["job"], &events[0]["workers"]), (&Value::from("counting"), &Value::from(2)));
    let checkpoints = of_kind(&events, "checkpoint");
    let rows: Vec<u64> = checkpoints.iter().map(|event| event["rows"].as_u64().unwrap()).collect();
    assert!(rows.is_sorted() && rows.last() == Some(&(ROWS as u64)), "{rows:?}");
    assert_eq!(checkpoints.last().unwrap()["finished"], true, "{ended}");
    assert_eq!(events.last().unwrap()["status"]["rows_out"], ROWS, "{ended}");

    let again = place.run(&["run", "job.toml", "--log", "json"]);
    let events = again.events();
    assert!(of_kind(&events, "end")[0]["text"].as_str().unwrap().contains("finished already"), "{again}");
    assert!(of_kind(&events, "checkpoint").is_empty(), "{again}");
}

#[test]
fn errors_are_objects_in_the_json_log_too() {
    let place = Counting::default().place("");
    place.write("state", "a file where a folder should be");
    let ended = place.run(&["run", "job.toml", "--log", "json"]);
    assert_eq!(ended.code(), Some(4), "{ended}");
    let events = ended.events();
    let error = of_kind(&events, "error")[0];
    assert_eq!((&error["kind"], &error["exit_code"]), (&Value::from("storage"), &Value::from(4)), "{ended}");
}
