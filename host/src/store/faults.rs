//! What a store makes of faults at each of its calls: the suite under each interference, a script with one fault at each place, outages.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::fake_s3::{FakeS3, ServerFault};
use super::{CallKind, Created, Creation, Intercept, Interference, PAGE_OBJECTS, StorageCall, Store, StoreError, StoreLimits, conformance};

const INTERFERENCES: [Interference; 5] = [
    Interference::FailBefore,
    Interference::FailAfter,
    Interference::HangBefore,
    Interference::HangAfter,
    Interference::Delay(Duration::from_micros(50)),
];

/// Limits under which a fault costs next to no time. A call of memory is done when it is first polled, so only those time out that hang.
fn hasty() -> StoreLimits {
    StoreLimits {
        timeout: Duration::from_millis(20),
        backoff_min: Duration::from_micros(10),
        backoff_max: Duration::from_micros(100),
        retries: 20,
        ..StoreLimits::default()
    }
}

/// As [`hasty`], and every object goes up in parts.
fn in_parts() -> StoreLimits {
    StoreLimits { large_bytes: Some(0), part_bytes: 5, ..hasty() }
}

async fn open(url: &str, base_dir: &FilePath, limits: StoreLimits, intercept: Option<Arc<dyn Intercept>>) -> Store {
    Store::open_with(url, base_dir, "job", limits, intercept).await.expect("it can be opened")
}

async fn create(store: &Store, path: &str, bytes: &str) -> Created {
    store.create(path, Bytes::from(bytes.to_owned())).await.unwrap_or_else(|error| panic!("create {path}: {error:?}"))
}

/// Interferes with every `period`-th call of a kind.
#[derive(Debug)]
struct Rhythm {
    kind: CallKind,
    period: u64,
    interference: Interference,
    seen: AtomicU64,
}

impl Intercept for Rhythm {
    fn before(&self, call: &StorageCall) -> Interference {
        let is_due = call.kind == self.kind && self.seen.fetch_add(1, Ordering::Relaxed) % self.period == self.period - 1;
        if is_due { self.interference } else { Interference::Pass }
    }
}

impl Rhythm {
    fn new(kind: CallKind, period: u64, interference: Interference) -> Arc<Self> {
        Arc::new(Self { kind, period, interference, seen: AtomicU64::new(0) })
    }

    fn fired(&self) -> u64 {
        self.seen.load(Ordering::Relaxed) / self.period
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms_under_every_interference_with_every_kind_of_call() {
    for kind in [CallKind::PutIfAbsent, CallKind::Get, CallKind::Head, CallKind::List, CallKind::Delete] {
        for (number, interference) in INTERFERENCES.into_iter().enumerate() {
            let hangs = matches!(interference, Interference::HangBefore | Interference::HangAfter);
            // A hang costs its time limit, so there are fewer where there are many calls.
            let period = if hangs && matches!(kind, CallKind::PutIfAbsent | CallKind::Delete) { 60 } else { 3 };
            let rhythm = Rhythm::new(kind, period, interference);
            let url = format!("memory:interferes-{kind:?}-{number}");
            let store = open(&url, FilePath::new("."), hasty(), Some(rhythm.clone())).await;
            conformance::check_under_faults(&store).await;
            assert!(rhythm.fired() >= 3, "{kind:?} {interference:?}: {} times", rhythm.fired());
        }
    }
}

/// Loses requests and answers in turn, whatever the call.
#[derive(Debug, Default)]
struct Losses(AtomicU64);

impl Intercept for Losses {
    fn before(&self, call: &StorageCall) -> Interference {
        self.0.store(call.number, Ordering::Relaxed);
        match call.number % 22 {
            6 => Interference::FailBefore,
            17 => Interference::FailAfter,
            _ => Interference::Pass,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_conforms_under_lost_requests_and_lost_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let losses = Arc::new(Losses::default());
    let limits = StoreLimits { timeout: Duration::from_secs(30), ..hasty() };
    let store = open("file:state", folder.path(), limits, Some(losses.clone())).await;
    conformance::check_under_faults(&store).await;
    assert!(losses.0.load(Ordering::Relaxed) > 1_000);
}

/// Interferes with one call, by its number, or with all from it on. Writes down what is asked.
#[derive(Debug)]
struct Sweep {
    from: u64,
    for_ever: bool,
    interference: Interference,
    calls: Mutex<Vec<(CallKind, String)>>,
}

impl Intercept for Sweep {
    fn before(&self, call: &StorageCall) -> Interference {
        let mut calls = self.calls.lock().expect("no test panics while it holds this");
        assert_eq!(call.number, calls.len() as u64, "calls that follow each other have numbers that do");
        calls.push((call.kind, call.path.clone()));
        let is_due = if self.for_ever { call.number >= self.from } else { call.number == self.from };
        if is_due { self.interference } else { Interference::Pass }
    }
}

impl Sweep {
    fn new(from: u64, for_ever: bool, interference: Interference) -> Arc<Self> {
        Arc::new(Self { from, for_ever, interference, calls: Mutex::default() })
    }

    fn calls(&self) -> Vec<(CallKind, String)> {
        self.calls.lock().expect("no test panics while it holds this").clone()
    }
}

/// Uses each operation of a store; all answers in words.
async fn script(store: &Store) -> Vec<String> {
    let mut said = vec![format!("{:?}", create(store, "a/1", "the first").await), format!("{:?}", create(store, "a/1", "second").await)];
    said.push(format!("{:?}", create(store, "a/2", "other").await));
    said.push(format!("{:?}", store.get("a/1").await.expect("faults pass")));
    said.push(format!("{:?}", store.get("a/9").await.expect("faults pass")));
    said.push(format!("{:?}", store.list("a").await.expect("faults pass")));
    said.push(format!("{:?}", store.delete("a/2").await.expect("faults pass")));
    said.push(format!("{:?}", store.list("").await.expect("faults pass")));
    said
}

#[tokio::test]
async fn one_fault_at_any_call_changes_no_answer() {
    let mut cases = 0;
    for (name, limits) in [("whole", hasty()), ("parts", in_parts())] {
        let fault_free = Sweep::new(u64::MAX, false, Interference::Pass);
        let store = open(&format!("memory:swept-{name}"), FilePath::new("."), limits.clone(), Some(fault_free.clone())).await;
        let expected = script(&store).await;
        let calls = fault_free.calls();
        for (number, (kind, path)) in calls.iter().enumerate() {
            for (which, interference) in INTERFERENCES.into_iter().enumerate() {
                let sweep = Sweep::new(number as u64, false, interference);
                let url = format!("memory:swept-{name}-{number}-{which}");
                let store = open(&url, FilePath::new("."), limits.clone(), Some(sweep.clone())).await;
                assert_eq!(script(&store).await, expected, "{name}: {interference:?} at call {number}, {kind:?} of {path}");
                assert_eq!(sweep.calls()[number], (*kind, path.clone()), "the fault was where it should be");
                cases += 1;
            }
        }
        let kinds = |kind: CallKind| calls.iter().filter(|(found, _)| *found == kind).count();
        let parts = [kinds(CallKind::MultipartStart), kinds(CallKind::MultipartPart), kinds(CallKind::MultipartComplete)];
        assert_eq!(parts, if name == "parts" { [2, 3, 2] } else { [0; 3] }, "{calls:?}");
    }
    assert!(cases >= 100, "only {cases} cases");
}

#[tokio::test]
async fn an_upload_that_cannot_be_given_up_is_still_made_anew() {
    for interference in INTERFERENCES {
        let inner = Rhythm::new(CallKind::MultipartAbort, 1, interference);
        let part = Rhythm::new(CallKind::MultipartPart, 2, Interference::FailBefore);
        #[derive(Debug)]
        struct Both(Arc<Rhythm>, Arc<Rhythm>, AtomicBool);
        impl Intercept for Both {
            fn before(&self, call: &StorageCall) -> Interference {
                // Only the first upload fails.
                let is_first = !self.2.fetch_or(call.kind == CallKind::MultipartAbort, Ordering::Relaxed);
                let part = if is_first { self.1.before(call) } else { Interference::Pass };
                if part == Interference::Pass { self.0.before(call) } else { part }
            }
        }
        let both = Arc::new(Both(Arc::clone(&inner), part, AtomicBool::new(false)));
        let store =
            open(&format!("memory:abort-{interference:?}").replace([' ', '(', ')', 'µ'], ""), FilePath::new("."), in_parts(), Some(both))
                .await;
        assert_eq!(create(&store, "a", "longer than one part").await, Created::New);
        assert_eq!(store.get("a").await.expect("it can be read").as_deref(), Some(&b"longer than one part"[..]));
        assert_eq!(inner.fired(), 1);
    }
}

#[tokio::test]
async fn after_faults_without_end_an_object_is_whole_or_absent_and_the_next_run_knows_its_own() {
    for (name, limits) in [("whole", hasty()), ("parts", in_parts())] {
        let limits = StoreLimits { retries: 2, ..limits };
        for interference in [Interference::FailBefore, Interference::FailAfter, Interference::HangBefore, Interference::HangAfter] {
            for from in 0..8 {
                let url = format!("memory:endless-{name}-{from}-{interference:?}");
                let sweep = Sweep::new(from, true, interference);
                let store = open(&url, FilePath::new("."), limits.clone(), Some(sweep)).await;
                let created = store.create("a", Bytes::from_static(b"one two three")).await;
                let mended = open(&url, FilePath::new("."), limits.clone(), None).await;
                let found = mended.get("a").await.expect("it can be read");
                match created {
                    Ok(created) => assert_eq!((created, found.is_some()), (Created::New, true)),
                    Err(error) => assert!(error.is_passing(), "{error:?}"),
                }
                assert!(found.is_none_or(|bytes| bytes == "one two three"));
                let how = Creation { again: true, whole: false };
                let again = mended.create_as("a", Bytes::from_static(b"one two three"), how).await.expect("faults are over");
                assert_eq!(again, Created::New, "{name} {from} {interference:?}");
                let other = mended.create_as("a", Bytes::from_static(b"one two four!"), how).await.expect("faults are over");
                assert_eq!(other, Created::Exists);
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_breaks_at_the_same_place_each_time_comes_to_an_end() {
    let rhythm = Rhythm::new(CallKind::List, 1, Interference::FailAfter);
    let store = open("memory:breaks-again", FilePath::new("."), hasty(), Some(rhythm)).await;
    for number in 0..=PAGE_OBJECTS {
        create(&store, &format!("a/{number}"), "").await;
    }
    let mut pages = store.pages("a").expect("it is a prefix");
    let mut given = 0;
    let error = loop {
        match pages.next().await {
            Ok(page) => given += page.expect("the list never comes to its end").len(),
            Err(error) => break error,
        }
    };
    assert!(error.is_passing() && given >= PAGE_OBJECTS, "{given}: {error:?}");
    assert!(pages.next().await.is_ok_and(|page| page.is_some()), "a further call begins anew");
    let mut after = store.pages_after("a", "a/998").expect("it is a prefix");
    drop(after.next().await.expect_err("it breaks at its end"));
}

/// Fails everything until it is told not to, and counts.
#[derive(Debug, Default)]
struct Outage {
    is_over: AtomicBool,
    calls: AtomicU64,
}

impl Intercept for Outage {
    fn before(&self, call: &StorageCall) -> Interference {
        self.calls.store(call.number + 1, Ordering::Relaxed);
        if self.is_over.load(Ordering::Relaxed) { Interference::Pass } else { Interference::FailBefore }
    }
}

#[tokio::test]
async fn calls_do_not_pile_up_on_a_store_that_does_not_answer_and_it_is_used_once_it_does() {
    let outage = Arc::new(Outage::default());
    let limits = StoreLimits { retries: 2, ..hasty() };
    let store = open("memory:does-not-answer", FilePath::new("."), limits, Some(outage.clone())).await;
    let error = store.get("a").await.expect_err("nothing answers");
    assert!(matches!(error, StoreError::Unavailable { attempts: 3, .. }) && error.is_passing(), "{error:?}");
    assert_eq!(outage.calls.load(Ordering::Relaxed), 3);
    let error = store.delete_all((0..10_000).map(|number| number.to_string())).await.expect_err("nothing answers");
    assert!(error.is_passing(), "{error:?}");
    let calls = outage.calls.load(Ordering::Relaxed);
    assert!(calls <= 300, "{calls} calls for what 32 at once could tell");
    outage.is_over.store(true, Ordering::Relaxed);
    assert_eq!(create(&store, "a", "x").await, Created::New);
    store.delete_all(["a".to_owned(), "b".to_owned()]).await.expect("it answers");
    assert_eq!(store.get("a").await.expect("it answers"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_do_not_pass_and_throttling_does() {
    let server = FakeS3::start();
    let limits = StoreLimits { timeout: Duration::from_secs(30), retries: 1, ..hasty() };
    let store =
        Store::open_with_variables("s3://bucket", FilePath::new("."), "job", limits, server.variables()).await.expect("it is set up");
    for status in [401, 403, 404] {
        server.fail_next("PUT", ServerFault::Status(status));
        assert!(!store.create("a", Bytes::new()).await.expect_err("it is refused").is_passing());
    }
    assert_eq!(store.get("a").await.expect("it can be read"), None);
    assert_eq!(create(&store, "a", "x").await, Created::New);
    assert_eq!(create(&store, "a", "y").await, Created::Exists);
    server.fail_next("GET", ServerFault::Status(503));
    assert!(store.get("a").await.expect("throttling passes").is_some());
}

/// Panics at each call, as a client library that takes its settings for granted.
#[derive(Debug)]
struct Panics;

impl Intercept for Panics {
    fn before(&self, _: &StorageCall) -> Interference {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_panic_of_the_client_library_is_an_error_that_will_not_pass() {
    let store = open("memory:panics", FilePath::new("."), hasty(), Some(Arc::new(Panics))).await;
    let errors = [
        store.get("a").await.expect_err("it panics"),
        store.create("a", Bytes::new()).await.expect_err("it panics"),
        store.list("").await.expect_err("it panics"),
        store.delete("a").await.expect_err("it panics"),
        store.pages("").expect("it is a prefix").next().await.expect_err("it panics"),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Config { .. }) && !error.is_passing(), "{error:?}");
        assert!(error.to_string().contains("gave up: on purpose") && error.to_string().contains("report"), "{error}");
    }
}
