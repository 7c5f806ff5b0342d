//! Objects of a checkpoint, as they are written and as they must be before anything in them is trusted: a manifest, a snapshot, parked input.
//! Reading and storing the bytes is for others.
//!
//! What is wrong with an object is told as text that begins with its path.

use super::invariants;
use super::manifest::{Manifest, ObjectRef, OperatorState};
use super::paths;
use crate::cells::Chunk;
use crate::codec::parked::{self, ParkedItem};
use crate::codec::snapshot::{self, SnapshotScope};
use crate::codec::{CodecError, checksum, record};
use crate::ids::Epoch;
use std::borrow::Borrow;

/// The manifest in the bytes at a path, or what is wrong with it. Without `epoch` it may be of any epoch, as that of a savepoint is.
///
/// # Errors
/// [`CodecError::Version`]: its checksum is right, and a newer host wrote it. Going back before it would undo that host's work.
pub fn read_manifest(bytes: &[u8], path: &str, job: &str, epoch: Option<Epoch>) -> Result<Result<Manifest, String>, CodecError> {
    let read = match record::decode::<Manifest>(bytes) {
        Err(error @ CodecError::Version { .. }) => return Err(error),
        read => read.map_err(|error| error.to_string()),
    };
    let checked = read.and_then(|manifest| {
        invariants::check_read(&manifest, job, epoch.unwrap_or(manifest.epoch))?;
        Ok(manifest)
    });
    Ok(checked.map_err(|reason| format!("`{path}`: {reason}")))
}

/// The bytes of an object, where they are there and as many and the same as were written.
///
/// # Errors
/// What is wrong with them.
pub fn sound<'a>(bytes: Option<&'a [u8]>, object: &ObjectRef) -> Result<&'a [u8], String> {
    let path = &object.path;
    let bytes = bytes.ok_or_else(|| format!("`{path}` is missing"))?;
    if bytes.len() as u64 != object.bytes {
        return Err(format!("`{path}` has {} bytes, {} were written", bytes.len(), object.bytes));
    }
    if checksum(bytes) != object.checksum {
        return Err(format!("`{path}` is damaged: its checksum does not fit"));
    }
    Ok(bytes)
}

/// The chunks of a snapshot of an instance of an operator, where its bytes are what the manifest says.
///
/// # Errors
/// What is wrong with it.
pub fn read_snapshot(
    bytes: Option<&[u8]>,
    object: &ObjectRef,
    job: &str,
    (operator, instance): (&OperatorState, u32),
) -> Result<Vec<Chunk>, String> {
    let path = &object.path;
    let (head, chunks) = snapshot::read(sound(bytes, object)?).map_err(|error| format!("`{path}`: {error}"))?;
    if head.job != job || head.operator != operator.name || head.instance.0 != instance || head.scope != object.scope {
        return Err(format!("`{path}` belongs to operator `{}` instance {} of job `{}`", head.operator, head.instance, head.job));
    }
    let slots = operator.slots.len();
    chunks.iter().try_for_each(|chunk| chunk.check_slot(slots)).map_err(|error| format!("`{path}`: {error}"))?;
    Ok(chunks)
}

/// The items of a segment of parked input, where its bytes are what the manifest says.
///
/// # Errors
/// What is wrong with it.
pub fn read_parked(
    bytes: Option<&[u8]>,
    object: &ObjectRef,
    job: &str,
    operator: &str,
) -> Result<(parked::ParkedHead, Vec<ParkedItem>), String> {
    let path = &object.path;
    let (head, items) = parked::read(sound(bytes, object)?).map_err(|error| format!("`{path}`: {error}"))?;
    if head.job != job || head.operator != operator {
        return Err(format!("`{path}` belongs to operator `{}` of job `{}`", head.operator, head.job));
    }
    let entries: u64 = items.iter().map(ParkedItem::entries).sum();
    if entries != object.entries {
        return Err(format!("`{path}` has {entries} entries, {} were written", object.entries));
    }
    Ok((head, items))
}

/// A snapshot of these chunks: what a manifest says of it, and its bytes.
///
/// # Errors
/// Chunks beyond the limits of the format.
pub fn write_snapshot(head: &snapshot::SnapshotHead, chunks: &[impl Borrow<Chunk>]) -> Result<(ObjectRef, Vec<u8>), CodecError> {
    let mut writer = snapshot::Writer::new(head)?;
    chunks.iter().try_for_each(|chunk| writer.chunk(chunk.borrow()))?;
    finish_snapshot(head, writer)
}

/// As [`write_snapshot`], of what was written already.
///
/// # Errors
/// None in practice.
pub fn finish_snapshot(head: &snapshot::SnapshotHead, writer: snapshot::Writer) -> Result<(ObjectRef, Vec<u8>), CodecError> {
    let entries = writer.cells();
    let bytes = writer.finish()?;
    let path = paths::snapshot(&head.operator, head.instance, head.epoch, head.generation, head.scope == SnapshotScope::Full);
    Ok((ObjectRef::new(path, head.scope, &bytes, entries), bytes))
}

/// A segment of parked input, the `number`-th of its instance in the run: what a manifest says of it, and its bytes.
///
/// # Errors
/// Items beyond the limits of the format.
pub fn write_parked(head: &parked::ParkedHead, number: u64, items: &[ParkedItem]) -> Result<(ObjectRef, Vec<u8>), CodecError> {
    let bytes = parked::encode(head, items)?;
    let path = paths::parked(&head.operator, head.instance, head.epoch, head.generation, number);
    let entries = items.iter().map(ParkedItem::entries).sum();
    Ok((ObjectRef::new(path, SnapshotScope::Full, &bytes, entries), bytes))
}
