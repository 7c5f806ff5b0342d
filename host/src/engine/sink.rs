//! One instance of a sink: a dataflow operator that takes rows in the order of epochs, and a thread that writes them.
//!
//! The channel between the two is bounded. When it is full the operator keeps what has arrived, the frontier stays, and the sources wait.

use super::account::Accounts;
use super::control::{Alarm, Control, Failure};
use super::frame::Load;
use super::inbox::{Arrival, Inbox};
use super::moment::Moment;
use super::report::{EpochContent, EpochReport, Reporter};
use crate::connect::{ConnectError, SinkWriter};
use reprise_core::batch::Batch;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::manifest::StagedRef;
use reprise_core::ids::Epoch;
use reprise_core::topology;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use timely::progress::frontier::MutableAntichain;
use timely::scheduling::SyncActivator;

/// Batches that may wait for the writing thread.
const WRITE_BEHIND_BATCHES: usize = 8;

/// What one instance of a sink is made of.
pub struct SinkSeat {
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

/// See the module.
pub(super) struct SinkInstance {
    name: String,
    /// Where each edge comes from.
    edges: Vec<topology::Node>,
    accounts: Arc<Accounts>,
    control: Arc<Control>,
    out: SyncSender<Command>,
    held: Option<(Command, Option<Arrival>)>,
    pub inbox: Inbox,
    closed: bool,
}

impl SinkInstance {
    /// Starts the writing thread. `wake` activates the dataflow operator.
    pub fn open(
        seat: SinkSeat,
        worker: u32,
        first: Epoch,
        control: Arc<Control>,
        reporter: Reporter,
        (edges, accounts): (Vec<topology::Node>, Arc<Accounts>),
        wake: SyncActivator,
    ) -> Result<Self, Failure> {
        let (out, commands) = sync_channel(WRITE_BEHIND_BATCHES);
        let at = Participant { node: Node::Sink(seat.index), instance: worker };
        let (watched, name, writer) = (Arc::clone(&control), seat.name.clone(), seat.writer);
        let connected = control.crew.connect();
        let thread = move || {
            let _connected = connected;
            let _alarm = Alarm(&watched, "a writing thread");
            if let Err(failure) = write(writer, &commands, at, &name, &watched, &reporter, &wake) {
                watched.fail(failure);
            }
        };
        std::thread::Builder::new()
            .name(format!("write-{}", seat.name))
            .spawn(thread)
            .map_err(|error| Failure::no_thread(&format!("a thread for sink `{}`", seat.name), &error))?;
        let (name, inbox) = (seat.name, Inbox::new(first, 1));
        Ok(Self { name, edges, accounts, control, out, held: None, inbox, closed: false })
    }

    /// True once the end of the last epoch was handed to the thread.
    pub fn closed(&self) -> bool {
        self.closed && self.held.is_none()
    }

    /// One turn. What could not be sent is held, with its capability, until the thread wakes us.
    pub fn work(&mut self, frontiers: &[MutableAntichain<Moment>]) -> Result<(), Failure> {
        loop {
            if self.control.aborted() {
                return Ok(());
            }
            if let Some((command, arrival)) = self.held.take()
                && !self.try_send(command, arrival)
            {
                return Ok(());
            }
            if self.closed {
                return Ok(());
            }
            if let Some(mut arrival) = self.inbox.next() {
                match std::mem::replace(&mut arrival.load, Load::Damaged) {
                    Load::Rows(batch) => {
                        if let Some(account) = self.edges.get(arrival.edge).and_then(|from| self.accounts.of(*from)) {
                            account.subtract(self.inbox.current(), batch.size_bytes() as u64);
                        }
                        let command = Command::Write { epoch: self.inbox.current(), input: arrival.edge as u32, rows: batch };
                        self.held = Some((command, Some(arrival)));
                    }
                    Load::Watermark { .. } => {}
                    Load::Damaged => return Err(Failure::Internal(format!("a damaged frame reached sink `{}`", self.name))),
                }
            } else if self.inbox.epoch_is_over(frontiers) {
                self.closed = self.inbox.is_at_its_end(frontiers);
                self.held = Some((Command::Seal { epoch: self.inbox.current(), closed: self.closed }, None));
                self.inbox.advance();
            } else {
                return Ok(());
            }
        }
    }

    /// False where the channel is full; the command is held then.
    fn try_send(&mut self, command: Command, arrival: Option<Arrival>) -> bool {
        match self.out.try_send(command) {
            Ok(()) => true,
            Err(TrySendError::Full(command)) => {
                self.held = Some((command, arrival));
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
