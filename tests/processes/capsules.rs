//! `reprise replay`, as a person uses it after a job has stopped: the message names the capsule, and the exit code tells whether it reproduced.

use crate::support::{Counting, Place, guest};
use serde_json::{Value, json};

/// A place where the counter has overflowed its stack in a snapshot, and the path of the capsule that the message names.
fn stopped() -> (Place, String) {
    let operator = "on-failure = { retries = 1, backoff = \"1ms..1ms\", capsules = \"always\" }\ndeadline = \"60s\"";
    let checkpoint = "snapshot-part = \"1MiB\"";
    let place = Counting { parser: "parse-text", counter: "snapshot-recursion", checkpoint, operator, ..Counting::default() }
        .place("a,v,1\nb,v,2\na,poison,3\n");
    let ended = place.run(&["run", "job.toml", "--workers", "1"]);
    assert_eq!(ended.code(), Some(3), "{ended}");
    let named = ended.stderr.lines().find_map(|line| line.trim().strip_prefix("capsule: ")).unwrap_or_else(|| panic!("{ended}"));
    let path = format!("state/counting/{named}");
    (place, path)
}

#[test]
fn the_capsule_that_a_stopped_job_names_reproduces_and_a_mended_component_does_not_fail() {
    let (place, capsule) = stopped();
    let ended = place.run(&["replay", &capsule]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    for text in [
        "operator `count` instance 0 of 1 of job `counting`, epoch ",
        "\n0 cells restored, ",
        " calls repeated, then a snapshot (full) in parts of 1048576 bytes\n",
        "then  trapped in `snapshot`: stack overflow (`stack` in `limits` of the topology)\n",
        "now   trapped in `snapshot`: stack overflow (`stack` in `limits` of the topology)\n",
        "reproduced: the same call fails in the same way at the same place\n",
    ] {
        assert!(ended.stdout.contains(text), "{text}: {ended}");
    }
    let ended = place.run(&["replay", &capsule, "--json"]);
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let found = ["reproduced", "given", "scope", "other_component"].map(|field| answer[field].clone());
    assert_eq!((ended.code(), found), (Some(0), [json!(true), json!("snapshot"), json!("full"), json!(false)]), "{ended}");
    assert_eq!(answer["expected"]["backtrace"], answer["found"]["backtrace"]);
    assert_eq!(answer["expected"]["kind"], "stack");
    let mended = guest("running-count");
    let ended = place.run(&["replay", &capsule, "--component", mended.to_str().unwrap()]);
    assert_eq!(ended.code(), Some(9), "{ended}");
    assert!(ended.stdout.contains("mended: the other component does not fail"), "{ended}");
}

#[test]
fn a_file_that_is_no_capsule_is_refused() {
    let (place, capsule) = stopped();
    let mut bytes = std::fs::read(place.path(&capsule)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    place.write("damaged.capsule", bytes);
    for (file, text) in [("damaged.capsule", "is no capsule that can be used"), ("missing.capsule", "cannot read `missing.capsule`")] {
        let ended = place.run(&["replay", file]);
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr.contains(text), "{ended}");
    }
}
