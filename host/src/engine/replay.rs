//! The calls of an instance since its last snapshot: what its successor has to repeat, and what came of each.
//!
//! A call that is repeated gets the same rows, the same number and the same time. What it returns was sent when it was made, and is dropped;
//! it must be what [`super::returned`] noted the first time.

use super::returned::Returned;
use crate::wasm::{Call, GuestError, Instance, Outcome};
use reprise_core::batch::Batch;
use reprise_core::failure::pace::Logged;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that an entry counts beside its rows.
pub(super) const ENTRY_BYTES: u64 = 128;

/// What a call is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Rows of one of the operator's inputs.
    Rows {
        /// Its index.
        input: u32,
        /// The rows.
        rows: Batch,
    },
    /// A watermark.
    Watermark(i64),
}

impl Input {
    /// Makes the call.
    pub(super) fn make(&self, instance: &mut Instance, call: Call) -> Result<Outcome, GuestError> {
        match self {
            Self::Rows { input, rows } => instance.process(*input, rows, call),
            Self::Watermark(watermark) => instance.advance(*watermark, call).map(|outputs| Outcome { outputs, rejected: Vec::new() }),
        }
    }

    /// What the call was working on, for a message.
    pub(super) fn describe(&self, inputs: &[String]) -> String {
        match self {
            Self::Rows { input, rows } => {
                let name = inputs.get(*input as usize).map_or("?", String::as_str);
                let times = rows.times();
                let span = match (times.iter().min(), times.iter().max()) {
                    (Some(first), Some(last)) if *last != 0 => format!(", event times {first} to {last} ms"),
                    _ => String::new(),
                };
                let count = rows.len();
                format!("input `{name}`, {count} row{}{span}", if count == 1 { "" } else { "s" })
            }
            Self::Watermark(watermark) => format!("watermark {watermark}"),
        }
    }

    fn bytes(&self) -> u64 {
        ENTRY_BYTES + if let Self::Rows { rows, .. } = self { rows.size_bytes() as u64 } else { 0 }
    }
}

/// A call that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it was given.
    pub input: Input,
    /// Its number and time.
    pub call: Call,
    /// Digests of what it returned.
    pub returned: Returned,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct InputLog {
    entries: Vec<Arc<Entry>>,
    logged: Logged,
}

impl InputLog {
    /// Adds a call that took so long.
    pub fn push(&mut self, entry: Entry, busy: Duration) {
        self.logged.bytes += entry.input.bytes() + entry.returned.size_bytes();
        self.logged.busy += busy;
        self.entries.push(Arc::new(entry));
    }

    /// Forgets all calls: a snapshot holds what they did.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.logged = Logged::default();
    }

    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    pub fn logged(&self) -> Logged {
        self.logged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::batch::Row;

    #[test]
    fn a_log_knows_its_size_and_forgets() {
        let mut log = InputLog::default();
        let returned = Returned::of(&Outcome::default());
        let digests = returned.size_bytes();
        let entry = |input| Entry { input, call: Call::default(), returned: returned.clone() };
        log.push(entry(Input::Watermark(5)), Duration::from_millis(2));
        let mut rows = Batch::new();
        rows.push(Row { time: 1, key: b"a", value: b"bc" }).unwrap();
        log.push(entry(Input::Rows { input: 0, rows }), Duration::from_millis(3));
        assert!(digests > 0);
        assert_eq!(log.logged(), Logged { bytes: 2 * (ENTRY_BYTES + digests) + 19, busy: Duration::from_millis(5) });
        log.clear();
        assert_eq!((log.logged(), log.entries().len()), (Logged::default(), 0));
    }
}
