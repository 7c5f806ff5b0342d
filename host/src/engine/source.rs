//! One instance of a source: a thread that reads, and a dataflow operator that lets its batches in.
//!
//! The operator decides alone when its next epoch begins: when the interval has passed and something was read, or another source has gone
//! ahead, and not too many epochs are under way. It stays at
//! most so many steps and bytes ahead of the slowest part of the dataflow; what it does not let in stays in the bounded channel, and
//! the reading thread waits there.
//!
//! Steps are common to all sources: who has nothing to send follows the furthest one within its epoch, so that only rows in flight hold
//! the frontier back, never a source that is slow, idle or at its end.
//!
//! An instance that has had no rows for the time `idle-after` tells those downstream not to wait for its watermark, until it has rows again.
//!
//! ```text
//! Running ──end of input──> Ended ──all sources ended──> Closed
//!    └────────────────stop asked────────────────────────────┘
//! ```

use super::abort_on_panic::AbortOnPanic;
use super::control::Control;
use super::failure::Failure;
use super::guest::GuestDump;
use super::report::{EpochContent, EpochReport, Reporter};
use super::stream_element::StreamElement;
use super::timestamp::{EPOCH_MAX, STEPS_MAX, Timestamp, epoch_of, timestamp};
use crate::connect::{InputStatus, SourceBatch, SourceReader};
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::manifest::{QuarantinedRow, SplitPosition};
use reprise_core::ids::{Epoch, Instance};
use reprise_core::operator::{AWAKE, IDLE, REJECTED_BYTES_MAX, RefusedRows};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use timely::container::NoopBuilder;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, probe};
use timely::dataflow::{Scope, Stream};
use timely::scheduling::{Activator, SyncActivator};

/// Frames that letting one batch in may take, and one more: awake, rows, a watermark.
const FRAMES_A_BATCH: u64 = 4;
/// Batches that the reading thread may be ahead of the dataflow.
const READ_AHEAD_BATCHES: usize = 4;
/// How long a reading thread sleeps before it looks whether the run is over.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// Refused rows after which a source ends its epoch early, in bytes: half of what an epoch may hold.
const REJECTED_BYTES_SOFT: usize = REJECTED_BYTES_MAX / 2;

/// Limits of a source. They come from the topology.
#[derive(Debug, Clone, Copy)]
pub struct SourceLimits {
    /// Time between two epochs.
    pub interval: Duration,
    /// Epochs that may be under way.
    pub epochs_in_flight_max: u32,
    /// Steps ahead of the slowest part of the dataflow.
    pub steps_ahead_max: u32,
    /// Bytes ahead of it.
    pub bytes_ahead_max: u64,
}

/// What one instance of a source is made of.
pub struct SourceAssignment {
    /// Its name in the topology.
    pub name: String,
    /// Its place in the topology file.
    pub index: usize,
    /// The reader over its splits.
    pub reader: Box<dyn SourceReader>,
    /// Time without rows after which its watermark holds nothing back.
    pub idle_after: Option<Duration>,
}

enum Read {
    Batch(SourceBatch),
    End,
    Failed(crate::connect::ConnectError),
}

/// Reads until the end, a failure, or the end of the run.
fn read(mut reader: Box<dyn SourceReader>, out: &SyncSender<Read>, wake: &OnceLock<SyncActivator>, control: &Control) {
    let send = |read| {
        let sent = out.send(read).is_ok();
        if let Some(activator) = wake.get() {
            // An error means that the worker is gone; the next send notices.
            let _ = activator.activate();
        }
        sent
    };
    while !control.aborted() && !control.stopping() {
        let going = match reader.next() {
            Ok(InputStatus::Rows(batch)) => send(Read::Batch(batch)),
            Ok(InputStatus::Idle(pause)) => {
                rest(pause, control);
                true
            }
            Ok(InputStatus::End) => {
                send(Read::End);
                false
            }
            Err(error) => {
                send(Read::Failed(error));
                false
            }
        };
        if !going {
            return;
        }
    }
}

/// Sleeps so long, or until the run is over.
#[expect(clippy::disallowed_methods, reason = "the reading thread has nothing else to do, and looks for a stop after each short sleep")]
fn rest(pause: Duration, control: &Control) {
    let end = Instant::now() + pause;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || control.aborted() || control.stopping() {
            return;
        }
        std::thread::sleep(left.min(SLEEP_MAX));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    Closed,
}

/// What an instance of a source shares with the rest of its run.
struct SourceContext {
    name: String,
    at: Participant,
    /// Its place in the topology file.
    place: usize,
    peers: u32,
    limits: SourceLimits,
    control: Arc<Control>,
    reporter: Reporter,
    probe: probe::Handle<Timestamp>,
    activator: Activator,
}

/// Where an instance of a source is in its epochs.
struct EpochProgress {
    epoch: Epoch,
    step: u64,
    began: Instant,
}

/// What an instance of a source let in and the dataflow has not worked off.
#[derive(Default)]
struct Ahead {
    steps: VecDeque<(Timestamp, u64)>,
    bytes: u64,
}

/// What the present epoch of a source amounts to.
#[derive(Default)]
struct SourceTally {
    moved: BTreeMap<String, String>,
    refused: RefusedRows<GuestDump>,
    rows: u64,
    /// A watermark was sent without rows since the last epoch: what came of it is to be kept.
    has_spoken: bool,
}

/// Whether an instance of a source is idle.
struct Idleness {
    after: Option<Duration>,
    /// Since then it could have let rows in, and had none.
    quiet_since: Instant,
    is_idle: bool,
}

/// One instance of a source.
struct SourceInstance {
    context: SourceContext,
    input: Receiver<Read>,
    capability: Option<Capability<Timestamp>>,
    state: State,
    progress: EpochProgress,
    ahead: Ahead,
    /// Bytes let in by epoch, of those that are in no stored checkpoint.
    unstored: VecDeque<(Epoch, u64)>,
    tally: SourceTally,
    watermark: i64,
    idleness: Idleness,
    /// Others were asked to follow since the last batch was sent.
    waiting: bool,
    /// When the timer that was set last goes off.
    alarm: Option<Instant>,
}

/// Builds a source into the dataflow and starts its reading thread.
pub(super) fn build<'scope>(
    scope: Scope<'scope, Timestamp>,
    assigned: SourceAssignment,
    first: Epoch,
    limits: SourceLimits,
    control: &Arc<Control>,
    reporter: &Reporter,
    probe: &probe::Handle<Timestamp>,
) -> Result<(Stream<'scope, Timestamp, StreamElement>, Activator), Failure> {
    let mut builder = OperatorBuilder::new(assigned.name.clone(), scope);
    let (output, stream) = builder.new_output::<StreamElement>();
    let mut output = OutputBuilder::<_, NoopBuilder<StreamElement>>::from(output);
    let worker = scope.worker();
    let address = builder.operator_info().address;
    let wake = Arc::new(OnceLock::from(worker.sync_activator_for(address.to_vec())));
    let (sender, input) = sync_channel(READ_AHEAD_BATCHES);
    let (name, reader, watched) = (assigned.name.clone(), assigned.reader, Arc::clone(control));
    // The thread ends when the channel closes, at the latest at its next batch; a read from standard input may never return.
    let connected = reader.ends().then(|| control.threads.connect());
    std::thread::Builder::new()
        .name(format!("read-{}", assigned.name))
        .spawn(move || {
            let _connected = connected;
            let _abort = AbortOnPanic(&watched, "a reading thread");
            read(reader, &sender, &wake, &watched);
        })
        .map_err(|error| Failure::no_thread(&format!("a thread for source `{name}`"), &error))?;
    let activator = worker.activator_for(Rc::clone(&address));
    let mut instance = SourceInstance {
        context: SourceContext {
            name: assigned.name,
            at: Participant { node: Node::Source(assigned.index), instance: worker.index() as u32 },
            place: assigned.index,
            peers: worker.peers() as u32,
            limits,
            control: Arc::clone(control),
            reporter: Arc::clone(reporter),
            probe: probe.clone(),
            activator: worker.activator_for(Rc::clone(&address)),
        },
        input,
        capability: None,
        state: State::Running,
        progress: EpochProgress { epoch: first, step: 0, began: Instant::now() },
        ahead: Ahead::default(),
        unstored: VecDeque::new(),
        tally: SourceTally::default(),
        watermark: i64::MIN,
        idleness: Idleness { after: assigned.idle_after, quiet_since: Instant::now(), is_idle: false },
        waiting: false,
        alarm: None,
    };
    builder.build(move |mut capabilities| {
        instance.capability = capabilities.pop().map(|c| c.delayed(&timestamp(first, 0)));
        move |_| {
            let mut session = output.activate();
            if let Err(failure) = instance.work(&mut |capability, element| session.session_with_builder(capability).give_container(element))
            {
                instance.state = State::Closed;
                instance.capability = None;
                instance.context.control.fail(failure);
            }
        }
    });
    Ok((stream, activator))
}

type Send<'a> = dyn FnMut(&Capability<Timestamp>, &mut StreamElement) + 'a;

impl SourceInstance {
    fn work(&mut self, send: &mut Send<'_>) -> Result<(), Failure> {
        while self.state != State::Closed {
            if self.context.control.aborted() {
                return Ok(());
            }
            self.release_stored();
            if self.context.control.stopping() || (self.state == State::Ended && self.context.control.all_ended()) {
                return self.close();
            }
            if self.epoch_is_due() {
                self.end_epoch(false)?;
                self.next_epoch()?;
            }
            if self.state == State::Ended {
                break;
            }
            if !self.may_go_on() {
                self.idleness.quiet_since = Instant::now();
                break;
            }
            match self.input.try_recv() {
                Ok(Read::Batch(batch)) => self.let_in(batch, send)?,
                Ok(Read::End) => self.end(send),
                Ok(Read::Failed(error)) => {
                    let (name, instance) = (self.context.name.clone(), self.context.at.instance);
                    return Err(Failure::Connect { kind: "source", name, instance, error });
                }
                Err(TryRecvError::Empty) => {
                    self.rest(send);
                    break;
                }
                Err(TryRecvError::Disconnected) if self.context.control.stopping() || self.context.control.aborted() => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::Internal(format!("the reader of source `{}` is gone", self.context.name)));
                }
            }
        }
        if self.state != State::Closed {
            self.follow();
            self.set_alarm();
        }
        Ok(())
    }

    /// Asks to be activated at the end of the epoch. Once it is over only other events can end it, and they activate by themselves.
    fn set_alarm(&mut self) {
        let now = Instant::now();
        let epoch = Some(self.progress.began + self.context.limits.interval);
        let rest = self
            .idleness
            .after
            .filter(|_| !self.idleness.is_idle && self.state == State::Running)
            .map(|after| self.idleness.quiet_since + after);
        let Some(due) = [epoch, rest].into_iter().flatten().filter(|due| *due > now).min() else { return };
        if self.alarm.is_none_or(|alarm| alarm <= now || due < alarm) {
            self.alarm = Some(due);
            self.context.activator.activate_after(due - now + Duration::from_millis(1));
        }
    }

    /// Tells those downstream not to wait, where there have been no rows for long.
    fn rest(&mut self, send: &mut Send<'_>) {
        if !self.idleness.is_idle && self.idleness.after.is_some_and(|after| self.idleness.quiet_since.elapsed() >= after) {
            (self.idleness.is_idle, self.tally.has_spoken) = (true, true);
            self.send(&mut StreamElement::watermark(self.context.at.instance, IDLE, self.context.peers), 0, send);
        }
    }

    fn epoch_is_due(&self) -> bool {
        let under_way = self.progress.epoch.0.saturating_sub(self.context.control.completed().0);
        // Who lags behind follows, so that rows of a later epoch do not wait for this clock.
        let behind = epoch_of(self.context.control.furthest()) > self.progress.epoch;
        let full = (self.state == State::Running && self.progress.step + FRAMES_A_BATCH >= STEPS_MAX)
            || self.tally.refused.bytes() > REJECTED_BYTES_SOFT;
        // Only a checkpoint makes room; one that was asked for is made whatever there is to keep.
        let asked = (self.context.control.is_full() && self.has_news()) || self.context.control.wanted() >= self.progress.epoch;
        under_way <= u64::from(self.context.limits.epochs_in_flight_max)
            && (full || behind || asked || (self.has_news() && self.progress.began.elapsed() >= self.context.limits.interval))
    }

    /// There is something to keep: an idle source ends no epoch, so that an idle job writes nothing.
    fn has_news(&self) -> bool {
        self.tally.rows > 0 || !self.tally.moved.is_empty() || self.tally.refused.bytes() > 0 || self.tally.has_spoken
    }

    /// Gives back what it read that is in a stored checkpoint by now. An instance at its end does so too: others share the room.
    fn release_stored(&mut self) {
        while let Some((_, bytes)) = self.unstored.pop_front_if(|(epoch, _)| *epoch <= self.context.control.completed()) {
            self.context.control.subtract_unstored(bytes);
        }
    }

    /// Backpressure: false while the dataflow has not worked off enough of what was let in.
    fn may_go_on(&mut self) -> bool {
        while let Some(&(at, bytes)) = self.ahead.steps.front() {
            if self.context.probe.less_equal(&at) {
                break;
            }
            self.ahead.bytes -= bytes;
            self.ahead.steps.pop_front();
        }
        let room =
            self.ahead.steps.len() < self.context.limits.steps_ahead_max as usize && self.ahead.bytes < self.context.limits.bytes_ahead_max;
        room && self.progress.step + FRAMES_A_BATCH < STEPS_MAX
            && self.tally.refused.bytes() < REJECTED_BYTES_MAX
            && !self.context.control.is_full()
            && !self.context.control.is_held(self.context.place)
    }

    fn send(&mut self, element: &mut StreamElement, bytes: u64, send: &mut Send<'_>) {
        let Some(capability) = &mut self.capability else { return };
        send(capability, element);
        self.ahead.steps.push_back((timestamp(self.progress.epoch, self.progress.step), bytes));
        self.ahead.bytes += bytes;
        self.progress.step += 1;
        let next = timestamp(self.progress.epoch, self.progress.step);
        capability.downgrade(&next);
        self.context.control.reach(next);
        self.waiting = false;
    }

    /// Gives up moments at which nothing will be sent, and asks others to do the same where this one waits for them.
    fn follow(&mut self) {
        let furthest = self.context.control.furthest();
        if self.state == State::Ended {
            self.progress.step = STEPS_MAX;
        } else if epoch_of(furthest) == self.progress.epoch {
            self.progress.step = self.progress.step.max(furthest & STEPS_MAX);
        }
        let at = timestamp(self.progress.epoch, self.progress.step);
        if let Some(capability) = self.capability.as_mut().filter(|capability| *capability.time() < at) {
            capability.downgrade(&at);
        }
        if !self.ahead.steps.is_empty() && !self.waiting && self.state == State::Running && !self.may_go_on() {
            self.waiting = true;
            self.context.control.nudge();
        }
    }

    fn let_in(&mut self, batch: SourceBatch, send: &mut Send<'_>) -> Result<(), Failure> {
        let counters = &self.context.control.sources[self.context.place];
        let (rows, bytes) = (batch.rows.len() as u64, batch.rows.size_bytes() as u64);
        counters.rows_in.fetch_add(rows + batch.rejected.len() as u64, Ordering::Relaxed);
        counters.rows_out.fetch_add(rows, Ordering::Relaxed);
        counters.rejected.fetch_add(batch.rejected.len() as u64, Ordering::Relaxed);
        self.count_unstored(bytes + batch.rejected.iter().map(|row| row.bytes.len() as u64).sum::<u64>());
        for row in batch.rejected {
            let origin = format!("{} at {}", row.split, row.offset);
            let row = QuarantinedRow { input: 0, origin, time: 0, key: vec![], value: row.bytes, reason: row.reason };
            if !self.tally.refused.push(row) {
                let text = format!("source `{}` refused over {REJECTED_BYTES_MAX} bytes of rows in one epoch", self.context.name);
                return Err(Failure::Limit(format!("{text}\n  help: check `format`, or lower `checkpoint.interval`")));
            }
        }
        self.tally.rows += rows;
        self.tally.moved.extend(batch.positions.into_iter().map(|p| (p.split, p.position)));
        if rows > 0 {
            self.idleness.quiet_since = Instant::now();
            if std::mem::take(&mut self.idleness.is_idle) {
                self.send(&mut StreamElement::watermark(self.context.at.instance, self.watermark.max(AWAKE), self.context.peers), 0, send);
            }
            self.send(&mut StreamElement::rows(batch.rows), bytes, send);
        }
        if batch.watermark > self.watermark {
            self.watermark = batch.watermark;
            // Where there were no rows, this wakes those downstream for nothing: they are told again at once.
            self.idleness.is_idle = false;
            self.tally.has_spoken = true;
            self.send(&mut StreamElement::watermark(self.context.at.instance, batch.watermark, self.context.peers), 0, send);
        }
        Ok(())
    }

    fn count_unstored(&mut self, bytes: u64) {
        self.context.control.add_unstored(bytes);
        match self.unstored.back_mut() {
            Some((epoch, so_far)) if *epoch == self.progress.epoch => *so_far += bytes,
            _ => self.unstored.push_back((self.progress.epoch, bytes)),
        }
    }

    fn end(&mut self, send: &mut Send<'_>) {
        self.send(&mut StreamElement::watermark(self.context.at.instance, i64::MAX, self.context.peers), 0, send);
        self.state = State::Ended;
        // The others may wait for what this one is now ready to give up.
        self.follow();
        self.context.control.source_ended();
    }

    fn end_epoch(&mut self, closed: bool) -> Result<(), Failure> {
        self.tally.has_spoken = false;
        let splits = std::mem::take(&mut self.tally.moved);
        let instance = Instance(self.context.at.instance);
        let content = EpochContent::Source {
            splits: splits.into_iter().map(|(split, position)| SplitPosition { split, position, instance }).collect(),
            rows: std::mem::take(&mut self.tally.rows),
            rejected: self.tally.refused.take().0,
            ended: closed && self.state == State::Ended,
        };
        let report = EpochReport { from: self.context.at, epoch: self.progress.epoch, closed, content };
        (self.context.reporter)(report).map_err(|error| Failure::Internal(error.to_string()))
    }

    fn next_epoch(&mut self) -> Result<(), Failure> {
        if self.progress.epoch.0 >= EPOCH_MAX {
            return Err(Failure::Limit(format!("epoch {EPOCH_MAX} is the last one a job can have")));
        }
        self.progress.epoch = self.progress.epoch.next();
        self.progress.step = 0;
        self.progress.began = Instant::now();
        let first = epoch_of(self.context.control.furthest()) < self.progress.epoch;
        self.context.control.reach(timestamp(self.progress.epoch, 0));
        if first {
            // Those with nothing to read would stay in the epoch before, and rows of this one would wait for them.
            self.context.control.nudge();
        }
        if let Some(capability) = &mut self.capability {
            capability.downgrade(&timestamp(self.progress.epoch, 0));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.end_epoch(true)?;
        self.state = State::Closed;
        self.capability = None;
        Ok(())
    }
}
