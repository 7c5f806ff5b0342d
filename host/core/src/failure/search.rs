//! What becomes of a call that fails: it is made again on a fresh instance, then cut in pieces until the one row is found that cannot be
//! worked on.
//!
//! ```text
//!  the whole unit ──fails, `retries` times more──> a piece of it ──succeeds──> the next piece ...
//!        │                                           │ fails
//!        │ succeeds: done                            └──> a piece of that ... ──> one row fails: it is poison
//! ```
//!
//! A call that failed left nothing behind, and each piece that succeeds stands: pieces are ordinary calls. So the search needs to know only
//! how many rows at the front of what is left hold the culprit. A call that succeeds costs microseconds, and one that fails an instance: so pieces
//! are a [`PIECES`]th, and not a half. For a batch of 4,096 rows two of them fail.
//!
//! Where every piece succeeds there was no single culprit (the unit was too much at once), and nothing is refused.

use super::{Policy, backoff};
use std::time::Duration;

/// Pieces that a call is cut into.
const PIECES: usize = 64;

/// What to do after a failure, once there is a fresh instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Make the same call again, after a pause.
    Retry {
        /// Which retry this is, from 1.
        attempt: u32,
        /// How long to wait first. The first retry does not wait.
        wait: Duration,
    },
    /// Go on with the piece that [`Search::piece`] says.
    Narrow,
    /// The one row of the call is poison.
    Poison,
    /// There is no row to blame: the call was none of rows.
    GiveUp {
        /// Failures in a row.
        failures: u32,
    },
}

/// The bisection of the unit of work at the front of what an instance has to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    failures: u32,
    suspects: Option<Suspects>,
}

/// Rows at the front among which the culprit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Suspects {
    left: usize,
    /// Rows of a piece.
    piece: usize,
}

impl Suspects {
    fn new(rows: usize) -> Self {
        Self { left: rows, piece: rows.div_ceil(PIECES) }
    }
}

impl Search {
    /// Rows to call with, of the unit at the front, which has `rows`.
    #[must_use]
    pub fn piece(&self, rows: usize) -> usize {
        match self.suspects {
            None => rows,
            Some(Suspects { piece, left }) => piece.min(left).clamp(1, rows.max(1)).min(rows),
        }
    }

    /// True while pieces are tried.
    #[must_use]
    pub fn is_narrowing(&self) -> bool {
        self.suspects.is_some()
    }

    /// Failed calls of the unit so far, pieces of it among them. The first of them is the one to tell and to count: what follows, up to a row in
    /// quarantine, comes of it.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Decides after a call failed. `rows`: how many it had; `None` where it was no call with rows. `jitter`: a random number.
    pub fn failed(&mut self, rows: Option<usize>, policy: &Policy, jitter: u64) -> Next {
        self.failures = self.failures.saturating_add(1);
        if self.suspects.is_some() {
            // A piece failed: the culprit is in it.
            return match rows {
                Some(rows) if rows > 1 => {
                    self.suspects = Some(Suspects::new(rows));
                    Next::Narrow
                }
                _ => self.found(),
            };
        }
        if self.failures <= policy.retries {
            let wait = match self.failures {
                1 => Duration::ZERO,
                later => backoff(policy.backoff_min, policy.backoff_max, later - 1, jitter),
            };
            return Next::Retry { attempt: self.failures, wait };
        }
        match rows {
            None | Some(0) => Next::GiveUp { failures: self.failures },
            Some(1) => self.found(),
            Some(rows) => {
                self.suspects = Some(Suspects::new(rows));
                Next::Narrow
            }
        }
    }

    fn found(&mut self) -> Next {
        *self = Self::default();
        Next::Poison
    }

    /// Takes note of a call that succeeded.
    pub fn succeeded(&mut self, rows: usize) {
        self.suspects = match self.suspects {
            Some(Suspects { left, piece }) if left > rows => Some(Suspects { left: left - rows, piece }),
            _ => None,
        };
        if self.suspects.is_none() {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn policy(retries: u32) -> Policy {
        Policy { retries, backoff_min: Duration::from_millis(10), backoff_max: Duration::from_millis(100) }
    }

    /// Works off a unit as an instance does. Gives the rows that came through, those that were refused, and the calls made.
    fn work_off(rows: usize, retries: u32, fails: impl Fn(&[usize]) -> bool) -> (Vec<usize>, Vec<usize>, usize) {
        let mut left: Vec<usize> = (0..rows).collect();
        let (mut search, mut through, mut refused, mut calls) = (Search::default(), Vec::new(), Vec::new(), 0);
        while !left.is_empty() {
            let piece = search.piece(left.len());
            assert!(piece >= 1 && piece <= left.len());
            calls += 1;
            if fails(&left[..piece]) {
                match search.failed(Some(piece), &policy(retries), 0) {
                    Next::Retry { .. } | Next::Narrow => {}
                    Next::Poison => {
                        assert_eq!(piece, 1);
                        refused.push(left.remove(0));
                    }
                    Next::GiveUp { .. } => panic!("there are rows"),
                }
            } else {
                search.succeeded(piece);
                through.extend(left.drain(..piece));
            }
        }
        assert_eq!(search, Search::default());
        (through, refused, calls)
    }

    #[test]
    fn retries_come_first_and_only_the_first_does_not_wait() {
        let mut search = Search::default();
        assert_eq!(search.failed(Some(8), &policy(2), 0), Next::Retry { attempt: 1, wait: Duration::ZERO });
        assert_eq!(search.failed(Some(8), &policy(2), 0), Next::Retry { attempt: 2, wait: Duration::from_millis(5) });
        assert_eq!(search.failed(Some(8), &policy(2), 0), Next::Narrow);
        assert_eq!(search.piece(8), 1);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let mut search = Search::default();
        for _ in 0..10 {
            assert!(matches!(search.failed(Some(1), &policy(1), 0), Next::Retry { attempt: 1, .. }));
            search.succeeded(1);
        }
    }

    #[test]
    fn each_failure_counts_until_the_unit_is_done_or_its_row_is_found() {
        let mut search = Search::default();
        assert_eq!(search.failures(), 0);
        for (rows, next, failures) in [(4096, Next::Narrow, 1), (64, Next::Narrow, 2), (1, Next::Poison, 0)] {
            assert_eq!(search.piece(rows), rows);
            assert_eq!(search.failed(Some(rows), &policy(0), 0), next);
            assert_eq!(search.failures(), failures);
        }
        assert_eq!(search.failed(Some(4), &policy(0), 0), Next::Narrow);
        search.succeeded(2);
        assert_eq!(search.failures(), 1, "two suspects are left");
        search.succeeded(2);
        assert_eq!(search.failures(), 0, "there was no culprit");
    }

    #[test]
    fn what_has_no_rows_is_given_up_after_the_retries() {
        let mut search = Search::default();
        assert!(matches!(search.failed(None, &policy(1), 0), Next::Retry { .. }));
        assert_eq!(search.failed(None, &policy(1), 0), Next::GiveUp { failures: 2 });
    }

    #[test]
    fn a_unit_that_is_too_much_at_once_loses_no_row() {
        let (through, refused, _) = work_off(100, 1, |rows| rows.len() > 30);
        assert_eq!((through, refused), ((0..100).collect(), vec![]));
    }

    proptest! {
        #[test]
        fn exactly_the_poisonous_rows_are_refused_and_the_order_stays(
            rows in 1usize..3000, retries in 0u32..3, poison in prop::collection::btree_set(0usize..3000, 0..5),
        ) {
            let poison: BTreeSet<usize> = poison.into_iter().filter(|&row| row < rows).collect();
            let (through, refused, calls) = work_off(rows, retries, |rows| rows.iter().any(|row| poison.contains(row)));
            prop_assert_eq!(&refused, &poison.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(through, (0..rows).filter(|row| !poison.contains(row)).collect::<Vec<_>>());
            let each = retries as usize + 3 + 2 * PIECES;
            prop_assert!(calls <= (poison.len() + 1) * each, "{calls} calls");
        }
    }
}
