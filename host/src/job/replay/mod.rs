//! Rows of the quarantine, sent again: who asks, what was noted, and the source that does it. `docs/quarantine.md` tells it to users.
//!
//! ```text
//! asker: create replays/NODE/OBJECT.N ──> host: ends its attempt with a checkpoint ──> next attempt: one more source ──> manifests hold
//!                                                                                                        its position ──> attempt after it:
//!                                                                                                                         replayed/EPOCH-RUN
//! ```
//! Exactly once follows from the checkpoint protocol alone: the source is a source like others, a request is one of its splits, and the position in
//! it is the number of rows that are done. A row is asked for at most once, since a request is created only by who has seen all that were made for
//! the same object before it.
//!
//! A request stays until no walk back can undo what it asked for. Rows that a later request, a note or a drop speaks of are passed over.

mod ask;
mod ledger;
mod reader;
mod recover;

pub use ask::{ChosenRows, Requester, RowCounts, ask, drop_rows};
pub(super) use ledger::{QuarantineLedger, requests};
pub(super) use recover::{ReplayWatcher, Replays, is_waited_for, recover};
