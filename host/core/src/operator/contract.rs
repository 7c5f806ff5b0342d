//! What the driver of an instance needs of its host, piece by piece: a guest to call, a place where guests are made, a standby, a circuit
//! breaker, outputs. [`Environment`](super::Environment) puts them together.
//!
//! | trait | the engine | the simulation |
//! |---|---|---|
//! | [`Guest`] | a Wasm instance | cells in a map |
//! | [`InstanceFactory`] | instantiates, opens, restores | likewise, and may fail |
//! | [`StandbyInstance`] | a thread of its own | a task of its own |
//! | [`CircuitBreaker`] | shared by the instances of an operator | likewise |
//! | [`Outlet`] | edges of the dataflow | inboxes of sinks |

use super::call::{CallInput, Outcome};
use super::state_backup::VersionedChunk;
use crate::batch::Batch;
use crate::cells::Chunk;
use crate::codec::snapshot::SnapshotScope;
use crate::description::Description;
use crate::failure::blame::Blame;
use crate::ids::Epoch;
use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

/// The fault of a guest: why a call failed. Its text says so to a person.
pub trait GuestFault: Clone + Debug + Display {
    /// The fault of a call for which there is no instance. No caller makes one.
    fn missing() -> Self;
    /// The call that failed, such as `process` or `snapshot`.
    fn call(&self) -> &str;
    /// The kind of the fault, one word.
    fn kind(&self) -> &'static str;
    /// The setting of the topology whose limit was reached, where one was.
    fn setting(&self) -> Option<&'static str>;
    /// Names of the guest's functions at the fault, innermost first.
    fn backtrace(&self) -> &[String];
    /// The last lines that the guest logged, oldest first.
    fn log_tail(&self) -> &[String];
}

/// A guest: one running copy of a component, opened and restored. After a fault it is dead, and nothing of the failed call stands.
pub trait Guest: Sized {
    /// Number and time of a call, the same when the call is repeated.
    type Call: Copy + Debug;
    /// Why a call failed.
    type Fault: GuestFault;
    /// A snapshot that is being read.
    type Reading;

    /// Makes a call.
    ///
    /// # Errors
    /// The call failed, and the guest is dead.
    fn call(&mut self, input: &CallInput, call: Self::Call) -> Result<Outcome, Self::Fault>;

    /// Repeats a call that another guest made: what it logs was handed on the first time.
    ///
    /// # Errors
    /// The call failed, and the guest is dead.
    fn repeat(&mut self, input: &CallInput, call: Self::Call) -> Result<Outcome, Self::Fault>;

    /// Begins to read a snapshot, of all cells or of those that changed since the last one that was read to its end. `part_bytes_max`: what one
    /// call should return at most.
    fn begin_snapshot(&mut self, scope: SnapshotScope, part_bytes_max: u32) -> Self::Reading;

    /// Reads a part of a snapshot or more; `pauses` is asked after each part. True at the end of the snapshot.
    ///
    /// # Errors
    /// The call failed, the guest is dead, and what `take` was given is no snapshot.
    fn read_on(&mut self, reading: &mut Self::Reading, pauses: &dyn Fn() -> bool, take: &mut dyn FnMut(Chunk))
    -> Result<bool, Self::Fault>;

    /// Number and time of the call that the guest is in, or was in last.
    fn circumstances(&self) -> Self::Call;

    /// How far the monotonic clock of the guest has come, nanoseconds.
    fn instant_ns(&self) -> u64;
}

/// An instance factory: makes guests of one place in the dataflow, each like the one before.
pub trait InstanceFactory {
    /// What it makes.
    type Guest: Guest;

    /// A guest, opened and restored.
    ///
    /// # Errors
    /// The fault, with what the guest was doing; also where no guest [is wanted](Self::is_wanted) any more.
    fn make(&self, state: &[Arc<VersionedChunk>]) -> Result<Self::Guest, (<Self::Guest as Guest>::Fault, &'static str)>;
    /// False once the run is over, and no guest is needed.
    fn is_wanted(&self) -> bool;
    /// True once the run is to end at once.
    fn is_aborted(&self) -> bool;
    /// Number and time of the call of `open`.
    fn open_call(&self) -> <Self::Guest as Guest>::Call;
    /// The number of a call.
    fn number(&self, call: <Self::Guest as Guest>::Call) -> u64;
    /// How many instances the operator has.
    fn parallelism(&self) -> u32;
    /// What the component says it is.
    fn description(&self) -> &Description;
}

/// A standby: a second instance to which every snapshot is restored as well, in its own time. Dropping it gives it up.
pub trait StandbyInstance: Sized {
    /// What takes over.
    type Guest: Guest;

    /// Restores changes to the standby some time soon. `state_bytes`: of its operator. False where it is too far behind, or gone.
    fn apply(&self, changes: Vec<Arc<VersionedChunk>>, state_bytes: u64) -> bool;
    /// The guest, where all was restored to it.
    ///
    /// # Errors
    /// The standby itself, where it has something to restore still.
    fn take_if_ready(self) -> Result<Self::Guest, Self>;
    /// The guest, once all was restored to it; `None` where it failed. May block.
    fn take(self) -> Option<Self::Guest>;
}

/// A circuit breaker: what all instances of an operator share to know whether calls may be made.
pub trait CircuitBreaker {
    /// How long no call may be made; `None` where one may be made now.
    fn shut_for(&self) -> Option<Duration>;
    /// Ends a pause before its time. True where there was one.
    fn resume(&self) -> bool;
    /// Takes note of a fault. The pause, where the fault opens the breaker.
    fn fault(&self) -> Option<Duration>;
    /// Takes note of rows that a call rejected. The pause, where they open the breaker.
    fn rejected(&self, rows: u64) -> Option<Duration>;
    /// Opens the breaker, whatever came before. The pause, where it was not open.
    fn trip(&self) -> Option<Duration>;
    /// Takes note of a call that succeeded. True where that closes the breaker.
    fn success(&self) -> bool;
}

/// What may still arrive at an instance.
pub trait Frontier {
    /// True where nothing of this epoch or one before can arrive any more.
    fn is_past(&self, epoch: Epoch) -> bool;
    /// True where nothing at all can arrive any more.
    fn is_empty(&self) -> bool;
    /// The earliest moment at which something can arrive, as the host counts; the greatest number where nothing can.
    fn least(&self) -> u64;
}

/// The outputs of an instance. `Right` is the right to send at the time of a unit of work.
pub trait Outlet<Right> {
    /// Sends rows on an output.
    fn rows(&mut self, right: &Right, port: u32, rows: Batch);
    /// Sends a watermark, or [`IDLE`](super::IDLE) or [`AWAKE`](super::AWAKE), on all outputs.
    fn watermark(&mut self, right: &Right, watermark: i64);
}

/// An incident of an instance, for people and for counters. No decision comes of it.
pub enum Incident<'a, F> {
    /// A call failed; it is retried on a replacement.
    Failed {
        /// Why.
        fault: &'a F,
        /// What the call was working on.
        context: &'a str,
        /// Which retry comes now; 0 where the rows of the call are tried in smaller calls instead.
        attempt: u32,
        /// Wait before it.
        wait: Duration,
    },
    /// A replacement has taken the place of a guest that failed.
    Replaced {
        /// From the failure to the replacement.
        took: Duration,
        /// A standby took over.
        by_standby: bool,
        /// Those of a bisection are not told one by one.
        is_told: bool,
    },
    /// A standby that was ready took over within a turn.
    ReplacedAtOnce,
    /// A row went to quarantine.
    Quarantined {
        /// Why.
        fault: &'a F,
        /// What the call was working on.
        context: &'a str,
    },
    /// The circuit breaker has opened.
    Paused {
        /// For how long.
        pause: Duration,
        /// Why, for people.
        reason: String,
    },
    /// The circuit breaker has closed.
    Resumed,
    /// So many rows were worked on, and so many of them refused.
    RowsIn {
        /// Worked on.
        rows: u64,
        /// Refused.
        rejected: u64,
    },
    /// The state is too large for a backup: the instance cannot come back alone.
    TooLarge {
        /// Bytes of the state.
        bytes: u64,
    },
    /// To restore the state alone would take longer than `recover-within`.
    TooSlow {
        /// How long it would take.
        takes: Duration,
    },
    /// How long the instance would take to come back now.
    Predicted(Duration),
    /// How long the snapshot of an epoch took, pauses included.
    SnapshotTook(Duration),
    /// A snapshot was taken between two checkpoints.
    LocalSnapshot,
    /// The fault of a row was somebody's: a guest like the one that failed takes it, or none does.
    Blamed(Blame),
}
