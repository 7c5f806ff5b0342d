//! What of a call's time counts: that of the processor which ran it, and a small share of the time on the wall.
//!
//! A guest that waits for a processor on a busy machine does nothing wrong, so its deadline is measured in the processor time of its thread.
//! The wall bounds that from above: a call is over at the latest after [`WALL_FACTOR`] times its deadline, whatever the machine does. Both are
//! one number, the time that is **charged**: that of the processor, or a [`WALL_FACTOR`]th of that on the wall, if it is more.
//!
//! The engine asks at a tick, once the time on the wall has reached the deadline: the processor cannot be ahead of the wall.

use std::time::{Duration, Instant};

/// The times its deadline that a call may take on the wall, while its thread waits for a processor.
pub const WALL_FACTOR: u32 = 10;

/// Time that passed in a call, on both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Elapsed {
    /// Time on the wall.
    pub wall: Duration,
    /// Time of the processor.
    pub processor: Duration,
}

impl Elapsed {
    /// The time that counts for a deadline.
    pub(super) fn charged(self) -> Duration {
        self.processor.max(self.wall / WALL_FACTOR)
    }

    pub(super) fn add(&mut self, more: Self) {
        self.wall = self.wall.saturating_add(more.wall);
        self.processor = self.processor.saturating_add(more.processor);
    }
}

/// The time that this thread has had of a processor so far.
fn processor_time() -> Duration {
    let had = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(had.tv_sec).unwrap_or(0), u32::try_from(had.tv_nsec).unwrap_or(0))
}

/// The deadline of the call that is under way.
#[derive(Debug)]
pub(super) struct Timer {
    began: Instant,
    /// What this thread had had of a processor by then.
    processor: Duration,
    limit: Duration,
}

impl Timer {
    /// A timer that runs from here on.
    pub(super) fn start(limit: Duration) -> Self {
        Self { processor: processor_time(), began: Instant::now(), limit }
    }

    /// The time since it began.
    pub(super) fn elapsed(&self) -> Elapsed {
        Elapsed { wall: self.began.elapsed(), processor: processor_time().saturating_sub(self.processor) }
    }

    /// The time that is left of the deadline; `None` where it is over.
    pub(super) fn left(&self) -> Option<Duration> {
        left(self.limit, self.elapsed())
    }
}

/// The time that is left of a limit after so much of it; `None` where it is over.
fn left(limit: Duration, elapsed: Elapsed) -> Option<Duration> {
    let left = limit.saturating_sub(elapsed.charged());
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn waiting_for_a_processor_counts_a_share_and_working_counts_whole() {
        let charged = |wall, processor| Elapsed { wall: MS(wall), processor: MS(processor) }.charged();
        assert_eq!((charged(100, 100), charged(900, 100), charged(2_000, 100)), (MS(100), MS(100), MS(200)));
    }

    #[test]
    fn a_limit_is_over_after_as_much_work_and_not_after_as_long_a_wait() {
        let left = |wall, processor| left(MS(30), Elapsed { wall: MS(wall), processor: MS(processor) });
        assert_eq!((left(60, 0), left(290, 29), left(290, 30), left(300, 0)), (Some(MS(24)), Some(MS(1)), None, None));
        assert_eq!((left(0, 0), left(30, 30)), (Some(MS(30)), None));
    }

    #[test]
    fn a_timer_goes_off_after_its_limit_of_work() {
        let timer = Timer::start(MS(30));
        while timer.left().is_some() {
            std::hint::black_box(());
        }
        assert!(timer.elapsed().charged() >= MS(30));
    }
}
