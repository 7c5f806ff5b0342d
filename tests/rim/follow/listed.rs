//! What a path means: names, links, spellings; and a finished job with new input.

use super::{FOLLOW, append, assert_rows, copying, rows, start, stop, wait_for};
use crate::support::Place;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn a_finished_job_goes_on_with_new_files_and_with_what_was_appended() {
    let place = copying("in/*.txt", "");
    append(&place, "in/mon.txt", "1\n2\n");
    place.finish(2);
    let again = place.finish(2);
    assert!(again.stderr.contains("nothing to do"), "{again}");
    append(&place, "in/tue.txt", "3\n");
    append(&place, "in/mon.txt", "4\n");
    let ended = place.finish(2);
    assert!(ended.stderr.contains("goes on with new input") && ended.stderr.contains("tue.txt"), "{ended}");
    assert_rows(&place, &["1", "2", "3", "4"]);
    // Another path.
    append(&place, "more/x.txt", "5\n");
    let topology = fs::read_to_string(place.path("job.toml")).unwrap();
    place.write("job.toml", topology.replace("in/*.txt", "*/x.txt"));
    place.finish(1);
    place.write("job.toml", &topology);
    let again = place.finish(1);
    assert!(again.stderr.contains("nothing to do"), "{again}");
    assert_rows(&place, &["1", "2", "3", "4", "5"]);
}

#[test]
fn links_double_nothing_and_lead_in_no_circles() {
    for follow in ["", FOLLOW] {
        let place = copying("in/**/*.txt", follow);
        append(&place, "in/sub/a.txt", "1\n2\n");
        symlink("..", place.path("in/sub/up")).unwrap();
        symlink("sub", place.path("in/again")).unwrap();
        symlink("a.txt", place.path("in/sub/b.txt")).unwrap();
        fs::hard_link(place.path("in/sub/a.txt"), place.path("in/c.txt")).unwrap();
        if follow.is_empty() {
            place.finish(2);
        } else {
            let mut running = start(&place);
            wait_for(&mut running, &place, 2);
            append(&place, "in/c.txt", "3\n");
            wait_for(&mut running, &place, 3);
            stop(running);
        }
        assert_eq!(rows(&place).len(), if follow.is_empty() { 2 } else { 3 });
    }
}

#[test]
fn a_path_that_is_spelled_otherwise_means_the_same_files() {
    let place = copying("in/*.txt", FOLLOW);
    append(&place, "in/a.txt", "1\n");
    let here = place.path("").canonicalize().unwrap();
    let topology = fs::read_to_string(place.path("job.toml")).unwrap();
    let absolute = here.join("in/*.txt");
    let mut count = 1;
    for path in ["in/*.txt", "./in/*.txt", "in/../in/a.txt", absolute.to_str().unwrap(), "link/*.txt"] {
        if path.starts_with("link") {
            symlink("in", place.path("link")).unwrap();
        }
        place.write("job.toml", topology.replace("in/*.txt", path));
        let mut running = start(&place);
        wait_for(&mut running, &place, count);
        count += 1;
        append(&place, "in/a.txt", "more\n");
        wait_for(&mut running, &place, count);
        stop(running);
        assert_eq!(rows(&place).len(), count, "{path}");
    }
}

#[test]
fn a_name_that_is_not_utf8_is_passed_over_with_a_warning_in_every_kind_of_run() {
    for follow in ["", FOLLOW] {
        let place = copying("in/*.txt", follow);
        append(&place, "in/ok.txt", "1\n");
        let odd = place.path("in").join(OsStr::from_bytes(b"caf\xe9.txt"));
        let told = if follow.is_empty() {
            fs::write(&odd, "x\n").unwrap();
            place.finish(1).stderr
        } else {
            let mut running = start(&place);
            wait_for(&mut running, &place, 1);
            fs::write(&odd, "x\n").unwrap();
            running.wait_until("a warning", |running| running.told().contains("not UTF-8"));
            append(&place, "in/more.txt", "2\n");
            wait_for(&mut running, &place, 2);
            stop(running)
        };
        assert_eq!(told.matches("not UTF-8").count(), 1, "{told}");
    }
}

#[test]
fn names_of_unfinished_files_are_passed_over_until_they_are_renamed() {
    let place = copying("in/*", FOLLOW);
    for name in ["a.tmp", "b.part", ".c", "d~", "#e#"] {
        append(&place, &format!("in/{name}"), "not yet\n");
    }
    append(&place, "in/a", "1\n");
    let mut running = start(&place);
    wait_for(&mut running, &place, 1);
    fs::rename(place.path("in/b.part"), place.path("in/b")).unwrap();
    wait_for(&mut running, &place, 2);
    stop(running);
    assert_rows(&place, &["1", "not yet"]);
}

#[test]
fn a_bad_glob_is_found_by_check() {
    for (path, why) in [("in/[ab", "has no `]`"), ("in/**.txt", "alone between slashes"), ("in/[z-a].txt", "begins with its end")] {
        let place = copying(path, "");
        let ended = place.run(&["check", "job.toml"]);
        assert_ne!(ended.code(), Some(0), "{path}: {ended}");
        assert!(ended.stderr.contains(why) || ended.stdout.contains(why), "{path}: {ended}");
    }
}

/// Root reads everything.
fn is_root() -> bool {
    let place = Place::new();
    place.write("x", "x");
    fs::set_permissions(place.path("x"), fs::Permissions::from_mode(0o0)).unwrap();
    fs::read(place.path("x")).is_ok()
}

#[test]
fn a_file_that_cannot_be_read_is_told_once_and_the_others_go_on() {
    if is_root() {
        return;
    }
    let place = copying("in/*.txt", FOLLOW);
    append(&place, "in/a.txt", "1\n");
    append(&place, "in/b.txt", "2\n");
    fs::set_permissions(place.path("in/b.txt"), fs::Permissions::from_mode(0o0)).unwrap();
    let mut running = start(&place);
    wait_for(&mut running, &place, 1);
    running.wait_until("a warning", |running| running.told().contains("is set aside"));
    fs::set_permissions(place.path("in/b.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    append(&place, "in/a.txt", "3\n");
    wait_for(&mut running, &place, 3);
    let told = stop(running);
    assert_eq!(told.matches("is set aside").count(), 1, "{told}");
}
