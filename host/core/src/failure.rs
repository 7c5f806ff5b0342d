//! What to do when an operator fails: take up again from the last checkpoint, or give up visibly.
//!
//! A failure counts against a limit only while nothing gets done: a checkpoint completed since the last failure means that the job
//! got past it, and the count starts anew.
//!
//! | module | decision |
//! |---|---|
//! | [`search`] | an instance failed: retry, narrow down, refuse the one row |
//! | [`blame`] | whether that row is to blame, or the instance |
//! | [`pace`] | when to take a snapshot so that an instance comes back soon enough |
//! | [`window`] | whether to call an operator that fails at all: faults within a time |

pub mod blame;
pub mod pace;
pub mod search;
pub mod window;

use std::time::Duration;

/// How often and how fast to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Failures in a row after which the job stops: the first one and this many retries.
    pub retries: u32,
    /// Wait before the first retry.
    pub backoff_min: Duration,
    /// Longest wait.
    pub backoff_max: Duration,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Wait, then take up again from the last checkpoint.
    Retry {
        /// Which retry in a row this is, from 1.
        attempt: u32,
        /// How long to wait first.
        wait: Duration,
    },
    /// Stop; the state stays as the last checkpoint has it.
    Stop {
        /// Failures in a row.
        failures: u32,
    },
}

/// Failures in a row of a job, counted.
#[derive(Debug, Default)]
pub struct Failures {
    in_a_row: u32,
}

impl Failures {
    /// Decides on one failure. `progress`: a checkpoint of new work was stored since the failure before. `jitter`: a random number.
    pub fn decide(&mut self, policy: &Policy, progress: bool, jitter: u64) -> Decision {
        if progress {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        if self.in_a_row > policy.retries {
            return Decision::Stop { failures: self.in_a_row };
        }
        Decision::Retry { attempt: self.in_a_row, wait: backoff(policy.backoff_min, policy.backoff_max, self.in_a_row, jitter) }
    }
}

/// Exponential backoff with "equal jitter" (M. Brooker, Exponential Backoff And Jitter, 2015): half of `min * 2^(attempt-1)`, at most
/// `max`, is certain, the other half is drawn.
#[must_use]
pub fn backoff(min: Duration, max: Duration, attempt: u32, jitter: u64) -> Duration {
    let factor = 1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = min.saturating_mul(factor).min(max);
    let half = whole / 2;
    half + half.mul_f64((jitter >> 11) as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { retries: 2, backoff_min: Duration::from_millis(10), backoff_max: Duration::from_millis(25) };

    #[test]
    fn the_job_stops_after_the_retries() {
        let mut failures = Failures::default();
        assert!(matches!(failures.decide(&POLICY, false, 0), Decision::Retry { attempt: 1, .. }));
        assert!(matches!(failures.decide(&POLICY, false, 0), Decision::Retry { attempt: 2, .. }));
        assert_eq!(failures.decide(&POLICY, false, 0), Decision::Stop { failures: 3 });
    }

    #[test]
    fn progress_starts_the_count_anew() {
        let mut failures = Failures::default();
        for _ in 1..50 {
            assert!(matches!(failures.decide(&POLICY, true, 0), Decision::Retry { attempt: 1, .. }));
        }
    }

    #[test]
    fn waits_grow_and_stay_within_their_limits() {
        let wait = |attempt, jitter| backoff(POLICY.backoff_min, POLICY.backoff_max, attempt, jitter);
        assert_eq!(wait(1, 0), Duration::from_millis(5));
        assert!(wait(1, u64::MAX) <= Duration::from_millis(10));
        assert_eq!(wait(2, 0), Duration::from_millis(10));
        assert_eq!(wait(99, 0), Duration::from_micros(12_500));
    }
}
