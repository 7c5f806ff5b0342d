//! Requests to the host that runs a job, left in its store: for savepoints ([`super::savepoint`]) and for the end of pauses
//! ([`super::resume`]). One list serves all of them.

use crate::store::{Entry, Store, StoreError};
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

/// Where requests are read. It remembers what could not be, so that this neither is read again and again nor keeps others from their turn.
#[derive(Debug, Default)]
pub(super) struct Desk {
    unreadable: BTreeSet<Entry>,
}

impl Desk {
    /// Looks for requests. Objects that are none are passed over, and so are those of kinds that a later version has.
    pub async fn look(&mut self, store: &Store) -> Result<Waiting, StoreError> {
        let mut found = Waiting::default();
        let (mut savepoints, mut resumes) = (Vec::new(), Vec::new());
        let listed: BTreeSet<Entry> = store.list(paths::REQUESTS).await?.into_iter().collect();
        self.unreadable.retain(|entry| listed.contains(entry));
        for entry in listed.into_iter().filter(|entry| !self.unreadable.contains(entry)) {
            match paths::asked(&entry.path) {
                Some(Asked::Savepoint) => savepoints.push(entry),
                Some(Asked::Resume) => resumes.push(entry),
                Some(Asked::NotPaused) => _ = found.answers.insert(entry.path),
                None => _ = store.pass_over(&entry.path, "it is no request of a kind that this version knows"),
            }
        }
        found.savepoints = self.read(store, savepoints, |request: &Request| paths::request(&request.name)).await?;
        found.resumes = self.read(store, resumes, |request: &Resume| paths::resume(&request.operator)).await?;
        Ok(found)
    }

    /// Reads requests, each of which must be of the name that it has.
    async fn read<R: Record>(
        &mut self,
        store: &Store,
        entries: Vec<Entry>,
        name: impl Fn(&R) -> Option<String>,
    ) -> Result<Vec<R>, StoreError> {
        let mut found = Vec::new();
        for entry in entries {
            if found.len() == REQUESTS_MAX {
                break;
            }
            let bytes = match store.get(&entry.path).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                // One that may not be read keeps no other from its answer.
                Err(StoreError::Denied { .. }) => {
                    store.pass_over(&entry.path, "it may not be read");
                    self.unreadable.insert(entry);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match record::decode::<R>(&bytes) {
                Ok(request) if name(&request).as_ref() == Some(&entry.path) => found.push(request),
                _ => {
                    store.pass_over(&entry.path, "it is no request that can be answered; remove it");
                    self.unreadable.insert(entry);
                }
            }
        }
        Ok(found)
    }
}
