//! Standard error that is full, closed, left by its reader, or read by nobody: the job goes on, and ends as asked.

use super::{BOUNDED, FOLLOWED, SOON, ends_soon, numbers, rows, topology};
use crate::support::{PATIENCE, Place, Running};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process whose standard error goes where a test says. It is killed when the value goes away.
struct Silent(Child);

impl Silent {
    fn start(place: &Place, arguments: &[&str], stderr: impl Into<Stdio>) -> Self {
        let mut command = place.command();
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        Self(command.spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap().success());
    }

    /// Its exit code, once it has ended; `None` where it does not in time.
    fn ends_within(&mut self, within: Duration) -> Option<Option<i32>> {
        let end = Instant::now() + within;
        loop {
            match self.0.try_wait().unwrap() {
                Some(status) => return Some(status.code()),
                None if Instant::now() > end => return None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn wait_for_rows(place: &Place, count: usize) {
    let end = Instant::now() + PATIENCE;
    while rows(place) < count {
        assert!(Instant::now() < end, "{} of {count} rows", rows(place));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_job_whose_log_cannot_be_written_is_done_all_the_same() {
    for log in ["text", "json"] {
        for broken in ["full", "no reader", "closed", "for reading"] {
            let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, None));
            place.write("in/rows.txt", numbers(0..20_000));
            let arguments = ["run", "job.toml", "--workers", "2", "--log", log];
            let mut process = match broken {
                "full" => Silent::start(&place, &arguments, OpenOptions::new().write(true).open("/dev/full").unwrap()),
                "no reader" => {
                    let (reader, writer) = std::io::pipe().unwrap();
                    drop(reader);
                    Silent::start(&place, &arguments, writer)
                }
                "closed" => {
                    let mut shell = Command::new("sh");
                    shell.current_dir(place.path("")).env("REPRISE_CACHE", place.path("cache"));
                    shell.arg("-c").arg("exec \"$0\" \"$@\" 2>&-").arg(crate::support::binary()).args(arguments);
                    Silent(shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
                }
                _ => Silent::start(&place, &arguments, File::open("/dev/null").unwrap()),
            };
            assert_eq!(process.ends_within(PATIENCE), Some(Some(0)), "{log}, standard error {broken}");
            assert_eq!(rows(&place), 20_000, "{log}, standard error {broken}");
        }
    }
}

#[test]
fn an_error_that_nobody_reads_has_its_exit_code() {
    let place = Place::with("name = \"x\"\nnonsense = 1\n");
    for arguments in [&["run", "job.toml"][..], &["check", "job.toml"], &["inspect", "job.toml"], &["run", "no.toml"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(Silent::start(&place, arguments, writer).ends_within(PATIENCE), Some(Some(2)), "{arguments:?}");
    }
}

/// A command whose answer goes where a test says. Gives its exit code, and what it said to standard error.
fn answered(place: &Place, arguments: &[&str], stdout: impl Into<Stdio>) -> (Option<i32>, String) {
    let mut command = place.command();
    command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    let ended = command.spawn().unwrap().wait_with_output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error_and_a_reader_that_has_gone_is_none() {
    let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, Some(("chatter", "on-failure = { retries = 0 }"))));
    place.write("in/rows.txt", "fine\ntrap\n");
    place.finish(1);
    let listed = place.run(&["quarantine", "list", "job.toml", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let row = listed["rows"][0]["id"].as_str().unwrap();
    for arguments in [
        &["checkpoint", "list", "job.toml", "--json"][..],
        &["checkpoint", "show", "job.toml", "latest"],
        &["quarantine", "list", "job.toml"],
        &["quarantine", "show", "job.toml", row, "--raw"],
        &["check", "job.toml", "--json"],
    ] {
        let (code, told) = answered(&place, arguments, OpenOptions::new().write(true).open("/dev/full").unwrap());
        assert_eq!(code, Some(1), "{arguments:?}: {told}");
        assert!(told.contains("cannot write to standard output"), "{arguments:?}: {told}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(answered(&place, arguments, writer), (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn a_job_outlives_the_reader_of_its_log_and_ends_as_asked() {
    for log in ["text", "json"] {
        let place = Place::with(&topology("interval = \"20ms\"", FOLLOWED, None));
        place.write("in/rows.txt", numbers(0..5));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut process = Silent::start(&place, &["run", "job.toml", "--log", log], writer);
        reader.read_exact(&mut [0; 10]).unwrap();
        wait_for_rows(&place, 5);
        drop(reader);
        // JSON tells its status each second: some lines find nobody.
        for step in 1..=15 {
            let mut file = OpenOptions::new().append(true).open(place.path("in/rows.txt")).unwrap();
            file.write_all(numbers(5 * step..5 * step + 5).as_bytes()).unwrap();
            wait_for_rows(&place, 5 * step + 5);
            std::thread::sleep(Duration::from_millis(100));
        }
        process.signal("TERM");
        assert_eq!(process.ends_within(SOON), Some(Some(0)), "{log}");
        assert_eq!(rows(&place), 80);
    }
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_rows_nor_signals() {
    for log in ["text", "json"] {
        let flood = 3_000;
        let place = Place::with(&topology("interval = \"20ms\"", FOLLOWED, Some(("chatter", ""))));
        // Each row is a line of some kilobytes in the log: far more than a pipe and the queue hold.
        place.write("in/rows.txt", (0..flood).map(|row| format!("{row} {}\n", "x".repeat(3_000))).collect::<String>());
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut process = Silent::start(&place, &["run", "job.toml", "--workers", "1", "--log", log], writer);
        wait_for_rows(&place, flood);
        let asked = Instant::now();
        process.signal("TERM");
        assert_eq!(process.ends_within(SOON), Some(Some(0)), "{log}: after {:?}", asked.elapsed());
        let mut told = String::new();
        reader.read_to_string(&mut told).unwrap();
        // The least that a pipe holds. A line more would have waited for a reader.
        assert!(told.len() >= 4 << 10, "{} bytes stood in the pipe: it was never full", told.len());
    }
}

#[test]
fn what_was_dropped_is_told_once_the_reader_reads_again() {
    let place = Place::with(&topology("interval = \"20ms\"", FOLLOWED, Some(("chatter", ""))));
    place.write("in/rows.txt", (0..3_000).map(|row| format!("{row} {}\n", "x".repeat(3_000))).collect::<String>());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut process = Silent::start(&place, &["run", "job.toml", "--workers", "1"], writer);
    wait_for_rows(&place, 3_000);
    let listener = std::thread::spawn(move || {
        let mut told = String::new();
        reader.read_to_string(&mut told).unwrap();
        told
    });
    // The reader has come back, so that the last lines are there too.
    process.signal("TERM");
    assert_eq!(process.ends_within(SOON), Some(Some(0)));
    let told = listener.join().unwrap();
    assert!(told.contains("messages were dropped here"), "{}", &told[told.len().saturating_sub(2_000)..]);
    assert!(told.contains("stopped as asked"), "{}", &told[told.len().saturating_sub(2_000)..]);
}

#[test]
fn standard_error_that_is_read_has_every_line() {
    let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, Some(("chatter", ""))));
    place.write("in/rows.txt", numbers(0..500));
    let ended = ends_soon(Running::start({
        let mut command = place.command();
        command.args(["run", "job.toml", "--workers", "1"]).stdin(Stdio::null());
        command
    }));
    assert_eq!(ended.code(), Some(0), "{ended}");
    let words: std::collections::BTreeSet<&str> = ended.stderr.split_whitespace().collect();
    for row in 0..500 {
        assert!(words.contains(row.to_string().as_str()), "row {row}: {ended}");
    }
}
