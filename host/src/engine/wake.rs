//! Waking: lets a worker look at an instance again, from any thread.

use std::sync::Arc;

/// What lets a worker look at an instance again.
pub(super) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Wakes an instance when a thread that works for it ends, even by a panic.
pub(super) struct WakeOnDrop(pub Wake);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}
