//! The circuit breaker of an operator: too many faults within a while open it, and the operator is left alone.
//!
//! ```text
//!            more than `faults_max` or `rejections_max`
//!            within `window`                               the pause is over, or somebody says so
//!   closed ─────────────────────────────────────> open ──────────────────────────────────────────> half open
//!     ^                                            ^ └── no call is made: rows wait                   │  │
//!     │                                            └──────────── a fault: the pause doubles ──────────┘  │
//!     └────────────────────────────────────────────────────── a call succeeds ───────────────────────────┘
//! ```
//!
//! A fault is a call that failed, counted once however often it is made again. Rows that an operator rejects are no faults of its own; they are
//! counted apart, so that one which rejects everything does not fill the quarantine unnoticed. Faults are counted within a time and not in a
//! row: an operator that fails at every thousandth record is at fault too.
//!
//! It has no clock: a time is the time since an origin that the caller chooses, and never goes back.

use std::collections::VecDeque;
use std::time::Duration;

/// The pause doubles up to this, or stays what it is set to if that is longer.
pub const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// Parts of the window in which rejected rows are added up: they may be many.
const SLICES: u32 = 64;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Faults within the window that are let pass.
    pub faults_max: u32,
    /// Rejected rows within the window that are let pass.
    pub rejections_max: u32,
    /// The window.
    pub window: Duration,
    /// The first pause.
    pub pause: Duration,
}

/// What calls meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All calls are made.
    Closed,
    /// None is, until that time.
    Open {
        /// When the next call may be made.
        until: Duration,
    },
    /// Calls are made, and the next one decides.
    HalfOpen,
}

/// The circuit breaker of an operator, without a clock.
#[derive(Debug)]
pub struct WindowBreaker {
    settings: Window,
    faults: VecDeque<Duration>,
    /// Rejected rows, added up over each [`SLICES`]th of the window: when that began, and how many.
    rejections: VecDeque<(Duration, u64)>,
    state: Standing,
    pause: Duration,
}

impl WindowBreaker {
    /// A closed one.
    #[must_use]
    pub fn new(settings: Window) -> Self {
        Self { settings, faults: VecDeque::new(), rejections: VecDeque::new(), state: Standing::Closed, pause: settings.pause }
    }

    /// Whether a call may be made now.
    pub fn standing(&mut self, now: Duration) -> Standing {
        if let Standing::Open { until } = self.state
            && now >= until
        {
            self.state = Standing::HalfOpen;
        }
        self.state
    }

    /// Takes note of a fault. True where it opens the breaker.
    pub fn fault(&mut self, now: Duration) -> bool {
        match self.standing(now) {
            Standing::Open { .. } => false,
            Standing::HalfOpen => {
                self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX.max(self.settings.pause));
                self.open(now)
            }
            Standing::Closed => {
                self.faults.push_back(now);
                let from = now.saturating_sub(self.settings.window);
                while self.faults.front().is_some_and(|&at| at < from) {
                    self.faults.pop_front();
                }
                self.faults.len() > self.settings.faults_max as usize && self.open(now)
            }
        }
    }

    /// Takes note of rejected rows. True where they open the breaker.
    pub fn rejected(&mut self, now: Duration, rows: u64) -> bool {
        if matches!(self.standing(now), Standing::Open { .. }) {
            return false;
        }
        let Window { window, rejections_max, .. } = self.settings;
        match self.rejections.back_mut() {
            Some((began, sum)) if now.saturating_sub(*began) < window / SLICES => *sum = sum.saturating_add(rows),
            _ => self.rejections.push_back((now, rows)),
        }
        let from = now.saturating_sub(window);
        while self.rejections.front().is_some_and(|&(began, _)| began < from) {
            self.rejections.pop_front();
        }
        let sum = self.rejections.iter().map(|(_, rows)| *rows).fold(0, u64::saturating_add);
        sum > u64::from(rejections_max) && self.open(now)
    }

    fn open(&mut self, now: Duration) -> bool {
        self.faults.clear();
        self.rejections.clear();
        self.state = Standing::Open { until: now.saturating_add(self.pause) };
        true
    }

    /// Opens the breaker, whatever came before. True where it was not open.
    pub fn trip(&mut self, now: Duration) -> bool {
        match self.standing(now) {
            Standing::Open { .. } => false,
            Standing::HalfOpen => self.fault(now),
            Standing::Closed => self.open(now),
        }
    }

    /// Takes note of a call that succeeded. True where it closes the breaker.
    pub fn success(&mut self) -> bool {
        let closes = self.state == Standing::HalfOpen;
        if closes {
            self.state = Standing::Closed;
            self.pause = self.settings.pause;
        }
        closes
    }

    /// Ends the pause. True where there was one.
    pub fn resume(&mut self, now: Duration) -> bool {
        let ends = matches!(self.standing(now), Standing::Open { .. });
        if ends {
            self.state = Standing::HalfOpen;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn breaker() -> WindowBreaker {
        WindowBreaker::new(Window { faults_max: 2, rejections_max: 100, window: S(10), pause: S(5) })
    }

    #[test]
    fn faults_within_the_window_open_it_and_older_ones_do_not_count() {
        let mut breaker = breaker();
        assert!(!breaker.fault(S(0)) && !breaker.fault(S(9)) && !breaker.fault(S(11)));
        assert!(breaker.fault(S(12)));
        assert_eq!(breaker.standing(S(16)), Standing::Open { until: S(17) });
        assert_eq!(breaker.standing(S(17)), Standing::HalfOpen);
    }

    #[test]
    fn a_fault_in_half_open_doubles_the_pause_and_a_success_closes() {
        let mut breaker = breaker();
        (0..3).for_each(|_| _ = breaker.fault(S(0)));
        assert_eq!(breaker.standing(S(5)), Standing::HalfOpen);
        assert!(breaker.fault(S(5)));
        assert_eq!(breaker.standing(S(6)), Standing::Open { until: S(15) });
        assert!(breaker.resume(S(6)) && !breaker.resume(S(6)), "the pause is ended once");
        assert_eq!(breaker.standing(S(6)), Standing::HalfOpen);
        assert!(breaker.success() && !breaker.success());
        assert_eq!(breaker.standing(S(6)), Standing::Closed);
        assert!(!breaker.fault(S(6)), "the count starts anew");
    }

    #[test]
    fn a_pause_that_is_ended_early_leaves_the_decision_to_the_next_call() {
        let mut breaker = breaker();
        assert!(!breaker.resume(S(0)), "there is no pause");
        assert!(breaker.trip(S(0)) && breaker.resume(S(1)));
        assert!(breaker.fault(S(1)), "one fault is enough");
        assert_eq!(breaker.standing(S(1)), Standing::Open { until: S(11) });
        assert!(!breaker.resume(S(11)), "it is over by itself");
        assert_eq!(breaker.standing(S(11)), Standing::HalfOpen);
    }

    #[test]
    fn it_can_be_tripped() {
        let mut breaker = breaker();
        assert!(breaker.trip(S(0)) && !breaker.trip(S(1)));
        assert_eq!(breaker.standing(S(5)), Standing::HalfOpen);
        assert!(breaker.trip(S(5)));
        assert_eq!(breaker.standing(S(6)), Standing::Open { until: S(15) });
    }

    #[test]
    fn the_pause_has_an_end() {
        let mut breaker = breaker();
        let mut now = S(0);
        (0..3).for_each(|_| _ = breaker.fault(now));
        for _ in 0..40 {
            let Standing::Open { until } = breaker.standing(now) else { panic!("it is open") };
            assert!(until - now <= PAUSE_MAX);
            now = until;
            assert!(breaker.fault(now));
        }
    }

    #[test]
    fn rejected_rows_open_it_by_their_number_within_the_window() {
        let mut breaker = breaker();
        assert!(!breaker.rejected(S(0), 100));
        assert!(!breaker.rejected(S(11), 100), "the first hundred were too long ago");
        assert!(breaker.rejected(S(12), 1));
        assert!(!breaker.rejected(S(13), 1_000), "it is open");
        assert_eq!(breaker.standing(S(17)), Standing::HalfOpen);
        assert!(breaker.success());
        assert!(!breaker.rejected(S(18), 100), "it counts anew");
        assert!(breaker.rejected(S(18), 1));
    }

    #[test]
    fn rejected_rows_take_no_more_memory_the_more_there_are() {
        let mut breaker = WindowBreaker::new(Window { faults_max: 0, rejections_max: u32::MAX, window: S(10), pause: S(5) });
        for ms in 0..100_000 {
            assert!(!breaker.rejected(Duration::from_millis(ms), 7));
        }
        assert!(breaker.rejections.len() <= SLICES as usize + 1);
        let held: u64 = breaker.rejections.iter().map(|(_, rows)| *rows).sum();
        assert!((68_900..=70_007).contains(&held), "{held} of 70,000");
    }
}
