//! The checkpoint protocol: what a checkpoint is made of, when it is complete, which one to take up again, which ones may go.
//!
//! ```text
//! claim, find, take over ──> instances report epoch e ──> all reported? ──> fence, manifest of e ──> publish e ──> older ones retire
//!       recovery                      report             coordinator        fenced_committer       publishing       retention
//!                                                                          └───────────────────── committer ─────────────────┘
//! ```
//! Nothing here touches storage: the machines are told events and answer with what is to be done.

pub mod candidates;
pub mod capsule;
pub mod chain;
pub mod committer;
pub mod compaction;
pub mod coordinator;
pub mod expiry;
pub mod faulted;
pub mod fenced_committer;
pub mod fold;
pub mod invariants;
pub mod layout;
pub mod lineage;
pub mod manifest;
pub mod objects;
pub mod parked;
pub mod paths;
pub mod publishing;
pub mod quarantine;
pub mod recovery;
pub mod report;
pub mod restore;
pub mod retention;
pub mod sweep;
