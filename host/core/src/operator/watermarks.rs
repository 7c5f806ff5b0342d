//! The watermark of a node: the least of what the senders on all of its edges have said, save those that are idle.
//!
//! A node is idle when none of its senders has more to say for now: some are idle, and the others have ended. Its watermark rises to the
//! latest of those that are idle, since it says nothing which of them became so last; and it tells those downstream not to wait for it. Rows
//! of a sender that was idle may be late: the watermark never falls.

use std::ops::Range;

/// Said in the place of a watermark: the sender has had no rows for long, and nobody is to wait for it.
pub const IDLE: i64 = i64::MIN;
/// Said in the place of a watermark: the sender has rows again, and knows no watermark yet.
pub const AWAKE: i64 = i64::MIN + 1;

/// The watermarks of the senders of a node, and the one that follows from them.
#[derive(Debug)]
pub struct Watermarks {
    edges: Vec<Senders>,
    is_idle: bool,
    /// The least in this run.
    least: i64,
}

/// The senders of one edge: instances upstream whose indices follow each other.
#[derive(Debug)]
struct Senders {
    first: u32,
    each: Vec<Sender>,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    watermark: i64,
    is_idle: bool,
}

/// A watermark came from an instance that does not send on its edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a watermark of instance {sender} upstream came on edge {edge}, on which that does not send")]
pub struct UnknownSender {
    edge: usize,
    sender: u32,
}

/// A watermark that has risen in this run, or [`IDLE`] or [`AWAKE`] where the node has become so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Risen {
    /// The new watermark. Those downstream must hear it: they forget with every run what each sender said.
    pub watermark: i64,
    /// The guest was not told it before: not in an earlier run either.
    pub is_new: bool,
    /// The node is idle from here on.
    pub then_idle: bool,
}

impl Watermarks {
    /// The watermarks of a node whose edges have these senders: indices of instances upstream.
    pub fn new(senders: impl IntoIterator<Item = Range<u32>>) -> Self {
        let silent = Sender { watermark: i64::MIN, is_idle: false };
        let edges = senders.into_iter().map(|range| Senders { first: range.start, each: vec![silent; range.len()] }).collect();
        Self { edges, is_idle: false, least: i64::MIN }
    }

    fn senders(&self) -> impl Iterator<Item = &Sender> + Clone {
        self.edges.iter().flat_map(|edge| &edge.each)
    }

    /// Notes what one sender said; a new watermark of the node is returned once. `None` where nothing changes for the node.
    ///
    /// # Errors
    /// The edge has no such sender: the dataflow is wired wrongly.
    pub fn note(&mut self, edge: usize, sender: u32, watermark: i64) -> Result<Option<Risen>, UnknownSender> {
        let unknown = UnknownSender { edge, sender };
        let senders = self.edges.get_mut(edge).ok_or(unknown)?;
        let at = sender.checked_sub(senders.first).ok_or(unknown)?;
        let said = senders.each.get_mut(at as usize).ok_or(unknown)?;
        let before = *said;
        said.is_idle = watermark == IDLE;
        if watermark > AWAKE {
            said.watermark = watermark.max(before.watermark);
        }
        if !before.is_idle && !said.is_idle && before.watermark > self.least {
            // Another sender holds the watermark, and still does.
            return Ok(None);
        }
        Ok(self.settle())
    }

    /// The watermark of the node after a sender said something, where it changes.
    fn settle(&mut self) -> Option<Risen> {
        let rest = self.all_rest();
        let was_idle = std::mem::replace(&mut self.is_idle, rest);
        if self.is_idle {
            let idle = self.senders().filter(|sender| sender.is_idle);
            let latest = idle.map(|sender| sender.watermark).max()?;
            let risen = self.rise(latest).map(|risen| Risen { then_idle: true, ..risen });
            return risen.or_else(|| (!was_idle).then_some(Risen { watermark: IDLE, is_new: false, then_idle: false }));
        }
        let least = self.senders().filter(|sender| !sender.is_idle).map(|sender| sender.watermark).min()?;
        self.rise(least).or_else(|| was_idle.then_some(Risen { watermark: self.least.max(AWAKE), is_new: false, then_idle: false }))
    }

    fn rise(&mut self, least: i64) -> Option<Risen> {
        (least > self.least).then(|| {
            self.least = least;
            Risen { watermark: least, is_new: true, then_idle: false }
        })
    }

    /// True where some senders are idle, and all others have ended.
    fn all_rest(&self) -> bool {
        let mut senders = self.senders();
        senders.clone().any(|sender| sender.is_idle) && senders.all(|sender| sender.is_idle || sender.watermark == i64::MAX)
    }

    /// The least watermark in this run.
    pub fn least(&self) -> i64 {
        self.least
    }

    /// Nobody is to wait for the node.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_idle_holds_nothing_and_the_watermark_never_falls() {
        let mut marks = Watermarks::new([0..1, 0..1]);
        let risen = |watermark| Some(Risen { watermark, is_new: true, then_idle: false });
        let quiet = |watermark| Some(Risen { watermark, is_new: false, then_idle: false });
        assert_eq!(marks.note(0, 0, 10).unwrap(), None);
        assert_eq!(marks.note(1, 0, IDLE).unwrap(), risen(10));
        assert_eq!(marks.note(0, 0, 20).unwrap(), risen(20));
        assert_eq!(marks.note(0, 0, IDLE).unwrap(), quiet(IDLE), "all are idle: so is the node");
        assert_eq!(marks.note(0, 0, IDLE).unwrap(), None);
        assert_eq!(marks.note(1, 0, AWAKE).unwrap(), quiet(20), "those downstream wait again");
        assert_eq!(marks.note(1, 0, 5).unwrap(), None, "late");
        assert_eq!(marks.note(1, 0, 30).unwrap(), risen(30), "the first one is idle still");
        assert_eq!(marks.note(0, 0, 25).unwrap(), None);
        assert_eq!(marks.note(1, 0, i64::MAX).unwrap(), None);
        assert_eq!(marks.note(0, 0, IDLE).unwrap(), quiet(IDLE), "the other one has ended");
        assert_eq!(marks.note(0, 0, i64::MAX).unwrap(), risen(i64::MAX));
    }

    #[test]
    fn where_all_are_idle_the_latest_counts_whoever_was_last() {
        for order in [[0, 1], [1, 0]] {
            let mut marks = Watermarks::new([0..1, 0..1]);
            assert_eq!(marks.note(0, 0, 10).unwrap(), None);
            marks.note(order[0], 0, IDLE).unwrap();
            let last = marks.note(order[1], 0, IDLE).unwrap();
            assert_eq!(marks.least(), 10);
            assert!(last.is_some_and(|risen| risen.then_idle || risen.watermark == IDLE), "{last:?}");
        }
    }

    #[test]
    fn who_wakes_without_a_watermark_is_waited_for() {
        let mut marks = Watermarks::new(std::iter::once(0..1));
        assert_eq!(marks.note(0, 0, IDLE).unwrap(), Some(Risen { watermark: IDLE, is_new: false, then_idle: false }));
        assert_eq!(marks.note(0, 0, AWAKE).unwrap(), Some(Risen { watermark: AWAKE, is_new: false, then_idle: false }));
        assert_eq!(marks.note(0, 0, 7).unwrap(), Some(Risen { watermark: 7, is_new: true, then_idle: false }));
    }

    #[test]
    fn the_slowest_sender_holds_the_watermark() {
        let mut marks = Watermarks::new([4..6, 0..1]);
        assert_eq!(marks.note(0, 4, 10).unwrap(), None);
        assert_eq!(marks.note(1, 0, 20).unwrap(), None);
        assert_eq!(marks.note(0, 5, 5).unwrap(), Some(Risen { watermark: 5, is_new: true, then_idle: false }));
        assert_eq!(marks.note(0, 5, 3).unwrap(), None, "watermarks only rise");
        assert_eq!(marks.note(0, 5, 30).unwrap(), Some(Risen { watermark: 10, is_new: true, then_idle: false }));
        for (edge, sender) in [(7, 0), (0, 3), (0, 6), (1, 1)] {
            assert_eq!(marks.note(edge, sender, 99), Err(UnknownSender { edge, sender }));
        }
        assert_eq!(marks.least(), 10);
    }
}
