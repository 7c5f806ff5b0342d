//! Parked input, as the engine sees it: what waits for an operator, counted over its instances, and segments on their way to and from the store.

use super::wake::Wake;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::operator::{ParkedTally, Segment};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Segments of one instance that may be on their way to the store, beside those that come with a report.
pub const SEGMENTS_UNDER_WAY_MAX: usize = 4;

/// A segment of parked input that is wanted.
pub struct ParkedRequest {
    /// Whose.
    pub at: Participant,
    /// Its number.
    pub number: u64,
    /// Entries that are done: those after them are wanted.
    pub done: u64,
    /// Takes the items, or why they cannot be read. May be called from any thread.
    pub answer: Box<dyn FnOnce(Result<Segment, String>) + Send>,
}

/// Reads segments of parked input without waiting.
pub type ParkedReader = Arc<dyn Fn(ParkedRequest) + Send + Sync>;

/// A segment on its way to the store: dropped once it is there.
#[derive(Clone)]
pub struct SegmentUnderWay(Arc<Token>);

struct Token {
    under_way: Arc<AtomicUsize>,
    wake: Option<Wake>,
}

impl Drop for Token {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
        if let Some(wake) = &self.wake {
            wake();
        }
    }
}

impl std::fmt::Debug for SegmentUnderWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentUnderWay({})", self.0.under_way.load(Ordering::Relaxed))
    }
}

/// What one instance of an operator needs to park its input.
pub(super) struct ParkingContext {
    /// How long an epoch may wait before what waits is parked.
    pub align_max: Duration,
    /// The sources that its rows come from.
    pub upstream: Vec<usize>,
    pub reader: ParkedReader,
    pub traffic: SegmentTraffic,
    /// The requests to give parked input up that were seen.
    pub unparks: Cell<u64>,
}

/// A segment that was asked for; `None` until it is read.
type Answer = Arc<Mutex<Option<Result<Segment, String>>>>;

/// The segments of one instance that are on their way.
#[derive(Default)]
pub(super) struct SegmentTraffic {
    under_way: Arc<AtomicUsize>,
    asked: Mutex<BTreeMap<u64, Answer>>,
}

impl SegmentTraffic {
    /// True where one more may go to the store.
    pub fn has_room(&self) -> bool {
        self.under_way.load(Ordering::Acquire) < SEGMENTS_UNDER_WAY_MAX
    }

    /// Takes note of a segment that goes to the store. The instance is woken when it is there.
    pub fn leaves(&self, wake: Option<Wake>) -> SegmentUnderWay {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        SegmentUnderWay(Arc::new(Token { under_way: Arc::clone(&self.under_way), wake }))
    }

    /// A segment, where it has come; else it is asked for, once.
    pub fn read(
        &self,
        reader: &ParkedReader,
        at: Participant,
        (number, done): (u64, u64),
        wake: Option<Wake>,
    ) -> Option<Result<Segment, String>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = asked.get(&number) {
            let come = answer.lock().unwrap_or_else(PoisonError::into_inner).take()?;
            asked.remove(&number);
            return Some(come);
        }
        let answer = Answer::default();
        asked.insert(number, Arc::clone(&answer));
        drop(asked);
        let answer = Box::new(move |read| {
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
            wake.iter().for_each(|wake| wake());
        });
        reader(ParkedRequest { at, number, done, answer });
        None
    }
}

/// The parked input of an operator, over its instances.
#[derive(Debug, Default)]
pub struct OperatorParked {
    instances: Mutex<BTreeMap<u32, ParkedTally>>,
    /// Requests to give it up: twice their number, and one more where the last one was for quarantine.
    unparks: AtomicU64,
}

impl OperatorParked {
    /// What waits, in all.
    #[must_use]
    pub fn tally(&self) -> ParkedTally {
        sum(&self.instances.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the instances give up what waits.
    pub fn unpark(&self, to_quarantine: bool) {
        let next = |asked: u64| Some((asked / 2 + 1) * 2 + u64::from(to_quarantine));
        // It always changes.
        let _ = self.unparks.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// Stands for the requests so far; odd where the last one was for quarantine.
    pub(super) fn unparks(&self) -> u64 {
        self.unparks.load(Ordering::Acquire)
    }

    /// Takes note of what waits for an instance. `changed` is told, in the order of such changes, where sources have to wait for it, or need not
    /// any more.
    pub(super) fn note(&self, instance: u32, tally: ParkedTally, bytes_max: u64, changed: impl FnOnce(bool)) {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        let was_full = sum(&instances).bytes >= bytes_max;
        instances.insert(instance, tally);
        let is_full = sum(&instances).bytes >= bytes_max;
        if was_full != is_full {
            changed(is_full);
        }
    }
}

fn sum(instances: &BTreeMap<u32, ParkedTally>) -> ParkedTally {
    instances.values().fold(ParkedTally::default(), |all, one| ParkedTally {
        rows: all.rows + one.rows,
        bytes: all.bytes + one.bytes,
        since_ms: [all.since_ms, one.since_ms].into_iter().flatten().min(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::checkpoint::coordinator::Node;

    #[test]
    fn sources_wait_while_the_instances_together_have_too_much() {
        let parked = OperatorParked::default();
        let note = |instance, bytes, since| {
            let mut told = None;
            parked.note(instance, ParkedTally { rows: 1, bytes, since_ms: Some(since) }, 100, |full| told = Some(full));
            told
        };
        assert_eq!(
            [note(0, 60, 5), note(1, 40, 3), note(1, 90, 3), note(0, 10, 9), note(1, 9, 7)],
            [None, Some(true), None, None, Some(false)]
        );
        assert_eq!(parked.tally(), ParkedTally { rows: 2, bytes: 19, since_ms: Some(7) });
    }

    #[test]
    fn a_segment_is_asked_for_once_and_comes_once() {
        let at = Participant { node: Node::Operator(0), instance: 0 };
        let (traffic, requests) = (SegmentTraffic::default(), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&requests);
        let reader: ParkedReader = Arc::new(move |request| kept.lock().unwrap().push(request));
        assert!((0..3).all(|_| traffic.read(&reader, at, (4, 2), None).is_none()));
        let ParkedRequest { number, done, answer, .. } = requests.lock().unwrap().pop().unwrap();
        assert_eq!((number, done, requests.lock().unwrap().len()), (4, 2, 0));
        answer(Ok(Segment::default()));
        assert_eq!(traffic.read(&reader, at, (4, 2), None), Some(Ok(Segment::default())));
        assert_eq!(traffic.read(&reader, at, (4, 2), None), None, "it may be asked for again");
    }

    #[test]
    fn so_many_segments_may_be_on_their_way() {
        let traffic = SegmentTraffic::default();
        let mut under_way: Vec<_> = (0..SEGMENTS_UNDER_WAY_MAX).map(|_| traffic.leaves(None)).collect();
        assert!(!traffic.has_room());
        under_way.pop();
        assert!(traffic.has_room());
    }
}
