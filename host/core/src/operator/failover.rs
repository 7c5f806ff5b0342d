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
use super::contract::{Guest, InstanceFactory, StandbyInstance};
use super::input_log::InputLog;
use super::repetition::{FailoverError, repeat};
use super::state_backup::VersionedChunk;
use crate::failure::blame::Blame;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

/// How long a turn may go on repeating calls, but for the last of them. Neighbours wait so long; a thread would have to wait for a processor,
/// and the worker for the thread.
pub const AT_ONCE_MAX: Duration = Duration::from_millis(10);

/// A replacement, or why there is none, with the log that it repeated.
pub struct Replacement<G: Guest> {
    pub(super) guest: Result<G, FailoverError<G::Fault>>,
    pub(super) log: InputLog<G::Call>,
    /// How long it took to restore; `None` where a standby was there.
    pub(super) restored: Option<Duration>,
    /// Guests that failed and are not dropped yet.
    pub(super) dead: Vec<G>,
    /// Who is to blame, where that was to be found out.
    pub(super) blame: Option<Blame>,
    /// How long that took.
    pub(super) tried: Duration,
}

/// What there is of a replacement when a guest fails.
pub(super) enum Candidate<S: StandbyInstance> {
    /// Nothing.
    Unmade,
    /// A standby that has something to restore still.
    Behind(S),
    /// A guest as of the last snapshot, that has repeated so many calls since.
    Ready(Box<S::Guest>, usize),
}

impl<S: StandbyInstance> Candidate<S> {
    /// The candidate that a standby makes.
    pub fn of(standby: Option<S>) -> Self {
        match standby.map(StandbyInstance::take_if_ready) {
            None => Self::Unmade,
            Some(Err(standby)) => Self::Behind(standby),
            Some(Ok(guest)) => Self::Ready(Box::new(guest), 0),
        }
    }
}

/// What a replacement is made of.
pub(super) struct ReplacementParts<F: InstanceFactory, S: StandbyInstance<Guest = F::Guest>> {
    pub factory: F,
    pub state: Vec<Arc<VersionedChunk>>,
    pub log: InputLog<<F::Guest as Guest>::Call>,
    pub candidate: Candidate<S>,
    /// Guests that failed: dropping them takes time, too.
    pub dead: Vec<F::Guest>,
    /// What is to be found out before.
    pub trial: Option<BlameTrial<<F::Guest as Guest>::Call>>,
}

impl<F: InstanceFactory, S: StandbyInstance<Guest = F::Guest>> ReplacementParts<F, S> {
    /// The replacement, or why there will be none, where a standby is ready and the calls that it repeats took so little time; else the parts
    /// that there are by then.
    pub fn at_once(mut self, now: &dyn Fn() -> Duration, within: Duration) -> Result<Replacement<F::Guest>, Box<Self>> {
        let (mut guest, repeated) = match self.candidate {
            Candidate::Ready(guest, repeated) if self.log.logged().busy <= within && self.trial.is_none() => (guest, repeated),
            other => {
                self.candidate = other;
                return Err(Box::new(self));
            }
        };
        let (calls, until) = (self.log.entries(), now() + within);
        let guest = match repeat(&mut *guest, calls, repeated, &self.factory, &|| now() >= until) {
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
pub struct FailoverWork<F: InstanceFactory, S: StandbyInstance<Guest = F::Guest>> {
    parts: ReplacementParts<F, S>,
    done: SyncSender<Replacement<F::Guest>>,
}

/// A failover under way.
pub(super) struct Failover<G: Guest> {
    done: Receiver<Replacement<G>>,
}

impl<G: Guest> Failover<G> {
    /// A failover, and the work that the host has to run for it.
    pub fn begin<F, S>(parts: ReplacementParts<F, S>) -> (Self, FailoverWork<F, S>)
    where
        F: InstanceFactory<Guest = G>,
        S: StandbyInstance<Guest = G>,
    {
        let (sender, done) = sync_channel(1);
        (Self { done }, FailoverWork { parts, done: sender })
    }

    /// The replacement, once it is there.
    pub fn take(&self) -> Option<Replacement<G>> {
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

impl<F: InstanceFactory, S: StandbyInstance<Guest = F::Guest>> FailoverWork<F, S> {
    /// The standby that is behind and may be waited for, where there is one.
    pub fn standby(&self) -> Option<&S> {
        if let Candidate::Behind(standby) = &self.parts.candidate { Some(standby) } else { None }
    }

    /// Makes the replacement. `now`: time since an origin. Gives guests that failed, to be dropped once the instance was woken.
    pub fn run(self, now: &dyn Fn() -> Duration) -> Vec<F::Guest> {
        let Self { parts: ReplacementParts { factory, state, log, candidate, mut dead, trial }, done } = self;
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
        // The run may be over.
        let _ = done.send(Replacement { guest, log, restored, dead: Vec::new(), blame, tried });
        dead
    }
}
