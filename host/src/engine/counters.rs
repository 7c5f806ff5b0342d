//! Counters of a node, for people to look at. Nothing is decided by them.

use crate::wasm::Usage;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counters of one node, over all of its instances.
#[derive(Debug, Default)]
pub struct NodeCounters {
    /// Rows that came in (for sources: were read).
    pub rows_in: AtomicU64,
    /// Rows that went out.
    pub rows_out: AtomicU64,
    /// Rows that were refused.
    pub rejected: AtomicU64,
    /// Bytes of state in the last full snapshot and the deltas since, summed over instances.
    pub state_bytes: AtomicI64,
    /// Time spent inside calls, nanoseconds. For operators: of the wall, within every call of a guest, snapshots included.
    pub busy_ns: AtomicU64,
    /// Time of a processor within calls of a guest, nanoseconds; none where the system does not tell.
    pub processor_ns: AtomicU64,
    /// Longest pause of an instance at the end of an epoch, turns of others in between included, nanoseconds.
    pub snapshot_ns_max: AtomicU64,
    /// Calls that reached a guest, each piece of an output and each part of a snapshot one of them.
    pub calls: AtomicU64,
    /// Instructions that guests executed, where they are counted.
    pub fuel: AtomicU64,
    /// Calls of the host that guests made.
    pub host_calls: AtomicU64,
    /// Lines that guests logged and that were dropped for a limit.
    pub log_lines_dropped: AtomicU64,
    /// Bytes of rows that went into guests.
    pub bytes_in: AtomicU64,
    /// Bytes of rows that came out of them.
    pub bytes_out: AtomicU64,
    /// The most linear memory that one instance ever had, bytes.
    pub memory_peak_bytes: AtomicU64,
}

impl NodeCounters {
    /// Adds what an instance used.
    pub fn add_usage(&self, used: &Usage) {
        let Usage { calls, busy, processor, fuel, host_calls, log_lines_dropped, bytes_in, bytes_out, memory_peak_bytes } = *used;
        for (counter, more) in [
            (&self.calls, calls),
            (&self.busy_ns, busy.as_nanos() as u64),
            (&self.processor_ns, processor.as_nanos() as u64),
            (&self.fuel, fuel),
            (&self.host_calls, host_calls),
            (&self.log_lines_dropped, log_lines_dropped),
            (&self.bytes_in, bytes_in),
            (&self.bytes_out, bytes_out),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
        self.memory_peak_bytes.fetch_max(memory_peak_bytes, Ordering::Relaxed);
    }
}
