//! Stored objects, verified: a manifest, a snapshot and parked input as they must be before anything in them is trusted.
//!
//! What is wrong with an object is told as text, to be read after what it is for. Failures of the store itself are errors.

use super::error::Error;
use crate::store::Store;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::invariants;
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, OperatorState};
use reprise_core::checkpoint::paths;
use reprise_core::codec::parked::{self, ParkedItem};
use reprise_core::codec::{CodecError, checksum, record, snapshot};
use reprise_core::ids::Epoch;

/// Reads and checks the manifest of an epoch.
///
/// # Errors
/// [`Error::Store`], and [`Error::Newer`] where a newer host wrote it.
pub(super) async fn read_manifest(objects: &Store, job: &str, epoch: Epoch) -> Result<Result<Manifest, String>, Error> {
    let path = paths::manifest(epoch);
    let found = read_manifest_at(objects, job, &path, Some(epoch)).await?;
    Ok(found.unwrap_or_else(|| Err(format!("`{path}` is missing"))))
}

/// Reads and checks a manifest at any path; `None` where nothing is there. Without `epoch` it may be of any epoch, as that of a savepoint is.
///
/// # Errors
/// As [`read_manifest`].
pub(super) async fn read_manifest_at(
    objects: &Store,
    job: &str,
    path: &str,
    epoch: Option<Epoch>,
) -> Result<Option<Result<Manifest, String>>, Error> {
    let read = objects.get(path).await.map_err(|error| Error::Store { doing: "read a manifest", error })?;
    let Some(bytes) = read else { return Ok(None) };
    let decoded = record::decode::<Manifest>(&bytes);
    if let Err(error @ CodecError::Version { .. }) = decoded {
        // Its checksum is right: a newer host wrote it, and going back before it would undo that host's work.
        return Err(Error::Newer { path: path.to_owned(), error });
    }
    let manifest = decoded.map_err(|error| format!("`{path}`: {error}"));
    Ok(Some(manifest.and_then(|manifest| match invariants::check_read(&manifest, job, epoch.unwrap_or(manifest.epoch)) {
        Ok(()) => Ok(manifest),
        Err(reason) => Err(format!("`{path}`: {reason}")),
    })))
}

/// The bytes of an object, where they are those that were written.
fn whole<'a>(bytes: Option<&'a [u8]>, object: &ObjectRef) -> Result<&'a [u8], String> {
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

/// The chunks of a snapshot, where its bytes are what the manifest says.
pub(super) fn verify(
    bytes: Option<&[u8]>,
    job: &str,
    operator: &OperatorState,
    instance: u32,
    object: &ObjectRef,
) -> Result<Vec<Chunk>, String> {
    let (path, bytes) = (&object.path, whole(bytes, object)?);
    let (head, chunks) = snapshot::read(bytes).map_err(|error| format!("`{path}`: {error}"))?;
    if head.job != job || head.operator != operator.name || head.instance.0 != instance || head.scope != object.scope {
        return Err(format!("`{path}` belongs to operator `{}` instance {} of job `{}`", head.operator, head.instance, head.job));
    }
    let slots = operator.slots.len();
    chunks.iter().try_for_each(|chunk| chunk.check_slot(slots)).map_err(|error| format!("`{path}`: {error}"))?;
    Ok(chunks)
}

/// The items of an object of parked input, where its bytes are what the manifest says.
pub(super) fn verify_parked(
    bytes: Option<&[u8]>,
    job: &str,
    operator: &str,
    object: &ObjectRef,
) -> Result<(parked::ParkedHead, Vec<ParkedItem>), String> {
    let (path, bytes) = (&object.path, whole(bytes, object)?);
    let (head, items) = parked::read(bytes).map_err(|error| format!("`{path}`: {error}"))?;
    if head.job != job || head.operator != operator {
        return Err(format!("`{path}` belongs to operator `{}` of job `{}`", head.operator, head.job));
    }
    let entries: u64 = items.iter().map(ParkedItem::entries).sum();
    if entries != object.entries {
        return Err(format!("`{path}` has {entries} entries, {} were written", object.entries));
    }
    Ok((head, items))
}
