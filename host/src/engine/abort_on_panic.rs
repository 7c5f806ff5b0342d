//! Ends a run where one of its threads panics: the other threads would wait for ever.

use super::control::Control;
use super::failure::Failure;

/// Ends the run where the thread that holds it panics. It has the name of the thread.
pub(super) struct AbortOnPanic<'a>(pub &'a Control, pub &'static str);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Failure::Internal(format!("{} gave up; the line above says why", self.1)));
        }
    }
}
