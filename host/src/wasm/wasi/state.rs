//! The state of the virtual WASI of one instance: its handles, the lines that it has begun, and how far its clock has come.

use super::grants::Grants;
use crate::wasm::limits::TEXT_BYTES_MAX;
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

/// Handles that an instance may hold at a time: streams, waits, errors, open files and folders. As many more to what is denied.
pub const HANDLES_MAX: usize = 256;
/// Random bytes that may be asked for at once.
pub const RANDOM_BYTES_MAX: u64 = 1 << 20;
/// Bytes that one read of a file returns.
pub const READ_BYTES_MAX: u64 = 64 << 10;
/// Bytes that one write to standard output or error may have.
pub const WRITE_BYTES_MAX: u64 = 64 << 10;

/// A guest that ended itself, or asked for more than there is.
#[derive(Debug, thiserror::Error)]
pub(in crate::wasm) enum Ended {
    #[error("the guest called `exit` ({})", if *.success { "success" } else { "failure" })]
    Exit { success: bool },
    #[error("the guest called `exit` with code {0}")]
    Code(u8),
    #[error("more than {HANDLES_MAX} handles of WASI are open")]
    Handles,
    #[error("{0} random bytes were asked for at once; at most {RANDOM_BYTES_MAX} are given")]
    Random(u64),
    #[error("{0} bytes were written at once to a stream that takes {max}", max = WRITE_BYTES_MAX)]
    Write(u64),
    #[error("no operator reaches a network")]
    Denied,
    #[error("a wait for nothing would never end")]
    Poll,
}

/// The virtual WASI of one instance.
pub(in crate::wasm) struct Wasi {
    pub(super) table: ResourceTable,
    pub(super) grants: Arc<Grants>,
    pub(super) out: Line,
    pub(super) err: Line,
    /// Entries of folders that are being read.
    pub(super) entries: usize,
    /// Handles to what is denied.
    pub(super) nothings: usize,
    /// The least that the monotonic clock shows next: it never goes back, from one call to the next neither.
    pub(in crate::wasm) next_ns: u64,
}

impl Wasi {
    pub(in crate::wasm) fn new(grants: Arc<Grants>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self { table, grants, out: Line::default(), err: Line::default(), entries: 0, nothings: 0, next_ns: 0 }
    }

    pub(super) fn push<T: Send + 'static>(&mut self, entry: T) -> Result<Resource<T>> {
        self.table.push(entry).map_err(|error| match error {
            ResourceTableError::Full => Ended::Handles.into(),
            other => other.into(),
        })
    }
}

/// The line that was begun on a stream: all since the last line feed.
#[derive(Debug, Default)]
pub(in crate::wasm) struct Line {
    bytes: Vec<u8>,
    pub(super) begun: bool,
}

impl Line {
    /// Adds bytes without a line feed. What is over the length of a log line is dropped.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let room = TEXT_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.begun |= !bytes.is_empty();
    }

    /// The line, and begins the next one.
    pub(super) fn take(&mut self) -> String {
        self.begun = false;
        let text = String::from_utf8_lossy(&self.bytes).trim_end_matches('\r').to_owned();
        self.bytes.clear();
        text
    }
}
