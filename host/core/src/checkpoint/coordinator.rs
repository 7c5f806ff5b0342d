//! When a checkpoint is complete, and what it says: the decisions of the checkpoint protocol, without its I/O.
//!
//! Every instance of every source, operator and sink is a participant. It reports each epoch once, in order, after what it has to
//! say is durable; a participant that has come to its end closes with its last report, which then stands for all later epochs.
//!
//! ```text
//! Reported(e) from all ──> Write(manifest e) ──> Stored(e) ──> Publish(e), Completed(e) ──> Published(e)
//!                                                             all closed and published ──> Done
//! ```
//! Invariants:
//! 1. A manifest is written only after every participant reported its epoch.
//! 2. Manifests are written one at a time, in the order of epochs.
//! 3. Output is published only after the manifest that names it is stored; until it is known to be published, every later
//!    manifest names it again.
//! 4. A chain is shortened only by a full snapshot made of exactly the objects that it replaces.

use super::chain::ChainLimits;
pub use super::compaction::{CompactedChain, Compaction};
use super::layout::start_state;
pub use super::layout::{Layout, OperatorLayout, Participant, beginning};
use super::manifest::{InstanceState, Manifest, ObjectRef, OperatorState, SinkState, StagedRef};
use super::report::apply;
pub use super::report::{Content, Report};
use crate::ids::Epoch;
pub use crate::topology::Node;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Checkpoints whose output is not yet published: with so many of them no further manifest is written until a sink has caught up. Each later
/// manifest names their output again.
pub const UNPUBLISHED_MAX: usize = 128;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A participant reported.
    Reported(Report),
    /// The manifest of this epoch is stored.
    Stored(Epoch),
    /// All output that the manifest of this epoch names is published.
    Published(Epoch),
    /// A chain was compacted.
    Compacted(CompactedChain),
    /// An object of a chain that was to be compacted is damaged or gone: a new full snapshot must replace the chain.
    ChainDamaged(Participant),
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Store this manifest with put-if-absent, then tell [`Event::Stored`]. The fields `written_ms` is for the caller to fill.
    Write(Box<Manifest>),
    /// Publish these, then tell [`Event::Published`].
    Publish {
        /// The epoch whose manifest allows it.
        epoch: Epoch,
        /// What: the sink's place in the topology file, and its staged output.
        staged: Vec<(usize, StagedRef)>,
    },
    /// The epoch is behind us: sources may go further.
    Completed(Epoch),
    /// Carry out this compaction, then tell [`Event::Compacted`] or [`Event::ChainDamaged`].
    Compact(Box<Compaction>),
    /// Let the next snapshot of this instance be a full one.
    AskFull(Participant),
    /// The last checkpoint is stored and published.
    Done {
        /// All input had ended.
        finished: bool,
    },
}

/// A participant broke the protocol: a fault of the host itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint protocol: {participant:?} reported epoch {reported}, {expected} was due: {why}")]
pub struct Violation {
    /// Who.
    pub participant: Participant,
    /// What it reported.
    pub reported: Epoch,
    /// What was due.
    pub expected: Epoch,
    /// In words.
    pub why: &'static str,
}

#[derive(Debug, Default)]
struct Progress {
    next: Epoch,
    closed: bool,
    waiting: BTreeMap<Epoch, Report>,
}

/// The coordinator of one run: takes the reports of its participants, and says when a checkpoint is complete.
#[derive(Debug)]
pub struct Coordinator {
    participants: BTreeMap<Participant, Progress>,
    /// The checkpoint as of the last epoch folded in; its `epoch` and `parent` are set when it is written.
    state: Manifest,
    /// Sources that closed because their input ended, by participant.
    ended: usize,
    sources: usize,
    /// The next epoch to complete.
    next: Epoch,
    ready: VecDeque<Manifest>,
    /// The manifest on its way to storage.
    writing: Option<Manifest>,
    chain_limits: ChainLimits,
    /// Whose chains are being compacted.
    compacting: BTreeSet<Participant>,
    stored: Option<Epoch>,
    /// The newest epoch that was said to be behind us.
    behind: Epoch,
    unpublished: usize,
    done: bool,
}

impl Coordinator {
    /// Begins a run at `first`, from the checkpoint `base` or afresh. With another number of instances than in `base`, or with other slots,
    /// an operator must begin with a full snapshot; its chains start empty then.
    #[must_use]
    pub fn new(layout: Layout, first: Epoch, base: Option<&Manifest>) -> Self {
        let participants = layout.participants().map(|at| (at, Progress { next: first, ..Progress::default() })).collect();
        let sources = layout.sources.len() * layout.workers as usize;
        let parent = base.map(|b| b.epoch);
        let chain_limits = layout.chain;
        Self {
            chain_limits,
            compacting: BTreeSet::new(),
            participants,
            state: start_state(layout, base),
            ended: 0,
            sources,
            next: first,
            ready: VecDeque::new(),
            writing: None,
            stored: parent,
            behind: Epoch(first.0.saturating_sub(1)),
            unpublished: 0,
            done: false,
        }
    }

    /// Takes one event and answers with what is to be done, in this order.
    ///
    /// # Errors
    /// A report that is out of order: a fault of the host, the run must stop.
    pub fn step(&mut self, event: Event) -> Result<Vec<Action>, Violation> {
        let mut actions = Vec::new();
        match event {
            Event::Reported(report) => {
                self.note(report)?;
                while !self.finished_folding() && self.all_reported(self.next) {
                    self.fold();
                }
            }
            Event::Stored(epoch) => self.on_stored(epoch, &mut actions),
            Event::Published(epoch) => {
                self.unpublished = self.unpublished.saturating_sub(1);
                for sink in &mut self.state.sinks {
                    sink.staged.retain(|staged| staged.epoch > epoch);
                }
                for manifest in &mut self.ready {
                    for sink in &mut manifest.sinks {
                        sink.staged.retain(|staged| staged.epoch > epoch);
                    }
                }
            }
            Event::Compacted(compacted) => {
                self.compacting.remove(&compacted.at);
                for manifest in std::iter::once(&mut self.state).chain(&mut self.ready) {
                    shorten(manifest, &compacted);
                }
            }
            Event::ChainDamaged(at) => {
                self.compacting.remove(&at);
                actions.push(Action::AskFull(at));
            }
        }
        self.write_next(&mut actions);
        self.tell_behind(&mut actions);
        if !self.done && self.finished_folding() && self.ready.is_empty() && self.writing.is_none() && self.unpublished == 0 {
            self.done = true;
            actions.push(Action::Done { finished: self.has_finished() });
        }
        Ok(actions)
    }

    fn note(&mut self, report: Report) -> Result<(), Violation> {
        let (participant, reported) = (report.from, report.epoch);
        let violation = |expected, why| Violation { participant, reported, expected, why };
        let Some(progress) = self.participants.get_mut(&participant) else {
            return Err(violation(self.next, "there is no such participant"));
        };
        if progress.closed {
            return Err(violation(progress.next, "it had closed"));
        }
        if reported != progress.next {
            return Err(violation(progress.next, "epochs are reported once and in order"));
        }
        progress.next = reported.next();
        progress.closed = report.closed;
        if let Content::Source { ended: true, .. } = report.content {
            self.ended += usize::from(report.closed);
        }
        progress.waiting.insert(reported, report);
        Ok(())
    }

    fn all_reported(&self, epoch: Epoch) -> bool {
        self.participants.values().all(|p| p.closed || p.next > epoch)
    }

    /// Every participant has closed and every report is in the state.
    fn finished_folding(&self) -> bool {
        self.participants.values().all(|p| p.closed && p.waiting.is_empty())
    }

    /// All input has ended, and none of it waits for an operator.
    fn has_finished(&self) -> bool {
        self.ended == self.sources && !self.state.has_parked()
    }

    /// Puts the reports of the next epoch into the state, and queues its manifest. No epoch is left out: a host that was fenced off would
    /// write the next number, and must find it taken.
    fn fold(&mut self) {
        let epoch = self.next;
        self.next = epoch.next();
        for instance in self.state.operators.iter_mut().flat_map(|o| &mut o.instances) {
            instance.quarantine.clear();
        }
        self.state.sources.iter_mut().for_each(|s| s.quarantine.clear());
        let reports: Vec<_> = self.participants.values_mut().filter_map(|p| p.waiting.remove(&epoch)).collect();
        for report in reports {
            apply(&mut self.state, report);
        }
        let last = self.finished_folding();
        let mut manifest = self.state.clone();
        manifest.epoch = epoch;
        manifest.finished = last && self.has_finished();
        self.ready.push_back(manifest);
    }

    /// An epoch is behind us once it is folded in and no manifest of it or of an earlier one is still to be stored.
    fn tell_behind(&mut self, actions: &mut Vec<Action>) {
        let writing = self.writing.as_ref().map(|manifest| manifest.epoch);
        let open = writing.or(self.ready.front().map(|m| m.epoch)).unwrap_or(self.next);
        let behind = Epoch(open.0.saturating_sub(1));
        if behind > self.behind {
            self.behind = behind;
            actions.push(Action::Completed(behind));
        }
    }

    fn write_next(&mut self, actions: &mut Vec<Action>) {
        if self.writing.is_some() || self.unpublished >= UNPUBLISHED_MAX || self.ready.front().is_some_and(|next| self.must_wait(next)) {
            return;
        }
        if let Some(mut manifest) = self.ready.pop_front() {
            manifest.parent = self.stored;
            self.writing = Some(manifest.clone());
            actions.push(Action::Write(Box::new(manifest)));
        }
    }

    /// A chain of this manifest has outrun its compaction.
    fn must_wait(&self, manifest: &Manifest) -> bool {
        self.compacting.iter().any(|at| chain_of(manifest, *at).is_some_and(|chain| self.chain_limits.is_over(chain)))
    }

    fn on_stored(&mut self, epoch: Epoch, actions: &mut Vec<Action>) {
        let Some(manifest) = self.writing.take_if(|writing| writing.epoch == epoch) else { return };
        self.stored = Some(epoch);
        self.unpublished += 1;
        let staged = |(sink, state): (usize, &SinkState)| state.staged.iter().map(move |staged| (sink, staged.clone())).collect::<Vec<_>>();
        actions.push(Action::Publish { epoch, staged: manifest.sinks.iter().enumerate().flat_map(staged).collect() });
        if !manifest.finished {
            self.compact(&manifest, actions);
        }
    }

    /// Compactions that are due at the start: those of runs that end before they are done would never be made otherwise. `base`: the
    /// checkpoint that the run began with.
    #[must_use]
    pub fn begin(&mut self, base: &Manifest) -> Vec<Action> {
        let mut actions = Vec::new();
        // Its chains as this run has them: with other slots or other numbers of instances they begin anew.
        let begun = Manifest { epoch: base.epoch, ..self.state.clone() };
        self.compact(&begun, &mut actions);
        actions
    }

    fn compact(&mut self, manifest: &Manifest, actions: &mut Vec<Action>) {
        if self.chain_limits.length_max == 0 {
            return;
        }
        for (place, operator) in manifest.operators.iter().enumerate() {
            for (instance, state) in (0..).zip(&operator.instances) {
                let at = Participant { node: Node::Operator(place), instance };
                if self.chain_limits.is_due(&state.chain) && self.compacting.insert(at) {
                    let OperatorState { name, component, slots, .. } = operator;
                    let (name, slots) = (name.clone(), slots.clone());
                    actions.push(Action::Compact(Box::new(Compaction {
                        job: manifest.job.clone(),
                        generation: manifest.generation,
                        at,
                        epoch: manifest.epoch,
                        operator: OperatorState { name, component: *component, slots, instances: vec![] },
                        chain: state.chain.clone(),
                    })));
                }
            }
        }
    }
}

fn chain_of(manifest: &Manifest, at: Participant) -> Option<&Vec<ObjectRef>> {
    let Node::Operator(place) = at.node else { return None };
    Some(&manifest.operators.get(place)?.instances.get(at.instance as usize)?.chain)
}

/// Puts a full snapshot in the place of the beginning of a chain. A chain that has begun anew meanwhile stays as it is.
fn shorten(manifest: &mut Manifest, CompactedChain { at, last, object }: &CompactedChain) {
    let Node::Operator(place) = at.node else { return };
    let instance = manifest.operators.get_mut(place).and_then(|o| o.instances.get_mut(at.instance as usize));
    let Some(InstanceState { chain, .. }) = instance else { return };
    if let Some(end) = chain.iter().position(|link| link.path == *last) {
        chain.splice(..=end, [object.clone()]);
    }
}

#[cfg(test)]
mod tests;
