//! The recovery of a job: a run claims the job, finds the checkpoint to take up, and puts a manifest of its own after it.
//!
//! ```text
//! Claims ──> Claim(g) ──lost──> Claims ...
//!               └──ours──> Manifests ──> Verify(newest) ──unusable──> Verify(parent) ... ──none left──> Claims ──none newer──> Refuse
//!                              ▲             └──usable, or no manifest──> Claims ──newer──> Fenced
//!                              └──exists── Create(newest + 1) <──────────────┘ none newer
//!                                              └──new──> Claims ──newer──> Fenced
//!                                                           └──none newer──> RecoveredJob
//! ```
//! A host that still runs the job would write the very number that is created here. It finds it taken and stops; where it was faster, its
//! checkpoint is the newest one, and is found in the next round.
//!
//! The claims are looked at once more after the find, since the host whose manifest was found had claimed before it wrote it; and after the create, since
//! a host that froze before it may have been replaced, and the number it created may have been used and retired meanwhile. And before a refusal,
//! since what cannot be used may be what a successor has deleted.
//!
//! A manifest of this generation, or of a later one without a claim, tells that claims were lost. Then a
//! generation after all that can be seen is claimed: no two runs may share one, since names of objects hold it.
//!
//! A walk back may come to a manifest that a host created when it was long dead, at a number whose manifest was lost. Where generations between
//! that one and ours could have taken over before it, the names of their snapshots are listed once: see [`super::lineage::overtaken_by`].
//!
//! A host that restarts a run of its own claims the generation right after its own, or none: it never takes the job back from a successor.

use super::candidates::{Candidates, NextCandidate};
use super::invariants::{self, BrokenInvariant};
use super::lineage;
use super::manifest::Manifest;
use super::paths;
use super::quarantine::ObjectName;
use crate::ids::{Epoch, Generation};
use std::collections::BTreeMap;

/// Claims, and rounds after the find, that are tried before giving up: each loss means that another host was faster.
pub const ROUNDS_MAX: u32 = 16;

/// Which checkpoint to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoverFrom {
    /// The newest one that can be used.
    Newest,
    /// That of this epoch and no other. Later ones are given up. One of a history that was given up itself will not do.
    Epoch(Epoch),
    /// A savepoint, which was read and verified. Checkpoints after it are given up. One of a history that was given up will not do, as far as the
    /// manifests that are left can tell. Its `generation` must be no less than that of any snapshot there is: in a copy of a store claims may be
    /// missing, and names of snapshots must not meet.
    Savepoint(Box<Manifest>),
}

impl RecoverFrom {
    /// A savepoint that was read and verified. `snapshots`: the names of all that are stored.
    #[must_use]
    pub fn savepoint(mut manifest: Manifest, snapshots: &[String]) -> Self {
        let newest = snapshots.iter().filter_map(|path| paths::snapshot_origin(path)).map(|(_, generation)| generation).max();
        manifest.generation = newest.unwrap_or_default().max(manifest.generation);
        Self::Savepoint(Box::new(manifest))
    }
}

/// What is asked of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryRequest {
    /// The newest generation that was claimed.
    Claims,
    /// Create the claim of this generation if it is absent.
    Claim(Generation),
    /// List and read all manifests.
    Manifests,
    /// List the names of all snapshots.
    Snapshots,
    /// Read and verify everything that this checkpoint needs.
    Verify(Epoch),
    /// Create this manifest if it is absent. `written_ms` is for the caller to fill.
    Create(Box<Manifest>),
}

/// What the store answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryAnswer {
    /// To [`RecoveryRequest::Claims`]; 0 where there is no claim.
    Claims(Generation),
    /// To [`RecoveryRequest::Claim`]: true where it is ours.
    Claim(bool),
    /// To [`RecoveryRequest::Manifests`]: each with its epoch, or why it cannot be used.
    Manifests(BTreeMap<Epoch, Result<Manifest, String>>),
    /// To [`RecoveryRequest::Snapshots`].
    Snapshots(Vec<String>),
    /// To [`RecoveryRequest::Verify`]: an error tells what is wrong.
    Verify(Result<(), String>),
    /// To [`RecoveryRequest::Create`]: true where it is ours.
    Create(bool),
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryStep {
    /// RecoveryRequest the store, and tell [`JobRecovery::step`].
    Ask(RecoveryRequest),
    /// The run may begin.
    RecoveredJob(Box<RecoveredJob>),
    /// It may not.
    Refused(RecoveryRefusal),
}

/// The job, taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredJob {
    /// The generation of this run.
    pub generation: Generation,
    /// The checkpoint that was taken up; `None` at the beginning of a job.
    pub base: Option<Manifest>,
    /// The manifest of this run that follows it. `None` where the base is finished and the newest of all: there is nothing to run.
    pub taken: Option<Manifest>,
    /// The first epoch whose output is this run's: that of `taken`, where there is one.
    pub first_own: Epoch,
    /// Checkpoints that were passed over, newest first, with the reason.
    pub passed_over: Vec<(Epoch, String)>,
    /// Every manifest that can be read, `taken` included.
    pub readable: Vec<Manifest>,
    /// Epochs of all manifests there are.
    pub listed: Vec<Epoch>,
}

impl RecoveredJob {
    /// An object in quarantine, or a note about one, of an epoch that does not count: its rows will be refused again. `before`: written by runs
    /// before that of this generation.
    #[must_use]
    pub fn has_given_up(&self, path: &str, before: Generation) -> bool {
        let covered = self.base.as_ref().and_then(Manifest::covered);
        let name = ObjectName::of_path(path).or_else(|| Some(ObjectName::of_dropped(path)?.0));
        name.is_some_and(|name| covered < Some(name.epoch) && name.generation < before)
    }
}

/// Why a run may not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryRefusal {
    /// A newer host has claimed the job.
    Fenced {
        /// The generation that this host had or was about to have.
        ours: Generation,
        /// Its generation.
        theirs: Generation,
    },
    /// No checkpoint can be used, or not the one that was asked for. Each with the reason, newest first.
    NoCheckpoint(Vec<(Epoch, String)>),
    /// Other hosts were faster, time and again.
    Lost,
    /// Numbers have come to their end.
    Exhausted,
    /// A manifest that must not be written: a fault of this host.
    Broken(BrokenInvariant),
}

#[derive(Debug)]
enum State {
    Claims,
    Claiming(Generation),
    Manifests,
    /// Snapshots of later generations may tell that the candidate came late.
    Tracing(Found),
    Walking(Found),
    Fence(Found, Option<Box<Manifest>>),
    Creating(Found, Option<Box<Manifest>>, Box<Manifest>),
    Created(Found, Option<Box<Manifest>>, Box<Manifest>),
    /// Nothing can be used. Perhaps because a successor has deleted it.
    Refusing(Found),
    Over,
}

#[derive(Debug)]
struct Found {
    manifests: BTreeMap<Epoch, Result<Manifest, String>>,
    candidates: Candidates,
    /// The names of all snapshots, where they were asked for.
    snapshots: Option<Vec<String>>,
}

impl Found {
    /// There are manifests of later epochs than this.
    fn follows(&self, epoch: Epoch) -> bool {
        self.manifests.last_key_value().is_some_and(|(newest, _)| *newest > epoch)
    }

    fn readable(&self) -> impl Iterator<Item = &Manifest> {
        self.manifests.values().filter_map(|read| read.as_ref().ok())
    }

    fn overtaken_by(&self, manifest: &Manifest) -> Option<Generation> {
        lineage::overtaken_by(manifest, self.readable(), self.snapshots.iter().flatten())
    }
}

/// The recovery of a job at the start of a run, from the claim to the manifest with which the run takes over.
#[derive(Debug)]
pub struct JobRecovery {
    from: RecoverFrom,
    /// What a job without a checkpoint begins with; epoch and generation are set here.
    beginning: Manifest,
    /// The generation of this host's run before, where this is a restart of it.
    before: Option<Generation>,
    generation: Generation,
    epoch_max: Epoch,
    rounds: u32,
    state: State,
    reopens: bool,
    /// The first manifest of this run is of a later epoch than this.
    after: Epoch,
}

impl JobRecovery {
    /// Begins. `beginning`: the manifest with which a new job begins, see [`super::coordinator::beginning`]; its `writer` is the one of this
    /// run. `before`: the generation of this host's last run, where it restarts it by itself. `epoch_max`: the last epoch that a job can have.
    #[must_use]
    pub fn new(from: RecoverFrom, beginning: Manifest, before: Option<Generation>, epoch_max: Epoch) -> (Self, RecoveryStep) {
        let (generation, after) = (Generation(0), Epoch(0));
        let recovery = Self { from, beginning, before, generation, epoch_max, rounds: 0, state: State::Claims, reopens: false, after };
        (recovery, RecoveryStep::Ask(RecoveryRequest::Claims))
    }

    /// A job that has finished is taken up all the same: there are rows to send again.
    pub fn reopen(&mut self) {
        self.reopens = true;
    }

    /// The run begins after this epoch, also where the store has no manifest of it: there is output up to it that does not count, and no output
    /// of this run nor of a later one may be of an epoch that has some. A host that still runs the job finds no number taken then; it finds the
    /// claim, at the latest after its next manifest.
    pub fn begin_after(&mut self, epoch: Epoch) {
        self.after = epoch;
    }

    /// Takes the answer to the last question. An answer to another question is passed over: the question is asked again.
    pub fn step(&mut self, answer: RecoveryAnswer) -> RecoveryStep {
        match (std::mem::replace(&mut self.state, State::Over), answer) {
            (State::Claims, RecoveryAnswer::Claims(newest)) => self.claim(newest),
            (State::Claiming(ours), RecoveryAnswer::Claim(true)) => {
                self.generation = ours;
                self.rounds = 0;
                self.find()
            }
            (State::Claiming(theirs), RecoveryAnswer::Claim(false)) => match self.before {
                Some(ours) => RecoveryStep::Refused(RecoveryRefusal::Fenced { ours, theirs }),
                None => self.again(State::Claims, RecoveryRequest::Claims),
            },
            (State::Manifests, RecoveryAnswer::Manifests(manifests)) => self.begin_candidates(manifests),
            (State::Tracing(found), RecoveryAnswer::Snapshots(names)) => {
                let next = found.candidates.at().map_or(NextCandidate::Refuse, NextCandidate::Load);
                self.next_candidate(Found { snapshots: Some(names), ..found }, next)
            }
            (State::Walking(found), RecoveryAnswer::Verify(outcome)) => self.verified(found, outcome),
            (State::Fence(..) | State::Created(..) | State::Refusing(_), RecoveryAnswer::Claims(theirs)) if theirs > self.generation => {
                RecoveryStep::Refused(RecoveryRefusal::Fenced { ours: self.generation, theirs })
            }
            (State::Fence(found, base), RecoveryAnswer::Claims(_)) => match self.lost_claim(&found, base.as_deref()) {
                Some(theirs) => self.claim_after(theirs),
                None => self.create(found, base),
            },
            (State::Created(found, base, taken), RecoveryAnswer::Claims(_)) => self.taken_up(found, base, Some(taken)),
            (State::Refusing(found), RecoveryAnswer::Claims(_)) => {
                RecoveryStep::Refused(RecoveryRefusal::NoCheckpoint(found.candidates.passed_over().to_vec()))
            }
            (State::Creating(found, base, taken), RecoveryAnswer::Create(true)) => {
                self.state = State::Created(found, base, taken);
                RecoveryStep::Ask(RecoveryRequest::Claims)
            }
            (State::Creating(..), RecoveryAnswer::Create(false)) => self.again(State::Manifests, RecoveryRequest::Manifests),
            (state, _) => {
                let ask = Self::question(&state);
                self.state = state;
                ask.map_or(RecoveryStep::Refused(RecoveryRefusal::Lost), RecoveryStep::Ask)
            }
        }
    }

    fn question(state: &State) -> Option<RecoveryRequest> {
        Some(match state {
            State::Claims | State::Fence(..) | State::Created(..) | State::Refusing(_) => RecoveryRequest::Claims,
            State::Claiming(generation) => RecoveryRequest::Claim(*generation),
            State::Manifests => RecoveryRequest::Manifests,
            State::Tracing(_) => RecoveryRequest::Snapshots,
            State::Walking(found) => RecoveryRequest::Verify(found.candidates.at()?),
            State::Creating(_, _, taken) => RecoveryRequest::Create(taken.clone()),
            State::Over => return None,
        })
    }

    fn again(&mut self, state: State, ask: RecoveryRequest) -> RecoveryStep {
        self.rounds += 1;
        if self.rounds >= ROUNDS_MAX {
            return RecoveryStep::Refused(RecoveryRefusal::Lost);
        }
        self.state = state;
        RecoveryStep::Ask(ask)
    }

    fn claim(&mut self, newest: Generation) -> RecoveryStep {
        if let Some(ours) = self.before.filter(|ours| newest > *ours) {
            return RecoveryStep::Refused(RecoveryRefusal::Fenced { ours, theirs: newest });
        }
        let left = match &self.from {
            RecoverFrom::Savepoint(manifest) => manifest.generation,
            RecoverFrom::Newest | RecoverFrom::Epoch(_) => Generation(0),
        };
        let Some(next) = newest.max(left).0.checked_add(1) else { return RecoveryStep::Refused(RecoveryRefusal::Exhausted) };
        self.state = State::Claiming(Generation(next));
        RecoveryStep::Ask(RecoveryRequest::Claim(Generation(next)))
    }

    /// The newest generation of a manifest that must have been claimed, and is not.
    fn lost_claim(&self, found: &Found, base: Option<&Manifest>) -> Option<Generation> {
        found.readable().chain(base).map(|manifest| manifest.generation).max().filter(|newest| *newest >= self.generation)
    }

    fn claim_after(&mut self, theirs: Generation) -> RecoveryStep {
        if let Some(ours) = self.before {
            return RecoveryStep::Refused(RecoveryRefusal::Fenced { ours, theirs });
        }
        let Some(next) = theirs.0.checked_add(1) else { return RecoveryStep::Refused(RecoveryRefusal::Exhausted) };
        self.again(State::Claiming(Generation(next)), RecoveryRequest::Claim(Generation(next)))
    }

    fn find(&mut self) -> RecoveryStep {
        self.state = State::Manifests;
        RecoveryStep::Ask(RecoveryRequest::Manifests)
    }

    fn begin_candidates(&mut self, manifests: BTreeMap<Epoch, Result<Manifest, String>>) -> RecoveryStep {
        let candidates = Candidates::new(manifests.keys().copied().collect());
        let given_up = self.given_up(&manifests);
        let mut found = Found { manifests, candidates, snapshots: None };
        let next = match (given_up, &self.from) {
            (Some(epoch), _) => {
                found.candidates.only(epoch);
                found.candidates.unusable(None, "it belongs to a history that was given up: its output was taken back".to_owned())
            }
            (None, RecoverFrom::Newest) => found.candidates.start(),
            (None, RecoverFrom::Epoch(epoch)) => found.candidates.only(*epoch),
            (None, RecoverFrom::Savepoint(manifest)) => {
                let base = Some(manifest.clone());
                return self.fence(found, base);
            }
        };
        self.next_candidate(found, next)
    }

    /// The epoch that was asked for, where the newest manifest did not come from it.
    fn given_up(&self, manifests: &BTreeMap<Epoch, Result<Manifest, String>>) -> Option<Epoch> {
        let listed: BTreeMap<Epoch, Option<&Manifest>> = manifests.iter().map(|(epoch, read)| (*epoch, read.as_ref().ok())).collect();
        let newest = *listed.last_key_value()?.0;
        let (epoch, is_given_up) = match &self.from {
            RecoverFrom::Newest => return None,
            RecoverFrom::Epoch(epoch) => (*epoch, listed.contains_key(epoch) && !lineage::lineage(&listed, newest).contains(epoch)),
            // One that only took over has the rows of the checkpoint before it, and that one may be in the line without it.
            RecoverFrom::Savepoint(manifest) => {
                (manifest.epoch, manifest.covered().is_some_and(|covered| lineage::has_given_up(&listed, newest, covered)))
            }
        };
        is_given_up.then_some(epoch)
    }

    fn next_candidate(&mut self, mut found: Found, mut next: NextCandidate) -> RecoveryStep {
        loop {
            let reason = match next {
                NextCandidate::Fresh => return self.fence(found, None),
                NextCandidate::Refuse => {
                    self.state = State::Refusing(found);
                    return RecoveryStep::Ask(RecoveryRequest::Claims);
                }
                NextCandidate::Load(epoch) => match found.manifests.get(&epoch) {
                    Some(Ok(manifest)) => match found.overtaken_by(manifest) {
                        Some(by) => format!("it came late: generation {by} had taken over before it was stored"),
                        None if self.may_be_overtaken(&found, manifest) => {
                            self.state = State::Tracing(found);
                            return RecoveryStep::Ask(RecoveryRequest::Snapshots);
                        }
                        None => {
                            self.state = State::Walking(found);
                            return RecoveryStep::Ask(RecoveryRequest::Verify(epoch));
                        }
                    },
                    Some(Err(reason)) => reason.clone(),
                    None => "there is no such checkpoint".to_owned(),
                },
            };
            next = found.candidates.unusable(None, reason);
        }
    }

    /// Others follow the manifest, there may be generations between its own and this one, and nobody has looked yet what they have left.
    fn may_be_overtaken(&self, found: &Found, manifest: &Manifest) -> bool {
        found.snapshots.is_none() && found.follows(manifest.epoch) && self.generation.0 > manifest.generation.0.saturating_add(1)
    }

    fn verified(&mut self, mut found: Found, outcome: Result<(), String>) -> RecoveryStep {
        let manifest = found.candidates.at().and_then(|epoch| found.manifests.get(&epoch)?.as_ref().ok().cloned());
        match outcome {
            Ok(()) => self.fence(found, manifest.map(Box::new)),
            Err(reason) => {
                let next = found.candidates.unusable(manifest.as_ref(), reason);
                self.next_candidate(found, next)
            }
        }
    }

    fn fence(&mut self, found: Found, base: Option<Box<Manifest>>) -> RecoveryStep {
        // One that others follow ended nothing: what these made visible is to be taken back.
        let is_reopened = base.as_ref().is_some_and(|base| base.finished && (self.reopens || found.follows(base.epoch)));
        let base = if is_reopened { base.map(|base| Box::new(base.reopened())) } else { base };
        if base.as_ref().is_some_and(|base| base.finished) {
            return self.taken_up(found, base, None);
        }
        self.state = State::Fence(found, base);
        RecoveryStep::Ask(RecoveryRequest::Claims)
    }

    fn create(&mut self, found: Found, base: Option<Box<Manifest>>) -> RecoveryStep {
        let after_base = base.as_ref().map_or(Epoch(1), |base| base.epoch.next());
        let epoch = found.candidates.first_epoch().max(after_base).max(self.after.next());
        if epoch >= self.epoch_max {
            return RecoveryStep::Refused(RecoveryRefusal::Exhausted);
        }
        let taken = match &base {
            Some(base) => base.take_over(epoch, self.generation, self.beginning.writer),
            None => Manifest { epoch, generation: self.generation, taken_over: true, ..self.beginning.clone() },
        };
        if let Err(broken) = invariants::check(&taken, base.as_deref()) {
            return RecoveryStep::Refused(RecoveryRefusal::Broken(broken));
        }
        self.state = State::Creating(found, base, Box::new(taken.clone()));
        RecoveryStep::Ask(RecoveryRequest::Create(Box::new(taken)))
    }

    fn taken_up(&mut self, found: Found, base: Option<Box<Manifest>>, taken: Option<Box<Manifest>>) -> RecoveryStep {
        let mut listed: Vec<Epoch> = found.manifests.keys().copied().collect();
        let mut readable: Vec<Manifest> = found.manifests.into_values().filter_map(Result::ok).collect();
        let taken = taken.map(|taken| *taken);
        let after_base = base.as_ref().map_or(Epoch(0), |base| base.epoch).max(self.after).next();
        let first_own = taken.as_ref().map_or(after_base, |taken| taken.epoch);
        listed.extend(taken.as_ref().map(|t| t.epoch));
        readable.extend(taken.clone());
        RecoveryStep::RecoveredJob(Box::new(RecoveredJob {
            generation: self.generation,
            base: base.map(|base| *base),
            taken,
            first_own,
            passed_over: found.candidates.passed_over().to_vec(),
            readable,
            listed,
        }))
    }
}

#[cfg(test)]
mod tests;
