//! What the parts of a committer share beside its store.

use crate::clock::Clock;
use crate::engine::Control;
use crate::job::notice::Watch;
use std::sync::Arc;

/// The context of a committer: the counters and flags of its run, processing time, and the watch that takes its notices.
#[derive(Clone)]
pub(in crate::job) struct CommitterContext {
    pub control: Arc<Control>,
    pub clock: Clock,
    pub watch: Watch,
}
