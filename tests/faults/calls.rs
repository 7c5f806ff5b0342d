//! One fault at one storage call, of all those that a job and its sinks make, counted together.

use reprise::store::{CallKind, Intercept, Interference, StorageCall, StoreLimits};
use std::collections::BTreeMap;
use std::sync::Mutex;
use tokio::sync::Notify;

/// Objects above this size go up in parts, of which each has as much: so that those of a small job do.
const LARGE_BYTES: usize = 2_000;

/// What happens at the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is not made, and fails.
    FailOnce,
    /// It and all later ones are not made, and fail.
    FailFromThenOn,
    /// It is made, and fails all the same.
    AnswerLost,
    /// The host dies, and the call was not made.
    DeathBefore,
    /// The host dies, and the call was made.
    DeathAfter,
}

impl Fault {
    pub const ALL: [Self; 5] = [Self::FailOnce, Self::FailFromThenOn, Self::AnswerLost, Self::DeathBefore, Self::DeathAfter];

    /// The job should not notice more of it than a warning in the log.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::FailOnce | Self::AnswerLost)
    }
}

/// At which call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// At none.
    Never,
    /// At the one of this number, from 0, over all stores.
    Number(u64),
    /// When so many objects whose paths begin so have been created.
    Created(&'static str, u64),
}

/// Brings a fault about.
#[derive(Debug)]
pub struct Trap {
    fault: Fault,
    at: At,
    seen: Mutex<Seen>,
    death: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    calls: u64,
    created: u64,
    fired: Option<StorageCall>,
    /// Calls by kind; and those that failed, by kind.
    kinds: BTreeMap<CallKind, u64>,
    failed: BTreeMap<CallKind, u64>,
}

impl Trap {
    pub fn new(fault: Fault, at: At) -> Self {
        Self { fault, at, seen: Mutex::default(), death: Notify::new() }
    }

    /// One that only counts.
    pub fn none() -> Self {
        Self::new(Fault::FailOnce, At::Never)
    }

    /// Ends when the host has to die.
    pub async fn death(&self) {
        self.death.notified().await;
    }

    /// All calls so far.
    pub fn calls(&self) -> u64 {
        self.seen.lock().unwrap().calls
    }

    /// The call at which the fault came about, if it did.
    pub fn fired(&self) -> Option<StorageCall> {
        self.seen.lock().unwrap().fired.clone()
    }

    /// Calls so far by kind.
    pub fn kinds(&self) -> BTreeMap<CallKind, u64> {
        self.seen.lock().unwrap().kinds.clone()
    }

    /// Calls that were made to fail, by kind.
    pub fn failed(&self) -> BTreeMap<CallKind, u64> {
        self.seen.lock().unwrap().failed.clone()
    }

    fn is_here(&self, number: u64, seen: &mut Seen, call: &StorageCall) -> bool {
        match self.at {
            At::Never => false,
            At::Number(at) => number == at,
            At::Created(prefix, count) => {
                seen.created += u64::from(call.kind == CallKind::PutIfAbsent && call.path.starts_with(prefix));
                seen.created == count
            }
        }
    }
}

impl Intercept for Trap {
    fn before(&self, call: &StorageCall) -> Interference {
        let mut seen = self.seen.lock().unwrap();
        let number = seen.calls;
        seen.calls += 1;
        *seen.kinds.entry(call.kind).or_default() += 1;
        let is_first = seen.fired.is_none() && self.is_here(number, &mut seen, call);
        if is_first {
            seen.fired = Some(call.clone());
        }
        let is_later = seen.fired.is_some() && !is_first;
        let interference = match self.fault {
            Fault::FailOnce if is_first => Interference::FailBefore,
            Fault::AnswerLost if is_first => Interference::FailAfter,
            Fault::FailFromThenOn if is_first || is_later => Interference::FailBefore,
            Fault::DeathAfter if is_first => Interference::HangAfter,
            Fault::DeathBefore if is_first => Interference::HangBefore,
            // Nothing of the dead host goes on.
            Fault::DeathAfter | Fault::DeathBefore if is_later => Interference::HangBefore,
            _ => Interference::Pass,
        };
        if interference != Interference::Pass {
            *seen.failed.entry(call.kind).or_default() += 1;
        }
        if matches!(interference, Interference::HangAfter | Interference::HangBefore) {
            self.death.notify_one();
        }
        interference
    }

    fn limits(&self, limits: StoreLimits) -> StoreLimits {
        StoreLimits { large_bytes: Some(LARGE_BYTES), part_bytes: LARGE_BYTES, ..limits }
    }
}
