//! The circuit breaker of the operator: that of the core, by the clock of the simulation.

use crate::operator::Place;
use reprise_core::failure::window::Standing;
use reprise_core::operator::CircuitBreaker;
use std::time::Duration;

impl Place {
    /// How the breaker stands.
    pub fn standing(&self) -> Standing {
        self.run.breaker.borrow_mut().standing(Duration::from_millis(self.sim.now()))
    }

    fn pause_left(&self, opened: bool) -> Option<Duration> {
        let now = Duration::from_millis(self.sim.now());
        opened.then(|| if let Standing::Open { until } = self.standing() { until - now } else { Duration::ZERO })
    }
}

impl CircuitBreaker for Place {
    fn shut_for(&self) -> Option<Duration> {
        let now = Duration::from_millis(self.sim.now());
        if let Standing::Open { until } = self.standing() { Some(until - now) } else { None }
    }

    fn resume(&self) -> bool {
        self.run.breaker.borrow_mut().resume(Duration::from_millis(self.sim.now()))
    }

    fn fault(&self) -> Option<Duration> {
        let opened = self.run.breaker.borrow_mut().fault(Duration::from_millis(self.sim.now()));
        self.pause_left(opened)
    }

    fn rejected(&self, rows: u64) -> Option<Duration> {
        let opened = self.run.breaker.borrow_mut().rejected(Duration::from_millis(self.sim.now()), rows);
        self.pause_left(opened)
    }

    fn trip(&self) -> Option<Duration> {
        let opened = self.run.breaker.borrow_mut().trip(Duration::from_millis(self.sim.now()));
        self.pause_left(opened)
    }

    fn success(&self) -> bool {
        self.run.breaker.borrow_mut().success()
    }
}
