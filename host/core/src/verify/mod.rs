//! What `reprise verify` decides: rows to try an operator with, how they are cut into calls, and what a difference between two runs means.
//!
//! ```text
//! generate ──> Script ──recut, deal──> calls of instances ──> Effect, InstanceCells ──compare, judge──> Finding
//! ```
//! No operator is run here: `host/src/verify` does that, and asks here what to run next and what to think of it. Everything follows from a
//! seed.

mod effect;
mod generate;
mod report;
mod script;
mod state;

pub use effect::{Effect, OutputDifference, OwnedRow, Pairing, compare};
pub use generate::{Shape, generate};
pub use report::{At, Cause, Check, CheckedCall, Detail, Finding, Verdict};
pub use script::{Script, Step};
pub use state::{CellDifference, ChangeFault, Changes, InstanceCells, judge};
