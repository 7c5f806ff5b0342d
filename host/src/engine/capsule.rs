//! A failed call with what led to it, and the attempt to make it fail again.

use super::control::Failure;
use super::image::Versioned;
use super::replay::{Entry, Input};
use super::revive::Maker;
use super::trial::with_remedy;
use crate::wasm::{Call, Component, GuestError, InstanceIdentity, Limits, Scope};
use reprise_core::ids::Epoch;
use reprise_core::topology::Capsules;
use std::sync::Arc;

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failing {
    /// A call with rows or a watermark.
    Input(Input),
    /// The reading of a snapshot.
    Snapshot {
        /// Which cells.
        scope: Scope,
        /// Bytes that one part of it should have.
        part_bytes_max: u32,
    },
    /// The making of an instance that was to take over: it was opened, restored, or made the calls again.
    Start,
}

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
    /// What failed.
    pub failing: Failing,
    /// Its number and time; those of the call before where it was the reading of a snapshot.
    pub call: Call,
    /// What happened.
    pub error: GuestError,
}

impl Case {
    /// The failure of an instance that could not be made of this state, with its case where all failures are written down.
    pub(super) fn failure(
        maker: &Maker,
        index: usize,
        epoch: Epoch,
        state: &[Arc<Versioned>],
        (error, context): (GuestError, &'static str),
    ) -> Failure {
        let case = || Self {
            parallelism: maker.parallelism,
            open: maker.open,
            state: state.to_vec(),
            calls: Vec::new(),
            failing: Failing::Start,
            call: maker.open,
            error: error.clone(),
        };
        let is_kept = maker.blueprint.settings.on_failure.capsules == Capsules::Always;
        Failure::Guest {
            operator: maker.identity.operator.clone(),
            index,
            instance: maker.identity.instance,
            epoch,
            context: with_remedy(context.to_owned(), &error),
            evidence: Evidence::Cases(is_kept.then(case).into_iter().collect()),
            error: Box::new(error),
            gave_up: None,
        }
    }
}

/// What is kept of a failure that ends a run: no report of an epoch takes it along.
#[derive(Debug)]
pub enum Evidence {
    /// Failed calls of the epoch that are to be written down, that of the failure among them where it is one.
    Cases(Vec<Case>),
    /// The name of its capsule below the job's folder.
    Capsule(String),
}

impl Default for Evidence {
    fn default() -> Self {
        Self::Cases(Vec::new())
    }
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
pub fn reproduce(component: &Component, config: &str, limits: &Limits, identity: InstanceIdentity, case: &Case) -> Attempt {
    let before = |call: u64| {
        let is_start = case.failing == Failing::Start;
        move |error: GuestError| match is_start {
            true => Attempt::Failed(Box::new(error)),
            false => Attempt::Before { call, error: Box::new(error) },
        }
    };
    let run = || -> Result<Attempt, Attempt> {
        let opening = before(case.open.number);
        let mut instance = component.instantiate(limits, identity).map_err(opening)?;
        instance.open(config, case.parallelism, case.open).map_err(before(case.open.number))?;
        let state = case.state.iter().map(|held| (held.version, &held.chunk));
        instance.restore_all(state).map_err(before(case.open.number))?;
        for entry in &case.calls {
            let outcome = entry.input.make(&mut instance, entry.call).map_err(before(entry.call.number))?;
            if entry.returned.difference(&outcome).is_some() {
                return Err(Attempt::Diverged { call: entry.call.number });
            }
        }
        let ended = match &case.failing {
            Failing::Input(input) => input.make(&mut instance, case.call).map(drop),
            Failing::Snapshot { scope, part_bytes_max } => {
                instance.set_circumstances(case.call);
                instance.read_snapshot(*scope, *part_bytes_max, &mut drop).map(drop)
            }
            Failing::Start => Ok(()),
        };
        Ok(ended.map_or_else(|error| Attempt::Failed(Box::new(error)), |()| Attempt::Succeeded))
    };
    run().unwrap_or_else(|attempt| attempt)
}
