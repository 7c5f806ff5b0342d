//! Rows on which an operator failed again and again, in a frame of their own beside [`Quarantine`](super::manifest::Quarantine): same folder,
//! same names, same place in the manifest. Readers tell the two by the kind of the frame.
//!
//! Everything in such a row but its columns came from a guest or was made of what it said, so [`FaultedRows::check`] holds every count and
//! length to a limit, on both sides: a writer cuts to them, a reader refuses more.

use super::manifest::QuarantinedRow;
use crate::codec::frame::FrameKind;
use crate::codec::record::Record;
use crate::ids::{Digest, Epoch, Instance};
use bincode::{Decode, Encode};

/// Rows in one object.
pub const ROWS_MAX: usize = 65_536;
/// Bytes of [`FaultedRow::call`] and of [`FaultedRow::kind`].
pub const WORD_BYTES_MAX: usize = 32;
/// Entries of [`FaultedRow::backtrace`] and of [`FaultedRow::log_tail`].
pub const LINES_MAX: usize = 256;
/// Bytes of one such entry.
pub const LINE_BYTES_MAX: usize = 8192;
/// Bytes of [`FaultedRow::capsule`].
pub const CAPSULE_BYTES_MAX: usize = 1024;

/// Rows on which one instance of an operator failed in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FaultedRows {
    /// The operator.
    pub node: String,
    /// Index of the instance.
    pub instance: Instance,
    /// The epoch.
    pub epoch: Epoch,
    /// Digest of the component that failed.
    pub component: Digest,
    /// Line of the operator in the topology file, from 1; 0 where it is not known.
    pub line: u32,
    /// The rows; at most [`ROWS_MAX`].
    pub rows: Vec<FaultedRow>,
}

impl Record for FaultedRows {
    const KIND: FrameKind = FrameKind::Fault;
}

/// A row on which a call failed, with all that is needed to send it again and to find the cause.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FaultedRow {
    /// The row. Its reason is the message of the fault.
    pub row: QuarantinedRow,
    /// The call that failed: `process`.
    pub call: String,
    /// `trap`, `deadline`, `memory`, `table`, `stack`, `host-calls`, `returned`, `lie` or `instance`.
    pub kind: String,
    /// Names of the guest's functions at the fault, innermost first.
    pub backtrace: Vec<String>,
    /// The last lines that the instance logged, oldest first.
    pub log_tail: Vec<String>,
    /// The capsule that reproduces the fault: name of the object below the job's folder.
    pub capsule: Option<String>,
}

impl FaultedRows {
    /// Checks what decoding cannot: every count and length.
    ///
    /// # Errors
    /// What is too long, for people.
    pub fn check(&self) -> Result<(), String> {
        within("rows", self.rows.len(), ROWS_MAX)?;
        self.rows.iter().try_for_each(FaultedRow::check)
    }
}

impl FaultedRow {
    fn check(&self) -> Result<(), String> {
        within("bytes of a call's name", self.call.len(), WORD_BYTES_MAX)?;
        within("bytes of a kind", self.kind.len(), WORD_BYTES_MAX)?;
        for lines in [&self.backtrace, &self.log_tail] {
            within("lines", lines.len(), LINES_MAX)?;
            lines.iter().try_for_each(|line| within("bytes of a line", line.len(), LINE_BYTES_MAX))?;
        }
        within("bytes of a capsule's name", self.capsule.as_ref().map_or(0, String::len), CAPSULE_BYTES_MAX)
    }
}

fn within(what: &str, found: usize, max: usize) -> Result<(), String> {
    if found <= max { Ok(()) } else { Err(format!("{found} {what}; at most {max} are allowed")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(change: impl FnOnce(&mut FaultedRow)) -> FaultedRows {
        let row = QuarantinedRow { input: 0, origin: String::new(), time: 0, key: vec![], value: vec![], reason: "trapped".into() };
        let texts = |length| vec!["x".repeat(LINE_BYTES_MAX); length];
        let mut faulted = FaultedRow {
            row,
            call: "c".repeat(WORD_BYTES_MAX),
            kind: "k".repeat(WORD_BYTES_MAX),
            backtrace: texts(LINES_MAX),
            log_tail: texts(LINES_MAX),
            capsule: Some("p".repeat(CAPSULE_BYTES_MAX)),
        };
        change(&mut faulted);
        FaultedRows { node: "n".into(), instance: Instance(0), epoch: Epoch(1), component: Digest([0; 32]), line: 0, rows: vec![faulted] }
    }

    #[test]
    fn what_is_at_its_limit_is_allowed_and_what_is_over_it_is_named() {
        assert_eq!(rows(|_| {}).check(), Ok(()));
        type Change = fn(&mut FaultedRow);
        let over: [(Change, &str); 5] = [
            (|row| row.call.push('c'), "33 bytes of a call's name"),
            (|row| row.kind.push('k'), "33 bytes of a kind"),
            (|row| row.backtrace.push(String::new()), "257 lines"),
            (|row| row.log_tail[7].push('x'), "8193 bytes of a line"),
            (|row| row.capsule = Some("p".repeat(1025)), "1025 bytes of a capsule's name"),
        ];
        for (change, expected) in over {
            let error = rows(change).check().unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
