//! A failover: a replacement for a guest that failed. A fresh one, restored from the backup, that has repeated the calls since.
//!
//! ```text
//!          backup ──restore──┐
//!  fresh guest ──open────────┴──> as of the last snapshot ──repeat the log──> as before the call that failed
//!                                        ^
//!                  standby, kept there by every snapshot
//! ```
//!
//! A standby that is ready repeats a few calls at once. Whatever takes longer is [`FailoverWork`], which the host runs beside the dataflow.

use super::blame_trial::BlameTrial;
use super::environment::{CallOf, Environment, FaultOf, Guest, InstanceFactory, StandbyInstance};
use super::input_log::{InputLog, LoggedCall};
use super::state_backup::VersionedChunk;
use crate::failure::blame::Blame;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// How long a turn may go on repeating calls, but for the last of them. Neighbours wait so long; a thread would have to wait for a processor,
/// and the worker for the thread.
pub const AT_ONCE_MAX: Duration = Duration::from_millis(10);

/// Why there is no replacement.
#[derive(Debug)]
pub enum FailoverError<Fault> {
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

/// A replacement, or why there is none, with the log that it repeated.
pub struct Replacement<E: Environment> {
    pub(super) guest: Result<E::Guest, FailoverError<FaultOf<E>>>,
    pub(super) log: InputLog<CallOf<E>>,
    /// How long it took to restore; `None` where a standby was there.
    pub(super) restored: Option<Duration>,
    /// Guests that failed and are not dropped yet.
    pub(super) dead: Vec<E::Guest>,
    /// Who is to blame, where that was to be found out.
    pub(super) blame: Option<Blame>,
    /// How long that took.
    pub(super) tried: Duration,
}

/// What there is of a replacement when a guest fails.
pub(super) enum Candidate<E: Environment> {
    /// Nothing.
    Unmade,
    /// A standby that has something to restore still.
    Behind(E::Standby),
    /// A guest as of the last snapshot, that has repeated so many calls since.
    Ready(Box<E::Guest>, usize),
}

impl<E: Environment> Candidate<E> {
    /// The candidate that a standby makes.
    pub fn of(standby: Option<E::Standby>) -> Self {
        match standby.map(StandbyInstance::take_if_ready) {
            None => Self::Unmade,
            Some(Err(standby)) => Self::Behind(standby),
            Some(Ok(guest)) => Self::Ready(Box::new(guest), 0),
        }
    }
}

/// What a replacement is made of.
pub(super) struct Parts<E: Environment> {
    pub factory: E::Factory,
    pub state: Vec<Arc<VersionedChunk>>,
    pub log: InputLog<CallOf<E>>,
    pub candidate: Candidate<E>,
    /// Guests that failed: dropping them takes time, too.
    pub dead: Vec<E::Guest>,
    /// What is to be found out before.
    pub trial: Option<BlameTrial<CallOf<E>>>,
}

impl<E: Environment> Parts<E> {
    /// The replacement, or why there will be none, where a standby is ready and the calls that it repeats took so little time; else the parts
    /// that there are by then.
    pub fn at_once(mut self, env: &E, within: Duration) -> Result<Replacement<E>, Box<Self>> {
        let (mut guest, repeated) = match self.candidate {
            Candidate::Ready(guest, repeated) if self.log.logged().busy <= within && self.trial.is_none() => (guest, repeated),
            other => {
                self.candidate = other;
                return Err(Box::new(self));
            }
        };
        let (calls, until) = (self.log.entries(), env.now() + within);
        let guest = match repeat(&mut *guest, calls, repeated, &self.factory, &|| env.now() >= until) {
            Ok(repeated) if repeated < calls.len() => {
                self.candidate = Candidate::Ready(guest, repeated);
                return Err(Box::new(self));
            }
            Ok(_) => Ok(*guest),
            Err(error) => {
                self.dead.push(*guest);
                Err(error)
            }
        };
        Ok(Replacement { guest, log: self.log, restored: None, dead: self.dead, blame: None, tried: Duration::ZERO })
    }
}

/// A failover that runs beside the dataflow.
pub struct FailoverWork<E: Environment> {
    parts: Parts<E>,
    done: SyncSender<Replacement<E>>,
}

/// A failover under way.
pub(super) struct Failover<E: Environment> {
    done: Receiver<Replacement<E>>,
}

impl<E: Environment> Failover<E> {
    /// Lets the host run a failover.
    pub fn begin(env: &E, parts: Parts<E>) -> Result<Self, String> {
        let (sender, done) = sync_channel(1);
        env.start_failover(FailoverWork { parts, done: sender })?;
        Ok(Self { done })
    }

    /// The replacement, once it is there.
    pub fn take(&self) -> Option<Replacement<E>> {
        match self.done.try_recv() {
            Ok(replacement) => Some(replacement),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Replacement {
                guest: Err(FailoverError::Gone),
                log: InputLog::default(),
                restored: None,
                dead: Vec::new(),
                blame: None,
                tried: Duration::ZERO,
            }),
        }
    }
}

impl<E: Environment> FailoverWork<E> {
    /// The standby that is behind and may be waited for, where there is one.
    pub fn standby(&self) -> Option<&E::Standby> {
        if let Candidate::Behind(standby) = &self.parts.candidate { Some(standby) } else { None }
    }

    /// Makes the replacement. `now`: time since an origin. Gives guests that failed, to be dropped once the instance was woken.
    pub fn run(self, now: &dyn Fn() -> Duration) -> Vec<E::Guest> {
        let Self { parts: Parts { factory, state, log, candidate, mut dead, trial }, done } = self;
        let began = now();
        let blame = trial.map(|trial| {
            // There is room for one guest more.
            dead.clear();
            trial.decide(&factory, &state, log.entries())
        });
        let tried = now().saturating_sub(began);
        let ready = match candidate {
            Candidate::Unmade => None,
            Candidate::Behind(standby) => standby.take().map(|guest| (guest, 0)),
            Candidate::Ready(guest, repeated) => Some((*guest, repeated)),
        };
        let began = now();
        let (made, restored, dead) = match ready {
            Some(ready) => (Ok(ready), None, dead),
            None => {
                // Its replacement takes over its pages: fresh ones would have to be asked for.
                drop(dead);
                let made = factory.make(&state);
                let made = made.map_err(|(fault, context)| FailoverError::Guest { fault, context: context.to_owned() });
                (made.map(|guest| (guest, 0)), Some(now().saturating_sub(began)), Vec::new())
            }
        };
        let guest = made.and_then(|(mut guest, repeated)| {
            repeat(&mut guest, log.entries(), repeated, &factory, &|| false)?;
            Ok(guest)
        });
        // Nobody listens where the run is over.
        let _ = done.send(Replacement { guest, log, restored, dead: Vec::new(), blame, tried });
        dead
    }
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
