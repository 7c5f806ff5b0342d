//! Stored manifests, verified. What is wrong with one is told as text, to be read after what it is for. Failures of the store itself are errors.

use super::error::{Error, failed};
use crate::store::Store;
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::{objects, paths};
use reprise_core::ids::Epoch;

/// Reads and checks the manifest of an epoch.
///
/// # Errors
/// [`Error::Store`], and [`Error::Newer`] where a newer host wrote it.
pub(super) async fn read_manifest(store: &Store, job: &str, epoch: Epoch) -> Result<Result<Manifest, String>, Error> {
    let path = paths::manifest(epoch);
    let found = read_manifest_at(store, job, &path, Some(epoch)).await?;
    Ok(found.unwrap_or_else(|| Err(format!("`{path}` is missing"))))
}

/// Reads and checks a manifest at any path; `None` where nothing is there. Without `epoch` it may be of any epoch, as that of a savepoint is.
///
/// # Errors
/// As [`read_manifest`].
pub(super) async fn read_manifest_at(
    store: &Store,
    job: &str,
    path: &str,
    epoch: Option<Epoch>,
) -> Result<Option<Result<Manifest, String>>, Error> {
    let Some(bytes) = store.get(path).await.map_err(failed("read a manifest"))? else { return Ok(None) };
    let read = objects::read_manifest(&bytes, path, job, epoch);
    read.map(Some).map_err(|error| Error::Newer { path: path.to_owned(), error })
}
