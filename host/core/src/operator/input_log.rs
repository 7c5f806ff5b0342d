//! The calls of an instance since its last snapshot: what a replacement has to repeat, and what came of each.
//!
//! A call that is repeated gets the same rows, the same number and the same time. What it returns was sent when it was made, and is dropped;
//! its digest must be that of the first time.

use super::call::CallInput;
use super::output_digest::OutputDigest;
use crate::failure::pace::Logged;
use std::sync::Arc;
use std::time::Duration;

/// A call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedCall<Call> {
    /// What it was given.
    pub input: CallInput,
    /// Its number and time.
    pub call: Call,
    /// Digests of what it returned.
    pub returned: OutputDigest,
}

/// The calls of an instance since its last snapshot.
#[derive(Debug)]
pub(super) struct InputLog<Call> {
    entries: Vec<Arc<LoggedCall<Call>>>,
    logged: Logged,
}

impl<Call> Default for InputLog<Call> {
    fn default() -> Self {
        Self { entries: Vec::new(), logged: Logged::default() }
    }
}

impl<Call> InputLog<Call> {
    /// Adds a call that took so long.
    pub fn push(&mut self, entry: LoggedCall<Call>, busy: Duration) {
        self.logged.bytes += entry.input.bytes() + entry.returned.size_bytes();
        self.logged.busy += busy;
        self.entries.push(Arc::new(entry));
    }

    /// Forgets all calls: a snapshot holds what they did.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.logged = Logged::default();
    }

    pub fn entries(&self) -> &[Arc<LoggedCall<Call>>] {
        &self.entries
    }

    pub fn logged(&self) -> Logged {
        self.logged
    }
}

#[cfg(test)]
mod tests {
    use super::super::call::{ENTRY_BYTES, Outcome};
    use super::*;
    use crate::batch::{Batch, Row};

    #[test]
    fn a_log_knows_its_size_and_forgets() {
        let mut log = InputLog::default();
        let returned = OutputDigest::of(&Outcome::default());
        let digests = returned.size_bytes();
        let entry = |input| LoggedCall { input, call: 7, returned: returned.clone() };
        log.push(entry(CallInput::Watermark(5)), Duration::from_millis(2));
        let mut rows = Batch::new();
        rows.push(Row { time: 1, key: b"a", value: b"bc" }).unwrap();
        log.push(entry(CallInput::Rows { input: 0, rows }), Duration::from_millis(3));
        assert!(digests > 0);
        assert_eq!(log.logged(), Logged { bytes: 2 * (ENTRY_BYTES + digests) + 19, busy: Duration::from_millis(5) });
        log.clear();
        assert_eq!((log.logged(), log.entries().len()), (Logged::default(), 0));
    }
}
