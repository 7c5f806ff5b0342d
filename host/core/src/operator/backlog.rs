//! The backlog of an instance: parked input, in the order in which it is to be worked on. All of it comes before what arrives.
//!
//! ```text
//!  arrivals ──> fresh items ──cut──> segment ──> stored beside the snapshots, named by the report of the epoch
//!                                       │ its memory is given back where there is much of it; read again when its turn comes
//!                                       v
//!                                    the next unit of work
//! ```
//! A segment is written once. How far it is worked off is in each report, so a large backlog is not rewritten. Small ones are merged while they are in
//! memory: one after the other is at least twice as large as the next, or as large as it may be, so each row is written some times at most.

use super::pending_rows::{BYTES_TOGETHER, ROWS_TOGETHER};
use crate::batch::Batch;
use crate::codec::parked::ParkedItem;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The measures of a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Bytes of a segment; one batch alone may have more.
    pub segment_bytes: u64,
    /// Bytes of stored segments that an instance holds in memory, beside the two that come next.
    pub memory_bytes: u64,
}

impl Default for BacklogLimits {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, memory_bytes: 64 << 20 }
    }
}

/// Items of a segment, at most.
const ITEMS_MAX: usize = crate::codec::parked::ITEMS_MAX / 2;

/// Items that are stored together.
pub type Segment = Arc<Vec<ParkedItem>>;

/// What waits, in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParkedTally {
    /// Rows.
    pub rows: u64,
    /// Their size, as [`Batch::size_bytes`] has it.
    pub bytes: u64,
    /// When the oldest was parked, milliseconds since 1970-01-01T00:00:00Z; `None` where nothing waits.
    pub since_ms: Option<i64>,
}

/// What an instance knows of its parking.
#[derive(Debug, Default)]
pub(super) struct Parking {
    /// Since then nothing more of the epoch can arrive, and some of it waits.
    pub held_since: Option<Duration>,
    /// When the present epoch began.
    pub began: Duration,
    /// Parked input was worked on in this epoch.
    pub has_worked: bool,
    /// The end of this epoch was asked for.
    pub has_asked: bool,
    /// What was told last.
    pub told: ParkedTally,
}

/// A segment as a report tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SegmentState {
    /// Its number among those of the instance.
    pub number: u64,
    /// Entries that are done.
    pub done: u64,
    /// Rows that wait.
    pub rows: u64,
    /// Their size.
    pub bytes: u64,
    /// When the oldest was parked, milliseconds since 1970-01-01T00:00:00Z.
    pub since_ms: i64,
}

impl SegmentState {
    fn add(&mut self, item: &ParkedItem) {
        let (rows, bytes) = item.size();
        (self.rows, self.bytes) = (self.rows + rows, self.bytes + bytes);
    }

    fn subtract(&mut self, item: &ParkedItem) {
        let (rows, bytes) = item.size();
        (self.rows, self.bytes) = (self.rows.saturating_sub(rows), self.bytes.saturating_sub(bytes));
    }
}

/// A segment that was handed out to be stored.
#[derive(Debug)]
struct Stored {
    state: SegmentState,
    /// Its items; `None` where they have to be read again.
    items: Option<Segment>,
    /// The item that comes next, and rows of it that are done.
    at: (usize, usize),
    /// Its rows go to quarantine.
    is_given_up: bool,
}

impl Stored {
    fn is_over(&self) -> bool {
        self.items.as_ref().is_some_and(|items| self.at.0 >= items.len())
    }

    /// Takes the next item, or what is left of it.
    fn take(&mut self) -> Option<ParkedItem> {
        let item = match (self.items.as_ref()?.get(self.at.0)?, self.at.1) {
            (ParkedItem::Rows { edge, rows }, done) if done > 0 => ParkedItem::Rows { edge: *edge, rows: rows.slice(done..rows.len()) },
            (item, _) => item.clone(),
        };
        self.at = (self.at.0 + 1, 0);
        self.state.done += item.entries();
        self.state.subtract(&item);
        Some(item)
    }

    /// Puts what is left of the item that was taken last back.
    fn put_back(&mut self, left: &ParkedItem) {
        let Some(at) = self.at.0.checked_sub(1) else { return };
        let entries = self.items.as_ref().and_then(|items| items.get(at)).map_or(0, ParkedItem::entries);
        self.at = (at, entries.saturating_sub(left.entries()) as usize);
        self.state.done -= left.entries();
        self.state.add(left);
    }

    /// Takes all that is left.
    fn take_rest(&mut self) -> Vec<ParkedItem> {
        std::iter::from_fn(|| self.take()).collect()
    }
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextParked {
    /// This.
    Item(ParkedItem),
    /// A segment that is not in memory, or whose rows go to quarantine.
    Held,
    /// Nothing.
    Nothing,
}

/// The backlog of an instance.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    limits: BacklogLimits,
    stored: VecDeque<Stored>,
    /// Items in no segment yet.
    fresh: VecDeque<ParkedItem>,
    /// Their number and size, as if they were a segment.
    open: SegmentState,
    next_number: u64,
    /// The item that is being worked on is of a stored segment.
    is_of_stored: bool,
}

impl Backlog {
    /// The backlog of a checkpoint. Segments are numbered from 0.
    pub fn restored(limits: BacklogLimits, segments: Vec<SegmentState>) -> Self {
        let next_number = segments.iter().map(|state| state.number + 1).max().unwrap_or(0);
        let stored = segments.into_iter().map(|state| Stored { state, items: None, at: (0, 0), is_given_up: false });
        Self { limits, stored: stored.collect(), next_number, ..Self::default() }
    }

    /// Nothing waits, apart from the item that is being worked on.
    pub fn is_empty(&self) -> bool {
        self.stored.iter().all(Stored::is_over) && self.fresh.is_empty()
    }

    /// Adds an item that arrived.
    pub fn push(&mut self, item: ParkedItem, now_ms: i64) {
        if self.fresh.is_empty() {
            self.open = SegmentState { since_ms: now_ms, ..SegmentState::default() };
        }
        self.open.add(&item);
        // What comes next stays as it is: a part of it may have failed.
        let may_grow = self.fresh.len() > 1 || !self.stored.is_empty();
        if may_grow
            && let (ParkedItem::Rows { edge, rows }, Some(ParkedItem::Rows { edge: last_edge, rows: last })) =
                (&item, self.fresh.back_mut())
            && edge == last_edge
            && last.len() + rows.len() <= ROWS_TOGETHER
            && last.size_bytes() + rows.size_bytes() <= BYTES_TOGETHER
            && last.append(rows).is_ok()
        {
            return;
        }
        self.fresh.push_back(item);
    }

    /// Puts what is left of the item that is being worked on back.
    pub fn put_back(&mut self, left: ParkedItem) {
        if self.is_of_stored {
            self.stored.iter_mut().take(1).for_each(|front| front.put_back(&left));
            return;
        }
        self.open.add(&left);
        self.fresh.push_front(left);
    }

    /// Puts an item before everything else that had arrived, and of which a part may be done.
    pub fn push_front(&mut self, item: ParkedItem, now_ms: i64) {
        if self.fresh.is_empty() {
            self.open = SegmentState { since_ms: now_ms, ..SegmentState::default() };
        }
        self.is_of_stored = false;
        self.put_back(item);
    }

    fn prune(&mut self) {
        while self.stored.front().is_some_and(Stored::is_over) {
            self.stored.pop_front();
        }
    }

    /// Takes the next item.
    pub fn next(&mut self) -> NextParked {
        self.prune();
        if let Some(front) = self.stored.front_mut() {
            self.is_of_stored = true;
            return if front.is_given_up { NextParked::Held } else { front.take().map_or(NextParked::Held, NextParked::Item) };
        }
        self.is_of_stored = false;
        let item = self.fresh.pop_front();
        item.iter().for_each(|item| self.open.subtract(item));
        item.map_or(NextParked::Nothing, NextParked::Item)
    }

    /// Takes the next item of a segment whose rows go to quarantine.
    pub fn take_given_up(&mut self) -> Option<ParkedItem> {
        self.prune();
        self.stored.front_mut().filter(|front| front.is_given_up)?.take()
    }

    /// True where there are items enough for a segment.
    pub fn is_due(&self) -> bool {
        self.open.bytes >= self.limits.segment_bytes || self.fresh.len() >= ITEMS_MAX
    }

    /// Makes a segment of the items that are in none, where there are enough of them, or some and `all` are wanted: it is to be stored under its
    /// number. No item may be in work.
    pub fn cut(&mut self, all: bool) -> Option<(u64, Segment)> {
        if self.fresh.is_empty() || !(self.is_due() || all) {
            return None;
        }
        let mut state = SegmentState { number: self.next_number, done: 0, ..self.open };
        let mut items: Vec<ParkedItem> = std::mem::take(&mut self.fresh).into();
        self.open = SegmentState::default();
        self.next_number += 1;
        let bytes_max = self.limits.segment_bytes;
        while let Some(mut before) = self.stored.pop_back_if(|before| {
            let bytes = before.state.bytes;
            let fits = bytes <= state.bytes.saturating_mul(2) && bytes + state.bytes <= bytes_max;
            let count = before.items.as_ref().map_or(usize::MAX, |items| items.len());
            fits && !before.is_given_up && count.saturating_add(items.len()) <= ITEMS_MAX
        }) {
            (state.rows, state.bytes) = (state.rows + before.state.rows, state.bytes + before.state.bytes);
            state.since_ms = before.state.since_ms;
            let mut joined = before.take_rest();
            joined.append(&mut items);
            items = joined;
        }
        let items = Arc::new(items);
        self.stored.push_back(Stored { state, items: Some(Arc::clone(&items)), at: (0, 0), is_given_up: false });
        self.shed();
        Some((state.number, items))
    }

    /// Gives memory back: of what is stored, and does not come next.
    fn shed(&mut self) {
        let mut held: u64 = self.stored.iter().filter(|stored| stored.items.is_some()).map(|stored| stored.state.bytes).sum();
        for stored in self.stored.iter_mut().skip(2).rev().filter(|stored| stored.items.is_some()) {
            if held <= self.limits.memory_bytes {
                return;
            }
            held = held.saturating_sub(stored.state.bytes);
            stored.items = None;
        }
    }

    /// The segments that come next and are not in memory: number, and entries that are done.
    pub fn unread(&self) -> Vec<(u64, u64)> {
        let next = self.stored.iter().filter(|stored| !stored.is_over()).take(2);
        next.filter(|stored| stored.items.is_none()).map(|stored| (stored.state.number, stored.state.done)).collect()
    }

    /// Takes the items of a segment in that were not done.
    pub fn put_items(&mut self, number: u64, items: Segment) {
        for stored in self.stored.iter_mut().filter(|stored| stored.state.number == number && stored.items.is_none()) {
            (stored.state.rows, stored.state.bytes) = ParkedItem::size_of(&items);
            (stored.at, stored.items) = ((0, 0), Some(Arc::clone(&items)));
        }
    }

    /// What a report tells of the segments. All items must be in one, and none in work.
    pub fn states(&mut self) -> Vec<SegmentState> {
        self.prune();
        self.stored.iter().map(|stored| stored.state).collect()
    }

    /// What waits, in all.
    pub fn tally(&self) -> ParkedTally {
        let open = (!self.fresh.is_empty()).then_some(&self.open);
        let mut tally = ParkedTally::default();
        for state in self.stored.iter().filter(|stored| !stored.is_over()).map(|stored| &stored.state).chain(open) {
            (tally.rows, tally.bytes) = (tally.rows + state.rows, tally.bytes + state.bytes);
            tally.since_ms = tally.since_ms.or(Some(state.since_ms));
        }
        tally
    }

    /// Gives all segments up: their rows go to quarantine, or are dropped; how many are dropped at once. All items must be in a segment.
    pub fn give_up(&mut self, to_quarantine: bool) -> u64 {
        if to_quarantine {
            self.stored.iter_mut().for_each(|stored| stored.is_given_up = true);
            return 0;
        }
        self.stored.drain(..).map(|stored| stored.state.rows).sum()
    }

    /// Batches of an edge that come next, as far as they are in memory.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &Batch)> {
        let front = self.stored.front().filter(|_| self.is_of_stored);
        let stored = front.and_then(|front| front.items.as_ref()?.get(front.at.0..)).unwrap_or_default();
        stored.iter().chain(&self.fresh).filter_map(|item| match item {
            ParkedItem::Rows { edge, rows } => Some((*edge as usize, rows)),
            ParkedItem::Watermark(_) => None,
        })
    }

    /// Loses what is in no segment, which only a mutation does.
    pub fn lose_fresh(&mut self) {
        self.fresh.clear();
    }

    /// Puts the newest item that is in no segment first, which only a mutation does.
    pub fn let_newer_pass(&mut self) {
        if let Some(newest) = self.fresh.pop_back() {
            self.fresh.push_front(newest);
        }
    }

    /// Puts watermarks before the rows that came before them, which only a mutation does.
    pub fn let_watermarks_pass(&mut self) {
        self.fresh.make_contiguous().sort_by_key(|item| matches!(item, ParkedItem::Rows { .. }));
    }

    /// Forgets what is done, which only a mutation does.
    pub fn forget_done(states: &mut [SegmentState]) {
        states.iter_mut().for_each(|state| state.done = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Row;
    use std::collections::BTreeMap;

    fn rows(times: std::ops::Range<i64>) -> ParkedItem {
        let mut rows = Batch::new();
        times.for_each(|time| rows.push(Row { time, key: b"k", value: b"v" }).unwrap());
        ParkedItem::Rows { edge: 0, rows }
    }

    fn times(item: &ParkedItem) -> Vec<i64> {
        if let ParkedItem::Rows { rows, .. } = item { rows.times().to_vec() } else { vec![] }
    }

    fn all(backlog: &mut Backlog) -> Vec<i64> {
        let mut all = Vec::new();
        while let NextParked::Item(item) = backlog.next() {
            all.extend(times(&item));
        }
        all
    }

    #[test]
    fn what_is_parked_comes_back_in_its_order() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.next(), NextParked::Nothing);
        backlog.push(rows(0..3), 10);
        assert_eq!(backlog.cut(false), None);
        let (number, _) = backlog.cut(true).unwrap();
        backlog.push(rows(3..5), 20);
        backlog.push(ParkedItem::Watermark(7), 20);
        backlog.push(rows(5..6), 20);
        assert_eq!((number, backlog.tally()), (0, ParkedTally { rows: 6, bytes: 6 * 18, since_ms: Some(10) }));
        let NextParked::Item(first) = backlog.next() else { panic!() };
        // A row of it is done.
        backlog.put_back(rows(1..3));
        assert_eq!((times(&first), backlog.tally().rows), (vec![0, 1, 2], 5));
        assert_eq!(backlog.states(), [SegmentState { number: 0, done: 1, rows: 2, bytes: 36, since_ms: 10 }]);
        assert_eq!(all(&mut backlog), [1, 2, 3, 4, 5]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_segment_that_is_read_again_goes_on_where_it_was() {
        let state = |number, done, rows| SegmentState { number, done, rows, bytes: 0, since_ms: 5 };
        let mut backlog = Backlog::restored(BacklogLimits::default(), vec![state(0, 2, 1), state(1, 0, 2)]);
        assert_eq!((backlog.next(), backlog.unread()), (NextParked::Held, vec![(0, 2), (1, 0)]));
        backlog.put_items(0, Arc::new(vec![rows(2..3)]));
        backlog.push(rows(5..7), 9);
        assert_eq!(backlog.cut(true).map(|(number, _)| number), Some(2), "numbers are not used again");
        let NextParked::Item(item) = backlog.next() else { panic!() };
        assert_eq!((times(&item), backlog.next()), (vec![2], NextParked::Held));
        assert_eq!(backlog.states().iter().map(|state| (state.number, state.done)).collect::<Vec<_>>(), [(1, 0), (2, 0)]);
        backlog.put_items(1, Arc::new(vec![rows(3..5)]));
        assert_eq!(all(&mut backlog), [3, 4, 5, 6]);
        assert!(backlog.is_empty());
    }

    #[test]
    fn few_segments_hold_what_comes_bit_by_bit_and_no_row_is_written_often() {
        let (mut backlog, mut written, mut most) = (Backlog::default(), 0, 0);
        let mut newest: BTreeMap<u64, Segment> = BTreeMap::new();
        for at in 0..1000 {
            backlog.push(rows(at..at + 1), at);
            let (number, items) = backlog.cut(true).unwrap();
            written += items.iter().map(ParkedItem::entries).sum::<u64>();
            newest.insert(number, items);
            most = most.max(backlog.states().len());
        }
        assert!(most <= 12 && written <= 12 * 1000, "{most} segments, {written} rows written");
        let stored = backlog.states().iter().flat_map(|state| newest[&state.number].iter().flat_map(times)).collect::<Vec<_>>();
        assert_eq!(stored, (0..1000).collect::<Vec<_>>());
        assert_eq!(all(&mut backlog), stored);
    }

    #[test]
    fn memory_is_given_back_but_for_what_comes_next() {
        let mut backlog = Backlog::default();
        let mut batch = Batch::new();
        batch.push(Row { time: 0, key: b"k", value: &vec![0; backlog.limits.segment_bytes as usize] }).unwrap();
        for _ in 0..8 {
            backlog.push(ParkedItem::Rows { edge: 0, rows: batch.clone() }, 0);
            assert!(backlog.cut(false).is_some());
        }
        let held: Vec<bool> = backlog.stored.iter().map(|stored| stored.items.is_some()).collect();
        assert_eq!(held.iter().filter(|held| **held).count(), 3, "{held:?}");
        assert!(held[0] && held[1]);
        assert_eq!(backlog.unread(), []);
    }

    #[test]
    fn what_is_given_up_goes_and_what_comes_after_it_stays() {
        let mut backlog = Backlog::default();
        for (to_quarantine, dropped) in [(true, 0), (false, 2)] {
            backlog.push(rows(0..2), 0);
            backlog.cut(true);
            assert_eq!(backlog.give_up(to_quarantine), dropped);
            backlog.push(rows(2..3), 0);
            backlog.cut(true);
            if to_quarantine {
                assert_eq!((backlog.next(), backlog.take_given_up()), (NextParked::Held, Some(rows(0..2))));
            }
            assert_eq!(all(&mut backlog), [2]);
        }
    }
}
