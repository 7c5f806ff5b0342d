//! The circuit breaker of an operator, shared by its instances, with counters of their failures and recoveries.

use super::durations::Durations;
use reprise_core::failure::window::{Standing, Window, WindowBreaker};
use reprise_core::operator::CircuitBreaker;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The breaker of an operator (see [`reprise_core::failure::window`]), and counters of its troubles.
#[derive(Debug)]
pub struct SharedCircuitBreaker {
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

impl SharedCircuitBreaker {
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

    /// Ends a pause before its time: the next call decides. True where there was one.
    pub fn resume(&self) -> bool {
        self.with(|breaker, now| breaker.resume(now))
    }
}

impl CircuitBreaker for SharedCircuitBreaker {
    fn shut_for(&self) -> Option<Duration> {
        if !self.is_troubled.load(Ordering::Acquire) {
            return None;
        }
        self.with(|breaker, now| match breaker.standing(now) {
            Standing::Open { until } => Some(until - now),
            Standing::Closed | Standing::HalfOpen => None,
        })
    }

    fn fault(&self) -> Option<Duration> {
        self.with(|breaker, now| breaker.fault(now).then(|| left(breaker, now)))
    }

    fn rejected(&self, rows: u64) -> Option<Duration> {
        self.with(|breaker, now| breaker.rejected(now, rows).then(|| left(breaker, now)))
    }

    fn trip(&self) -> Option<Duration> {
        self.with(|breaker, now| breaker.trip(now).then(|| left(breaker, now)))
    }

    fn success(&self) -> bool {
        self.is_troubled.load(Ordering::Acquire) && self.with(|breaker, _| breaker.success())
    }

    fn resume(&self) -> bool {
        Self::resume(self)
    }
}

fn left(breaker: &mut WindowBreaker, now: Duration) -> Duration {
    match breaker.standing(now) {
        Standing::Open { until } => until - now,
        Standing::Closed | Standing::HalfOpen => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_that_is_open_says_for_how_long() {
        let hour = Duration::from_secs(3_600);
        let breaker = SharedCircuitBreaker::new(Window { faults_max: 1, rejections_max: 1, window: hour, pause: hour }, 1);
        assert!(breaker.shut_for().is_none() && breaker.fault().is_none());
        assert!(breaker.fault().is_some());
        assert!(breaker.shut_for().is_some_and(|left| left <= hour) && breaker.is_open());
        assert!(breaker.resume() && !breaker.resume());
        assert!(breaker.shut_for().is_none() && !breaker.is_open());
        assert!(breaker.success() && !breaker.success());
        assert!(breaker.trip().is_some() && breaker.trip().is_none());
    }
}
