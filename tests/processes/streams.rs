//! Input that grows, and pipes.

use super::{events, of_kind};
use crate::support::{Counting, Ended, Input, Place, Running, guest};
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::process::Stdio;

const FOLLOWING: &str = "follow = true\npoll = \"20ms\"\nsplit = \"64KiB\"";

fn append(place: &Place, name: &str, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(place.path(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Runs until so many rows are published, then asks it to stop.
#[track_caller]
fn run_until(place: &Place, mut running: Running, rows: usize) -> Ended {
    // Before it has started it does not listen to signals.
    running.wait_until("the start", |running| !of_kind(&events(&running.told()), "started").is_empty());
    running.wait_until("all rows to be published", |_| place.published().len() >= rows);
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    ended
}

fn start(place: &Place) -> Running {
    place.start(&["run", "job.toml", "--workers", "2", "--log", "json"])
}

#[test]
fn a_file_that_grows_is_followed_and_taken_up_at_its_offset() {
    let input = Input::new(10, 30_000, 500, |_| "1".to_owned());
    let lines: Vec<&str> = input.text.split_inclusive('\n').collect();
    let part = |from: usize, to: usize| lines[from..to].concat();
    let place = Counting { source: FOLLOWING, ..Counting::default() }.place(&part(0, 10_000));

    let mut running = start(&place);
    running.wait_until("the first rows", |_| place.published().len() == 10_000);
    append(&place, "in/rows.txt", &part(10_000, 15_000));
    running.wait_until("rows that were appended", |_| place.published().len() == 15_000);
    // Half a line is no row yet; a new file is one more to follow.
    let (head, tail) = lines[15_000].split_at(5);
    append(&place, "in/rows.txt", head);
    append(&place, "in/other.txt", &part(15_001, 17_000));
    running.wait_until("rows of a new file", |_| place.published().len() == 16_999);
    append(&place, "in/rows.txt", tail);
    run_until(&place, running, 17_000);

    // What comes while nobody runs is found by the next run, which reads no row twice.
    append(&place, "in/rows.txt", &part(17_000, 30_000));
    let ended = run_until(&place, start(&place), 30_000);
    place.published().assert_equals(&input.counted, "a followed file");
    let events = ended.events();
    assert!(of_kind(&events, "started")[0]["checkpoint"].is_u64(), "{ended}");
    assert_eq!(of_kind(&events, "end")[0]["status"]["rows_in"], 13_000, "{ended}");
}

#[test]
fn a_followed_file_survives_kills() {
    let input = Input::new(11, 40_000, 500, |_| "1".to_owned());
    let lines: Vec<&str> = input.text.split_inclusive('\n').collect();
    let place = Counting { source: FOLLOWING, ..Counting::default() }.place("");
    for (at, part) in lines.chunks(8_000).enumerate() {
        append(&place, "in/rows.txt", &part.concat());
        let mut running = start(&place);
        running.wait_until("some rows", |_| place.published().len() > at * 8_000);
        running.kill();
        drop(running.wait());
    }
    run_until(&place, start(&place), 40_000);
    place.published().assert_equals(&input.counted, "a followed file after kills");
}

/// Standard input through the guest `echo` to standard output.
fn pipe(format: &str) -> Place {
    let echo = guest("echo");
    Place::with(&format!(
        "name = \"pipe\"\n[checkpoint]\nstore = \"file:./state\"\ninterval = \"20ms\"\n\
         [[source]]\nname = \"lines\"\nfile = {{ path = \"-\", format = \"lines\" }}\n\
         [[operator]]\nname = \"echo\"\ncomponent = {echo:?}\ninput = \"lines\"\n\
         [[sink]]\nname = \"screen\"\ninput = \"echo\"\nstdout = {{ format = \"{format}\" }}\n"
    ))
}

fn start_pipe(place: &Place, workers: &str) -> Running {
    let mut command = place.command();
    command.args(["run", "job.toml", "--workers", workers]).stdin(Stdio::piped());
    Running::start(command)
}

#[test]
fn standard_input_goes_through_an_operator_to_standard_output() {
    let text: String = (0..50_000).map(|row| format!("row {row}\n")).collect();
    for workers in ["1", "2"] {
        let place = pipe("lines");
        let mut running = start_pipe(&place, workers);
        running.stdin().write_all(text.as_bytes()).unwrap();
        let ended = running.wait();
        assert_eq!(ended.code(), Some(0), "{ended}");
        assert_eq!(ended.stdout.len(), text.len());
        assert!(ended.stdout == text, "rows of one input keep their order");
        assert!(ended.stderr.contains("finished"), "{ended}");
    }
}

#[test]
fn a_row_comes_out_while_the_input_is_still_open() {
    let place = pipe("json");
    let mut running = start_pipe(&place, "2");
    let mut input = running.stdin();
    for row in ["one", "two"] {
        writeln!(input, "{row}").unwrap();
        running.wait_until("the row", |running| running.said().contains(row));
    }
    drop(input);
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    let values: Vec<serde_json::Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((values[0]["value"].as_str(), values[1]["value"].as_str(), values.len()), (Some("one"), Some("two"), 2));
}

#[test]
fn a_job_that_waits_for_standard_input_stops_when_asked() {
    let place = pipe("lines");
    let mut running = start_pipe(&place, "2");
    let mut input = running.stdin();
    writeln!(input, "a row").unwrap();
    running.wait_until("the row", |running| running.said() == "a row\n");
    running.signal("INT");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stderr.contains("stopped as asked"), "{ended}");
    drop(input);
}

#[test]
fn the_job_ends_quietly_when_nobody_reads_its_output_any_more() {
    let place = pipe("lines");
    let mut command = place.command();
    command.args(["run", "job.toml", "--workers", "2"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || while writeln!(input, "a row").is_ok() {});
    let mut first = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"a row\n");
    // The output is closed now: whatever the job writes next, nobody reads it.
    let ended = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(7), "{told}");
    assert!(!told.contains("error"), "{told}");
}
