//! What instances use, for people to look at: no limit follows from it.
//!
//! Times are those between the beginning and the end of each call on its thread. That of the wall has in it what others took of the
//! processor meanwhile; that of the processor has not.

use super::deadline::Elapsed;
use super::guest::Guest;
use std::time::{Duration, Instant};
use wasmtime::Store;

/// What an instance used since it was asked the last time. Calls that failed are in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls that reached the guest. Each piece of an output and each part of a snapshot is one.
    pub calls: u64,
    /// Time of the wall inside of them.
    pub busy: Duration,
    /// Time of a processor inside of them; zero where the system does not tell.
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

/// A point on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Began {
    wall: Instant,
    processor: Duration,
}

impl Began {
    pub fn now() -> Self {
        Self { processor: processor_time(), wall: Instant::now() }
    }

    /// The time since then: of the wall, and of the processor that this thread had.
    pub fn elapsed(&self) -> Elapsed {
        Elapsed { wall: self.wall.elapsed(), processor: processor_time().saturating_sub(self.processor) }
    }
}

/// The system tells how much of a processor a thread has had.
pub(super) const IS_PROCESSOR_TIME_KNOWN: bool = cfg!(unix);

/// What this thread has had of a processor so far.
#[cfg(unix)]
fn processor_time() -> Duration {
    let had = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(had.tv_sec).unwrap_or(0), u32::try_from(had.tv_nsec).unwrap_or(0))
}

#[cfg(not(unix))]
fn processor_time() -> Duration {
    Duration::ZERO
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
