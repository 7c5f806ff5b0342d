//! Followed and listed files as identities: the real process over folders in which files come, grow, are rotated and go.

mod crowds;
mod listed;

use crate::support::{Place, Running, files_below};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;

/// A job that copies what `path` means to `out`. `more`: further settings of the source, with a comma before each.
fn copying(path: &str, more: &str) -> Place {
    Place::with(&format!(
        "name = \"job\"\ncheckpoint = {{ store = \"file:state\", interval = \"30ms\" }}\n\
         [[source]]\nname = \"in\"\nfile = {{ path = \"{path}\", format = \"lines\"{more} }}\n\
         [[sink]]\nname = \"out\"\ninput = \"in\"\nfile = {{ path = \"out\", format = \"lines\" }}\n"
    ))
}

const FOLLOW: &str = ", follow = true, poll = \"10ms\"";

fn start(place: &Place) -> Running {
    place.start(&["run", "job.toml", "--workers", "2", "--log", "json"])
}

fn rows(place: &Place) -> Vec<String> {
    let mut rows: Vec<String> = files_below(&place.path("out"))
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    rows.sort();
    rows
}

fn wait_for(running: &mut Running, place: &Place, count: usize) {
    running.wait_until(&format!("{count} rows"), |_| rows(place).len() >= count);
}

fn append(place: &Place, name: &str, text: &str) {
    fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
    OpenOptions::new().create(true).append(true).open(place.path(name)).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Stops the job as asked; the end must be a good one.
#[track_caller]
fn stop(running: Running) -> String {
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    ended.stderr
}

#[track_caller]
fn assert_rows(place: &Place, expect: &[&str]) {
    let mut expect: Vec<&str> = expect.to_vec();
    expect.sort_unstable();
    assert_eq!(rows(place), expect);
}

#[test]
fn a_log_that_is_rotated_within_the_glob_comes_out_once() {
    let place = copying("in/*.log", FOLLOW);
    append(&place, "in/app.log", "1\n2\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 2);
    fs::rename(place.path("in/app.log"), place.path("in/app-1.log")).unwrap();
    append(&place, "in/app-1.log", "3\n");
    wait_for(&mut running, &place, 3);
    append(&place, "in/app.log", "4\n");
    wait_for(&mut running, &place, 4);
    stop(running);
    // And while nobody looks.
    fs::rename(place.path("in/app-1.log"), place.path("in/app-2.log")).unwrap();
    fs::rename(place.path("in/app.log"), place.path("in/app-1.log")).unwrap();
    append(&place, "in/app-1.log", "5\n");
    append(&place, "in/app.log", "6\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 6);
    stop(running);
    assert_rows(&place, &["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_log_that_is_moved_out_of_the_glob_is_read_on_and_its_successor_from_its_start() {
    let place = copying("app.log", FOLLOW);
    append(&place, "app.log", "1\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 1);
    fs::rename(place.path("app.log"), place.path("old.1")).unwrap();
    // The program still has its old file, for a moment.
    append(&place, "old.1", "2\n");
    wait_for(&mut running, &place, 2);
    append(&place, "app.log", "3\n");
    append(&place, "old.1", "4\n");
    wait_for(&mut running, &place, 4);
    running.kill();
    drop(running.wait());
    append(&place, "old.1", "5\n");
    append(&place, "app.log", "6\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 6);
    stop(running);
    assert_rows(&place, &["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn copytruncate_doubles_and_loses_nothing() {
    for path in ["app.log", "app.log*"] {
        let place = copying(path, FOLLOW);
        append(&place, "app.log", "1\n2\n");
        let mut running = start(&place);
        wait_for(&mut running, &place, 2);
        for round in 0..3 {
            for number in (1..3).rev() {
                let _ = fs::rename(place.path(&format!("app.log.{number}")), place.path(&format!("app.log.{}", number + 1)));
            }
            fs::copy(place.path("app.log"), place.path("app.log.1")).unwrap();
            OpenOptions::new().write(true).truncate(true).open(place.path("app.log")).unwrap();
            append(&place, "app.log", &format!("{}\n", 3 + round));
            wait_for(&mut running, &place, 3 + round);
        }
        let told = stop(running);
        assert!(told.contains("was truncated"), "{told}");
        assert_rows(&place, &["1", "2", "3", "4", "5"]);
    }
}

#[test]
fn two_honest_files_with_the_same_contents_are_both_read() {
    let place = copying("in/*.txt", FOLLOW);
    append(&place, "in/app.txt", "same\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 1);
    append(&place, "in/app-copy.txt", "same\n");
    append(&place, "in/other.txt", "same\n");
    wait_for(&mut running, &place, 3);
    stop(running);
    assert_rows(&place, &["same", "same", "same"]);
}

#[test]
fn a_file_that_was_read_and_removed_while_nobody_runs_is_not_missed() {
    let place = copying("in/*.log", FOLLOW);
    append(&place, "in/mon.log", "1\n");
    append(&place, "in/tue.log", "2\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 2);
    stop(running);
    fs::remove_file(place.path("in/mon.log")).unwrap();
    append(&place, "in/tue.log", "3\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 3);
    stop(running);
    assert_rows(&place, &["1", "2", "3"]);
}

#[test]
fn a_file_of_the_same_name_and_contents_as_one_that_was_removed_is_a_new_one() {
    let place = copying("in/*.txt", FOLLOW);
    append(&place, "in/a.txt", "beat\n");
    let mut running = start(&place);
    for round in 1..4 {
        wait_for(&mut running, &place, round);
        fs::remove_file(place.path("in/a.txt")).unwrap();
        append(&place, "in/next.tmp", "beat\n");
        fs::rename(place.path("in/next.tmp"), place.path("in/a.txt")).unwrap();
    }
    wait_for(&mut running, &place, 4);
    stop(running);
    assert_rows(&place, &["beat"; 4]);
}

#[test]
fn what_is_rewritten_in_place_is_refused_and_the_message_names_the_way_out() {
    let place = copying("app.log", FOLLOW);
    append(&place, "app.log", "1\n2\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 2);
    fs::write(place.path("app.log"), "others\nand more\n").unwrap();
    let ended = running.wait();
    assert_eq!(ended.code(), Some(7), "{ended}");
    assert!(ended.stderr.contains("rewritten") && ended.stderr.contains("on-lost"), "{ended}");
    let topology = fs::read_to_string(place.path("job.toml")).unwrap();
    place.write("job.toml", topology.replace(FOLLOW, &format!("{FOLLOW}, on-lost = \"skip\"")));
    let mut running = start(&place);
    wait_for(&mut running, &place, 4);
    let told = stop(running);
    assert!(told.contains("read from its start"), "{told}");
    assert_rows(&place, &["1", "2", "and more", "others"]);
}

#[test]
fn half_a_row_waits_and_comes_out_after_the_time_that_was_asked_for() {
    for (more, expect) in [("", &["1"][..]), (", partial-after = \"200ms\"", &["1", "half"][..])] {
        let place = copying("app.log", &format!("{FOLLOW}{more}"));
        append(&place, "app.log", "1\nhalf");
        append(&place, "other", "");
        let mut running = start(&place);
        wait_for(&mut running, &place, expect.len());
        stop(running);
        assert_rows(&place, expect);
    }
}

#[test]
fn rows_come_out_once_through_rotations_and_kills() {
    let place = copying("in/app.log*", FOLLOW);
    let mut written = BTreeSet::new();
    let mut line = 0;
    for round in 0..8 {
        let mut running = start(&place);
        for _ in 0..3 {
            let text: String = (0..50)
                .map(|_| {
                    line += 1;
                    written.insert(format!("line {line}"));
                    format!("line {line}\n")
                })
                .collect();
            append(&place, "in/app.log", &text);
        }
        wait_for(&mut running, &place, written.len());
        if round % 2 == 0 {
            let _ = fs::rename(place.path("in/app.log.1"), place.path("in/app.log.2"));
            fs::rename(place.path("in/app.log"), place.path("in/app.log.1")).unwrap();
        } else {
            let _ = fs::rename(place.path("in/app.log.1"), place.path("in/app.log.2"));
            fs::copy(place.path("in/app.log"), place.path("in/app.log.1")).unwrap();
            OpenOptions::new().write(true).truncate(true).open(place.path("in/app.log")).unwrap();
        }
        running.kill();
        drop(running.wait());
    }
    let mut running = start(&place);
    append(&place, "in/app.log", "last\n");
    wait_for(&mut running, &place, written.len() + 1);
    stop(running);
    let mut expect: Vec<String> = written.into_iter().chain(["last".to_owned()]).collect();
    expect.sort();
    assert_eq!(rows(&place), expect);
}
