//! One instance of a sink: a dataflow operator that takes rows in the order of epochs, and a thread that writes them.
//!
//! The channel between the two is bounded. When it is full the operator keeps what has arrived, the frontier stays, and the sources wait.

use super::abort_on_panic::AbortOnPanic;
use super::control::Control;
use super::failure::Failure;
use super::in_flight::InFlight;
use super::report::{EpochContent, EpochReport, Reporter};
use super::timestamp::Timestamp;
use crate::connect::{ConnectError, SinkWriter};
use reprise_core::batch::Batch;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::manifest::StagedRef;
use reprise_core::ids::Epoch;
use reprise_core::operator::{Arrival, Arrivals, Frontier, Load};
use reprise_core::topology;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use timely::dataflow::operators::Capability;
use timely::scheduling::SyncActivator;

/// Batches that may wait for the writing thread.
const WRITE_BEHIND_BATCHES: usize = 8;

/// What one instance of a sink is made of.
pub struct SinkAssignment {
    /// Its name in the topology.
    pub name: String,
    /// Its place in the topology file.
    pub index: usize,
    /// Writes its output.
    pub writer: Box<dyn SinkWriter>,
}

enum Command {
    Write { epoch: Epoch, input: u32, rows: Batch },
    Seal { epoch: Epoch, closed: bool },
}

/// What a held command came with: the right to send keeps the frontier where it is.
type Held = Option<Vec<Capability<Timestamp>>>;

/// One instance of a sink.
pub(super) struct SinkInstance {
    name: String,
    /// Where each edge comes from.
    edges: Vec<topology::Node>,
    in_flight: Arc<InFlight>,
    control: Arc<Control>,
    out: SyncSender<Command>,
    held: Option<(Command, Held)>,
    arrivals: Arrivals<Vec<Capability<Timestamp>>>,
    closed: bool,
}

impl SinkInstance {
    /// Starts the writing thread. `wake` activates the dataflow operator.
    pub fn open(
        assignment: SinkAssignment,
        worker: u32,
        first: Epoch,
        control: Arc<Control>,
        reporter: Reporter,
        (edges, in_flight): (Vec<topology::Node>, Arc<InFlight>),
        wake: SyncActivator,
    ) -> Result<Self, Failure> {
        let (out, commands) = sync_channel(WRITE_BEHIND_BATCHES);
        let at = Participant { node: Node::Sink(assignment.index), instance: worker };
        let (watched, name, writer) = (Arc::clone(&control), assignment.name.clone(), assignment.writer);
        let connected = control.threads.connect();
        let thread = move || {
            let _connected = connected;
            let _abort = AbortOnPanic(&watched, "a writing thread");
            if let Err(failure) = write(writer, &commands, at, &name, &watched, &reporter, &wake) {
                watched.fail(failure);
            }
        };
        std::thread::Builder::new()
            .name(format!("write-{}", assignment.name))
            .spawn(thread)
            .map_err(|error| Failure::no_thread(&format!("a thread for sink `{}`", assignment.name), &error))?;
        let (name, arrivals) = (assignment.name, Arrivals::new(first));
        Ok(Self { name, edges, in_flight, control, out, held: None, arrivals, closed: false })
    }

    /// Its name in the topology.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes a delivery in.
    pub fn put(&mut self, epoch: Epoch, delivery: Arrival<Vec<Capability<Timestamp>>>) {
        self.arrivals.put(epoch, delivery);
    }

    /// True once the end of the last epoch was handed to the thread.
    pub fn closed(&self) -> bool {
        self.closed && self.held.is_none()
    }

    /// One turn. What could not be sent is held, with its capability, until the thread wakes us.
    pub fn work(&mut self, frontier: &impl Frontier) -> Result<(), Failure> {
        loop {
            if self.control.aborted() {
                return Ok(());
            }
            if let Some((command, right)) = self.held.take()
                && !self.try_send(command, right)
            {
                return Ok(());
            }
            if self.closed {
                return Ok(());
            }
            let epoch = self.arrivals.current();
            if let Some(Arrival { edge, right, load }) = self.arrivals.pop() {
                if let Load::Rows(rows) = load {
                    if let Some(upstream) = self.edges.get(edge).and_then(|from| self.in_flight.of(*from)) {
                        upstream.subtract(epoch, rows.size_bytes() as u64);
                    }
                    self.held = Some((Command::Write { epoch, input: edge as u32, rows }, Some(right)));
                }
            } else if self.arrivals.is_over(frontier) {
                self.closed = self.arrivals.is_last(frontier);
                self.held = Some((Command::Seal { epoch, closed: self.closed }, None));
                self.arrivals.next_epoch();
            } else {
                return Ok(());
            }
        }
    }

    /// False where the channel is full; the command is held then.
    fn try_send(&mut self, command: Command, right: Held) -> bool {
        match self.out.try_send(command) {
            Ok(()) => true,
            Err(TrySendError::Full(command)) => {
                self.held = Some((command, right));
                false
            }
            // The thread has failed, and said so to the control.
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

fn write(
    mut writer: Box<dyn SinkWriter>,
    commands: &Receiver<Command>,
    at: Participant,
    name: &str,
    control: &Control,
    reporter: &Reporter,
    wake: &SyncActivator,
) -> Result<(), Failure> {
    let failed = |error| match error {
        // The writer was called out of order: that is a fault of this module.
        ConnectError::Order { .. } => Failure::Internal(error.to_string()),
        error => Failure::Connect { kind: "sink", name: name.to_owned(), instance: at.instance, error },
    };
    let (mut rows, Node::Sink(place)) = (0, at.node) else { return Ok(()) };
    while let Ok(command) = commands.recv() {
        if control.aborted() {
            return Ok(());
        }
        // An error means that the worker is gone: the channel is about to close.
        let _ = wake.activate();
        match command {
            Command::Write { epoch, input, rows: batch } => {
                writer.write(epoch.0, input, &batch).map_err(failed)?;
                // Only now: rows that could not be written do not count as written.
                rows += batch.len() as u64;
                control.sinks[place].rows_in.fetch_add(batch.len() as u64, Ordering::Relaxed);
            }
            Command::Seal { epoch, closed } => {
                let staged = writer.seal(epoch.0).map_err(failed)?;
                let staged = staged.map(|s| StagedRef { epoch, token: s.token, rows: s.rows, bytes: s.bytes });
                let content = EpochContent::Sink { staged, rows: std::mem::take(&mut rows) };
                let report = EpochReport { from: at, epoch, closed, content };
                reporter(report).map_err(|error| Failure::Internal(error.to_string()))?;
            }
        }
    }
    Ok(())
}
