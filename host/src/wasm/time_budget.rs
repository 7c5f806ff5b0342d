//! The time that calls have together which are made in a row for one thing: the parts of a snapshot, the chunks that are restored, the pieces of an output.
//!
//! Each call has its deadline, and as many calls would have as many. A guest that hands out a cell a part could hold its worker for as long
//! as it likes. One deadline for all is too little where the state is large. So there is one, and one more for so many bytes that have passed:
//! large state has the time that it needs, and cutting it small buys none.
//!
//! ```text
//!  time of all calls  =  deadline * (1 + bytes so far / bytes a deadline, rounded down)
//!  time of one call   =  deadline, or what is left of that if it is less
//! ```

use std::time::Duration;

/// The time that calls in a row have together, and what of it is spent.
#[derive(Debug)]
pub(super) struct TimeBudget {
    deadline: Duration,
    bytes_per_deadline: u64,
    bytes: u64,
    spent: Duration,
}

impl TimeBudget {
    /// A budget for calls with this deadline, with one more for each so many bytes.
    pub(super) fn new(deadline: Duration, bytes_per_deadline: u64) -> Self {
        Self { deadline, bytes_per_deadline: bytes_per_deadline.max(1), bytes: 0, spent: Duration::ZERO }
    }

    /// The time that all calls may take, by what has passed so far.
    pub(super) fn all(&self) -> Duration {
        let deadlines = (self.bytes / self.bytes_per_deadline).saturating_add(1);
        self.deadline.saturating_mul(u32::try_from(deadlines).unwrap_or(u32::MAX))
    }

    /// The time that the next call may take; `None` where nothing is left.
    pub(super) fn next(&self) -> Option<Duration> {
        let left = self.all().saturating_sub(self.spent);
        (!left.is_zero()).then(|| left.min(self.deadline))
    }

    /// The limit that the next call will have passed if it takes longer than [`Self::next`]: its own, or that of all.
    pub(super) fn limit(&self) -> Duration {
        let is_own = self.next() == Some(self.deadline);
        if is_own { self.deadline } else { self.all() }
    }

    /// A call took so long.
    pub(super) fn spend(&mut self, time: Duration) {
        self.spent = self.spent.saturating_add(time);
    }

    /// So many bytes have passed.
    pub(super) fn earn(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn calls_in_a_row_share_one_deadline() {
        let mut budget = TimeBudget::new(MS(100), 1000);
        assert_eq!((budget.next(), budget.limit()), (Some(MS(100)), MS(100)));
        for spent in 1..=9 {
            budget.spend(MS(10));
            budget.earn(100);
            assert_eq!((budget.next(), budget.limit()), (Some(MS(100 - 10 * spent)), MS(100)));
        }
        budget.spend(MS(11));
        assert_eq!((budget.next(), budget.limit()), (None, MS(100)));
    }

    #[test]
    fn bytes_that_have_passed_buy_further_deadlines_and_parts_of_them_none() {
        let mut budget = TimeBudget::new(MS(100), 1000);
        budget.spend(MS(90));
        budget.earn(999);
        assert_eq!((budget.next(), budget.limit()), (Some(MS(10)), MS(100)));
        budget.earn(1);
        assert_eq!((budget.next(), budget.limit()), (Some(MS(100)), MS(100)), "a call has no more than its own deadline");
        budget.spend(MS(100));
        assert_eq!((budget.next(), budget.limit()), (Some(MS(10)), MS(200)));
        budget.earn(5000);
        budget.spend(MS(500));
        assert_eq!((budget.next(), budget.limit()), (Some(MS(10)), MS(700)));
        budget.spend(MS(10));
        assert_eq!((budget.next(), budget.limit()), (None, MS(700)));
    }

    #[test]
    fn nothing_overflows() {
        let mut budget = TimeBudget::new(Duration::MAX, 0);
        budget.earn(u64::MAX);
        budget.earn(u64::MAX);
        assert_eq!(budget.next(), Some(Duration::MAX));
        budget.spend(Duration::MAX);
        budget.spend(Duration::MAX);
        assert_eq!((budget.next(), budget.limit()), (None, Duration::MAX));
    }
}
