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
use crate::snapshot::{self, SOURCE};
use crate::store::Bytes;
use crate::world::Sim;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::coordinator::{Content, Node, Participant, Report};
use reprise_core::checkpoint::manifest::{ObjectRef, Quarantine, QuarantinedRow, SplitPosition, StagedRef};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::checkpoint::tenure::Fact;
use reprise_core::codec::snapshot as format;
use reprise_core::codec::{checksum, record};
use reprise_core::ids::{Epoch, Generation, Instance};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

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
        snapshot: Option<(format::Scope, Vec<Chunk>)>,
        /// Records worked on.
        rows: u64,
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
    /// What the keeper has not yet been told.
    facts: RefCell<VecDeque<Fact>>,
    told: Signal,
    lanes: BTreeMap<Participant, Queue<EpochReport>>,
    open_lanes: Cell<usize>,
    trapped: Cell<bool>,
    /// What is retained.
    pub retention: RefCell<Retention>,
    /// Objects of compactions under way, and of those that no published manifest has named yet.
    pub spared: RefCell<BTreeSet<String>>,
    /// A sweep is under way.
    pub sweeping: Cell<bool>,
}

/// All participants of a job.
pub fn participants(workers: u32) -> impl Iterator<Item = Participant> {
    let nodes = [Node::Source(0), Node::Operator(0), Node::Sink(0)];
    nodes.into_iter().flat_map(move |node| (0..workers).map(move |instance| Participant { node, instance }))
}

impl Run {
    /// A run that is about to begin; starts its lanes.
    #[must_use]
    pub fn begin(sim: &Sim, host: HostId, generation: Generation, flow: Flow, retention: Retention) -> Rc<Self> {
        let lanes: BTreeMap<Participant, Queue<EpochReport>> =
            participants(sim.plan.workers).map(|participant| (participant, Queue::default())).collect();
        let run = Rc::new(Self {
            host,
            generation,
            client: Client::new(sim, host),
            flow: RefCell::new(flow),
            changed: Signal::default(),
            engine: sim.scope(),
            facts: RefCell::default(),
            told: Signal::default(),
            open_lanes: Cell::new(lanes.len()),
            lanes,
            trapped: Cell::new(false),
            retention: RefCell::new(retention),
            spared: RefCell::default(),
            sweeping: Cell::new(false),
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

    /// Tells the keeper.
    pub fn tell(&self, sim: &Sim, fact: Fact) {
        self.facts.borrow_mut().push_back(fact);
        self.told.notify(sim);
    }

    /// The next fact; `None` once an operator has failed and everything that was reported before is told.
    pub async fn fact(&self, sim: &Sim) -> Option<Fact> {
        loop {
            if let Some(fact) = self.facts.borrow_mut().pop_front() {
                return Some(fact);
            }
            if self.trapped.get() && self.open_lanes.get() == 0 {
                return None;
            }
            self.told.wait(sim).await;
        }
    }

    /// An operator fails: the dataflow is dropped. What was reported is still made durable.
    pub fn trap(&self, sim: &Sim) {
        if self.trapped.replace(true) || self.flow.borrow().active == 0 {
            return;
        }
        sim.tell(self.host, "an operator traps");
        sim.count(Fault::Trap);
        sim.kill_scope(self.engine);
        self.lanes.values().for_each(|lane| lane.close(sim));
        self.told.notify(sim);
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
        let (content, objects) = match content {
            EpochContent::Source { splits, rows, refused, ended } => {
                let rejected = refused.len() as u64;
                let object = (!refused.is_empty()).then(|| self.quarantine(from.instance, epoch, &refused));
                let quarantine = object.iter().map(|(_, object)| object.clone()).collect();
                (Content::Source { splits, rows, rejected, quarantine, ended }, object)
            }
            EpochContent::Operator { snapshot, rows } => {
                let encode = |(scope, chunks): (format::Scope, Vec<Chunk>)| {
                    snapshot::encode(from.instance, epoch, self.generation, scope, &chunks).expect("the cells of a simulation are few")
                };
                let object = snapshot.map(encode);
                let snapshot = object.as_ref().map(|(_, object)| object.clone());
                (Content::Operator { snapshot, watermark: 0, rows, rejected: 0, quarantine: vec![] }, object)
            }
            EpochContent::Sink { staged, rows } => (Content::Sink { staged, rows }, None),
        };
        let fact = Fact::Reported(Report { from, epoch, closed, content });
        let early = sim.is_broken(Mutation::ReportBeforeUpload);
        if early {
            self.tell(sim, fact.clone());
        }
        if let Some((bytes, object)) = objects
            && self.client.create(&object.path, bytes).await == Created::Exists
        {
            return host::object_exists(sim, self.host, &object.path);
        }
        if !early {
            self.tell(sim, fact);
        }
    }

    fn quarantine(&self, instance: u32, epoch: Epoch, refused: &[Record]) -> (Bytes, ObjectRef) {
        let row = |record: &Record| QuarantinedRow {
            input: 0,
            origin: format!("{}:{}", record.split, record.offset),
            time: 0,
            key: vec![record.key],
            value: vec![],
            reason: "refused".into(),
        };
        let quarantine = Quarantine { node: SOURCE.into(), instance: Instance(instance), epoch, rows: refused.iter().map(row).collect() };
        let bytes = record::encode(&quarantine).expect("a few rows");
        let object = ObjectRef {
            path: paths::quarantine(SOURCE, Instance(instance), epoch, self.generation, 0),
            scope: format::Scope::Full,
            bytes: bytes.len() as u64,
            checksum: checksum(&bytes),
            entries: refused.len() as u64,
        };
        (bytes.into(), object)
    }
}
