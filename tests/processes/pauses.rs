//! `resume`: an operator that is paused for an hour goes on because somebody asks, and what is said where it cannot.

use super::{events, of_kind};
use crate::support::{Counting, Input, Place, Running};
use serde_json::{Value, json};

const ROWS: usize = 600;
/// Rows at which the counter traps.
const POISON: usize = 3;
const ENDED: &str = "the pause of operator `count` is ended: its next call decides\n";

fn place() -> (Place, Input) {
    let value = |row: usize| if row % (ROWS / POISON) == ROWS / POISON / 2 { "poison".to_owned() } else { "v".to_owned() };
    let input = Input::new(11, ROWS, 30, value);
    let counting = Counting {
        parser: "parse-text",
        counter: "trap-unreachable",
        operator: "on-failure = { retries = 0, faults-max = 0, pause = \"1h\" }",
        checkpoint: "interval = \"20ms\"\nsavepoint-poll = \"50ms\"",
        flow: "batch-rows = 16",
        ..Counting::default()
    };
    (counting.place(&input.text), input)
}

/// Pauses that began and were not ended on request.
fn open(running: &Running) -> usize {
    let events = events(&running.told());
    of_kind(&events, "operator-paused").len() - of_kind(&events, "operator-pause-ended").len()
}

#[test]
fn an_operator_that_is_paused_for_an_hour_is_resumed_by_command() {
    let (place, input) = place();
    // One worker: each row of poison is met by itself, and opens a breaker that a row before it has closed.
    let mut running = place.start(&["run", "job.toml", "--workers", "1", "--log", "json"]);
    running.wait_until("the first pause", |running| open(running) == 1);
    running.wait_until("a status that shows it", |running| {
        let events = events(&running.told());
        of_kind(&events, "status").last().is_some_and(|status| status["operators"]["count"]["recovery"]["is_paused"] == true)
    });
    let unknown = place.run(&["resume", "job.toml", "cuont"]);
    assert_eq!((unknown.code(), unknown.stdout.as_str()), (Some(2), ""), "{unknown}");
    assert_eq!(unknown.stderr, "error: operator `cuont` does not exist\n  help: the topology has `parse`, `count`\n");
    let not_paused = place.run(&["resume", "job.toml", "parse"]);
    assert_eq!((not_paused.code(), not_paused.stdout.as_str()), (Some(2), ""), "{not_paused}");
    assert!(not_paused.stderr.starts_with("error: operator `parse` is not paused\n  help: "), "{not_paused}");
    assert_eq!(open(&running), 1, "the other operator is paused as before");

    let ways = [&["count"][..], &["--all", "--json"], &["--all"]];
    for (done, way) in ways.iter().enumerate() {
        running.wait_until("the next pause", |running| open(running) == 1);
        let ended = place.run(&[&["resume", "job.toml"], *way].concat());
        assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{done}: {ended}");
        match way.contains(&"--json") {
            true => {
                let expected =
                    json!({ "operators": [{ "operator": "parse", "was_paused": false }, { "operator": "count", "was_paused": true }] });
                assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), expected);
            }
            false => assert_eq!(ended.stdout, ENDED),
        }
    }
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    let events = ended.events();
    assert_eq!(of_kind(&events, "operator-paused").len(), POISON, "{ended}");
    let told = of_kind(&events, "operator-pause-ended");
    assert!(told.len() == POISON && told.iter().all(|event| event["operator"] == "count"), "{ended}");
    assert_eq!(of_kind(&events, "quarantined").len(), POISON, "{ended}");
    assert_eq!(place.published().len() + POISON, input.text.lines().count());
    place.assert_counts_in_order();
    let left = crate::support::files_below(&place.path("state/counting/requests"));
    assert!(left.is_empty(), "{left:?}");

    let unheard = place.run(&["resume", "job.toml", "count", "--wait", "0", "--json"]);
    assert_eq!((unheard.code(), unheard.stdout.as_str()), (Some(2), ""), "{unheard}");
    let message = unheard.events()[0]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("operator `count` was not resumed in time: no host answered"), "{unheard}");
    assert!(crate::support::files_below(&place.path("state/counting/requests")).is_empty(), "the request is taken back");
}

#[test]
fn the_word_of_a_pause_says_how_to_end_it() {
    let (place, _) = place();
    let mut running = place.start(&["run", "job.toml", "--workers", "1", "--log", "text"]);
    running.wait_until("the word of the pause", |running| running.told().contains("operator `count` is paused for 3600.0 s"));
    running.wait_until("its last line", |running| running.told().contains("help: `reprise resume FILE count` ends the pause"));
    // Somebody who asks for the end of the job waits for no pause.
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    for both in [&["resume", "job.toml"][..], &["resume", "job.toml", "count", "--all"]] {
        let refused = place.run(both);
        assert_eq!(refused.code(), Some(2), "{refused}");
    }
}
