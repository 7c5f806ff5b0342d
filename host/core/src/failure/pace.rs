//! How long an instance would take to come back, and when its host should take a snapshot so that it does not take longer.
//!
//! An instance comes back by restoring its last snapshot and by repeating the calls since then. Both are predicted from what was measured:
//! restoring from the bytes a second of the restores so far, repeating from the time that the calls took when they were made. A snapshot
//! makes the second part nothing. It is not taken more often than it is worth: the calls since the last one must have taken
//! [`WORTH`] times as long as reading it will.
//!
//! All times are arguments.

use std::time::Duration;

/// Calls since the last snapshot must have taken so many times what reading a snapshot takes: it costs at most a quarter of the time.
pub const WORTH: u32 = 3;
/// Bytes a second that are assumed before a restore was measured.
pub const RESTORE_BYTES_PER_SECOND: u64 = 100 << 20;
/// How much faster than assumed a restore may turn out to be.
const DOUBT: u32 = 4;
/// Part of the time allowed that repeating calls may take where restoring alone takes longer than that.
const LEAST_SHARE: u32 = 4;

/// The calls since the last snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Logged {
    /// Bytes that the host holds to repeat them.
    pub bytes: u64,
    /// Time that they took.
    pub busy: Duration,
}

/// Calls that took no longer are repeated with each retry: a snapshot would hardly be cheaper.
const RETRY_LOG_MAX: Duration = Duration::from_millis(2);

/// The pace of snapshots of an instance, from what was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    within: Duration,
    log_bytes_max: u64,
    restored: Option<(u64, Duration)>,
    snapshot: Duration,
}

impl Pace {
    /// `within`: how long an instance may take to come back. `log_bytes_max`: what the host may hold to repeat calls.
    #[must_use]
    pub fn new(within: Duration, log_bytes_max: u64) -> Self {
        Self { within, log_bytes_max, restored: None, snapshot: Duration::ZERO }
    }

    /// Takes note of a restore of so many bytes; small ones say little, and the largest so far counts.
    pub fn note_restore(&mut self, bytes: u64, took: Duration) {
        if self.restored.is_none_or(|(most, _)| bytes >= most) {
            self.restored = Some((bytes, took));
        }
    }

    /// Takes note of how long it took to read a snapshot of changes.
    pub fn note_snapshot(&mut self, took: Duration) {
        self.snapshot = took;
    }

    /// How long it would take to restore so many bytes.
    #[must_use]
    pub fn restore(&self, state_bytes: u64) -> Duration {
        let (bytes, took) = match self.restored {
            Some((bytes, took)) if bytes > 0 => (bytes, took),
            Some((_, took)) => return took.max(per(state_bytes, RESTORE_BYTES_PER_SECOND)),
            None => (RESTORE_BYTES_PER_SECOND, Duration::from_secs(1)),
        };
        if state_bytes <= bytes { took.mul_f64(state_bytes as f64 / bytes as f64) } else { per_as(state_bytes, bytes, took) }
    }

    /// How long it would take to restore so many bytes, where that alone is longer than coming back may take. Where no restore was measured
    /// yet, only what is too long for [`DOUBT`] times the speed that is assumed.
    #[must_use]
    pub fn restore_too_long(&self, state_bytes: u64) -> Option<Duration> {
        let is_measured = self.restored.is_some_and(|(bytes, _)| bytes > 0);
        let takes = self.restore(state_bytes);
        (takes > self.within.saturating_mul(if is_measured { 1 } else { DOUBT })).then_some(takes)
    }

    /// How long an instance with so many bytes of state would take to come back now. `stands_by`: a restored one is kept beside it.
    #[must_use]
    pub fn predicted(&self, state_bytes: u64, logged: Logged, stands_by: bool) -> Duration {
        let restore = if stands_by { Duration::ZERO } else { self.restore(state_bytes) };
        restore.saturating_add(logged.busy)
    }

    /// True where a snapshot is due before the next call, which brings `more` bytes.
    #[must_use]
    pub fn is_due(&self, state_bytes: u64, logged: Logged, more: u64, stands_by: bool) -> bool {
        if logged.bytes > 0 && logged.bytes.saturating_add(more) > self.log_bytes_max {
            return true;
        }
        let restore = if stands_by { Duration::ZERO } else { self.restore(state_bytes) };
        let share = self.within.saturating_sub(restore).max(self.within / LEAST_SHARE);
        logged.busy > share && logged.busy > self.snapshot.saturating_mul(WORTH)
    }
}

impl Pace {
    /// True where a snapshot is due before a call that has failed is made again: each further replacement would repeat the calls since the last one.
    #[must_use]
    pub fn is_due_before_retry(&self, logged: Logged) -> bool {
        logged.busy > RETRY_LOG_MAX && logged.busy > self.snapshot
    }
}

fn per(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bytes_per_second.max(1) as f64)
}

fn per_as(bytes: u64, of: u64, took: Duration) -> Duration {
    took.mul_f64((bytes as f64 / of.max(1) as f64).min(1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn logged(bytes: u64, busy_ms: u64) -> Logged {
        Logged { bytes, busy: MS(busy_ms) }
    }

    #[test]
    fn a_snapshot_is_due_before_a_retry_where_it_costs_less_than_repeating() {
        let mut pace = Pace::new(MS(200), 1 << 20);
        assert!(!pace.is_due_before_retry(logged(1, 2)) && pace.is_due_before_retry(logged(1, 3)));
        pace.note_snapshot(MS(10));
        assert!(!pace.is_due_before_retry(logged(1, 10)) && pace.is_due_before_retry(logged(1, 11)));
    }

    #[test]
    fn a_snapshot_is_due_when_coming_back_would_take_too_long() {
        let mut pace = Pace::new(MS(200), 1 << 20);
        pace.note_restore(10 << 20, MS(100));
        assert_eq!(pace.predicted(5 << 20, logged(1, 30), false), MS(80));
        assert_eq!(pace.predicted(20 << 20, logged(1, 30), false), MS(230));
        assert_eq!(pace.predicted(20 << 20, logged(1, 30), true), MS(30));
        assert!(!pace.is_due(10 << 20, logged(1, 100), 0, false));
        assert!(pace.is_due(10 << 20, logged(1, 101), 0, false));
        assert!(!pace.is_due(10 << 20, logged(1, 200), 0, true));
        assert!(pace.is_due(10 << 20, logged(1, 201), 0, true));
    }

    #[test]
    fn where_restoring_alone_takes_too_long_calls_may_take_a_quarter() {
        let mut pace = Pace::new(MS(200), 1 << 20);
        pace.note_restore(10 << 20, MS(1_000));
        assert!(!pace.is_due(10 << 20, logged(1, 50), 0, false));
        assert!(pace.is_due(10 << 20, logged(1, 51), 0, false));
    }

    #[test]
    fn a_snapshot_is_not_taken_more_often_than_it_is_worth() {
        let mut pace = Pace::new(MS(200), 1 << 20);
        pace.note_snapshot(MS(100));
        assert!(!pace.is_due(0, logged(1, 300), 0, false));
        assert!(pace.is_due(0, logged(1, 301), 0, false));
    }

    #[test]
    fn the_log_never_passes_its_limit_while_it_holds_more_than_one_call() {
        let mut pace = Pace::new(MS(200), 1 << 20);
        pace.note_snapshot(MS(1_000));
        assert!(pace.is_due(0, logged(1 << 19, 1), (1 << 19) + 1, false));
        assert!(!pace.is_due(0, logged(1 << 19, 1), 1 << 19, false));
        assert!(!pace.is_due(0, logged(0, 0), 1 << 30, false), "a snapshot would make no room");
    }

    #[test]
    fn a_restore_is_too_long_where_nothing_else_could_make_up_for_it() {
        let mut pace = Pace::new(MS(200), 1 << 20);
        let second = RESTORE_BYTES_PER_SECOND;
        assert_eq!((pace.restore_too_long(second / 2), pace.restore_too_long(second)), (None, Some(MS(1_000))), "nothing was measured");
        pace.note_restore(second, MS(500));
        assert_eq!((pace.restore_too_long(second * 2 / 5), pace.restore_too_long(second / 2)), (None, Some(MS(250))));
    }

    #[test]
    fn the_largest_restore_so_far_tells_the_speed() {
        let mut pace = Pace::new(MS(200), 1 << 20);
        assert_eq!(pace.restore(RESTORE_BYTES_PER_SECOND), MS(1_000));
        pace.note_restore(0, MS(1));
        assert_eq!(pace.restore(0), MS(1));
        pace.note_restore(1000, MS(10));
        pace.note_restore(10, MS(5));
        assert_eq!(pace.restore(2000), MS(20));
    }
}
