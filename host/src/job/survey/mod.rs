//! What a store holds of a job, looked at and left as it is: no claim, no probe, no folder that was not there.
//!
//! ```text
//! site ──> store ──> catalog   every checkpoint and savepoint in a line
//!                 ├─ choose    one of them: its manifest
//!                 ├─ state     its cells: chains folded, over all instances
//!                 ├─ parked    what waits for its operators
//!                 ├─ diff      what changed between two
//!                 ├─ quarantine rows that were refused, and their states
//!                 └─ verify    every object that they need, read and checked
//! decode: the bytes of a cell as JSON, by the encoding that its slot declares
//! ```
//! Components are not loaded, and may be missing. A job may run meanwhile: what its sweeps delete under a survey is told as gone, not as
//! damaged.

mod catalog;
mod choose;
pub mod decode;
mod diff;
mod error;
mod parked;
mod quarantine;
mod site;
mod state;
#[cfg(test)]
mod tests;
mod verify;
mod which;

pub use catalog::{Catalog, CatalogEntry, Summary, catalog};
pub use choose::{Choice, ChosenCheckpoint, choose};
pub use diff::{CellChange, OperatorDiff, Pair, SlotDiff, StateDiff, Tally, diff, moved_splits, paired};
pub use error::SurveyError;
pub use parked::ParkedSummary;
pub(in crate::job) use quarantine::no_row;
pub use quarantine::{QuarantineView, RowEntry, RowFilter, RowList, RowOrigin, RowState, row, rows};
pub use site::{Site, site_of};
pub use state::{CellPlace, CellValue, Filter, Folded, FoldedSlot, StateCells, cells, fold};
pub use verify::{BadObject, CheckpointVerdict, Role, SurveyProgress, Verified, Verify, verify};
pub use which::Which;

/// Manifests that a list reads at most; also savepoints.
pub const MANIFESTS_MAX: usize = 10_000;
/// Bytes of state that are kept in memory, unless more are allowed: keys, items and values, and [`CELL_BYTES`] for each cell.
pub const STATE_BYTES_MAX: u64 = 1 << 30;
/// What a cell takes in memory besides its bytes.
pub const CELL_BYTES: u64 = 128;
/// Objects that are read at the same time.
const READS_AT_ONCE: usize = 8;
