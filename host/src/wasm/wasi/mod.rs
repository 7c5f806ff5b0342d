//! The virtual WASI: what a component that imports `wasi:*` gets in place of a machine.
//!
//! ```text
//! imports ──what each one gets──> contract | virtual | denied | refused       (imports)
//!                                              │         │
//! linked once a runtime, for components that ──┘         └── by the types that the component asks for   (link)
//! import it; closed components have no part in it
//! ```
//!
//! | asked for | answer |
//! |---|---|
//! | wall clock | `now` of the call |
//! | monotonic clock | begins at `now` of the call, or where the last call left it; a microsecond more at each look, and what was slept |
//! | sleep | over at once; the monotonic clock is that much later |
//! | random numbers, secure or not | those of `runtime.random`, from the same generator |
//! | seed of hash tables | a function of the identity, the same in every call |
//! | standard output and error | lines of the log, at `info` and `warn`, under the limits of `runtime.log` |
//! | standard input, arguments | empty |
//! | environment, folders | what the topology grants: nothing unless it says so; folders are read-only |
//! | sockets | denied |
//! | exit | a trap |
//!
//! No answer depends on a clock, on chance or on earlier calls, save what lies in granted folders: a replay of a call gets the same answers.
//! How far the monotonic clock has come is among the circumstances of a call ([`Call`](super::Call)), for the same reason.
//! Nothing here blocks but reading granted files.
//!
//! It is not the crate `wasmtime-wasi`, since that sleeps on real clocks while a worker waits, shows times and the order of the
//! file system, and turns on asynchronous calls in wasmtime.

mod asked;
mod bindings;
mod files;
mod folder;
mod grants;
mod imports;
mod link;
mod process;
mod resources;
mod state;
mod streams;

pub use folder::{ENTRIES_MAX, LINKS_MAX, PATH_BYTES_MAX};
pub use grants::{GrantError, Grants, PreopenedFolder};
pub use imports::{Answer, Gift};
pub(super) use imports::{answer, is_wasi};
pub(super) use link::{link, link_denied};
pub(super) use state::{Ended, Wasi};
pub use state::{HANDLES_MAX, RANDOM_BYTES_MAX, READ_BYTES_MAX, WRITE_BYTES_MAX};
