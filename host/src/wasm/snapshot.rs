//! Reading a snapshot to its end, with a limit on everything that a guest could draw out.

use super::fault::GuestError;
use super::instance::{Instance, Scope};
use super::limits::CELL_ENDS_BYTES;
use reprise_core::cells::Chunk;

/// Parts without a cell that a guest may return in a row, before it counts as one that never ends.
pub const EMPTY_PARTS_MAX: u32 = 16;
/// Parts that a snapshot may have.
pub const PARTS_MAX: u32 = 1 << 20;

/// What a snapshot held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotSize {
    /// Calls that it took.
    pub parts: u32,
    /// Cells, removed ones included.
    pub cells: u64,
    /// Bytes of keys, items and values.
    pub bytes: u64,
}

impl Instance {
    /// Reads a snapshot to its end and hands its chunks to `take`, in order.
    ///
    /// # Errors
    /// A fault. The instance is dead then, and what `take` was given is not a snapshot.
    pub fn read_snapshot(&mut self, scope: Scope, part_bytes_max: u32, take: &mut dyn FnMut(Chunk)) -> Result<SnapshotSize, GuestError> {
        let bytes_max = self.limits().snapshot_bytes_max;
        let mut size = SnapshotSize::default();
        let mut empty_parts = 0;
        loop {
            let part = self.snapshot(scope, part_bytes_max)?;
            size.parts += 1;
            empty_parts = if part.chunks.is_empty() { empty_parts + 1 } else { 0 };
            for chunk in part.chunks {
                size.cells += chunk.len() as u64;
                size.bytes += chunk.size_bytes() as u64;
                take(chunk);
            }
            if size.bytes.saturating_add(size.cells.saturating_mul(CELL_ENDS_BYTES)) > bytes_max {
                return Err(self.condemn("snapshot", format!("the snapshot is over the limit of {bytes_max} bytes")));
            }
            if part.done {
                return Ok(size);
            }
            if empty_parts > EMPTY_PARTS_MAX {
                return Err(self.condemn("snapshot", format!("the snapshot goes on after {empty_parts} parts without a cell")));
            }
            if size.parts >= PARTS_MAX {
                return Err(self.condemn("snapshot", format!("the snapshot goes on after {PARTS_MAX} parts")));
            }
        }
    }
}
