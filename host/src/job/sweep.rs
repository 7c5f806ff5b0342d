//! Deletes what nothing retained needs: manifests first, the oldest first of all, then the snapshots that only they needed. So a manifest that
//! exists is whole at every moment, whenever a sweep is interrupted; what it leaves is garbage, which the next one finds.
//!
//! Snapshots are listed a page at a time and deleted side by side. Who was replaced deletes nothing, since its successor may have gone back to
//! what this host takes for old: the claims are looked at again after so many deletions, and after so long.

use crate::store::{Store, StoreError};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::ids::{Epoch, Generation};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Snapshots that one sweep deletes; the rest is left to the next one.
const DELETIONS_MAX: usize = 1_000_000;
/// Deletions between two looks at the claims.
pub(super) const DELETIONS_UNSEEN_MAX: usize = 256;
/// Time between two looks at the claims.
const TIME_UNSEEN_MAX: Duration = Duration::from_secs(1);

/// One sweep.
pub(super) struct Sweep {
    pub store: Store,
    pub retention: Retention,
    /// Objects that are on their way into a manifest.
    pub spared: BTreeSet<String>,
    pub generation: Generation,
}

/// What a sweep deleted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Manifests.
    pub manifests: Vec<Epoch>,
    /// Snapshots.
    pub objects: usize,
}

/// Why something was not deleted.
#[derive(Debug)]
pub(super) enum Halt {
    /// Another host runs the job.
    Replaced,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The right to delete: looks at the claims as often as it must.
pub(super) struct Fence<'a> {
    store: &'a Store,
    generation: Generation,
    /// When it looked, and how many deletions have been let through since.
    looked: Option<(Instant, usize)>,
}

impl<'a> Fence<'a> {
    /// One that looks before the first deletion.
    pub fn new(store: &'a Store, generation: Generation) -> Self {
        Self { store, generation, looked: None }
    }

    /// Deletes objects side by side.
    pub async fn delete(&mut self, paths: &[String]) -> Result<(), Halt> {
        for paths in paths.chunks(DELETIONS_UNSEEN_MAX) {
            self.pass(paths.len()).await?;
            self.store.delete_all(paths.iter().cloned()).await?;
        }
        Ok(())
    }

    /// Lets so many deletions through.
    async fn pass(&mut self, deletions: usize) -> Result<(), Halt> {
        let seen = self.looked.filter(|(at, since)| at.elapsed() < TIME_UNSEEN_MAX && since + deletions <= DELETIONS_UNSEEN_MAX);
        let (at, since) = match seen {
            Some(seen) => seen,
            None => {
                let at = Instant::now();
                if super::recovery::newest_generation(self.store).await? > self.generation {
                    return Err(Halt::Replaced);
                }
                (at, 0)
            }
        };
        self.looked = Some((at, since + deletions));
        Ok(())
    }
}

impl Sweep {
    /// Deletes the retired manifests and what nothing needs. Whatever ended it early, it says what is gone.
    pub async fn run(mut self, retired: &[Epoch]) -> (Swept, Result<(), Halt>) {
        let mut swept = Swept::default();
        let ended = self.work(retired, &mut swept).await;
        (swept, ended)
    }

    async fn work(&mut self, retired: &[Epoch], swept: &mut Swept) -> Result<(), Halt> {
        let store = self.store.clone();
        let mut fence = Fence::new(&store, self.generation);
        for &epoch in retired {
            fence.delete(&[paths::manifest(epoch)]).await?;
            swept.manifests.push(epoch);
        }
        let saved = store.list(paths::SAVEPOINTS).await?;
        let names: BTreeSet<&str> = saved.iter().filter_map(|entry| paths::savepoint_name(&entry.path)).collect();
        self.retention.let_go_of_all_but(&names);
        let reach = self.retention.reach(self.generation);
        // The fence only looks for newer claims than its own.
        let claims = store.list(paths::GENERATIONS).await?.into_iter().map(|entry| entry.path);
        let old: Vec<String> =
            claims.filter(|path| paths::claim_generation(path).is_some_and(|claimed| claimed < self.generation)).collect();
        fence.delete(&old).await?;
        let mut pages = store.pages(paths::SNAPSHOTS)?;
        while let Some(page) = pages.next().await? {
            let mut garbage = Vec::new();
            for found in page {
                if paths::snapshot_origin(&found.path).is_none() {
                    store.pass_over(&found.path, "it is no snapshot");
                } else if reach.is_garbage(&found.path) && !self.spared.contains(&found.path) {
                    garbage.push(found.path);
                }
            }
            garbage.truncate(DELETIONS_MAX.saturating_sub(swept.objects));
            fence.delete(&garbage).await?;
            swept.objects += garbage.len();
            if swept.objects >= DELETIONS_MAX {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
