//! What a legal topology is made of. [`super::parse`] makes it; fields are public for reading.

use super::allowance::{JobLimits, OperatorLimits};
use super::grant::Grant;
use super::keep::Keep;
use crate::keying;
use std::time::Duration;

/// Sources, operators and sinks that one topology may have, all together.
pub const NODES_MAX: usize = 1_000;

/// A job: what it reads, what it computes, where it writes, and how it is kept safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Name of the job; also the folder in the store.
    pub name: String,
    /// How and where checkpoints are kept.
    pub checkpoint: Checkpoint,
    /// How much may be in flight.
    pub flow: Flow,
    /// What holds for all guests alike.
    pub limits: JobLimits,
    /// How much of the quarantine is kept.
    pub quarantine: Keep,
    /// How many capsules are kept.
    pub capsules: Keep,
    /// At least one, in the order of the file.
    pub sources: Vec<Source>,
    /// In the order of the file; there may be none.
    pub operators: Vec<Operator>,
    /// At least one, in the order of the file.
    pub sinks: Vec<Sink>,
}

/// How and where checkpoints are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// URL as written: `file:...`, `memory:` or `s3://...`.
    pub store: String,
    /// Time between two epochs of a source.
    pub interval: Duration,
    /// Checkpoints that are retained.
    pub keep: u32,
    /// Deltas that may follow a full snapshot.
    pub chain_length_max: u32,
    /// Bytes of the deltas of one chain after which it is compacted, whatever its length.
    pub chain_bytes_max: u64,
    /// Epochs whose checkpoint has begun and not ended.
    pub epochs_in_flight_max: u32,
    /// Bytes that one call of `snapshot` may return.
    pub part_bytes_max: u64,
    /// Time that one storage call may take.
    pub timeout: Duration,
    /// How often a storage call is tried again.
    pub retries: u32,
    /// Pause before the first of these retries.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// How long the job waits for a store that does not answer before it stops.
    pub outage_max: Duration,
    /// Bytes that sources may read past the newest stored checkpoint before they pause.
    pub uncheckpointed_bytes_max: u64,
    /// Time between two looks for a requested savepoint.
    pub savepoint_poll: Duration,
    /// How long a job that is asked to stop may take before its process ends all the same.
    pub stop_timeout: Duration,
}

/// How much may be in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Steps that a source may be ahead of the slowest part of the dataflow.
    pub steps_ahead_max: u32,
    /// Bytes that one source instance may be ahead.
    pub bytes_ahead_max: u64,
    /// Bytes that the instances of one operator on one worker may have emitted and nobody has taken yet.
    pub emitted_ahead_bytes_max: u64,
    /// Rows in one batch.
    pub batch_rows_max: u32,
    /// Bytes in one batch; one row alone may have more.
    pub batch_bytes_max: u64,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Unique among all nodes.
    pub name: String,
    /// What it reads.
    pub kind: SourceKind,
    /// Line of the source in the file.
    pub line: usize,
}

/// The kinds of sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Files, or standard input.
    File(FileSource),
}

/// Rows from files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// A path, a glob, or `-` for standard input.
    pub path: String,
    /// How bytes become rows.
    pub format: SourceFormat,
    /// Where the key of a row is; without it keys are empty.
    pub key: Option<Field>,
    /// Where the event time of a row is.
    pub time: Option<TimeField>,
    /// Wait for more at the end of the files. Never with standard input.
    pub follow: bool,
    /// How far event times may lag behind the largest one seen.
    pub lateness: Duration,
    /// Bytes of a piece of a file that one instance reads at a time.
    pub split_bytes: u64,
    /// Bytes of the longest row.
    pub row_bytes_max: u64,
    /// With `follow`: time between two looks for more.
    pub poll: Duration,
    /// With `follow`: what to do where a file cannot be read to its end.
    pub on_lost: OnLost,
    /// With `follow`: after this time without growth, what stands at the end of a file without a line end is a row. `None`: never.
    pub partial_after: Option<Duration>,
    /// Whether files are unpacked.
    pub compression: Compression,
    /// With `follow` or standard input: time without rows after which a file, or the source, no longer holds event time back. `None`: it always
    /// does.
    pub idle_after: Option<Duration>,
    /// How far event times may be ahead of the clock; rows beyond are refused. `None`: any time is taken.
    pub time_ahead_max: Option<Duration>,
}

/// What to do where a followed file that was not read to its end cannot be found, or is not what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnLost {
    /// Stop the job.
    #[default]
    Stop,
    /// Say so and go on without it.
    Skip,
}

impl OnLost {
    pub(super) const WORDS: &'static [&'static str] = &["stop", "skip"];

    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "stop" => Some(Self::Stop),
            "skip" => Some(Self::Skip),
            _ => None,
        }
    }
}

/// How files are unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Each as its first bytes say.
    #[default]
    Auto,
    /// Not at all: every byte is taken as it is.
    None,
    /// All are gzip.
    Gzip,
    /// All are zstd.
    Zstd,
}

impl Compression {
    /// The words of a topology file.
    pub const WORDS: &'static [&'static str] = &["auto", "none", "gzip", "zstd"];

    /// Reads a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "auto" => Self::Auto,
            "none" => Self::None,
            "gzip" => Self::Gzip,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// As a topology file writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How bytes become rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFormat {
    /// One row a line; the value is the line.
    Lines,
    /// One row a CSV record.
    Csv {
        /// The first record of each file names the columns.
        header: bool,
        /// What separates columns.
        delimiter: u8,
    },
    /// One row a line; the value is the line, which is one JSON value.
    Json,
}

/// Where in a row something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// CSV: the column with this name in the header.
    Column(String),
    /// CSV: the column with this index, from 0.
    Index(u32),
    /// JSON: a pointer after RFC 6901.
    Pointer(String),
}

/// Where in a row its event time is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeField {
    /// Where it is.
    pub field: Field,
    /// How it is written.
    pub unit: TimeUnit,
}

/// How an event time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Milliseconds,
    /// Seconds since then.
    Seconds,
    /// Microseconds since then.
    Microseconds,
    /// Nanoseconds since then.
    Nanoseconds,
    /// Text such as `2026-01-31T12:00:00Z`.
    Rfc3339,
}

/// A node that a component computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Unique among all nodes.
    pub name: String,
    /// Path of the component as written.
    pub component: String,
    /// What it reads, at least one.
    pub inputs: Vec<Input>,
    /// Instances over all workers, before [`Operator::instances`] rounds them up.
    pub parallelism: u32,
    /// Linear memory of one instance.
    pub memory_bytes_max: u64,
    /// Time that one call may take.
    pub deadline: Duration,
    /// Bytes that one call may return.
    pub output_bytes_max: u64,
    /// What else one instance may use.
    pub limits: OperatorLimits,
    /// Its instructions are counted.
    pub fuel: bool,
    /// How long an instance that failed may take to come back.
    pub recover_within: Duration,
    /// A second, restored instance is kept beside each.
    pub standby: bool,
    /// Bytes that the host holds to repeat the calls of one instance since its last snapshot.
    pub replay_log_bytes_max: u64,
    /// Bytes of the last snapshot of one instance that the host holds.
    pub snapshot_copy_bytes_max: u64,
    /// What to do when a call fails.
    pub on_failure: OnFailure,
    /// What its guests get beyond the contract.
    pub grant: Grant,
    /// JSON text of the `config` table; `{}` where there is none.
    pub config: String,
    /// Line of the operator in the file.
    pub line: usize,
}

impl Operator {
    /// How many instances run on so many workers in all, see [`keying::instances`].
    #[must_use]
    pub fn instances(&self, workers: u32) -> u32 {
        keying::instances(self.parallelism, workers)
    }
}

/// One thing that a node reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name of a source or an operator.
    pub from: String,
    /// Which output of the operator; its first where there is none.
    pub port: Option<String>,
    /// How rows get to the instances.
    pub by: Exchange,
    /// Line of the input in the file.
    pub line: usize,
    /// Column of the input in the file.
    pub column: usize,
}

/// How rows get from the instances of one node to those of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// They stay on their worker.
    Stay,
    /// Rows of one key go to one instance.
    Key,
    /// Batches go to the instances in turn.
    RoundRobin,
    /// Every instance gets every row.
    All,
}

/// What to do when a call of an operator fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnFailure {
    /// How often the call is tried again.
    pub retries: u32,
    /// Pause before the first retry.
    pub backoff_min: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// What to do when no retry is left.
    pub then: Then,
    /// Calls that fail within `window` and that are let pass, each counted once however often it is made again.
    pub faults_max: u32,
    /// Rows that the operator itself rejects within `window` and that are let pass.
    pub rejections_max: u32,
    /// The time in which faults and rejections are counted.
    pub window: Duration,
    /// For how long the operator is left alone after too many of them, at first.
    pub pause: Duration,
    /// What too many faults do.
    pub open: Open,
    /// Which failures are written down so that they can be reproduced elsewhere.
    pub capsules: Capsules,
    /// Bytes of one capsule.
    pub capsule_bytes_max: u64,
}

/// What to do when no retry is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Find the one row that cannot be worked on, and put it into quarantine.
    Quarantine,
    /// Leave the operator alone for a while, then try again.
    Pause,
    /// Stop the job; its last checkpoint stands.
    Stop,
}

/// What too many faults of an operator do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Leave the operator alone for a while, then try again.
    Pause,
    /// Stop the job; its last checkpoint stands.
    Stop,
}

/// Which failures are written down so that they can be reproduced elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capsules {
    /// None.
    Never,
    /// Those of rows that go to quarantine.
    Quarantine,
    /// All.
    Always,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Unique among all nodes.
    pub name: String,
    /// What it reads, at least one; all are merged.
    pub inputs: Vec<Input>,
    /// What it writes.
    pub kind: SinkKind,
    /// When rows become visible. Always [`Delivery::Immediate`] with standard output.
    pub delivery: Delivery,
    /// How long output stays that was taken back.
    pub taken_back: TakenBack,
    /// Line of the sink in the file.
    pub line: usize,
}

/// How long output stays that was visible once and was set aside. What is over is deleted at the start of a run, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenBack {
    /// So long after it was set aside.
    pub keep: Duration,
    /// So many bytes of it.
    pub bytes_max: u64,
}

/// The kinds of sinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// Files in a folder.
    File(FileSink),
    /// Objects in a bucket, a folder or memory.
    Objects(ObjectsSink),
    /// Standard output.
    Stdout(StdoutSink),
}

/// Rows to files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSink {
    /// The folder.
    pub path: String,
    /// How rows become bytes.
    pub format: SinkFormat,
}

/// When rows become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// After the checkpoint that they belong to: each row is seen once.
    ExactlyOnce,
    /// As soon as they are written: after a crash some are seen again.
    Immediate,
}

/// Rows to objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsSink {
    /// Where, as written: `s3://...`, `file:...` or `memory:NAME`.
    pub url: String,
    /// How rows become bytes.
    pub format: SinkFormat,
    /// Bytes of one object; one piece of rows alone may have more.
    pub part_bytes_max: u64,
}

/// Rows to standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdoutSink {
    /// How rows become bytes.
    pub format: SinkFormat,
}

/// How rows become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkFormat {
    /// One JSON object a line.
    Json,
    /// One value a line.
    Lines,
    /// One CSV record a row.
    Csv,
}

macro_rules! words {
    ($name:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every word that a topology file may use for it.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for it in a topology file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            pub(super) fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

words!(TimeUnit { Milliseconds => "ms", Seconds => "s", Microseconds => "us", Nanoseconds => "ns", Rfc3339 => "rfc3339" });
words!(Exchange { Stay => "stay", Key => "key", RoundRobin => "round-robin", All => "all" });
words!(Then { Quarantine => "quarantine", Pause => "pause", Stop => "stop" });
words!(Open { Pause => "pause", Stop => "stop" });
words!(Capsules { Never => "never", Quarantine => "quarantine", Always => "always" });
words!(Delivery { ExactlyOnce => "exactly-once", Immediate => "immediate" });
words!(SinkFormat { Json => "json", Lines => "lines", Csv => "csv" });
