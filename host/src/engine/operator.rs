//! One instance of an operator: a Wasm instance inside a dataflow operator.
//!
//! Frames are worked on epoch by epoch ([`super::inbox`]). At the end of an epoch the instance's snapshot is read and reported, and only then
//! does the next epoch begin. A failed call ends the run: the job takes it up again from the last checkpoint.

use super::control::{Control, Failure, NodeCounters};
use super::frame::{Frame, Load};
use super::inbox::{Arrival, Inbox, Risen, Watermarks};
use super::moment::Moment;
use super::report::{EpochContent, EpochReport, REJECTED_BYTES_MAX, Refused, Reporter};
use crate::clock::Clock;
use crate::wasm::{Call, Component, GuestError, Identity, Instance, Level, Limits, Rejection, Scope};
use reprise_core::batch::Batch;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::manifest::QuarantinedRow;
use reprise_core::codec::snapshot;
use reprise_core::description::Description;
use reprise_core::ids::Epoch;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use timely::dataflow::operators::Capability;
use timely::progress::frontier::MutableAntichain;

/// Frames that are worked on before other operators of the worker get their turn.
const FRAMES_A_TURN: usize = 8;

/// What every instance of an operator shares.
pub struct OperatorBlueprint {
    /// Its name in the topology.
    pub name: String,
    /// The job.
    pub job: String,
    /// Its component.
    pub component: Component,
    /// What the component says it is.
    pub description: Description,
    /// Its configuration, JSON text.
    pub config: String,
    /// Limits of each instance.
    pub limits: Limits,
    /// Bytes that one call of `snapshot` should return at most.
    pub part_bytes_max: u32,
    /// Deltas that may follow a full snapshot.
    pub chain_length_max: u32,
}

/// The state that an instance begins with.
#[derive(Debug, Default)]
pub struct Restored {
    /// Chunks in the order in which they are to be restored, with the slot numbers of the present component. Before each the version
    /// that its slot had in the component which wrote it.
    pub chunks: Vec<(u32, Chunk)>,
    /// The watermark that the instance had been told; `i64::MIN` for none.
    pub watermark: i64,
    /// Deltas may follow what was restored; else the next snapshot must be full.
    pub continues: bool,
}

/// What an instance sends: capabilities, output port, frame.
pub(super) type Send<'a> = dyn FnMut(&[Capability<Moment>], usize, &mut Frame) + 'a;

/// See the module.
pub(super) struct OperatorInstance {
    blueprint: Arc<OperatorBlueprint>,
    at: Participant,
    place: usize,
    peers: u32,
    control: Arc<Control>,
    reporter: Reporter,
    clock: Clock,
    /// The operator's input that each edge leads to.
    edges: Vec<u32>,
    instance: Instance,
    pub inbox: Inbox,
    watermarks: Watermarks,
    /// There is a chain that deltas may be added to.
    continues: bool,
    calls: u64,
    refused: Refused,
    rows: u64,
    closed: bool,
}

/// Where an instance sits in the dataflow.
pub(super) struct Place {
    /// Its place in the topology file.
    pub index: usize,
    /// Index of the worker.
    pub worker: usize,
    /// Number of workers.
    pub peers: usize,
    /// For each edge the operator's input, and how many instances send on it.
    pub edges: Vec<(u32, usize)>,
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
        let at = Participant { node: Node::Operator(place.index), instance: place.worker as u32 };
        let failed = |error: GuestError, context: &str| Failure::Guest {
            operator: blueprint.name.clone(),
            index: place.index,
            instance: at.instance,
            epoch: first,
            context: context.into(),
            error: Box::new(error),
        };
        let identity = Identity { job: blueprint.job.clone(), operator: blueprint.name.clone(), instance: at.instance, seed: 0 };
        let mut instance = blueprint.component.instantiate(&blueprint.limits, identity).map_err(|e| failed(e, "before its first row"))?;
        let calls = first.0 << 32;
        let call = Call { number: calls, now_ms: clock.now_ms() };
        instance.open(&blueprint.config, place.peers as u32, call).map_err(|e| failed(e, "before its first row"))?;
        let mut state_bytes = 0;
        for (version, chunk) in &restored.chunks {
            state_bytes += chunk.size_bytes() as i64;
            instance.restore(*version, chunk).map_err(|e| failed(e, "while its state was restored"))?;
        }
        let senders: Vec<usize> = place.edges.iter().map(|(_, senders)| *senders).collect();
        let outputs = blueprint.description.outputs.len().max(1);
        control.operators[place.index].state_bytes.fetch_add(state_bytes, Ordering::Relaxed);
        Ok(Self {
            at,
            place: place.index,
            peers: place.peers as u32,
            control,
            reporter,
            clock,
            edges: place.edges.into_iter().map(|(input, _)| input).collect(),
            instance,
            inbox: Inbox::new(first, outputs),
            watermarks: Watermarks::new(&senders, restored.watermark),
            continues: restored.continues,
            calls,
            refused: Refused::default(),
            rows: 0,
            closed: false,
            blueprint,
        })
    }

    /// True once the last epoch was reported.
    pub fn closed(&self) -> bool {
        self.closed
    }

    fn counters(&self) -> &NodeCounters {
        &self.control.operators[self.place]
    }

    fn failed(&self, error: GuestError, context: String) -> Failure {
        Failure::Guest {
            operator: self.blueprint.name.clone(),
            index: self.place,
            instance: self.at.instance,
            epoch: self.inbox.current(),
            context,
            error: Box::new(error),
        }
    }

    /// Hands on what the guest logged.
    fn pass_log(&mut self) {
        for line in self.instance.take_log() {
            let (operator, instance, text) = (&self.blueprint.name, self.at.instance, line.message);
            match line.level {
                Level::Trace => tracing::trace!(operator, instance, "{text}"),
                Level::Debug => tracing::debug!(operator, instance, "{text}"),
                Level::Info => tracing::info!(operator, instance, "{text}"),
                Level::Warn => tracing::warn!(operator, instance, "{text}"),
                Level::Error => tracing::error!(operator, instance, "{text}"),
            }
        }
    }

    fn call(&mut self) -> Call {
        self.calls += 1;
        Call { number: self.calls, now_ms: self.clock.now_ms() }
    }

    /// One turn. True where there is more to do at once.
    pub fn work(&mut self, frontiers: &[MutableAntichain<Moment>], send: &mut Send<'_>) -> Result<bool, Failure> {
        for _ in 0..FRAMES_A_TURN {
            if self.closed || self.control.aborted() {
                return Ok(false);
            }
            if let Some(arrival) = self.inbox.next() {
                self.take(arrival, send)?;
            } else if self.inbox.epoch_is_over(frontiers) {
                self.closed = self.inbox.is_at_its_end(frontiers);
                self.end_epoch()?;
                self.inbox.advance();
            } else {
                return Ok(false);
            }
        }
        Ok(!self.closed)
    }

    fn take(&mut self, arrival: Arrival, send: &mut Send<'_>) -> Result<(), Failure> {
        match arrival.load {
            Load::Rows(batch) => self.process(arrival.edge, &batch, &arrival.capabilities, send),
            Load::Watermark { sender, watermark } => {
                // On an edge that stays on its worker there is one sender, whatever its index.
                let sender = if self.watermarks.senders(arrival.edge) == 1 { 0 } else { sender as usize };
                match self.watermarks.note(arrival.edge, sender, watermark) {
                    Some(risen) => self.advance(risen, &arrival.capabilities, send),
                    None => Ok(()),
                }
            }
            Load::Damaged => Err(Failure::Internal(format!("a damaged frame reached operator `{}`", self.blueprint.name))),
        }
    }

    fn process(&mut self, edge: usize, batch: &Batch, capabilities: &[Capability<Moment>], send: &mut Send<'_>) -> Result<(), Failure> {
        let input = self.edges[edge];
        let call = self.call();
        let started = Instant::now();
        let outcome = self.instance.process(input, batch, call);
        let busy = started.elapsed().as_nanos() as u64;
        self.pass_log();
        let outcome = outcome.map_err(|error| self.failed(error, batch_context(&self.blueprint.description, input, batch)))?;
        let counters = self.counters();
        counters.busy_ns.fetch_add(busy, Ordering::Relaxed);
        counters.rows_in.fetch_add(batch.len() as u64, Ordering::Relaxed);
        counters.rejected.fetch_add(outcome.rejected.len() as u64, Ordering::Relaxed);
        self.rows += batch.len() as u64;
        for rejection in outcome.rejected {
            self.refuse(input, batch, rejection)?;
        }
        self.send_rows(outcome.outputs, capabilities, send);
        Ok(())
    }

    fn refuse(&mut self, input: u32, batch: &Batch, rejection: Rejection) -> Result<(), Failure> {
        let Some(row) = batch.get(rejection.row as usize) else { return Ok(()) };
        let (key, value) = (row.key.to_vec(), row.value.to_vec());
        let row = QuarantinedRow { input, origin: String::new(), time: row.time, key, value, reason: rejection.reason };
        if self.refused.push(row) {
            return Ok(());
        }
        let text = format!("operator `{}` refused over {REJECTED_BYTES_MAX} bytes of rows in one epoch", self.blueprint.name);
        Err(Failure::Limit(format!("{text}\n  help: look at the reasons in the quarantine, or lower `checkpoint.interval`")))
    }

    fn advance(&mut self, risen: Risen, capabilities: &[Capability<Moment>], send: &mut Send<'_>) -> Result<(), Failure> {
        let Risen { watermark, is_new } = risen;
        if is_new {
            let call = self.call();
            let started = Instant::now();
            let outputs = self.instance.advance(watermark, call);
            self.counters().busy_ns.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
            self.pass_log();
            let outputs = outputs.map_err(|error| self.failed(error, format!("watermark {watermark}")))?;
            self.send_rows(outputs, capabilities, send);
        }
        for port in 0..self.blueprint.description.outputs.len() {
            send(capabilities, port, &mut Frame::watermark(self.at.instance, watermark, self.peers));
        }
        Ok(())
    }

    fn send_rows(&self, outputs: Vec<(u32, Batch)>, capabilities: &[Capability<Moment>], send: &mut Send<'_>) {
        for (port, rows) in outputs {
            if !rows.is_empty() {
                self.counters().rows_out.fetch_add(rows.len() as u64, Ordering::Relaxed);
                send(capabilities, port as usize, &mut Frame::rows(rows));
            }
        }
    }

    fn end_epoch(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        let snapshot = self.snapshot()?;
        let paused = started.elapsed().as_nanos() as u64;
        self.counters().snapshot_ns_max.fetch_max(paused, Ordering::Relaxed);
        let content = EpochContent::Operator {
            snapshot,
            watermark: self.watermarks.told(),
            rows: std::mem::take(&mut self.rows),
            rejected: self.refused.take(),
        };
        let report = EpochReport { from: self.at, epoch: self.inbox.current(), closed: self.closed, content };
        (self.reporter)(report).map_err(|error| Failure::Internal(error.to_string()))
    }

    fn read_snapshot(&mut self, scope: Scope, chunks: &mut Vec<Chunk>) -> Result<(), Failure> {
        let read = self.instance.read_snapshot(scope, self.blueprint.part_bytes_max, &mut |chunk| chunks.push(chunk));
        read.map(drop).map_err(|error| self.failed(error, "at the end of the epoch".into()))
    }

    fn snapshot(&mut self) -> Result<Option<(snapshot::Scope, Vec<Chunk>)>, Failure> {
        if self.blueprint.description.slots.is_empty() {
            return Ok(None);
        }
        // The host compacts chains: it needs no full snapshot from the guest, unless it may not keep deltas, or an object was lost.
        let mut scope = if self.continues && !self.control.takes_full(self.at) { Scope::Changes } else { Scope::Full };
        let mut chunks = Vec::new();
        self.read_snapshot(scope, &mut chunks)?;
        if scope == Scope::Changes && self.blueprint.chain_length_max == 0 && !chunks.iter().all(Chunk::is_empty) {
            chunks.clear();
            scope = Scope::Full;
            self.read_snapshot(scope, &mut chunks)?;
        }
        if chunks.iter().all(Chunk::is_empty) && (scope == Scope::Changes || !self.continues) {
            return Ok(None);
        }
        self.continues = true;
        Ok(Some((if scope == Scope::Full { snapshot::Scope::Full } else { snapshot::Scope::Delta }, chunks)))
    }
}

/// What a call was working on, for the message.
fn batch_context(description: &Description, input: u32, batch: &Batch) -> String {
    let name = description.inputs.get(input as usize).map_or("?", String::as_str);
    let times = batch.times();
    let span = match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) if *last != 0 => format!(", event times {first} to {last} ms"),
        _ => String::new(),
    };
    format!("input `{name}`, {} rows{span}", batch.len())
}
