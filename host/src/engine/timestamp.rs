//! Timestamps of the dataflow: an epoch in the upper half, a step in the lower half of one `u64`, so that they are totally ordered.

use reprise_core::ids::Epoch;

/// A timestamp of the dataflow.
pub type Timestamp = u64;

/// Steps that fit into one epoch.
pub const STEPS_MAX: u64 = u32::MAX as u64;
/// Largest epoch that fits: 49 days of epochs of one millisecond, 136 years of epochs of one second.
pub const EPOCH_MAX: u64 = u32::MAX as u64 - 1;

/// The timestamp of a step.
#[must_use]
pub fn timestamp(epoch: Epoch, step: u64) -> Timestamp {
    debug_assert!(epoch.0 <= EPOCH_MAX && step <= STEPS_MAX);
    epoch.0 << 32 | step
}

/// The epoch of a timestamp.
#[must_use]
pub fn epoch_of(at: Timestamp) -> Epoch {
    Epoch(at >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_ordered_by_epoch_and_then_by_step() {
        assert!(timestamp(Epoch(1), STEPS_MAX) < timestamp(Epoch(2), 0));
        assert!(timestamp(Epoch(2), 0) < timestamp(Epoch(2), 1));
        assert_eq!(epoch_of(timestamp(Epoch(7), 9)), Epoch(7));
    }
}
