//! A failed call with what led to it, and the attempt to make it fail again.

use super::image::Versioned;
use super::replay::{Entry, Input, digest};
use crate::wasm::{Call, Component, GuestError, Identity, Limits};
use std::sync::Arc;

/// A failed call with what led to it. It shares all that is large with the instance.
#[derive(Debug, Clone)]
pub struct Case {
    /// How many instances of the operator there are.
    pub parallelism: u32,
    /// The call of `open`.
    pub open: Call,
    /// What the instance was restored from.
    pub state: Vec<Arc<Versioned>>,
    /// The calls since.
    pub calls: Vec<Arc<Entry>>,
    /// What the call that failed was given.
    pub failing: Input,
    /// Its number and time.
    pub call: Call,
    /// What happened.
    pub error: GuestError,
}

/// What came of the attempt to make a call fail again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It failed: so.
    Failed(Box<GuestError>),
    /// It did not fail.
    Succeeded,
    /// A call before it failed.
    Before {
        /// Number of the call.
        call: u64,
        /// What happened.
        error: Box<GuestError>,
    },
    /// A call before it returned something else than the first time.
    Diverged {
        /// Number of the call.
        call: u64,
    },
}

/// Makes the calls of a case on a fresh instance.
#[must_use]
pub fn reproduce(component: &Component, config: &str, limits: &Limits, identity: Identity, case: &Case) -> Attempt {
    let before = |call: u64| move |error: GuestError| Attempt::Before { call, error: Box::new(error) };
    let run = || -> Result<Attempt, Attempt> {
        let opening = before(case.open.number);
        let mut instance = component.instantiate(limits, identity).map_err(opening)?;
        instance.open(config, case.parallelism, case.open).map_err(before(case.open.number))?;
        for held in &case.state {
            instance.restore(held.version, &held.chunk).map_err(before(case.open.number))?;
        }
        for entry in &case.calls {
            let outcome = entry.input.make(&mut instance, entry.call).map_err(before(entry.call.number))?;
            if digest(&outcome) != entry.digest {
                return Err(Attempt::Diverged { call: entry.call.number });
            }
        }
        let ended = case.failing.make(&mut instance, case.call);
        Ok(ended.map_or_else(|error| Attempt::Failed(Box::new(error)), |_| Attempt::Succeeded))
    };
    run().unwrap_or_else(|attempt| attempt)
}
