//! Each hostile guest in a job of the real process, beside a well-behaved operator that reads the same rows on the same worker.
//!
//! What must hold, whatever the guest does: the process ends by itself, and is never in a fault of its own; what the neighbour has published
//! is right row by row, and whole where the job went on; the process has never more memory than with a good guest in that seat and what the
//! limits let one guest have.

use crate::support::{Ended, Input, Lines, Place, guest};
use serde_json::Value;
use std::collections::BTreeSet;

const ROWS: usize = 400;
const KEYS: usize = 40;
/// Limits of the hostile guest, as its topology has them.
const LIMITS: &str = "memory = \"16MiB\"\ndeadline = \"500ms\"\noutput-max = \"1MiB\"\n\
    limits = { table-elements = 4000, call-output = \"4MiB\", snapshot = \"1MiB\", host-calls = 200000 }\n\
    on-failure = { retries = 1, backoff = \"1ms..1ms\" }\n";
const MEMORY_BYTES_MAX: u64 = 16 << 20;
const CALL_OUTPUT_BYTES_MAX: u64 = 4 << 20;
const SNAPSHOT_BYTES_MAX: u64 = 1 << 20;
/// A call of `snapshot` may hand over its largest cell, and three times the part that it was asked for.
const HANDOVER_BYTES_MAX: u64 = (64 + 3 * 4) << 20;
/// What is let pass beside the limits: the host's own records of faults, and what its allocator keeps.
const ALLOWANCE_BYTES: u64 = 64 << 20;

/// How a job with such a guest ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It finishes: the row that the guest cannot stand is in quarantine, or it does no harm.
    Finishes,
    /// It stops with the report of an operator that failed.
    Stops,
    /// The one or the other: it depends on whether there was state to restore when the guest failed.
    Either,
    /// It does not begin.
    Refused,
}
use End::{Either, Finishes, Refused, Stops};

fn topology(hostile: &str, settings: &str) -> String {
    let (parser, hostile, neighbour) = (guest("parse-text"), guest(hostile), guest("running-count"));
    format!(
        "name = \"beside\"\n\
         [checkpoint]\nstore = \"file:./state\"\ninterval = \"20ms\"\n\
         [flow]\nsteps-ahead = 2\nbatch-rows = 8\n\
         [[source]]\nname = \"lines\"\nfile = {{ path = \"in/*\", format = \"lines\" }}\n\
         [[operator]]\nname = \"parse\"\ncomponent = {parser:?}\ninput = \"lines\"\n\
         [[operator]]\nname = \"hostile\"\ncomponent = {hostile:?}\ninput = {{ from = \"parse\", by = \"key\" }}\n{settings}\
         [[operator]]\nname = \"neighbour\"\ncomponent = {neighbour:?}\ninput = {{ from = \"parse\", by = \"key\" }}\n\
         [[sink]]\nname = \"bad\"\ninput = \"hostile\"\nfile = {{ path = \"bad\", format = \"csv\" }}\n\
         [[sink]]\nname = \"good\"\ninput = \"neighbour\"\nfile = {{ path = \"out\", format = \"csv\" }}\n"
    )
}

fn input() -> Input {
    Input::new(11, ROWS, KEYS, |row| if row == ROWS / 2 { "poison".to_owned() } else { format!("v{row}") })
}

/// Runs the job to its end. Gives how it ended, and its peak of memory.
fn run(place: &Place, arguments: &[&str]) -> (Ended, u64) {
    let mut running = place.start(arguments);
    let mut peak = 0;
    running.reaches("its end", |running| {
        peak = running.memory_peak_bytes().max(peak);
        false
    });
    (running.wait(), peak)
}

/// With a good guest in the seat of the hostile one.
fn peak_of_a_good_guest(settings: &str) -> u64 {
    let place = Place::with(&topology("running-count", settings));
    place.write("in/rows.txt", &input().text);
    let (ended, peak) = run(&place, &["run", "job.toml", "--workers", "1"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    peak
}

#[track_caller]
fn assert_harmless(name: &str, end: End, settings: &str, peak_max: u64) {
    let place = Place::with(&topology(name, settings));
    let input = input();
    place.write("in/rows.txt", &input.text);
    let (ended, peak) = run(&place, &["run", "job.toml", "--workers", "1"]);
    println!("{name}: {}, at most {} MiB", ended.status, peak >> 20);
    let end = match (end, ended.code()) {
        (Either, Some(0)) => Finishes,
        (Either, _) => Stops,
        (end, _) => end,
    };
    let code = match end {
        Finishes => 0,
        Stops | Either => 3,
        Refused => 2,
    };
    assert_eq!(ended.code(), Some(code), "{name}: {ended}");
    assert!(!ended.stderr.contains("thread '") && !ended.stderr.contains("internal:"), "{name}: {ended}");
    let published = place.published();
    match end {
        Finishes => published.assert_equals(&input.counted, name),
        Stops | Either => {
            let all: BTreeSet<&[u8]> = input.counted.iter().collect();
            assert!(published.iter().all(|row| all.contains(row)), "{name}: a row that no honest run has: {ended}");
            place.assert_counts_in_order();
        }
        Refused => published.assert_equals(&Lines::of(b""), name),
    }
    assert!(peak <= peak_max, "{name}: the process had {peak} bytes of memory, {peak_max} are allowed: {ended}");
}

#[track_caller]
fn assert_all_harmless(guests: &[(&str, End)]) {
    assert_all_harmless_within(LIMITS, SNAPSHOT_BYTES_MAX, guests);
}

#[track_caller]
fn assert_all_harmless_within(settings: &str, snapshot_bytes_max: u64, guests: &[(&str, End)]) {
    // The guest that failed and the one in its place, what either hands over, and two copies of its snapshot.
    let guests_own = 2 * MEMORY_BYTES_MAX + CALL_OUTPUT_BYTES_MAX + 2 * snapshot_bytes_max + HANDOVER_BYTES_MAX;
    let peak_max = peak_of_a_good_guest(settings) + guests_own + ALLOWANCE_BYTES;
    guests.iter().for_each(|(name, end)| assert_harmless(name, *end, settings, peak_max));
}

#[test]
fn guests_that_fail_in_a_call_harm_nobody() {
    assert_all_harmless(&[
        ("trap-unreachable", Finishes),
        ("panic", Finishes),
        ("process-error", Finishes),
        ("endless-loop", Finishes),
        ("stack-overflow", Finishes),
        ("memory-bomb", Finishes),
        ("host-call-storm", Finishes),
        ("slow-drip", Finishes),
        ("log-flood", Finishes),
        ("counter-flood", Finishes),
        ("restore-trap", Either),
        ("advance-panic", Stops),
    ]);
}

#[test]
fn guests_that_lie_about_rows_harm_nobody() {
    assert_all_harmless(&[
        ("lie-short-ends", Finishes),
        ("lie-decreasing-ends", Finishes),
        ("lie-last-end", Finishes),
        ("lie-port", Finishes),
        ("lie-huge", Finishes),
        ("lie-more", Finishes),
        ("lie-reject-row", Finishes),
        ("lie-reject-twice", Finishes),
        ("lie-reason-utf8", Finishes),
        ("lie-reason-huge", Finishes),
        ("endless-pieces", Finishes),
        ("output-bomb", Finishes),
        ("output-large", Finishes),
        ("output-many", Finishes),
        ("lie-advance", Stops),
    ]);
}

#[test]
fn guests_that_lie_about_state_harm_nobody() {
    assert_all_harmless(&[
        ("lie-chunk-slot", Stops),
        ("lie-chunk-ends", Stops),
        ("lie-chunk-removed", Stops),
        ("lie-snapshot-endless", Stops),
        ("lie-snapshot-changing", Stops),
        ("snapshot-grows", Stops),
        ("snapshot-part-large", Stops),
        ("snapshot-many", Stops),
        ("snapshot-drip", Stops),
        ("snapshot-recursion", Stops),
    ]);
}

#[test]
fn a_snapshot_in_crumbs_takes_no_more_memory_than_its_bytes() {
    // So many that what the host holds for each would show; and time enough to hand them out on a slow machine.
    let settings = LIMITS.replace("snapshot = \"1MiB\"", "snapshot = \"32MiB\"").replace("500ms", "60s");
    assert_ne!(settings, LIMITS);
    assert_all_harmless_within(&settings, 32 << 20, &[("snapshot-crumbs", Stops)]);
}

#[test]
fn guests_that_cannot_begin_harm_nobody() {
    assert_all_harmless(&[
        ("import-alien", Refused),
        ("bad-description", Refused),
        ("describe-changes", Finishes),
        ("open-error", Stops),
        ("open-endless", Stops),
        ("large-start", Stops),
        ("table-bomb", Stops),
    ]);
}

fn at<'a>(status: &'a Value, operator: &str, member: &str) -> &'a Value {
    &status["operators"][operator][member]
}

#[test]
fn what_operators_used_is_told_and_instructions_only_of_those_that_ask() {
    let place = Place::with(&topology("running-count", "fuel = true\n"));
    let input = input();
    place.write("in/rows.txt", &input.text);
    let ended = place.run(&["run", "job.toml", "--workers", "1", "--log", "json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    place.published().assert_equals(&input.counted, "the neighbour of an operator with fuel");
    let end = ended.events().into_iter().find(|event| event["event"] == "end").unwrap_or_else(|| panic!("no end: {ended}"));
    let number = |operator, member| at(&end["status"], operator, member).as_u64().unwrap_or_else(|| panic!("{operator}.{member}: {end}"));
    for operator in ["hostile", "neighbour"] {
        assert_eq!(number(operator, "rows_in"), ROWS as u64, "{end}");
        assert!(number(operator, "calls") >= 1 && number(operator, "memory_peak_bytes") >= 65_536, "{end}");
        assert!(number(operator, "bytes_in") > 16 * ROWS as u64 && number(operator, "bytes_out") > 16 * ROWS as u64, "{end}");
        assert_eq!((number(operator, "host_calls"), number(operator, "log_lines_dropped")), (0, 0), "{end}");
    }
    assert!(number("hostile", "fuel") > 10 * ROWS as u64, "{end}");
    assert_eq!(number("neighbour", "fuel"), 0, "{end}");
    let text = Place::with(&topology("running-count", ""));
    text.write("in/rows.txt", &input.text);
    let ended = text.finish(1);
    assert!(ended.stderr.contains("operator `neighbour`: ") && ended.stderr.contains(" calls, "), "{ended}");
}
