//! Timestamps of the dataflow: an epoch in the upper half, a step in the lower half of one `u64`, so that they are totally ordered.

use reprise_core::ids::Epoch;

/// A dataflow timestamp. See the module.
pub type Moment = u64;

/// Steps that fit into one epoch.
pub const STEPS_MAX: u64 = u32::MAX as u64;
/// Largest epoch that fits: 49 days of epochs of one millisecond, 136 years of epochs of one second.
pub const EPOCH_MAX: u64 = u32::MAX as u64 - 1;

/// The moment of a step.
#[must_use]
pub fn moment(epoch: Epoch, step: u64) -> Moment {
    debug_assert!(epoch.0 <= EPOCH_MAX && step <= STEPS_MAX);
    epoch.0 << 32 | step
}

/// The epoch of a moment.
#[must_use]
pub fn epoch_of(moment: Moment) -> Epoch {
    Epoch(moment >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ordered_by_epoch_and_then_by_step() {
        assert!(moment(Epoch(1), STEPS_MAX) < moment(Epoch(2), 0));
        assert!(moment(Epoch(2), 0) < moment(Epoch(2), 1));
        assert_eq!(epoch_of(moment(Epoch(7), 9)), Epoch(7));
    }
}
