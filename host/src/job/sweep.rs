//! Deletes what nothing retained needs: manifests first, then the snapshots that only they needed. A crash in between leaves garbage, which the
//! next sweep finds.

use crate::store::{Store, StoreError};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::ids::{Epoch, Generation};
use std::collections::BTreeSet;

/// Deletions that one sweep makes; the rest is left to the next one.
const DELETIONS_MAX: usize = 10_000;

/// One sweep.
pub(super) struct Sweep {
    pub store: Store,
    pub retention: Retention,
    /// Objects that are on their way into a manifest.
    pub spared: BTreeSet<String>,
    pub generation: Generation,
}

impl Sweep {
    /// Deletes the retired manifests and what nothing needs; gives the number of snapshot objects that are gone.
    pub async fn run(mut self, retired: &[Epoch]) -> Result<usize, StoreError> {
        // Who was replaced deletes nothing: its successor may have gone back to what this host takes for old.
        if self.is_replaced().await? {
            return Ok(0);
        }
        for &epoch in retired {
            self.store.delete(&paths::manifest(epoch)).await?;
        }
        let saved = self.store.list(paths::SAVEPOINTS).await?;
        let names: BTreeSet<&str> = saved.iter().filter_map(|entry| paths::savepoint_name(&entry.path)).collect();
        self.retention.let_go_of_all_but(&names);
        let stored: Vec<String> = self.store.list(paths::SNAPSHOTS).await?.into_iter().map(|entry| entry.path).collect();
        for entry in self.store.list(paths::GENERATIONS).await? {
            // The fence only looks for newer claims than its own.
            if paths::claim_generation(&entry.path).is_some_and(|claimed| claimed < self.generation) {
                self.store.delete(&entry.path).await?;
            }
        }
        if self.is_replaced().await? {
            return Ok(0);
        }
        let garbage = self.retention.garbage(&stored, self.generation);
        let mut count = 0;
        for path in garbage.into_iter().filter(|path| !self.spared.contains(*path)).take(DELETIONS_MAX) {
            self.store.delete(path).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn is_replaced(&self) -> Result<bool, StoreError> {
        Ok(super::opening::newest_generation(&self.store).await? > self.generation)
    }
}
