//! Carries out compactions ([`reprise_core::checkpoint::compaction`]): reads the objects of a chain, and stores one full snapshot. Off the worker threads; as many
//! chains at a time as have [`TURNS`] MiB together, and a larger one alone, so that the memory for it is bounded. Sixteen at most. They wait
//! for the store side by side, and compute one after the other: processors are for the operators.

use super::blocking::blocking;
use super::error::Error;
use super::store_retry::RetryingStore;
use reprise_core::checkpoint::committer::CommitterEvent;
use reprise_core::checkpoint::compaction::Compaction;
use reprise_core::checkpoint::manifest::ObjectRef;
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
    /// Has [`TURNS`] permits, one for each MiB.
    turns: Semaphore,
    /// Has one permit: the right to compute.
    computes: Semaphore,
}

impl Compactor {
    pub fn new(store: RetryingStore) -> Self {
        let (turns, computes) = (Semaphore::new(TURNS as usize), Semaphore::new(1));
        Self { context: Arc::new(Context { store, turns, computes }), under_way: JoinSet::new() }
    }

    /// Begins to fold a chain into a full snapshot.
    pub fn compact(&mut self, compaction: Compaction) {
        let context = Arc::clone(&self.context);
        self.under_way.spawn(async move { context.carry_out(Arc::new(compaction)).await });
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

impl Context {
    /// Computes something while no other compaction does.
    async fn alone<T: Send + 'static>(&self, compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        // The semaphore is never closed.
        let _computes = self.computes.acquire().await;
        blocking(compute).await
    }

    async fn carry_out(&self, compaction: Arc<Compaction>) -> Result<CommitterEvent, Error> {
        // The semaphore is never closed.
        let _turns = self.turns.acquire_many(turns(&compaction.chain)).await;
        let (operator, at, mut chunks) = (&compaction.operator.name, compaction.at, Vec::new());
        for object in &compaction.chain {
            let bytes = self.store.until_deadline("read a snapshot", || self.store.store.get(&object.path)).await?;
            let (compaction, object) = (Arc::clone(&compaction), object.clone());
            match self.alone(move || compaction.read(&object, bytes.as_deref())).await? {
                Ok(read) => chunks.extend(read),
                Err(reason) => {
                    tracing::warn!(operator, instance = at.instance, reason, "a snapshot is damaged; a new full one is made");
                    return Ok(CommitterEvent::ChainDamaged(at));
                }
            }
        }
        let folding = Arc::clone(&compaction);
        let folded = self.alone(move || folding.fold(chunks)).await?;
        let (compacted, bytes) = folded.map_err(|error| Error::Internal(format!("a compaction: {error}")))?;
        self.store.put(&compacted.object.path, bytes).await?;
        Ok(CommitterEvent::Compacted(compacted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::codec::snapshot::SnapshotScope;

    #[test]
    fn small_chains_share_the_turns_and_a_large_one_takes_them_all() {
        let object = |bytes| ObjectRef { scope: SnapshotScope::Full, bytes, checksum: 0, entries: 0, path: String::new() };
        let of = |sizes: &[u64]| turns(&sizes.iter().map(|bytes| object(*bytes)).collect::<Vec<_>>());
        assert_eq!(
            [of(&[0]), of(&[15 << 20, 1]), of(&[255 << 20, 1 << 20]), of(&[16 << 20, 1]), of(&[1 << 40]), of(&[u64::MAX, 1])],
            [16, 16, 256, 17, 256, 256]
        );
    }
}
