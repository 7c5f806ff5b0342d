//! What one instance may use, and the meter that holds it to that.
//!
//! Every number here bounds something that a guest drives: memory, tables, time, the bytes it hands over, the lines it logs.

use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Elements that a table of a component may have. Address space for it is reserved when the runtime starts.
pub const TABLE_ELEMENTS_MAX: usize = 65_536;
/// Core instances that a component may consist of. Components that were linked from libraries (Python's, say) have a few dozen.
pub const CORE_INSTANCES_MAX: u32 = 64;
/// Linear memories that a component may have, those of all its core instances together. Components that were put together from several
/// have one for each, and a few tool chains one more.
pub const MEMORIES_MAX: u32 = 16;
/// Bytes of one cell, key and item and value together, that a snapshot may hold.
pub const CELL_BYTES_MAX: u64 = 64 << 20;
/// Bytes of a rejection's reason, of a log line and of a returned error that are kept; the rest is cut.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Names of counters an instance may have.
pub const COUNTERS_MAX: usize = 64;
/// Bytes of the name of a counter.
pub const COUNTER_NAME_BYTES_MAX: usize = 64;
/// Batches that one piece of a call's output may hold.
pub const OUTPUTS_PER_PIECE_MAX: usize = 4096;
/// Chunks that one part of a snapshot may hold: as many times its slots as anybody needs, and no more than a host can hold at once.
pub const CHUNKS_PER_PART_MAX: usize = 4096;
/// Bytes that a cell counts beside its own, for the ends in its chunk.
pub(super) const CELL_ENDS_BYTES: u64 = 12;
/// Bytes that `describe` may return: the names of a description at their longest take a tenth of it.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 256 << 10;

/// The limits of one instance.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Linear memory. At most [`Settings::memory_bytes_max`](super::Settings).
    pub memory_bytes_max: u64,
    /// Time of one call. It is over once the call has had so much of a processor, or [`WALL_FACTOR`](super::WALL_FACTOR) times as much on the
    /// wall. The call is stopped at a tick after that: up to two ticks later, or later still where the machine is so busy that the ticks come
    /// late. The pieces of an output have it together, and once more for each `output_bytes_max` that were handed out; the parts of a snapshot
    /// likewise, for each full part.
    pub deadline: Duration,
    /// Bytes that `process`, `advance` and `resume` may each return: rows at 16 bytes plus key and value, and the reasons of rejected rows. The
    /// guest is told, and hands out more than that in pieces.
    pub output_bytes_max: u64,
    /// Bytes of all pieces of one call together; a batch counts [`BATCH_BYTES`](super::BATCH_BYTES) more there.
    pub call_output_bytes_max: u64,
    /// Elements of each table. At most [`TABLE_ELEMENTS_MAX`].
    pub table_elements_max: u32,
    /// Core instances that the component may consist of. At most [`CORE_INSTANCES_MAX`].
    pub core_instances_max: u32,
    /// Calls of `log`, `now`, `random` and `count`, and of what WASI has, that one call may make, all pieces of its output included. One more
    /// ends it.
    pub host_calls_per_call_max: u64,
    /// Lines that one call may log; the rest is counted and dropped. At most [`LOG_LINES_MAX`](super::LOG_LINES_MAX).
    pub log_lines_per_call_max: u32,
    /// Lines that an instance may log within a second of the clock that the caller tells; the rest is counted and dropped.
    pub log_lines_per_second_max: u32,
    /// Bytes of one whole snapshot: those of keys, items and values, and 12 bytes a cell.
    pub snapshot_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256 << 20,
            deadline: Duration::from_secs(5),
            output_bytes_max: 64 << 20,
            call_output_bytes_max: 4 << 30,
            table_elements_max: TABLE_ELEMENTS_MAX as u32,
            core_instances_max: CORE_INSTANCES_MAX,
            host_calls_per_call_max: 1_000_000,
            log_lines_per_call_max: 1000,
            log_lines_per_second_max: 1000,
            snapshot_bytes_max: 4 << 30,
        }
    }
}

/// Growth that was asked for and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedGrowth {
    /// Memory: what there would have been, in bytes.
    Memory(u64),
    /// A table: what it would have had, in elements.
    Table(u64),
    /// Memory that the limit allows and the host does not have.
    Host,
}

/// Counts the memory of one instance and refuses what is over the limit.
#[derive(Debug, Default)]
pub(super) struct Meter {
    pub(super) memory_bytes_max: u64,
    pub(super) table_elements_max: usize,
    core_instances_max: usize,
    pub(super) used_bytes: u64,
    pub(super) peak_bytes: u64,
    /// What was used before the last growth, and the peak then.
    before: (u64, u64),
    /// The last refusal since the last [`Meter::begin`].
    pub(super) refused: Option<RefusedGrowth>,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes_max,
            table_elements_max: limits.table_elements_max as usize,
            core_instances_max: limits.core_instances_max as usize,
            ..Self::default()
        }
    }

    /// Forgets refusals of earlier calls, with which the guest evidently lived.
    pub(super) fn begin(&mut self) {
        self.refused = None;
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // Sizes are summed, should a component have more than one memory.
        let asked = self.used_bytes.saturating_sub(current as u64).saturating_add(desired as u64);
        if asked > self.memory_bytes_max || maximum.is_some_and(|maximum| desired > maximum) {
            self.refused = Some(RefusedGrowth::Memory(asked));
            return Ok(false);
        }
        self.before = (self.used_bytes, self.peak_bytes);
        self.used_bytes = asked;
        self.peak_bytes = self.peak_bytes.max(asked);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        // Only a growth that was allowed above comes here.
        (self.used_bytes, self.peak_bytes) = self.before;
        self.refused = Some(RefusedGrowth::Host);
        Ok(())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.table_elements_max && maximum.is_none_or(|maximum| desired <= maximum);
        if !fits {
            self.refused = Some(RefusedGrowth::Table(desired as u64));
        }
        Ok(fits)
    }

    fn instances(&self) -> usize {
        self.core_instances_max
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}

/// A guest's text, cut at a character to `bytes_max`. It may hold anything, and is made plain where it is shown ([`reprise_core::plain`]).
pub(super) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("añb", 3), "añ");
        assert_eq!(cut("a\u{1b}[31m\n", 99), "a\u{1b}[31m\n", "what is stored is what was said");
    }

    #[test]
    fn growth_over_the_limit_is_refused_and_remembered() {
        let mut meter = Meter::new(&Limits { memory_bytes_max: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(!meter.memory_growing(60, 101, None).unwrap());
        assert_eq!((meter.refused, meter.used_bytes, meter.peak_bytes), (Some(RefusedGrowth::Memory(101)), 60, 60));
        meter.begin();
        assert_eq!(meter.refused, None);
        assert!(!meter.memory_growing(60, 90, Some(80)).unwrap(), "the memory's own maximum counts too");
        assert!(!meter.memory_growing(0, 41, None).unwrap(), "a second memory shares the limit");
    }

    #[test]
    fn what_the_host_does_not_have_is_not_counted_as_used_whatever_was_refused_before() {
        let mut meter = Meter::new(&Limits { memory_bytes_max: 100, ..Limits::default() });
        let failed = |meter: &mut Meter| meter.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert!(meter.memory_growing(40, 60, None).unwrap());
        failed(&mut meter);
        assert_eq!((meter.refused, meter.used_bytes, meter.peak_bytes), (Some(RefusedGrowth::Host), 40, 40));
        assert!(!meter.memory_growing(40, 101, None).unwrap());
        assert!(meter.memory_growing(40, 80, None).unwrap());
        failed(&mut meter);
        assert_eq!((meter.refused, meter.used_bytes, meter.peak_bytes), (Some(RefusedGrowth::Host), 40, 40));
    }

    #[test]
    fn tables_have_a_limit() {
        let mut meter = Meter::new(&Limits { table_elements_max: 10, ..Limits::default() });
        assert!(meter.table_growing(0, 10, None).unwrap());
        assert!(!meter.table_growing(10, 11, None).unwrap());
        assert_eq!(meter.refused, Some(RefusedGrowth::Table(11)));
    }
}
