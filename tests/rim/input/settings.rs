//! A position means what it meant; and standard input, which has none that could be compared.

use super::{GOOD, REFUSED, assert_ends, copying, place, run_with_input, values};
use crate::support::{Place, Running};
use std::io::Write;
use std::process::Stdio;

/// Lets the job read what there is of a followed file, and stops it.
fn follow(place: &Place, rows: usize) {
    let mut running = place.start(&["run", "job.toml"]);
    // A signal that comes before the run says how it starts would end the process.
    let starts = |told: &str| told.contains("begins") || told.contains("takes up");
    running.wait_until("rows are visible", |running| starts(&running.told()) && values(place).len() >= rows);
    running.signal("TERM");
    assert_ends(&running.wait(), GOOD, &[]);
}

#[test]
fn a_file_under_way_is_not_read_on_with_other_settings() {
    let followed = |more: &str| copying(&format!("path = \"in.txt\", follow = true, poll = \"10ms\", {more}"));
    let lines = followed("format = \"lines\"");
    let place = Place::with(&lines);
    place.write("in.txt", "1,a\n2,b\n");
    follow(&place, 2);
    let appended = "1,a\n2,b\n3,c\n";
    place.write("in.txt", appended);
    for (more, names) in
        [("format = \"csv\", header = false", "csv without header"), ("format = \"csv\"", "csv with header"), ("format = \"json\"", "json")]
    {
        place.write("job.toml", followed(more));
        let ended = place.run(&["run", "job.toml"]);
        assert_ends(&ended, REFUSED, &["in.txt", "as lines", names, "help:"]);
    }
    place.write("job.toml", &lines);
    follow(&place, 3);
    assert_eq!(values(&place), ["1,a", "2,b", "3,c"]);
}

#[test]
fn key_time_and_delimiter_of_a_file_under_way_stay_as_they_were() {
    let csv = "format = \"csv\", header = false, key = { column = 0 }, time = { column = 1 }";
    let followed = |more: &str| copying(&format!("path = \"in.csv\", follow = true, poll = \"10ms\", {more}"));
    let place = Place::with(&followed(csv));
    place.write("in.csv", "1,2\n");
    follow(&place, 1);
    for (from, to, names) in [
        ("key = { column = 0 }", "key = { column = 1 }", "key at column 1"),
        ("time = { column = 1 }", "time = { column = 1, unit = \"s\" }", "in s"),
        (", key = { column = 0 }", ", delimiter = \";\", key = { column = 0 }", "`;`"),
    ] {
        place.write("job.toml", followed(&csv.replace(from, to)));
        assert_ends(&place.run(&["run", "job.toml"]), REFUSED, &["in.csv", names, "key at column 0", "help:"]);
    }
    // What changes neither rows nor places is free.
    place.write("job.toml", followed(&format!("{csv}, lateness = \"5s\", row-max = \"2KiB\"")));
    follow(&place, 1);
}

#[test]
fn a_finished_job_does_not_pass_over_standard_input() {
    let place = place("path = \"-\", format = \"lines\"");
    assert_ends(&run_with_input(&place, b"1\n2\n3\n"), GOOD, &[]);
    let second = run_with_input(&place, b"4\n5\n6\n");
    assert_ends(&second, REFUSED, &["finished in an earlier run", "was not read", "help:"]);
    assert_eq!(values(&place), ["1", "2", "3"]);
    // From a file as well, but not where there is certainly nothing.
    place.write("more.txt", "7\n");
    let mut command = place.command();
    command.args(["run", "job.toml"]).stdin(std::fs::File::open(place.path("more.txt")).expect("it was written"));
    assert_ends(&Running::start(command).wait(), REFUSED, &["was not read"]);
    assert_ends(&place.run(&["run", "job.toml"]), GOOD, &["nothing to do"]);
}

#[test]
fn a_stopped_job_goes_on_with_what_comes_and_says_what_may_be_lost() {
    let place = place("path = \"-\", format = \"lines\"");
    let mut command = place.command();
    command.args(["run", "job.toml"]).stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.stdin();
    stdin.write_all(b"1\n2\n").expect("it reads");
    running.wait_until("rows are visible", |_| values(&place).len() == 2);
    running.signal("TERM");
    assert_ends(&running.wait(), GOOD, &[]);
    let second = run_with_input(&place, b"3\n");
    assert_ends(&second, GOOD, &["follows 2 rows of earlier runs", "lost"]);
    assert_eq!(values(&place), ["1", "2", "3"]);
}
