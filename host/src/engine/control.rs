//! What all threads of a run share: the switches that end it, the first failure, and counters for people to look at.

use super::capsule::Evidence;
use super::crew::Crew;
use super::guard::Guard;
use super::moment::Moment;
use crate::connect::ConnectError;
use crate::panics::THREADS_HELP;
use crate::wasm::{GuestError, Usage};
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::ids::Epoch;
use reprise_core::plain::plain;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::Thread;

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An operator failed. What it did in this epoch does not stand.
    #[error("operator `{operator}` instance {instance} {error}\n  at epoch {epoch}, {context}{}{}", trail(error), kept(evidence))]
    Guest {
        /// Its name in the topology.
        operator: String,
        /// Its place in the topology file.
        index: usize,
        /// Which instance.
        instance: u32,
        /// In which epoch.
        epoch: Epoch,
        /// What it was working on.
        context: String,
        /// What happened.
        error: Box<GuestError>,
        /// Failures after which it was given up; `None` where taking the whole job up again may help.
        gave_up: Option<u32>,
        /// What is to be written down of it, or was.
        evidence: Evidence,
    },
    /// An operator returned something else when a call was repeated. What it did in this epoch does not stand.
    #[error(
        "operator `{operator}` instance {instance} is not deterministic: a call that was repeated returned something else\n  at epoch {epoch}, {context}\n  help: it may keep state that it does not declare; `reprise verify` looks for it"
    )]
    Diverged {
        /// Its name in the topology.
        operator: String,
        /// Its place in the topology file.
        index: usize,
        /// Which instance.
        instance: u32,
        /// In which epoch.
        epoch: Epoch,
        /// Which call, and in what its repetition differs.
        context: String,
    },
    /// A source or sink failed.
    #[error("{kind} `{name}` instance {instance}")]
    Connect {
        /// "source" or "sink".
        kind: &'static str,
        /// Its name in the topology.
        name: String,
        /// Which instance.
        instance: u32,
        /// What happened.
        #[source]
        error: ConnectError,
    },
    /// A limit of the engine was reached.
    #[error("{0}")]
    Limit(String),
    /// A fault of the host.
    #[error("internal: {0}")]
    Internal(String),
}

impl Failure {
    /// The system gives no thread for something.
    #[must_use]
    pub fn no_thread(what: &str, why: &dyn std::fmt::Display) -> Self {
        Self::Limit(format!("{what} cannot be started: {why}\n  help: {THREADS_HELP}"))
    }
}

/// Frames of a guest's backtrace, and lines of its log, that a report shows.
const TRAIL_LINES: usize = 8;

/// Where in the guest it happened, and what the guest said before, a line each.
fn trail(error: &GuestError) -> String {
    let frames = error.backtrace.iter().take(TRAIL_LINES).map(|frame| format!("\n  in {}", plain(frame)));
    let skipped = error.log_tail.len().saturating_sub(TRAIL_LINES);
    let log = error.log_tail.iter().skip(skipped).map(|line| format!("\n  log: {}", plain(line)));
    frames.chain(log).collect()
}

/// The name of the capsule.
fn kept(evidence: &Evidence) -> String {
    if let Evidence::Capsule(path) = evidence { format!("\n  capsule: {path}") } else { String::new() }
}

/// Ends the run where the thread that holds it panics: the other threads would wait for ever.
pub(super) struct Alarm<'a>(pub &'a Control, pub &'static str);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Failure::Internal(format!("{} gave up; the line above says why", self.1)));
        }
    }
}

/// Counters of one node, over all of its instances. They are for people: nothing is decided by them.
#[derive(Debug, Default)]
pub struct NodeCounters {
    /// Rows that came in (for sources: were read).
    pub rows_in: AtomicU64,
    /// Rows that went out.
    pub rows_out: AtomicU64,
    /// Rows that were refused.
    pub rejected: AtomicU64,
    /// Bytes of state in the last full snapshot and the deltas since, summed over instances.
    pub state_bytes: AtomicI64,
    /// Time spent inside calls, nanoseconds. For operators: of the wall, within every call of a guest, snapshots included.
    pub busy_ns: AtomicU64,
    /// Time of a processor within calls of a guest, nanoseconds; none where the system does not tell.
    pub processor_ns: AtomicU64,
    /// Longest pause of an instance at the end of an epoch, turns of others in between included, nanoseconds.
    pub snapshot_ns_max: AtomicU64,
    /// Calls that reached a guest, each piece of an output and each part of a snapshot one of them.
    pub calls: AtomicU64,
    /// Instructions that guests executed, where they are counted.
    pub fuel: AtomicU64,
    /// Calls of the host that guests made.
    pub host_calls: AtomicU64,
    /// Lines that guests logged and that were dropped for a limit.
    pub log_lines_dropped: AtomicU64,
    /// Bytes of rows that went into guests.
    pub bytes_in: AtomicU64,
    /// Bytes of rows that came out of them.
    pub bytes_out: AtomicU64,
    /// The most linear memory that one instance ever had, bytes.
    pub memory_peak_bytes: AtomicU64,
}

impl NodeCounters {
    /// Adds what an instance used.
    pub fn add_usage(&self, used: &Usage) {
        let Usage { calls, busy, processor, fuel, host_calls, log_lines_dropped, bytes_in, bytes_out, memory_peak_bytes } = *used;
        for (counter, more) in [
            (&self.calls, calls),
            (&self.busy_ns, busy.as_nanos() as u64),
            (&self.processor_ns, processor.as_nanos() as u64),
            (&self.fuel, fuel),
            (&self.host_calls, host_calls),
            (&self.log_lines_dropped, log_lines_dropped),
            (&self.bytes_in, bytes_in),
            (&self.bytes_out, bytes_out),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
        self.memory_peak_bytes.fetch_max(memory_peak_bytes, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Control {
    abort: AtomicBool,
    stop: AtomicBool,
    completed: AtomicU64,
    sources_running: AtomicUsize,
    furthest: AtomicU64,
    nudges: AtomicU64,
    wanted: AtomicU64,
    unstored_bytes: AtomicU64,
    unstored_bytes_max: u64,
    full_wanted: Mutex<BTreeSet<Participant>>,
    failure: Mutex<Option<Failure>>,
    threads: Mutex<Vec<Thread>>,
    /// The threads beside the workers.
    pub(super) crew: Arc<Crew>,
    /// What the instances of each operator share when things go wrong, in the order of the topology file.
    pub guards: Vec<Arc<Guard>>,
    /// Counters of the sources, in the order of the topology file.
    pub sources: Vec<NodeCounters>,
    /// Counters of the operators, likewise.
    pub operators: Vec<NodeCounters>,
    /// Counters of the sinks, likewise.
    pub sinks: Vec<NodeCounters>,
}

impl Control {
    /// The control of a run whose first epoch is `first`, over so many sources and sinks. `unstored_bytes_max`: what sources may
    /// read past the newest stored checkpoint.
    #[must_use]
    pub fn new(first: Epoch, workers: usize, unstored_bytes_max: u64, (sources, sinks): (usize, usize), guards: Vec<Arc<Guard>>) -> Self {
        let counters = |count| (0..count).map(|_| NodeCounters::default()).collect();
        Self {
            abort: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            completed: AtomicU64::new(first.0.saturating_sub(1)),
            sources_running: AtomicUsize::new(sources * workers),
            furthest: AtomicU64::new(0),
            nudges: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            unstored_bytes: AtomicU64::new(0),
            unstored_bytes_max,
            full_wanted: Mutex::new(BTreeSet::new()),
            failure: Mutex::new(None),
            threads: Mutex::new(Vec::new()),
            crew: Arc::default(),
            sources: counters(sources),
            operators: counters(guards.len()),
            sinks: counters(sinks),
            guards,
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

    /// Asks the sources to end the epoch they are in, whatever its age, and gives that epoch. Whoever waits for a checkpoint that has
    /// everything up to now waits for this one.
    pub fn want_epoch(&self) -> Epoch {
        let open = super::moment::epoch_of(self.furthest()).max(self.completed().next());
        self.wanted.fetch_max(open.0, Ordering::AcqRel);
        self.nudge();
        open
    }

    /// The newest epoch that somebody waits for.
    pub(super) fn wanted(&self) -> Epoch {
        Epoch(self.wanted.load(Ordering::Acquire))
    }

    /// Bytes that sources have let in and no stored checkpoint has yet.
    #[must_use]
    pub fn unstored_bytes(&self) -> u64 {
        self.unstored_bytes.load(Ordering::Acquire)
    }

    /// True while sources read nothing because too much of what they have read is in no stored checkpoint.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unstored_bytes() >= self.unstored_bytes_max
    }

    /// A source instance has let in so many bytes.
    pub(super) fn add_unstored(&self, bytes: u64) {
        self.unstored_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// So many of them are in a stored checkpoint now.
    pub(super) fn subtract_unstored(&self, bytes: u64) {
        let before = self.unstored_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.unstored_bytes_max && before - bytes < self.unstored_bytes_max {
            self.wake();
        }
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
    pub(super) fn furthest(&self) -> Moment {
        self.furthest.load(Ordering::Acquire)
    }

    /// Notes that a source instance sends at this moment.
    pub(super) fn reach(&self, moment: Moment) {
        self.furthest.fetch_max(moment, Ordering::AcqRel);
    }

    /// Asks all source instances to follow the furthest one, since somebody waits for them.
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
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(std::thread::current());
    }

    fn wake(&self) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(Thread::unpark);
    }
}
