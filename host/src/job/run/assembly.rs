//! What an attempt is made of: the seats of its workers, its recorder, its dataflow and its committer, opened and wired.

use super::attempt::{Job, Readers, Splits, cannot_start};
use crate::connect::{self, RowEncoding};
use crate::engine::{
    self, Control, DataflowSpec, InFlight, OperatorSpec, SharedCircuitBreaker, SinkAssignment, SourceAssignment, SourceLimits,
    WorkerAssignment,
};
use crate::job::capsule::Origin;
use crate::job::committer::{CommitterContext, CommitterDriver, Housekeeping, NamedSink, Publisher, Requests};
use crate::job::compact::Compactor;
use crate::job::error::Error;
use crate::job::notice::Notice;
use crate::job::operator_requests::OperatorDesk;
use crate::job::parked::ParkedInput;
use crate::job::prepare;
use crate::job::recorder::{self, Recorded, Recorder};
use crate::job::recovery::{self, LoadedCheckpoint};
use crate::job::replay::{ReplayWatcher, Replays};
use crate::job::store_retry::RetryingStore;
use reprise_core::checkpoint::chain::ChainLimits;
use reprise_core::checkpoint::committer::{Committer, CommitterEvent};
use reprise_core::checkpoint::coordinator::{Layout, OperatorLayout, Participant};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::recovery::RecoveredJob;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::failure::window::Window;
use reprise_core::ids::{Digest, Epoch, Generation};
use reprise_core::keying;
use reprise_core::operator::SegmentState;
use reprise_core::topology::{Node, OnFailure, Operator, SourceKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Job {
    pub(super) fn encoding(&self, from: Node, port: u32) -> RowEncoding {
        let plan = self.plan();
        match from {
            Node::Source(index) => connect::source_encoding(&plan.topology.sources[index].kind),
            Node::Operator(index) => {
                let port = &plan.descriptions[index].outputs[port as usize];
                RowEncoding { key: port.key, value: port.value }
            }
            Node::Sink(_) => unreachable!("a plan has no edge out of a sink"),
        }
    }

    pub(super) fn seats(
        &self,
        (readers, replays): (Readers, &Replays),
        sinks: &[NamedSink],
        generation: Generation,
        (mut checkpoint, mut waiting): (Option<&mut LoadedCheckpoint>, BTreeMap<Participant, Vec<SegmentState>>),
    ) -> Result<Vec<WorkerAssignment>, Error> {
        let (topology, workers) = (&self.plan().topology, self.options.workers);
        let mut seats: Vec<WorkerAssignment> = (0..workers).map(|_| WorkerAssignment::default()).collect();
        for (index, (name, readers)) in self.sources(replays).zip(readers).enumerate() {
            for (seat, reader) in seats.iter_mut().zip(readers) {
                let idle_after = topology.sources.get(index).and_then(|source| match &source.kind {
                    SourceKind::File(file) => file.idle_after,
                });
                seat.sources.push(SourceAssignment { name: name.clone(), index, reader, idle_after });
            }
        }
        for (index, NamedSink { name, sink }) in sinks.iter().enumerate() {
            for (instance, seat) in seats.iter_mut().enumerate() {
                let writer = sink.writer(instance as u32, generation.0).map_err(cannot_start("sink", name))?;
                seat.sinks.push(SinkAssignment { name: name.clone(), index, writer });
            }
        }
        if let Some(checkpoint) = checkpoint.as_mut() {
            for (place, (operator, description)) in topology.operators.iter().zip(&self.plan().descriptions).enumerate() {
                let instances = operator.instances(workers);
                let mut states = checkpoint.state_of(&operator.name, description, instances)?;
                for (restored, instance) in states.iter_mut().zip(0..) {
                    restored.parked = waiting.remove(&Participant { node: Node::Operator(place), instance }).unwrap_or_default();
                }
                let mut states = states.into_iter();
                for (seat, index) in seats.iter_mut().zip(0..) {
                    let local = keying::of_worker(index, instances, workers);
                    seat.restored.push(states.by_ref().take(local.len()).collect());
                }
            }
        }
        Ok(seats)
    }

    pub(super) fn control(&self, first_epoch: Epoch, replays: &Replays) -> Arc<Control> {
        let (topology, workers) = (&self.plan().topology, self.options.workers);
        let nodes = (topology.sources.len() + replays.len(), topology.sinks.len());
        let guard = |operator: &Operator| SharedCircuitBreaker::new(window(&operator.on_failure), operator.instances(workers) as usize);
        let breakers = topology.operators.iter().map(|operator| Arc::new(guard(operator))).collect();
        Arc::new(Control::new(first_epoch, workers as usize, topology.checkpoint.uncheckpointed_bytes_max, nodes, breakers))
    }

    pub(super) fn recorder(
        &self,
        layout: &Layout,
        store: &RetryingStore,
        replays: &Replays,
        parked: &Arc<ParkedInput>,
    ) -> (engine::Reporter, Recorded) {
        let topology = &self.plan().topology;
        let recorder = Recorder {
            store: store.clone(),
            job: topology.name.clone(),
            generation: layout.generation,
            sources: self.sources(replays).collect(),
            operators: topology.operators.iter().map(|o| o.name.clone()).collect(),
            origins: (0..topology.operators.len()).map(|place| Arc::new(self.origin(place))).collect(),
            components: topology.operators.iter().map(|_| tokio::sync::OnceCell::new()).collect(),
            parked: Arc::clone(parked),
        };
        // One more for the epoch that begins while the last one is still under way, and one for the closing report; each may have a segment of
        // parked input before it, and there may be others.
        let waiting = (topology.checkpoint.epochs_in_flight_max as usize + 2) * 2 + engine::SEGMENTS_UNDER_WAY_MAX;
        recorder::start(recorder, layout.participants().collect(), waiting)
    }

    /// What the capsules of an operator, given by its place, have in common.
    pub(super) fn origin(&self, place: usize) -> Origin {
        let topology = &self.plan().topology;
        let operator = &topology.operators[place];
        Origin {
            job: topology.name.clone(),
            operator: operator.name.clone(),
            line: operator.line as u32,
            config: operator.config.clone(),
            digest: self.prepared.components[place].digest(),
            component: Arc::clone(&self.prepared.component_bytes[place]),
            limits: prepare::limits_of(operator),
            stack_bytes_max: topology.limits.stack_bytes_max,
            fuel: operator.fuel,
            grants: (
                operator.grant.variables.iter().map(|(name, _)| name.clone()).collect(),
                operator.grant.folders.iter().map(|folder| folder.guest.clone()).collect(),
            ),
            bytes_max: operator.on_failure.capsule_bytes_max,
        }
    }

    pub(super) fn blueprint(
        &self,
        first_epoch: Epoch,
        control: &Arc<Control>,
        (reporter, parked_reader): (engine::Reporter, engine::ParkedReader),
        replays: &Replays,
    ) -> DataflowSpec {
        let topology = &self.plan().topology;
        let watch = Arc::clone(&self.options.watch);
        let events: engine::OperatorEvents = Arc::new(move |event| watch(Notice::Operator(event)));
        let operators = topology.operators.iter().enumerate().map(|(index, operator)| {
            Arc::new(OperatorSpec {
                job: topology.name.clone(),
                settings: operator.clone(),
                component: self.prepared.components[index].clone(),
                description: self.plan().descriptions[index].clone(),
                limits: prepare::limits_of(operator),
                part_bytes_max: u32::try_from(topology.checkpoint.part_bytes_max).unwrap_or(u32::MAX),
                chain_length_max: topology.checkpoint.chain_length_max,
                breaker: Arc::clone(&control.breakers[index]),
                events: Arc::clone(&events),
            })
        });
        DataflowSpec {
            plan: replays.extend(self.plan().clone()),
            first_epoch,
            operators: operators.collect(),
            source_limits: SourceLimits {
                interval: topology.checkpoint.interval.max(Duration::from_millis(1)),
                epochs_in_flight_max: topology.checkpoint.epochs_in_flight_max,
                steps_ahead_max: topology.flow.steps_ahead_max,
                bytes_ahead_max: topology.flow.bytes_ahead_max,
            },
            in_flight: Arc::new(InFlight::new(topology.operators.len(), self.options.workers, topology.flow.emitted_ahead_bytes_max)),
            control: Arc::clone(control),
            reporter,
            parked_reader,
            align_max: topology.checkpoint.align_max,
            clock: self.options.clock.clone(),
        }
    }

    /// The committer of a run that took over with `taken`, whose output was published just now.
    pub(super) async fn committer(&self, layout: Layout, up: &RecoveredJob, taken: &Manifest) -> Result<Committer, Error> {
        let savepoints = recovery::savepoints(&self.store, &self.plan().topology.name).await?;
        for (name, read) in &savepoints {
            if let Err(reason) = read {
                tracing::warn!(savepoint = name, reason, "a savepoint cannot be read; no snapshot is deleted while it is there");
            }
        }
        let keep = self.plan().topology.checkpoint.keep as usize;
        Ok(Committer::new(layout, taken, Retention::of_run(up, &savepoints), keep))
    }

    /// The driver of the committer. `replays`: tells when to end for rows that the next run sends again, where this one ends for any.
    pub(super) fn driver(
        &self,
        committer: Committer,
        publisher: Publisher,
        store: RetryingStore,
        control: &Arc<Control>,
        replays: Option<ReplayWatcher>,
    ) -> CommitterDriver {
        let (topology, generation, watch) = (&self.plan().topology, committer.generation(), Arc::clone(&self.options.watch));
        let desk = OperatorDesk::new(topology, generation, Arc::clone(control), Arc::clone(&watch));
        let context = CommitterContext { control: Arc::clone(control), clock: self.options.clock.clone(), watch };
        let last = |name: &String| CommitterEvent::SavepointAsked { name: name.clone(), epoch: Epoch(u64::MAX) };
        CommitterDriver {
            compactor: Compactor::new(store.clone()),
            requests: Requests::new(topology.checkpoint.savepoint_poll, desk, replays),
            housekeeping: Housekeeping::new(self.rules(), Arc::clone(&self.tidied), context.clone()),
            // A savepoint that the last checkpoint of the run becomes.
            due: self.options.savepoint.iter().map(last).collect(),
            store,
            committer,
            context,
            publisher,
        }
    }

    pub(super) fn layout(&self, generation: Generation, writer: u64, splits: Splits, replays: &Replays) -> Layout {
        let plan = self.plan();
        let operators = plan.topology.operators.iter().enumerate().map(|(index, operator)| {
            let (component, slots) = (self.prepared.components[index].digest(), plan.descriptions[index].slots.clone());
            OperatorLayout { name: operator.name.clone(), component, slots, instances: operator.instances(self.options.workers) }
        });
        Layout {
            job: plan.topology.name.clone(),
            generation,
            writer,
            topology: digest(&plan.topology.digest_text()),
            workers: self.options.workers,
            operators: operators.collect(),
            sources: self.sources(replays).zip(splits.into_iter().chain(std::iter::repeat(Vec::new()))).collect(),
            sinks: plan.topology.sinks.iter().map(|s| s.name.clone()).collect(),
            chain: ChainLimits {
                length_max: plan.topology.checkpoint.chain_length_max,
                bytes_max: plan.topology.checkpoint.chain_bytes_max,
            },
        }
    }
}

/// When the breaker of an operator opens.
fn window(on_failure: &OnFailure) -> Window {
    let OnFailure { faults_max, rejections_max, window, pause, .. } = *on_failure;
    Window { faults_max, rejections_max, window, pause }
}

/// The digest of a text.
pub(super) fn digest(text: &str) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(text.as_bytes()).into())
}
