//! The job: the one place that knows both operators and storage.
//!
//! ```text
//! prepare ──> claim a generation ──> take up the newest usable checkpoint ──> engine runs ──> Finished | Stopped
//!                      ^                                                         │ an operator fails
//!                      └──────────────── wait, at most `retries` times in a row ─┘
//! ```

mod deal;
mod error;
mod keeper;
mod notice;
mod objects;
mod prepare;
mod recorder;
mod run;
pub mod survey;
mod take_up;

pub use error::{Error, Kind};
pub use notice::{CheckpointNotice, Notice, Watch};
pub use prepare::{Prepared, prepare};
pub use run::{Ending, Options, run};
