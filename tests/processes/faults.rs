//! Operators that fail: a clear report, an intact state, and a job that goes on once the operator is mended.

use super::of_kind;
use crate::support::{Counting, Input, Place, guest};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::codec::{checksum, record};
use serde_json::json;
use std::fs;

const ROWS: usize = 300_000;
const SLOW: &str = "steps-ahead = 1\nbatch-rows = 64";
const INTERVAL: &str = "interval = \"20ms\"";

/// A job that counts, with one row in the middle that wakes the evil in its counter.
fn poisoned() -> (Counting, Input) {
    let value = |row| if row == ROWS / 2 { "poison".to_owned() } else { format!("v{row}") };
    (Counting { parser: "parse-text", checkpoint: INTERVAL, flow: SLOW, ..Counting::default() }, Input::new(7, ROWS, 2_000, value))
}

/// Every manifest can be read, and every object it names is there as it was written.
#[track_caller]
fn assert_checkpoints_verify(place: &Place) {
    let manifests = place.manifests("counting");
    assert!(!manifests.is_empty(), "no checkpoint was made before the fault");
    for path in manifests {
        let manifest: Manifest = record::decode(&fs::read(&path).unwrap()).unwrap();
        assert!(!manifest.finished);
        for object in manifest.objects() {
            let bytes = fs::read(place.path("state/counting").join(&object.path)).unwrap();
            assert_eq!((bytes.len() as u64, checksum(&bytes)), (object.bytes, object.checksum), "{}", object.path);
        }
    }
}

/// A counter that fails stops the job with a report that has these texts; the healthy counter takes the job up again.
#[track_caller]
fn ends_clearly_and_goes_on(counter: &'static str, limits: &'static str, texts: &[&str]) {
    let (healthy, input) = poisoned();
    let faulty = Counting { counter, operator: limits, ..poisoned().0 };
    let place = faulty.place(&input.text);

    let ended = place.run(&["run", "job.toml", "--workers", "2"]);
    println!("{counter}:\n{}", ended.stderr);
    assert_eq!(ended.code(), Some(3), "{counter}: {ended}");
    assert_eq!(ended.stdout, "", "{counter}: reports go to standard error");
    for text in
        texts.iter().chain(&["operator `count` instance", "in `process`", "at epoch", "input `rows`", "help: ", "made again, 1 of 1"])
    {
        assert!(ended.stderr.contains(text), "{counter}: the report lacks `{text}`: {ended}");
    }
    let panicked = ended.stderr.contains("thread '") || ended.stderr.contains("internal");
    assert!(!panicked, "{counter}: the host itself seems to have failed: {ended}");
    assert_checkpoints_verify(&place);
    let before = place.published();

    place.write("job.toml", healthy.text());
    let ended = place.finish(2);
    assert!(ended.stderr.contains("takes up again from checkpoint"), "{counter}: {ended}");
    assert!(!ended.stderr.contains("passed over"), "{counter}: {ended}");
    assert!(ended.stderr.contains("operator `count` runs another component"), "{counter}: {ended}");
    assert!(before.len() < ROWS, "{counter}: nothing was left to do");
    place.published().assert_equals(&input.counted, counter);
}

const RETRY_ONCE: &str = "on-failure = { retries = 1, backoff = \"1ms..5ms\", then = \"stop\" }";

#[test]
fn unreachable_ends_in_a_clear_report_and_an_intact_state() {
    ends_clearly_and_goes_on("trap-unreachable", RETRY_ONCE, &["trapped", "unreachable"]);
}

#[test]
fn a_panic_ends_in_a_clear_report_and_an_intact_state() {
    ends_clearly_and_goes_on("panic", RETRY_ONCE, &["trapped", "the value was poison"]);
}

#[test]
fn an_endless_loop_ends_in_a_clear_report_and_an_intact_state() {
    let limits = "deadline = \"200ms\"\non-failure = { retries = 1, backoff = \"1ms..5ms\", then = \"stop\" }";
    ends_clearly_and_goes_on("endless-loop", limits, &["deadline of 200ms"]);
}

#[test]
fn a_memory_bomb_ends_in_a_clear_report_and_an_intact_state() {
    let limits = "memory = \"16MiB\"\non-failure = { retries = 1, backoff = \"1ms..5ms\", then = \"stop\" }";
    ends_clearly_and_goes_on("memory-bomb", limits, &["out of memory", "the limit is 16777216"]);
}

#[test]
fn a_stack_overflow_ends_in_a_clear_report_and_an_intact_state() {
    ends_clearly_and_goes_on("stack-overflow", RETRY_ONCE, &["stack overflow"]);
}

#[test]
fn a_faulty_job_that_is_run_again_unmended_stops_again_and_loses_nothing() {
    let (healthy, input) = poisoned();
    let place = Counting { counter: "trap-unreachable", operator: RETRY_ONCE, ..poisoned().0 }.place(&input.text);
    for _ in 0..3 {
        assert_eq!(place.run(&["run", "job.toml", "--workers", "2"]).code(), Some(3));
        assert_checkpoints_verify(&place);
    }
    place.write("job.toml", healthy.text());
    place.finish(2);
    place.published().assert_equals(&input.counted, "after three runs that failed");
}

#[test]
fn a_fault_that_passes_heals_by_itself() {
    // The fault depends on the millisecond. With twenty such rows it strikes in all but one of a million runs.
    let value = |row| if row > ROWS / 3 && row % (ROWS / 30) == 0 { "poison".to_owned() } else { "v".to_owned() };
    let input = Input::new(8, ROWS, 2_000, value);
    let healing = Counting {
        counter: "trap-sometimes",
        operator: "on-failure = { retries = 1000, backoff = \"1ms..5ms\", then = \"stop\" }",
        checkpoint: "interval = \"10ms\"",
        ..poisoned().0
    };
    let place = healing.place(&input.text);
    let ended = place.run(&["run", "job.toml", "--workers", "2", "--log", "json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let events = ended.events();
    let failed = of_kind(&events, "operator-failed");
    println!("{} failures", failed.len());
    assert!(failed.iter().any(|event| event["report"].as_str().unwrap().contains("operator `count`")), "nothing failed: {ended}");
    assert_eq!(of_kind(&events, "operator-recovered").len(), failed.len(), "each failure is followed by a recovery: {ended}");
    assert_eq!(of_kind(&events, "started").len(), 1, "the job itself never starts again: {ended}");
    let status = &of_kind(&events, "end")[0]["status"];
    assert_eq!(status["operators"]["count"]["recovery"]["recoveries"], failed.len(), "{ended}");
    assert_eq!(status["operators"]["count"]["recovery"]["by_standby"], 0, "there is none: {ended}");
    assert_eq!((&status["restarts"], &status["operators"]["count"]["recovery"]["quarantined"]), (&json!(0), &json!(0)), "{ended}");
    place.published().assert_equals(&input.counted, "after faults that passed");
}

#[test]
fn a_component_that_cannot_be_used_is_a_mistake_of_the_topology() {
    for (counter, text) in
        [("import-alien", "`evil:host/api@0.1.0`: no operator is given this interface"), ("bad-description", "bad-description.wasm")]
    {
        let place = Counting { counter, ..Counting::default() }.place("");
        let ended = place.run(&["run", "job.toml"]);
        assert_eq!(ended.code(), Some(2), "{ended}");
        assert!(ended.stderr.contains(text) && ended.stderr.contains("job.toml:"), "{ended}");
        assert!(!place.path("state").exists(), "nothing was begun");
    }
    assert!(guest("open-error").exists());
    let place = Counting { counter: "open-error", operator: RETRY_ONCE, ..Counting::default() }.place("k,1,1\n");
    let ended = place.run(&["run", "job.toml"]);
    assert_eq!(ended.code(), Some(3), "{ended}");
    assert!(ended.stderr.contains("operator `count` instance") && ended.stderr.contains("`open` returned an error"), "{ended}");
}
