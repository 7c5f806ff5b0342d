//! Snapshots of the operator in the real format: cells to chunks to bytes, and back.

use crate::input::{CellName, Cells};
use crate::store::Bytes;
use reprise_core::cells::{Cell, Chunk};
use reprise_core::checkpoint::manifest::ParkedRef;
use reprise_core::checkpoint::manifest::{InstanceState, ObjectRef};
use reprise_core::checkpoint::{self, paths};
use reprise_core::codec::parked::{self, ParkedEdge, ParkedItem};
use reprise_core::codec::snapshot::{self, Head, SnapshotScope};
use reprise_core::codec::{CodecError, checksum};
use reprise_core::description::{Encoding, Slot, SlotKind};
use reprise_core::ids::{Epoch, Generation, Instance};
use reprise_core::topology::Exchange;
use std::borrow::Borrow;

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

/// A snapshot object: its bytes, and what a manifest says of it.
///
/// # Errors
/// A full snapshot that removes cells is written, and refused when it is read.
pub fn encode(
    instance: u32,
    epoch: Epoch,
    generation: Generation,
    scope: SnapshotScope,
    chunks: &[impl Borrow<Chunk>],
) -> Result<(Bytes, ObjectRef), CodecError> {
    let instance = Instance(instance);
    let head = Head { job: JOB.into(), operator: OPERATOR.into(), instance, epoch, generation, scope };
    let mut writer = snapshot::Writer::new(&head)?;
    chunks.iter().try_for_each(|chunk| writer.chunk(chunk.borrow()))?;
    let entries = writer.cells();
    let bytes = writer.finish()?;
    let path = paths::snapshot(OPERATOR, instance, epoch, generation, scope == SnapshotScope::Full);
    let object = ObjectRef { path, scope, bytes: bytes.len() as u64, checksum: checksum(&bytes), entries };
    Ok((bytes.into(), object))
}

/// The chunks of a stored object, where it is what the manifest says.
///
/// # Errors
/// What is wrong with it.
pub fn verify(bytes: Option<&[u8]>, instance: u32, object: &ObjectRef) -> Result<Vec<Chunk>, String> {
    let path = &object.path;
    let bytes = bytes.ok_or_else(|| format!("{path} is missing"))?;
    if bytes.len() as u64 != object.bytes || checksum(bytes) != object.checksum {
        return Err(format!("{path} is damaged"));
    }
    let (head, chunks) = snapshot::read(bytes).map_err(|error| format!("{path}: {error}"))?;
    if head.job != JOB || head.operator != OPERATOR || head.instance.0 != instance || head.scope != object.scope {
        return Err(format!("{path} is another instance's"));
    }
    chunks.iter().try_for_each(|chunk| chunk.check_slot(slots().len())).map_err(|error| format!("{path}: {error}"))?;
    Ok(chunks)
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

/// The cells of a chain, read with `read`.
///
/// # Errors
/// The first object that is not what the manifest says.
pub fn cells_of(state: &InstanceState, instance: u32, mut read: impl FnMut(&str) -> Option<Bytes>) -> Result<Cells, String> {
    let mut cells = Cells::new();
    for object in &state.chain {
        replay(&mut cells, &verify(read(&object.path).as_deref(), instance, object)?);
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

/// A segment of parked input: its bytes, and what a manifest says of it.
///
/// # Errors
/// None in practice: the rows of a simulation are few.
pub fn encode_parked(
    instance: u32,
    epoch: Epoch,
    generation: Generation,
    number: u64,
    items: &[ParkedItem],
) -> Result<(Bytes, ObjectRef), CodecError> {
    let instance = Instance(instance);
    let head = parked::ParkedHead { job: JOB.into(), operator: OPERATOR.into(), instance, epoch, generation, edges: vec![edge()] };
    let bytes = parked::encode(&head, items)?;
    let (path, entries) = (paths::parked(OPERATOR, instance, epoch, generation, number), items.iter().map(ParkedItem::entries).sum());
    let object = ObjectRef { path, scope: SnapshotScope::Full, bytes: bytes.len() as u64, checksum: checksum(&bytes), entries };
    Ok((bytes.into(), object))
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
    let path = &of.object.path;
    let bytes = bytes.ok_or_else(|| format!("{path} is missing"))?;
    if bytes.len() as u64 != of.object.bytes || checksum(bytes) != of.object.checksum {
        return Err(format!("{path} is damaged"));
    }
    let (_, items) = parked::read(bytes).map_err(|error| format!("{path}: {error}"))?;
    Ok(checkpoint::parked::waiting(items, &of.hops, of.done, |_| Exchange::Key))
}
