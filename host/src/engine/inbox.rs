//! What has arrived at an instance, in the order in which it may be worked on: epoch by epoch, and within an epoch as it came.
//!
//! Invariant (design, section 8, no. 4): nothing of a later epoch is handed out before [`Inbox::advance`] was called, and that is called
//! only after the snapshot of the current epoch.

use super::distribute::{BYTES_TOGETHER, ROWS_TOGETHER};
use super::frame::{AWAKE, Frame, IDLE, Load};
use super::moment::{Moment, epoch_of, moment};
use reprise_core::batch::Batch;
use reprise_core::ids::Epoch;
use std::collections::{BTreeMap, VecDeque};
use timely::dataflow::operators::{Capability, InputCapability};
use timely::progress::frontier::MutableAntichain;

/// A frame that has arrived, with the right to send at its moment on every output.
pub(super) struct Arrival {
    /// The edge it came on: an index among the node's edges.
    pub edge: usize,
    /// One capability an output.
    pub capabilities: Vec<Capability<Moment>>,
    /// Rows or a watermark.
    pub load: Load,
}

/// See the module.
pub(super) struct Inbox {
    current: Epoch,
    waiting: BTreeMap<Epoch, VecDeque<Arrival>>,
    outputs: usize,
}

impl Inbox {
    /// An inbox that begins at `first`, for a node with so many outputs.
    pub fn new(first: Epoch, outputs: usize) -> Self {
        Self { current: first, waiting: BTreeMap::new(), outputs }
    }

    /// The epoch being worked on.
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// Takes a frame in.
    pub fn put(&mut self, edge: usize, capability: &InputCapability<Moment>, frame: &mut Frame) {
        let Some(&at) = capability.least() else { return };
        let load = std::mem::take(frame).load;
        // Dropping the input capability would give up the right to send; it is kept one output at a time.
        let capabilities = (0..self.outputs).filter_map(|output| capability.retain_least(output)).collect();
        self.waiting.entry(epoch_of(at)).or_default().push_back(Arrival { edge, capabilities, load });
    }

    /// The next thing of the current epoch. Rows that follow each other on one edge are put together, since an exchange cuts frames small;
    /// the capabilities of the first allow what those of the others do.
    pub fn next(&mut self) -> Option<Arrival> {
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

    /// Rows of the current epoch that wait, with the edge that they came on.
    pub fn waiting_rows(&self) -> impl Iterator<Item = (usize, &Batch)> {
        let queue = self.waiting.get(&self.current).into_iter().flatten();
        queue.filter_map(|arrival| if let Load::Rows(rows) = &arrival.load { Some((arrival.edge, rows)) } else { None })
    }

    /// True where nothing of the current epoch is here or can still come.
    pub fn epoch_is_over(&self, frontiers: &[MutableAntichain<Moment>]) -> bool {
        let end = moment(self.current.next(), 0);
        let here = self.waiting.get(&self.current).is_some_and(|queue| !queue.is_empty());
        !here && frontiers.iter().all(|frontier| !frontier.less_than(&end))
    }

    /// True where nothing at all is here or can still come, apart from the current epoch.
    pub fn is_at_its_end(&self, frontiers: &[MutableAntichain<Moment>]) -> bool {
        self.waiting.keys().all(|&epoch| epoch <= self.current) && frontiers.iter().all(MutableAntichain::is_empty)
    }

    /// Goes on to the next epoch.
    pub fn advance(&mut self) {
        self.waiting.remove(&self.current);
        self.current = self.current.next();
    }
}

/// The watermark of a node: the least of what the senders on all of its edges have said, save those that are idle.
///
/// A node is idle when none of its senders has more to say for now: some are idle, and the others have ended. Its watermark rises to the
/// latest of those that are idle, since it says nothing which of them became so last; and it tells those downstream not to wait for it. Rows of a sender that was idle may be late: the watermark never falls.
pub(super) struct Watermarks {
    senders: Vec<Vec<Sender>>,
    is_idle: bool,
    /// The least in this run.
    least: i64,
    /// The least over all runs: what the guest was told.
    told: i64,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    watermark: i64,
    is_idle: bool,
}

/// A watermark that has risen in this run, or [`IDLE`] or [`AWAKE`] where the node has become so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Risen {
    /// The new watermark. Those downstream must hear it: they forget with every run what each sender said.
    pub watermark: i64,
    /// The guest was not told it in an earlier run.
    pub is_new: bool,
    /// The node is idle from here on.
    pub then_idle: bool,
}

impl Watermarks {
    /// For edges with so many senders each. `told`: what the instance was told before, in an earlier run.
    pub fn new(senders: &[usize], told: i64) -> Self {
        let silent = Sender { watermark: i64::MIN, is_idle: false };
        Self { senders: senders.iter().map(|&count| vec![silent; count]).collect(), is_idle: false, least: i64::MIN, told }
    }

    /// Notes what one sender said; a new watermark of the node is returned once. `None` where nothing changes for the node.
    pub fn note(&mut self, edge: usize, sender: usize, watermark: i64) -> Option<Risen> {
        let said = self.senders.get_mut(edge)?.get_mut(sender)?;
        let before = *said;
        said.is_idle = watermark == IDLE;
        if watermark > AWAKE {
            said.watermark = watermark.max(before.watermark);
        }
        if !before.is_idle && !said.is_idle && before.watermark > self.least {
            // Another sender holds the watermark, and still does.
            return None;
        }
        let rest = self.all_rest();
        let was_idle = std::mem::replace(&mut self.is_idle, rest);
        if self.is_idle {
            let idle = self.senders.iter().flatten().filter(|sender| sender.is_idle);
            let latest = idle.map(|sender| sender.watermark).max()?;
            let risen = self.rise(latest).map(|risen| Risen { then_idle: true, ..risen });
            return risen.or_else(|| (!was_idle).then_some(Risen { watermark: IDLE, is_new: false, then_idle: false }));
        }
        let least = self.senders.iter().flatten().filter(|sender| !sender.is_idle).map(|sender| sender.watermark).min()?;
        self.rise(least).or_else(|| was_idle.then_some(Risen { watermark: self.least.max(AWAKE), is_new: false, then_idle: false }))
    }

    fn rise(&mut self, least: i64) -> Option<Risen> {
        (least > self.least).then(|| {
            let is_new = least > self.told;
            self.least = least;
            self.told = self.told.max(least);
            Risen { watermark: least, is_new, then_idle: false }
        })
    }

    /// True where some senders are idle, and all others have ended.
    fn all_rest(&self) -> bool {
        let mut senders = self.senders.iter().flatten();
        senders.clone().any(|sender| sender.is_idle) && senders.all(|sender| sender.is_idle || sender.watermark == i64::MAX)
    }

    /// How many instances send on an edge.
    pub fn senders(&self, edge: usize) -> usize {
        self.senders.get(edge).map_or(0, Vec::len)
    }

    /// The watermark that the node was told last.
    pub fn told(&self) -> i64 {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::batch::Row;

    #[test]
    fn only_rows_of_the_current_epoch_are_seen_before_their_turn() {
        let mut inbox = Inbox::new(Epoch(7), 1);
        let rows = |times: &[i64]| {
            let mut batch = Batch::new();
            times.iter().for_each(|time| batch.push(Row { time: *time, key: b"", value: b"" }).unwrap());
            Load::Rows(batch)
        };
        let watermark = Load::Watermark { sender: 0, watermark: 1 };
        for (epoch, edge, load) in [(7, 1, rows(&[1, 2])), (7, 0, watermark), (7, 0, rows(&[3])), (8, 1, rows(&[4]))] {
            inbox.waiting.entry(Epoch(epoch)).or_default().push_back(Arrival { edge, capabilities: Vec::new(), load });
        }
        let seen = |inbox: &Inbox| inbox.waiting_rows().map(|(edge, rows)| (edge, rows.times().to_vec())).collect::<Vec<_>>();
        assert_eq!(seen(&inbox), [(1, vec![1, 2]), (0, vec![3])]);
        inbox.next();
        assert_eq!(seen(&inbox), [(0, vec![3])]);
        inbox.advance();
        assert_eq!(seen(&inbox), [(1, vec![4])]);
    }

    #[test]
    fn who_is_idle_holds_nothing_and_the_watermark_never_falls() {
        let mut marks = Watermarks::new(&[1, 1], i64::MIN);
        let risen = |watermark| Some(Risen { watermark, is_new: true, then_idle: false });
        let quiet = |watermark| Some(Risen { watermark, is_new: false, then_idle: false });
        assert_eq!(marks.note(0, 0, 10), None);
        assert_eq!(marks.note(1, 0, IDLE), risen(10));
        assert_eq!(marks.note(0, 0, 20), risen(20));
        assert_eq!(marks.note(0, 0, IDLE), quiet(IDLE), "all are idle: so is the node");
        assert_eq!(marks.note(0, 0, IDLE), None);
        assert_eq!(marks.note(1, 0, AWAKE), quiet(20), "those downstream wait again");
        assert_eq!(marks.note(1, 0, 5), None, "late");
        assert_eq!(marks.note(1, 0, 30), risen(30), "the first one is idle still");
        assert_eq!(marks.note(0, 0, 25), None);
        assert_eq!(marks.note(1, 0, i64::MAX), None);
        assert_eq!(marks.note(0, 0, IDLE), quiet(IDLE), "the other one has ended");
        assert_eq!(marks.note(0, 0, i64::MAX), risen(i64::MAX));
    }

    #[test]
    fn where_all_are_idle_the_latest_counts_whoever_was_last() {
        for order in [[0, 1], [1, 0]] {
            let mut marks = Watermarks::new(&[1, 1], i64::MIN);
            assert_eq!(marks.note(0, 0, 10), None);
            marks.note(order[0], 0, IDLE);
            let last = marks.note(order[1], 0, IDLE);
            assert_eq!(marks.told(), 10);
            assert!(last.is_some_and(|risen| risen.then_idle || risen.watermark == IDLE), "{last:?}");
        }
    }

    #[test]
    fn who_wakes_without_a_watermark_is_waited_for() {
        let mut marks = Watermarks::new(&[1], i64::MIN);
        assert_eq!(marks.note(0, 0, IDLE), Some(Risen { watermark: IDLE, is_new: false, then_idle: false }));
        assert_eq!(marks.note(0, 0, AWAKE), Some(Risen { watermark: AWAKE, is_new: false, then_idle: false }));
        assert_eq!(marks.note(0, 0, 7), Some(Risen { watermark: 7, is_new: true, then_idle: false }));
    }

    #[test]
    fn the_slowest_sender_holds_the_watermark() {
        let mut marks = Watermarks::new(&[2, 1], i64::MIN);
        assert_eq!(marks.note(0, 0, 10), None);
        assert_eq!(marks.note(1, 0, 20), None);
        assert_eq!(marks.note(0, 1, 5), Some(Risen { watermark: 5, is_new: true, then_idle: false }));
        assert_eq!(marks.note(0, 1, 3), None, "watermarks only rise");
        assert_eq!(marks.note(0, 1, 30), Some(Risen { watermark: 10, is_new: true, then_idle: false }));
        assert_eq!(marks.note(7, 0, 99), None, "an edge that does not exist says nothing");
        assert_eq!(marks.told(), 10);
    }

    #[test]
    fn what_was_told_in_an_earlier_run_is_only_passed_on() {
        let mut marks = Watermarks::new(&[1], 50);
        assert_eq!(marks.note(0, 0, 50), Some(Risen { watermark: 50, is_new: false, then_idle: false }));
        assert_eq!(marks.told(), 50);
        assert_eq!(marks.note(0, 0, 51), Some(Risen { watermark: 51, is_new: true, then_idle: false }));
    }
}
