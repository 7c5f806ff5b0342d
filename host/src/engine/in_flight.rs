//! What the instances of an operator have emitted and those downstream have not taken yet, in bytes, wherever it is: in the channels of an
//! exchange, in partition buffers, in queues.
//!
//! An instance makes no call that may emit while its operator has more under way than it may. Receivers take their rows in any case, and wake
//! those that wait.
//!
//! **No deadlock.** An instance waits only for bytes of its own epoch and of those before. Of all that is under way or to be done, look at what
//! belongs to the oldest epoch: an instance that holds rows of it is in that epoch itself, since nothing older is left to do, so it may take them unless
//! it waits for room in turn; the last one on the way to the sinks waits for none. Without that rule an instance which is ahead could keep
//! its neighbour from ending the epoch that everybody downstream waits for.

use super::wake::Wake;
use reprise_core::ids::Epoch;
use reprise_core::topology::{Exchange, Node, Plan};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Epochs of which rows may be under way at the same time: more than sources begin (`epochs-in-flight-max` is at most 64).
const EPOCHS_MAX: u64 = 100;
/// Epochs that are counted apart.
const SLOTS: usize = 256;

/// The bytes that the instances of one operator have in flight.
pub(super) struct OperatorInFlight {
    bytes_max: i64,
    all: AtomicI64,
    by_epoch: Box<[AtomicI64]>,
    /// An instance is in `waiting`; changed only while that is locked.
    is_waited_for: AtomicBool,
    /// Who waits, by instance, and in which epoch.
    waiting: Mutex<BTreeMap<u32, (Epoch, Wake)>>,
}

impl OperatorInFlight {
    fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max: i64::try_from(bytes_max).unwrap_or(i64::MAX),
            all: AtomicI64::new(0),
            by_epoch: (0..SLOTS).map(|_| AtomicI64::new(0)).collect(),
            is_waited_for: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    fn slot(&self, epoch: u64) -> &AtomicI64 {
        &self.by_epoch[epoch as usize % SLOTS]
    }

    /// So many bytes were emitted, copies for several receivers counted each.
    pub fn add(&self, epoch: Epoch, bytes: u64) {
        let bytes = bytes as i64;
        self.slot(epoch.0).fetch_add(bytes, Ordering::SeqCst);
        self.all.fetch_add(bytes, Ordering::SeqCst);
    }

    /// So many of them were taken by a receiver.
    pub fn subtract(&self, epoch: Epoch, bytes: u64) {
        let bytes = bytes as i64;
        self.slot(epoch.0).fetch_sub(bytes, Ordering::SeqCst);
        self.all.fetch_sub(bytes, Ordering::SeqCst);
        // Most of the time none waits, and a look is cheaper than a change.
        if self.is_waited_for.load(Ordering::SeqCst) {
            self.wake_who_has_room();
        }
    }

    fn wake_who_has_room(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let woken: Vec<Wake> = waiting.extract_if(.., |_, (epoch, _)| !self.is_full(*epoch)).map(|(_, (_, wake))| wake).collect();
        self.is_waited_for.store(!waiting.is_empty(), Ordering::SeqCst);
        drop(waiting);
        woken.iter().for_each(|wake| wake());
    }

    /// True where there is no room for what an instance in this epoch may emit.
    fn is_full(&self, epoch: Epoch) -> bool {
        if self.all.load(Ordering::SeqCst) <= self.bytes_max {
            return false;
        }
        let epochs = epoch.0.saturating_sub(EPOCHS_MAX)..=epoch.0;
        epochs.map(|epoch| self.slot(epoch).load(Ordering::SeqCst)).sum::<i64>() > self.bytes_max
    }

    /// True where an instance has to wait: it is woken when there may be room.
    pub fn holds(&self, instance: u32, epoch: Epoch, wake: &Wake) -> bool {
        if !self.is_full(epoch) {
            return false;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(instance, (epoch, wake.clone()));
        self.is_waited_for.store(true, Ordering::SeqCst);
        drop(waiting);
        // What was taken before this was written down woke none.
        self.is_full(epoch)
    }
}

/// The bytes in flight of all operators of a run, in the order of the topology file.
pub struct InFlight {
    operators: Vec<OperatorInFlight>,
    /// How much one call should emit at most, in bytes.
    call_bytes: u64,
}

/// Calls whose output together may be under way, about.
const CALLS_AHEAD: u64 = 4;

impl InFlight {
    /// For so many operators. `bytes_max`: what the instances of one of them on one worker may have under way.
    #[must_use]
    pub fn new(operators: usize, workers: u32, bytes_max: u64) -> Self {
        let operator = |_| OperatorInFlight::new(bytes_max.saturating_mul(workers.into()));
        Self { operators: (0..operators).map(operator).collect(), call_bytes: (bytes_max / CALLS_AHEAD).max(1) }
    }

    /// How much one call should emit at most, in bytes.
    pub(super) fn call_bytes(&self) -> u64 {
        self.call_bytes
    }

    /// That of the node where rows come from; sources have bounds of their own.
    pub(super) fn of(&self, from: Node) -> Option<&OperatorInFlight> {
        if let Node::Operator(place) = from { self.operators.get(place) } else { None }
    }
}

/// For each output of an operator how many copies of its rows go out. `instances`: those of a node.
pub(super) fn copies(plan: &Plan, from: Node, outputs: usize, instances: impl Fn(Node) -> u32) -> Vec<u64> {
    let mut copies = vec![0; outputs];
    for edge in plan.edges.iter().filter(|edge| edge.from == from) {
        if let Some(copies) = copies.get_mut(edge.port as usize) {
            *copies += if edge.exchange == Exchange::All { u64::from(instances(edge.to)) } else { 1 };
        }
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    fn wake(woken: &Arc<AtomicUsize>) -> Wake {
        let woken = Arc::clone(woken);
        Arc::new(move || _ = woken.fetch_add(1, Ordering::SeqCst))
    }

    #[test]
    fn who_has_emitted_too_much_waits_until_somebody_takes_it() {
        let (in_flight, woken) = (OperatorInFlight::new(100), Arc::default());
        let wake = wake(&woken);
        in_flight.add(Epoch(7), 100);
        assert!(!in_flight.holds(0, Epoch(7), &wake), "it is full, and not over");
        in_flight.add(Epoch(7), 1);
        assert!(in_flight.holds(0, Epoch(7), &wake) && in_flight.holds(0, Epoch(7), &wake) && in_flight.holds(1, Epoch(8), &wake));
        assert_eq!(woken.load(Ordering::SeqCst), 0);
        in_flight.subtract(Epoch(7), 60);
        assert_eq!(woken.load(Ordering::SeqCst), 2, "each once");
        assert!(!in_flight.holds(0, Epoch(7), &wake));
        in_flight.subtract(Epoch(7), 41);
        assert_eq!(woken.load(Ordering::SeqCst), 2, "nobody waits");
    }

    #[test]
    fn rows_of_a_later_epoch_hold_up_nobody_who_is_still_in_an_earlier_one() {
        let (in_flight, wake) = (OperatorInFlight::new(100), wake(&Arc::default()));
        in_flight.add(Epoch(1_000), 500);
        assert!(!in_flight.holds(0, Epoch(999), &wake));
        assert!(in_flight.holds(0, Epoch(1_000), &wake) && in_flight.holds(0, Epoch(1_064), &wake));
        in_flight.add(Epoch(999), 101);
        assert!(in_flight.holds(0, Epoch(999), &wake));
        in_flight.subtract(Epoch(1_000), 500);
        in_flight.subtract(Epoch(999), 101);
        assert!((0..2_000).all(|epoch| !in_flight.is_full(Epoch(epoch))));
    }

    #[test]
    fn only_those_are_woken_whose_epoch_has_room() {
        let (in_flight, woken) = (OperatorInFlight::new(100), [Arc::default(), Arc::default()]);
        in_flight.add(Epoch(7), 150);
        in_flight.add(Epoch(9), 150);
        assert!(in_flight.holds(0, Epoch(7), &wake(&woken[0])) && in_flight.holds(1, Epoch(9), &wake(&woken[1])));
        let count = || [0, 1].map(|at: usize| woken[at].load(Ordering::SeqCst));
        in_flight.subtract(Epoch(7), 40);
        assert_eq!(count(), [0, 0], "there is room for neither");
        in_flight.subtract(Epoch(7), 40);
        assert_eq!(count(), [1, 0]);
        in_flight.subtract(Epoch(9), 100);
        assert_eq!(count(), [1, 0], "the rows of the earlier epoch count as well");
        in_flight.subtract(Epoch(7), 70);
        assert_eq!(count(), [1, 1], "who had no room before is not forgotten");
    }

    #[test]
    fn nobody_sleeps_through_what_is_taken_at_the_same_moment() {
        let (in_flight, woken) = (Arc::new(OperatorInFlight::new(0)), Arc::default());
        let wake = wake(&woken);
        for round in 1..2_000 {
            in_flight.add(Epoch(3), 1);
            let other = Arc::clone(&in_flight);
            let taker = std::thread::spawn(move || other.subtract(Epoch(3), 1));
            let waits = in_flight.holds(0, Epoch(3), &wake);
            taker.join().unwrap();
            assert!(!waits || woken.swap(0, Ordering::SeqCst) > 0, "round {round}: it waits for ever");
            woken.store(0, Ordering::SeqCst);
        }
    }
}
