//! Snapshots of the operator in the real format: cells to chunks to bytes, and back.

use crate::input::{CellName, Cells};
use crate::store::Bytes;
use reprise_core::cells::{Cell, Chunk};
use reprise_core::checkpoint;
use reprise_core::checkpoint::manifest::{InstanceState, OperatorState, ParkedRef};
use reprise_core::checkpoint::objects::{read_parked, read_snapshot};
use reprise_core::codec::parked::{self, ParkedEdge, ParkedItem};
use reprise_core::codec::snapshot::{SnapshotHead, SnapshotScope};
use reprise_core::description::{Encoding, Slot, SlotKind};
use reprise_core::ids::{Epoch, Generation, Instance};
use reprise_core::topology::Exchange;

/// Name of the job.
pub const JOB: &str = "simulated";
/// Name of the operator.
pub const OPERATOR: &str = "count";
/// Name of the source.
pub const SOURCE: &str = "records";
/// Name of the sink.
pub const SINK: &str = "out";

/// The slots of the operator.
#[must_use]
pub fn slots() -> Vec<Slot> {
    let slot = |name: &str| Slot { name: name.to_owned(), kind: SlotKind::Keyed, version: 1, encoding: Encoding::Bytes };
    vec![slot("counts"), slot("last"), slot("marks")]
}

/// The chunks of these cells; one without a value was removed.
#[must_use]
pub fn chunks<'a>(cells: &Cells, names: impl Iterator<Item = &'a CellName>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for name in names {
        let (slot, key, item) = name;
        if chunks.last().is_none_or(|chunk| chunk.slot() != *slot) {
            chunks.push(Chunk::new(*slot));
        }
        let cell = Cell { key, item, value: cells.get(name).map(Vec::as_slice) };
        chunks.last_mut().expect("one was pushed").push(cell).expect("the cells of a simulation are few");
    }
    chunks
}

/// The head of a snapshot of an instance.
#[must_use]
pub fn head(instance: u32, epoch: Epoch, generation: Generation, scope: SnapshotScope) -> SnapshotHead {
    SnapshotHead { job: JOB.into(), operator: OPERATOR.into(), instance: Instance(instance), epoch, generation, scope }
}

/// Puts chunks, oldest first, into cells.
pub fn replay(cells: &mut Cells, chunks: &[Chunk]) {
    for chunk in chunks {
        for cell in chunk.cells() {
            let name = (chunk.slot(), cell.key.to_vec(), cell.item.to_vec());
            match cell.value {
                Some(value) => drop(cells.insert(name, value.to_vec())),
                None => drop(cells.remove(&name)),
            }
        }
    }
}

/// The cells that chunks, oldest first, come to.
#[must_use]
pub fn cells(chunks: &[Chunk]) -> Cells {
    let mut cells = Cells::new();
    replay(&mut cells, chunks);
    cells
}

/// The cells of a chain, read with `read`.
///
/// # Errors
/// The first object that is not what the manifest says.
pub fn cells_of(
    operator: &OperatorState,
    (state, instance): (&InstanceState, u32),
    mut read: impl FnMut(&str) -> Option<Bytes>,
) -> Result<Cells, String> {
    let mut cells = Cells::new();
    for object in &state.chain {
        replay(&mut cells, &read_snapshot(read(&object.path).as_deref(), object, JOB, (operator, instance))?);
    }
    Ok(cells)
}

/// What an instance of the operator begins with.
#[derive(Debug)]
pub struct Restored {
    /// The cells.
    pub cells: Cells,
    /// Deltas may follow; else the next snapshot must be full.
    pub continues: bool,
    /// The watermark that it had been told.
    pub watermark: i64,
    /// Input that waits, by the number that its segment has in the run.
    pub parked: Vec<ParkedRef>,
}

/// The head of a segment of parked input of an instance.
#[must_use]
pub fn parked_head(instance: u32, epoch: Epoch, generation: Generation) -> parked::ParkedHead {
    parked::ParkedHead { job: JOB.into(), operator: OPERATOR.into(), instance: Instance(instance), epoch, generation, edges: vec![edge()] }
}

/// The edge on which the operator gets its rows.
#[must_use]
pub fn edge() -> ParkedEdge {
    ParkedEdge { from: SOURCE.into(), port: 0, input: "records".into() }
}

/// What of a stored segment waits, where it is what the manifest says.
///
/// # Errors
/// What is wrong with it.
pub fn waiting(bytes: Option<&[u8]>, of: &ParkedRef) -> Result<Vec<ParkedItem>, String> {
    let (_, items) = read_parked(bytes, &of.object, JOB, OPERATOR)?;
    Ok(checkpoint::parked::waiting(items, &of.hops, of.done, |_| Exchange::Key))
}
