//! The promises over each kind of store, and over buckets behind each kind of fault.

use super::promises::{Clients, Load, check};
use super::proxy::{FAULTS, Fault, Proxy};
use super::server::{BUCKET, Server, variables};
use reprise::store::{Store, StoreLimits};
use std::path::Path;
use std::time::Duration;

/// The seed of the faults.
const SEED: u64 = 3;

async fn bucket(port: u16, limits: &StoreLimits) -> Clients {
    let open = async || {
        let url = format!("s3://{BUCKET}/some/prefix");
        let opened = Store::open_with_variables(&url, Path::new("."), "job", limits.clone(), variables(port).into_iter()).await;
        opened.expect("it is set up")
    };
    Clients { one: open().await, other: open().await }
}

async fn elsewhere(url: &str, folder: &Path) -> Clients {
    let open = async || Store::open(url, folder, "job", StoreLimits::default()).await.expect("it can be opened");
    Clients { one: open().await, other: open().await }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_promises() {
    check(&elsewhere("memory:promises", Path::new(".")).await, &Load::FULL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_keeps_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    check(&elsewhere("file:./state", folder.path()).await, &Load::FULL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises() {
    let server = Server::ours();
    check(&bucket(server.port(), &StoreLimits::default()).await, &Load::FULL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_on_a_real_server_keeps_the_promises() {
    for server in Server::real() {
        check(&bucket(server.port(), &StoreLimits::default()).await, &Load::FULL).await;
    }
}

/// Limits under which a fault costs next to no time.
fn hasty() -> StoreLimits {
    let (backoff_min, backoff_max) = (Duration::from_micros(100), Duration::from_millis(5));
    StoreLimits { retries: 30, backoff_min, backoff_max, ..StoreLimits::default() }
}

/// Runs the promises through faults of these kinds, each of which must have happened.
async fn behind(server: &Server, faults: &[Fault], one_in: u64, limits: &StoreLimits, load: Load) {
    let proxy = Proxy::start(server.port(), SEED, one_in, faults);
    check(&bucket(proxy.port(), limits).await, &Load { loses_answers: true, ..load }).await;
    let counts: Vec<(Fault, u64)> = faults.iter().map(|fault| (*fault, proxy.fired(*fault))).collect();
    println!("{} requests, of which {counts:?}", proxy.requests());
    assert!(counts.iter().all(|(_, fired)| *fired > 0), "a fault never happened: {counts:?}");
}

const SMALLER: Load = Load { racers: 12, races: 4, listed: 60, ..Load::FULL };

async fn behind_one(fault: Fault) {
    behind(&Server::ours(), &[fault], 4, &hasty(), SMALLER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_although_connections_are_refused() {
    behind_one(Fault::Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_although_requests_are_cut() {
    behind_one(Fault::RequestCut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_although_answers_are_lost() {
    behind_one(Fault::AnswerLost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_although_answers_are_cut() {
    behind_one(Fault::AnswerCut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_although_the_network_is_slow() {
    behind_one(Fault::Slow).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_although_it_is_throttled() {
    behind_one(Fault::Throttled).await;
}

/// An attempt that is swallowed costs its whole time limit, which grows with the bytes that it moves: so these are few.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_the_promises_although_requests_are_swallowed() {
    let limits = StoreLimits { timeout: Duration::from_millis(200), ..hasty() };
    let load = Load { racers: 8, races: 2, racer_bytes: 1_000, listed: 20, large_bytes: 0, ..SMALLER };
    behind(&Server::ours(), &[Fault::Swallowed], 16, &limits, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_on_a_real_server_keeps_the_promises_through_every_fault() {
    let passing: Vec<Fault> = FAULTS.into_iter().filter(|fault| *fault != Fault::Swallowed).collect();
    for server in Server::real() {
        behind(&server, &passing, 5, &hasty(), SMALLER).await;
    }
}
