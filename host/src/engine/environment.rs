//! The environment of an instance of an operator: what its driver in the core needs of the engine, over wasmtime, threads and the dataflow.

use super::control::Control;
use super::counters::NodeCounters;
use super::event::OperatorEvent;
use super::failure::{CrashDumps, Failure};
use super::guest::{GuestDump, GuestFailure};
use super::in_flight::InFlight;
use super::instance_factory::WasmFactory;
use super::parked::ParkingContext;
use super::report::{EpochContent, EpochReport, Reporter};
use super::source::SourceLimits;
use super::standby::Standby;
use super::timestamp::{STEPS_MAX, Timestamp, epoch_of, timestamp};
use super::wake::{Wake, WakeOnDrop};
use crate::clock::Clock;
use crate::wasm::{Call, GuestError, Instance, Level};
use reprise_core::batch::Batch;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::ids::Epoch;
use reprise_core::operator::{
    BacklogLimits, Environment, EpochTally, FailoverWork, FoldWork, Incident, OperatorFailure, ParkedTally, Segment, VersionedChunk,
};
use reprise_core::topology::{Node, Operator};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use timely::dataflow::operators::Capability;

/// Bytes of a segment of parked input, however many instances an operator has.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;

/// The environment of one instance of an operator.
pub(super) struct WasmEnvironment {
    pub factory: WasmFactory,
    pub at: Participant,
    /// The place of the operator in the topology file.
    pub place: usize,
    pub control: Arc<Control>,
    pub reporter: Reporter,
    pub clock: Clock,
    /// Where each edge to the operator comes from.
    pub edges: Vec<Node>,
    pub in_flight: Arc<InFlight>,
    /// For each output how many copies of the rows go out.
    pub copies: Vec<u64>,
    /// Lets the worker look at the instance again.
    pub wake: OnceLock<Wake>,
    pub origin: Instant,
    pub limits: SourceLimits,
    pub parking: ParkingContext,
}

impl WasmEnvironment {
    fn counters(&self) -> &NodeCounters {
        &self.control.operators[self.place]
    }

    fn name(&self) -> String {
        self.factory.spec.settings.name.clone()
    }

    /// A failure of the driver, with where it was.
    pub fn failure(&self, epoch: Epoch, error: GuestFailure) -> Failure {
        failure(self.name(), self.place, self.at.instance, epoch, error)
    }

    fn send(&self, event: OperatorEvent) {
        (self.factory.spec.events)(event);
    }
}

/// A failure of the driver of an instance. `index`: the place of the operator in the topology file.
pub(super) fn failure(operator: String, index: usize, instance: u32, epoch: Epoch, error: GuestFailure) -> Failure {
    match error {
        OperatorFailure::Guest { fault, context, gave_up, dumps } => {
            let (error, dumps) = (Box::new(fault), CrashDumps::Unwritten(dumps));
            Failure::Guest { operator, index, instance, epoch, context, error, gave_up, dumps }
        }
        OperatorFailure::Diverged { context } => Failure::Diverged { operator, index, instance, epoch, context },
        OperatorFailure::NoThread(why) => Failure::no_thread(&format!("a thread for a new instance of operator `{operator}`"), &why),
        OperatorFailure::Parked(reason) => Failure::Parked { operator, instance, reason },
        OperatorFailure::Limit(text) => Failure::Limit(text),
        OperatorFailure::Internal(text) => Failure::Internal(format!("operator `{operator}`: {text}")),
    }
}

impl Environment for WasmEnvironment {
    type Guest = Instance;
    type Factory = WasmFactory;
    type Standby = Standby;
    type Breaker = super::circuit_breaker::SharedCircuitBreaker;
    type Right = Vec<Capability<Timestamp>>;

    fn settings(&self) -> &Operator {
        &self.factory.spec.settings
    }

    fn chain_length_max(&self) -> u32 {
        self.factory.spec.chain_length_max
    }

    fn part_bytes_max(&self) -> u32 {
        self.factory.spec.part_bytes_max
    }

    fn call_bytes(&self) -> u64 {
        self.in_flight.call_bytes()
    }

    fn factory(&self) -> &WasmFactory {
        &self.factory
    }

    fn breaker(&self) -> &Self::Breaker {
        &self.factory.spec.breaker
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn jitter(&self) -> u64 {
        Clock::unlikely_number()
    }

    fn call(&self, number: u64, instant_ns: u64) -> Call {
        Call { number, now_ms: self.clock.now_ms(), instant_ns }
    }

    fn is_aborted(&self) -> bool {
        self.control.aborted()
    }

    fn is_stopping(&self) -> bool {
        self.control.stopping()
    }

    fn takes_full(&self) -> bool {
        self.control.takes_full(self.at)
    }

    fn ask_full(&self) {
        self.control.ask_full(self.at);
    }

    fn has_room(&self, epoch: Epoch) -> bool {
        let Some(wake) = self.wake.get() else { return true };
        self.in_flight.of(Node::Operator(self.place)).is_none_or(|bytes| !bytes.holds(self.at.instance, epoch, wake))
    }

    fn align_max(&self) -> Duration {
        self.parking.align_max
    }

    /// The instances of an operator share the memory.
    fn backlog_limits(&self) -> BacklogLimits {
        let (all, instances) = (BacklogLimits::default(), u64::from(self.factory.parallelism.max(1)));
        let segment_bytes = (all.segment_bytes / instances).max(SEGMENT_BYTES_MIN);
        BacklogLimits { segment_bytes, memory_bytes: all.memory_bytes / instances }
    }

    fn wall_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn advance(&self, right: &mut Self::Right, epoch: Epoch, least: u64) {
        let at = least.clamp(timestamp(epoch, 0), timestamp(epoch, STEPS_MAX));
        right.iter_mut().filter(|capability| *capability.time() < at).for_each(|capability| capability.downgrade(&at));
    }

    fn epoch_is_due(&self, epoch: Epoch, age: Duration, has_news: bool) -> bool {
        let under_way = epoch.0.saturating_sub(self.control.completed().0);
        let is_room = under_way <= u64::from(self.limits.epochs_in_flight_max);
        let is_asked = self.control.wanted() >= epoch || (has_news && age >= self.limits.interval);
        epoch <= epoch_of(self.control.furthest()) || (is_room && is_asked)
    }

    fn interval(&self) -> Duration {
        self.limits.interval
    }

    fn ask_epoch(&self) {
        self.control.want_epoch();
    }

    fn may_store_parked(&self) -> bool {
        self.parking.traffic.has_room()
    }

    fn store_parked(&self, epoch: Epoch, number: u64, items: Segment) -> Result<(), String> {
        let content = EpochContent::Parked { number, items, under_way: self.parking.traffic.leaves(self.wake.get().cloned()) };
        (self.reporter)(EpochReport { from: self.at, epoch, closed: false, content }).map_err(|error| error.to_string())
    }

    fn read_parked(&self, number: u64, done: u64) -> Option<Result<Segment, String>> {
        self.parking.traffic.read(&self.parking.reader, self.at, (number, done), self.wake.get().cloned())
    }

    fn parked(&self, tally: ParkedTally) {
        let (parked, bytes_max) = (&self.control.operators_parked[self.place], self.settings().park_bytes_max);
        parked.note(self.at.instance, tally, bytes_max, |is_full| self.control.hold(&self.parking.upstream, is_full));
    }

    fn takes_unpark(&self) -> Option<bool> {
        let now = self.control.operators_parked[self.place].unparks();
        (self.parking.unparks.replace(now) != now).then_some(now % 2 == 1)
    }

    fn took(&self, edge: usize, epoch: Epoch, bytes: u64) {
        if let Some(upstream) = self.edges.get(edge).and_then(|from| self.in_flight.of(*from)) {
            upstream.subtract(epoch, bytes);
        }
    }

    fn emits(&self, port: u32, epoch: Epoch, rows: &Batch) {
        self.counters().rows_out.fetch_add(rows.len() as u64, Ordering::Relaxed);
        let copies = self.copies.get(port as usize).copied().unwrap_or_default();
        if let Some(own) = self.in_flight.of(Node::Operator(self.place)) {
            own.add(epoch, (rows.size_bytes() as u64).saturating_mul(copies));
        }
    }

    fn after_call(&self, guest: &mut Instance) {
        self.counters().add_usage(&guest.take_usage());
        for line in guest.take_log() {
            let (operator, instance, text) = (&self.factory.spec.settings.name, self.at.instance, line.message);
            match line.level {
                Level::Trace => tracing::trace!(operator, instance, "{text}"),
                Level::Debug => tracing::debug!(operator, instance, "{text}"),
                Level::Info => tracing::info!(operator, instance, "{text}"),
                Level::Warn => tracing::warn!(operator, instance, "{text}"),
                Level::Error => tracing::error!(operator, instance, "{text}"),
            }
        }
    }

    fn tell(&self, epoch: Epoch, incident: Incident<'_, GuestError>) {
        let (breaker, settings, instance) = (self.breaker(), self.settings(), self.at.instance);
        match incident {
            Incident::Failed { fault, context, attempt, wait } => {
                let (report, retries) = (self.describe(epoch, fault, context), settings.on_failure.retries);
                self.send(OperatorEvent::Failed { operator: self.name(), instance, report, attempt, retries, wait });
            }
            Incident::Replaced { took, by_standby, is_told } => {
                breaker.recoveries.note(took);
                breaker.by_standby.fetch_add(u64::from(by_standby), Ordering::Relaxed);
                if is_told {
                    self.send(OperatorEvent::Recovered { operator: self.name(), instance, took });
                }
            }
            Incident::ReplacedAtOnce => _ = breaker.at_once.fetch_add(1, Ordering::Relaxed),
            Incident::Quarantined { fault, context } => {
                breaker.quarantined.fetch_add(1, Ordering::Relaxed);
                let report = self.describe(epoch, fault, context);
                self.send(OperatorEvent::Quarantined { operator: self.name(), instance, epoch, report });
            }
            Incident::Paused { pause, reason } => self.send(OperatorEvent::Paused { operator: self.name(), pause, reason }),
            Incident::Resumed => self.send(OperatorEvent::Resumed { operator: self.name() }),
            Incident::RowsIn { rows, rejected } => {
                self.counters().rows_in.fetch_add(rows, Ordering::Relaxed);
                self.counters().rejected.fetch_add(rejected, Ordering::Relaxed);
            }
            Incident::TooLarge { bytes } => self.send(OperatorEvent::TooLarge { operator: self.name(), instance, bytes }),
            Incident::TooSlow { takes } => {
                if breaker.is_first_too_slow() {
                    let (instances, within) = (self.factory.parallelism, settings.recover_within);
                    self.send(OperatorEvent::TooSlow { operator: self.name(), instance, instances, takes, within });
                }
            }
            Incident::Predicted(takes) => breaker.predict(instance, takes),
            Incident::SnapshotTook(took) => {
                self.counters().snapshot_ns_max.fetch_max(took.as_nanos() as u64, Ordering::Relaxed);
            }
            Incident::LocalSnapshot | Incident::Blamed(_) => {}
        }
    }

    fn describe(&self, epoch: Epoch, fault: &GuestError, context: &str) -> String {
        let failure = OperatorFailure::Guest { fault: fault.clone(), context: context.to_owned(), gave_up: None, dumps: Vec::new() };
        self.failure(epoch, failure).to_string()
    }

    fn report(&self, tally: EpochTally<GuestDump>) -> Result<(), String> {
        let EpochTally { epoch, is_last, snapshot, watermark, rows, rejected, faulted, dumps, parked } = tally;
        let content = EpochContent::Operator { snapshot, watermark, rows, rejected, faulted, dumps, parked };
        (self.reporter)(EpochReport { from: self.at, epoch, closed: is_last, content }).map_err(|error| error.to_string())
    }

    fn start_standby(&self, state: Vec<Arc<VersionedChunk>>, dead: Vec<Instance>) -> Option<Standby> {
        Standby::start(self.factory.clone(), state, dead)
    }

    fn start_failover(&self, work: FailoverWork<WasmFactory, Standby>) -> Result<(), String> {
        let (member, origin, wake) = (self.control.threads.join(), self.origin, self.wake.get().cloned());
        let thread = move || {
            // Dropped last, when no instance is left.
            let _member = member;
            let waking = wake.map(WakeOnDrop);
            let dead = work.run(&|| origin.elapsed());
            drop(waking);
            drop(dead);
        };
        let name = format!("failover-{}", self.factory.identity.operator);
        std::thread::Builder::new().name(name).spawn(thread).map(drop).map_err(|error| error.to_string())
    }

    fn start_fold(&self, work: FoldWork) {
        // Where there is no thread to be had, the next turn asks again.
        let _ = std::thread::Builder::new().name("fold".to_owned()).spawn(move || work.run());
    }
}
