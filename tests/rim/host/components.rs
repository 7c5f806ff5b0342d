//! Files that are given as components and are none, or nearly: every command refuses them with a message and an exit code.

use super::{BOUNDED, numbers, topology};
use crate::support::{Ended, Place, Running, guest};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::process::Stdio;

/// A good component with something done to it at random.
fn mutant(random: &mut StdRng, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    match random.random_range(0..4) {
        0 => bytes.truncate(random.random_range(0..bytes.len())),
        1 => {
            let from = random.random_range(0..bytes.len());
            let to = random.random_range(from..=bytes.len().min(from + 200));
            bytes.drain(from..to);
        }
        2 => {
            let place = random.random_range(0..bytes.len());
            (0..random.random_range(1..9)).for_each(|_| bytes.insert(place, random.random()));
        }
        _ => (0..random.random_range(1..5)).for_each(|_| {
            // The head of the file is where its structure is.
            let most = if random.random() { bytes.len() } else { bytes.len().min(600) };
            let place = random.random_range(0..most);
            bytes[place] = random.random();
        }),
    }
    bytes
}

fn run(place: &Place, arguments: &[&str]) -> Ended {
    let mut command = place.command();
    // A cache would fill with what is looked at once.
    command.args(arguments).stdin(Stdio::null()).env("REPRISE_CACHE", place.path("cache"));
    Running::start(command).wait()
}

#[test]
fn whatever_is_given_as_a_component_is_taken_or_refused_with_a_message() {
    let good = fs::read(guest("chatter")).unwrap();
    let mut random = StdRng::seed_from_u64(28);
    let text = topology("interval = \"20ms\"", BOUNDED, Some(("chatter", "deadline = \"100ms\"\non-failure = { retries = 0 }")));
    let place = Place::with(&text.replace(guest("chatter").to_str().unwrap(), "given.wasm"));
    place.write("in/rows.txt", numbers(0..10));
    for round in 0..60 {
        place.write("given.wasm", mutant(&mut random, &good));
        let commands: &[&[&str]] = match round % 6 {
            0 => &[&["inspect", "given.wasm"], &["check", "job.toml"]],
            1 => &[&["inspect", "given.wasm", "--json"], &["run", "job.toml", "--workers", "1"]],
            2 => &[&["verify", "given.wasm", "--rounds", "1"]],
            _ => &[&["inspect", "given.wasm"]],
        };
        for arguments in commands {
            let _ = fs::remove_dir_all(place.path("state"));
            let _ = fs::remove_dir_all(place.path("out"));
            let ended = run(&place, arguments);
            let code = ended.code();
            assert!(matches!(code, Some(0 | 2 | 3)), "round {round}: {arguments:?}: {ended}");
            assert!(code == Some(0) || ended.stderr.len() > 10, "round {round}: {arguments:?} says nothing: {ended}");
        }
    }
}

#[test]
fn a_folder_a_pipe_and_nothing_at_all_are_no_components() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    place.write("empty", "");
    for name in ["folder", "empty", "/dev/null", "missing"] {
        for command in ["inspect", "verify"] {
            let ended = run(&place, &[command, name]);
            assert_eq!(ended.code(), Some(2), "{command} {name}: {ended}");
        }
    }
}
