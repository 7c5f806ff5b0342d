//! A crash dump made to fail again, on a fresh instance.

use super::guest::{self, GuestDump};
use crate::wasm::{Component, GuestError, InstanceIdentity, Limits};
use reprise_core::operator::{FailedCall, Guest};

/// What came of the attempt to make a call fail again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reproduced {
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

/// Makes the calls of a crash dump on a fresh instance.
#[must_use]
pub fn reproduce(component: &Component, config: &str, limits: &Limits, identity: InstanceIdentity, dump: &GuestDump) -> Reproduced {
    let before = |call: u64| {
        let is_start = dump.failed == FailedCall::Start;
        move |error: GuestError| match is_start {
            true => Reproduced::Failed(Box::new(error)),
            false => Reproduced::Before { call, error: Box::new(error) },
        }
    };
    let run = || -> Result<Reproduced, Reproduced> {
        let opening = before(dump.open.number);
        let mut instance = component.instantiate(limits, identity).map_err(opening)?;
        instance.open(config, dump.parallelism, dump.open).map_err(before(dump.open.number))?;
        let state = dump.state.iter().map(|held| (held.version, &held.chunk));
        instance.restore_all(state).map_err(before(dump.open.number))?;
        for entry in &dump.calls {
            let outcome = instance.call(&entry.input, entry.call).map_err(before(entry.call.number))?;
            if entry.returned.difference(&outcome).is_some() {
                return Err(Reproduced::Diverged { call: entry.call.number });
            }
        }
        let ended = match &dump.failed {
            FailedCall::Input(input) => instance.call(input, dump.call).map(drop),
            FailedCall::Snapshot { scope, part_bytes_max } => {
                instance.set_circumstances(dump.call);
                instance.read_snapshot(guest::scope(*scope), *part_bytes_max, &mut drop).map(drop)
            }
            FailedCall::Start => Ok(()),
        };
        Ok(ended.map_or_else(|error| Reproduced::Failed(Box::new(error)), |()| Reproduced::Succeeded))
    };
    run().unwrap_or_else(|attempt| attempt)
}
