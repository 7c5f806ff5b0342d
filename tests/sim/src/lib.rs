//! A simulation of the checkpoint protocol: the machines of `reprise-core` as they are, over a store, sinks and hosts that fail.
//!
//! ```text
//! seed ──> Plan, Input ──> supervisor: starts hosts, strikes them          oracle: looks on, at every effect and at the end
//!                              │
//!          host: take_up (JobRecovery) ──> flow ──> run (lanes) ──> committer (Committer) ──> publish, sweep, compact
//!                              │        └─ operator (OperatorInstance) <──> guest, standby
//!                              │                                   │
//!                           client ──> store: late, lost, slow     outbox: rename by rename
//! ```
//! Everything runs in one thread and in simulated time, and all chance comes from the seed: one seed, one trace.
//!
//! It is not a model of the protocol: it carries out the actions of the real machines. It models what is around them: an object store that is
//! atomic for each object, the law of the file sink, a dataflow of a counting operator with one or several instances on a worker, how an
//! instance of it comes back after a failed call, and how its state is dealt out where a later process has other numbers of them.

mod breaker;
pub mod client;
pub mod clockwork;
pub mod committer;
pub mod flow;
mod guest;
pub mod host;
pub mod input;
pub mod mutation;
mod operator;
pub mod oracle;
pub mod outbox;
pub mod plan;
pub mod random;
pub mod run;
pub mod seeds;
pub mod shape;
pub mod snapshot;
mod standby;
pub mod store;
pub mod supervisor;
pub mod sweep;
pub mod take_up;
pub mod trace;
pub mod trouble;
pub mod world;
