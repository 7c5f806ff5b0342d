//! The committer of one run: what is done around each manifest, in which order. A driver carries out its actions and tells it what came of them;
//! the drivers of a job and of the simulation have the same committer.
//!
//! ```text
//! reports ──> fenced committer ──> Create(m) ──> Publish(m), to the lanes of the sinks ──> Published(m) ──> savepoints that wait for it
//!                                      │                                                        │
//!                                      └──> retention: m is kept ─────────────────> Sweep <─────┘ older manifests retire
//! ```
//! Invariants:
//! 1. What a manifest names is held from the moment at which it is stored, and what a savepoint names from when it is. While a savepoint is on its
//!    way no sweep begins; one that began before holds the manifest whose copy it is.
//! 2. A savepoint counts once no newer claim was seen after it was created. Until then nothing else is done.
//! 3. Objects of compactions are spared until a manifest could name them. One sweep is under way at a time.
//! 4. After an error nothing more may be done for the run.

use super::coordinator::{Action, CompactedChain, Compaction, Coordinator, Event, Layout, Participant, Report};
use super::fenced_committer::{CommitterError, FencedAction, FencedCommitter};
use super::manifest::Manifest;
use super::paths;
use super::publishing::{LaneOutput, PublishLanes};
use super::retention::Retention;
use super::sweep::Sweep;
use crate::ids::{Epoch, Generation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What happened to a run, as its driver tells the committer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitterEvent {
    /// A participant reported.
    Reported(Report),
    /// The newest generation that was claimed, as of [`CommitterAction::Look`].
    Newest(Generation),
    /// The manifest of [`CommitterAction::Create`] is stored (`true`), or its place is taken by another one.
    Created(bool),
    /// The sink of a lane is through with all that it was given up to this epoch.
    LaneThrough {
        /// The lane.
        lane: usize,
        /// The epoch.
        epoch: Epoch,
    },
    /// A chain was compacted, and the full snapshot is stored.
    Compacted(CompactedChain),
    /// A chain could not be compacted, see [`super::coordinator::Event::ChainDamaged`].
    ChainDamaged(Participant),
    /// A savepoint is wanted that has all epochs up to and with `epoch`.
    SavepointAsked {
        /// Its name.
        name: String,
        /// The epoch.
        epoch: Epoch,
    },
    /// The savepoint of [`CommitterAction::CreateSavepoint`] is stored (`true`), or there was one of its name.
    SavepointCreated(bool),
    /// The newest generation that was claimed, as of [`CommitterAction::LookAfterSavepoint`].
    NewestAfterSavepoint(Generation),
    /// The sweep of [`CommitterAction::Sweep`] has ended; these manifests are deleted.
    Swept(Vec<Epoch>),
}

/// What a driver is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitterAction {
    /// Look for the newest claim, then tell [`CommitterEvent::Newest`].
    Look,
    /// Store this manifest with put-if-absent, then tell [`CommitterEvent::Created`]. `written_ms` is for the driver to fill.
    Create(Box<Manifest>),
    /// Let a sink publish, then tell [`CommitterEvent::LaneThrough`].
    Publish(LaneOutput),
    /// All output of this checkpoint is published. Nothing is to be told.
    Published(Box<Manifest>),
    /// The epoch is behind the run: sources may go further.
    Completed(Epoch),
    /// Carry out a compaction, then tell [`CommitterEvent::Compacted`] or [`CommitterEvent::ChainDamaged`].
    Compact(Box<Compaction>),
    /// Let the next snapshot of this instance be a full one.
    AskFull(Participant),
    /// Store this manifest at the path of a savepoint with put-if-absent, then tell [`CommitterEvent::SavepointCreated`]. `written_ms` is for
    /// the driver to fill.
    CreateSavepoint {
        /// The path.
        path: String,
        /// What.
        manifest: Box<Manifest>,
    },
    /// Look for the newest claim, then tell [`CommitterEvent::NewestAfterSavepoint`].
    LookAfterSavepoint,
    /// A savepoint is kept. Nothing is to be told.
    Saved {
        /// Its name.
        name: String,
        /// What it keeps.
        manifest: Box<Manifest>,
        /// False where there was one of that name already, which stays as it is.
        is_new: bool,
    },
    /// Remove this object: the run has lost its job, and a savepoint of it may lack what it needs.
    Remove(String),
    /// Delete these manifests, which may be none, and what nothing retained needs, see [`Committer::sweep`]; then tell
    /// [`CommitterEvent::Swept`].
    Sweep(Vec<Epoch>),
    /// The last checkpoint is stored and published.
    Done {
        /// All input had ended.
        finished: bool,
    },
}

/// A mutation of the committer: a fault that the simulation plants, and must notice. In the product there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CommitterMutation {
    /// A manifest that is stored is not noted.
    ManifestNotNoted,
    /// Manifests whose output is not published count as kept like all others.
    AheadIgnored,
    /// A sweep begins while a savepoint is on its way.
    SweepBesideSavepoint,
}

/// A savepoint on its way to the store.
#[derive(Debug)]
struct Saving {
    name: String,
    path: String,
    manifest: Box<Manifest>,
    is_new: bool,
}

/// The committer of one run.
#[derive(Debug)]
pub struct Committer {
    fenced: FencedCommitter,
    lanes: PublishLanes,
    retention: Retention,
    /// Checkpoints that are kept.
    keep: usize,
    /// The newest of all manifests that this run has stored; at first the one with which it took over.
    newest: Epoch,
    has_stored: bool,
    /// Manifests of this run whose output is not known to be published.
    ahead: usize,
    /// Objects that compactions make or made; with the newest manifest that cannot name them yet, once they are made.
    compactions: BTreeMap<String, Option<Epoch>>,
    saving: Option<Saving>,
    /// What is done once the savepoint is kept.
    pending: VecDeque<FencedAction>,
    is_sweeping: bool,
    broken: Option<CommitterMutation>,
}

impl Committer {
    /// Begins the work of a run that took over with the manifest `taken`, whose output was published just now. `retention`: what the manifests and
    /// savepoints need that the run found; so many checkpoints are to be kept.
    #[must_use]
    pub fn new(layout: Layout, taken: &Manifest, retention: Retention, keep: usize) -> Self {
        let lanes = PublishLanes::new(layout.sinks.len(), taken.epoch);
        let coordinator = Coordinator::new(layout, taken.epoch.next(), Some(taken));
        let mut published = taken.clone();
        published.sinks.iter_mut().for_each(|sink| sink.staged.clear());
        Self {
            lanes,
            fenced: FencedCommitter::new(coordinator, published),
            retention,
            keep,
            newest: taken.epoch,
            has_stored: false,
            ahead: 0,
            compactions: BTreeMap::new(),
            saving: None,
            pending: VecDeque::new(),
            is_sweeping: false,
            broken: None,
        }
    }

    /// Plants a fault.
    pub fn plant(&mut self, mutation: CommitterMutation) {
        self.broken = Some(mutation);
    }

    /// Name of the job.
    #[must_use]
    pub fn job(&self) -> &str {
        &self.fenced.published().job
    }

    /// The generation of the run.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.fenced.generation()
    }

    /// The newest of all manifests that this run has stored, without the one with which it took over.
    #[must_use]
    pub fn newest(&self) -> Option<Epoch> {
        self.has_stored.then_some(self.newest)
    }

    /// Checkpoints whose output is not published.
    #[must_use]
    pub fn behind(&self) -> usize {
        self.lanes.behind()
    }

    /// The sweep that deletes these manifests, and of what is neither retained nor spared now.
    #[must_use]
    pub fn sweep(&self, retired: Vec<Epoch>) -> Sweep {
        Sweep::new(retired, self.retention.clone(), self.spared(), self.generation())
    }

    /// What the manifests and savepoints need that are kept.
    #[must_use]
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// Objects of compactions, which may be on their way into a manifest.
    fn spared(&self) -> BTreeSet<String> {
        self.compactions.keys().cloned().collect()
    }

    /// What is to be done at the start, before the first event.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn begin(&mut self) -> Result<Vec<CommitterAction>, CommitterError> {
        self.pending.extend(self.fenced.begin());
        let mut actions = Vec::new();
        self.carry_out_pending(&mut actions)?;
        self.begin_sweep(&mut actions);
        Ok(actions)
    }

    /// Takes one event and answers with what is to be done.
    ///
    /// # Errors
    /// The run is over: nothing more may be done for it.
    pub fn step(&mut self, event: CommitterEvent) -> Result<Vec<CommitterAction>, CommitterError> {
        let mut actions = Vec::new();
        let due = match event {
            CommitterEvent::Reported(report) => self.fenced.tell(Event::Reported(report))?,
            CommitterEvent::Newest(generation) => self.fenced.newest(generation)?,
            CommitterEvent::Created(is_new) => {
                if let Some(manifest) = self.fenced.creating().filter(|_| is_new) {
                    (self.newest, self.has_stored) = (manifest.epoch, true);
                    // From here on, and not only from when its output is published: a sweep may begin at any time.
                    if self.broken != Some(CommitterMutation::ManifestNotNoted) {
                        self.retention.note(manifest);
                    }
                    self.ahead += 1;
                }
                self.fenced.created(is_new)?
            }
            CommitterEvent::LaneThrough { lane, epoch } => {
                let published = self.lanes.through(lane, epoch);
                self.published(published, &mut actions)?;
                Vec::new()
            }
            CommitterEvent::Compacted(compacted) => {
                if let Some(made) = self.compactions.get_mut(&compacted.object.path) {
                    // The manifest that is under way cannot name it yet; the one after it does.
                    *made = Some(self.newest.next());
                }
                self.fenced.tell(Event::Compacted(compacted))?
            }
            CommitterEvent::ChainDamaged(at) => self.fenced.tell(Event::ChainDamaged(at))?,
            CommitterEvent::SavepointAsked { name, epoch } => self.fenced.asked(name, epoch),
            CommitterEvent::SavepointCreated(is_new) => {
                self.savepoint_created(is_new, &mut actions);
                Vec::new()
            }
            CommitterEvent::NewestAfterSavepoint(theirs) => {
                self.saved(theirs, &mut actions)?;
                Vec::new()
            }
            CommitterEvent::Swept(gone) => {
                self.is_sweeping = false;
                self.retention.gone(&gone);
                Vec::new()
            }
        };
        self.pending.extend(due);
        self.carry_out_pending(&mut actions)?;
        Ok(actions)
    }

    /// Ends the work of a run that is done, once no compaction and no sweep is under way: gives the objects of compactions that no manifest
    /// will name, and manifests to delete with a last sweep, since the one before it may have begun before the last checkpoint. `gone`: what
    /// the sweep that was under way has deleted.
    pub fn end(&mut self, gone: &[Epoch]) -> (Vec<String>, Vec<Epoch>) {
        self.retention.gone(gone);
        let mut needless = std::mem::take(&mut self.compactions).into_keys().collect::<Vec<_>>();
        needless.retain(|path| !self.retention.needs(path));
        (needless, self.retire())
    }

    fn carry_out_pending(&mut self, actions: &mut Vec<CommitterAction>) -> Result<(), CommitterError> {
        while self.saving.is_none()
            && let Some(action) = self.pending.pop_front()
        {
            self.carry_out(action, actions)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, action: FencedAction, actions: &mut Vec<CommitterAction>) -> Result<(), CommitterError> {
        actions.push(match action {
            FencedAction::Look => CommitterAction::Look,
            FencedAction::Create(manifest) => CommitterAction::Create(manifest),
            FencedAction::Do(Action::Completed(epoch)) => CommitterAction::Completed(epoch),
            FencedAction::Do(Action::AskFull(at)) => CommitterAction::AskFull(at),
            FencedAction::Do(Action::Done { finished }) => CommitterAction::Done { finished },
            FencedAction::Do(Action::Write(_) | Action::Publish { .. }) => return Ok(()),
            FencedAction::Publish { manifest, staged } => {
                let epoch = manifest.epoch;
                let (outputs, published) = self.lanes.publish(*manifest, staged);
                actions.extend(outputs.into_iter().map(CommitterAction::Publish));
                self.compactions.retain(|_, made| made.is_none_or(|made| epoch <= made));
                self.begin_sweep(actions);
                return self.published(published, actions);
            }
            FencedAction::Do(Action::Compact(compaction)) => {
                self.compactions.insert(compaction.path(), None);
                CommitterAction::Compact(compaction)
            }
            FencedAction::Save { name, manifest } => {
                let Some(path) = paths::savepoint(&name) else { return Ok(()) };
                self.saving = Some(Saving { name, path: path.clone(), manifest: manifest.clone(), is_new: false });
                CommitterAction::CreateSavepoint { path, manifest }
            }
        });
        Ok(())
    }

    /// All output of these manifests is published.
    fn published(&mut self, manifests: Vec<Manifest>, actions: &mut Vec<CommitterAction>) -> Result<(), CommitterError> {
        for manifest in manifests {
            let epoch = manifest.epoch;
            actions.push(CommitterAction::Published(Box::new(manifest)));
            self.pending.extend(self.fenced.tell(Event::Published(epoch))?);
            self.ahead = self.ahead.saturating_sub(1);
            self.begin_sweep(actions);
        }
        Ok(())
    }

    fn savepoint_created(&mut self, is_new: bool, actions: &mut Vec<CommitterAction>) {
        let Some(saving) = &mut self.saving else { return };
        saving.is_new = is_new;
        match is_new {
            true => self.retention.hold(&saving.name, &saving.manifest),
            // What another host has just stored under this name cannot be known.
            false => self.retention.hold_unread(&saving.name),
        }
        actions.push(CommitterAction::LookAfterSavepoint);
    }

    /// A host that had claimed the job before the savepoint was there may not have seen it, and may delete what it needs. One that claims the
    /// job from now on holds it.
    fn saved(&mut self, theirs: Generation, actions: &mut Vec<CommitterAction>) -> Result<(), CommitterError> {
        let Some(Saving { name, path, manifest, is_new, .. }) = self.saving.take() else { return Ok(()) };
        if theirs <= self.generation() {
            actions.push(CommitterAction::Saved { name, manifest, is_new });
            return Ok(());
        }
        self.pending.clear();
        if !is_new {
            return Err(CommitterError::Fenced { theirs });
        }
        // The look finds the newer claim again, and ends the run.
        actions.extend([CommitterAction::Remove(path), CommitterAction::Look]);
        Ok(())
    }

    /// Begins a sweep, unless one is under way.
    fn begin_sweep(&mut self, actions: &mut Vec<CommitterAction>) {
        let waits = self.saving.is_some() && self.broken != Some(CommitterMutation::SweepBesideSavepoint);
        if !waits && !std::mem::replace(&mut self.is_sweeping, true) {
            actions.push(CommitterAction::Sweep(self.retire()));
        }
    }

    /// Manifests to delete. Those that are ahead of their output come on top of those that are kept: what counts as the newest checkpoint until
    /// then, for savepoints too, must stay.
    fn retire(&mut self) -> Vec<Epoch> {
        let ahead = if self.broken == Some(CommitterMutation::AheadIgnored) { 0 } else { self.ahead };
        self.retention.retire(self.keep + ahead)
    }
}

#[cfg(test)]
mod tests;
