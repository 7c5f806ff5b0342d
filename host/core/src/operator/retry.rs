//! The retry decision of an instance: after a failure, whether the unit of work is tried again as it was, in smaller calls, whether its one row
//! is under suspicion, or whether the operator is given up.
//!
//! ```text
//!  a call failed ──> again, on a replacement, `retries` times, after a wait
//!                      └──> in pieces ([`Search`]) ──> one row: a suspect
//!                                                        │ a row's fault   ──> quarantine
//!                                                        │ it has passed   ──> again
//!                                                        └ the instance's  ──> pause, or stop
//! ```
//!
//! There is no clock: times are since an origin that never goes back.

use crate::failure::Policy;
use crate::failure::blame::{Blame, PASSES_MAX};
use crate::failure::search::{Next, Search};
use std::time::Duration;

/// Replacements in a row that may fail before the run ends and the job is taken up again from its last checkpoint.
pub const REPLACEMENTS_FAILED_MAX: u32 = 3;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// A call with so many rows.
    Rows(usize),
    /// A watermark: there is no row to blame.
    Watermark,
    /// The reading of a snapshot.
    Snapshot,
}

/// What follows a failure, once there is a replacement. `is_first`: nothing of the unit failed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The unit is tried again.
    Again {
        /// Which retry it is, and the wait before it; `None` where smaller calls are tried.
        retry: Option<(u32, Duration)>,
        /// See above.
        is_first: bool,
    },
    /// Who is to blame for the one row is found out.
    Suspect {
        /// See above.
        is_first: bool,
    },
    /// There is nothing left to try.
    GiveUp {
        /// Failures in a row.
        failures: u32,
        /// See above.
        is_first: bool,
    },
}

/// What follows once it is known who is to blame for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The fault has passed: the unit is tried again.
    Again,
    /// The row goes to quarantine.
    Quarantine,
    /// The instance is to blame: it is left alone, or the run ends.
    GiveUp,
}

/// The retries of an instance.
#[derive(Debug, Default)]
pub struct Retry {
    /// Of the unit at the front.
    search: Search,
    /// The same for reading snapshots.
    snapshot_search: Search,
    /// Faults in a row that passed.
    passes: u32,
    /// Why the instance is to blame, while it is.
    blamed: Option<String>,
    /// Replacements in a row that failed themselves.
    replacements_failed: u32,
    failed_at: Duration,
    not_before: Option<Duration>,
}

impl Retry {
    /// Decides after a failure. `quarantines`: a row that is to blame goes to quarantine. `jitter`: a random number.
    pub fn failed(&mut self, failed: Failed, policy: &Policy, quarantines: bool, now: Duration, jitter: u64) -> Reaction {
        self.failed_at = now;
        let (search, rows) = match failed {
            Failed::Rows(rows) => (&mut self.search, Some(rows)),
            Failed::Watermark => (&mut self.search, None),
            Failed::Snapshot => (&mut self.snapshot_search, None),
        };
        let is_first = search.failures() == 0;
        match search.failed(rows, policy, jitter) {
            Next::Retry { attempt, wait } => {
                self.not_before = (!wait.is_zero()).then(|| now + wait);
                Reaction::Again { retry: Some((attempt, wait)), is_first }
            }
            Next::Narrow => {
                if is_first {
                    self.not_before = None;
                }
                Reaction::Again { retry: None, is_first }
            }
            Next::Poison if quarantines => Reaction::Suspect { is_first },
            Next::Poison => Reaction::GiveUp { failures: policy.retries.saturating_add(1), is_first },
            Next::GiveUp { failures } => Reaction::GiveUp { failures, is_first },
        }
    }

    /// Decides who is to blame for a row; `None` where that was not asked.
    pub fn judged(&mut self, blame: Option<Blame>) -> Ruling {
        match blame {
            Some(Blame::Nobody) => {
                self.passes += 1;
                Ruling::Again
            }
            Some(Blame::Instance) => Ruling::GiveUp,
            Some(Blame::Row) | None => {
                self.settled();
                Ruling::Quarantine
            }
        }
    }

    /// The instance is to blame, for this reason, until a call succeeds.
    pub fn blame(&mut self, reason: String) {
        self.blamed = Some(reason);
    }

    /// Why the instance is to blame, while it is.
    pub fn blamed(&self) -> Option<&str> {
        self.blamed.as_deref()
    }

    /// True where it may be asked whether a fault on a row has passed.
    pub fn may_pass(&self) -> bool {
        self.passes < PASSES_MAX
    }

    /// A call has come to its end, or its row went to quarantine: what follows is another matter.
    pub fn settled(&mut self) {
        (self.blamed, self.passes) = (None, 0);
    }

    /// A call with so many rows succeeded.
    pub fn succeeded(&mut self, rows: usize) {
        self.search.succeeded(rows);
    }

    /// A call for the unit at the front has failed, and the whole of it is not done since.
    pub fn has_failed(&self) -> bool {
        self.search.failures() > 0
    }

    /// The reading of a snapshot has failed, and has not succeeded since.
    pub fn snapshot_has_failed(&self) -> bool {
        self.snapshot_search.failures() > 0
    }

    /// A snapshot was read.
    pub fn snapshot_succeeded(&mut self) {
        self.snapshot_search.succeeded(0);
    }

    /// Rows to call with, of the unit at the front, which has `rows`.
    pub fn piece(&self, rows: usize) -> usize {
        self.search.piece(rows)
    }

    /// Searches begin anew after a pause.
    pub fn start_over(&mut self) {
        (self.search, self.snapshot_search) = Default::default();
    }

    /// How long to wait before the next call.
    pub fn wait(&mut self, now: impl Fn() -> Duration) -> Option<Duration> {
        let left = self.not_before.map(|at| at.saturating_sub(now())).filter(|left| !left.is_zero());
        if left.is_none() {
            self.not_before = None;
        }
        left
    }

    /// A replacement is there. How long after the failure, and whether people are told of it: not for each step of a bisection.
    pub fn replaced(&mut self, now: Duration) -> (Duration, bool) {
        self.replacements_failed = 0;
        (now.saturating_sub(self.failed_at), !self.search.is_narrowing() || self.search.failures() <= 1)
    }

    /// A replacement failed itself. True where another one is made.
    pub fn replacement_failed(&mut self) -> bool {
        self.replacements_failed += 1;
        self.replacements_failed < REPLACEMENTS_FAILED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { retries: 1, backoff_min: Duration::from_millis(10), backoff_max: Duration::from_millis(100) };
    const NOW: Duration = Duration::from_secs(5);

    fn failed(retry: &mut Retry, failed: Failed) -> Reaction {
        retry.failed(failed, &POLICY, true, NOW, 0)
    }

    #[test]
    fn a_unit_is_retried_then_narrowed_and_its_last_row_suspected() {
        let mut retry = Retry::default();
        assert_eq!(failed(&mut retry, Failed::Rows(2)), Reaction::Again { retry: Some((1, Duration::ZERO)), is_first: true });
        assert_eq!(failed(&mut retry, Failed::Rows(2)), Reaction::Again { retry: None, is_first: false });
        assert_eq!((retry.piece(2), retry.replaced(NOW).1), (1, false), "a step of a bisection is not told");
        assert_eq!(failed(&mut retry, Failed::Rows(1)), Reaction::Suspect { is_first: false });
        assert_eq!(retry.judged(Some(Blame::Row)), Ruling::Quarantine);
        assert_eq!(failed(&mut retry, Failed::Rows(1)), Reaction::Again { retry: Some((1, Duration::ZERO)), is_first: true });
    }

    #[test]
    fn a_fault_may_pass_a_few_times_and_a_success_starts_the_count_anew() {
        let mut retry = Retry::default();
        for _ in 0..PASSES_MAX {
            assert!(retry.may_pass());
            assert_eq!(retry.judged(Some(Blame::Nobody)), Ruling::Again);
        }
        assert!(!retry.may_pass());
        retry.blame("it is".to_owned());
        retry.settled();
        assert!(retry.may_pass() && retry.blamed().is_none());
        assert_eq!(retry.judged(Some(Blame::Instance)), Ruling::GiveUp);
    }

    #[test]
    fn what_has_no_row_to_blame_is_given_up_each_kind_by_itself() {
        let mut retry = Retry::default();
        assert!(matches!(failed(&mut retry, Failed::Watermark), Reaction::Again { .. }));
        assert!(matches!(failed(&mut retry, Failed::Snapshot), Reaction::Again { is_first: true, .. }));
        assert_eq!(failed(&mut retry, Failed::Watermark), Reaction::GiveUp { failures: 2, is_first: false });
        retry.start_over();
        assert!(matches!(failed(&mut retry, Failed::Snapshot), Reaction::Again { is_first: true, .. }));
        assert_eq!(
            Retry::default().failed(Failed::Rows(1), &Policy { retries: 0, ..POLICY }, false, NOW, 0),
            Reaction::GiveUp { failures: 1, is_first: true }
        );
    }

    #[test]
    fn later_retries_wait_and_a_third_replacement_that_fails_ends_the_run() {
        let mut retry = Retry::default();
        let policy = Policy { retries: 5, ..POLICY };
        retry.failed(Failed::Rows(3), &policy, true, NOW, 0);
        assert_eq!(retry.wait(|| NOW), None);
        retry.failed(Failed::Rows(3), &policy, true, NOW, 0);
        assert_eq!(retry.wait(|| NOW), Some(Duration::from_millis(5)));
        assert_eq!(retry.wait(|| NOW + Duration::from_millis(5)), None);
        assert!(retry.replacement_failed() && retry.replacement_failed() && !retry.replacement_failed());
        assert_eq!(retry.replaced(NOW + Duration::from_millis(9)), (Duration::from_millis(9), true));
        assert!(retry.replacement_failed());
    }
}
