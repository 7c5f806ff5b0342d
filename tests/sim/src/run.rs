//! One run of a job on one host: what its tasks share, and the lanes in which reports become durable.
//!
//! Each participant has a lane of its own: its reports stay in order, while those of others overtake them.

use crate::client::{Client, Created};
use crate::clockwork::{HostId, Queue, Scope, Signal, WHOLE};
use crate::flow::Flow;
use crate::host;
use crate::input::Record;
use crate::mutation::Mutation;
use crate::plan::Fault;
use crate::shape::Shape;
use crate::snapshot::{self, OPERATOR, SOURCE};
use crate::world::Sim;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::committer::CommitterEvent;
use reprise_core::checkpoint::coordinator::{Content, Layout, Participant, Report};
use reprise_core::checkpoint::faulted::{FaultedRow, FaultedRows};
use reprise_core::checkpoint::manifest::{ObjectRef, Quarantine, QuarantinedRow, SplitPosition, StagedRef};
use reprise_core::checkpoint::objects::{write_parked, write_snapshot};
use reprise_core::checkpoint::paths;
use reprise_core::codec::parked::ParkedItem;
use reprise_core::codec::record;
use reprise_core::codec::snapshot as format;
use reprise_core::failure::window::WindowBreaker;
use reprise_core::ids::{Digest, Epoch, Generation, Instance};
use reprise_core::operator::{Segment, SegmentObjects, SegmentState, VersionedChunk};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// What a participant has to say of an epoch, before it is durable.
pub struct EpochReport {
    /// Who.
    pub from: Participant,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Nothing more will come.
    pub closed: bool,
    /// What.
    pub content: EpochContent,
}

/// See [`EpochReport`].
pub enum EpochContent {
    /// From a source.
    Source {
        /// Splits that moved.
        splits: Vec<SplitPosition>,
        /// Records read.
        rows: u64,
        /// Records refused.
        refused: Vec<Record>,
        /// The input has ended.
        ended: bool,
    },
    /// From an operator.
    Operator {
        /// Its snapshot.
        snapshot: Option<(format::SnapshotScope, Vec<Arc<VersionedChunk>>)>,
        /// The watermark that it was told last.
        watermark: i64,
        /// Records worked on, poison among them.
        rows: u64,
        /// Poison.
        faulted: Vec<Record>,
        /// Input that waits.
        parked: Vec<SegmentState>,
    },
    /// A segment of parked input of an operator.
    Parked {
        /// Its number among those of the instance.
        number: u64,
        /// What waits.
        items: Segment,
    },
    /// From a sink.
    Sink {
        /// Its staged output.
        staged: Option<StagedRef>,
        /// Rows written.
        rows: u64,
    },
}

/// What the tasks of a run share.
pub struct Run {
    /// The host.
    pub host: HostId,
    /// Its workers and instances.
    pub shape: Shape,
    /// The generation.
    pub generation: Generation,
    /// The store.
    pub client: Client,
    /// The dataflow.
    pub flow: RefCell<Flow>,
    /// Something in the dataflow changed.
    pub changed: Signal,
    /// Its tasks.
    pub engine: Scope,
    /// What the committer has not yet been told.
    events: RefCell<VecDeque<CommitterEvent>>,
    told: Signal,
    lanes: BTreeMap<Participant, Queue<EpochReport>>,
    open_lanes: Cell<usize>,
    failed: Cell<bool>,
    /// The circuit breaker of the operator.
    pub breaker: RefCell<WindowBreaker>,
    /// Instances whose next call with rows fails.
    doomed: RefCell<BTreeSet<u32>>,
    /// For each instance of the operator how often one was made, and how often one failed.
    lives: RefCell<BTreeMap<u32, (u32, u32)>>,
    /// The objects with parked input.
    pub segments: RefCell<SegmentObjects>,
}

impl Run {
    /// A run that is about to begin; starts its lanes.
    #[must_use]
    pub fn begin(sim: &Sim, host: HostId, shape: Shape, layout: &Layout, flow: Flow) -> Rc<Self> {
        let lanes: BTreeMap<Participant, Queue<EpochReport>> =
            layout.participants().map(|participant| (participant, Queue::default())).collect();
        let run = Rc::new(Self {
            host,
            shape,
            generation: layout.generation,
            client: Client::new(sim, host),
            flow: RefCell::new(flow),
            changed: Signal::default(),
            engine: sim.scope(),
            events: RefCell::default(),
            told: Signal::default(),
            open_lanes: Cell::new(lanes.len()),
            lanes,
            failed: Cell::new(false),
            breaker: RefCell::new(WindowBreaker::new(sim.plan.trouble.breaker)),
            doomed: RefCell::default(),
            lives: RefCell::default(),
            segments: RefCell::default(),
        });
        for lane in run.lanes.values() {
            let (lane, sim, run) = (lane.clone(), sim.clone(), Rc::clone(&run));
            sim.clone().spawn(host, WHOLE, async move {
                while let Some(report) = lane.pop(&sim).await {
                    run.record(&sim, report).await;
                }
                run.open_lanes.set(run.open_lanes.get() - 1);
                run.told.notify(&sim);
            });
        }
        run
    }

    /// Hands a report to its lane.
    pub fn report(&self, sim: &Sim, report: EpochReport) {
        let closed = if report.closed { ", closed" } else { "" };
        sim.tell(self.host, format_args!("{:?} {} reports epoch {}{closed}", report.from.node, report.from.instance, report.epoch));
        if let Some(lane) = self.lanes.get(&report.from) {
            lane.push(sim, report);
        }
    }

    /// Tells the committer.
    pub fn tell(&self, sim: &Sim, event: CommitterEvent) {
        self.events.borrow_mut().push_back(event);
        self.told.notify(sim);
    }

    /// The next event; `None` once the run has failed and everything that was reported before is told.
    pub async fn event(&self, sim: &Sim) -> Option<CommitterEvent> {
        loop {
            if let Some(event) = self.events.borrow_mut().pop_front() {
                return Some(event);
            }
            if self.failed.get() && self.open_lanes.get() == 0 {
                return None;
            }
            self.told.wait(sim).await;
        }
    }

    /// An operator cannot come back alone: the dataflow is dropped. What was reported is still made durable.
    pub fn give_up(&self, sim: &Sim) {
        if self.failed.replace(true) || self.flow.borrow().active == 0 {
            return;
        }
        sim.tell(self.host, "the run fails");
        sim.count(Fault::RunFails);
        sim.kill_scope(self.engine);
        self.lanes.values().for_each(|lane| lane.close(sim));
        self.told.notify(sim);
    }

    /// The next call of an instance of the operator fails.
    pub fn doom(&self, instance: u32) {
        self.doomed.borrow_mut().insert(instance);
    }

    /// The instance was doomed; it is no longer.
    pub fn takes_doom(&self, instance: u32) -> bool {
        self.doomed.borrow_mut().remove(&instance)
    }

    /// An instance of the operator is made. None may be but the first one and those that follow one that failed.
    pub fn born(&self, sim: &Sim, instance: u32) {
        let mut lives = self.lives.borrow_mut();
        let (born, fell) = lives.entry(instance).or_default();
        *born += 1;
        if *born != *fell + 1 {
            sim.fail(format!("instance {instance} is made for the {born}. time, and {fell} have failed"));
        }
    }

    /// An instance of the operator failed.
    pub fn fell(&self, instance: u32) {
        self.lives.borrow_mut().entry(instance).or_default().1 += 1;
    }

    /// Asks the sources to end.
    pub fn stop(&self, sim: &Sim) {
        sim.tell(self.host, "is asked to stop");
        sim.count(Fault::Stop);
        self.flow.borrow_mut().stop = true;
        self.changed.notify(sim);
    }

    async fn record(&self, sim: &Sim, report: EpochReport) {
        let EpochReport { from, epoch, closed, content } = report;
        let (content, objects): (Content, Vec<(ObjectRef, Vec<u8>)>) = match content {
            EpochContent::Source { splits, rows, refused, ended } => {
                let rejected = refused.len() as u64;
                let object = (!refused.is_empty()).then(|| self.quarantine(from.instance, epoch, &refused));
                let quarantine = object.iter().map(|(object, _)| object.clone()).collect();
                (Content::Source { splits, rows, rejected, quarantine, ended }, object.into_iter().collect())
            }
            EpochContent::Parked { number, items } => return self.park(from, epoch, number, &items).await,
            EpochContent::Operator { snapshot, watermark, rows, faulted, parked } => {
                let encode = |(scope, held): (format::SnapshotScope, Vec<Arc<VersionedChunk>>)| {
                    let chunks: Vec<&Chunk> = held.iter().map(|held| &held.chunk).collect();
                    let head = snapshot::head(from.instance, epoch, self.generation, scope);
                    write_snapshot(&head, &chunks).expect("the cells of a simulation are few")
                };
                let object = snapshot.map(encode);
                let snapshot = object.as_ref().map(|(object, _)| object.clone());
                let rejected = faulted.len() as u64;
                let poison = (!faulted.is_empty()).then(|| self.faulted(from.instance, epoch, &faulted));
                let quarantine = poison.iter().map(|(object, _)| object.clone()).collect();
                let objects = object.into_iter().chain(poison).collect();
                let parked = self.segments.borrow_mut().refs(from, &parked).expect("segments are stored before they are reported");
                (Content::Operator { snapshot, watermark, rows, rejected, quarantine, parked }, objects)
            }
            EpochContent::Sink { staged, rows } => (Content::Sink { staged, rows }, vec![]),
        };
        let event = CommitterEvent::Reported(Report { from, epoch, closed, content });
        let early = sim.is_broken(Mutation::ReportBeforeUpload);
        if early {
            self.tell(sim, event.clone());
        }
        for (object, bytes) in objects {
            if self.client.create(&object.path, bytes.into()).await == Created::Exists {
                return host::object_exists(sim, self.host, &object.path);
            }
        }
        if !early {
            self.tell(sim, event);
        }
    }

    /// Stores a segment of parked input.
    async fn park(&self, from: Participant, epoch: Epoch, number: u64, items: &[ParkedItem]) {
        let encoded = write_parked(&snapshot::parked_head(from.instance, epoch, self.generation), number, items);
        let (object, bytes) = encoded.expect("the rows of a simulation are few");
        self.client.create(&object.path, bytes.into()).await;
        self.segments.borrow_mut().note(from, number, object);
    }

    fn quarantine(&self, instance: u32, epoch: Epoch, refused: &[Record]) -> (ObjectRef, Vec<u8>) {
        let rows = refused.iter().map(|record| quarantined(record, "refused")).collect();
        let quarantine = Quarantine { node: SOURCE.into(), instance: Instance(instance), epoch, rows };
        self.quarantine_object(SOURCE, instance, epoch, record::encode(&quarantine).expect("a few rows"), refused.len())
    }

    fn faulted(&self, instance: u32, epoch: Epoch, poison: &[Record]) -> (ObjectRef, Vec<u8>) {
        let row = |record: &Record| FaultedRow {
            row: quarantined(record, "trapped"),
            call: "process".into(),
            kind: "trap".into(),
            backtrace: vec![],
            log_tail: vec![],
            capsule: None,
        };
        let rows = poison.iter().map(row).collect();
        let node = OPERATOR.to_owned();
        let faulted = FaultedRows { node, instance: Instance(instance), epoch, component: Digest([1; 32]), line: 1, rows };
        self.quarantine_object(OPERATOR, instance, epoch, record::encode(&faulted).expect("a few rows"), poison.len())
    }

    fn quarantine_object(&self, node: &str, instance: u32, epoch: Epoch, bytes: Vec<u8>, rows: usize) -> (ObjectRef, Vec<u8>) {
        let path = paths::quarantine(node, Instance(instance), epoch, self.generation, 0);
        (ObjectRef::new(path, format::SnapshotScope::Full, &bytes, rows as u64), bytes)
    }
}

fn quarantined(record: &Record, reason: &str) -> QuarantinedRow {
    QuarantinedRow {
        input: 0,
        origin: format!("{}:{}", record.split, record.offset),
        time: 0,
        key: vec![record.key],
        value: vec![],
        reason: reason.into(),
    }
}
