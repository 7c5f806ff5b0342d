//! The topology as values: what a legal one is made of. [`super::parse`] makes it; fields are public for reading.

use super::allowance::{JobLimits, OperatorLimits};
use super::grant::Grant;
use super::retention::RetentionLimits;
use super::word::Word;
use crate::keying;
use std::time::Duration;

/// Sources, operators and sinks that one topology may have, all together.
pub const NODES_MAX: usize = 1_000;

/// A topology: what a job reads, what it computes, where it writes, and how it is kept safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Name of the job; also its folder in the store.
    pub name: String,
    /// How and where checkpoints are kept.
    pub checkpoint: Checkpoint,
    /// How much may be in flight.
    pub flow: Flow,
    /// What holds for all guests alike.
    pub limits: JobLimits,
    /// How much of the quarantine is kept.
    pub quarantine: RetentionLimits,
    /// How many capsules are kept.
    pub capsules: RetentionLimits,
    /// Sources, at least one, in the order of the file.
    pub sources: Vec<Source>,
    /// Operators in the order of the file; there may be none.
    pub operators: Vec<Operator>,
    /// Sinks, at least one, in the order of the file.
    pub sinks: Vec<Sink>,
}

/// The settings of a job's checkpoints and of its store: the table `[checkpoint]`.
// Wide: one field a key of the table.
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
    /// How long an epoch may wait for an operator before what waits for that is parked.
    pub align_max: Duration,
}

/// The backpressure of a job, how much may be in flight: the table `[flow]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Steps that a source may be ahead of the slowest part of the dataflow.
    pub steps_ahead_max: u32,
    /// Bytes that one source instance may be ahead.
    pub bytes_ahead_max: u64,
    /// Bytes that the instances of one operator on one worker may have emitted and those after it have not taken.
    pub emitted_ahead_bytes_max: u64,
    /// Rows in one batch.
    pub batch_rows_max: u32,
    /// Bytes in one batch; one row alone may have more.
    pub batch_bytes_max: u64,
}

/// A source: where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the node, unique among all nodes.
    pub name: String,
    /// What it reads.
    pub kind: SourceKind,
    /// Line of the source in the file.
    pub line: usize,
}

/// The connector of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// Files, or standard input.
    File(FileSource),
}

/// A source of rows in files, or on standard input.
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

/// The reaction of a source to a followed file that was not read to its end and is gone, or is not what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnLost {
    /// Stop the job.
    #[default]
    Stop,
    /// Say so and go on without it.
    Skip,
}

/// The packing of a source's files.
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

/// The format in which a source finds its rows.
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

/// The place of a key or of an event time within a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// CSV: the column with this name in the header.
    Column(String),
    /// CSV: the column with this index, from 0.
    Index(u32),
    /// JSON: a pointer after RFC 6901.
    Pointer(String),
}

/// The event time of a row: its place and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeField {
    /// Where it is.
    pub field: Field,
    /// How it is written.
    pub unit: TimeUnit,
}

/// The unit of an event time.
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

/// An operator: a node that computes, with the settings of its instances.
// Wide: one field a key of the table `[[operator]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Name of the node, unique among all nodes.
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
    /// Bytes of input that are parked before its sources wait.
    pub park_bytes_max: u64,
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

/// An input of an operator or a sink: the node whose rows it reads, and their exchange.
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

/// The exchange of an edge: how rows get from the instances of one node to those of the next.
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

/// The failure settings of an operator: the table `operator.on-failure`.
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

/// The reaction of an operator to a call that failed at every retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Find the one row that cannot be worked on, and put it into quarantine.
    Quarantine,
    /// Leave the operator alone for a while, then try again.
    Pause,
    /// Stop the job; its last checkpoint stands.
    Stop,
}

/// The reaction of an operator to too many faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Leave the operator alone for a while, then try again.
    Pause,
    /// Stop the job; its last checkpoint stands.
    Stop,
}

/// The failures of an operator of which capsules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capsules {
    /// None.
    Never,
    /// Those of rows that go to quarantine.
    Quarantine,
    /// All.
    Always,
}

/// A sink: where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Name of the node, unique among all nodes.
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

/// The retention of output that was visible once and was taken back. What is over is deleted at the start of a run, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenBack {
    /// So long after it was set aside.
    pub keep: Duration,
    /// So many bytes of it.
    pub bytes_max: u64,
}

/// The connector of a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// Files in a folder.
    File(FileSink),
    /// Objects in a bucket, a folder or memory.
    Objects(ObjectsSink),
    /// Standard output.
    Stdout(StdoutSink),
}

/// A sink that writes files in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSink {
    /// The folder.
    pub path: String,
    /// How rows become bytes.
    pub format: SinkFormat,
}

/// The moment at which rows of a sink become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// After the checkpoint that they belong to: each row is seen once.
    ExactlyOnce,
    /// As soon as they are written: after a crash some are seen again.
    Immediate,
}

/// A sink that writes objects in a bucket, a folder or memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsSink {
    /// Where, as written: `s3://...`, `file:...` or `memory:NAME`.
    pub url: String,
    /// How rows become bytes.
    pub format: SinkFormat,
    /// Bytes of one object; one piece of rows alone may have more.
    pub part_bytes_max: u64,
}

/// A sink that writes to standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StdoutSink {
    /// How rows become bytes.
    pub format: SinkFormat,
}

/// The format in which a sink writes its rows.
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
            /// The words of this setting in a topology file.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word of this setting in a topology file.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// The setting that a word of a topology file stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl Word for $name {
            const ALL: &'static [&'static str] = Self::WORDS;

            fn read(word: &str) -> Option<Self> {
                Self::from_word(word)
            }

            fn show(&self) -> &'static str {
                self.word()
            }
        }
    };
}

words!(OnLost { Stop => "stop", Skip => "skip" });
words!(Compression { Auto => "auto", None => "none", Gzip => "gzip", Zstd => "zstd" });
words!(TimeUnit { Milliseconds => "ms", Seconds => "s", Microseconds => "us", Nanoseconds => "ns", Rfc3339 => "rfc3339" });
words!(Exchange { Stay => "stay", Key => "key", RoundRobin => "round-robin", All => "all" });
words!(Then { Quarantine => "quarantine", Pause => "pause", Stop => "stop" });
words!(Open { Pause => "pause", Stop => "stop" });
words!(Capsules { Never => "never", Quarantine => "quarantine", Always => "always" });
words!(Delivery { ExactlyOnce => "exactly-once", Immediate => "immediate" });
words!(SinkFormat { Json => "json", Lines => "lines", Csv => "csv" });
