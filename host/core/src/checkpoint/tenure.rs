//! The tenure of one run: from its first report to its last checkpoint. It wraps the coordinator in the fence, and keeps savepoints.
//!
//! Storing a manifest takes three steps, and only this module orders them:
//!
//! ```text
//! Write(m) ──> Look ──newer claim──> Fenced
//!                └────none──> Create(m) ──exists──> Overtaken
//!                                └──new──> Look ──newer claim──> Fenced      (stored, never published by us: who claimed finds it)
//!                                             └────none──> Stored ──> Publish, Completed, ...
//! ```
//! Invariants:
//! 1. Nothing is published, and nothing counts as completed, before the second look saw no newer claim.
//! 2. After [`End`] the tenure asks for nothing more.
//! 3. One manifest is under way at a time.
//!
//! A host that is frozen after the second look and thaws when another one has taken over can still publish what its last manifest names. That is the
//! very output that the other host found in that manifest and published itself, and sinks publish idempotently.

use super::coordinator::{Action, Coordinator, Event, Participant, Report, Violation};
use super::manifest::{Manifest, ObjectRef, OperatorState, StagedRef};
use crate::ids::{Epoch, Generation};
use std::collections::VecDeque;

/// Savepoints that may wait for their checkpoint.
pub const SAVEPOINTS_WAITING_MAX: usize = 64;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A participant reported.
    Reported(Report),
    /// The newest generation that anybody claimed, as of a [`Deed::Look`].
    Newest(Generation),
    /// The manifest of [`Deed::Create`] is stored (`true`), or its place is taken by another one.
    Created(bool),
    /// What [`Deed::Publish`] named is published.
    Published(Epoch),
    /// See [`Event::Compacted`].
    Compacted {
        /// Whose chain.
        at: Participant,
        /// The last object that is replaced.
        last: String,
        /// What replaces it and all before it.
        object: ObjectRef,
    },
    /// See [`Event::NotCompacted`].
    NotCompacted {
        /// Whose chain.
        at: Participant,
        /// An object of it is damaged or gone.
        damaged: bool,
    },
    /// Somebody wants a savepoint that has all epochs up to and with `epoch`.
    Asked {
        /// Its name.
        name: String,
        /// The epoch.
        epoch: Epoch,
    },
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Look for the newest claim, then tell [`Fact::Newest`].
    Look,
    /// Store this manifest with put-if-absent, then tell [`Fact::Created`].
    Create(Box<Manifest>),
    /// The manifest of this epoch is a checkpoint now: publish these, then tell [`Fact::Published`].
    Publish {
        /// The checkpoint.
        manifest: Box<Manifest>,
        /// The sink's place in the topology file, and its staged output.
        staged: Vec<(usize, StagedRef)>,
    },
    /// The epoch is behind us: sources may go further.
    Completed(Epoch),
    /// See [`Action::Compact`].
    Compact {
        /// Whose chain.
        at: Participant,
        /// The newest checkpoint that has this chain.
        epoch: Epoch,
        /// The operator, as that checkpoint has it; without its instances.
        operator: OperatorState,
        /// The chain.
        chain: Vec<ObjectRef>,
    },
    /// Let the next snapshot of this instance be a full one.
    AskFull(Participant),
    /// Store this checkpoint, which is published, as a savepoint of that name.
    Save {
        /// The name.
        name: String,
        /// What.
        manifest: Box<Manifest>,
    },
    /// The last checkpoint is stored and published.
    Done {
        /// All input had ended.
        finished: bool,
    },
}

/// Why a tenure ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// A newer host has claimed the job.
    #[error("generation {theirs} has claimed the job")]
    Fenced {
        /// Its generation.
        theirs: Generation,
    },
    /// Another host has stored the manifest of this epoch.
    #[error("the manifest of epoch {epoch} is another host's")]
    Overtaken {
        /// The epoch.
        epoch: Epoch,
    },
    /// A fault of this host.
    #[error(transparent)]
    Violation(#[from] Violation),
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// Looking before the create.
    Before(Box<Manifest>),
    Creating(Box<Manifest>),
    /// Looking after it.
    After(Box<Manifest>),
}

/// See the module.
#[derive(Debug)]
pub struct Tenure {
    generation: Generation,
    coordinator: Coordinator,
    phase: Phase,
    /// The manifests that are checkpoints and whose output is being published, oldest first. Publishing may take longer than the next manifest.
    publishing: VecDeque<Box<Manifest>>,
    /// The newest checkpoint that is published; at first the one that this run took over with, whose output was published then.
    published: Box<Manifest>,
    asked: Vec<(String, Epoch)>,
    done: bool,
}

impl Tenure {
    /// Begins the tenure of a run that took over with `taken`, its output published.
    #[must_use]
    pub fn new(coordinator: Coordinator, taken: Manifest) -> Self {
        Self {
            generation: taken.generation,
            coordinator,
            phase: Phase::Idle,
            publishing: VecDeque::new(),
            published: Box::new(taken),
            asked: Vec::new(),
            done: false,
        }
    }

    /// Name of the job.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.published.job
    }

    /// What is to be done at the start, before the first fact.
    #[must_use]
    pub fn begin(&mut self) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for action in self.coordinator.begin(&self.published) {
            self.carry(action, &mut deeds);
        }
        deeds
    }

    /// Takes one fact and answers with what is to be done.
    ///
    /// # Errors
    /// The tenure is over: nothing more may be done for it.
    pub fn step(&mut self, fact: Fact) -> Result<Vec<Deed>, End> {
        let mut deeds = Vec::new();
        let event = match fact {
            Fact::Reported(report) => Event::Reported(report),
            Fact::Newest(theirs) if theirs > self.generation => return Err(End::Fenced { theirs }),
            Fact::Newest(_) => match std::mem::replace(&mut self.phase, Phase::Idle) {
                Phase::Before(manifest) => {
                    self.phase = Phase::Creating(manifest.clone());
                    deeds.push(Deed::Create(manifest));
                    return Ok(deeds);
                }
                Phase::After(manifest) => {
                    let epoch = manifest.epoch;
                    self.publishing.push_back(manifest);
                    Event::Stored(epoch)
                }
                other => {
                    self.phase = other;
                    return Ok(deeds);
                }
            },
            Fact::Created(stored) => {
                if let Phase::Creating(manifest) = std::mem::replace(&mut self.phase, Phase::Idle) {
                    if !stored {
                        return Err(End::Overtaken { epoch: manifest.epoch });
                    }
                    self.phase = Phase::After(manifest);
                    deeds.push(Deed::Look);
                }
                return Ok(deeds);
            }
            Fact::Published(epoch) => {
                while let Some(manifest) = self.publishing.pop_front_if(|manifest| manifest.epoch <= epoch) {
                    self.published = manifest;
                }
                Event::Published(epoch)
            }
            Fact::Compacted { at, last, object } => Event::Compacted { at, last, object },
            Fact::NotCompacted { at, damaged } => Event::NotCompacted { at, damaged },
            Fact::Asked { name, epoch } => {
                if self.asked.len() < SAVEPOINTS_WAITING_MAX && !self.asked.iter().any(|(waiting, _)| *waiting == name) {
                    self.asked.push((name, epoch));
                }
                self.save(&mut deeds);
                return Ok(deeds);
            }
        };
        let mut actions = VecDeque::from(self.coordinator.step(event)?);
        while let Some(action) = actions.pop_front() {
            self.carry(action, &mut deeds);
        }
        self.save(&mut deeds);
        // A savepoint that waits for the last checkpoint is kept before the run is over.
        deeds.sort_by_key(|deed| matches!(deed, Deed::Done { .. }));
        Ok(deeds)
    }

    fn carry(&mut self, action: Action, deeds: &mut Vec<Deed>) {
        match action {
            Action::Write(manifest) => {
                self.phase = Phase::Before(manifest);
                deeds.push(Deed::Look);
            }
            Action::Publish { staged, .. } => {
                if let Some(manifest) = self.publishing.back() {
                    deeds.push(Deed::Publish { manifest: manifest.clone(), staged });
                }
            }
            Action::Completed(epoch) => deeds.push(Deed::Completed(epoch)),
            Action::Compact { at, epoch, operator, chain } => deeds.push(Deed::Compact { at, epoch, operator, chain }),
            Action::AskFull(at) => deeds.push(Deed::AskFull(at)),
            Action::Done { finished } => {
                self.done = true;
                deeds.push(Deed::Done { finished });
            }
        }
    }

    /// Keeps the savepoints whose epochs are published; at the end all that wait.
    fn save(&mut self, deeds: &mut Vec<Deed>) {
        let (published, done) = (&self.published, self.done);
        self.asked.retain(|(name, epoch)| {
            let ripe = done || published.epoch >= *epoch;
            if ripe {
                let mut manifest = published.clone();
                // Its output is published: whoever takes up the savepoint elsewhere has none of it to publish.
                manifest.sinks.iter_mut().for_each(|sink| sink.staged.clear());
                deeds.push(Deed::Save { name: name.clone(), manifest });
            }
            !ripe
        });
    }
}

#[cfg(test)]
mod tests;
