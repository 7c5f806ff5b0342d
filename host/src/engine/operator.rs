//! One instance of an operator: a Wasm instance inside a dataflow operator.
//!
//! Frames are worked on epoch by epoch ([`super::inbox`]), a **unit** of work at a time: rows, a watermark, or the end of an epoch, when the
//! snapshot is read ([`super::snapshots`]) and reported; only then does the next epoch begin. A unit stays until all of it was done: what
//! becomes of one that fails is in [`super::heal`].
//!
//! ```text
//!  inbox ──> unit ──call──> outcome ──> rows sent, refused rows kept, the call logged
//!             ^       │ failed
//!             └───────┴── a new instance takes over (heal)
//! ```

use super::account::Outlet;
use super::capsule::{Case, Evidence};
use super::control::{Control, Failure, NodeCounters};
use super::distribute::for_each_part;
use super::event::{Event, Events};
use super::frame::{Frame, IDLE, Load};
use super::guard::Guard;
use super::heal::Inquiry;
use super::image::{Image, Unreported, Versioned};
use super::inbox::{Arrival, Inbox, Risen, Watermarks};
use super::moment::Moment;
use super::replay::{Entry, Input, InputLog};
use super::report::{EpochContent, EpochReport, REJECTED_BYTES_MAX, Refused, Reporter};
use super::rest::Rest;
use super::returned::Returned;
use super::revive::{Maker, Revival, Standby};
use super::snapshots::{Turned, UnderWay};
use crate::clock::Clock;
use crate::wasm::{Call, Component, GuestError, Instance, InstanceIdentity, Level, Limits, Outcome, Rejection, Scope};
use reprise_core::batch::Batch;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::manifest::QuarantinedRow;
use reprise_core::description::Description;
use reprise_core::failure::pace::Pace;
use reprise_core::failure::search::Search;
use reprise_core::ids::Epoch;
use reprise_core::topology::{self, Edge, Operator};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

/// Units that are worked on before other operators of the worker get their turn.
const UNITS_A_TURN: usize = 8;
/// How long a turn may last, but for the last unit and its recovery.
const TURN_MAX: Duration = Duration::from_millis(10);

/// What every instance of an operator shares.
pub struct OperatorBlueprint {
    /// The job.
    pub job: String,
    /// Its settings in the topology.
    pub settings: Operator,
    /// Its component.
    pub component: Component,
    /// What the component says it is.
    pub description: Description,
    /// Limits of each instance.
    pub limits: Limits,
    /// Bytes that one call of `snapshot` should return at most.
    pub part_bytes_max: u32,
    /// Deltas that may follow a full snapshot.
    pub chain_length_max: u32,
    /// What its instances share when things go wrong.
    pub guard: Arc<Guard>,
    /// Is told what happens to instances.
    pub events: Events,
}

impl OperatorBlueprint {
    /// True where there is state to restore and to lose.
    pub(super) fn has_state(&self) -> bool {
        !self.description.slots.is_empty()
    }
}

/// The state that an instance begins with.
#[derive(Debug, Default)]
pub struct Restored {
    /// Chunks in the order in which they are to be restored, with the slot numbers of the present component. With each the version that
    /// its slot had in the component which wrote it.
    pub chunks: Vec<Versioned>,
    /// The watermark that the instance had been told; `i64::MIN` for none.
    pub watermark: i64,
    /// Deltas may follow what was restored; else the next snapshot must be full.
    pub continues: bool,
}

/// What an instance sends: capabilities, output port, frame.
pub(super) type Send<'a> = dyn FnMut(&[Capability<Moment>], usize, &mut Frame) + 'a;

/// Lets the worker look at the instance again, from any thread.
pub(super) type Wake = Arc<dyn Fn() + std::marker::Send + Sync>;

/// When an instance wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// At once.
    Again,
    /// After a while.
    Later(Duration),
    /// When something arrives, or somebody wakes it.
    Rest,
}

/// See the module.
pub(super) enum Work {
    Rows { input: u32, rows: Rest },
    Watermark(Risen),
    EndOfEpoch { closing: bool },
}

impl Work {
    /// The guest is called for it, and may emit.
    fn may_emit(&self) -> bool {
        match self {
            Self::Rows { .. } => true,
            Self::Watermark(risen) => risen.is_new,
            Self::EndOfEpoch { .. } => false,
        }
    }
}

/// Work that has to be done before anything else, with the right to send what comes of it.
pub(super) struct Unit {
    pub work: Work,
    pub capabilities: Vec<Capability<Moment>>,
}

/// See the module.
pub(super) struct OperatorInstance {
    pub(super) blueprint: Arc<OperatorBlueprint>,
    pub(super) at: Participant,
    place: usize,
    workers: u32,
    pub(super) control: Arc<Control>,
    reporter: Reporter,
    clock: Clock,
    /// The operator's input that each edge leads to, and where it comes from.
    edges: Vec<(u32, topology::Node)>,
    outlet: Outlet,
    pub(super) maker: Maker,
    /// `None` while a successor is being made.
    pub(super) instance: Option<Instance>,
    pub(super) inbox: Inbox,
    watermarks: Watermarks,
    pub(super) unit: Option<Unit>,
    /// The last call, whatever came of it.
    pub(super) last_call: Call,
    /// There is a chain that deltas may be added to.
    pub(super) continues: bool,
    /// Number of the last call that succeeded.
    calls: u64,
    /// How far the monotonic clock of any instance here has come: it never goes back, whoever takes over.
    instant_ns: u64,
    pub(super) refused: Refused,
    pub(super) rows: u64,
    closed: bool,
    /// The state as of the last snapshot. `None` where it is too large to be kept.
    pub(super) image: Option<Image>,
    /// The calls since, where there is state.
    pub(super) log: InputLog,
    /// Changes that are in the image and in no report yet.
    pub(super) unreported: Unreported,
    pub(super) pace: Pace,
    pub(super) standby: Option<Standby>,
    pub(super) search: Search,
    /// The same for reading snapshots.
    pub(super) snapshot_search: Search,
    /// The last snapshot that was asked for.
    pub(super) scope: Scope,
    /// It is not at its end yet.
    pub(super) under_way: Option<UnderWay>,
    /// When the present epoch was worked off, and its snapshot begun.
    ending_since: Option<Instant>,
    pub(super) revival: Option<Revival>,
    /// Successors in a row that failed themselves.
    pub(super) revivals_failed: u32,
    pub(super) failed_at: Instant,
    pub(super) inquiry: Inquiry,
    /// When others have to get their turn.
    pub(super) turn_ends: Instant,
    pub(super) not_before: Option<Instant>,
    pub(super) wake: Wake,
}

/// Where an instance sits in the dataflow.
pub(super) struct Place {
    /// Its place in the topology file.
    pub index: usize,
    /// Index of the instance among all of the operator.
    pub instance: u32,
    /// How many of the operator there are over all workers.
    pub instances: u32,
    /// Number of workers.
    pub workers: u32,
    /// For each edge how many instances send on it.
    pub edges: Vec<(Edge, usize)>,
    /// Where what it emits goes.
    pub outlet: Outlet,
}

impl OperatorInstance {
    /// Takes a fresh Wasm instance, opens it and restores its state.
    pub fn open(
        blueprint: Arc<OperatorBlueprint>,
        place: Place,
        first: Epoch,
        restored: Restored,
        control: Arc<Control>,
        reporter: Reporter,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let at = Participant { node: Node::Operator(place.index), instance: place.instance };
        let operator = blueprint.settings.name.clone();
        let identity = InstanceIdentity { job: blueprint.job.clone(), operator, instance: at.instance, seed: 0 };
        let open = Call { number: first.0 << 32, now_ms: clock.now_ms(), instant_ns: 0 };
        let crew = Arc::clone(&control.crew);
        let is_kept = Arc::default();
        let maker = Maker { blueprint: Arc::clone(&blueprint), identity, parallelism: place.instances, open, crew, is_kept };
        let chunks: Vec<Arc<Versioned>> = restored.chunks.into_iter().map(Arc::new).collect();
        let began = Instant::now();
        let instance =
            maker.make(&chunks, &|| !maker.crew.is_dismissed()).map_err(|lost| Case::failure(&maker, place.index, first, &chunks, lost))?;
        let state_bytes: i64 = chunks.iter().map(|held| held.chunk.size_bytes() as i64).sum();
        control.operators[place.index].state_bytes.fetch_add(state_bytes, Ordering::Relaxed);
        let mut pace = Pace::new(blueprint.settings.recover_within, blueprint.settings.replay_log_bytes_max);
        let image = Image::new(chunks);
        pace.note_restore(image.bytes(), began.elapsed());
        let senders: Vec<usize> = place.edges.iter().map(|(_, senders)| *senders).collect();
        let mut opened = Self {
            at,
            place: place.index,
            workers: place.workers,
            control,
            reporter,
            clock,
            edges: place.edges.into_iter().map(|(edge, _)| (edge.input, edge.from)).collect(),
            outlet: place.outlet,
            maker,
            instance: Some(instance),
            inbox: Inbox::new(first, blueprint.description.outputs.len().max(1)),
            watermarks: Watermarks::new(&senders, restored.watermark),
            unit: None,
            last_call: open,
            continues: restored.continues,
            calls: open.number,
            instant_ns: 0,
            refused: Refused::default(),
            rows: 0,
            closed: false,
            image: Some(image),
            log: InputLog::default(),
            unreported: Unreported::default(),
            pace,
            standby: None,
            search: Search::default(),
            snapshot_search: Search::default(),
            scope: Scope::Full,
            under_way: None,
            ending_since: None,
            revival: None,
            revivals_failed: 0,
            failed_at: Instant::now(),
            inquiry: Inquiry::default(),
            turn_ends: Instant::now(),
            not_before: None,
            wake: Arc::new(|| ()),
            blueprint,
        };
        opened.hold_image_to_its_limit();
        opened.start_standby(Vec::new());
        Ok(opened)
    }

    /// True once the last epoch was reported.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Sets who looks at the instance again when a thread has something for it.
    pub fn wake_by(&mut self, wake: Wake) {
        self.wake = wake;
    }

    pub(super) fn counters(&self) -> &NodeCounters {
        &self.control.operators[self.place]
    }

    pub(super) fn failure(&self, error: GuestError, context: String, gave_up: Option<u32>) -> Failure {
        Failure::Guest {
            operator: self.blueprint.settings.name.clone(),
            index: self.place,
            instance: self.at.instance,
            epoch: self.inbox.current(),
            context,
            error: Box::new(error),
            gave_up,
            evidence: Evidence::default(),
        }
    }

    pub(super) fn index(&self) -> usize {
        self.place
    }

    /// Hands on what the guest logged, and what it used.
    pub(super) fn pass_log(&mut self) {
        let Some(guest) = &mut self.instance else { return };
        self.control.operators[self.place].add_usage(&guest.take_usage());
        for line in guest.take_log() {
            let (operator, instance, text) = (&self.blueprint.settings.name, self.at.instance, line.message);
            match line.level {
                Level::Trace => tracing::trace!(operator, instance, "{text}"),
                Level::Debug => tracing::debug!(operator, instance, "{text}"),
                Level::Info => tracing::info!(operator, instance, "{text}"),
                Level::Warn => tracing::warn!(operator, instance, "{text}"),
                Level::Error => tracing::error!(operator, instance, "{text}"),
            }
        }
    }

    /// One turn.
    pub fn work(&mut self, frontiers: &[MutableAntichain<Moment>], send: &mut Send<'_>) -> Result<Turn, Failure> {
        self.turn_ends = Instant::now() + TURN_MAX;
        for _ in 0..UNITS_A_TURN {
            if self.closed || self.control.aborted() {
                return Ok(Turn::Rest);
            }
            if let Some(turn) = self.wait()? {
                return Ok(turn);
            }
            let unit = match self.unit.take() {
                Some(unit) => unit,
                None => match self.next(frontiers)? {
                    Some(unit) => unit,
                    None => return Ok(Turn::Rest),
                },
            };
            if unit.work.may_emit() && self.waits_for_room() {
                self.unit = Some(unit);
                return Ok(Turn::Rest);
            }
            self.attempt(unit, send)?;
            if Instant::now() >= self.turn_ends {
                break;
            }
        }
        Ok(if self.closed { Turn::Rest } else { Turn::Again })
    }

    /// What has to be done next.
    fn next(&mut self, frontiers: &[MutableAntichain<Moment>]) -> Result<Option<Unit>, Failure> {
        while let Some(Arrival { edge, capabilities, load }) = self.inbox.next() {
            let work = match load {
                Load::Rows(rows) => {
                    let (input, from) = self.edges[edge];
                    if let Some(account) = self.outlet.accounts.of(from) {
                        account.subtract(self.inbox.current(), rows.size_bytes() as u64);
                    }
                    Work::Rows { input, rows: Rest::new(rows) }
                }
                Load::Watermark { sender, watermark } => {
                    // Those of one worker, on an edge that stays there, are so many in a row: their indexes differ in the remainder.
                    let sender = sender as usize % self.watermarks.senders(edge).max(1);
                    match self.watermarks.note(edge, sender, watermark) {
                        Some(risen) => Work::Watermark(risen),
                        None => continue,
                    }
                }
                Load::Damaged => {
                    return Err(Failure::Internal(format!("a damaged frame reached operator `{}`", self.blueprint.settings.name)));
                }
            };
            return Ok(Some(Unit { work, capabilities }));
        }
        let closing = self.inbox.is_at_its_end(frontiers);
        let end = self.inbox.epoch_is_over(frontiers).then(|| Unit { work: Work::EndOfEpoch { closing }, capabilities: Vec::new() });
        Ok(end)
    }

    fn attempt(&mut self, unit: Unit, send: &mut Send<'_>) -> Result<(), Failure> {
        let Some(Unit { work, capabilities }) = self.save_before(unit)? else { return Ok(()) };
        match work {
            Work::Rows { input, rows } => self.work_on_rows(input, rows, capabilities, send),
            Work::Watermark(risen) => self.advance(risen, capabilities, send),
            Work::EndOfEpoch { closing } => self.end_epoch(closing),
        }
    }

    /// Rows that wait for one of its inputs, in this epoch.
    pub(super) fn waiting_rows(&self, input: u32) -> impl Iterator<Item = &Batch> {
        self.inbox.waiting_rows().filter(move |(edge, _)| self.edges[*edge].0 == input).map(|(_, rows)| rows)
    }

    /// Takes note of the monotonic clock of the instance.
    pub(super) fn note_instant(&mut self) {
        self.instant_ns = self.instance.as_ref().map_or(0, Instance::instant_ns).max(self.instant_ns);
    }

    /// Number and time of the next call. One that is made again after a failure has the number of the first time.
    pub(super) fn next_call(&self) -> Call {
        Call { number: self.calls + 1, now_ms: self.clock.now_ms(), instant_ns: self.instant_ns }
    }

    /// Makes a call, and takes note of it where it succeeds.
    pub(super) fn call(&mut self, input: &Input) -> Result<(Outcome, Call, Duration), GuestError> {
        self.note_instant();
        let call = self.next_call();
        self.last_call = call;
        let Some(instance) = &mut self.instance else { return Err(GuestError::missing()) };
        let started = Instant::now();
        let outcome = input.make(instance, call);
        let busy = started.elapsed();
        self.pass_log();
        let outcome = outcome?;
        self.calls = call.number;
        self.inquiry.over();
        if self.blueprint.guard.success() {
            (self.blueprint.events)(Event::Resumed { operator: self.blueprint.settings.name.clone() });
        }
        Ok((outcome, call, busy))
    }

    /// Adds a call to the log, where it may have to be repeated.
    fn log_call(&mut self, input: Input, returned: Returned, call: Call, busy: Duration) {
        if self.image.is_some() {
            self.log.push(Entry { input, call, returned }, busy);
        }
    }

    /// What is to be logged of an outcome. Operators without state have nothing to repeat.
    fn returned(&self, outcome: &Outcome) -> Option<Returned> {
        (self.blueprint.has_state() && self.image.is_some()).then(|| Returned::of(outcome))
    }

    fn work_on_rows(&mut self, input: u32, rows: Rest, capabilities: Vec<Capability<Moment>>, send: &mut Send<'_>) -> Result<(), Failure> {
        let piece = self.search.piece(rows.len()).min(self.outlet.portion.rows(rows.len(), rows.size_bytes() as u64));
        let (now, left) = match piece < rows.len() {
            true => (rows.front(piece), Some(rows)),
            false => (rows.into_batch(), None),
        };
        let given = Input::Rows { input, rows: now };
        match self.call(&given) {
            Ok((outcome, call, busy)) => {
                self.search.succeeded(piece);
                let returned = self.returned(&outcome);
                let Input::Rows { rows: now, .. } = &given else { return Ok(()) };
                self.outlet.portion.note(now.size_bytes() as u64, outcome.outputs.iter().map(|(_, rows)| rows.size_bytes() as u64).sum());
                self.rows += now.len() as u64;
                self.counters().rows_in.fetch_add(now.len() as u64, Ordering::Relaxed);
                let rejected = outcome.rejected.len() as u64;
                self.counters().rejected.fetch_add(rejected, Ordering::Relaxed);
                for rejection in outcome.rejected {
                    self.refuse(input, now, rejection)?;
                }
                self.send_rows(outcome.outputs, &capabilities, send);
                if let Some(returned) = returned {
                    self.log_call(given, returned, call, busy);
                }
                self.unit = left.map(|rows| Unit { work: Work::Rows { input, rows: rows.after(piece) }, capabilities });
                if rejected > 0 { self.rejected(rejected) } else { Ok(()) }
            }
            Err(error) => {
                let context = given.describe(&self.blueprint.description.inputs);
                let Input::Rows { rows: now, .. } = given else { return Ok(()) };
                let unit = Unit { work: Work::Rows { input, rows: left.unwrap_or_else(|| Rest::new(now)) }, capabilities };
                self.rows_failed(unit, piece, error, context)
            }
        }
    }

    fn refuse(&mut self, input: u32, batch: &Batch, rejection: Rejection) -> Result<(), Failure> {
        let Some(row) = batch.get(rejection.row as usize) else { return Ok(()) };
        let (key, value) = (row.key.to_vec(), row.value.to_vec());
        let row = QuarantinedRow { input, origin: String::new(), time: row.time, key, value, reason: rejection.reason };
        if self.refused.push(row) { Ok(()) } else { Err(self.refused_too_much()) }
    }

    pub(super) fn refused_too_much(&self) -> Failure {
        let text = format!("operator `{}` refused over {REJECTED_BYTES_MAX} bytes of rows in one epoch", self.blueprint.settings.name);
        Failure::Limit(format!("{text}\n  help: look at the reasons in the quarantine, or lower `checkpoint.interval`"))
    }

    fn advance(&mut self, risen: Risen, capabilities: Vec<Capability<Moment>>, send: &mut Send<'_>) -> Result<(), Failure> {
        let Risen { watermark, is_new, then_idle } = risen;
        if is_new {
            let given = Input::Watermark(watermark);
            match self.call(&given) {
                Ok((outcome, call, busy)) => {
                    self.search.succeeded(0);
                    let returned = self.returned(&outcome);
                    self.send_rows(outcome.outputs, &capabilities, send);
                    if let Some(returned) = returned {
                        self.log_call(given, returned, call, busy);
                    }
                }
                Err(error) => {
                    let context = given.describe(&self.blueprint.description.inputs);
                    return self.watermark_failed(Unit { work: Work::Watermark(risen), capabilities }, error, context);
                }
            }
        }
        for port in 0..self.blueprint.description.outputs.len() {
            send(&capabilities, port, &mut Frame::watermark(self.at.instance, watermark, self.workers));
            if then_idle {
                send(&capabilities, port, &mut Frame::watermark(self.at.instance, IDLE, self.workers));
            }
        }
        Ok(())
    }

    fn send_rows(&self, outputs: Vec<(u32, Batch)>, capabilities: &[Capability<Moment>], send: &mut Send<'_>) {
        for (port, rows) in outputs {
            if rows.is_empty() {
                continue;
            }
            self.counters().rows_out.fetch_add(rows.len() as u64, Ordering::Relaxed);
            let (port, bytes) = (port as usize, rows.size_bytes() as u64);
            let copies = self.outlet.copies.get(port).copied().unwrap_or_default();
            if let Some(account) = self.outlet.accounts.of(topology::Node::Operator(self.place)) {
                account.add(self.inbox.current(), bytes.saturating_mul(copies));
            }
            for_each_part(rows, &mut |part| send(capabilities, port, &mut Frame::rows(part)));
        }
    }

    /// True where those downstream have too much to take: they wake this instance.
    fn waits_for_room(&self) -> bool {
        let account = self.outlet.accounts.of(topology::Node::Operator(self.place));
        account.is_some_and(|account| account.holds(self.at.instance, self.inbox.current(), &self.wake))
    }

    fn end_epoch(&mut self, closing: bool) -> Result<(), Failure> {
        let since = *self.ending_since.get_or_insert_with(Instant::now);
        self.predict();
        let unit = Unit { work: Work::EndOfEpoch { closing }, capabilities: Vec::new() };
        let snapshot = match self.snapshot() {
            Ok(Turned::Done(snapshot)) => snapshot,
            Ok(Turned::Unfinished) => {
                self.unit = Some(unit);
                return Ok(());
            }
            Err(error) => {
                self.ending_since = None;
                return self.snapshot_failed(unit, error, "at the end of the epoch");
            }
        };
        self.tell_if_too_slow();
        self.snapshot_search.succeeded(0);
        self.ending_since = None;
        self.counters().snapshot_ns_max.fetch_max(since.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.closed = closing;
        let (rejected, faulted, cases) = self.refused.take();
        let (watermark, rows) = (self.watermarks.told(), std::mem::take(&mut self.rows));
        let content = EpochContent::Operator { snapshot, watermark, rows, rejected, faulted, cases };
        let report = EpochReport { from: self.at, epoch: self.inbox.current(), closed: closing, content };
        (self.reporter)(report).map_err(|error| Failure::Internal(error.to_string()))?;
        self.inbox.advance();
        Ok(())
    }
}
