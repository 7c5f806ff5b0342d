//! The committer of a run: carries out what [`reprise_core::checkpoint::committer`] decides, which the simulation carries out likewise.
//!
//! | file | what |
//! |---|---|
//! | `commit` | the events of a run, one after another; **writes manifests** and savepoints |
//! | `publish` | lets sinks publish, each in a lane of its own |
//! | `requests` | looks in the store for requests: savepoints, the end of pauses, rows to send again |
//! | `housekeeping` | deletes what is not retained, in the background |

mod commit;
mod context;
mod housekeeping;
mod publish;
mod requests;

pub(super) use commit::{CommitterDriver, RunEnd};
pub(super) use context::CommitterContext;
pub(super) use housekeeping::Housekeeping;
pub(super) use publish::{NamedSink, PublishCalls, Publisher};
pub(super) use requests::Requests;
