//! The checkpoint protocol: what a checkpoint is made of, when it is complete, which one to take up again, which ones may go.
//!
//! ```text
//! claim, find, take over ──> instances report epoch e ──> all reported? ──> fence, manifest of e ──> publish e ──> older ones retire
//!       opening                                         coordinator              tenure                             retention
//! ```
//! Nothing here touches storage: the modules are told facts and answer with what is to be done.

pub mod capsule;
pub mod chain;
pub mod coordinator;
pub mod expiry;
pub mod faulted;
pub mod manifest;
pub mod opening;
pub mod paths;
pub mod quarantine;
pub mod recovery;
pub mod retention;
pub mod tenure;
