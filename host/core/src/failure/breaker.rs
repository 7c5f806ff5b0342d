//! A circuit breaker: something that failed many times in a row is left alone for a while, instead of being asked again and again.
//!
//! ```text
//!            failures_max in a row                pause is over: the next call is the probe
//!  closed ───────────────────────────> open ────────────────────────────────────────────> half open
//!    ^                                  ^ └─── calls are refused                             │  │ calls beside the probe are refused
//!    │                                  └──────── the probe fails: the pause doubles ────────┘  │
//!    └───────────────────────────────────────── the probe is answered ──────────────────────────┘
//! ```
//!
//! It has no clock: a time is the time since an origin that the caller chooses, and never goes back.
//!
//! Invariants: at most one call is under way in the state half open that was let through there; a call that was let through before the
//! state changed says nothing about the state now, and is not counted.

use std::time::Duration;

/// The pause doubles up to this, or stays what it is set to if that is longer.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: State,
    /// Counts changes of the state, so that a permit knows whether it is from before one.
    round: u64,
    /// When the first of the failures in a row came.
    failing_since: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration, pause: Duration },
    HalfOpen { pause: Duration },
}

/// What calls meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All calls are let through.
    Closed,
    /// None is, until that time.
    Open {
        /// When a probe may be made.
        until: Duration,
    },
    /// A probe is under way.
    HalfOpen,
}

/// The right to make one call. Its outcome has to be noted, or the breaker waits for it in vain.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the breaker waits for the outcome of the call"]
pub struct Permit {
    round: u64,
}

/// A call may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedUntil(
    /// When it is worth asking again.
    pub Duration,
);

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was an answer, be it a refusal.
    Answered,
    /// There was none, or one that says that there is none.
    Failed,
    /// Nobody waited for it.
    Abandoned,
}

impl Breaker {
    /// A closed breaker that opens after `failures_max` failures in a row (at least one), at first for `pause`.
    #[must_use]
    pub fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max: failures_max.max(1), pause, state: State::Closed { failures: 0 }, round: 0, failing_since: None }
    }

    /// Asks for a call.
    ///
    /// # Errors
    /// It may not be made now. While a probe is under way the time is a guess.
    pub fn allow(&mut self, now: Duration) -> Result<Permit, RefusedUntil> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until, .. } if now < until => return Err(RefusedUntil(until)),
            State::Open { pause, .. } => self.enter(State::HalfOpen { pause }),
            State::HalfOpen { pause } => return Err(RefusedUntil(now.saturating_add(pause))),
        }
        Ok(Permit { round: self.round })
    }

    /// Takes note of how a call ended.
    pub fn note(&mut self, permit: Permit, outcome: Outcome, now: Duration) {
        if permit.round != self.round {
            return;
        }
        match (self.state, outcome) {
            (State::Closed { .. }, Outcome::Answered) => {
                self.state = State::Closed { failures: 0 };
                self.failing_since = None;
            }
            (State::Closed { failures }, Outcome::Failed) => {
                self.failing_since.get_or_insert(now);
                self.state = State::Closed { failures: failures + 1 };
                if failures + 1 >= self.failures_max {
                    self.open(now, self.pause);
                }
            }
            (State::HalfOpen { .. }, Outcome::Answered) => {
                self.failing_since = None;
                self.enter(State::Closed { failures: 0 });
            }
            (State::HalfOpen { pause }, Outcome::Failed) => self.open(now, pause.saturating_mul(2).min(PAUSE_MAX.max(self.pause))),
            // Nothing was learnt: the next call is the probe.
            (State::HalfOpen { pause }, Outcome::Abandoned) => self.enter(State::Open { until: now, pause }),
            // No permit has the round of an open breaker.
            (State::Closed { .. }, Outcome::Abandoned) | (State::Open { .. }, _) => {}
        }
    }

    /// What calls meet now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Closed { .. } => Standing::Closed,
            State::Open { until, .. } => Standing::Open { until },
            State::HalfOpen { .. } => Standing::HalfOpen,
        }
    }

    /// When the first of the failures in a row came, up to now; none after an answer.
    #[must_use]
    pub fn failing_since(&self) -> Option<Duration> {
        self.failing_since
    }

    fn open(&mut self, now: Duration, pause: Duration) {
        self.enter(State::Open { until: now.saturating_add(pause), pause });
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAUSE: Duration = Duration::from_secs(2);

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn call(breaker: &mut Breaker, outcome: Outcome, now: Duration) {
        let permit = breaker.allow(now).expect("calls are let through");
        breaker.note(permit, outcome, now);
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_an_answer_starts_the_count_anew() {
        let mut breaker = Breaker::new(2, PAUSE);
        for outcome in [Outcome::Failed, Outcome::Abandoned, Outcome::Answered, Outcome::Failed] {
            call(&mut breaker, outcome, seconds(1));
            assert_eq!(breaker.standing(), Standing::Closed);
        }
        call(&mut breaker, Outcome::Failed, seconds(3));
        assert_eq!(breaker.standing(), Standing::Open { until: seconds(5) });
        assert_eq!(breaker.failing_since(), Some(seconds(1)));
        assert_eq!(breaker.allow(seconds(4)), Err(RefusedUntil(seconds(5))));
    }

    #[test]
    fn one_probe_at_a_time_decides_and_the_pause_doubles_up_to_its_maximum() {
        let mut breaker = Breaker::new(1, PAUSE);
        call(&mut breaker, Outcome::Failed, seconds(0));
        let mut now = seconds(0);
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            now += seconds(pause);
            assert_eq!(breaker.standing(), Standing::Open { until: now });
            let probe = breaker.allow(now).expect("the pause is over");
            assert!(breaker.allow(now).is_err(), "a second probe");
            breaker.note(probe, Outcome::Failed, now);
        }
        let probe = breaker.allow(now + PAUSE_MAX).expect("the pause is over");
        breaker.note(probe, Outcome::Answered, now + PAUSE_MAX);
        assert_eq!((breaker.standing(), breaker.failing_since()), (Standing::Closed, None));
        call(&mut breaker, Outcome::Failed, now);
        assert_eq!(breaker.standing(), Standing::Open { until: now + PAUSE }, "the pause is the first one again");
    }

    #[test]
    fn a_probe_that_nobody_waited_for_makes_room_for_another() {
        let mut breaker = Breaker::new(1, PAUSE);
        call(&mut breaker, Outcome::Failed, seconds(0));
        call(&mut breaker, Outcome::Abandoned, seconds(2));
        call(&mut breaker, Outcome::Answered, seconds(2));
        assert_eq!(breaker.standing(), Standing::Closed);
    }

    #[test]
    fn what_was_let_through_before_a_change_is_not_counted_after_it() {
        let mut breaker = Breaker::new(1, PAUSE);
        let (first, second) = (breaker.allow(seconds(0)).unwrap(), breaker.allow(seconds(0)).unwrap());
        breaker.note(first, Outcome::Failed, seconds(1));
        breaker.note(second, Outcome::Answered, seconds(1));
        assert_eq!(breaker.standing(), Standing::Open { until: seconds(3) });
    }

    #[test]
    fn a_pause_longer_than_the_maximum_stays_as_it_is() {
        let mut breaker = Breaker::new(1, PAUSE_MAX * 3);
        call(&mut breaker, Outcome::Failed, seconds(0));
        call(&mut breaker, Outcome::Failed, PAUSE_MAX * 3);
        assert_eq!(breaker.standing(), Standing::Open { until: PAUSE_MAX * 6 });
    }

    /// The rules, written down without states: what happened since the breaker last let everything through.
    #[derive(Default)]
    struct Model {
        /// Failures in a row while calls are let through.
        failures: u32,
        /// Probes that failed since it opened; none while calls are let through.
        failed_probes: Option<u32>,
        refused_until: Duration,
        is_probing: bool,
        /// Calls whose outcome still counts.
        counted: Vec<usize>,
    }

    impl Model {
        fn allows(&mut self, call: usize, now: Duration) -> bool {
            let allowed = self.failed_probes.is_none() || (!self.is_probing && now >= self.refused_until);
            if allowed {
                self.is_probing = self.failed_probes.is_some();
                self.counted.push(call);
            }
            allowed
        }

        fn note(&mut self, call: usize, outcome: Outcome, now: Duration, failures_max: u32) {
            let Some(place) = self.counted.iter().position(|counted| *counted == call) else { return };
            self.counted.remove(place);
            let failed_probes = self.failed_probes;
            match (outcome, failed_probes) {
                (Outcome::Answered, None) => self.failures = 0,
                (Outcome::Answered, Some(_)) => *self = Self::default(),
                (Outcome::Abandoned, None) => {}
                (Outcome::Abandoned, Some(_)) => (self.is_probing, self.refused_until) = (false, now),
                (Outcome::Failed, None) => {
                    self.failures += 1;
                    if self.failures == failures_max {
                        *self = Self { failed_probes: Some(0), refused_until: now + PAUSE, ..Self::default() };
                    }
                }
                (Outcome::Failed, Some(failed)) => {
                    let pause = (PAUSE * 2u32.pow((failed + 1).min(10))).min(PAUSE_MAX);
                    *self = Self { failed_probes: Some(failed + 1), refused_until: now + pause, ..Self::default() };
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_as_the_rules_say(
            failures_max in 1..4u32,
            steps in proptest::collection::vec((0..4u8, any::<proptest::sample::Index>(), 0..3_000u64), 0..200),
        ) {
            let (mut breaker, mut model) = (Breaker::new(failures_max, PAUSE), Model::default());
            let mut now = Duration::ZERO;
            let mut under_way: Vec<(usize, Permit)> = Vec::new();
            for (call, (what, which, wait_ms)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(wait_ms);
                let outcome = [Outcome::Answered, Outcome::Failed, Outcome::Abandoned].get(usize::from(what));
                match outcome {
                    Some(outcome) if !under_way.is_empty() => {
                        let (call, permit) = under_way.swap_remove(which.index(under_way.len()));
                        breaker.note(permit, *outcome, now);
                        model.note(call, *outcome, now, failures_max);
                    }
                    _ => {
                        let allowed = breaker.allow(now);
                        prop_assert_eq!(allowed.is_ok(), model.allows(call, now));
                        if let Ok(permit) = allowed {
                            under_way.push((call, permit));
                        }
                    }
                }
                prop_assert_eq!(breaker.standing() == Standing::Closed, model.failed_probes.is_none());
                prop_assert_eq!(breaker.standing() == Standing::HalfOpen, model.is_probing);
                if let Standing::Open { until } = breaker.standing() {
                    prop_assert_eq!(until, model.refused_until);
                }
                prop_assert!(breaker.standing() == Standing::Closed || breaker.failing_since().is_some());
            }
        }
    }
}
