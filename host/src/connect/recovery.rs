//! What a sink is told when a run takes up its output.

use reprise_core::ids::Life;

/// What a run takes up, and what is its own: the bounds of [`super::SinkConnector::recover`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// The newest epoch whose output counts; `None` at the beginning of a job: none does.
    pub recovered: Option<u64>,
    /// The epoch of the manifest with which this run took over. Neither this run nor a later one has output of that epoch: what there is was
    /// named by a manifest that is gone. Output of later epochs is this run's, or a later run's.
    pub taken: u64,
    /// The generation of this run.
    pub generation: u64,
    /// The life of the job's store.
    pub life: Life,
    /// The random number of this run.
    pub writer: u64,
    /// The user wants the place, whoever it belonged to when it was looked at: those with notes up to this number, 0 where there was none. Whoever
    /// has noted itself since keeps it.
    pub adopt: Option<u64>,
    /// The time of the recovery: milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: i64,
}

impl Recovery {
    /// Output of this epoch was made visible by an earlier run, and does not count.
    #[must_use]
    pub fn is_void(&self, epoch: u64) -> bool {
        epoch <= self.taken && self.recovered.is_none_or(|recovered| epoch > recovered)
    }
}
