//! Savepoints: requests to the host that runs a job, left in its store, and their answers.
//!
//! ```text
//! asker: create requests/NAME.savepoint ──> host: checkpoint of everything up to now ──> savepoints/NAME.manifest ──> request removed
//! ```
//! The store is the only thing that asker and host need to share. A request outlives a host that dies; the next run answers it.

use super::error::{Error, failed};
use crate::clock::Clock;
use crate::store::{Created, Creation, Store};
use bytes::Bytes;
use reprise_core::checkpoint::invariants;
use reprise_core::checkpoint::manifest::{Manifest, Request};
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use std::time::Duration;

/// Time between two looks for the answer.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Asks the host that runs the job for a savepoint, and waits for it.
///
/// # Errors
/// [`Error::Savepoint`] where the name is not allowed or taken, or no host answered in time: the request is taken back then.
pub async fn ask(store: &Store, request: &Request, wait: Duration) -> Result<(), Error> {
    let name = &request.name;
    let refused = |what: &str, help: &str| Error::Savepoint { name: name.clone(), what: what.into(), help: help.into() };
    let illegal = || refused("is no name for a savepoint", "use 1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`");
    let (path, saved) = (paths::request(name).ok_or_else(illegal)?, paths::savepoint(name).ok_or_else(illegal)?);
    let taken = || refused("exists already", "choose another name, or remove it with `--drop`");
    if store.get(&saved).await.map_err(failed("look for the savepoint"))?.is_some() {
        return Err(taken());
    }
    let bytes = record::encode(request).map_err(|error| Error::Internal(format!("a request: {error}")))?;
    if store.create(&path, Bytes::from(bytes)).await.map_err(failed("leave a request"))? == Created::Exists {
        return Err(refused("is asked for already", "wait for the answer to the other request"));
    }
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        if store.get(&saved).await.map_err(failed("look for the savepoint"))?.is_some() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            store.delete(&path).await.map_err(failed("take the request back"))?;
            return Err(refused(
                "was not made in time: no host answered",
                "is the job running? `--offline` makes it where none does, and `--wait` waits longer",
            ));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Keeps a checkpoint, whose output is published, as a savepoint.
pub(super) async fn keep(store: &Store, name: &str, manifest: &Manifest, clock: &Clock) -> Result<(), Error> {
    let refused = |what: &str| Error::Savepoint { name: name.to_owned(), what: what.into(), help: "choose another name".into() };
    let path = paths::savepoint(name).ok_or_else(|| refused("is no name for a savepoint"))?;
    let mut manifest = Manifest { written_ms: clock.now_ms(), ..manifest.clone() };
    manifest.sinks.iter_mut().for_each(|sink| sink.staged.clear());
    invariants::check(&manifest, None).map_err(|broken| Error::Internal(broken.to_string()))?;
    let bytes = record::encode(&manifest).map_err(|error| Error::Internal(format!("a savepoint: {error}")))?;
    match store.create_as(&path, Bytes::from(bytes), Creation::WHOLE).await.map_err(failed("store a savepoint"))? {
        Created::New => Ok(()),
        Created::Exists => Err(refused("exists already")),
    }
}

/// Removes a savepoint. The objects that only it needs go with the next sweep of a run.
///
/// # Errors
/// [`Error::Savepoint`] where there is none of that name.
pub async fn remove(store: &Store, name: &str) -> Result<(), Error> {
    let refused = |what: &str| {
        let help = "`reprise checkpoint list` shows which there are".into();
        Error::Savepoint { name: name.to_owned(), what: what.into(), help }
    };
    let path = paths::savepoint(name).ok_or_else(|| refused("is no name for a savepoint"))?;
    if store.get(&path).await.map_err(failed("look for the savepoint"))?.is_none() {
        return Err(refused("does not exist"));
    }
    store.delete(&path).await.map_err(failed("remove the savepoint"))
}
