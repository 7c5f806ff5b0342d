//! The fenced committer of one run: from its first report to its last checkpoint. It wraps the coordinator in the fence, and keeps savepoints.
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
//! 2. After [`CommitterError`] the committer asks for nothing more.
//! 3. One manifest is under way at a time.
//!
//! A host that is frozen after the second look and thaws when another one has taken over can still publish what its last manifest names. That is the
//! very output that the other host found in that manifest and published itself, and sinks publish idempotently.

use super::coordinator::{Action, Coordinator, Event, Violation};
use super::invariants::{self, BrokenInvariant};
use super::manifest::{Manifest, StagedRef};
use crate::ids::{Epoch, Generation};
use std::collections::VecDeque;

/// Savepoints that may wait for their checkpoint.
pub const SAVEPOINTS_WAITING_MAX: usize = 64;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FencedAction {
    /// Look for the newest claim, then tell [`FencedCommitter::newest`].
    Look,
    /// Store this manifest with put-if-absent, then tell [`FencedCommitter::created`].
    Create(Box<Manifest>),
    /// The manifest of this epoch is a checkpoint now: publish these, then tell [`FencedCommitter::tell`] of [`Event::Published`].
    Publish {
        /// The checkpoint.
        manifest: Box<Manifest>,
        /// The sink's place in the topology file, and its staged output.
        staged: Vec<(usize, StagedRef)>,
    },
    /// Store this checkpoint, which is published, as a savepoint of that name.
    Save {
        /// The name.
        name: String,
        /// What.
        manifest: Box<Manifest>,
    },
    /// What the coordinator wants, beyond the fence: all but [`Action::Write`] and [`Action::Publish`].
    Do(Action),
}

/// An error that ends the committer of a run before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitterError {
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
    /// Likewise: a manifest that must not be written.
    #[error(transparent)]
    Broken(#[from] BrokenInvariant),
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

/// The committer of one run behind the fence: stores one manifest at a time, each between two looks for newer claims.
#[derive(Debug)]
pub struct FencedCommitter {
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

impl FencedCommitter {
    /// Begins the work of a run that took over with `taken`, its output published.
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

    /// The generation of the run.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The newest checkpoint that is published.
    #[must_use]
    pub fn published(&self) -> &Manifest {
        &self.published
    }

    /// The manifest that is being stored, if any.
    #[must_use]
    pub fn creating(&self) -> Option<&Manifest> {
        if let Phase::Creating(manifest) = &self.phase { Some(manifest) } else { None }
    }

    /// What is to be done at the start, before the first event.
    #[must_use]
    pub fn begin(&mut self) -> Vec<FencedAction> {
        let mut actions = Vec::new();
        for action in self.coordinator.begin(&self.published) {
            self.carry(action, &mut actions);
        }
        actions
    }

    /// The newest generation that anybody claimed, as of a [`FencedAction::Look`].
    ///
    /// # Errors
    /// The run is over: nothing more may be done for it. So it is with all that is told.
    pub fn newest(&mut self, theirs: Generation) -> Result<Vec<FencedAction>, CommitterError> {
        if theirs > self.generation {
            return Err(CommitterError::Fenced { theirs });
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Before(manifest) => {
                invariants::check(&manifest, Some(self.publishing.back().unwrap_or(&self.published)))?;
                self.phase = Phase::Creating(manifest.clone());
                Ok(vec![FencedAction::Create(manifest)])
            }
            Phase::After(manifest) => {
                let epoch = manifest.epoch;
                self.publishing.push_back(manifest);
                self.tell(Event::Stored(epoch))
            }
            other => {
                self.phase = other;
                Ok(Vec::new())
            }
        }
    }

    /// The manifest of [`FencedAction::Create`] is stored (`true`), or its place is taken by another one.
    ///
    /// # Errors
    /// As [`Self::newest`].
    pub fn created(&mut self, stored: bool) -> Result<Vec<FencedAction>, CommitterError> {
        let Phase::Creating(manifest) = std::mem::replace(&mut self.phase, Phase::Idle) else { return Ok(Vec::new()) };
        if !stored {
            return Err(CommitterError::Overtaken { epoch: manifest.epoch });
        }
        self.phase = Phase::After(manifest);
        Ok(vec![FencedAction::Look])
    }

    /// A savepoint is wanted that has all epochs up to and with `epoch`.
    #[must_use]
    pub fn asked(&mut self, name: String, epoch: Epoch) -> Vec<FencedAction> {
        if self.asked.len() < SAVEPOINTS_WAITING_MAX && !self.asked.iter().any(|(waiting, _)| *waiting == name) {
            self.asked.push((name, epoch));
        }
        let mut actions = Vec::new();
        self.save(&mut actions);
        actions
    }

    /// Takes an event of the coordinator. Those of manifests that are stored come from [`Self::newest`].
    ///
    /// # Errors
    /// As [`Self::newest`].
    pub fn tell(&mut self, event: Event) -> Result<Vec<FencedAction>, CommitterError> {
        if let Event::Published(epoch) = event {
            while let Some(manifest) = self.publishing.pop_front_if(|manifest| manifest.epoch <= epoch) {
                self.published = manifest;
            }
        }
        let mut actions = Vec::new();
        for action in self.coordinator.step(event)? {
            self.carry(action, &mut actions);
        }
        self.save(&mut actions);
        // A savepoint that waits for the last checkpoint is kept before the run is over.
        actions.sort_by_key(|action| matches!(action, FencedAction::Do(Action::Done { .. })));
        Ok(actions)
    }

    fn carry(&mut self, action: Action, actions: &mut Vec<FencedAction>) {
        match action {
            Action::Write(manifest) => {
                self.phase = Phase::Before(manifest);
                actions.push(FencedAction::Look);
            }
            Action::Publish { staged, .. } => {
                if let Some(manifest) = self.publishing.back() {
                    actions.push(FencedAction::Publish { manifest: manifest.clone(), staged });
                }
            }
            other => {
                self.done |= matches!(other, Action::Done { .. });
                actions.push(FencedAction::Do(other));
            }
        }
    }

    /// Keeps the savepoints whose epochs are published; at the end all that wait.
    fn save(&mut self, actions: &mut Vec<FencedAction>) {
        let (published, done) = (&self.published, self.done);
        self.asked.retain(|(name, epoch)| {
            let ripe = done || published.epoch >= *epoch;
            if ripe {
                let mut manifest = published.clone();
                // Its output is published: a run that takes up the savepoint elsewhere has none of it to publish.
                manifest.sinks.iter_mut().for_each(|sink| sink.staged.clear());
                actions.push(FencedAction::Save { name: name.clone(), manifest });
            }
            !ripe
        });
    }
}

#[cfg(test)]
mod tests;
