//! The settings of a topology that have a range: key, default, least and most, each in one place. Here they are read, too.
//!
//! `docs/topology.md` says the same to users; a test compares the two.

use super::problem::{Problems, quote};
use super::quantity::{QuantityError, duration, show_duration, show_size, size};
use super::table::{Given, Placed, Reader, Section};
use crate::keying::KEY_GROUPS;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR: Duration = Duration::from_secs(3_600);

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bytes(pub u64);

/// A quantity, which a file writes in one way and the program holds in another.
pub(super) trait Quantity: Copy + PartialOrd {
    /// How the program holds it.
    type Held;
    /// What it is called in a help text.
    const NOUN: &'static str;
    /// How it is written.
    const FORM: &'static str;

    /// What a file has for a key, as text.
    fn find(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str, example: Self) -> Given<String> {
        section.text(reader, key, &format!("\"{}\"", example.show()))
    }

    fn read(written: &str) -> Result<Self, QuantityError>;
    fn show(self) -> String;
    fn held(self) -> Self::Held;
}

impl Quantity for Duration {
    type Held = Self;
    const NOUN: &'static str = "a duration";
    const FORM: &'static str = "a duration is a whole number and `ms`, `s`, `m`, `h` or `d`";

    fn read(written: &str) -> Result<Self, QuantityError> {
        duration(written)
    }

    fn show(self) -> String {
        show_duration(self)
    }

    fn held(self) -> Self {
        self
    }
}

impl Quantity for Bytes {
    type Held = u64;
    const NOUN: &'static str = "a size";
    const FORM: &'static str = "a size is a whole number and `B`, `KiB`, `MiB`, `GiB`, `KB`, `MB` or `GB`";

    fn read(written: &str) -> Result<Self, QuantityError> {
        size(written).map(Self)
    }

    fn show(self) -> String {
        show_size(self.0)
    }

    fn held(self) -> u64 {
        self.0
    }
}

impl Quantity for u32 {
    type Held = Self;
    const NOUN: &'static str = "a number";
    const FORM: &'static str = "a number is whole";

    fn find(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str, example: Self) -> Given<String> {
        section.integer(reader, key, &example.show()).map(|number| number.to_string())
    }

    fn read(written: &str) -> Result<Self, QuantityError> {
        written.parse().map_err(|_| QuantityError::Large)
    }

    fn show(self) -> String {
        self.to_string()
    }

    fn held(self) -> Self {
        self
    }
}

/// A setting as it holds, and where the file has it: nowhere where it is the default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<T> {
    pub value: T,
    pub at: Option<usize>,
}

/// The range of one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit<Q> {
    /// The table of the file that holds it.
    table: &'static str,
    key: &'static str,
    default: Q,
    min: Q,
    max: Q,
    /// A value for help texts.
    example: Q,
}

impl<Q: Quantity> Limit<Q> {
    const fn new(table: &'static str, key: &'static str, default: Q, (min, max): (Q, Q)) -> Self {
        Self { table, key, default, min, max, example: default }
    }

    /// The default would say little in a help text; this says more.
    const fn such_as(mut self, example: Q) -> Self {
        self.example = example;
        self
    }

    /// What holds where a file says nothing.
    pub(super) fn usual(&self) -> Q::Held {
        self.default.held()
    }

    /// The value in a table of the file, else the default. After a problem, the default stands in.
    pub(super) fn read(&self, section: &mut Section<'_>, reader: &mut Reader<'_>) -> Q::Held {
        self.find(section, reader).value
    }

    /// As [`Self::read`], with its place.
    pub(super) fn find(&self, section: &mut Section<'_>, reader: &mut Reader<'_>) -> Setting<Q::Held> {
        let given = Q::find(section, reader, self.key, self.example);
        let read = given.get().and_then(|placed| self.check(&placed.value, placed.at, &mut reader.problems));
        Setting { value: read.unwrap_or(self.default).held(), at: given.get().map(|placed| placed.at) }
    }

    /// Reads one written quantity and holds it against the range.
    fn check(&self, written: &str, at: usize, problems: &mut Problems<'_>) -> Option<Q> {
        let key = self.key;
        match Q::read(written) {
            Ok(value) if value >= self.min && value <= self.max => return Some(value),
            Ok(_) | Err(QuantityError::Large) => {
                let help = format!("write {} from {} to {}", Q::NOUN, self.min.show(), self.max.show());
                problems.add(at, format!("`{key}` is {}, which is out of range", quote(written)), Some(help));
            }
            Err(QuantityError::Form | QuantityError::Unit) => {
                let message = format!("`{key}`: \"{}\" is not {}", quote(written), Q::NOUN);
                problems.add(at, message, Some(format!("{}, such as \"{}\"", Q::FORM, self.default.show())));
            }
        }
        None
    }

    fn rows(&self) -> Vec<LimitRow> {
        let (default, min, max) = (self.default.show(), self.min.show(), self.max.show());
        vec![LimitRow { table: self.table, key: self.key, default, min, max }]
    }

    #[cfg(test)]
    fn is_within_itself(&self) -> bool {
        self.min <= self.default && self.default <= self.max
    }
}

/// The ranges of a `backoff`, which is written as a pair such as `"10ms..1s"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// The first pause.
    min: Limit<Duration>,
    /// The longest pause.
    max: Limit<Duration>,
}

impl Range {
    const fn new(table: &'static str, (min, max): (Duration, Duration)) -> Self {
        let each = (ms(1), HOUR);
        Self { min: Limit::new(table, "backoff", min, each), max: Limit::new(table, "backoff", max, each) }
    }

    /// The two values in a table of the file, else the defaults. After a problem, the defaults stand in.
    pub(super) fn read(&self, section: &mut Section<'_>, reader: &mut Reader<'_>) -> (Duration, Duration) {
        let defaults = (self.min.default, self.max.default);
        let example = format!("\"{}..{}\"", defaults.0.show(), defaults.1.show());
        let given = section.text(reader, "backoff", &example);
        let Some(Placed { value, at }) = given.get() else { return defaults };
        let problems = &mut reader.problems;
        let Some((min, max)) = value.split_once("..") else {
            let help = Some(format!("write the first and the longest pause, such as {example}"));
            problems.add(*at, format!("`backoff`: \"{}\" is not a range of durations", quote(value)), help);
            return defaults;
        };
        let (min, max) = (self.min.check(min, *at, problems), self.max.check(max, *at, problems));
        let (Some(min), Some(max)) = (min, max) else { return defaults };
        if min > max {
            let help = Some("write the shorter pause first".to_owned());
            problems.add(*at, format!("`backoff`: \"{}\" begins with the longer pause", quote(value)), help);
        }
        (min, max)
    }

    fn rows(&self) -> Vec<LimitRow> {
        [self.min.rows(), self.max.rows()].concat()
    }

    #[cfg(test)]
    fn is_within_itself(&self) -> bool {
        self.min.is_within_itself() && self.max.is_within_itself() && self.min.default <= self.max.default
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn days(days: u32) -> Duration {
    HOUR.saturating_mul(24 * days)
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $value:expr;)+) => {
        $($(#[$doc])* pub(super) const $name: $kind = $value;)+

        /// The settings of a topology that have a range, for documentation. `backoff`, a pair, comes as two rows.
        #[must_use]
        pub fn limits() -> Vec<LimitRow> {
            [$($name.rows()),+].concat()
        }

        #[cfg(test)]
        const WITHIN: &[(&str, fn() -> bool)] = &[$((stringify!($name), || $name.is_within_itself())),+];
    };
}

settings! {
    INTERVAL: Limit<Duration> = Limit::new("checkpoint", "interval", ms(1_000), (ms(10), days(1)));
    KEEP: Limit<u32> = Limit::new("checkpoint", "keep", 3, (3, 1_000));
    CHAIN_LENGTH: Limit<u32> = Limit::new("checkpoint", "chain-length-max", 16, (0, 1_000));
    EPOCHS_IN_FLIGHT: Limit<u32> = Limit::new("checkpoint", "epochs-in-flight-max", 4, (1, 64));
    SNAPSHOT_PART: Limit<Bytes> = Limit::new("checkpoint", "snapshot-part", Bytes(4 * MIB), (Bytes(64 * KIB), Bytes(64 * MIB)));
    TIMEOUT: Limit<Duration> = Limit::new("checkpoint", "timeout", ms(30_000), (ms(100), HOUR));
    STORE_RETRIES: Limit<u32> = Limit::new("checkpoint", "retries", 5, (0, 100));
    /// The first and the longest pause between attempts of a storage call.
    STORE_BACKOFF: Range = Range::new("checkpoint", (ms(50), ms(5_000)));
    OUTAGE: Limit<Duration> = Limit::new("checkpoint", "outage-max", days(1), (ms(0), days(366)));
    UNCHECKPOINTED: Limit<Bytes> = Limit::new("checkpoint", "uncheckpointed-max", Bytes(GIB), (Bytes(64 * KIB), Bytes(1_024 * GIB)));
    CHAIN_BYTES: Limit<Bytes> = Limit::new("checkpoint", "chain-bytes-max", Bytes(8 * GIB), (Bytes(KIB), Bytes(1_024 * GIB)));
    SAVEPOINT_POLL: Limit<Duration> = Limit::new("checkpoint", "savepoint-poll", ms(2_000), (ms(10), HOUR));
    ALIGN: Limit<Duration> = Limit::new("checkpoint", "align-max", ms(10_000), (ms(0), HOUR));
    STOP: Limit<Duration> = Limit::new("checkpoint", "stop-timeout", ms(30_000), (ms(1_000), days(1)));

    STEPS_AHEAD: Limit<u32> = Limit::new("flow", "steps-ahead", 16, (1, 1_024));
    BYTES_AHEAD: Limit<Bytes> = Limit::new("flow", "bytes-ahead", Bytes(16 * MIB), (Bytes(64 * KIB), Bytes(4 * GIB)));
    EMITTED_AHEAD: Limit<Bytes> = Limit::new("flow", "emitted-ahead", Bytes(16 * MIB), (Bytes(64 * KIB), Bytes(4 * GIB)));
    BATCH_ROWS: Limit<u32> = Limit::new("flow", "batch-rows", 4_096, (1, 1_000_000));
    BATCH_BYTES: Limit<Bytes> = Limit::new("flow", "batch-bytes", Bytes(256 * KIB), (Bytes(KIB), Bytes(64 * MIB)));

    LATENESS: Limit<Duration> = Limit::new("source.file", "lateness", ms(0), (ms(0), days(366))).such_as(ms(5_000));
    SPLIT: Limit<Bytes> = Limit::new("source.file", "split", Bytes(16 * MIB), (Bytes(64 * KIB), Bytes(64 * GIB)));
    ROW: Limit<Bytes> = Limit::new("source.file", "row-max", Bytes(MIB), (Bytes(KIB), Bytes(64 * MIB)));
    POLL: Limit<Duration> = Limit::new("source.file", "poll", ms(100), (ms(10), HOUR));
    /// Its default stands for nothing: without it half rows wait for ever.
    PARTIAL_AFTER: Limit<Duration> = Limit::new("source.file", "partial-after", days(366), (ms(100), days(366))).such_as(ms(10_000));
    IDLE_AFTER: Limit<Duration> = Limit::new("source.file", "idle-after", ms(60_000), (ms(0), days(366)));
    TIME_AHEAD: Limit<Duration> = Limit::new("source.file", "time-ahead-max", days(1), (ms(0), days(36_600)));

    /// As many instances as there are key groups can own keys.
    PARALLELISM: Limit<u32> = Limit::new("operator", "parallelism", 1, (1, KEY_GROUPS)).such_as(16);
    MEMORY: Limit<Bytes> = Limit::new("operator", "memory", Bytes(256 * MIB), (Bytes(MIB), Bytes(4 * GIB)));
    DEADLINE: Limit<Duration> = Limit::new("operator", "deadline", ms(1_000), (ms(10), HOUR));
    OUTPUT: Limit<Bytes> = Limit::new("operator", "output-max", Bytes(64 * MIB), (Bytes(KIB), Bytes(GIB)));

    TABLE_ELEMENTS: Limit<u32> = Limit::new("operator.limits", "table-elements", 65_536, (1, 65_536));
    CORE_INSTANCES: Limit<u32> = Limit::new("operator.limits", "core-instances", 64, (1, 64));
    CALL_OUTPUT: Limit<Bytes> = Limit::new("operator.limits", "call-output", Bytes(4 * GIB), (Bytes(KIB), Bytes(64 * GIB)));
    SNAPSHOT: Limit<Bytes> = Limit::new("operator.limits", "snapshot", Bytes(4 * GIB), (Bytes(KIB), Bytes(64 * GIB)));
    HOST_CALLS: Limit<u32> = Limit::new("operator.limits", "host-calls", 1_000_000, (0, 1_000_000_000));
    LOG_LINES: Limit<u32> = Limit::new("operator.limits", "log-lines", 1_000, (0, 2_000));
    LOG_LINES_PER_SECOND: Limit<u32> = Limit::new("operator.limits", "log-lines-per-second", 1_000, (0, 1_000_000));

    /// It is part of a worker's stack.
    STACK: Limit<Bytes> = Limit::new("limits", "stack", Bytes(512 * KIB), (Bytes(64 * KIB), Bytes(MIB)));

    TAKEN_BACK_KEEP: Limit<Duration> = Limit::new("sink", "taken-back-keep", days(30), (ms(1_000), days(3_650)));
    TAKEN_BACK: Limit<Bytes> = Limit::new("sink", "taken-back-max", Bytes(10 * GIB), (Bytes(0), Bytes(1_024 * GIB)));

    /// Rows in quarantine, and capsules.
    QUARANTINE_KEEP: Limit<Duration> = Limit::new("quarantine", "keep", days(30), (HOUR, days(3_660)));
    QUARANTINE_BYTES: Limit<Bytes> = Limit::new("quarantine", "bytes-max", Bytes(10 * GIB), (Bytes(MIB), Bytes(1_024 * GIB)));

    CAPSULES_KEEP: Limit<Duration> = Limit::new("capsules", "keep", days(30), (HOUR, days(3_660)));
    CAPSULES_BYTES: Limit<Bytes> = Limit::new("capsules", "bytes-max", Bytes(4 * GIB), (Bytes(MIB), Bytes(1_024 * GIB))).such_as(Bytes(10 * GIB));

    PART: Limit<Bytes> = Limit::new("sink.objects", "part-bytes", Bytes(64 * MIB), (Bytes(64 * KIB), Bytes(GIB)));

    RECOVER_WITHIN: Limit<Duration> = Limit::new("operator", "recover-within", ms(200), (ms(1), HOUR));
    REPLAY_LOG: Limit<Bytes> = Limit::new("operator", "replay-log-max", Bytes(64 * MIB), (Bytes(64 * KIB), Bytes(16 * GIB)));
    SNAPSHOT_COPY: Limit<Bytes> = Limit::new("operator", "snapshot-copy-max", Bytes(4 * GIB), (Bytes(0), Bytes(64 * GIB)));
    PARK: Limit<Bytes> = Limit::new("operator", "park-max", Bytes(GIB), (Bytes(MIB), Bytes(1_024 * GIB)));

    FAULTS: Limit<u32> = Limit::new("operator.on-failure", "faults-max", 100, (0, 1_000_000));
    REJECTIONS: Limit<u32> = Limit::new("operator.on-failure", "rejections-max", 1_000_000, (0, 1_000_000_000));
    FAULTS_WINDOW: Limit<Duration> = Limit::new("operator.on-failure", "window", ms(60_000), (ms(100), days(1)));
    FAULTS_PAUSE: Limit<Duration> = Limit::new("operator.on-failure", "pause", ms(10_000), (ms(10), HOUR));
    CAPSULE: Limit<Bytes> = Limit::new("operator.on-failure", "capsule-max", Bytes(256 * MIB), (Bytes(64 * KIB), Bytes(GIB)));
    CALL_RETRIES: Limit<u32> = Limit::new("operator.on-failure", "retries", 3, (0, 1_000));
    /// The first and the longest pause before a retry of a call.
    CALL_BACKOFF: Range = Range::new("operator.on-failure", (ms(10), ms(1_000)));
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_taken_refused_or_defaulted() {
        let mut problems = Problems::new("");
        assert_eq!(INTERVAL.check("10ms", 0, &mut problems), Some(ms(10)));
        assert!(problems.is_empty());
        assert_eq!(INTERVAL.check("9ms", 0, &mut problems), None);
        assert_eq!(INTERVAL.check("soon", 0, &mut problems), None);
        assert_eq!(KEEP.check("-1", 0, &mut problems), None);
        let found: Vec<String> = problems.into_sorted().into_iter().map(|problem| problem.message).collect();
        let keep = "`keep` is -1, which is out of range";
        assert_eq!(found, ["`interval` is 9ms, which is out of range", "`interval`: \"soon\" is not a duration", keep]);
        assert_eq!((INTERVAL.usual(), KEEP.usual()), (ms(1_000), 3));
    }

    #[test]
    fn every_default_is_within_its_range() {
        for (name, is_within) in WITHIN {
            assert!(is_within(), "{name}");
        }
    }
}
