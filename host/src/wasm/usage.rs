//! What instances use, for people to look at: no limit follows from it.
//!
//! Times are those between the beginning and the end of each call on its thread. That of the wall has in it what others took of the
//! processor meanwhile; that of the processor has not.

use std::time::Duration;

/// The resources that an instance used since it was asked the last time. Calls that failed are in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls that reached the guest. Each piece of an output and each part of a snapshot is one.
    pub calls: u64,
    /// Time of the wall inside of them.
    pub busy: Duration,
    /// Time of a processor inside of them.
    pub processor: Duration,
    /// Instructions that the guest executed; 0 unless its runtime counts them ([`Settings::fuel`](super::Settings)). The same calls of the
    /// same component execute the same number on every machine.
    pub fuel: u64,
    /// Calls of `log`, `now`, `random` and `count`, and of what WASI has.
    pub host_calls: u64,
    /// Lines that were logged and dropped for a limit.
    pub log_lines_dropped: u64,
    /// Bytes of rows that went in: 16 a row, its key and its value.
    pub bytes_in: u64,
    /// Bytes of rows that came out, likewise.
    pub bytes_out: u64,
    /// The most linear memory that the instance ever had, in bytes.
    pub memory_peak_bytes: u64,
}
