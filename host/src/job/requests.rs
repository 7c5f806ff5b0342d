//! Requests to the host that runs a job, left in its store: for savepoints ([`super::savepoint`]) and for the end of pauses
//! ([`super::resume`]). One list serves all of them.

use crate::store::{Store, StoreError};
use reprise_core::checkpoint::manifest::{Request, Resume};
use reprise_core::checkpoint::paths::{self, Asked};
use reprise_core::codec::record::{self, Record};
use std::collections::BTreeSet;

/// Requests of one kind that are looked at in one go. The others wait for a later look.
const REQUESTS_MAX: usize = 64;

/// What waits to be answered, and what was.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Requests for savepoints.
    pub savepoints: Vec<Request>,
    /// Requests to end pauses.
    pub resumes: Vec<Resume>,
    /// Paths of answers that nobody has taken away.
    pub answers: BTreeSet<String>,
}

/// Looks for requests. Objects that are none are passed over, and so are those of kinds that a later version has.
pub(super) async fn look(store: &Store) -> Result<Waiting, StoreError> {
    let mut found = Waiting::default();
    let (mut savepoints, mut resumes) = (Vec::new(), Vec::new());
    for path in store.list(paths::REQUESTS).await?.into_iter().map(|entry| entry.path) {
        match paths::asked(&path) {
            Some(Asked::Savepoint) => savepoints.push(path),
            Some(Asked::Resume) => resumes.push(path),
            Some(Asked::NotPaused) => _ = found.answers.insert(path),
            None => tracing::debug!(path, "this is no request of a kind that this version knows"),
        }
    }
    found.savepoints = read(store, savepoints, |request: &Request| paths::request(&request.name)).await?;
    found.resumes = read(store, resumes, |request: &Resume| paths::resume(&request.operator)).await?;
    Ok(found)
}

/// Reads requests, each of which must be of the name that it has.
async fn read<R: Record>(store: &Store, paths: Vec<String>, name: impl Fn(&R) -> Option<String>) -> Result<Vec<R>, StoreError> {
    let mut found = Vec::new();
    for path in paths.into_iter().take(REQUESTS_MAX) {
        let Some(bytes) = store.get(&path).await? else { continue };
        match record::decode::<R>(&bytes) {
            Ok(request) if name(&request).as_ref() == Some(&path) => found.push(request),
            _ => tracing::warn!(path, "this is no request that can be answered; remove it"),
        }
    }
    Ok(found)
}
