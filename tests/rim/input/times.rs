//! Event time that nobody's silence holds up, and that no single row drives ahead.

use super::{GOOD, assert_ends, quarantine, values};
use crate::support::{Place, guest};
use std::fmt::Write;

/// Minutes of rows by key, closed by the watermark. Both sources are followed; `marks` gives none.
fn windows(idle: &str) -> Place {
    let source = |name: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nfile = {{ path = \"{name}/*.json\", format = \"json\", follow = true, poll = \"10ms\", \
             key.pointer = \"/k\", time = {{ pointer = \"/t\" }}{idle} }}\n"
        )
    };
    Place::with(&format!(
        "name = \"minutes\"\n[checkpoint]\nstore = \"file:state\"\ninterval = \"20ms\"\n{}{}\
         [[operator]]\nname = \"windows\"\ncomponent = {:?}\ninput = [{{ from = \"rows\", by = \"key\" }}, {{ from = \"marks\", by = \"key\" }}]\n\
         [[sink]]\nname = \"out\"\ninput = \"windows.minutes\"\nfile = {{ path = \"out\" }}\n",
        source("rows"),
        source("marks"),
        guest("keyed-windows")
    ))
}

/// One row in each of these minutes.
fn minutes(from: u64, to: u64) -> String {
    let mut text = String::new();
    for minute in from..to {
        let _ = writeln!(text, "{{\"k\":\"a\",\"t\":{}}}", minute * 60_000 + 1_000);
    }
    text
}

#[test]
fn neither_an_idle_file_nor_an_idle_source_holds_windows_open() {
    for workers in ["1", "3"] {
        let place = windows(", idle-after = \"300ms\"");
        place.write("rows/monday.json", minutes(0, 3));
        std::fs::create_dir_all(place.path("marks")).expect("folders can be made");
        let mut running = place.start(&["run", "job.toml", "--workers", workers]);
        running.wait_until("monday's windows close", |_| values(&place).len() >= 2);
        place.write("rows/tuesday.json", minutes(3, 10));
        running.wait_until("tuesday's windows close", |_| values(&place).len() >= 9);
        running.signal("TERM");
        assert_ends(&running.wait(), GOOD, &[]);
        assert_eq!(values(&place).len(), 9);
    }
}

#[test]
fn the_file_that_holds_windows_open_is_named() {
    let place = windows(", idle-after = \"0s\"");
    place.write("rows/monday.json", minutes(0, 3));
    place.write("rows/tuesday.json", minutes(3, 10));
    let mut running = place.start(&["run", "job.toml", "--workers", "1"]);
    running.wait_until("it is named", |running| running.told().contains("monday.json") && running.told().contains("holds the watermark"));
    running.signal("TERM");
    let ended = running.wait();
    assert_ends(&ended, GOOD, &["idle-after"]);
    assert!(!ended.stderr.contains("tuesday.json"), "{ended}");
    assert_eq!(ended.stderr.matches("holds the watermark").count(), 1, "{ended}");
}

#[test]
fn a_row_from_the_far_future_makes_no_other_row_late() {
    let place = windows(", idle-after = \"300ms\"");
    let future = "{\"k\":\"a\",\"t\":4102444800000}\n";
    place.write("rows/a.json", format!("{}{future}{}", minutes(0, 2), minutes(2, 5)));
    std::fs::create_dir_all(place.path("marks")).expect("folders can be made");
    let mut running = place.start(&["run", "job.toml", "--workers", "1"]);
    running.wait_until("windows close", |_| values(&place).len() >= 4);
    running.signal("TERM");
    assert_ends(&running.wait(), GOOD, &[]);
    assert_eq!(values(&place).len(), 4);
    let listed = quarantine(&place);
    assert!(listed.contains("time-ahead-max") && listed.contains("2100-01-01"), "{listed}");
}

#[test]
fn any_time_is_taken_where_the_setting_says_so() {
    for (more, rows) in [("", 1), (", time-ahead-max = \"0s\"", 2)] {
        let place = super::place(&format!("path = \"in.json\", format = \"json\", time = {{ pointer = \"/t\" }}{more}"));
        place.write("in.json", "{\"t\":0}\n{\"t\":4102444800000}\n");
        place.finish(1);
        assert_eq!(values(&place).len(), rows);
    }
}
