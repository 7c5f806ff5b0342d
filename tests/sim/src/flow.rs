//! The dataflow of a run: source, operator and sink, some instances of each. Rows go to the owner of their key, watermarks to all.
//!
//! A source instance decides alone when its epoch ends; its watermark is the number of records read of that of its splits that is furthest
//! behind. An operator works on rows and watermarks of its present epoch as they come ([`crate::operator`]); those of a later one wait until
//! all sources are past the present one and its snapshot is taken. A sink keeps rows apart by epoch, and stages an epoch when all operators
//! are past it.

use crate::input::{Record, Row};
use crate::mutation::Mutation;
use crate::operator::operator;
use crate::outbox::Token;
use crate::run::{EpochContent, EpochReport, Run};
use crate::shape::{self, Shape};
use crate::snapshot::Restored;
use crate::world::Sim;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::manifest::{SplitPosition, StagedRef};
use reprise_core::ids::{Epoch, Instance};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Of 1000 reads of a source, so many are followed by a watermark; there is one at the end of each epoch, too.
const WATERMARKS: u64 = 150;
/// Where rows reach a neighbour of their instance, of 1000 so many do.
const MISDEALT: u64 = 50;
/// Rows that a sink takes at a time, at most.
const SINK_ROWS: u64 = 4;

enum Item<T> {
    Row(Epoch, T),
    Watermark(Epoch, i64),
    /// Nothing more of this epoch comes from this sender.
    End(Epoch),
    /// Nor of any later one.
    Closed(Epoch),
}

/// What an instance takes from its inbox.
pub(crate) enum Taken<T> {
    /// Rows of one epoch and one sender, in their order.
    Rows(Epoch, Vec<T>),
    /// The watermark of a sender, in one epoch.
    Watermark(Epoch, usize, i64),
}

/// What comes to one instance, sender by sender.
pub struct Inbox<T> {
    senders: Vec<Sender<T>>,
}

struct Sender<T> {
    waiting: VecDeque<Item<T>>,
    past: Option<Epoch>,
    closed: Option<Epoch>,
}

impl<T> Inbox<T> {
    fn new(senders: u32) -> Self {
        let sender = |_| Sender { waiting: VecDeque::new(), past: None, closed: None };
        Self { senders: (0..senders).map(sender).collect() }
    }

    fn push(&mut self, sender: usize, item: Item<T>) {
        self.senders[sender].waiting.push_back(item);
    }

    /// Adds a row.
    pub(crate) fn push_row(&mut self, sender: usize, of: Epoch, row: T) {
        self.push(sender, Item::Row(of, row));
    }

    /// Notes what the senders say of their epochs, as far as nothing is before it.
    fn note_ends(&mut self) {
        for sender in &mut self.senders {
            while let Some(Item::End(epoch) | Item::Closed(epoch)) = sender.waiting.front() {
                let epoch = *epoch;
                sender.past = Some(epoch);
                if let Some(Item::Closed(_)) = sender.waiting.pop_front() {
                    sender.closed = Some(epoch);
                }
            }
        }
    }

    /// A watermark or some rows, at most `rows_max`, of an epoch up to `epoch`, of a sender that chance picks.
    pub(crate) fn take(&mut self, sim: &Sim, epoch: Epoch, rows_max: u64) -> Option<Taken<T>> {
        self.note_ends();
        let fits = |sender: &Sender<T>| matches!(sender.waiting.front(), Some(Item::Row(of, _) | Item::Watermark(of, _)) if *of <= epoch);
        let may: Vec<usize> = (0..self.senders.len()).filter(|sender| fits(&self.senders[*sender])).collect();
        let from = *sim.random.borrow_mut().pick(&may)?;
        let waiting = &mut self.senders[from].waiting;
        let (of, mut rows) = match waiting.pop_front()? {
            Item::Row(of, row) => (of, vec![row]),
            Item::Watermark(of, watermark) => return Some(Taken::Watermark(of, from, watermark)),
            Item::End(_) | Item::Closed(_) => return None,
        };
        let rows_max = sim.between(1, rows_max) as usize;
        while rows.len() < rows_max
            && let Some(Item::Row(_, row)) = waiting.pop_front_if(|item| matches!(item, Item::Row(next, _) if *next == of))
        {
            rows.push(row);
        }
        Some(Taken::Rows(of, rows))
    }

    /// All senders are past this epoch.
    pub(crate) fn is_past(&self, epoch: Epoch) -> bool {
        self.senders.iter().all(|sender| sender.closed.is_some() || sender.past >= Some(epoch))
    }

    /// The last epoch there is, once all senders have closed.
    pub(crate) fn last(&self) -> Option<Epoch> {
        self.senders.iter().map(|sender| sender.closed).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// What the instances of a run share.
pub struct Flow {
    shape: Shape,
    pub(crate) to_operators: Vec<Inbox<Record>>,
    pub(crate) to_sinks: Vec<Inbox<Row>>,
    source_epochs: Vec<Epoch>,
    exhausted: Vec<bool>,
    /// The newest epoch that is behind us.
    pub completed: Epoch,
    /// Somebody asked to stop.
    pub stop: bool,
    /// Operator instances that are asked for a full snapshot.
    pub ask_full: BTreeSet<u32>,
    /// Instances that have not closed.
    pub active: usize,
    /// How far each split was read.
    pub positions: Vec<u32>,
}

impl Flow {
    /// The dataflow of a run whose first epoch is `first`, at these positions.
    #[must_use]
    pub fn new(shape: Shape, first: Epoch, positions: Vec<u32>) -> Self {
        let (workers, instances) = (shape.workers, shape.instances());
        Self {
            shape,
            to_operators: (0..instances).map(|_| Inbox::new(workers)).collect(),
            to_sinks: (0..workers).map(|_| Inbox::new(instances)).collect(),
            source_epochs: vec![first; workers as usize],
            exhausted: vec![false; workers as usize],
            completed: Epoch(first.0 - 1),
            stop: false,
            ask_full: BTreeSet::new(),
            active: (2 * workers + instances) as usize,
            positions,
        }
    }

    /// An operator instance is past an epoch; `closed`: past all of them.
    pub(crate) fn end_operator_epoch(&mut self, instance: usize, epoch: Epoch, closed: bool) {
        for inbox in &mut self.to_sinks {
            inbox.push(instance, if closed { Item::Closed(epoch) } else { Item::End(epoch) });
        }
        self.active -= usize::from(closed);
    }

    /// A source instance sends a row to the instance that owns its key.
    fn send_row(&mut self, sim: &Sim, instance: u32, epoch: Epoch, record: Record) {
        let mut to = shape::owner(&[record.key], self.shape.instances());
        if sim.is_broken(Mutation::RowsToNeighbour) && sim.chance(MISDEALT) {
            to = self.shape.next_on_worker(to);
        }
        self.to_operators[to as usize].push_row(instance as usize, epoch, record);
    }

    /// A source instance sends its watermark, once it has read anything; one without splits holds nobody up.
    fn send_watermark(&mut self, sim: &Sim, instance: u32, epoch: Epoch) {
        let watermark = sim.input.watermark(self.shape, instance, &self.positions).unwrap_or(i64::MAX);
        for inbox in self.to_operators.iter_mut().filter(|_| watermark > 0) {
            inbox.push(instance as usize, Item::Watermark(epoch, watermark));
        }
    }
}

/// Starts all instances.
pub fn start(sim: &Sim, run: &Rc<Run>, first: Epoch, states: Vec<Restored>) {
    for instance in 0..run.shape.workers {
        sim.spawn(run.host, run.engine, source(sim.clone(), Rc::clone(run), instance, first));
        sim.spawn(run.host, run.engine, sink(sim.clone(), Rc::clone(run), instance, first));
    }
    for (instance, state) in (0..).zip(states) {
        sim.spawn(run.host, run.engine, operator(sim.clone(), Rc::clone(run), instance, first, state));
    }
}

/// What a source instance has read of its epoch.
struct Reading {
    instance: u32,
    epoch: Epoch,
    moved: BTreeSet<usize>,
    rows: u64,
    refused: Vec<Record>,
}

impl Reading {
    /// Reads some records of one split and sends them on.
    fn read(&mut self, sim: &Sim, run: &Run, split: usize) {
        let mut flow = run.flow.borrow_mut();
        let end = sim.input.length(split);
        for _ in 0..sim.between(1, 3) {
            let offset = flow.positions[split];
            if offset >= end {
                break;
            }
            flow.positions[split] += 1;
            self.moved.insert(split);
            let record = sim.input.record(split, offset);
            if record.is_refused() {
                self.refused.push(record);
                continue;
            }
            self.rows += 1;
            flow.send_row(sim, self.instance, self.epoch, record);
        }
        if sim.chance(WATERMARKS) {
            flow.send_watermark(sim, self.instance, self.epoch);
        }
        drop(flow);
        run.changed.notify(sim);
    }

    /// Reports the epoch and begins the next one. `closing`: there is none; whether the input has ended.
    fn end(&mut self, sim: &Sim, run: &Run, closing: Option<bool>) {
        let mut flow = run.flow.borrow_mut();
        let position = |split: usize| SplitPosition {
            split: split.to_string(),
            position: flow.positions[split].to_string(),
            instance: Instance(self.instance),
        };
        let splits = std::mem::take(&mut self.moved).into_iter().map(position).collect();
        let rows = std::mem::take(&mut self.rows);
        let refused = std::mem::take(&mut self.refused);
        let content = EpochContent::Source { splits, rows, refused, ended: closing == Some(true) };
        flow.send_watermark(sim, self.instance, self.epoch);
        for inbox in &mut flow.to_operators {
            let item = if closing.is_some() { Item::Closed(self.epoch) } else { Item::End(self.epoch) };
            inbox.push(self.instance as usize, item);
        }
        let (epoch, closed) = (self.epoch, closing.is_some());
        self.epoch = epoch.next();
        if closed {
            flow.active -= 1;
        } else {
            flow.source_epochs[self.instance as usize] = self.epoch;
        }
        drop(flow);
        let from = Participant { node: Node::Source(0), instance: self.instance };
        run.report(sim, EpochReport { from, epoch, closed, content });
        run.changed.notify(sim);
    }
}

async fn source(sim: Sim, run: Rc<Run>, instance: u32, first: Epoch) {
    let mut reading = Reading { instance, epoch: first, moved: BTreeSet::new(), rows: 0, refused: vec![] };
    loop {
        sim.pause(3, 25).await;
        let own = (0..sim.input.splits()).filter(|split| run.shape.reader(*split) == instance);
        let (unread, ahead, closing, may_end) = {
            let mut flow = run.flow.borrow_mut();
            let unread: Vec<usize> = own.filter(|split| flow.positions[*split] < sim.input.length(*split)).collect();
            if unread.is_empty() && !std::mem::replace(&mut flow.exhausted[instance as usize], true) {
                run.changed.notify(&sim);
            }
            let all_ended = flow.exhausted.iter().all(|exhausted| *exhausted);
            let ahead = flow.source_epochs.iter().any(|epoch| *epoch > reading.epoch);
            let in_flight = reading.epoch.0.saturating_sub(flow.completed.0);
            (unread, ahead, (flow.stop || all_ended).then_some(all_ended), in_flight < sim.plan.epochs_in_flight_max)
        };
        if closing.is_some() {
            reading.end(&sim, &run, closing);
            return;
        }
        let has_read = reading.rows > 0 || !reading.refused.is_empty();
        if may_end && (ahead || (has_read && sim.chance(250)) || (has_read && unread.is_empty())) {
            reading.end(&sim, &run, None);
            continue;
        }
        let split = sim.random.borrow_mut().pick(&unread).copied();
        match split {
            Some(split) => reading.read(&sim, &run, split),
            None => run.changed.wait(&sim).await,
        }
    }
}

async fn sink(sim: Sim, run: Rc<Run>, instance: u32, first: Epoch) {
    let me = instance as usize;
    let mut epoch = first;
    let mut open: BTreeMap<Epoch, Vec<Row>> = BTreeMap::new();
    loop {
        let taken = run.flow.borrow_mut().to_sinks[me].take(&sim, Epoch(u64::MAX), SINK_ROWS);
        if let Some(Taken::Rows(of, rows)) = taken {
            open.entry(of).or_default().extend(rows);
            sim.pause(0, 2).await;
            continue;
        }
        if !run.flow.borrow().to_sinks[me].is_past(epoch) {
            run.changed.wait(&sim).await;
            continue;
        }
        let closed = run.flow.borrow().to_sinks[me].last().is_some_and(|last| epoch >= last);
        let sealed = open.remove(&epoch).unwrap_or_default();
        let rows = sealed.len() as u64;
        sim.pause(0, 5).await;
        let staged = (rows > 0).then(|| {
            let token = Token { epoch, generation: run.generation, instance };
            sim.stage(run.host, token, sealed.into());
            StagedRef { epoch, token: token.text(), rows, bytes: rows }
        });
        if closed {
            run.flow.borrow_mut().active -= 1;
        }
        let from = Participant { node: Node::Sink(0), instance };
        run.report(&sim, EpochReport { from, epoch, closed, content: EpochContent::Sink { staged, rows } });
        if closed {
            return;
        }
        epoch = epoch.next();
    }
}
