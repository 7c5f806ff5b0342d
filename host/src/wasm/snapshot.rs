//! Reading a snapshot to its end, with a limit on everything that a guest could draw out, and restoring one.

use super::checks::Scope;
use super::fault::GuestError;
use super::instance::{Begin, Instance};
use super::limits::CELL_ENDS_BYTES;
use super::time_budget::TimeBudget;
use reprise_core::cells::{Chunk, Joiner};

/// Parts without a cell that a guest may return in a row, before it counts as one that never ends.
pub const EMPTY_PARTS_MAX: u32 = 16;
/// Parts that a snapshot may have.
pub const PARTS_MAX: u32 = 1 << 20;
/// Bytes of restored cells, 12 for the ends of each among them, after which the chunks that follow have another deadline.
pub const RESTORED_BYTES_PER_DEADLINE: u64 = 256 << 10;

/// The size of a snapshot that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotSize {
    /// Calls that it took.
    pub parts: u32,
    /// Cells, removed ones included.
    pub cells: u64,
    /// Bytes of keys, items and values.
    pub bytes: u64,
}

impl SnapshotSize {
    /// Bytes with those for the ends of cells.
    fn with_ends(&self) -> u64 {
        self.bytes.saturating_add(self.cells.saturating_mul(CELL_ENDS_BYTES))
    }
}

/// A snapshot that is being read. Until it is at its end its instance is called for nothing else.
#[derive(Debug)]
pub struct Reading {
    scope: Scope,
    part_bytes_max: u32,
    pub(super) budget: TimeBudget,
    size: SnapshotSize,
    joiner: Joiner,
    empty_parts: u32,
}

impl Reading {
    /// The cells that are being read.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }
}

impl Instance {
    /// Begins to read a snapshot. All parts have one deadline together, and one more for each `part_bytes_max` bytes that were handed out.
    #[must_use]
    pub fn begin_snapshot(&self, scope: Scope, part_bytes_max: u32) -> Reading {
        let budget = TimeBudget::new(self.limits().deadline, u64::from(part_bytes_max));
        Reading { scope, part_bytes_max, budget, size: SnapshotSize::default(), joiner: Joiner::default(), empty_parts: 0 }
    }

    /// Reads a snapshot to its end and hands its cells to `take`. They come in the order of the guest within a slot, and in any order of
    /// slots. Chunks of a few cells are joined, so that how many there are does not depend on how the guest cut them.
    ///
    /// # Errors
    /// A fault. The instance is dead then, and what `take` was given is not a snapshot.
    pub fn read_snapshot(&mut self, scope: Scope, part_bytes_max: u32, take: &mut dyn FnMut(Chunk)) -> Result<SnapshotSize, GuestError> {
        let mut reading = self.begin_snapshot(scope, part_bytes_max);
        self.read_on(&mut reading, &|| false, take)?;
        Ok(reading.size)
    }

    /// Reads a part or more of a snapshot, see [`Instance::read_snapshot`]. `pauses` is asked after each. True at the end.
    ///
    /// # Errors
    /// As [`Instance::read_snapshot`].
    pub fn read_on(&mut self, reading: &mut Reading, pauses: &dyn Fn() -> bool, take: &mut dyn FnMut(Chunk)) -> Result<bool, GuestError> {
        let bytes_max = self.limits().snapshot_bytes_max;
        let Reading { scope, part_bytes_max, budget, size, joiner, empty_parts } = reading;
        loop {
            let part = self.part(*scope, *part_bytes_max, Begin::Among(budget))?;
            let before = size.with_ends();
            size.parts += 1;
            size.cells += part.chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
            size.bytes += part.chunks.iter().map(|chunk| chunk.size_bytes() as u64).sum::<u64>();
            if size.with_ends() > bytes_max {
                return Err(self.condemn(
                    "snapshot",
                    format!("the snapshot is over the limit of {bytes_max} bytes (`limits.snapshot` of the operator)"),
                ));
            }
            budget.earn(size.with_ends() - before);
            *empty_parts = if part.chunks.is_empty() { *empty_parts + 1 } else { 0 };
            part.chunks.into_iter().filter_map(|chunk| joiner.push(chunk)).for_each(&mut *take);
            if part.done {
                std::mem::take(joiner).finish().for_each(take);
                return Ok(true);
            }
            if *empty_parts > EMPTY_PARTS_MAX {
                return Err(self.condemn("snapshot", format!("the snapshot goes on after {empty_parts} parts without a cell")));
            }
            if size.parts >= PARTS_MAX {
                return Err(self.condemn("snapshot", format!("the snapshot goes on after {PARTS_MAX} parts")));
            }
            if pauses() {
                return Ok(false);
            }
        }
    }

    /// Gives cells of a snapshot to the operator, between `open` and the first other call. `version` is the slot's version in the
    /// description of the component that took the snapshot.
    ///
    /// # Errors
    /// [`Fault::Returned`] where the operator does not understand them; else a fault.
    pub fn restore(&mut self, version: u32, chunk: &Chunk) -> Result<(), GuestError> {
        self.restore_all([(version, chunk)])
    }

    /// Restores as [`Instance::restore`] does, with all chunks of a snapshot in order, each behind its version. They have one deadline together, and one
    /// more for each [`RESTORED_BYTES_PER_DEADLINE`] that were restored.
    ///
    /// # Errors
    /// As [`Instance::restore`], for the first chunk that cannot be restored.
    pub fn restore_all<'a>(&mut self, chunks: impl IntoIterator<Item = (u32, &'a Chunk)>) -> Result<(), GuestError> {
        self.restore_within(&mut TimeBudget::new(self.limits().deadline, RESTORED_BYTES_PER_DEADLINE), chunks)
    }

    pub(super) fn restore_within<'a>(
        &mut self,
        budget: &mut TimeBudget,
        chunks: impl IntoIterator<Item = (u32, &'a Chunk)>,
    ) -> Result<(), GuestError> {
        chunks.into_iter().try_for_each(|(version, chunk)| {
            self.restore_among(version, chunk, budget)?;
            budget.earn(chunk.size_bytes() as u64 + chunk.len() as u64 * CELL_ENDS_BYTES);
            Ok(())
        })
    }
}
