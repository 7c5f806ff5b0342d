//! The control of a run: the switches that end it, its first failure, and how far its epochs are. All threads of the run share it.

use super::circuit_breaker::SharedCircuitBreaker;
use super::counters::NodeCounters;
use super::failure::Failure;
use super::parked::OperatorParked;
use super::timestamp::{Timestamp, epoch_of};
use super::wait_group::WaitGroup;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::ids::Epoch;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

/// The control of a run.
// Wide: each of its fields is shared by all threads of the run, and they change apart from each other.
#[derive(Debug)]
pub struct Control {
    abort: AtomicBool,
    stop: AtomicBool,
    completed: AtomicU64,
    sources_running: AtomicUsize,
    furthest: AtomicU64,
    nudges: AtomicU64,
    wanted: AtomicU64,
    unstored: Unstored,
    full_wanted: Mutex<BTreeSet<Participant>>,
    failure: Mutex<Option<Failure>>,
    workers: Mutex<Vec<Thread>>,
    /// The threads beside the workers.
    pub(super) threads: Arc<WaitGroup>,
    /// The circuit breaker of each operator, in the order of the topology file.
    pub breakers: Vec<Arc<SharedCircuitBreaker>>,
    /// Counters of the sources, in the order of the topology file.
    pub sources: Vec<NodeCounters>,
    /// Counters of the operators, likewise.
    pub operators: Vec<NodeCounters>,
    /// Counters of the sinks, likewise.
    pub sinks: Vec<NodeCounters>,
    /// What is parked for each operator, likewise.
    pub operators_parked: Vec<OperatorParked>,
    /// For each source how many operators downstream have too much parked.
    held: Vec<AtomicUsize>,
    /// Changes of these.
    holds: AtomicU64,
}

/// Bytes that sources have let in and no stored checkpoint has yet.
#[derive(Debug)]
struct Unstored {
    bytes: AtomicU64,
    bytes_max: u64,
}

impl Control {
    /// The control of a run whose first epoch is `first`, over so many sources and sinks. `unstored_bytes_max`: what sources may
    /// read past the newest stored checkpoint.
    #[must_use]
    pub fn new(
        first: Epoch,
        workers: usize,
        unstored_bytes_max: u64,
        (sources, sinks): (usize, usize),
        breakers: Vec<Arc<SharedCircuitBreaker>>,
    ) -> Self {
        let counters = |count| (0..count).map(|_| NodeCounters::default()).collect();
        Self {
            abort: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            completed: AtomicU64::new(first.0.saturating_sub(1)),
            sources_running: AtomicUsize::new(sources * workers),
            furthest: AtomicU64::new(0),
            nudges: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            unstored: Unstored { bytes: AtomicU64::new(0), bytes_max: unstored_bytes_max },
            full_wanted: Mutex::new(BTreeSet::new()),
            failure: Mutex::new(None),
            workers: Mutex::new(Vec::new()),
            threads: Arc::default(),
            sources: counters(sources),
            operators: counters(breakers.len()),
            sinks: counters(sinks),
            operators_parked: breakers.iter().map(|_| OperatorParked::default()).collect(),
            held: (0..sources).map(|_| AtomicUsize::new(0)).collect(),
            holds: AtomicU64::new(0),
            breakers,
        }
    }

    /// Asks the sources to stop, so that the run ends with a last checkpoint.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// True once [`Self::stop`] was called.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the run at once. The first failure is the one that counts.
    pub fn fail(&self, failure: Failure) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
        drop(first);
        self.abort();
    }

    /// Ends the run at once, without a failure of its own.
    pub fn abort(&self) {
        self.abort.store(true, Ordering::Release);
        self.wake();
    }

    /// True once the run is to end at once.
    #[must_use]
    pub fn aborted(&self) -> bool {
        self.abort.load(Ordering::Acquire)
    }

    /// The first failure, once.
    pub fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The newest epoch that is behind us.
    #[must_use]
    pub fn completed(&self) -> Epoch {
        Epoch(self.completed.load(Ordering::Acquire))
    }

    /// Notes that an epoch is behind us, so that sources may go further.
    pub fn set_completed(&self, epoch: Epoch) {
        self.completed.fetch_max(epoch.0, Ordering::AcqRel);
        self.wake();
    }

    /// Asks the sources to end the epoch they are in, whatever its age, and gives that epoch. A checkpoint that has everything up
    /// to now is that of this epoch.
    pub fn want_epoch(&self) -> Epoch {
        let open = epoch_of(self.furthest()).max(self.completed().next());
        self.wanted.fetch_max(open.0, Ordering::AcqRel);
        self.nudge();
        open
    }

    /// The newest epoch whose checkpoint is waited for.
    pub(super) fn wanted(&self) -> Epoch {
        Epoch(self.wanted.load(Ordering::Acquire))
    }

    /// Bytes that sources have let in and no stored checkpoint has yet.
    #[must_use]
    pub fn unstored_bytes(&self) -> u64 {
        self.unstored.bytes.load(Ordering::Acquire)
    }

    /// True while sources read nothing because too much of what they have read is in no stored checkpoint.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unstored_bytes() >= self.unstored.bytes_max
    }

    /// A source instance has let in so many bytes.
    pub(super) fn add_unstored(&self, bytes: u64) {
        self.unstored.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// So many of them are in a stored checkpoint now.
    pub(super) fn subtract_unstored(&self, bytes: u64) {
        let before = self.unstored.bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.unstored.bytes_max && before - bytes < self.unstored.bytes_max {
            self.wake();
        }
    }

    /// Lets these sources wait for an operator downstream that has too much parked, or not any more.
    pub(super) fn hold(&self, sources: &[usize], waits: bool) {
        for held in sources.iter().filter_map(|source| self.held.get(*source)) {
            if waits {
                held.fetch_add(1, Ordering::AcqRel)
            } else {
                held.fetch_sub(1, Ordering::AcqRel)
            };
        }
        self.holds.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// True while a source lets nothing in, since an operator downstream has too much parked.
    pub(super) fn is_held(&self, source: usize) -> bool {
        self.held.get(source).is_some_and(|held| held.load(Ordering::Acquire) > 0)
    }

    /// Counts the calls of [`Self::hold`].
    pub(super) fn holds(&self) -> u64 {
        self.holds.load(Ordering::Acquire)
    }

    /// Lets the next snapshot of an operator instance be a full one.
    pub fn ask_full(&self, at: Participant) {
        self.full_wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(at);
    }

    /// True once after each [`Self::ask_full`].
    pub(super) fn takes_full(&self, at: Participant) -> bool {
        self.full_wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&at)
    }

    /// One source instance has come to the end of its input. True where it was the last.
    pub(super) fn source_ended(&self) -> bool {
        let last = self.sources_running.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.wake();
        }
        last
    }

    /// True once every source instance has come to the end of its input.
    pub(super) fn all_ended(&self) -> bool {
        self.sources_running.load(Ordering::Acquire) == 0
    }

    /// The furthest moment at which any source instance has sent.
    pub(super) fn furthest(&self) -> Timestamp {
        self.furthest.load(Ordering::Acquire)
    }

    /// Notes that a source instance sends at this moment.
    pub(super) fn reach(&self, at: Timestamp) {
        self.furthest.fetch_max(at, Ordering::AcqRel);
    }

    /// Asks all source instances to follow the furthest one, since another one waits for them.
    pub(super) fn nudge(&self) {
        self.nudges.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// Counts the calls of [`Self::nudge`].
    pub(super) fn nudges(&self) -> u64 {
        self.nudges.load(Ordering::Acquire)
    }

    /// Registers the calling worker thread, to be woken from its rest.
    pub(super) fn register(&self) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(std::thread::current());
    }

    fn wake(&self) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Thread::unpark);
    }
}
