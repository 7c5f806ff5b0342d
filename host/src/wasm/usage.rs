//! What instances use, for people to look at: no limit follows from it.
//!
//! Time is that of the wall, between the beginning and the end of each call on its worker's thread: what other processes took of it
//! meanwhile is in it.

use super::guest::Guest;
use std::time::Duration;
use wasmtime::Store;

/// What an instance used since it was asked the last time. Calls that failed are in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls that reached the guest. Each piece of an output and each part of a snapshot is one.
    pub calls: u64,
    /// Time inside of them.
    pub busy: Duration,
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

/// What a store is filled with before each call, where instructions are counted. No call comes near it.
const FUEL: u64 = u64::MAX;

/// Lets a guest run, where its instructions are counted.
pub(super) fn fill(store: &mut Store<Guest>, counts_fuel: bool) {
    if counts_fuel {
        // It fails only where the engine does not count.
        let _ = store.set_fuel(FUEL);
    }
}

/// Instructions since [`fill`].
pub(super) fn burnt(store: &Store<Guest>, counts_fuel: bool) -> u64 {
    if counts_fuel { FUEL - store.get_fuel().unwrap_or(FUEL) } else { 0 }
}
