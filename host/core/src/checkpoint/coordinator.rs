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
use super::manifest::{InstanceState, Manifest, ObjectRef, OperatorState, SinkState, SourceState, SplitPosition, StagedRef};
use crate::codec::snapshot::SnapshotScope;
use crate::description::Slot;
use crate::ids::{Digest, Epoch, Generation};
pub use crate::topology::Node;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Checkpoints whose output is not yet published: with so many of them no further manifest is written until a sink has caught up. Each later
/// manifest names their output again.
pub const UNPUBLISHED_MAX: usize = 128;

/// One instance of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Participant {
    /// The node.
    pub node: Node,
    /// Index of the instance.
    pub instance: u32,
}

/// What one participant has to say of one epoch. All of it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who.
    pub from: Participant,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Nothing more will come.
    pub closed: bool,
    /// What.
    pub content: Content,
}

/// The content of a report. Numbers of rows are those of this epoch alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// From a source.
    Source {
        /// Splits that moved.
        splits: Vec<SplitPosition>,
        /// Rows read.
        rows: u64,
        /// Rows refused.
        rejected: u64,
        /// Where the refused rows are.
        quarantine: Vec<ObjectRef>,
        /// With `closed`: the input has ended, as against a request to stop.
        ended: bool,
    },
    /// From an operator.
    Operator {
        /// Its snapshot; `None` where no cell changed.
        snapshot: Option<ObjectRef>,
        /// The watermark it was told last.
        watermark: i64,
        /// Rows worked on.
        rows: u64,
        /// Rows refused.
        rejected: u64,
        /// Where the refused rows are.
        quarantine: Vec<ObjectRef>,
    },
    /// From a sink.
    Sink {
        /// Its staged output; `None` where there is none.
        staged: Option<StagedRef>,
        /// Rows written.
        rows: u64,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A participant reported.
    Reported(Report),
    /// The manifest of this epoch is stored.
    Stored(Epoch),
    /// All output that the manifest of this epoch names is published.
    Published(Epoch),
    /// A chain was compacted: `object` has the cells of everything in it up to and with the object at the path `last`.
    Compacted {
        /// Whose chain.
        at: Participant,
        /// The last object that is replaced.
        last: String,
        /// What replaces it and all before it.
        object: ObjectRef,
    },
    /// A chain could not be compacted. It is tried again after a later checkpoint.
    NotCompacted {
        /// Whose chain.
        at: Participant,
        /// An object of it is damaged or gone: a new full snapshot must replace the chain.
        damaged: bool,
    },
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
    /// Fold these objects into a full snapshot named after the epoch, then tell [`Event::Compacted`] or [`Event::NotCompacted`].
    Compact {
        /// Whose chain.
        at: Participant,
        /// The newest checkpoint that has this chain.
        epoch: Epoch,
        /// The operator, as that checkpoint has it; without its instances.
        operator: OperatorState,
        /// The chain, as that checkpoint has it.
        chain: Vec<ObjectRef>,
    },
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

/// What stays the same over a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The job.
    pub job: String,
    /// This run.
    pub generation: Generation,
    /// Random number of this run.
    pub writer: u64,
    /// Digest of the topology.
    pub topology: Digest,
    /// Instances of every source and sink.
    pub workers: u32,
    /// The operators.
    pub operators: Vec<OperatorLayout>,
    /// Names of the sources, each with all of its splits: also those that nobody has begun to read, which would be lost otherwise.
    pub sources: Vec<(String, Vec<SplitPosition>)>,
    /// Names of the sinks.
    pub sinks: Vec<String>,
    /// How long chains may get.
    pub chain: ChainLimits,
}

/// What stays the same of an operator over a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorLayout {
    /// Its name.
    pub name: String,
    /// Its component.
    pub component: Digest,
    /// Its slots.
    pub slots: Vec<Slot>,
    /// How many instances it has over all workers.
    pub instances: u32,
}

impl Layout {
    /// Everybody who reports.
    pub fn participants(&self) -> impl Iterator<Item = Participant> {
        let each = |node, instances| (0..instances).map(move |instance| Participant { node, instance });
        let sources = (0..self.sources.len()).flat_map(move |place| each(Node::Source(place), self.workers));
        let operators = self.operators.iter().enumerate();
        let operators = operators.flat_map(move |(place, operator)| each(Node::Operator(place), operator.instances));
        sources.chain(operators).chain((0..self.sinks.len()).flat_map(move |place| each(Node::Sink(place), self.workers)))
    }
}

#[derive(Debug, Default)]
struct Progress {
    next: Epoch,
    closed: bool,
    waiting: BTreeMap<Epoch, Report>,
}

/// The coordinator of one run. See the module.
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
            Event::Compacted { at, last, object } => {
                self.compacting.remove(&at);
                for manifest in std::iter::once(&mut self.state).chain(&mut self.ready) {
                    shorten(manifest, at, &last, &object);
                }
            }
            Event::NotCompacted { at, damaged } => {
                self.compacting.remove(&at);
                if damaged {
                    actions.push(Action::AskFull(at));
                }
            }
        }
        self.write_next(&mut actions);
        self.tell_behind(&mut actions);
        if !self.done && self.finished_folding() && self.ready.is_empty() && self.writing.is_none() && self.unpublished == 0 {
            self.done = true;
            actions.push(Action::Done { finished: self.ended == self.sources });
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
        manifest.finished = last && self.ended == self.sources;
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
                    let operator =
                        OperatorState { name: operator.name.clone(), slots: operator.slots.clone(), instances: vec![], ..*operator };
                    actions.push(Action::Compact { at, epoch: manifest.epoch, operator, chain: state.chain.clone() });
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
fn shorten(manifest: &mut Manifest, at: Participant, last: &str, object: &ObjectRef) {
    let Node::Operator(place) = at.node else { return };
    let instance = manifest.operators.get_mut(place).and_then(|o| o.instances.get_mut(at.instance as usize));
    let Some(InstanceState { chain, .. }) = instance else { return };
    if let Some(end) = chain.iter().position(|link| link.path == last) {
        chain.splice(..=end, [object.clone()]);
    }
}

/// The state that a run starts from: that of its base, laid out for this run.
fn start_state(layout: Layout, base: Option<&Manifest>) -> Manifest {
    let operators = layout.operators.into_iter().map(|OperatorLayout { name, component, slots, instances }| {
        let old = base.and_then(|b| b.operators.iter().find(|o| o.name == name));
        let count = instances as usize;
        let is_same = old.is_some_and(|o| o.slots == slots && o.instances.len() == count);
        let instances = (0..count).map(|index| match old.and_then(|o| o.instances.get(index)) {
            Some(instance) if is_same => InstanceState { quarantine: vec![], ..instance.clone() },
            Some(instance) => InstanceState { rows: instance.rows, rejected: instance.rejected, ..fresh_instance() },
            None => fresh_instance(),
        });
        let mut instances: Vec<InstanceState> = instances.collect();
        // Counts of instances that are no more live on in the first one.
        for gone in old.into_iter().flat_map(|o| o.instances.iter().skip(count)) {
            let Some(first) = instances.first_mut() else { break };
            first.rows += gone.rows;
            first.rejected += gone.rejected;
        }
        OperatorState { instances, name, component, slots }
    });
    let sources = layout.sources.into_iter().map(|(name, mut splits)| {
        splits.sort_by(|a, b| a.split.cmp(&b.split));
        let old = base.and_then(|b| b.sources.iter().find(|s| s.name == name));
        let (rows, rejected) = old.map_or((0, 0), |s| (s.rows, s.rejected));
        SourceState { name, splits, rows, rejected, quarantine: vec![] }
    });
    let sinks = layout.sinks.into_iter().map(|name| {
        let rows = base.and_then(|b| b.sinks.iter().find(|s| s.name == name)).map_or(0, |s| s.rows);
        SinkState { name, staged: vec![], rows }
    });
    Manifest {
        operators: operators.collect(),
        sources: sources.collect(),
        sinks: sinks.collect(),
        job: layout.job,
        epoch: Epoch(0),
        generation: layout.generation,
        writer: layout.writer,
        topology: layout.topology,
        workers: layout.workers,
        ..Manifest::default()
    }
}

/// The manifest with which the first run of a job begins: no state, and no split begun.
#[must_use]
pub fn beginning(layout: Layout, epoch: Epoch) -> Manifest {
    let mut manifest = start_state(layout, None);
    manifest.sources.iter_mut().for_each(|s| s.splits.clear());
    Manifest { epoch, taken_over: true, ..manifest }
}

fn fresh_instance() -> InstanceState {
    InstanceState { watermark: i64::MIN, ..InstanceState::default() }
}

/// Puts one report into the state.
fn apply(state: &mut Manifest, report: Report) {
    let index = report.from.instance as usize;
    match (report.from.node, report.content) {
        (Node::Source(place), Content::Source { splits, rows, rejected, quarantine, .. }) => {
            let Some(source) = state.sources.get_mut(place) else { return };
            for split in splits {
                match source.splits.binary_search_by(|known| known.split.cmp(&split.split)) {
                    Ok(at) if split.has_ended() => drop(source.splits.remove(at)),
                    Err(_) if split.has_ended() => {}
                    Ok(at) => source.splits[at] = split,
                    Err(at) => source.splits.insert(at, split),
                }
            }
            source.rows += rows;
            source.rejected += rejected;
            source.quarantine.extend(quarantine);
        }
        (Node::Operator(place), Content::Operator { snapshot, watermark, rows, rejected, quarantine }) => {
            let Some(instance) = state.operators.get_mut(place).and_then(|o| o.instances.get_mut(index)) else { return };
            if let Some(object) = snapshot {
                if object.scope == SnapshotScope::Full {
                    instance.chain.clear();
                }
                instance.chain.push(object);
            }
            instance.watermark = watermark;
            instance.rows += rows;
            instance.rejected += rejected;
            instance.quarantine.extend(quarantine);
        }
        (Node::Sink(place), Content::Sink { staged, rows }) => {
            let Some(sink) = state.sinks.get_mut(place) else { return };
            sink.rows += rows;
            sink.staged.extend(staged);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
