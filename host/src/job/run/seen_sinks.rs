//! What a run sees before it claims the job.

use crate::connect::Recovery;
use reprise_core::ids::{Epoch, Generation, Life};

/// What was seen of the places of all sinks before the job was claimed.
pub(super) struct SeenSinks {
    /// The run begins after this epoch: there is output up to it that does not count.
    pub after: Epoch,
    pub life: Life,
    pub writer: u64,
    /// For each sink, see [`Recovery::adopt`].
    pub adopt: Vec<Option<u64>>,
    pub now_ms: i64,
}

impl SeenSinks {
    /// How sinks recover for a run that took over with a manifest of the epoch `taken`. What is adopted is set for each.
    pub fn recovery(&self, recovered: Option<Epoch>, taken: Epoch, generation: Generation) -> Recovery {
        let Self { life, writer, now_ms, .. } = *self;
        let recovered = recovered.map(|epoch| epoch.0);
        Recovery { recovered, taken: taken.0, generation: generation.0, life, writer, adopt: None, now_ms }
    }
}
