//! Leaves a store that does not answer alone for a while: the breaker of `reprise_core` with a clock, and whoever wants to know told.
//!
//! A call asks before each of its attempts. While the breaker is open it is refused at once ([`super::StoreError::Open`]) instead of
//! waiting: whoever stores a checkpoint knows better how long that may take.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reprise_core::failure::breaker::{Breaker, Outcome, Permit, RefusedUntil, Standing};
use tokio::sync::watch;

/// Whether a store answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does, as far as is known.
    Up,
    /// It failed many times in a row, and is left alone but for a probe now and then.
    Failing {
        /// When the first of these failures came.
        since: Instant,
        /// The last one, in words.
        cause: String,
    },
}

/// Lets the calls of one store through, or not. Shared by all its clones.
#[derive(Debug)]
pub struct Gate {
    root: String,
    inside: Mutex<Inside>,
    origin: Instant,
    health: watch::Sender<Health>,
}

#[derive(Debug)]
struct Inside {
    breaker: Breaker,
    cause: String,
}

/// One attempt that was let through. Dropped without a word, it counts as one that nobody waited for.
#[derive(Debug)]
pub struct Pass<'a> {
    gate: &'a Gate,
    permit: Option<Permit>,
}

/// An attempt may not be made now.
#[derive(Debug)]
pub struct Refused {
    /// How long ago the first of the failures in a row came.
    pub silent: Duration,
    /// When it is worth asking again.
    pub rest: Duration,
    /// The last failure.
    pub cause: String,
}

impl Gate {
    /// Lets everything through until so many attempts failed in a row.
    pub fn new(root: String, failures_max: u32, pause: Duration) -> Self {
        let inside = Mutex::new(Inside { breaker: Breaker::new(failures_max, pause), cause: String::new() });
        Self { root, inside, origin: Instant::now(), health: watch::Sender::new(Health::Up) }
    }

    /// What is known of the store, and every change of it.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Asks for an attempt.
    ///
    /// # Errors
    /// The store is left alone at present.
    pub fn enter(&self) -> Result<Pass<'_>, Refused> {
        let mut inside = self.lock();
        let now = self.origin.elapsed();
        match inside.breaker.allow(now) {
            Ok(permit) => Ok(Pass { gate: self, permit: Some(permit) }),
            Err(RefusedUntil(until)) => {
                let silent = now.saturating_sub(inside.breaker.failing_since().unwrap_or(now));
                Err(Refused { silent, rest: until.saturating_sub(now), cause: inside.cause.clone() })
            }
        }
    }

    /// Whether the store is left alone at present.
    pub fn is_open(&self) -> bool {
        matches!(self.lock().breaker.standing(), Standing::Open { .. })
    }

    fn note(&self, permit: Permit, outcome: Outcome, cause: Option<String>) {
        let mut inside = self.lock();
        let now = self.origin.elapsed();
        let before = inside.breaker.standing();
        inside.breaker.note(permit, outcome, now);
        let after = inside.breaker.standing();
        if let Some(cause) = cause {
            inside.cause = cause;
        }
        match after {
            Standing::Open { until } if before != after && outcome == Outcome::Failed => {
                let since = self.origin + inside.breaker.failing_since().unwrap_or(now);
                let pause_ms = u64::try_from(until.saturating_sub(now).as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(
                    store = self.root,
                    pause_ms,
                    cause = inside.cause,
                    "the store does not answer and is left alone for a while"
                );
                self.health.send_replace(Health::Failing { since, cause: inside.cause.clone() });
            }
            Standing::Closed if before != after => {
                tracing::info!(store = self.root, "the store answers again");
                self.health.send_replace(Health::Up);
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Each change is one call of the breaker, so that it is whole even if a thread panicked beside it.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The store answered, be it with a refusal.
    pub fn answered(mut self) {
        self.note(Outcome::Answered, None);
    }

    /// The store did not answer, or said that it cannot.
    pub fn failed(mut self, cause: String) {
        self.note(Outcome::Failed, Some(cause));
    }

    fn note(&mut self, outcome: Outcome, cause: Option<String>) {
        if let Some(permit) = self.permit.take() {
            self.gate.note(permit, outcome, cause);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.note(Outcome::Abandoned, None);
    }
}
