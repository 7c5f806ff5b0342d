//! The repetition of the calls of a log on a guest that takes over.

use super::contract::{Guest, InstanceFactory};
use super::input_log::LoggedCall;
use std::sync::Arc;

/// Why there is no replacement.
#[derive(Debug)]
pub(super) enum FailoverError<Fault> {
    /// It failed, too.
    Guest {
        /// Why.
        fault: Fault,
        /// What it was doing.
        context: String,
    },
    /// It returned something else than the guest did whose calls it repeats.
    Diverged {
        /// Which call, and in what it differs.
        context: String,
    },
    /// The run is over.
    Aborted,
    /// What was to make it is gone.
    Gone,
}

/// Repeats the calls of a log, from one of them, and drops what they return. Says how many are done: all, or as many as have begun when it
/// `pauses`.
pub(super) fn repeat<F: InstanceFactory>(
    guest: &mut F::Guest,
    calls: &[Arc<LoggedCall<<F::Guest as Guest>::Call>>],
    from: usize,
    factory: &F,
    pauses: &dyn Fn() -> bool,
) -> Result<usize, FailoverError<<F::Guest as Guest>::Fault>> {
    let description = factory.description();
    for (index, logged) in calls.iter().enumerate().skip(from) {
        if factory.is_aborted() {
            return Err(FailoverError::Aborted);
        }
        if pauses() {
            return Ok(index);
        }
        let outcome = guest.repeat(&logged.input, logged.call).map_err(|fault| {
            let context = format!("while its calls were repeated: {}", logged.input.describe(&description.inputs));
            FailoverError::Guest { fault, context }
        })?;
        if let Some(difference) = logged.returned.difference(&outcome) {
            let (given, difference) = (logged.input.describe(&description.inputs), difference.describe(&description.outputs));
            return Err(FailoverError::Diverged { context: format!("call {}, {given}\n  {difference}", factory.number(logged.call)) });
        }
    }
    Ok(calls.len())
}
