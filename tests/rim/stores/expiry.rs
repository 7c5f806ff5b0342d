//! What is kept for people and for how long, names of savepoints that are used again, and components that are kept beside their capsules.

use super::{feed, following, names, pass, start, stop};
use crate::support::{Counting, Place, guest};
use std::fs;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Makes all files of a folder of the store older.
fn age(place: &Place, folder: &str, by: Duration) {
    for file in crate::support::files_below(&place.path("state/counting").join(folder)) {
        let file = fs::OpenOptions::new().append(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }
}

/// A job that has refused rows, and then made so many checkpoints that none retained names them.
fn refused(more: &str) -> Place {
    let place = Place::with(&format!("{}{more}", following().text()));
    place.write("in/rows.txt", "a,x,1\nb,1,1\n");
    let mut running = start(&place);
    running.wait_until("a row is out", |_| place.published().len() == 1);
    // So that it is long ago.
    pass(&place, &mut running, 9);
    stop(running);
    assert_eq!(names(&place, "quarantine/parse").len(), 1);
    place
}

#[test]
fn rows_in_quarantine_go_when_they_are_old_and_the_run_says_so() {
    for (by, goes) in [(29 * DAY, false), (31 * DAY, true)] {
        let place = refused("");
        age(&place, "quarantine", by);
        let mut running = start(&place);
        pass(&place, &mut running, 1);
        if goes {
            running.wait_until("it says so", |running| running.told().contains("\"expired\""));
        }
        pass(&place, &mut running, 1);
        let ended = stop(running);
        assert_eq!(names(&place, "quarantine/parse").is_empty(), goes, "{by:?}: {ended}");
        assert_eq!(ended.stderr.contains("\"expired\""), goes, "{by:?}: {ended}");
    }
}

#[test]
fn how_long_is_said_in_the_topology() {
    let place = refused("[quarantine]\nkeep = \"2d\"\n");
    age(&place, "quarantine", 3 * DAY);
    let mut running = start(&place);
    pass(&place, &mut running, 1);
    running.wait_until("it says so", |running| running.told().contains("\"expired\""));
    stop(running);
    assert_eq!(names(&place, "quarantine/parse"), [""; 0]);
    for wrong in ["[quarantine]\nkeep = \"1m\"\n", "[capsules]\nbytes-max = \"1B\"\n", "[quarantine]\nage = \"1h\"\n"] {
        let place = Place::with(&format!("{}{wrong}", following().text()));
        assert_eq!(place.run(&["check", "job.toml"]).code(), Some(2), "{wrong}");
    }
}

#[test]
fn rows_that_somebody_asked_for_stay_whatever_their_age() {
    let place = refused("");
    // Nobody sends them again: the request cannot be read. Its name says of which rows it is.
    let object = names(&place, "quarantine/parse").pop().unwrap();
    place.write(&format!("state/counting/replays/parse/{object}.0"), "no request");
    age(&place, "quarantine", 400 * DAY);
    let mut running = start(&place);
    feed(&place, &mut running, "b,1,1\n", 2);
    // So that sweeps are made.
    pass(&place, &mut running, 9);
    let ended = stop(running);
    assert_eq!(names(&place, "quarantine/parse"), [object], "{ended}");
}

#[test]
fn a_name_of_a_savepoint_is_taken_while_it_is_there_and_free_again_after() {
    let place = following().place("a,1,1\n");
    let mut running = start(&place);
    let create = || place.run(&["savepoint", "job.toml", "mine"]);
    running.wait_until("a row is out", |_| place.published().len() == 1);
    for round in 0..3 {
        let made = create();
        assert_eq!(made.code(), Some(0), "round {round}: {made}");
        let again = create();
        assert_eq!(again.code(), Some(2), "round {round}: {again}");
        assert!(again.stderr.contains("exists already"), "{again}");
        let dropped = place.run(&["savepoint", "job.toml", "mine", "--drop"]);
        assert_eq!(dropped.code(), Some(0), "round {round}: {dropped}");
        pass(&place, &mut running, 3);
    }
    assert_eq!(create().code(), Some(0));
    stop(running);
    assert_eq!(names(&place, "requests"), [""; 0]);
}

/// A component of more than 16 MiB: a small one, with a section that no engine reads.
fn padded(name: &str) -> Vec<u8> {
    const PADDING: usize = 17 << 20;
    let mut bytes = fs::read(guest(name)).unwrap();
    let mut size = PADDING + 4;
    bytes.push(0);
    while size >= 0x80 {
        bytes.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
    bytes.extend(b"\x03pad");
    bytes.resize(bytes.len() + PADDING, 7);
    bytes
}

#[test]
fn a_large_component_is_kept_once_beside_its_capsules_and_replay_finds_it() {
    let operator = "on-failure = { retries = 1, backoff = \"1ms..1ms\", capsules = \"always\" }\ndeadline = \"60s\"";
    let text = Counting { parser: "parse-text", counter: "snapshot-recursion", operator, ..Counting::default() }.text();
    let small = format!("{:?}", guest("snapshot-recursion"));
    let place = Place::with(&text.replace(&small, "\"large.wasm\""));
    place.write("large.wasm", padded("snapshot-recursion"));
    place.write("in/rows.txt", "a,v,1\nb,v,2\na,poison,3\n");
    let ended = place.run(&["run", "job.toml", "--workers", "1"]);
    assert_eq!(ended.code(), Some(3), "{ended}");
    fs::remove_file(place.path("large.wasm")).unwrap();
    let components = names(&place, "capsules/components");
    assert_eq!(components.len(), 1, "{components:?}");
    let capsules = names(&place, "capsules/count");
    assert!(!capsules.is_empty());
    let capsule = format!("state/counting/capsules/count/{}", capsules[0]);
    assert!(fs::metadata(place.path(&capsule)).unwrap().len() < 1 << 20, "it does not hold the component");
    let replayed = place.run(&["replay", &capsule]);
    assert_eq!(replayed.code(), Some(0), "{replayed}");
    assert!(replayed.stdout.contains("reproduced"), "{replayed}");
    // Copied elsewhere, with the component beside it.
    fs::create_dir(place.path("copy")).unwrap();
    fs::copy(place.path(&capsule), place.path("copy/x.capsule")).unwrap();
    let alone = place.run(&["replay", "copy/x.capsule"]);
    assert_eq!(alone.code(), Some(2), "{alone}");
    assert!(alone.stderr.contains(&format!("capsules/components/{}", components[0])), "{alone}");
    let stored = place.path("state/counting/capsules/components").join(&components[0]);
    fs::copy(stored, place.path("copy").join(&components[0])).unwrap();
    let beside = place.run(&["replay", "copy/x.capsule"]);
    assert_eq!(beside.code(), Some(0), "{beside}");
}
