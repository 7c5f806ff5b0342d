//! Jobs whose checkpoints are in a bucket: the host is killed, frozen, started twice; the server is killed; the network fails.

use super::moments::{freeze_and_replace, kill_again_and_again, slow, start, start_two};
use super::{events, of_kind, rows_checkpointed};
use crate::s3::proxy::{FAULTS, Fault, Proxy};
use crate::s3::server::{Server, variables};
use crate::support::{Counting, Input, Place};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

/// The seed of all moments here.
const SEED: u64 = 30;

fn on_a_bucket() -> Counting {
    Counting { store: "s3://bucket/checkpoints", ..slow() }
}

fn place(topology: &Counting, input: &str, server: &Server) -> Place {
    let mut place = topology.place(input);
    place.set(server.variables());
    place
}

fn kill_the_host(server: &Server, kills: u64, rows: usize) {
    let input = Input::new(SEED, rows, 20_000, |_| "1".to_owned());
    let undisturbed = slow().place(&input.text);
    undisturbed.finish(2);
    let expected = undisturbed.published();
    expected.assert_equals(&input.counted, "the undisturbed run");

    let place = place(&on_a_bucket(), &input.text, server);
    kill_again_and_again(&place, kills, rows as u64, &mut StdRng::seed_from_u64(SEED));
    let last = place.finish(2);
    assert!(last.stderr.contains("takes up again from checkpoint"), "{last}");
    place.published().assert_equals(&expected, "after kills");
    place.assert_counts_in_order();
    assert!(!place.path("state").exists(), "the checkpoints are in the bucket");
}

#[test]
fn killed_30_times_on_s3_the_output_is_that_of_an_undisturbed_run() {
    kill_the_host(&Server::ours(), 30, 2_000_000);
}

#[test]
fn killed_10_times_on_a_real_server_the_output_is_that_of_an_undisturbed_run() {
    for server in Server::real() {
        kill_the_host(&server, 10, 2_000_000);
    }
}

/// Kills the server so many times while one host follows a file that grows. Some outages are short, every third one takes longer than
/// all attempts of a call together.
fn kill_the_server(mut server: Server, kills: usize) {
    const ROWS: usize = 60_000;
    const SHORT_MS: u64 = 300;
    const LONG_MS: u64 = 4_000;
    let mut random = StdRng::seed_from_u64(SEED);
    let input = Input::new(SEED, ROWS, 2_000, |_| "1".to_owned());
    let topology = Counting { source: "follow = true\npoll = \"20ms\"\nsplit = \"64KiB\"", ..on_a_bucket() };
    let place = place(&topology, "", &server);
    let lines: Vec<&str> = input.text.split_inclusive('\n').collect();
    // Three parts a kill: before it, during the outage, and after it.
    let mut parts = lines.chunks(ROWS / (3 * kills));
    let mut written = 0;
    let mut append = |parts: &mut dyn Iterator<Item = &[&str]>| {
        let part = parts.next().unwrap_or_default();
        let mut file = OpenOptions::new().append(true).open(place.path("in/rows.txt")).unwrap();
        file.write_all(part.concat().as_bytes()).unwrap();
        written += part.len();
        written as u64
    };

    let mut running = start(&place, 2);
    for kill in 0..kills {
        let before = append(&mut parts);
        running.wait_until("a checkpoint before the kill", |running| rows_checkpointed(&running.told()) >= before);
        append(&mut parts);
        std::thread::sleep(Duration::from_micros(random.random_range(0..100_000)));
        server.kill();
        append(&mut parts);
        let outage_ms = if kill % 3 == 2 { LONG_MS } else { random.random_range(0..SHORT_MS) };
        std::thread::sleep(Duration::from_millis(outage_ms));
        server.start();
    }
    while append(&mut parts) < ROWS as u64 {}
    running.wait_until("all rows in checkpoints", |running| rows_checkpointed(&running.told()) == ROWS as u64);
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(of_kind(&events(&ended.stderr), "begin").len(), 1, "{ended}");
    place.published().assert_equals(&input.counted, "after kills of the server");
    place.assert_counts_in_order();
}

#[test]
fn the_s3_server_is_killed_10_times_and_one_host_lives_through_it() {
    kill_the_server(Server::ours(), 10);
}

#[test]
fn the_server_is_killed_3_times_on_a_real_server_and_one_host_lives_through_it() {
    for server in Server::real() {
        kill_the_server(server, 3);
    }
}

#[test]
fn a_host_on_s3_that_froze_and_was_replaced_publishes_nothing_more() {
    let server = Server::ours();
    let input = Input::new(SEED, 1_200_000, 10_000, |_| "1".to_owned());
    freeze_and_replace(&place(&on_a_bucket(), &input.text, &server), &input, 3);
}

#[test]
fn of_two_hosts_that_start_together_on_s3_one_goes_on() {
    let server = Server::ours();
    let input = Input::new(SEED, 100_000, 10_000, |_| "1".to_owned());
    for store in STORES {
        let topology = Counting { store, ..on_a_bucket() };
        start_two(&place(&topology, &input.text, &server), &input);
    }
}

/// One for each race.
const STORES: [&str; 5] = ["s3://bucket/one", "s3://bucket/two", "s3://bucket/three", "s3://bucket/four", "s3://bucket/five"];

#[test]
fn a_job_on_s3_finishes_through_a_network_that_fails_in_every_way() {
    let server = Server::ours();
    // A request that is swallowed holds the job up for the whole time limit of an attempt.
    let faults: Vec<Fault> = FAULTS.into_iter().filter(|fault| *fault != Fault::Swallowed).collect();
    let proxy = Proxy::start(server.port(), SEED, 8, &faults);
    let input = Input::new(SEED, 600_000, 10_000, |_| "1".to_owned());
    let mut place = on_a_bucket().place(&input.text);
    place.set(variables(proxy.port()));
    place.finish(2);
    place.published().assert_equals(&input.counted, "through faults");
    place.assert_counts_in_order();
    let counts: Vec<(Fault, u64)> = faults.iter().map(|fault| (*fault, proxy.fired(*fault))).collect();
    println!("{} requests, of which {counts:?}", proxy.requests());
    assert!(counts.iter().all(|(_, fired)| *fired > 0), "a fault never happened: {counts:?}");
}
