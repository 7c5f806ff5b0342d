//! The queue of an instance: what has arrived, in the order in which it may be worked on. Epoch by epoch, and within an epoch as it came.
//!
//! Invariant (design, section 8, no. 4): nothing of a later epoch is handed out before [`Queue::next_epoch`] was called, and that is called
//! only after the snapshot of the present one.
//!
//! What waits too long is parked ([`super::backlog`]): it gives up its own right to send, so that its epoch can end, and what comes of it is sent
//! by one right that follows the frontier. While anything is parked, what arrives is parked behind it.

use super::backlog::{Backlog, NextParked, ParkedTally};
use super::contract::Frontier;
use super::pending_rows::{BYTES_TOGETHER, PendingRows, ROWS_TOGETHER};
use super::watermarks::{AWAKE, IDLE, Risen, UnknownSender, Watermarks};
use crate::batch::Batch;
use crate::codec::parked::{ParkedEdge, ParkedItem};
use crate::ids::Epoch;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// A delivery on one edge, with the right to send at its time.
#[derive(Debug)]
pub struct Arrival<Right> {
    /// The edge it came on: an index among the edges of the node.
    pub edge: usize,
    /// The right to send.
    pub right: Right,
    /// What came.
    pub load: Load,
}

/// Rows or a watermark.
#[derive(Debug)]
pub enum Load {
    /// Rows.
    Rows(Batch),
    /// A watermark of an instance upstream.
    Watermark {
        /// Index of that instance.
        sender: u32,
        /// The watermark; [`IDLE`](super::IDLE) and [`AWAKE`](super::AWAKE) are none.
        watermark: i64,
    },
}

/// A unit of work: it stays until all of it is done.
#[derive(Debug)]
pub(super) struct Unit<Right> {
    pub work: Work,
    /// The right to send what comes of it; `None` at the end of an epoch.
    pub right: Option<Right>,
}

/// The work of a unit.
#[derive(Debug)]
pub(super) enum Work {
    Rows { input: u32, rows: PendingRows },
    Watermark(Risen),
    EndOfEpoch { is_last: bool },
}

impl Work {
    /// True where the guest is called for it, and may emit.
    pub fn may_emit(&self) -> bool {
        match self {
            Self::Rows { .. } => true,
            Self::Watermark(risen) => risen.is_new,
            Self::EndOfEpoch { .. } => false,
        }
    }
}

/// What an edge leads to, and who sends on it.
#[derive(Debug, Clone)]
pub struct EdgeEnd {
    /// The input of the operator.
    pub input: u32,
    /// Indices of the instances upstream.
    pub senders: Range<u32>,
    /// What parked rows tell of it.
    pub parked: ParkedEdge,
}

/// The queue of an instance. Unlike the deliveries of an exchange, its units are as large as they may be.
#[derive(Debug)]
pub(super) struct Queue<Right> {
    edges: Vec<EdgeEnd>,
    watermarks: Watermarks,
    arrivals: Arrivals<Right>,
    /// What is parked, which comes before what arrives.
    pub backlog: Backlog,
    /// The right to send what comes of parked input, while there is any.
    parked_right: Option<Right>,
    /// The unit that was begun and is not done.
    begun: Option<Unit<Right>>,
    /// Where the last unit came from.
    origin: Origin,
    /// The watermark that the guest was told last.
    told: i64,
    /// Those downstream were told not to wait.
    has_said_idle: bool,
}

/// Where a unit came from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// It arrived on an edge.
    Edge(usize),
    /// It was parked; rows came on this edge.
    Parked(u32),
    /// It makes up for what is not parked: what is idle, and who ended while something was parked.
    MadeUp,
}

impl<Right: Clone> Queue<Right> {
    /// The queue of an instance whose first epoch is `first`. `told`: the watermark that it was told in an earlier run. `backlog`: what waited then.
    pub fn new(edges: Vec<EdgeEnd>, first: Epoch, told: i64, backlog: Backlog) -> Self {
        let watermarks = Watermarks::new(edges.iter().map(|edge| edge.senders.clone()));
        Self {
            edges,
            watermarks,
            arrivals: Arrivals::new(first),
            backlog,
            parked_right: None,
            begun: None,
            origin: Origin::MadeUp,
            told,
            has_said_idle: false,
        }
    }

    /// The epoch that is being worked on.
    pub fn epoch(&self) -> Epoch {
        self.arrivals.current
    }

    /// Takes a delivery in.
    pub fn put(&mut self, epoch: Epoch, delivery: Arrival<Right>) {
        self.arrivals.put(epoch, delivery);
    }

    /// The watermark that the guest was told last.
    pub fn watermark(&self) -> i64 {
        self.told
    }

    /// Takes note of what was said downstream, and to the guest where that is a watermark.
    pub fn note_said(&mut self, watermark: i64, then_idle: bool) {
        self.has_said_idle = watermark == IDLE || then_idle;
        if watermark > AWAKE {
            self.told = self.told.max(watermark);
        }
    }

    /// Puts a unit back, or what is left of it: it comes next.
    pub fn put_back(&mut self, unit: Unit<Right>) {
        self.begun = Some(unit);
    }

    /// The unit that was put back, which stays.
    pub fn begun(&self) -> Option<&Unit<Right>> {
        self.begun.as_ref()
    }

    /// The unit that was put back, which is put back again or done.
    pub fn take_begun(&mut self) -> Option<Unit<Right>> {
        self.begun.take()
    }

    fn input(&self, edge: usize) -> u32 {
        self.edges.get(edge).map_or(0, |end| end.input)
    }

    /// The next unit; `None` where there is nothing to do before something arrives, or is read. `took`: is told of the rows of an edge, in bytes.
    ///
    /// # Errors
    /// The dataflow is wired wrongly.
    pub fn next(&mut self, frontier: &impl Frontier, took: impl Fn(usize, u64)) -> Result<Option<Unit<Right>>, UnknownSender> {
        if let Some(unit) = self.begun.take() {
            return Ok(Some(unit));
        }
        if let Some(right) = self.parked_right.clone() {
            let next = self.next_parked(right);
            if self.is_parking() {
                return Ok(next);
            }
        }
        while let Some(Arrival { edge, right, load }) = self.arrivals.pop() {
            let work = match load {
                Load::Rows(rows) => {
                    took(edge, rows.size_bytes() as u64);
                    Work::Rows { input: self.input(edge), rows: PendingRows::new(rows) }
                }
                Load::Watermark { sender, watermark } => match self.watermarks.note(edge, sender, watermark)? {
                    Some(risen) => Work::Watermark(self.risen(risen)),
                    None => continue,
                },
            };
            self.origin = Origin::Edge(edge);
            return Ok(Some(Unit { work, right: Some(right) }));
        }
        let is_last = self.arrivals.is_last(frontier);
        Ok(self.arrivals.is_over(frontier).then_some(Unit { work: Work::EndOfEpoch { is_last }, right: None }))
    }

    /// What rises, as the guest sees it: it may have been told.
    fn risen(&self, risen: Risen) -> Risen {
        Risen { is_new: risen.watermark > AWAKE && risen.watermark > self.told, ..risen }
    }

    /// The next unit of the backlog. Where nothing is parked any more, and those downstream have heard what was not parked, the right is given up.
    fn next_parked(&mut self, right: Right) -> Option<Unit<Right>> {
        self.origin = Origin::MadeUp;
        let quiet = Risen { watermark: AWAKE, is_new: false, then_idle: false };
        let unit = |work| Some(Unit { work, right: Some(right.clone()) });
        if self.has_said_idle && !self.backlog.is_empty() {
            return unit(Work::Watermark(Risen { watermark: self.told.max(AWAKE), ..quiet }));
        }
        match self.backlog.next() {
            NextParked::Item(ParkedItem::Rows { edge, rows }) => {
                self.origin = Origin::Parked(edge);
                unit(Work::Rows { input: self.input(edge as usize), rows: PendingRows::new(rows) })
            }
            NextParked::Item(ParkedItem::Watermark(watermark)) => {
                self.origin = Origin::Parked(0);
                unit(Work::Watermark(self.risen(Risen { watermark, ..quiet })))
            }
            NextParked::Held => None,
            NextParked::Nothing if self.watermarks.least() > self.told => {
                unit(Work::Watermark(self.risen(Risen { watermark: self.watermarks.least(), ..quiet })))
            }
            NextParked::Nothing if self.watermarks.is_idle() && !self.has_said_idle => {
                unit(Work::Watermark(Risen { watermark: IDLE, ..quiet }))
            }
            NextParked::Nothing => {
                self.parked_right = None;
                None
            }
        }
    }

    /// The next parked rows that go to quarantine, with the input that they are for. `may`: there is room for them.
    pub fn take_given_up(&mut self, may: bool) -> Option<(u32, Batch)> {
        while may && let Some(item) = self.backlog.take_given_up() {
            if let ParkedItem::Rows { edge, rows } = item {
                return Some((self.input(edge as usize), rows));
            }
        }
        None
    }

    /// The unit that was handed out last had been parked.
    pub fn is_of_backlog(&self) -> bool {
        matches!(self.origin, Origin::Parked(_))
    }

    /// Something is parked, or was until just now.
    pub fn is_parking(&self) -> bool {
        self.parked_right.is_some()
    }

    /// Gives the right by which what comes of parked input is sent, where something was parked in an earlier run.
    pub fn give_right(&mut self, right: Right) {
        if !self.backlog.is_empty() {
            self.parked_right = Some(right);
        }
    }

    /// The right to send what comes of parked input.
    pub fn parked_right_mut(&mut self) -> Option<&mut Right> {
        self.parked_right.as_mut()
    }

    /// Gives up the right to send what comes of parked input: the last epoch has ended.
    pub fn drop_right(&mut self) {
        self.parked_right = None;
    }

    /// True where something of the present epoch waits, apart from its end.
    pub fn is_waiting(&self) -> bool {
        let is_begun = self.begun.as_ref().is_some_and(|unit| !matches!(unit.work, Work::EndOfEpoch { .. }));
        is_begun || self.is_parking() || self.has_arrivals()
    }

    /// True where something of the present epoch has arrived and is neither begun nor parked.
    pub fn has_arrivals(&self) -> bool {
        self.arrivals.waiting_now().next().is_some()
    }

    /// The end of the epoch was begun.
    pub fn is_ending(&self) -> bool {
        self.begun.as_ref().is_some_and(|unit| matches!(unit.work, Work::EndOfEpoch { .. }))
    }

    /// Parks what was begun. What has arrived stays.
    pub fn park_begun(&mut self, now_ms: i64) {
        if self.is_ending() {
            return;
        }
        let Some(Unit { work, right }) = self.begun.take() else { return };
        self.parked_right = self.parked_right.take().or(right);
        match (work, self.origin) {
            (Work::Rows { rows, .. }, Origin::Edge(edge)) => {
                self.backlog.push_front(ParkedItem::Rows { edge: edge as u32, rows: rows.into_batch() }, now_ms);
            }
            (Work::Rows { rows, .. }, Origin::Parked(edge)) => self.backlog.put_back(ParkedItem::Rows { edge, rows: rows.into_batch() }),
            // What is idle is told again once nothing is parked.
            (Work::Watermark(Risen { watermark: i64::MIN..=AWAKE, .. }), _) => {}
            (Work::Watermark(Risen { watermark, .. }), Origin::Edge(_)) => {
                self.backlog.push_front(ParkedItem::Watermark(watermark), now_ms)
            }
            (Work::Watermark(Risen { watermark, .. }), Origin::Parked(_)) => self.backlog.put_back(ParkedItem::Watermark(watermark)),
            _ => {}
        }
    }

    /// Parks what has arrived of the present epoch, while `may` says so of what is parked. `took`: as in [`Self::next`].
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn park_arrivals(&mut self, now_ms: i64, may: impl Fn(&Backlog) -> bool, took: impl Fn(usize, u64)) -> Result<(), UnknownSender> {
        while self.has_arrivals() && may(&self.backlog) {
            let Some(Arrival { edge, right, load }) = self.arrivals.pop() else { break };
            let item = match load {
                Load::Rows(rows) => {
                    took(edge, rows.size_bytes() as u64);
                    ParkedItem::Rows { edge: edge as u32, rows }
                }
                Load::Watermark { sender, watermark } => match self.watermarks.note(edge, sender, watermark)? {
                    Some(risen) if risen.watermark > AWAKE => ParkedItem::Watermark(risen.watermark),
                    _ => continue,
                },
            };
            self.backlog.push(item, now_ms);
            self.parked_right.get_or_insert(right);
        }
        Ok(())
    }

    /// What is parked, in all.
    pub fn parked(&self) -> ParkedTally {
        self.backlog.tally()
    }

    /// Nothing can arrive of the present epoch.
    pub fn is_past(&self, frontier: &impl Frontier) -> bool {
        frontier.is_past(self.epoch())
    }

    /// Nothing can arrive after the present epoch.
    pub fn is_last(&self, frontier: &impl Frontier) -> bool {
        self.arrivals.is_last(frontier)
    }

    /// Begins the end of the epoch, while input waits.
    pub fn begin_end(&mut self, is_last: bool) {
        self.begun = Some(Unit { work: Work::EndOfEpoch { is_last }, right: None });
    }

    /// Rows of the present epoch that wait for one of the inputs.
    pub fn waiting_rows(&self, input: u32) -> impl Iterator<Item = &Batch> {
        self.backlog
            .rows()
            .chain(self.arrivals.waiting_rows())
            .filter(move |(edge, _)| self.edges.get(*edge).is_some_and(|end| end.input == input))
            .map(|(_, rows)| rows)
    }

    /// Goes on to the next epoch.
    pub fn next_epoch(&mut self) {
        self.arrivals.next_epoch();
    }

    /// Lets deliveries of the next epoch be handed out with those of the present one, which no product does.
    pub fn mix_epochs(&mut self) {
        let later: Vec<_> = std::mem::take(&mut self.arrivals.waiting).into_values().flatten().collect();
        self.arrivals.waiting.insert(self.arrivals.current, later.into());
    }
}

/// Deliveries by their epoch.
#[derive(Debug)]
pub struct Arrivals<Right> {
    current: Epoch,
    waiting: BTreeMap<Epoch, VecDeque<Arrival<Right>>>,
}

impl<Right> Arrivals<Right> {
    /// None yet, in the epoch `first`.
    #[must_use]
    pub fn new(first: Epoch) -> Self {
        Self { current: first, waiting: BTreeMap::new() }
    }

    /// The epoch that is being worked on.
    #[must_use]
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// Takes a delivery in.
    pub fn put(&mut self, epoch: Epoch, delivery: Arrival<Right>) {
        self.waiting.entry(epoch).or_default().push_back(delivery);
    }

    /// The next delivery of the present epoch. Rows that follow each other on one edge are put together, since an exchange cuts them small; the
    /// right of the first allows what those of the others do.
    pub fn pop(&mut self) -> Option<Arrival<Right>> {
        let queue = self.waiting.get_mut(&self.current)?;
        let mut first = queue.pop_front()?;
        if let Load::Rows(rows) = &mut first.load {
            while let Some(Arrival { edge, load: Load::Rows(more), .. }) = queue.front()
                && *edge == first.edge
                && rows.len() + more.len() <= ROWS_TOGETHER
                && rows.size_bytes() + more.size_bytes() <= BYTES_TOGETHER
                && rows.append(more).is_ok()
            {
                queue.pop_front();
            }
        }
        Some(first)
    }

    /// What waits of the present epoch.
    fn waiting_now(&self) -> impl Iterator<Item = &Arrival<Right>> {
        self.waiting.get(&self.current).into_iter().flatten()
    }

    /// Rows of the present epoch that wait, with the edge that they came on.
    pub fn waiting_rows(&self) -> impl Iterator<Item = (usize, &Batch)> {
        self.waiting_now().filter_map(|delivery| if let Load::Rows(rows) = &delivery.load { Some((delivery.edge, rows)) } else { None })
    }

    /// True where nothing of the present epoch is here or can still come.
    pub fn is_over(&self, frontier: &impl Frontier) -> bool {
        let is_here = self.waiting.get(&self.current).is_some_and(|queue| !queue.is_empty());
        !is_here && frontier.is_past(self.current)
    }

    /// True where nothing at all is here or can still come, apart from the present epoch.
    pub fn is_last(&self, frontier: &impl Frontier) -> bool {
        self.waiting.keys().all(|&epoch| epoch <= self.current) && frontier.is_empty()
    }

    /// Goes on to the next epoch.
    pub fn next_epoch(&mut self) {
        self.waiting.remove(&self.current);
        self.current = self.current.next();
    }
}

#[cfg(test)]
mod tests;
