//! How long recoveries took, as a histogram that threads share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each doubling of a duration.
const STEPS: u64 = 8;
/// Doublings from 1 microsecond on: the last one holds a day.
const DOUBLINGS: u64 = 37;

/// How long recoveries took, in buckets that are an eighth of a doubling wide.
#[derive(Debug)]
pub struct Durations {
    buckets: Vec<AtomicU64>,
    max_ns: AtomicU64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { buckets: (0..STEPS * DOUBLINGS).map(|_| AtomicU64::new(0)).collect(), max_ns: AtomicU64::new(0) }
    }
}

impl Durations {
    pub(super) fn note(&self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let bucket = if micros <= 1.0 { 0 } else { (micros.log2() * STEPS as f64) as usize };
        self.buckets[bucket.min(self.buckets.len() - 1)].fetch_add(1, Ordering::Relaxed);
        self.max_ns.fetch_max(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns.load(Ordering::Relaxed))
    }

    /// The time within which so many of a thousand were done, rounded up to the end of its bucket; zero where there were none.
    #[must_use]
    pub fn within(&self, per_mille: u64) -> Duration {
        let wanted = (self.count() * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count.load(Ordering::Relaxed);
            if seen >= wanted && seen > 0 {
                let end = ((bucket + 1) as f64 / STEPS as f64).exp2() / 1e6;
                return Duration::from_secs_f64(end).min(self.max());
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_told_within_an_eighth_of_a_doubling() {
        let durations = Durations::default();
        assert_eq!((durations.within(990), durations.max()), (Duration::ZERO, Duration::ZERO));
        (1..=1000).for_each(|ms| durations.note(Duration::from_millis(ms)));
        assert_eq!((durations.count(), durations.max()), (1000, Duration::from_secs(1)));
        for (per_mille, exact) in [(500, 500.0), (990, 990.0), (1000, 1000.0)] {
            let told = durations.within(per_mille).as_secs_f64() * 1e3;
            assert!((exact..exact * 1.1).contains(&told), "{per_mille}: {told}");
        }
        durations.note(Duration::ZERO);
        durations.note(Duration::MAX);
        assert_eq!(durations.count(), 1002);
    }
}
