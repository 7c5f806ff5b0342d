//! Compacts a snapshot chain: reads its objects back, folds their cells, and stores one full snapshot. Off the worker threads; as many
//! chains at a time as have [`TURNS`] MiB together, and a larger one alone, so that the memory for it is bounded. Sixteen at most. They wait
//! for the store side by side, and compute one after the other: processors are for the operators.

use super::blocking::blocking;
use super::error::Error;
use super::objects::verify;
use super::store_retry::RetryingStore;
use reprise_core::checkpoint::chain;
use reprise_core::checkpoint::committer::CommitterEvent;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::checkpoint::manifest::{ObjectRef, OperatorState};
use reprise_core::checkpoint::paths;
use reprise_core::codec::{checksum, snapshot};
use reprise_core::ids::{Epoch, Generation, Instance};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// MiB of the chains that are compacted at the same time, unless a single one has more.
const TURNS: u32 = 256;
/// What a small chain counts as, in MiB.
const LEAST_TURNS: u32 = 16;

/// The compactions of a run. They end with it.
pub(super) struct Compactor {
    context: Arc<Context>,
    under_way: JoinSet<Result<CommitterEvent, Error>>,
}

/// What all compactions of a run have in common.
struct Context {
    store: RetryingStore,
    job: String,
    generation: Generation,
    /// Has [`TURNS`] permits, one for each MiB.
    turns: Semaphore,
    /// Has one permit: the right to compute.
    computes: Semaphore,
}

/// One compaction.
struct Compaction {
    context: Arc<Context>,
    /// Name and slots of the operator; its instances do not matter.
    operator: OperatorState,
    at: Participant,
    epoch: Epoch,
    chain: Vec<ObjectRef>,
}

impl Compactor {
    pub fn new(store: RetryingStore, job: String, generation: Generation) -> Self {
        let (turns, computes) = (Semaphore::new(TURNS as usize), Semaphore::new(1));
        Self { context: Arc::new(Context { store, job, generation, turns, computes }), under_way: JoinSet::new() }
    }

    /// Begins to fold a chain into a full snapshot that is named after the epoch.
    pub fn compact(&mut self, at: Participant, epoch: Epoch, operator: OperatorState, chain: Vec<ObjectRef>) {
        self.under_way.spawn(Compaction { context: Arc::clone(&self.context), operator, at, epoch, chain }.run());
    }

    /// No compaction is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// What the next compaction that ends has to tell; `None` where none is under way. An error ends the run: the store is out for too long, or
    /// the run was given up.
    pub async fn next(&mut self) -> Option<Result<CommitterEvent, Error>> {
        let ended = self.under_way.join_next().await?;
        Some(ended.unwrap_or_else(|error| Err(Error::Internal(format!("a compaction: {error}")))))
    }

    /// Ends the compactions under way, wherever they are.
    pub async fn give_up(&mut self) {
        self.under_way.shutdown().await;
    }
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
        let _computes = self.context.computes.acquire().await;
        blocking(compute).await
    }

    async fn run(self) -> Result<CommitterEvent, Error> {
        let (at, Context { store, job, generation, .. }) = (self.at, &*self.context);
        // The semaphore is never closed.
        let _turns = self.context.turns.acquire_many(turns(&self.chain)).await;
        let mut chunks = Vec::new();
        for object in &self.chain {
            let bytes = store.until_deadline("read a snapshot", || store.store.get(&object.path)).await?;
            let (job, operator, link) = (job.clone(), self.operator.clone(), object.clone());
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
                    return Ok(CommitterEvent::NotCompacted { at, damaged: true });
                }
            }
        }
        let head = snapshot::Head {
            job: job.clone(),
            operator: self.operator.name.clone(),
            instance: Instance(at.instance),
            epoch: self.epoch,
            generation: *generation,
            scope: snapshot::SnapshotScope::Full,
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
        let path = paths::snapshot(&self.operator.name, Instance(at.instance), self.epoch, *generation, true);
        let object =
            ObjectRef { scope: snapshot::SnapshotScope::Full, bytes: bytes.len() as u64, checksum: checksum(&bytes), entries, path };
        store.put(&object.path, bytes).await?;
        let last = self.chain.last().map(|link| link.path.clone()).unwrap_or_default();
        Ok(CommitterEvent::Compacted { at, last, object })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_chains_share_the_turns_and_a_large_one_takes_them_all() {
        let object = |bytes| ObjectRef { scope: snapshot::SnapshotScope::Full, bytes, checksum: 0, entries: 0, path: String::new() };
        let of = |sizes: &[u64]| turns(&sizes.iter().map(|bytes| object(*bytes)).collect::<Vec<_>>());
        assert_eq!(
            [of(&[0]), of(&[15 << 20, 1]), of(&[255 << 20, 1 << 20]), of(&[16 << 20, 1]), of(&[1 << 40]), of(&[u64::MAX, 1])],
            [16, 16, 256, 17, 256, 256]
        );
    }
}
