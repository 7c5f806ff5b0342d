//! The host's side of one instance: what the imports of `reprise:operator/runtime` answer, what was logged and counted.
//!
//! No answer depends on a clock or on chance: `now` is what the caller says, `random` is a function of the identity and the call. A
//! replay of the same call gets the same answers.

use super::contract::operator::{Host, Level as WitLevel, TypesHost};
use super::deadline::Timer;
use super::limits::{COUNTER_NAME_BYTES_MAX, COUNTERS_MAX, Limits, Meter, cut};
use super::log::{GuestLog, Level};
use super::usage::Usage;
use super::wasi::{Grants, Wasi};
use reprise_core::random::{GOLDEN_GAMMA, Random, mix};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The identity of an instance. Seeds its random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceIdentity {
    /// Name of the job.
    pub job: String,
    /// Name of the operator in the topology.
    pub operator: String,
    /// Index of the instance, below its parallelism.
    pub instance: u32,
    /// Seed of the job; 0 unless its owner chose one.
    pub seed: u64,
}

/// The circumstances of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Call {
    /// Number of the call, the same when the call is replayed. Seeds `random`.
    pub number: u64,
    /// Processing time, as `now` answers it: milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: i64,
    /// The least that the monotonic clock of WASI shows: the most that [`Instance::instant_ns`](super::Instance::instant_ns) was before the call,
    /// that of instances which failed included. It belongs to the circumstances since a guest may sleep, and an instance that repeats the call
    /// may not have slept.
    pub instant_ns: u64,
}

/// Ends a call that asks its host for too much.
#[derive(Debug, thiserror::Error)]
#[error("over the limit of {limit} calls of the host")]
pub(super) struct TooManyHostCalls {
    pub(super) limit: u64,
}

/// The data of a wasmtime store.
pub(super) struct GuestState {
    pub(super) meter: Meter,
    /// The deadline of the call that is under way.
    pub(super) timer: Timer,
    /// The usage since it was taken the last time.
    pub(super) usage: Usage,
    /// The virtual WASI of a component that imports `wasi:*`; others never reach it.
    pub(super) wasi: Wasi,
    seed: u64,
    /// The circumstances of the last call that had some.
    pub(super) call: Call,
    random: Random,
    pub(super) log: GuestLog,
    host_calls: u64,
    host_calls_max: u64,
    pub(super) counters: BTreeMap<String, u64>,
    counter_refused: bool,
}

impl GuestState {
    pub(super) fn new(limits: &Limits, identity: &InstanceIdentity, grants: Arc<Grants>) -> Self {
        Self {
            meter: Meter::new(limits),
            timer: Timer::start(Duration::ZERO),
            usage: Usage::default(),
            wasi: Wasi::new(grants),
            seed: seed(identity),
            call: Call::default(),
            random: Random::new(0),
            log: GuestLog::new(limits),
            host_calls: 0,
            host_calls_max: limits.host_calls_per_call_max,
            counters: BTreeMap::new(),
            counter_refused: false,
        }
    }

    /// Starts a call. Without circumstances of its own it keeps the time of the call before.
    pub(super) fn begin(&mut self, call: Option<Call>) {
        let stream = u64::from(call.is_none());
        self.call = call.unwrap_or(self.call);
        self.random = Random::new(mix(self.seed ^ mix(self.call.number)) ^ stream);
        self.host_calls = 0;
        self.log.begin(self.call.number, self.call.now_ms);
        self.meter.begin();
    }

    /// Goes on with a call for the next piece of its output: it is the same call, with the same numbers and the same counts.
    pub(super) fn resume(&mut self) {
        self.meter.begin();
    }

    /// Ends a call: logs what was written and not ended by a line feed, and says how many log lines were dropped.
    pub(super) fn end(&mut self) {
        self.end_lines();
        self.log.end();
    }

    /// Counts a call of the host.
    ///
    /// # Errors
    /// It is one too many: the guest's call is over.
    pub(super) fn ask(&mut self) -> Result<(), TooManyHostCalls> {
        let limit = self.host_calls_max;
        if self.host_calls >= limit {
            return Err(TooManyHostCalls { limit });
        }
        self.host_calls += 1;
        self.usage.host_calls += 1;
        Ok(())
    }

    /// Counts a call of the host that [`Self::check_asked`] may refuse.
    pub(super) fn asked(&mut self) -> &mut Self {
        self.host_calls = self.host_calls.saturating_add(1);
        self.usage.host_calls += 1;
        self
    }

    /// Refuses a call of the host that was counted by [`Self::asked`].
    ///
    /// # Errors
    /// It is one too many: the guest's call is over.
    pub(super) fn check_asked(&self) -> Result<(), TooManyHostCalls> {
        let limit = self.host_calls_max;
        if self.host_calls > limit { Err(TooManyHostCalls { limit }) } else { Ok(()) }
    }

    /// A seed for hash tables: of the identity alone, so that tables have the same order in every copy of the instance.
    pub(super) fn table_seed(&self) -> (u64, u64) {
        (mix(self.seed), mix(self.seed ^ GOLDEN_GAMMA))
    }

    /// The next random number, for every import that asks for one.
    pub(super) fn draw(&mut self) -> u64 {
        self.random.number()
    }

    /// Logs a line, from whatever import it comes. Lines over the limit are counted and dropped.
    pub(super) fn write_line(&mut self, level: Level, message: &str) {
        if !self.log.write(level, message) {
            self.usage.log_lines_dropped += 1;
        }
    }
}

/// The interface `data` has no functions.
impl TypesHost for GuestState {}

impl Host for GuestState {
    fn log(&mut self, level: WitLevel, message: String) -> wasmtime::Result<()> {
        self.ask()?;
        let level = match level {
            WitLevel::Trace => Level::Trace,
            WitLevel::Debug => Level::Debug,
            WitLevel::Info => Level::Info,
            WitLevel::Warn => Level::Warn,
            WitLevel::Error => Level::Error,
        };
        self.write_line(level, &message);
        Ok(())
    }

    fn now(&mut self) -> wasmtime::Result<i64> {
        self.ask()?;
        Ok(self.call.now_ms)
    }

    fn random(&mut self) -> wasmtime::Result<u64> {
        self.ask()?;
        Ok(self.draw())
    }

    fn count(&mut self, metric: String, add: u64) -> wasmtime::Result<()> {
        self.ask()?;
        if let Some(counter) = self.counters.get_mut(&metric) {
            *counter = counter.saturating_add(add);
        } else if is_metric(&metric) && self.counters.len() < COUNTERS_MAX {
            self.counters.insert(metric, add);
        } else if !std::mem::replace(&mut self.counter_refused, true) {
            let shown = cut(&metric, COUNTER_NAME_BYTES_MAX);
            self.log.push(
                Level::Warn,
                format!(
                    "the counter `{shown}` is ignored: names are 1 to {COUNTER_NAME_BYTES_MAX} bytes of [a-z0-9_], at most {COUNTERS_MAX} of them"
                ),
            );
        }
        Ok(())
    }
}

fn seed(identity: &InstanceIdentity) -> u64 {
    let mut hash = Sha256::new();
    for name in [&identity.job, &identity.operator] {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    hash.update(identity.instance.to_le_bytes());
    hash.update(identity.seed.to_le_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest[..8].iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn is_metric(name: &str) -> bool {
    (1..=COUNTER_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::log::{LOG_LINES_MAX, LOG_TAIL_LINES};
    use super::*;

    fn identity(operator: &str) -> InstanceIdentity {
        InstanceIdentity { job: "j".into(), operator: operator.into(), instance: 0, seed: 0 }
    }

    fn guest() -> GuestState {
        GuestState::new(&Limits { log_lines_per_call_max: 3, ..Limits::default() }, &identity("a"), Arc::default())
    }

    #[test]
    fn random_numbers_follow_from_identity_and_call() {
        let draw = |operator: &str, number| {
            let mut guest = GuestState::new(&Limits::default(), &identity(operator), Arc::default());
            guest.begin(Some(Call { number, now_ms: 5, instant_ns: 0 }));
            [(); 3].map(|()| guest.random().unwrap())
        };
        assert_eq!(draw("a", 7), draw("a", 7));
        assert_ne!(draw("a", 7), draw("a", 8));
        assert_ne!(draw("a", 7), draw("b", 7));
        assert_ne!(draw("a", 7)[0], draw("a", 7)[1]);
    }

    #[test]
    fn a_call_that_is_resumed_goes_on_with_its_numbers_its_time_and_its_lines() {
        let whole = || {
            let mut guest = guest();
            guest.begin(Some(Call { number: 7, now_ms: 5, instant_ns: 0 }));
            guest
        };
        let (mut at_once, mut resumed) = (whole(), whole());
        let numbers = [(); 2].map(|()| at_once.random().unwrap());
        let first = resumed.random().unwrap();
        resumed.log(WitLevel::Info, "line".into()).unwrap();
        resumed.end();
        resumed.resume();
        assert_eq!(([first, resumed.random().unwrap()], resumed.now().unwrap()), (numbers, 5));
        (0..3).for_each(|_| resumed.log(WitLevel::Info, "line".into()).unwrap());
        resumed.end();
        assert_eq!(resumed.log.take().len(), 4, "three lines, and one that says that a line was dropped");
    }

    #[test]
    fn now_is_what_the_caller_says() {
        let mut guest = guest();
        guest.begin(Some(Call { number: 1, now_ms: 42, instant_ns: 0 }));
        assert_eq!(guest.now().unwrap(), 42);
        guest.begin(None);
        assert_eq!(guest.now().unwrap(), 42, "a snapshot has the time of the call before");
    }

    #[test]
    fn lines_over_the_limit_are_counted_and_dropped() {
        let mut guest = guest();
        for call in 0..2 {
            guest.begin(Some(Call { number: call, now_ms: 0, instant_ns: 0 }));
            (0..5).for_each(|i| guest.log(WitLevel::Info, format!("line {i}")).unwrap());
            guest.end();
        }
        let log = guest.log.take();
        assert_eq!(log.len(), 8);
        assert_eq!(log[3].message, "2 more lines were dropped: 3 a call and 1000 a second are kept");
        assert_eq!((log[4].call, log[4].level), (1, Level::Info));
        assert!(guest.log.take().is_empty());
        assert_eq!(guest.log.tail().len(), 8, "the tail outlives the taking");
    }

    #[test]
    fn lines_over_those_of_a_second_are_dropped_and_told_of_once_in_it() {
        let mut guest = GuestState::new(&Limits { log_lines_per_second_max: 5, ..Limits::default() }, &identity("a"), Arc::default());
        let mut lines = |now_ms| {
            guest.begin(Some(Call { number: 0, now_ms, instant_ns: 0 }));
            (0..4).for_each(|_| guest.log(WitLevel::Info, "line".into()).unwrap());
            guest.end();
            guest.log.take().into_iter().map(|line| line.message).filter(|message| message != "line").collect::<Vec<_>>()
        };
        assert!(lines(1000).is_empty());
        assert_eq!(lines(1999), ["3 more lines were dropped: 1000 a call and 5 a second are kept"]);
        assert!(lines(1500).is_empty() && lines(1000).is_empty(), "it was told once");
        assert_eq!(lines(-1), ["8 more lines were dropped: 1000 a call and 5 a second are kept"], "another second");
        assert_eq!(guest.usage.log_lines_dropped, 11);
    }

    #[test]
    fn a_call_may_ask_its_host_so_often_and_no_more() {
        let mut guest = GuestState::new(&Limits { host_calls_per_call_max: 4, ..Limits::default() }, &identity("a"), Arc::default());
        for number in 0..2 {
            guest.begin(Some(Call { number, now_ms: 0, instant_ns: 0 }));
            guest.log(WitLevel::Info, "line".into()).unwrap();
            guest.now().unwrap();
            guest.resume();
            guest.random().unwrap();
            guest.count("rows".into(), 1).unwrap();
            assert!(guest.now().unwrap_err().is::<TooManyHostCalls>(), "pieces are parts of one call");
        }
        assert_eq!((guest.usage.host_calls, guest.counters["rows"]), (8, 2));
    }

    #[test]
    fn calls_that_are_counted_before_they_are_refused_share_the_limit() {
        let mut guest = GuestState::new(&Limits { host_calls_per_call_max: 2, ..Limits::default() }, &identity("a"), Arc::default());
        guest.begin(Some(Call::default()));
        assert!(guest.asked().asked().check_asked().is_ok());
        assert!(guest.now().is_err());
        assert!(guest.asked().check_asked().is_err());
        assert_eq!(guest.usage.host_calls, 3);
        guest.begin(Some(Call::default()));
        assert!(guest.asked().check_asked().is_ok(), "another call");
    }

    #[test]
    fn the_log_is_bounded_and_keeps_the_newest() {
        let mut guest = GuestState::new(
            &Limits { log_lines_per_call_max: u32::MAX, log_lines_per_second_max: u32::MAX, ..Limits::default() },
            &identity("a"),
            Arc::default(),
        );
        (0..LOG_LINES_MAX + 10).for_each(|i| guest.log(WitLevel::Debug, i.to_string()).unwrap());
        assert_eq!(guest.log.tail().last().map(String::as_str), Some("2009"));
        assert_eq!(guest.log.tail().len(), LOG_TAIL_LINES);
        let log = guest.log.take();
        assert_eq!((log.len(), log[0].message.as_str()), (LOG_LINES_MAX, "10"));
    }

    #[test]
    fn counters_add_up_and_bad_names_are_ignored_with_one_warning() {
        let mut guest = guest();
        guest.count("rows_seen".into(), 2).unwrap();
        guest.count("rows_seen".into(), u64::MAX).unwrap();
        for bad in ["", "Rows", "a b", &"x".repeat(65)] {
            guest.count(bad.into(), 1).unwrap();
        }
        assert_eq!(guest.counters, BTreeMap::from([("rows_seen".to_owned(), u64::MAX)]));
        assert_eq!(guest.log.take().len(), 1);
        (0..100).for_each(|i| guest.count(format!("c{i}"), 1).unwrap());
        assert_eq!(guest.counters.len(), COUNTERS_MAX);
    }
}
