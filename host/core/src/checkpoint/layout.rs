//! The layout of a run: its nodes and their instances, which stay the same from its first epoch to its last. And the state that a run begins with.

use super::chain::ChainLimits;
use super::manifest::{InstanceState, Manifest, OperatorState, ParkedRef, SinkState, SourceState, SplitPosition};
use super::parked;
use crate::description::Slot;
use crate::ids::{Digest, Epoch, Generation};
use crate::topology::Node;

/// One instance of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Participant {
    /// The node.
    pub node: Node,
    /// Index of the instance.
    pub instance: u32,
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
    /// Names of the sources, each with all of its splits: also those that no instance has begun to read, which would be lost otherwise.
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

/// The state that a run starts from: that of its base, laid out for this run.
pub(super) fn start_state(layout: Layout, base: Option<&Manifest>) -> Manifest {
    let operators = layout.operators.into_iter().map(|OperatorLayout { name, component, slots, instances }| {
        let old = base.and_then(|b| b.operators.iter().find(|o| o.name == name));
        let (count, instances_now) = (instances as usize, instances);
        let is_same = old.is_some_and(|o| o.slots == slots && o.instances.len() == count);
        let instances = (0..count).map(|index| match old.and_then(|o| o.instances.get(index)) {
            Some(instance) if is_same => InstanceState { quarantine: vec![], ..instance.clone() },
            Some(instance) => InstanceState { rows: instance.rows, rejected: instance.rejected, ..fresh_instance() },
            None => fresh_instance(),
        });
        let mut instances: Vec<InstanceState> = instances.collect();
        for (instance, parked) in instances.iter_mut().zip(old.map(|old| parked_for(old, instances_now)).into_iter().flatten()) {
            instance.parked = parked;
        }
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

/// The parked input of an operator, for so many instances.
#[must_use]
pub fn parked_for(old: &OperatorState, instances: u32) -> Vec<Vec<ParkedRef>> {
    let parked: Vec<Vec<ParkedRef>> = old.instances.iter().map(|instance| instance.parked.clone()).collect();
    if parked.len() == instances as usize { parked } else { parked::deal(&parked, instances) }
}

fn fresh_instance() -> InstanceState {
    InstanceState { watermark: i64::MIN, ..InstanceState::default() }
}
