//! Things in a store that are none of the job's, in each folder, found at a start and while a job runs: each is named once and left alone, and the
//! job goes on as if it were not there.

use super::{feed, following, newest_generation, pass, start, stop};
use crate::support::Place;
use reprise_core::checkpoint::manifest::{Request, Resume};
use reprise_core::codec::{checksum, record};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 11] = [
    "",
    "generations",
    "checkpoints",
    "snapshots",
    "snapshots/count/0000",
    "quarantine",
    "quarantine/parse",
    "capsules",
    "replays",
    "requests",
    "savepoints",
];

/// Files that lie about anywhere, with what is in them.
fn anywhere(folder: &Path) -> Vec<PathBuf> {
    let mut made = Vec::new();
    let names: [&[u8]; 7] =
        [b".DS_Store", b"notes.txt", b"two words", b"line\nend", b"not\xffutf8", b"empty", b"000000000001.manifest.bak"];
    for name in names {
        let path = folder.join(OsStr::from_bytes(name));
        fs::write(&path, if name == b"empty" { "" } else { "something else" }).unwrap();
        made.push(path);
    }
    fs::create_dir_all(folder.join("lost+found/deeper")).unwrap();
    fs::write(folder.join("lost+found/deeper/#12345"), "x").unwrap();
    std::os::unix::fs::symlink(folder, folder.join("round")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("broken")).unwrap();
    made.push(folder.join("lost+found/deeper/#12345"));
    made
}

/// A record of a version that nobody has written yet.
fn newer(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[10] = 99;
    let sum = checksum(&[&bytes[8..24], &bytes[32..]].concat());
    bytes[24..32].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Objects with names of ours: empty, damaged, of a later version, or of another kind. Those that would stop a job, as a claim would, are none.
fn with_names_of_ours(job: &Path) -> Vec<PathBuf> {
    let request = record::encode(&Request { name: "later".into(), stop: false, writer: 1, asked_ms: 1 }).unwrap();
    let resume = record::encode(&Resume { operator: "count".into(), writer: 1, asked_ms: 1 }).unwrap();
    let object = "000000000001-000001-0000-";
    let all: Vec<(String, Vec<u8>)> = vec![
        ("requests/a.savepoint".into(), vec![]),
        ("requests/b.savepoint".into(), b"no request".to_vec()),
        ("requests/c.savepoint".into(), newer(request.clone())),
        ("requests/other.savepoint".into(), request),
        ("requests/parse.resume".into(), b"no request".to_vec()),
        ("requests/count.resume".into(), newer(resume)),
        ("savepoints/a.manifest".into(), vec![]),
        ("savepoints/b.manifest".into(), b"no manifest".to_vec()),
        (format!("replays/parse/{object}0.0"), vec![]),
        (format!("replays/parse/{object}1.0"), b"no request".to_vec()),
        (format!("replays/gone/{object}1.7"), vec![0; 64]),
        (format!("quarantine/parse/{object}7"), b"no rows".to_vec()),
        (format!("quarantine/parse/{object}7.dropped-0"), b"no note".to_vec()),
        (format!("capsules/count/{object}0.capsule"), b"no capsule".to_vec()),
        (format!("capsules/components/{}.wasm", "0".repeat(64)), b"no component".to_vec()),
    ];
    all.into_iter()
        .map(|(path, bytes)| {
            let path = job.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        })
        .collect()
}

fn strew(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let job = place.path("state/counting");
    let mut made = with_names_of_ours(&job);
    for folder in FOLDERS {
        fs::create_dir_all(job.join(folder)).unwrap();
        made.extend(anywhere(&job.join(folder)));
    }
    made.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[track_caller]
fn assert_left_alone(strays: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in strays {
        let found = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(&found, bytes, "{}", path.display());
    }
}

/// Paths of the warnings about things that are none of the job's.
fn named(told: &str) -> Vec<String> {
    let lines = told.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ours = lines.filter(|line| line.to_string().contains("none of the job's, and is passed over"));
    ours.filter_map(|line| line.pointer("/fields/path").or(line.get("path"))?.as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn assert_named_once(told: &str) {
    let named = named(told);
    let mut unique = named.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), named.len(), "something is named twice: {named:#?}");
    for part in [".DS_Store", "two words", "line\\nend", "requests/b.savepoint", "replays/parse/", "generations/", "snapshots/"] {
        assert!(named.iter().any(|path| path.contains(part)), "{part} is not named: {named:#?}\n{told}");
    }
}

#[test]
fn a_job_starts_over_whatever_lies_in_its_store() {
    let place = following().place("a,1,1\n");
    let mut running = start(&place);
    running.wait_until("a row is out", |_| place.published().len() == 1);
    stop(running);
    let strays = strew(&place);
    let before = newest_generation(&place);
    let mut running = start(&place);
    feed(&place, &mut running, "a,1,1\nb,1,1\n", 3);
    pass(&place, &mut running, 10);
    let ended = stop(running);
    assert_eq!(newest_generation(&place), before + 1, "it has restarted: {ended}");
    assert_left_alone(&strays);
    assert_named_once(&ended.stderr);
    place.assert_counts_in_order();
    // Commands that look pass them over, too.
    let listed = place.run(&["checkpoint", "list", "job.toml"]);
    assert_eq!(listed.code(), Some(0), "{listed}");
    let listed = place.run(&["quarantine", "list", "job.toml"]);
    assert_eq!(listed.code(), Some(0), "{listed}");
}

#[test]
fn a_job_that_runs_goes_on_whatever_comes_into_its_store() {
    let place = following().place("a,1,1\n");
    let mut running = start(&place);
    running.wait_until("a row is out", |_| place.published().len() == 1);
    let before = newest_generation(&place);
    let strays = strew(&place);
    pass(&place, &mut running, 20);
    feed(&place, &mut running, "a,1,1\nb,1,1\n", 23);
    pass(&place, &mut running, 20);
    // Among all that, requests are still answered.
    let asked = place.run(&["savepoint", "job.toml", "amid"]);
    assert_eq!(asked.code(), Some(0), "{asked}");
    let ended = stop(running);
    assert_eq!(newest_generation(&place), before, "it has restarted: {ended}");
    assert_left_alone(&strays);
    assert_named_once(&ended.stderr);
    place.assert_counts_in_order();
}

#[test]
fn an_unreadable_request_does_not_keep_rows_from_being_sent_again() {
    let place = following().place("a,x,1\n");
    let mut running = start(&place);
    running.wait_until("the row is refused", |_| place.path("state/counting/quarantine/parse").is_dir());
    pass(&place, &mut running, 5);
    let object = super::names(&place, "quarantine/parse").pop().unwrap();
    place.write(&format!("state/counting/replays/parse/{object}.0"), "no request");
    place.write(&format!("state/counting/replays/parse/{object}.1"), "");
    let before = newest_generation(&place);
    let asked = place.run(&["quarantine", "replay", "job.toml", "--node", "parse"]);
    assert_eq!(asked.code(), Some(0), "{asked}");
    running.wait_until("the job has sent them again", |running| running.told().contains("\"replays\""));
    pass(&place, &mut running, 20);
    let ended = stop(running);
    assert_eq!(newest_generation(&place), before + 1, "one restart for one request: {ended}");
}

#[test]
fn a_folder_in_the_place_of_an_object_is_told_with_its_name() {
    let place = following().place("a,1,1\n");
    fs::create_dir_all(place.path("state/counting/generations/000000000001.claim/x")).unwrap();
    let ended = place.run(&["run", "job.toml"]);
    assert_eq!(ended.code(), Some(4), "{ended}");
    assert!(ended.stderr.contains("000000000001.claim") && ended.stderr.contains("a file is where a folder should be"), "{ended}");
}
