//! One instance of the operator in the dataflow: the driver of the product, over guests, a clock and a dataflow of the simulation.

use crate::flow::Taken;
use crate::guest::{SimFactory, SimGuest, Trapped};
use crate::input::{Record, Row};
use crate::mutation::Mutation;
use crate::plan::Fault;
use crate::run::{EpochContent, EpochReport, Run};
use crate::snapshot::{self, OPERATOR, Restored};
use crate::standby::SimStandby;
use crate::world::Sim;
use reprise_core::batch::Batch;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::description::{Description, Encoding, Port};
use reprise_core::failure::blame::Blame;
use reprise_core::failure::window::Standing;
use reprise_core::ids::Epoch;
use reprise_core::operator::{
    self as product, Arrival, BacklogLimits, CircuitBreaker, CrashDump, EdgeEnd, Environment, EpochTally, FailoverWork, FoldWork, Frontier,
    Incident, Load, OperatorFailure, OperatorInstance, Outlet, ParkedTally, Segment, Turn, VersionedChunk,
};
use reprise_core::topology::Operator;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Of 1000 turns of an instance that alone has something left to do, so many end an epoch where there is something to keep.
const OWN_EPOCHS: u64 = 150;
/// So often somebody looks whether a pause is to end.
const LOOK_MS: u64 = 400;
/// Of 1000 looks, so many end it.
const RESUMED: u64 = 60;
/// Deliveries that reach an instance before a turn, at most.
const DELIVERIES: u64 = 6;
/// Bytes that a chunk of a few cells counts in a backup, about.
const CHUNK_BYTES: u64 = 300;

/// The place of an instance: what its driver and its guests share.
pub struct Place {
    /// The world.
    pub sim: Sim,
    /// Its run.
    pub run: Rc<Run>,
    /// Its index.
    pub at: u32,
    /// Guests are called for a failover.
    pub fails_over: Cell<bool>,
    /// Faults in a row that passed.
    pub passes: Cell<u32>,
    /// The epoch that is being worked on.
    pub epoch: Cell<Epoch>,
    /// Segments of parked input that were asked for; `None` until they are read.
    reads: RefCell<BTreeMap<u64, Option<Segment>>>,
    /// Time that calls took since the clock was moved, in milliseconds.
    spent_ms: Cell<u64>,
}

impl Place {
    /// A call takes so long.
    pub fn spend(&self, low: u64, high: u64) {
        self.spent_ms.set(self.spent_ms.get() + self.sim.between(low, high));
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.sim.now() + self.spent_ms.get())
    }

    /// A guest of the instance fails.
    pub fn fails(&self, fault: Fault) {
        self.sim.tell(self.run.host, format_args!("instance {} fails: {fault:?}", self.at));
        self.sim.count(fault);
    }

    /// Sends rows to the sinks.
    pub fn send(&self, of: Epoch, rows: &Batch) {
        let mut flow = self.run.flow.borrow_mut();
        for row in rows.rows().map(Row::of_row) {
            let to = row.record.sink(self.run.shape.workers) as usize;
            flow.to_sinks[to].push_row(self.at as usize, of, row);
        }
        drop(flow);
        self.run.changed.notify(&self.sim);
    }
}

/// The environment of an instance.
struct SimEnvironment {
    place: Rc<Place>,
    factory: SimFactory,
    settings: Operator,
}

/// Runs an instance to its end, or to that of its run.
pub(crate) async fn operator(sim: Sim, run: Rc<Run>, at: u32, first: Epoch, restored: Restored) {
    let place = Rc::new(Place {
        sim: sim.clone(),
        run: Rc::clone(&run),
        at,
        fails_over: Cell::new(false),
        passes: Cell::new(0),
        epoch: Cell::new(first),
        reads: RefCell::default(),
        spent_ms: Cell::new(0),
    });
    let workers = run.shape.workers;
    let output = Port { name: "rows".into(), key: Encoding::Bytes, value: Encoding::Bytes };
    let description = Description {
        name: OPERATOR.into(),
        version: "1".into(),
        inputs: vec!["records".into()],
        outputs: vec![output],
        slots: snapshot::slots(),
    };
    let factory = SimFactory { place: Rc::clone(&place), description: Rc::new(description), open: first.0 << 32 };
    let environment = SimEnvironment { place: Rc::clone(&place), factory, settings: sim.plan.trouble.settings() };
    let Restored { cells, continues, watermark, parked } = restored;
    let is_forgotten = sim.is_broken(Mutation::ParkedForgotten);
    let parked = if is_forgotten { vec![] } else { run.segments.borrow_mut().begin(place.participant(), parked) };
    let chunks = snapshot::chunks(&cells, cells.keys()).into_iter().map(|chunk| VersionedChunk { version: 1, chunk }).collect();
    run.born(&sim, at);
    let edges = vec![EdgeEnd { input: 0, senders: 0..workers, parked: snapshot::edge() }];
    let opened = OperatorInstance::open(environment, edges, first, product::Restored { chunks, watermark, continues, parked });
    let Ok(mut instance) = opened else {
        sim.fail("an instance cannot be opened");
        return;
    };
    instance.give_right(());
    while !instance.is_closed() {
        let is_served = deliver(&place, &mut instance);
        place.epoch.set(instance.epoch());
        let frontier = SimFrontier { run: &run, at: at as usize };
        let turn = instance.turn(&frontier, &mut SimOutlet { place: &place });
        let spent = place.spent_ms.take();
        match turn {
            Err(failure) => {
                if let OperatorFailure::Diverged { context } | OperatorFailure::Internal(context) = failure {
                    sim.fail(format!("instance {at}: {context}"));
                }
                run.give_up(&sim);
                return;
            }
            Ok(Turn::Again) => sim.sleep(spent).await,
            Ok(Turn::Later(wait)) => {
                let ms = (wait.as_millis() as u64).clamp(1, LOOK_MS);
                sim.sleep(spent + ms).await;
                let is_paused = matches!(place.standing(), Standing::Open { .. });
                if is_paused && sim.chance(RESUMED) {
                    sim.count(Fault::BreakerResumed);
                    place.resume();
                }
            }
            Ok(Turn::Rest) if is_served => sim.sleep(spent).await,
            Ok(Turn::Rest) => run.changed.wait(&sim).await,
        }
    }
}

/// Lets some of what was sent arrive. False where there was nothing.
fn deliver(place: &Place, instance: &mut OperatorInstance<SimEnvironment>) -> bool {
    let sim = &place.sim;
    let mut is_served = false;
    for _ in 0..sim.between(1, DELIVERIES) {
        let taken = place.run.flow.borrow_mut().to_operators[place.at as usize].take(sim, Epoch(u64::MAX), sim.plan.trouble.unit_rows);
        let (epoch, load) = match taken {
            None => break,
            Some(Taken::Rows(of, records)) => {
                let mut rows = Batch::new();
                records.iter().for_each(|record| record.push_to(&mut rows));
                (of, Load::Rows(rows))
            }
            Some(Taken::Watermark(of, sender, watermark)) => (of, Load::Watermark { sender: sender as u32, watermark }),
        };
        instance.put(epoch, Arrival { edge: 0, right: (), load });
        is_served = true;
    }
    is_served
}

struct SimFrontier<'a> {
    run: &'a Run,
    at: usize,
}

impl Frontier for SimFrontier<'_> {
    fn is_past(&self, epoch: Epoch) -> bool {
        self.run.flow.borrow().to_operators[self.at].is_past(epoch)
    }

    fn is_empty(&self) -> bool {
        self.run.flow.borrow().to_operators[self.at].last().is_some()
    }

    fn least(&self) -> u64 {
        0
    }
}

struct SimOutlet<'a> {
    place: &'a Place,
}

impl Outlet<()> for SimOutlet<'_> {
    fn rows(&mut self, (): &(), _: u32, rows: Batch) {
        self.place.send(self.place.epoch.get(), &rows);
    }

    fn watermark(&mut self, (): &(), _: i64) {}
}

impl Place {
    fn participant(&self) -> Participant {
        Participant { node: Node::Operator(0), instance: self.at }
    }

    /// Reads a segment of parked input, once it is stored. One that cannot be read ends the run.
    async fn read_parked(&self, number: u64, done: u64) -> Segment {
        loop {
            let of = self.run.segments.borrow().find(self.participant(), number, done);
            let Some(of) = of else {
                self.sim.pause(5, 50).await;
                continue;
            };
            let bytes = self.run.client.get(&of.object.path).await;
            match snapshot::waiting(bytes.as_deref(), &of) {
                Ok(items) => return Arc::new(items),
                Err(reason) => {
                    self.sim.tell(self.run.host, format_args!("instance {} cannot read what is parked: {reason}", self.at));
                    self.run.give_up(&self.sim);
                    self.sim.pause(1_000, 1_000).await;
                }
            }
        }
    }
}

impl Environment for SimEnvironment {
    type Guest = SimGuest;
    type Factory = SimFactory;
    type Standby = SimStandby;
    type Breaker = Place;
    type Right = ();

    fn settings(&self) -> &Operator {
        &self.settings
    }

    fn chain_length_max(&self) -> u32 {
        self.place.sim.plan.chain_length_max
    }

    fn part_bytes_max(&self) -> u32 {
        1 << 20
    }

    fn fold_bytes_min(&self) -> u64 {
        self.place.sim.plan.trouble.fold_after as u64 * CHUNK_BYTES
    }

    fn call_bytes(&self) -> u64 {
        1 << 20
    }

    fn factory(&self) -> &SimFactory {
        &self.factory
    }

    fn breaker(&self) -> &Place {
        &self.place
    }

    fn now(&self) -> Duration {
        self.place.now()
    }

    fn jitter(&self) -> u64 {
        self.place.sim.random.borrow_mut().number()
    }

    fn call(&self, number: u64, _: u64) -> u64 {
        number
    }

    fn is_aborted(&self) -> bool {
        false
    }

    fn is_stopping(&self) -> bool {
        self.place.run.flow.borrow().stop
    }

    fn takes_full(&self) -> bool {
        self.place.run.flow.borrow_mut().ask_full.remove(&self.place.at)
    }

    fn ask_full(&self) {
        self.place.run.flow.borrow_mut().ask_full.insert(self.place.at);
    }

    fn has_room(&self, _: Epoch) -> bool {
        true
    }

    fn align_max(&self) -> Duration {
        self.place.sim.plan.trouble.align_max
    }

    fn backlog_limits(&self) -> BacklogLimits {
        self.place.sim.plan.trouble.backlog
    }

    fn wall_ms(&self) -> i64 {
        self.place.sim.now() as i64
    }

    fn advance(&self, (): &mut (), _: Epoch, _: u64) {}

    fn epoch_is_due(&self, epoch: Epoch, _: Duration, has_news: bool) -> bool {
        let (sim, flow) = (&self.place.sim, self.place.run.flow.borrow());
        let is_last = flow.to_operators[self.place.at as usize].last().is_some_and(|last| epoch <= last);
        let is_room = epoch.0.saturating_sub(flow.completed.0) <= sim.plan.epochs_in_flight_max;
        is_last || (is_room && has_news && sim.chance(OWN_EPOCHS))
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn ask_epoch(&self) {}

    fn may_store_parked(&self) -> bool {
        true
    }

    fn store_parked(&self, epoch: Epoch, number: u64, items: Segment) -> Result<(), String> {
        let (run, sim) = (&self.place.run, &self.place.sim);
        sim.count(Fault::Parked);
        let from = self.place.participant();
        run.report(sim, EpochReport { from, epoch, closed: false, content: EpochContent::Parked { number, items } });
        Ok(())
    }

    fn read_parked(&self, number: u64, done: u64) -> Option<Result<Segment, String>> {
        let (place, sim) = (Rc::clone(&self.place), self.place.sim.clone());
        let mut reads = place.reads.borrow_mut();
        if let Some(read) = reads.get_mut(&number) {
            let read = read.take()?;
            reads.remove(&number);
            return Some(Ok(read));
        }
        reads.insert(number, None);
        drop(reads);
        let run = Rc::clone(&place.run);
        sim.clone().spawn(run.host, run.engine, async move {
            let items = place.read_parked(number, done).await;
            place.reads.borrow_mut().insert(number, Some(items));
            place.sim.count(Fault::ParkedRead);
            place.run.changed.notify(&place.sim);
        });
        None
    }

    fn parked(&self, _: ParkedTally) {}

    fn takes_unpark(&self) -> Option<bool> {
        None
    }

    fn took(&self, _: usize, _: Epoch, _: u64) {}

    fn emits(&self, _: u32, epoch: Epoch, _: &Batch) {
        self.place.epoch.set(epoch);
    }

    fn after_call(&self, _: &mut SimGuest) {}

    fn tell(&self, _: Epoch, incident: Incident<'_, Trapped>) {
        let (sim, host, run) = (&self.place.sim, self.place.run.host, &self.place.run);
        match incident {
            Incident::Replaced { by_standby, is_told, .. } => {
                run.born(sim, self.place.at);
                sim.count(Fault::Revived);
                if by_standby {
                    sim.count(Fault::StandbyTakesOver);
                }
                if !is_told {
                    sim.count(Fault::Narrowed);
                }
            }
            Incident::Quarantined { .. } => {
                sim.tell(host, "a row goes to quarantine");
                sim.count(Fault::Poison);
            }
            Incident::Paused { .. } => {
                sim.tell(host, "the operator pauses");
                sim.count(Fault::BreakerOpens);
            }
            Incident::Resumed => {
                sim.tell(host, "the operator goes on after its pause");
                sim.count(Fault::BreakerCloses);
            }
            Incident::LocalSnapshot => {
                sim.tell(host, format_args!("takes a snapshot of instance {} between two checkpoints", self.place.at));
                sim.count(Fault::LocalSnapshot);
            }
            Incident::TooLarge { .. } => sim.count(Fault::ImageTooLarge),
            Incident::Blamed(Blame::Nobody) => {
                self.place.passes.set(self.place.passes.get() + 1);
                sim.count(Fault::NobodyBlamed);
            }
            Incident::Blamed(Blame::Instance) => sim.count(Fault::InstanceBlamed),
            Incident::Blamed(Blame::Row) => self.place.passes.set(0),
            Incident::Failed { .. }
            | Incident::ReplacedAtOnce
            | Incident::RowsIn { .. }
            | Incident::TooSlow { .. }
            | Incident::Predicted(_)
            | Incident::SnapshotTook(_) => {}
        }
    }

    fn describe(&self, _: Epoch, fault: &Trapped, context: &str) -> String {
        format!("{fault}\n  {context}")
    }

    fn report(&self, tally: EpochTally<CrashDump<u64, Trapped>>) -> Result<(), String> {
        let (run, sim, at) = (&self.place.run, &self.place.sim, self.place.at);
        let EpochTally { epoch, is_last, snapshot, watermark, rows, faulted, parked, .. } = tally;
        run.flow.borrow_mut().end_operator_epoch(at as usize, epoch, is_last);
        let faulted = faulted.iter().map(|failed| Record::of_parts(&failed.row.row.key, &failed.row.row.value)).collect();
        let content = EpochContent::Operator { snapshot, watermark, rows, faulted, parked };
        let from = self.place.participant();
        run.report(sim, EpochReport { from, epoch, closed: is_last, content });
        run.changed.notify(sim);
        Ok(())
    }

    fn start_standby(&self, state: Vec<Arc<VersionedChunk>>, _: Vec<SimGuest>) -> Option<SimStandby> {
        Some(SimStandby::start(&self.place, state))
    }

    fn start_failover(&self, work: FailoverWork<SimFactory, SimStandby>) -> Result<(), String> {
        let place = Rc::clone(&self.place);
        let (sim, run) = (place.sim.clone(), Rc::clone(&place.run));
        if sim.is_broken(Mutation::NeighbourReplaced) && run.shape.instances() > 1 {
            run.born(&sim, (place.at + 1) % run.shape.instances());
        }
        let settled = work.standby().map(SimStandby::settled);
        sim.clone().spawn(run.host, run.engine, async move {
            sim.pause(0, 5).await;
            if let Some(settled) = settled {
                settled.await;
            }
            place.fails_over.set(true);
            drop(work.run(&|| place.now()));
            place.fails_over.set(false);
            sim.sleep(place.spent_ms.take()).await;
            run.changed.notify(&sim);
        });
        Ok(())
    }

    fn start_fold(&self, work: FoldWork) {
        let sim = self.place.sim.clone();
        sim.clone().spawn(self.place.run.host, self.place.run.engine, async move {
            sim.pause(0, 60).await;
            work.run();
            sim.count(Fault::ImageFolded);
        });
    }

    fn breaks(&self, mutation: product::Mutation) -> bool {
        self.place.sim.is_broken(Mutation::Driver(mutation))
    }
}
