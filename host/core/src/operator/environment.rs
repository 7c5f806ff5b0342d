//! The environment of one instance of an operator: what its driver needs of its host, all together.

use super::backlog::{BacklogLimits, ParkedTally, Segment};
use super::contract::{CircuitBreaker, Guest, Incident, InstanceFactory, StandbyInstance};
use super::crash_dump::CrashDump;
use super::failover::FailoverWork;
use super::mutation::Mutation;
use super::state_backup::{FOLD_BYTES_MIN, FoldWork, VersionedChunk};
use super::tally::EpochTally;
use crate::batch::Batch;
use crate::ids::Epoch;
use crate::topology::Operator;
use std::sync::Arc;
use std::time::Duration;

/// The call type of the guests of an environment.
pub type CallOf<E> = <<E as Environment>::Guest as Guest>::Call;
/// The fault type of the guests of an environment.
pub type FaultOf<E> = <<E as Environment>::Guest as Guest>::Fault;

/// The environment of one instance of an operator.
pub trait Environment: Sized {
    /// What is called.
    type Guest: Guest;
    /// What makes guests.
    type Factory: InstanceFactory<Guest = Self::Guest> + Clone;
    /// What stands by.
    type Standby: StandbyInstance<Guest = Self::Guest>;
    /// What calls wait for.
    type Breaker: CircuitBreaker;
    /// The right to send at the time of a unit of work.
    type Right: Clone;

    /// The settings of the operator in the topology.
    fn settings(&self) -> &Operator;
    /// Deltas that may follow a full snapshot.
    fn chain_length_max(&self) -> u32;
    /// Bytes that one part of a snapshot should have at most.
    fn part_bytes_max(&self) -> u32;
    /// Changes of fewer bytes are not worth folding.
    fn fold_bytes_min(&self) -> u64 {
        FOLD_BYTES_MIN
    }
    /// Bytes that one call should emit at most.
    fn call_bytes(&self) -> u64;
    /// What makes guests.
    fn factory(&self) -> &Self::Factory;
    /// What calls wait for.
    fn breaker(&self) -> &Self::Breaker;

    /// Time since an origin; never goes back.
    fn now(&self) -> Duration;
    /// A random number.
    fn jitter(&self) -> u64;
    /// A call of this number, made now. `instant_ns`: how far the monotonic clocks of the guests here have come.
    fn call(&self, number: u64, instant_ns: u64) -> CallOf<Self>;

    /// True once the run is to end at once.
    fn is_aborted(&self) -> bool;
    /// True once the run is to end with a last checkpoint.
    fn is_stopping(&self) -> bool;
    /// True once after each [`Self::ask_full`], or where the job asks for a full snapshot.
    fn takes_full(&self) -> bool;
    /// Lets the next snapshot be a full one.
    fn ask_full(&self);
    /// False where the operators downstream have too much to take: they wake the instance when there may be room.
    fn has_room(&self, epoch: Epoch) -> bool;

    /// How long an epoch may wait for its rows before they are parked.
    fn align_max(&self) -> Duration;
    /// The measures of its backlog.
    fn backlog_limits(&self) -> BacklogLimits {
        BacklogLimits::default()
    }
    /// Milliseconds since 1970-01-01T00:00:00Z, for people.
    fn wall_ms(&self) -> i64;
    /// Moves a right to send to the earliest moment at which something can arrive, within this epoch. It never goes back.
    fn advance(&self, right: &mut Self::Right, epoch: Epoch, least: u64);
    /// True where the instance, which alone has something left to do, should end its epoch. `has_news`: there is something to keep.
    fn epoch_is_due(&self, epoch: Epoch, age: Duration, has_news: bool) -> bool;
    /// Time between two checkpoints.
    fn interval(&self) -> Duration;
    /// Asks for a checkpoint soon.
    fn ask_epoch(&self);
    /// True where a segment of parked input may be handed out before the end of the epoch.
    fn may_store_parked(&self) -> bool;
    /// Hands a segment of parked input out to be stored, under its number among those of the instance. A report that names it comes later.
    ///
    /// # Errors
    /// The run is over.
    fn store_parked(&self, epoch: Epoch, number: u64, items: Segment) -> Result<(), String>;
    /// The items of a segment after the first entries, which are done. `None` until they are read; the instance is woken then.
    fn read_parked(&self, number: u64, done: u64) -> Option<Result<Segment, String>>;
    /// Takes note of what is parked.
    fn parked(&self, tally: ParkedTally);
    /// True once after each request to give parked input up: whether it goes to quarantine.
    fn takes_unpark(&self) -> Option<bool>;

    /// Takes note of rows of an edge that the instance has taken.
    fn took(&self, edge: usize, epoch: Epoch, bytes: u64);
    /// Takes note of rows that the instance emits.
    fn emits(&self, port: u32, epoch: Epoch, rows: &Batch);
    /// Hands on what a guest logged and used, after a call.
    fn after_call(&self, guest: &mut Self::Guest);
    /// Tells of an incident.
    fn tell(&self, epoch: Epoch, incident: Incident<'_, FaultOf<Self>>);
    /// The text of a failure, for people: several lines.
    fn describe(&self, epoch: Epoch, fault: &FaultOf<Self>, context: &str) -> String;
    /// Hands on what an epoch amounts to.
    ///
    /// # Errors
    /// The run is over.
    fn report(&self, tally: EpochTally<CrashDump<CallOf<Self>, FaultOf<Self>>>) -> Result<(), String>;

    /// Starts a standby from this state. Guests in `dead` are dropped before. `None` where there is no room for one.
    fn start_standby(&self, state: Vec<Arc<VersionedChunk>>, dead: Vec<Self::Guest>) -> Option<Self::Standby>;
    /// Runs a failover beside the dataflow, and wakes the instance at its end.
    ///
    /// # Errors
    /// There is no thread to be had.
    fn start_failover(&self, work: FailoverWork<Self::Factory, Self::Standby>) -> Result<(), String>;
    /// Runs a fold beside the dataflow. Work that is dropped is asked for again.
    fn start_fold(&self, work: FoldWork);

    /// True where the simulation has planted this fault. Always false in the product.
    #[inline]
    fn breaks(&self, _: Mutation) -> bool {
        false
    }
}
