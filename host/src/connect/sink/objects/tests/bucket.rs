//! A bucket behind a network that fails.

use super::{now, of_sink, settings, stage};
use crate::connect::sink::objects::ObjectsSinkConnector;
use crate::connect::sink::tests::{COUNTS, after, around, batch};
use crate::connect::{ConnectError, SinkConnector, Staged};
use crate::store::fake_s3::{FakeS3, ServerFault};
use crate::store::{Store, StoreLimits};
use reprise_core::topology::{Delivery, SinkKind};
use std::slice;
use std::time::Duration;

/// A sink into a bucket, with limits under which a fault costs next to no time.
fn in_bucket(server: &FakeS3, retries: u32) -> ObjectsSinkConnector {
    let limits = StoreLimits {
        retries,
        timeout: Duration::from_secs(5),
        backoff_min: Duration::from_micros(10),
        backoff_max: Duration::from_micros(100),
        // Each call is to use up its own attempts.
        ..StoreLimits::default()
    };
    let store = now(Store::open_fake("s3://bucket/out", server, limits));
    let around = around(std::path::Path::new("."), "job", "counts");
    let settings = settings("s3://bucket/out", 70);
    let sink = of_sink(SinkKind::Objects(settings.clone()), Delivery::ExactlyOnce, "counts");
    ObjectsSinkConnector::with(store, &settings, &sink, &around, vec![COUNTS])
}

#[test]
fn passing_faults_of_a_bucket_lose_and_double_nothing() {
    // Every second request would hit the same half of every attempt.
    for period in 3..=9 {
        let server = FakeS3::start();
        let sink = in_bucket(&server, 50);
        sink.recover(&after(None), &[]).unwrap();
        server.fail_every(period, &[ServerFault::DropAnswer, ServerFault::Status(503), ServerFault::DropRequest, ServerFault::DropAnswer]);
        let all: Vec<Staged> = (1..=6).map(|epoch| stage(&sink, 1, epoch, &["a", "b", "c"])).collect();
        all[..3].iter().for_each(|staged| sink.publish(slice::from_ref(staged)).unwrap());
        let next = in_bucket(&server, 50);
        assert_eq!(next.recover(&after(Some(5)), &all[..5]).unwrap().removed, 2, "{period}");
        server.fail_every(usize::MAX, &[]);
        let store = now(Store::open_fake("s3://bucket/out", &server, StoreLimits::default()));
        let visible = now(store.list_named_after("counts-", "counts-")).unwrap();
        assert_eq!(visible.len(), 10, "{period}");
        assert_eq!(visible.iter().map(|entry| entry.size_bytes).sum::<u64>(), 5 * 93, "{period}");
    }
}

#[test]
fn storage_that_stays_away_ends_the_sink_with_its_cause_and_a_later_publish_goes_on() {
    let server = FakeS3::start();
    let sink = in_bucket(&server, 2);
    let staged = stage(&sink, 1, 5, &["a", "b", "c"]);
    server.fail_every(1, &[ServerFault::Status(503)]);
    let error = sink.publish(slice::from_ref(&staged)).unwrap_err();
    assert!(matches!(error, ConnectError::Storage { .. }), "{error:?}");
    assert_eq!(error.to_string(), "storage failed: cannot publish output");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("3 attempts failed"));
    let mut writer = sink.writer(0, 1).unwrap();
    writer.write(6, 0, &batch("a", 1)).unwrap();
    assert!(matches!(writer.seal(6), Err(ConnectError::Storage { .. })));
    server.fail_every(usize::MAX, &[]);
    assert_eq!(in_bucket(&server, 2).recover(&after(Some(5)), &[staged]).unwrap().published, 1);
}
