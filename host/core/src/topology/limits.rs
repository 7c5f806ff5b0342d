//! The settings of a topology that have a range: key, default, least and most.
//!
//! `docs/topology.md` says the same to users; a test compares the two.

use super::problem::{Problems, quote};
use super::quantity::{QuantityError, duration, show_duration, show_size, size};
use super::table::{Given, Placed};
use crate::keying::KEY_GROUPS;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3_600);

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bytes(pub u64);

/// The reason why a written quantity has no value.
pub(super) enum Unreadable {
    /// It is not in the form of a quantity.
    Form(&'static str),
    /// It is a quantity, but far out of every range.
    Range,
}

/// A quantity, which a file writes in one way and the program holds in another.
pub(super) trait Quantity: Copy + PartialOrd {
    /// How the file holds it.
    type Written;
    /// What it is called in a help text.
    const NOUN: &'static str;
    fn read(written: &Self::Written) -> Result<Self, Unreadable>;
    fn show(self) -> String;
    fn show_written(written: &Self::Written) -> String;
}

fn unreadable(error: QuantityError, form: &'static str) -> Unreadable {
    match error {
        QuantityError::Large => Unreadable::Range,
        QuantityError::Form | QuantityError::Unit => Unreadable::Form(form),
    }
}

impl Quantity for Duration {
    type Written = String;
    const NOUN: &'static str = "a duration";
    fn read(written: &String) -> Result<Self, Unreadable> {
        duration(written).map_err(|error| unreadable(error, "a duration is a whole number and `ms`, `s`, `m`, `h` or `d`"))
    }
    fn show(self) -> String {
        show_duration(self)
    }
    fn show_written(written: &String) -> String {
        quote(written)
    }
}

impl Quantity for Bytes {
    type Written = String;
    const NOUN: &'static str = "a size";
    fn read(written: &String) -> Result<Self, Unreadable> {
        let form = "a size is a whole number and `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`";
        size(written).map(Self).map_err(|error| unreadable(error, form))
    }
    fn show(self) -> String {
        show_size(self.0)
    }
    fn show_written(written: &String) -> String {
        quote(written)
    }
}

impl Quantity for u32 {
    type Written = i64;
    const NOUN: &'static str = "a number";
    fn read(written: &i64) -> Result<Self, Unreadable> {
        Self::try_from(*written).map_err(|_| Unreadable::Range)
    }
    fn show(self) -> String {
        self.to_string()
    }
    fn show_written(written: &i64) -> String {
        written.to_string()
    }
}

/// The range of one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit<Q> {
    /// The table of the file that holds it.
    pub table: &'static str,
    pub key: &'static str,
    pub default: Q,
    pub min: Q,
    pub max: Q,
}

impl<Q: Quantity> Limit<Q> {
    const fn new(table: &'static str, key: &'static str, default: Q, (min, max): (Q, Q)) -> Self {
        Self { table, key, default, min, max }
    }

    /// The value that was given, else the default. After a problem, the default stands in.
    pub(super) fn take(&self, given: &Given<Q::Written>, problems: &mut Problems<'_>) -> Q {
        let Some(placed) = given.get() else { return self.default };
        self.check(&placed.value, placed.at, problems).unwrap_or(self.default)
    }

    /// Reads one written quantity and holds it against the range.
    pub(super) fn check(&self, written: &Q::Written, at: usize, problems: &mut Problems<'_>) -> Option<Q> {
        let key = self.key;
        let range = || format!("write {} from {} to {}", Q::NOUN, self.min.show(), self.max.show());
        match Q::read(written) {
            Ok(value) if value >= self.min && value <= self.max => return Some(value),
            Ok(_) | Err(Unreadable::Range) => {
                problems.add(at, format!("`{key}` is {}, which is out of range", Q::show_written(written)), Some(range()));
            }
            Err(Unreadable::Form(form)) => {
                let message = format!("`{key}`: \"{}\" is not {}", Q::show_written(written), Q::NOUN);
                problems.add(at, message, Some(format!("{form}, such as \"{}\"", self.default.show())));
            }
        }
        None
    }

    fn row(&self) -> LimitRow {
        let (default, min, max) = (self.default.show(), self.min.show(), self.max.show());
        LimitRow { table: self.table, key: self.key, default, min, max }
    }
}

/// The ranges of a `backoff`, which is written as a pair such as `"10ms..1s"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// The first pause.
    pub min: Limit<Duration>,
    /// The longest pause.
    pub max: Limit<Duration>,
}

impl Range {
    const fn new(table: &'static str, (min, max): (Duration, Duration)) -> Self {
        let each = (ms(1), HOUR);
        Self { min: Limit::new(table, "backoff", min, each), max: Limit::new(table, "backoff", max, each) }
    }

    fn show(&self) -> String {
        format!("{}..{}", self.min.default.show(), self.max.default.show())
    }

    /// The two values that were given, else the defaults. After a problem, the defaults stand in.
    pub(super) fn take(&self, given: &Given<String>, problems: &mut Problems<'_>) -> (Duration, Duration) {
        let defaults = (self.min.default, self.max.default);
        let Some(Placed { value, at }) = given.get() else { return defaults };
        let Some((min, max)) = value.split_once("..") else {
            let help = Some(format!("write the first and the longest pause, such as \"{}\"", self.show()));
            problems.add(*at, format!("`backoff`: \"{}\" is not a range of durations", quote(value)), help);
            return defaults;
        };
        let min = self.min.check(&min.to_owned(), *at, problems);
        let max = self.max.check(&max.to_owned(), *at, problems);
        let (Some(min), Some(max)) = (min, max) else { return defaults };
        if min > max {
            let help = Some("write the shorter pause first".to_owned());
            problems.add(*at, format!("`backoff`: \"{}\" begins with the longer pause", quote(value)), help);
        }
        (min, max)
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) const INTERVAL: Limit<Duration> = Limit::new("checkpoint", "interval", ms(1_000), (ms(10), HOUR.saturating_mul(24)));
pub(super) const KEEP: Limit<u32> = Limit::new("checkpoint", "keep", 3, (3, 1_000));
pub(super) const CHAIN_LENGTH: Limit<u32> = Limit::new("checkpoint", "chain-length-max", 16, (0, 1_000));
pub(super) const EPOCHS_IN_FLIGHT: Limit<u32> = Limit::new("checkpoint", "epochs-in-flight-max", 4, (1, 64));
pub(super) const SNAPSHOT_PART: Limit<Bytes> =
    Limit::new("checkpoint", "snapshot-part", Bytes(4 * MIB), (Bytes(64 * KIB), Bytes(64 * MIB)));
pub(super) const TIMEOUT: Limit<Duration> = Limit::new("checkpoint", "timeout", ms(30_000), (ms(100), HOUR));
pub(super) const STORE_RETRIES: Limit<u32> = Limit::new("checkpoint", "retries", 5, (0, 100));
/// The first and the longest pause between attempts of a storage call.
pub(super) const STORE_BACKOFF: Range = Range::new("checkpoint", (ms(50), ms(5_000)));
pub(super) const OUTAGE: Limit<Duration> =
    Limit::new("checkpoint", "outage-max", HOUR.saturating_mul(24), (ms(0), HOUR.saturating_mul(24 * 366)));
pub(super) const UNCHECKPOINTED: Limit<Bytes> =
    Limit::new("checkpoint", "uncheckpointed-max", Bytes(GIB), (Bytes(64 * KIB), Bytes(1_024 * GIB)));
pub(super) const CHAIN_BYTES: Limit<Bytes> = Limit::new("checkpoint", "chain-bytes-max", Bytes(8 * GIB), (Bytes(KIB), Bytes(1_024 * GIB)));
pub(super) const SAVEPOINT_POLL: Limit<Duration> = Limit::new("checkpoint", "savepoint-poll", ms(2_000), (ms(10), HOUR));
pub(super) const ALIGN: Limit<Duration> = Limit::new("checkpoint", "align-max", ms(10_000), (ms(0), HOUR));
pub(super) const STOP: Limit<Duration> = Limit::new("checkpoint", "stop-timeout", ms(30_000), (ms(1_000), HOUR.saturating_mul(24)));

pub(super) const STEPS_AHEAD: Limit<u32> = Limit::new("flow", "steps-ahead", 16, (1, 1_024));
pub(super) const BYTES_AHEAD: Limit<Bytes> = Limit::new("flow", "bytes-ahead", Bytes(16 * MIB), (Bytes(64 * KIB), Bytes(4 * GIB)));
pub(super) const EMITTED_AHEAD: Limit<Bytes> = Limit::new("flow", "emitted-ahead", Bytes(16 * MIB), (Bytes(64 * KIB), Bytes(4 * GIB)));
pub(super) const BATCH_ROWS: Limit<u32> = Limit::new("flow", "batch-rows", 4_096, (1, 1_000_000));
pub(super) const BATCH_BYTES: Limit<Bytes> = Limit::new("flow", "batch-bytes", Bytes(256 * KIB), (Bytes(KIB), Bytes(64 * MIB)));

pub(super) const LATENESS: Limit<Duration> = Limit::new("source.file", "lateness", ms(0), (ms(0), HOUR.saturating_mul(24 * 366)));
pub(super) const SPLIT: Limit<Bytes> = Limit::new("source.file", "split", Bytes(16 * MIB), (Bytes(64 * KIB), Bytes(64 * GIB)));
pub(super) const ROW: Limit<Bytes> = Limit::new("source.file", "row-max", Bytes(MIB), (Bytes(KIB), Bytes(64 * MIB)));
pub(super) const POLL: Limit<Duration> = Limit::new("source.file", "poll", ms(100), (ms(10), HOUR));
/// Its default stands for nothing: without it half rows wait for ever.
pub(super) const PARTIAL_AFTER: Limit<Duration> =
    Limit::new("source.file", "partial-after", HOUR.saturating_mul(24 * 366), (ms(100), HOUR.saturating_mul(24 * 366)));

pub(super) const IDLE_AFTER: Limit<Duration> = Limit::new("source.file", "idle-after", ms(60_000), (ms(0), HOUR.saturating_mul(24 * 366)));
pub(super) const TIME_AHEAD: Limit<Duration> =
    Limit::new("source.file", "time-ahead-max", HOUR.saturating_mul(24), (ms(0), HOUR.saturating_mul(24 * 366 * 100)));

/// As many instances as there are key groups can own keys.
pub(super) const PARALLELISM: Limit<u32> = Limit::new("operator", "parallelism", 1, (1, KEY_GROUPS));
pub(super) const MEMORY: Limit<Bytes> = Limit::new("operator", "memory", Bytes(256 * MIB), (Bytes(MIB), Bytes(4 * GIB)));
pub(super) const DEADLINE: Limit<Duration> = Limit::new("operator", "deadline", ms(1_000), (ms(10), HOUR));
pub(super) const OUTPUT: Limit<Bytes> = Limit::new("operator", "output-max", Bytes(64 * MIB), (Bytes(KIB), Bytes(GIB)));

pub(super) const TABLE_ELEMENTS: Limit<u32> = Limit::new("operator.limits", "table-elements", 65_536, (1, 65_536));
pub(super) const CORE_INSTANCES: Limit<u32> = Limit::new("operator.limits", "core-instances", 64, (1, 64));
pub(super) const CALL_OUTPUT: Limit<Bytes> = Limit::new("operator.limits", "call-output", Bytes(4 * GIB), (Bytes(KIB), Bytes(64 * GIB)));
pub(super) const SNAPSHOT: Limit<Bytes> = Limit::new("operator.limits", "snapshot", Bytes(4 * GIB), (Bytes(KIB), Bytes(64 * GIB)));
pub(super) const HOST_CALLS: Limit<u32> = Limit::new("operator.limits", "host-calls", 1_000_000, (0, 1_000_000_000));
pub(super) const LOG_LINES: Limit<u32> = Limit::new("operator.limits", "log-lines", 1_000, (0, 2_000));
pub(super) const LOG_LINES_PER_SECOND: Limit<u32> = Limit::new("operator.limits", "log-lines-per-second", 1_000, (0, 1_000_000));
/// It is part of a worker's stack.
pub(super) const STACK: Limit<Bytes> = Limit::new("limits", "stack", Bytes(512 * KIB), (Bytes(64 * KIB), Bytes(MIB)));

pub(super) const TAKEN_BACK_KEEP: Limit<Duration> =
    Limit::new("sink", "taken-back-keep", HOUR.saturating_mul(24 * 30), (ms(1_000), HOUR.saturating_mul(24 * 3_650)));
pub(super) const TAKEN_BACK: Limit<Bytes> = Limit::new("sink", "taken-back-max", Bytes(10 * GIB), (Bytes(0), Bytes(1_024 * GIB)));
/// Rows in quarantine, and capsules.
pub(super) const QUARANTINE_KEEP: Limit<Duration> =
    Limit::new("quarantine", "keep", HOUR.saturating_mul(24 * 30), (HOUR, HOUR.saturating_mul(24 * 3_660)));
pub(super) const QUARANTINE_BYTES: Limit<Bytes> = Limit::new("quarantine", "bytes-max", Bytes(10 * GIB), (Bytes(MIB), Bytes(1_024 * GIB)));
pub(super) const CAPSULES_KEEP: Limit<Duration> =
    Limit::new("capsules", "keep", HOUR.saturating_mul(24 * 30), (HOUR, HOUR.saturating_mul(24 * 3_660)));
pub(super) const CAPSULES_BYTES: Limit<Bytes> = Limit::new("capsules", "bytes-max", Bytes(4 * GIB), (Bytes(MIB), Bytes(1_024 * GIB)));

pub(super) const PART: Limit<Bytes> = Limit::new("sink.objects", "part-bytes", Bytes(64 * MIB), (Bytes(64 * KIB), Bytes(GIB)));

pub(super) const RECOVER_WITHIN: Limit<Duration> = Limit::new("operator", "recover-within", ms(200), (ms(1), HOUR));
pub(super) const REPLAY_LOG: Limit<Bytes> = Limit::new("operator", "replay-log-max", Bytes(64 * MIB), (Bytes(64 * KIB), Bytes(16 * GIB)));
pub(super) const SNAPSHOT_COPY: Limit<Bytes> = Limit::new("operator", "snapshot-copy-max", Bytes(4 * GIB), (Bytes(0), Bytes(64 * GIB)));

pub(super) const PARK: Limit<Bytes> = Limit::new("operator", "park-max", Bytes(GIB), (Bytes(MIB), Bytes(1_024 * GIB)));

pub(super) const FAULTS: Limit<u32> = Limit::new("operator.on-failure", "faults-max", 100, (0, 1_000_000));
pub(super) const REJECTIONS: Limit<u32> = Limit::new("operator.on-failure", "rejections-max", 1_000_000, (0, 1_000_000_000));
pub(super) const FAULTS_WINDOW: Limit<Duration> =
    Limit::new("operator.on-failure", "window", ms(60_000), (ms(100), HOUR.saturating_mul(24)));
pub(super) const FAULTS_PAUSE: Limit<Duration> = Limit::new("operator.on-failure", "pause", ms(10_000), (ms(10), HOUR));
pub(super) const CAPSULE: Limit<Bytes> = Limit::new("operator.on-failure", "capsule-max", Bytes(256 * MIB), (Bytes(64 * KIB), Bytes(GIB)));
pub(super) const CALL_RETRIES: Limit<u32> = Limit::new("operator.on-failure", "retries", 3, (0, 1_000));
/// The first and the longest pause before a retry of a call.
pub(super) const CALL_BACKOFF: Range = Range::new("operator.on-failure", (ms(10), ms(1_000)));

/// A setting of a topology that has a range, as a file would write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRow {
    /// The table of the file that holds it.
    pub table: &'static str,
    /// Its key.
    pub key: &'static str,
    /// What holds where the file says nothing.
    pub default: String,
    /// The least.
    pub min: String,
    /// The most.
    pub max: String,
}

/// The settings of a topology that have a range, for documentation. `backoff`, a pair, comes as two rows.
#[must_use]
pub fn limits() -> Vec<LimitRow> {
    vec![
        INTERVAL.row(),
        KEEP.row(),
        CHAIN_LENGTH.row(),
        EPOCHS_IN_FLIGHT.row(),
        SNAPSHOT_PART.row(),
        TIMEOUT.row(),
        STORE_RETRIES.row(),
        STORE_BACKOFF.min.row(),
        STORE_BACKOFF.max.row(),
        OUTAGE.row(),
        UNCHECKPOINTED.row(),
        CHAIN_BYTES.row(),
        SAVEPOINT_POLL.row(),
        STOP.row(),
        ALIGN.row(),
        STEPS_AHEAD.row(),
        BYTES_AHEAD.row(),
        EMITTED_AHEAD.row(),
        BATCH_ROWS.row(),
        BATCH_BYTES.row(),
        LATENESS.row(),
        IDLE_AFTER.row(),
        TIME_AHEAD.row(),
        SPLIT.row(),
        ROW.row(),
        POLL.row(),
        PARTIAL_AFTER.row(),
        PARALLELISM.row(),
        MEMORY.row(),
        DEADLINE.row(),
        OUTPUT.row(),
        RECOVER_WITHIN.row(),
        REPLAY_LOG.row(),
        SNAPSHOT_COPY.row(),
        PARK.row(),
        TABLE_ELEMENTS.row(),
        CORE_INSTANCES.row(),
        CALL_OUTPUT.row(),
        SNAPSHOT.row(),
        HOST_CALLS.row(),
        LOG_LINES.row(),
        LOG_LINES_PER_SECOND.row(),
        STACK.row(),
        TAKEN_BACK_KEEP.row(),
        TAKEN_BACK.row(),
        PART.row(),
        CALL_RETRIES.row(),
        CALL_BACKOFF.min.row(),
        CALL_BACKOFF.max.row(),
        FAULTS.row(),
        FAULTS_WINDOW.row(),
        FAULTS_PAUSE.row(),
        CAPSULE.row(),
        QUARANTINE_KEEP.row(),
        QUARANTINE_BYTES.row(),
        CAPSULES_KEEP.row(),
        CAPSULES_BYTES.row(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_taken_refused_or_defaulted() {
        let mut problems = Problems::new("");
        let given = |text: &str| Given::Is(Placed { value: text.to_owned(), at: 0 });
        assert_eq!(INTERVAL.take(&Given::Absent, &mut problems), ms(1_000));
        assert_eq!(INTERVAL.take(&given("10ms"), &mut problems), ms(10));
        assert!(problems.is_empty());
        assert_eq!(INTERVAL.take(&given("9ms"), &mut problems), ms(1_000));
        assert_eq!(INTERVAL.take(&given("soon"), &mut problems), ms(1_000));
        let found = problems.into_sorted();
        assert_eq!(found[0].message, "`interval` is 9ms, which is out of range");
        assert_eq!(found[1].message, "`interval`: \"soon\" is not a duration");
    }

    #[test]
    fn every_default_of_an_allowance_is_within_its_range() {
        for limit in [TABLE_ELEMENTS, CORE_INSTANCES, HOST_CALLS, LOG_LINES, LOG_LINES_PER_SECOND] {
            assert!(limit.min <= limit.default && limit.default <= limit.max, "{limit:?}");
        }
        for limit in [CALL_OUTPUT, SNAPSHOT, STACK] {
            assert!(limit.min <= limit.default && limit.default <= limit.max, "{limit:?}");
        }
    }

    #[test]
    fn every_default_is_within_its_range() {
        for limit in [KEEP, CHAIN_LENGTH, EPOCHS_IN_FLIGHT, STORE_RETRIES, STEPS_AHEAD, BATCH_ROWS, PARALLELISM, CALL_RETRIES, FAULTS] {
            assert!(limit.min <= limit.default && limit.default <= limit.max, "{limit:?}");
        }
        for limit in [
            SNAPSHOT_PART,
            UNCHECKPOINTED,
            CHAIN_BYTES,
            BYTES_AHEAD,
            EMITTED_AHEAD,
            BATCH_BYTES,
            SPLIT,
            ROW,
            MEMORY,
            OUTPUT,
            TAKEN_BACK,
            PART,
            REPLAY_LOG,
            SNAPSHOT_COPY,
            PARK,
            CAPSULE,
            QUARANTINE_BYTES,
            CAPSULES_BYTES,
        ] {
            assert!(limit.min <= limit.default && limit.default <= limit.max, "{limit:?}");
        }
        let backoffs = [STORE_BACKOFF, CALL_BACKOFF].into_iter().flat_map(|range| [range.min, range.max]);
        let times = [
            INTERVAL,
            TIMEOUT,
            OUTAGE,
            SAVEPOINT_POLL,
            TAKEN_BACK_KEEP,
            STOP,
            ALIGN,
            LATENESS,
            IDLE_AFTER,
            TIME_AHEAD,
            POLL,
            DEADLINE,
            RECOVER_WITHIN,
            FAULTS_WINDOW,
            FAULTS_PAUSE,
            QUARANTINE_KEEP,
            CAPSULES_KEEP,
        ];
        for limit in times.into_iter().chain(backoffs) {
            assert!(limit.min <= limit.default && limit.default <= limit.max, "{limit:?}");
        }
    }
}
