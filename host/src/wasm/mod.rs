//! Guests: loading components, instantiating them with limits, calling them, and checking all that they return.
//!
//! Only this folder names wasmtime. It knows no storage, no topology and no dataflow; it keeps no clock: the caller says what time it is
//! for a guest, a thread of the [`Runtime`] counts ticks for deadlines, and calls are timed, for people to look at and for what several share.
//!
//! ```text
//! bytes ──Runtime::load──> Component ──instantiate──> Instance ──open, restore, process, advance, snapshot──> checked rows and cells
//!          compiled,         described,                 │ any failure
//!          types checked     linked                     └──> GuestError; the instance is dead
//! ```
//!
//! Threads: a component can be instantiated on any thread. A guest runs on the stack of the thread that calls it.

mod checks;
mod component;
mod contract;
mod deadline;
mod engine;
mod fault;
mod guest;
mod instance;
mod limits;
mod load;
mod log;
mod parts;
mod pieces;
mod precompiled;
mod runtime;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod time_budget;
mod usage;
mod wasi;

pub use checks::{Part, Scope};
pub use component::Component;
pub use deadline::{Elapsed, WALL_FACTOR};
pub use fault::{FRAMES_MAX, Fault, GuestError, Reached};
pub use guest::{Call, InstanceIdentity};
pub use instance::Instance;
pub use limits::{
    CELL_BYTES_MAX, CHUNKS_PER_PART_MAX, CORE_INSTANCES_MAX, COUNTER_NAME_BYTES_MAX, COUNTERS_MAX, Limits, MEMORIES_MAX,
    OUTPUTS_PER_PIECE_MAX, TABLE_ELEMENTS_MAX, TEXT_BYTES_MAX,
};
pub use load::{BinaryKind, COMPONENT_BYTES_MAX, Inspection, LoadError, World, inspect};
pub use log::{LOG_LINES_MAX, LOG_TAIL_LINES, Level, LogLine};
pub use parts::{COMPONENTS_MAX, memories};
pub use pieces::{BATCH_BYTES, EMPTY_PIECES_MAX, PIECES_MAX};
pub use reprise_core::operator::{Outcome, Rejection};
pub use runtime::Runtime;
pub use settings::{INSTANCES_MAX, Settings};
pub use snapshot::{EMPTY_PARTS_MAX, PARTS_MAX, RESTORED_BYTES_PER_DEADLINE, Reading, SnapshotSize};
pub use usage::Usage;
pub use wasi::{
    Answer, ENTRIES_MAX, Gift, GrantError, Grants, HANDLES_MAX, LINKS_MAX, PATH_BYTES_MAX, PreopenedFolder, RANDOM_BYTES_MAX,
    READ_BYTES_MAX, WRITE_BYTES_MAX,
};
