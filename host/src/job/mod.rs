//! The job: the one place that knows both operators and storage.
//!
//! ```text
//! prepare ──> claim a generation ──> take up the newest usable checkpoint ──> engine runs ──> Finished | Stopped
//!                      ^                                                         │ an operator fails
//!                      └──────────────── wait, at most `retries` times in a row ─┘
//! ```

mod blocking;
mod capsule;
mod committer;
mod compact;
mod deal;
mod error;
mod identity;
mod notice;
mod objects;
mod operator_requests;
mod overlap;
mod parked;
mod prepare;
mod recorder;
mod recovery;
mod replay;
mod restore;
mod run;
mod savepoint;
mod store_retry;
pub mod survey;
mod sweep;
mod tidy;

pub use capsule::{CapsuleError, CapsuleExtras, Reproduction, reproduce_capsule};
pub use error::{Error, Kind};
pub use notice::{CheckpointNotice, Notice, Watch};
pub use operator_requests::{OperatorAnswer, OperatorWish, ask as ask_about_operators};
pub use prepare::{Prepared, grants_of, open_store, open_store_with_names, prepare, workers_of};
pub use recovery::StartFrom;
pub use replay::{ChosenRows, Requester, RowCounts, ask as ask_for_rows, drop_rows};
pub use run::{Ending, Options, run};
pub use savepoint::{ask as ask_for_savepoint, remove as remove_savepoint};
