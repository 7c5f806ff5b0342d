//! The checkpoint protocol: what a checkpoint is made of, when it is complete, which one to take up again, which ones may go.
//!
//! ```text
//! instances report epoch e ──> coordinator: all reported? ──> manifest of e is written ──> sinks publish e ──> older ones retire
//! ```
//! Nothing here touches storage: [`coordinator`] and [`recovery`] are told facts and answer with actions.

pub mod coordinator;
pub mod manifest;
pub mod paths;
pub mod recovery;
pub mod retention;
