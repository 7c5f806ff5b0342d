//! The calls of an instance since its last snapshot: what a replacement has to repeat, and what came of each.
//!
//! A call that is repeated gets the same rows, the same number and the same time. What it returns was sent when it was made, and is dropped;
//! its digest must be that of the first time.

use super::output_digest::OutputDigest;
use crate::batch::Batch;
use crate::failure::pace::Logged;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that an entry counts beside its rows.
pub(super) const ENTRY_BYTES: u64 = 128;

/// What a call is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallInput {
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

impl CallInput {
    /// What the call was working on, for a message.
    #[must_use]
    pub fn describe(&self, inputs: &[String]) -> String {
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

/// A row that the operator refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Index into the batch that was given.
    pub row: u32,
    /// What is wrong with it; at most 4 KiB.
    pub reason: String,
}

/// The outcome of a call, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows by output port, in the order in which the guest returned them; none is empty.
    pub outputs: Vec<(u32, Batch)>,
    /// Rows refused, in the order in which the guest named them; each at most once.
    pub rejected: Vec<Rejection>,
}

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
    use super::*;
    use crate::batch::Row;

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
