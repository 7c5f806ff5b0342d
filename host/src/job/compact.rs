//! Compacts a snapshot chain: reads its objects back, folds their cells, and stores one full snapshot. Off the worker threads; as many
//! chains at a time as have [`TURNS`] MiB together, and a larger one alone, so that the memory for it is bounded. Sixteen at most. They wait
//! for the store side by side, and compute one after the other: processors are for the operators.

use super::blocking::blocking;
use super::error::Error;
use super::objects::verify;
use super::opening::failed;
use super::patience::Patience;
use crate::store::{Created, Creation, Store};
use bytes::Bytes;
use reprise_core::checkpoint::chain;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::checkpoint::fenced_committer::FencedEvent;
use reprise_core::checkpoint::manifest::{ObjectRef, OperatorState};
use reprise_core::checkpoint::paths;
use reprise_core::codec::{checksum, snapshot};
use reprise_core::ids::{Epoch, Generation, Instance};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// MiB of the chains that are compacted at the same time, unless a single one has more.
pub(super) const TURNS: u32 = 256;
/// What a small chain counts as, in MiB.
const LEAST_TURNS: u32 = 16;

/// What a compaction needs to know.
pub(super) struct Compaction {
    pub store: Store,
    pub patience: Arc<Patience>,
    pub job: String,
    pub generation: Generation,
    /// Has [`TURNS`] permits, one for each MiB.
    pub turns: Arc<Semaphore>,
    /// Has one permit: the right to compute.
    pub computes: Arc<Semaphore>,
    /// Name and slots of the operator; its instances do not matter.
    pub operator: OperatorState,
    pub at: Participant,
    pub epoch: Epoch,
    pub chain: Vec<ObjectRef>,
}

/// Where the full snapshot of a compaction goes.
pub(super) fn path(operator: &str, at: Participant, epoch: Epoch, generation: Generation) -> String {
    paths::snapshot(operator, Instance(at.instance), epoch, generation, true)
}

/// The permits for a chain.
fn turns(chain: &[ObjectRef]) -> u32 {
    let bytes = chain.iter().fold(0u64, |sum, object| sum.saturating_add(object.bytes));
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(TURNS).clamp(LEAST_TURNS, TURNS)
}

impl Compaction {
    /// Computes something while no other compaction does.
    async fn alone<T: Send + 'static>(&self, compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        // The semaphore is never closed.
        let _computes = self.computes.acquire().await;
        blocking(compute).await
    }

    /// Does it. An error ends the run: the store is out for too long, or the run was given up.
    pub async fn run(self) -> Result<FencedEvent, Error> {
        let at = self.at;
        // The semaphore is never closed.
        let _turns = self.turns.acquire_many(turns(&self.chain)).await;
        let mut chunks = Vec::new();
        for object in &self.chain {
            let bytes = self.patience.insist("read a snapshot", || self.store.get(&object.path)).await?;
            let (job, operator, link) = (self.job.clone(), self.operator.clone(), object.clone());
            let read = self.alone(move || verify(bytes.as_deref(), &job, &operator, at.instance, &link)).await?;
            match read {
                Ok(read) => chunks.extend(read),
                Err(reason) => {
                    tracing::warn!(
                        operator = self.operator.name,
                        instance = at.instance,
                        reason,
                        "a snapshot is damaged; a new full one is made"
                    );
                    return Ok(FencedEvent::NotCompacted { at, damaged: true });
                }
            }
        }
        let head = snapshot::Head {
            job: self.job.clone(),
            operator: self.operator.name.clone(),
            instance: Instance(at.instance),
            epoch: self.epoch,
            generation: self.generation,
            scope: snapshot::Scope::Full,
        };
        let folded = self.alone(move || {
            let mut writer = snapshot::Writer::new(&head).map_err(|error| error.to_string())?;
            for chunk in chain::fold(&chunks).map_err(|error| error.to_string())? {
                writer.chunk(&chunk).map_err(|error| error.to_string())?;
            }
            let entries = writer.cells();
            Ok::<_, String>((writer.finish().map_err(|error| error.to_string())?, entries))
        });
        let (bytes, entries) = folded.await?.map_err(|error| Error::Internal(format!("a compaction: {error}")))?;
        let path = path(&self.operator.name, at, self.epoch, self.generation);
        let object = ObjectRef { scope: snapshot::Scope::Full, bytes: bytes.len() as u64, checksum: checksum(&bytes), entries, path };
        put(&self.store, &self.patience, &object.path, bytes, false).await?;
        let last = self.chain.last().map(|link| link.path.clone()).unwrap_or_default();
        Ok(FencedEvent::Compacted { at, last, object })
    }
}

/// Creates an object whose name is ours alone, however long it takes. False where another one is there.
pub(super) async fn create(store: &Store, patience: &Patience, path: &str, bytes: Vec<u8>, whole: bool) -> Result<bool, Error> {
    let bytes = Bytes::from(bytes);
    let mut again = false;
    let created = patience
        .insist("store an object", || {
            let how = Creation { again: std::mem::replace(&mut again, true), whole };
            store.create_as(path, bytes.clone(), how)
        })
        .await?;
    Ok(created == Created::New)
}

/// As [`create`], where the name cannot be taken.
pub(super) async fn put(store: &Store, patience: &Patience, path: &str, bytes: Vec<u8>, whole: bool) -> Result<(), Error> {
    match create(store, patience, path, bytes, whole).await? {
        true => Ok(()),
        false => Err(Error::Internal(format!("`{path}` exists already, though its name is ours alone"))),
    }
}

/// The newest generation that anybody claimed, however long it takes to ask.
pub(super) async fn newest_generation(store: &Store, patience: &Patience) -> Result<Generation, Error> {
    patience.insist("list generations", || super::opening::newest_generation(store)).await
}

/// Removes an object; a failure is told by the log alone.
pub(super) async fn remove(store: &Store, path: &str) {
    if let Err(error) = store.delete(path).await.map_err(failed("remove an object")) {
        tracing::warn!(path, cause = %error, "an object that is of no use any more stays");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_chains_share_the_turns_and_a_large_one_takes_them_all() {
        let object = |bytes| ObjectRef { scope: snapshot::Scope::Full, bytes, checksum: 0, entries: 0, path: String::new() };
        let of = |sizes: &[u64]| turns(&sizes.iter().map(|bytes| object(*bytes)).collect::<Vec<_>>());
        assert_eq!(
            [of(&[0]), of(&[15 << 20, 1]), of(&[255 << 20, 1 << 20]), of(&[16 << 20, 1]), of(&[1 << 40]), of(&[u64::MAX, 1])],
            [16, 16, 256, 17, 256, 256]
        );
    }
}
