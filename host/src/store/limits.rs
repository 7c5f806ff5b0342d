//! How long, how often and how much: the limits of a store, and the wait between attempts.

use crate::clock::Clock;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Objects above this size go to a bucket in parts.
///
/// A bucket cannot finish such an upload on the condition that the object is absent (the client library has no way to ask for it), so
/// the absence is looked up before. Two creators of one large object at the same time could both get [`Created::New`](super::Created::New): the names of
/// large objects (snapshots) contain the generation and the instance, which makes them unique to one creator.
pub const LARGE_BYTES: usize = 64 << 20;

/// The limits of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Time of one attempt, and as much more as the object's bytes take at [`BYTES_PER_SECOND_MIN`].
    pub timeout: Duration,
    /// Attempts after the first one.
    pub retries: u32,
    /// Wait before the first retry. It doubles with each one; the real wait lies between half of it and all of it, at random.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// Objects above this size go up in parts, and are then created under the conditions of [`LARGE_BYTES`], wherever
    /// they go. None: that size in a bucket, and never elsewhere.
    pub large_bytes: Option<usize>,
    /// Bytes of such a part, at least one. A bucket takes no parts below 5 MiB but the last, and no more than 10,000.
    pub part_bytes: usize,
    /// The longest object that is written or read.
    pub object_bytes_max: u64,
    /// The most objects of one list.
    pub list_max: usize,
}

/// A store slower than this counts as hanging.
pub const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

impl Default for StoreLimits {
    /// 30 s, 5 retries, 50 ms to 5 s, parts of 16 MiB, 8 GiB, one million objects.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            retries: 5,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            large_bytes: None,
            part_bytes: 16 << 20,
            object_bytes_max: 8 << 30,
            list_max: 1_000_000,
        }
    }
}

impl StoreLimits {
    /// The time limit of an attempt that moves so many bytes.
    pub(super) fn timeout_for(&self, bytes: u64) -> Duration {
        let (whole_s, rest) = (bytes / BYTES_PER_SECOND_MIN, bytes % BYTES_PER_SECOND_MIN);
        let moving = Duration::from_secs(whole_s) + Duration::from_millis((rest * 1_000).div_ceil(BYTES_PER_SECOND_MIN));
        self.timeout.saturating_add(moving)
    }

    /// The wait after so many failed attempts, with the given random number.
    pub(super) fn backoff(&self, failed: u32, random: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(31);
        let whole = self.backoff_min.saturating_mul(1 << doublings).min(self.backoff_max);
        let half = whole / 2;
        // 32 bits are plenty for a wait, and their product with nanoseconds fits.
        let share = (half.as_nanos() * u128::from(random >> 32)) >> 32;
        half + Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// The next of a sequence of numbers that differs from process to process: for waits and unique names, not for secrets.
pub(super) fn random() -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(Clock::unlikely_number);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    reprise_core::random::nth(*SEED, COUNTER.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_never_fall_below_half() {
        let limits = StoreLimits::default();
        for (failed, whole_ms) in [(1, 50), (2, 100), (3, 200), (7, 3200), (8, 5000), (1000, 5000)] {
            let whole = Duration::from_millis(whole_ms);
            assert_eq!(limits.backoff(failed, 0), whole / 2, "{failed}");
            assert!(limits.backoff(failed, u64::MAX) <= whole, "{failed}");
            assert!(limits.backoff(failed, u64::MAX) > whole * 9 / 10, "{failed}");
        }
    }

    #[test]
    fn moving_bytes_is_allowed_its_time() {
        let limits = StoreLimits::default();
        assert_eq!(limits.timeout_for(0), limits.timeout);
        assert_eq!(limits.timeout_for(1), limits.timeout + Duration::from_millis(1));
        assert_eq!(limits.timeout_for(1 << 19), limits.timeout + Duration::from_millis(500));
        assert_eq!(limits.timeout_for(64 << 20), limits.timeout + Duration::from_secs(64));
        assert!(limits.timeout_for(u64::MAX) > limits.timeout);
    }

    #[test]
    fn random_numbers_do_not_repeat() {
        let numbers: std::collections::BTreeSet<u64> = (0..1000).map(|_| random()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
