//! The queue of an instance: what has arrived, in the order in which it may be worked on. Epoch by epoch, and within an epoch as it came.
//!
//! Invariant (design, section 8, no. 4): nothing of a later epoch is handed out before [`Queue::next_epoch`] was called, and that is called
//! only after the snapshot of the present one.

use super::contract::Frontier;
use super::pending_rows::PendingRows;
use super::watermarks::{Risen, UnknownSender, Watermarks};
use crate::batch::Batch;
use crate::ids::Epoch;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Rows for one receiver that are kept together until a batch is large enough, in rows.
pub const ROWS_TOGETHER: usize = 4096;
/// The same, in bytes.
pub const BYTES_TOGETHER: usize = 256 << 10;

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
}

/// The queue of an instance. Unlike the deliveries of an exchange, its units are as large as they may be.
#[derive(Debug)]
pub(super) struct Queue<Right> {
    edges: Vec<EdgeEnd>,
    watermarks: Watermarks,
    arrivals: Arrivals<Right>,
    /// The unit that was begun and is not done.
    begun: Option<Unit<Right>>,
}

impl<Right> Queue<Right> {
    /// The queue of an instance whose first epoch is `first`. `told`: the watermark that it was told in an earlier run.
    pub fn new(edges: Vec<EdgeEnd>, first: Epoch, told: i64) -> Self {
        let watermarks = Watermarks::new(edges.iter().map(|edge| edge.senders.clone()), told);
        Self { edges, watermarks, arrivals: Arrivals::new(first), begun: None }
    }

    /// The epoch that is being worked on.
    pub fn epoch(&self) -> Epoch {
        self.arrivals.current
    }

    /// Takes a delivery in.
    pub fn put(&mut self, epoch: Epoch, delivery: Arrival<Right>) {
        self.arrivals.put(epoch, delivery);
    }

    /// The watermark that the instance was told last.
    pub fn watermark(&self) -> i64 {
        self.watermarks.told()
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

    /// The next unit; `None` where there is nothing to do before something arrives. `took`: is told of the rows of an edge, in bytes.
    ///
    /// # Errors
    /// The dataflow is wired wrongly.
    pub fn next(&mut self, frontier: &impl Frontier, took: impl Fn(usize, u64)) -> Result<Option<Unit<Right>>, UnknownSender> {
        if let Some(unit) = self.begun.take() {
            return Ok(Some(unit));
        }
        while let Some(Arrival { edge, right, load }) = self.arrivals.pop() {
            let work = match load {
                Load::Rows(rows) => {
                    took(edge, rows.size_bytes() as u64);
                    Work::Rows { input: self.edges.get(edge).map_or(0, |end| end.input), rows: PendingRows::new(rows) }
                }
                Load::Watermark { sender, watermark } => match self.watermarks.note(edge, sender, watermark)? {
                    Some(risen) => Work::Watermark(risen),
                    None => continue,
                },
            };
            return Ok(Some(Unit { work, right: Some(right) }));
        }
        let is_last = self.arrivals.is_last(frontier);
        Ok(self.arrivals.is_over(frontier).then_some(Unit { work: Work::EndOfEpoch { is_last }, right: None }))
    }

    /// Rows of the present epoch that wait for one of the inputs.
    pub fn waiting_rows(&self, input: u32) -> impl Iterator<Item = &Batch> {
        self.arrivals
            .waiting_rows()
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

    /// Rows of the present epoch that wait, with the edge that they came on.
    pub fn waiting_rows(&self) -> impl Iterator<Item = (usize, &Batch)> {
        let queue = self.waiting.get(&self.current).into_iter().flatten();
        queue.filter_map(|delivery| if let Load::Rows(rows) = &delivery.load { Some((delivery.edge, rows)) } else { None })
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
mod tests {
    use super::*;
    use crate::batch::Row;

    #[test]
    fn only_rows_of_the_current_epoch_are_seen_before_their_turn() {
        let mut arrivals = Arrivals::new(Epoch(7));
        let rows = |times: &[i64]| {
            let mut batch = Batch::new();
            times.iter().for_each(|time| batch.push(Row { time: *time, key: b"", value: b"" }).unwrap());
            Load::Rows(batch)
        };
        let watermark = Load::Watermark { sender: 0, watermark: 1 };
        for (epoch, edge, load) in [(7, 1, rows(&[1, 2])), (7, 0, watermark), (7, 0, rows(&[3])), (8, 1, rows(&[4]))] {
            arrivals.put(Epoch(epoch), Arrival { edge, right: (), load });
        }
        let seen = |arrivals: &Arrivals<()>| arrivals.waiting_rows().map(|(edge, rows)| (edge, rows.times().to_vec())).collect::<Vec<_>>();
        assert_eq!(seen(&arrivals), [(1, vec![1, 2]), (0, vec![3])]);
        arrivals.pop();
        assert_eq!(seen(&arrivals), [(0, vec![3])]);
        arrivals.next_epoch();
        assert_eq!(seen(&arrivals), [(1, vec![4])]);
    }
}
