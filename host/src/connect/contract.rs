//! The traits of connectors and the values that cross them.
//!
//! Threads: a [`SourceConnector`] and a [`SinkConnector`] are shared and asked rarely; a [`SourceReader`] and a [`SinkWriter`] belong to one thread that may
//! block. Time: connectors look at a clock for the time stamps of files, for event times from the future, and for how long something lasts.

use super::ConnectError;
use super::holding::Holding;
use super::recovery::Recovery;
use super::sink::foreign::Foreign;
use reprise_core::batch::Batch;
use reprise_core::description::Encoding;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A split of a source and the position in it. Checkpoints keep it; only the source that wrote it reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSplit {
    /// Identity of the split: unique within the source, the same in every run.
    pub split: String,
    /// JSON text, meant to be readable by people.
    pub position: String,
}

impl SourceSplit {
    /// A split that has ended and need not be remembered: the next checkpoint leaves it out.
    #[must_use]
    pub fn ended(split: String) -> Self {
        Self { split, position: String::new() }
    }

    /// The error for a position that cannot have been written by this source.
    #[must_use]
    pub fn corrupt(&self, why: &str) -> ConnectError {
        let what = format!("the position of split `{}` cannot be used: {why}", self.split.escape_debug());
        ConnectError::corrupt(what, "take up an older checkpoint, or start the job anew with an empty checkpoint store")
    }
}

/// Bounds of one [`SourceBatch`]. A batch ends with the row that reaches one of them, so that one row alone may pass `bytes_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Rows, rejected ones included; at least 1.
    pub rows_max: usize,
    /// Bytes, rejected rows included.
    pub bytes_max: usize,
}

/// A source of rows, asked by the job once a run.
///
/// # Law
/// The rows of a split from a position on are the same in every run, in the same order, where [`SourceConnector::replays`] is true. Rejected rows are,
/// too, save those that were rejected for a time ahead of the clock: later they may be taken.
pub trait SourceConnector: Send + Sync {
    /// Lists the splits: the known ones (from a checkpoint), and new ones at their beginnings. Splits that have ended may be left out. Called
    /// once a run, by one process, before any reader is made.
    ///
    /// # Errors
    /// Where inputs are missing, unreadable, or not what they were.
    fn splits(&self, known: &[SourceSplit]) -> Result<Vec<SourceSplit>, ConnectError>;

    /// True where nothing of this split is left to read, now or later.
    fn is_done(&self, split: &SourceSplit) -> bool;

    /// A reader over these splits (possibly none), for one instance. No split may be given to two readers.
    ///
    /// # Errors
    /// Where a position cannot be understood.
    fn reader(&self, splits: Vec<SourceSplit>) -> Result<Box<dyn SourceReader>, ConnectError>;

    /// What a job that has finished has not read, for people: `known` are its last positions, `splits` what [`SourceConnector::splits`] made of them.
    /// `None` where there is nothing, and where it cannot be told.
    fn unread(&self, known: &[SourceSplit], splits: &[SourceSplit]) -> Option<String> {
        let _ = (known, splits);
        None
    }

    /// False where rows that were read cannot be read again: then rows since the last checkpoint are lost in a crash.
    fn replays(&self) -> bool;
}

/// A source reader: reads the splits of one instance, on a thread of its own.
pub trait SourceReader: Send {
    /// The next batch. May block for as long as one read takes; standard input blocks until there is input.
    ///
    /// # Errors
    /// The reader is of no use afterwards; make a new one from the last positions.
    fn next(&mut self) -> Result<InputStatus, ConnectError>;

    /// False where [`SourceReader::next`] may block for ever, so that its thread must not be waited for.
    fn ends(&self) -> bool {
        true
    }
}

/// The answer of a source reader that was asked for rows.
#[derive(Debug)]
pub enum InputStatus {
    /// Rows, or progress without rows.
    Rows(SourceBatch),
    /// Nothing now; ask again after this time.
    Idle(Duration),
    /// Nothing any more.
    End,
}

/// A batch of rows of a source, and the positions behind it.
#[derive(Debug, Default)]
pub struct SourceBatch {
    /// The rows; there may be none.
    pub rows: Batch,
    /// Rows that could not be read, in order.
    pub rejected: Vec<Rejected>,
    /// Positions after this batch, of the splits that moved. An empty position: the split has ended, see [`SourceSplit::ended`].
    pub positions: Vec<SourceSplit>,
    /// No row with a time at or below this one will follow from this reader; `i64::MIN` where nothing is known yet. Never falls.
    pub watermark: i64,
}

/// A row that could not be read. It goes to quarantine: it is never lost silently and never stops the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The split.
    pub split: String,
    /// Where the row starts, in bytes from the start of the input.
    pub offset: u64,
    /// The row as read, cut to the source's `row_bytes_max`.
    pub bytes: Vec<u8>,
    /// What is wrong with it.
    pub reason: String,
}

/// The encoding of keys and values, by which a sink reads the bytes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowEncoding {
    /// Of the key.
    pub key: Encoding,
    /// Of the value.
    pub value: Encoding,
}

/// A sink for rows, asked by the job. `docs/connectors.md` tells how to write one, and what it must do about a crash at each step.
///
/// # Order of calls
/// ```text
/// recover ──> writer, one an instance ──> write(n)* ──> seal(n) ──> write(n+1)* ──> seal(n+1) ──> ...
///                                                          └── manifest n is stored ──> publish(n)
/// ```
/// [`SinkConnector::recover`] comes first, once a run. Writers of all instances work side by side. [`SinkConnector::publish`] of an epoch comes after the
/// manifest that names it, while writers are at later epochs; for one instance in the order of epochs. All calls may block.
///
/// A host may die between any two steps, or sleep there and wake up when another one has taken its place. What a sink must remember is
/// therefore outside the process, and its token is the only thing that a checkpoint remembers for it.
///
/// # Laws
/// With [`SinkConnector::exactly_once`]:
/// 1. Rows of an epoch become visible only by [`SinkConnector::publish`] of what [`SinkWriter::seal`] returned for it.
/// 2. What `seal` returned is durable: it outlives process and machine.
/// 3. Each piece of output (a file, an object, a transaction) is visible completely or not at all.
/// 4. Publishing again changes nothing, in whichever process, after whatever step an earlier attempt died at, and also where readers have
///    taken the output away.
/// 5. When `recover` has returned, no run of an earlier generation can make anything visible that it was not told of.
///
/// Without it, rows may be visible at any time, and `seal` returns `None`; but what was written is durable when `seal` returns.
///
/// Always: nothing is overwritten or removed that the sink did not write, and a place that belongs to another job is refused; so is one that
/// belongs to another life of the job's store, or holds output that the store does not know ([`Holding::check`]): it would come out twice.
pub trait SinkConnector: Send + Sync {
    /// Tells what the place holds of this sink and changes nothing, not even a folder that is missing. Called before the job is claimed: a start
    /// that must fail leaves no trace but the identity of the job in its store. What costs much, such as listing all output, is for places that no run has noted itself in.
    ///
    /// # Errors
    /// As [`SinkConnector::publish`]; [`ConnectError::Config`] where the place belongs to another job.
    fn holding(&self) -> Result<Holding, ConnectError>;

    /// A writer for one instance. `generation` is the fencing number of this run: greater than that of any run before, in the life of the
    /// job's store. Names of what is not yet published should hold it, so that they never meet those of a host that wakes up late. Called
    /// after [`SinkConnector::recover`], from a thread of the runtime: it must not wait for the network.
    ///
    /// # Errors
    /// Where the place to write to cannot be made.
    fn writer(&self, instance: u32, generation: u64) -> Result<Box<dyn SinkWriter>, ConnectError>;

    /// Makes staged rows visible and durable. Asked after a manifest names them; those of one instance come in the order of epochs, the others
    /// have no order, and a sink may publish them side by side. Idempotent: may be asked again after a crash, until a manifest without the
    /// token is stored. After an error any of them may be published.
    ///
    /// # Errors
    /// [`ConnectError::Missing`] and [`ConnectError::Corrupt`] where that output is lost, not what was sealed, or something else is in its
    /// place; [`ConnectError::Io`] and [`ConnectError::Storage`] where it may work later. The job stops; the next run asks again.
    fn publish(&self, staged: &[Staged]) -> Result<(), ConnectError>;

    /// Called once at the start of a run, before any writer is made. `staged` is what the manifest of the checkpoint taken up lists: all of
    /// epochs up to [`Recovery::recovered`], perhaps published already. In this order:
    ///
    /// 1. claims the place for the job and for this life of its store ([`Holding::admit`], [`super::holding::next_note`]); with
    ///    [`Recovery::adopt`] it is not asked whose the place was, and what was staged there when that was decided, and is not in `staged`, is
    ///    removed before;
    /// 2. publishes what is in `staged`;
    /// 3. removes what earlier generations left unpublished, so that from here on none of them can publish anything;
    /// 4. takes back visible output of epochs that do not count ([`Recovery::is_void`]), which will be produced again. Not without
    ///    [`SinkConnector::exactly_once`].
    ///
    /// It may die at any step and is then called anew. It may also sleep at any step and go on when a later run has taken over and
    /// published: the bounds of `recovery` keep it from touching what is that run's. A sink that cannot take back must refuse, with
    /// [`ConnectError::Corrupt`], where it would have to.
    ///
    /// # Errors
    /// As [`SinkConnector::publish`]; [`ConnectError::Config`] where the place belongs to another job, [`ConnectError::Unknown`] where it belongs to
    /// another life of its store, or a later run has taken it.
    fn recover(&self, recovery: &Recovery, staged: &[Staged]) -> Result<Recovered, ConnectError>;

    /// Tells what lies in the place and cannot be of any sink, for people; changes nothing. Asked once by a host, beside its first run: what is
    /// looked at must have a limit, however large the place is.
    ///
    /// # Errors
    /// As [`SinkConnector::publish`]; they are told, and stop nothing.
    fn foreign(&self) -> Result<Foreign, ConnectError> {
        Ok(Foreign::default())
    }

    /// False where rows are visible as soon as they are written, so that a restart may show some again.
    fn exactly_once(&self) -> bool;
}

/// A sink writer: writes the rows of one instance, on a thread of its own.
pub trait SinkWriter: Send {
    /// Writes rows. Epochs never decrease, and none comes after its seal. `input` is the index of the sink's input that the rows came from.
    /// While it blocks, the sources wait once a few batches have gathered.
    ///
    /// # Errors
    /// The writer is of no use afterwards, and nothing of the epoch may be published. [`ConnectError::Order`] for an epoch that is sealed.
    fn write(&mut self, epoch: u64, input: u32, rows: &Batch) -> Result<(), ConnectError>;

    /// The epoch is complete: makes its rows durable, still invisible. Comes for every epoch, in order, also for those without rows.
    /// `None` where there is nothing to publish.
    ///
    /// # Errors
    /// As [`SinkWriter::write`].
    fn seal(&mut self, epoch: u64) -> Result<Option<Staged>, ConnectError>;
}

/// Output of one epoch of one instance, durable and not yet visible. Checkpoints keep it; only the sink that wrote it reads `token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Names it: relative, portable text. Comes back as it was, perhaps in another process, on another machine, or damaged: check it.
    pub token: String,
    /// Rows in it.
    pub rows: u64,
    /// Bytes in it.
    pub bytes: u64,
}

/// What [`SinkConnector::recover`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Staged outputs that became visible now.
    pub published: u64,
    /// Visible outputs that were moved aside.
    pub taken_back: u64,
    /// Leftovers that were removed.
    pub removed: u64,
    /// Outputs that had been moved aside by earlier runs and were deleted, since they were too old or too many.
    pub expired: u64,
}
