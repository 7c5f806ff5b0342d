//! The conformance suite over each kind of store, and what happens when the way to a store is bad.

use std::path::Path as FilePath;
use std::time::Duration;

use bytes::Bytes;

use super::fake_s3::{FakeS3, ServerFault};
use super::{Created, Store, StoreError, StoreLimits, conformance};

async fn open(url: &str, base_dir: &FilePath) -> Result<Store, StoreError> {
    Store::open(url, base_dir, "job", StoreLimits::default()).await
}

/// Limits under which a fault costs next to no time.
fn hasty() -> StoreLimits {
    StoreLimits { backoff_min: Duration::from_micros(10), backoff_max: Duration::from_micros(100), ..StoreLimits::default() }
}

async fn bucket(server: &FakeS3, limits: StoreLimits) -> Store {
    let variables = server.variables();
    Store::open_with_variables("s3://bucket/some/prefix", FilePath::new("."), "job", limits, variables).await.expect("it is set up")
}

#[tokio::test]
async fn memory_conforms() {
    conformance::check(&open("memory:conforms", FilePath::new(".")).await.expect("memory is always there")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_conforms() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    conformance::check(&open("file:./new/state", folder.path()).await.expect("the folder is made")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_conforms() {
    let server = FakeS3::start();
    conformance::check(&bucket(&server, StoreLimits::default()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_without_a_job_conform() {
    let server = FakeS3::start();
    for url in ["s3://bucket", "s3://other/some/prefix"] {
        let place = Store::open_fake(url, &server, StoreLimits::default()).await;
        assert_eq!(place.root(), url);
        conformance::check(&place).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    conformance::check(&Store::open_place("file:./out", folder.path(), StoreLimits::default()).await.expect("the folder is made")).await;
    conformance::check(&Store::open_place("memory:a-place", folder.path(), StoreLimits::default()).await.expect("memory is there")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bucket_conforms_under_faults() {
    let server = FakeS3::start();
    server.fail_every(
        7,
        &[
            ServerFault::Status(503),
            ServerFault::DropRequest,
            ServerFault::DropAnswer,
            ServerFault::Status(429),
            ServerFault::DropAnswer,
            ServerFault::Status(409),
        ],
    );
    conformance::check_under_faults(&bucket(&server, StoreLimits { retries: 20, ..hasty() }).await).await;
}

#[tokio::test]
async fn jobs_in_one_place_do_not_see_each_other_and_opens_of_one_job_do() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let absolute = format!("file://{}/state", folder.path().display());
    for (first_url, second_url) in [("memory:shared", "memory:shared"), ("file:state", absolute.as_str())] {
        let first = open(first_url, folder.path()).await.expect("it can be opened");
        let second = open(second_url, folder.path()).await.expect("it can be opened twice");
        let other = Store::open(first_url, folder.path(), "other", StoreLimits::default()).await.expect("it can be opened");
        assert_eq!(first.create("a", Bytes::from_static(b"x")).await.expect("nothing is in the way"), Created::New);
        assert_eq!(second.create("a", Bytes::from_static(b"y")).await.expect("nothing is in the way"), Created::Exists);
        assert_eq!(other.get("a").await.expect("it can be read"), None);
        assert_eq!(other.list("").await.expect("it can be listed"), []);
    }
    let elsewhere = open("memory:elsewhere", FilePath::new(".")).await.expect("it can be opened");
    assert_eq!(elsewhere.get("a").await.expect("it can be read"), None);
}

#[tokio::test]
async fn roots_and_objects_are_shown_in_full() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = open("file:./x/./state/", folder.path()).await.expect("it can be opened");
    assert_eq!(store.root(), format!("file:{}/x/state/job", folder.path().display()));
    assert_eq!(open("memory:", FilePath::new(".")).await.expect("it can be opened").root(), "memory:/job");
    let bucket = bucket(&FakeS3::start(), StoreLimits::default()).await;
    assert_eq!(bucket.root(), "s3://bucket/some/prefix/job");
    let error = bucket.get("a//b").await.expect_err("the path is not allowed").to_string();
    assert!(error.contains("s3://bucket/some/prefix/job/a//b"), "{error}");
}

#[tokio::test]
async fn urls_that_mean_nothing_are_refused_with_a_reason() {
    let urls = [
        "",
        "state",
        "ftp://host/x",
        "file:",
        "file://",
        "file://host/state",
        "memory:a/b",
        "s3:bucket",
        "s3://",
        "s3://Bu cket",
        "s3://b/../x",
    ];
    for url in urls {
        let error = open(url, FilePath::new(".")).await.expect_err(url);
        assert!(matches!(error, StoreError::Config { .. }), "{url}: {error:?}");
    }
    for job in ["", "a/b", "..", "a b"] {
        let opened = Store::open("memory:", FilePath::new("."), job, StoreLimits::default()).await;
        assert!(matches!(opened, Err(StoreError::Config { .. })), "{job:?}");
    }
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_is_no_passing_fault() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = open("file:state", folder.path()).await.expect("it can be opened");
    std::fs::write(folder.path().join("state/job"), b"in the way").expect("the folder is there");
    let error = store.create("a", Bytes::new()).await.expect_err("a file is in the way");
    assert!(matches!(error, StoreError::Config { .. }), "{error:?}");
    assert!(!error.is_passing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_whose_answer_was_lost_knows_its_own_object() {
    let server = FakeS3::start();
    let store = bucket(&server, hasty()).await;
    server.fail_next("PUT", ServerFault::DropAnswer);
    assert_eq!(store.create("a", Bytes::from_static(b"ours")).await.expect("the outcome is found out"), Created::New);

    server.fail_next("PUT", ServerFault::DropAnswer);
    assert_eq!(store.create("a", Bytes::from_static(b"late")).await.expect("the outcome is found out"), Created::Exists);
    assert_eq!(store.get("a").await.expect("it can be read").as_deref(), Some(&b"ours"[..]));

    // Even when nobody could look in between: the second attempt meets the object of the first.
    server.fail_next("PUT", ServerFault::DropAnswer);
    server.fail_next("HEAD", ServerFault::Status(503));
    assert_eq!(store.create("b", Bytes::from_static(b"ours")).await.expect("the outcome is found out"), Created::New);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_refused_on_account_of_one_that_came_to_nothing_is_tried_again() {
    let server = FakeS3::start();
    let store = bucket(&server, hasty()).await;
    server.fail_next("PUT", ServerFault::Status(409));
    assert_eq!(store.create("a", Bytes::from_static(b"x")).await.expect("nothing is there"), Created::New);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_comes_ends_in_a_timeout_and_another_attempt() {
    let server = FakeS3::start();
    let store = bucket(&server, StoreLimits { timeout: Duration::from_millis(200), ..hasty() }).await;
    server.fail_next("PUT", ServerFault::Hang);
    assert_eq!(store.create("a", Bytes::new()).await.expect("the outcome is found out"), Created::New);

    let store = bucket(&server, StoreLimits { timeout: Duration::from_millis(50), retries: 1, ..hasty() }).await;
    server.fail_next("GET", ServerFault::Hang);
    server.fail_next("GET", ServerFault::Hang);
    let error = store.get("a").await.expect_err("both attempts hang");
    assert!(matches!(error, StoreError::Timeout { attempts: 2, .. }), "{error:?}");
    assert!(error.is_passing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_counted_and_the_last_failure_is_the_cause() {
    let server = FakeS3::start();
    let store = bucket(&server, StoreLimits { retries: 2, ..hasty() }).await;
    for _ in 0..3 {
        server.fail_next("GET", ServerFault::Status(503));
    }
    let error = store.get("a").await.expect_err("all attempts fail");
    assert!(matches!(error, StoreError::Unavailable { attempts: 3, .. }), "{error:?}");
    let cause = std::error::Error::source(&error).expect("there is a cause").to_string();
    assert!(cause.contains("503"), "{cause}");
    assert_eq!(server.take_log().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_not_tried_again() {
    let server = FakeS3::start();
    let store = bucket(&server, hasty()).await;
    server.fail_next("GET", ServerFault::Status(403));
    let error = store.get("a").await.expect_err("it is forbidden");
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    server.fail_next("PUT", ServerFault::Status(404));
    let error = store.create("a", Bytes::new()).await.expect_err("there is no such bucket");
    assert!(matches!(error, StoreError::Config { .. }), "{error:?}");
    assert_eq!(server.take_log(), ["GET bucket/some/prefix/job/a", "PUT bucket/some/prefix/job/a", "HEAD bucket/some/prefix/job/a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_overwrites_may_not_hold_a_job() {
    let server = FakeS3::start();
    let store = bucket(&server, hasty()).await;
    server.fail_next("PUT", ServerFault::Overwrite);
    server.fail_next("PUT", ServerFault::Overwrite);
    let error = store.probe().await.expect_err("it overwrites");
    assert!(matches!(error, StoreError::NotAtomic { .. }), "{error:?}");
    store.probe().await.expect("it no longer does");

    // One after the other it behaves, but of three that ask at once all are told that they were first.
    for fault in [ServerFault::Spare, ServerFault::Spare, ServerFault::Overwrite, ServerFault::Overwrite, ServerFault::Overwrite] {
        server.fail_next("PUT", fault);
    }
    let error = store.probe().await.expect_err("racers win");
    assert!(error.to_string().contains("of 8 creators that raced for one object, 3 were told that they created it"), "{error}");
    assert!(matches!(error, StoreError::NotAtomic { .. }), "{error:?}");
    // Whoever is told of its win must have won.
    server.fail_next("PUT", ServerFault::Spare);
    server.fail_next("PUT", ServerFault::Spare);
    server.fail_next("GET", ServerFault::Spare);
    server.fail_next("GET", ServerFault::Status(404));
    let error = store.probe().await.expect_err("the object cannot be found");
    assert!(error.to_string().contains("does not find an object for which creators just raced"), "{error}");
    assert_eq!(store.list("").await.expect("it can be listed"), [], "all probes removed their objects");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_goes_up_in_parts_and_a_failed_upload_leaves_none() {
    let server = FakeS3::start();
    let mut store = bucket(&server, hasty()).await;
    store.large_bytes = Some(1 << 20);
    let bytes: Bytes = (0..(40_u32 << 20)).map(|index| (index >> 12).to_le_bytes()[0]).collect();

    // The first request of an upload begins it, a part is repeated on its own, and a completion that fails is found to have worked.
    server.fail_next("POST", ServerFault::Status(503));
    server.fail_next("PUT", ServerFault::Status(503));
    assert_eq!(store.create("large", bytes.clone()).await.expect("faults pass"), Created::New);
    assert_eq!(store.get("large").await.expect("it can be read"), Some(bytes.clone()));
    let parts = server.take_log().iter().filter(|line| line.starts_with("PUT")).count();
    assert_eq!(parts, 4, "three parts, one of them twice");
    assert_eq!(store.create("large", bytes.clone()).await.expect("it is there"), Created::Exists);

    server.fail_next("PUT", ServerFault::Status(403));
    let error = store.create("other", bytes.clone()).await.expect_err("a part is forbidden");
    assert!(matches!(error, StoreError::Denied { .. }), "{error:?}");
    assert_eq!(server.open_uploads(), 0);
    assert_eq!(store.get("other").await.expect("it can be read"), None);
}
