//! What all instances of an operator share when things go wrong: the circuit breaker, and how long recoveries took.

use reprise_core::failure::window::{Standing, Window, WindowBreaker};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The breaker of an operator (see [`reprise_core::failure::window`]), and counters of its troubles.
#[derive(Debug)]
pub struct Guard {
    breaker: Mutex<WindowBreaker>,
    /// The breaker is not closed. Saves a lock a turn.
    is_troubled: AtomicBool,
    origin: Instant,
    /// It was told that an instance would take too long to come back.
    is_too_slow: AtomicBool,
    /// For each instance how long it would take to come back, nanoseconds.
    predicted_ns: Vec<AtomicU64>,
    /// How long instances took to come back.
    pub recoveries: Durations,
    /// Of these, those where a standby took over.
    pub by_standby: AtomicU64,
    /// Of these, those where it was ready and had so little to repeat that the worker did it.
    pub at_once: AtomicU64,
    /// Rows that went to quarantine because calls failed on them.
    pub quarantined: AtomicU64,
}

impl Guard {
    /// A closed one, for so many instances.
    #[must_use]
    pub fn new(settings: Window, instances: usize) -> Self {
        Self {
            breaker: Mutex::new(WindowBreaker::new(settings)),
            is_troubled: AtomicBool::new(false),
            origin: Instant::now(),
            is_too_slow: AtomicBool::new(false),
            predicted_ns: (0..instances).map(|_| AtomicU64::new(0)).collect(),
            recoveries: Durations::default(),
            by_standby: AtomicU64::new(0),
            at_once: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
        }
    }

    pub(super) fn predict(&self, instance: u32, takes: Duration) {
        if let Some(predicted) = self.predicted_ns.get(instance as usize) {
            predicted.store(u64::try_from(takes.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// True the first time.
    pub(super) fn is_first_too_slow(&self) -> bool {
        !self.is_too_slow.swap(true, Ordering::Relaxed)
    }

    /// How long the slowest instance would take to come back.
    #[must_use]
    pub fn predicted(&self) -> Duration {
        Duration::from_nanos(self.predicted_ns.iter().map(|predicted| predicted.load(Ordering::Relaxed)).max().unwrap_or(0))
    }

    /// True while no call is made.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shut_for().is_some()
    }

    fn with<T>(&self, act: impl FnOnce(&mut WindowBreaker, Duration) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.origin.elapsed();
        let done = act(&mut breaker, now);
        self.is_troubled.store(breaker.standing(now) != Standing::Closed, Ordering::Release);
        done
    }

    /// How long no call may be made; `None` where one may be made now.
    pub(super) fn shut_for(&self) -> Option<Duration> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return None;
        }
        self.with(|breaker, now| match breaker.standing(now) {
            Standing::Open { until } => Some(until - now),
            Standing::Closed | Standing::HalfOpen => None,
        })
    }

    /// Takes note of a fault. The pause, where it opens the breaker.
    pub(super) fn fault(&self) -> Option<Duration> {
        self.with(|breaker, now| breaker.fault(now).then(|| left(breaker, now)))
    }

    /// Takes note of rows that a call rejected. The pause, where they open the breaker.
    pub(super) fn rejected(&self, rows: u64) -> Option<Duration> {
        self.with(|breaker, now| breaker.rejected(now, rows).then(|| left(breaker, now)))
    }

    /// Opens the breaker, whatever came before. The pause, where it was not open.
    pub(super) fn trip(&self) -> Option<Duration> {
        self.with(|breaker, now| breaker.trip(now).then(|| left(breaker, now)))
    }

    /// Takes note of a call that succeeded. True where it closes the breaker.
    pub(super) fn success(&self) -> bool {
        self.is_troubled.load(Ordering::Acquire) && self.with(|breaker, _| breaker.success())
    }

    /// Ends a pause before its time: the next call decides. True where there was one.
    pub fn resume(&self) -> bool {
        self.with(|breaker, now| breaker.resume(now))
    }
}

fn left(breaker: &mut WindowBreaker, now: Duration) -> Duration {
    match breaker.standing(now) {
        Standing::Open { until } => until - now,
        Standing::Closed | Standing::HalfOpen => Duration::ZERO,
    }
}

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

    #[test]
    fn a_breaker_that_is_open_says_for_how_long() {
        let hour = Duration::from_secs(3_600);
        let guard = Guard::new(Window { faults_max: 1, rejections_max: 1, window: hour, pause: hour }, 1);
        assert!(guard.shut_for().is_none() && guard.fault().is_none());
        assert!(guard.fault().is_some());
        assert!(guard.shut_for().is_some_and(|left| left <= hour) && guard.is_open());
        assert!(guard.resume() && !guard.resume());
        assert!(guard.shut_for().is_none() && !guard.is_open());
        assert!(guard.success() && !guard.success());
        assert!(guard.trip().is_some() && guard.trip().is_none());
    }
}
