//! What is under way between operators is counted: memory does not grow with what an operator makes of its rows, and nobody waits for room for
//! ever. What an ended source has read is given back to the others once a checkpoint has it.

use crate::recovery::jobs::{Folder, Then, Topology, running_counts};
use crate::support::{self, Place};
use reprise::job::{Ending, Notice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A file that goes through so many amplifiers, one after the other, into an operator that keeps the last value of each key.
fn amplified(amplifiers: usize) -> String {
    let mut text = "name = \"amplified\"\n[checkpoint]\nstore = \"file:./state\"\n\
        [[source]]\nname = \"lines\"\nfile = { path = \"in/*\" }\n"
        .to_owned();
    let mut from = "lines".to_owned();
    for number in 0..amplifiers {
        let guest = support::guest("amplify");
        text += &format!("[[operator]]\nname = \"amplify-{number}\"\ncomponent = {guest:?}\ninput = \"{from}\"\ndeadline = \"60s\"\n");
        from = format!("amplify-{number}");
    }
    let guest = support::guest("big-state");
    text += &format!(
        "[[operator]]\nname = \"last\"\ncomponent = {guest:?}\ninput = {{ from = \"{from}\", by = \"key\" }}\ndeadline = \"60s\"\n\
         [[sink]]\nname = \"out\"\ninput = \"last\"\nfile = {{ path = \"out\" }}\n"
    );
    text
}

/// The most memory that the host ever had while it ran the job to its end.
fn memory_peak_bytes(topology: &str, line: &str, lines: usize) -> u64 {
    let place = Place::with(topology);
    place.write("in/rows.txt", format!("{line}\n").repeat(lines));
    let mut job = place.start(&["run", "job.toml", "--workers", "2"]);
    let peak = AtomicU64::new(0);
    let is_up = job.reaches("its end", |job| {
        peak.fetch_max(job.memory_peak_bytes(), Ordering::Relaxed);
        false
    });
    let ended = job.wait();
    assert!(!is_up && ended.code() == Some(0), "{ended}");
    assert_eq!(place.published().len(), 1, "all rows have the same key");
    peak.into_inner()
}

#[test]
fn memory_does_not_grow_with_what_an_operator_makes_of_its_rows() {
    // Rows without a key go all to one instance: the exchange has to take it.
    let value = "x".repeat(24);
    let plain = memory_peak_bytes(&amplified(1), &format!("1 {value}"), 100);
    let much = memory_peak_bytes(&amplified(1), &format!("10000 {value}"), 2_000);
    println!("{plain} bytes without amplification, {much} with 800 MB of rows");
    assert!(much < plain + (256 << 20), "{much} bytes, {plain} without amplification");
}

#[test]
fn memory_does_not_grow_where_amplifiers_follow_each_other_either() {
    let value = "x".repeat(24);
    let plain = memory_peak_bytes(&amplified(2), &format!("1 1 {value}"), 100);
    let much = memory_peak_bytes(&amplified(2), &format!("100 100 {value}"), 2_000);
    println!("{plain} bytes without amplification, {much} with 800 MB of rows");
    assert!(much < plain + (256 << 20), "{much} bytes, {plain} without amplification");
}

#[test]
fn nobody_waits_for_room_for_ever_whatever_the_wiring() {
    // Two ways to one operator, rows for all instances, several instances on a worker, a row that makes more than there is room for.
    const FACTOR: usize = 300;
    for (workers, parallelism) in [(1, 1), (2, 2), (2, 6), (3, 3)] {
        let mut topology = Topology::new("").source("lines", "", false).operator("parse", "parse-text", "\"lines\"");
        for name in ["left", "right"] {
            topology = topology.operator_set(
                name,
                "amplify",
                r#"{ from = "parse", by = "round-robin" }"#,
                &format!("parallelism = {parallelism}\ndeadline = \"60s\""),
            );
        }
        let spread = format!("parallelism = {parallelism}\ndeadline = \"60s\"");
        let topology = topology
            .operator_set("count", "running-count", r#"[{ from = "left", by = "key" }, { from = "right", by = "key" }]"#, &spread)
            .operator_set("all", "amplify", r#"{ from = "left", by = "all" }"#, &spread)
            .sink("out", "\"count\"")
            .sink("copies", "\"all\"");
        let folder = Folder::new(&topology.with_room("64KiB"));
        let keys: Vec<String> = (0..60).map(|row| format!("k{}", row % 7)).collect();
        folder.feed("lines", "all", keys.iter().map(|key| format!("{key},{FACTOR} 1 {},7", "x".repeat(40))));
        folder.run(workers).expect(Ending::Finished);
        let expected = running_counts(keys.iter().flat_map(|key| std::iter::repeat_n(key, 2 * FACTOR)));
        assert!(folder.rows("out") == expected, "{workers} workers, {parallelism} instances: other counts");
        let instances = parallelism.max(workers) as usize;
        assert_eq!(folder.lines("copies").len(), keys.len() * FACTOR * instances, "{workers} workers, {parallelism} instances");
    }
}

#[test]
fn what_an_ended_source_has_read_is_given_back_once_it_is_stored() {
    let topology = Topology::new("uncheckpointed-max = \"64KiB\"").keys("ended", false).keys("followed", true);
    let topology = topology.operator("count", "running-count", r#"[{ from = "ended", by = "key" }, { from = "followed", by = "key" }]"#);
    let folder = Folder::new(&topology.sink("out", "\"count\""));
    let keys = |rows: usize| (0..rows).map(|row| format!("k{}", row % 7)).collect::<Vec<_>>();
    // Some 40 KiB as rows.
    folder.feed("ended", "all", keys(2_000));
    folder.feed("followed", "first", keys(10));
    let (mut control, mut held) = (None, u64::MAX);
    let run = folder.run_with(1, |notice| {
        match notice {
            Notice::Started { control: started, .. } => control = Some(started.clone()),
            Notice::Checkpoint(made) if folder.is_covered_by(made) => {
                let control = control.as_ref().expect("a run begins before it makes a checkpoint");
                let end = Instant::now() + Duration::from_secs(20);
                while control.unstored_bytes() > 0 && Instant::now() < end {
                    std::thread::yield_now();
                }
                held = control.unstored_bytes();
                return Then::Stop;
            }
            _ => {}
        }
        Then::GoOn
    });
    run.expect(Ending::Stopped);
    assert_eq!(held, 0, "bytes that are in a checkpoint, and that the followed source has no room for");
}
