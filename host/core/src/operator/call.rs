//! What a call of a guest is given, and what comes of it.

use crate::batch::Batch;

/// Bytes that a call counts beside its rows.
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

    /// Bytes that the host holds to repeat the call.
    pub(super) fn bytes(&self) -> u64 {
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
