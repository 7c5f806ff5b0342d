//! One instance of an operator: which unit of work comes next, the calls of its guest, its snapshots, and its retries when a call fails.
//!
//! The driver ([`OperatorInstance`]) decides and remembers; all that touches the world is behind [`Environment`]: the guest itself, threads,
//! the clock, the circuit breaker, counters and reports. The engine implements it over wasmtime and Timely, the simulation over a guest and a
//! clock of its own, so that both run the code in this folder.
//!
//! ```text
//!  queue ──> unit ──call──> outcome ──> rows sent, refused rows kept, the call logged
//!             ^       │ failed
//!             └───────┴── retry: a replacement is made from the backup, or the row goes to quarantine
//! ```
//!
//! | file | what |
//! |---|---|
//! | `contract`, `environment` | what an instance needs of its host |
//! | `instance` | the driver: units of work, turn by turn |
//! | `failures` | the driver, where a call has failed |
//! | `snapshots`, `snapshot_reading` | the driver, where a snapshot is read over several turns |
//! | `slot` | the guest: one call in, an outcome or a fault out |
//! | `queue`, `watermarks`, `pending_rows` | what has arrived, epoch by epoch |
//! | `backlog`, `parking`, `segments` | what waits too long, so that its epoch can end |
//! | `retry` | after a failure: again, narrower, quarantine, give up |
//! | `blame_trial` | whether a row is to blame for a failure, or the instance |
//! | `failover`, `repetition` | how a replacement is made |
//! | `backup`, `state_backup`, `input_log` | what a replacement is made from |
//! | `output_digest` | digests of what a call returned, to compare its repetition with |
//! | `crash_dump` | a failed call with what led to it |
//! | `tally` | what an epoch amounts to, for its report |
//! | `mutation` | faults that the simulation plants |

mod backlog;
mod backup;
mod blame_trial;
mod call;
mod contract;
mod crash_dump;
mod environment;
mod failover;
mod failures;
mod input_log;
mod instance;
mod mutation;
mod output_digest;
mod parking;
mod pending_rows;
mod queue;
mod repetition;
mod retry;
mod segments;
mod slot;
mod snapshot_reading;
mod snapshots;
mod state_backup;
mod suspect;
mod tally;
mod watermarks;

pub use backlog::{BacklogLimits, ParkedTally, Segment, SegmentState};
pub use blame_trial::with_remedy;
pub use call::{CallInput, Outcome, Rejection};
pub use contract::{CircuitBreaker, Frontier, Guest, GuestFault, Incident, InstanceFactory, Outlet, StandbyInstance};
pub use crash_dump::{CrashDump, FailedCall};
pub use environment::{CallOf, Environment, FaultOf};
pub use failover::{FailoverWork, Replacement};
pub use input_log::LoggedCall;
pub use instance::{OperatorFailure, OperatorInstance, Restored, Turn};
pub use mutation::Mutation;
pub use output_digest::OutputDigest;
pub use parking::GIVEN_UP;
pub use pending_rows::{BYTES_TOGETHER, ROWS_TOGETHER};
pub use queue::{Arrival, Arrivals, EdgeEnd, Load};
pub use segments::SegmentObjects;
pub use state_backup::{FOLD_BYTES_MIN, FoldWork, VersionedChunk, bytes as state_bytes};
pub use tally::{CAPSULES_BYTES_MAX, CAPSULES_MAX, EpochTally, FailedRow, REJECTED_BYTES_MAX, RefusedRows};
pub use watermarks::{AWAKE, IDLE, UnknownSender, Watermarks};
