//! Which checkpoints and snapshots may be deleted: what no retained manifest reaches.

use super::manifest::Manifest;
use super::{paths, recovery};
use crate::ids::{Epoch, Generation};
use std::collections::{BTreeMap, BTreeSet};

/// The manifests that a run knows of, and what each of them needs.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    needs: BTreeMap<Epoch, BTreeSet<String>>,
    /// Of these, the ones that a run took over with: they have the state of their parents, and do not count as kept.
    taken_over: BTreeSet<Epoch>,
    given_up: Vec<Epoch>,
}

impl Retention {
    /// Notes a manifest that exists.
    pub fn note(&mut self, manifest: &Manifest) {
        let chains = manifest.operators.iter().flat_map(|o| &o.instances).flat_map(|i| &i.chain);
        if manifest.taken_over {
            self.taken_over.insert(manifest.epoch);
        }
        self.needs.insert(manifest.epoch, chains.map(|object| object.path.clone()).collect());
    }

    /// Begins with the manifests that a run finds: `listed` are the epochs of all, `readable` those that could be read, `base` is the one it
    /// takes up. Those in the line of `base` count; the others belong to histories that were given up, and go at the first
    /// [`Self::retire`].
    #[must_use]
    pub fn new(listed: &[Epoch], readable: &[Manifest], base: Option<Epoch>) -> Self {
        let mut retention = Self::default();
        let mut manifests: BTreeMap<Epoch, Option<&Manifest>> = listed.iter().map(|epoch| (*epoch, None)).collect();
        manifests.extend(readable.iter().map(|manifest| (manifest.epoch, Some(manifest))));
        for epoch in base.map(|base| recovery::line(&manifests, base)).unwrap_or_default() {
            if let Some(Some(manifest)) = manifests.get(&epoch) {
                retention.note(manifest);
            }
        }
        retention.given_up = listed.iter().copied().filter(|epoch| !retention.needs.contains_key(epoch)).collect();
        retention
    }

    /// Manifests to delete so that the newest `keep` stay, oldest first. They are forgotten here; delete them, then ask [`Self::garbage`].
    pub fn retire(&mut self, keep: usize) -> Vec<Epoch> {
        let mut retired = std::mem::take(&mut self.given_up);
        while self.needs.len() - self.taken_over.len() > keep.max(1) {
            if let Some((epoch, _)) = self.needs.pop_first() {
                self.taken_over.remove(&epoch);
                retired.push(epoch);
            }
        }
        retired
    }

    /// Of the `stored` snapshot objects, those that nothing retained needs. Objects of generation `current` and of epochs after
    /// the newest manifest are spared: they may be on their way into a manifest.
    #[must_use]
    pub fn garbage<'a>(&self, stored: &'a [String], current: Generation) -> Vec<&'a str> {
        let newest = self.needs.keys().next_back().copied();
        let reached: BTreeSet<&str> = self.needs.values().flatten().map(String::as_str).collect();
        let dead = |path: &&String| {
            let Some((epoch, generation)) = paths::snapshot_origin(path) else { return false };
            let in_flight = generation >= current && newest.is_none_or(|newest| epoch > newest);
            !in_flight && !reached.contains(path.as_str())
        };
        stored.iter().filter(dead).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Instance;

    #[test]
    fn only_what_nothing_reaches_goes() {
        let path = |epoch, full| paths::snapshot("o", Instance(0), Epoch(epoch), Generation(1), full);
        let mut retention = Retention::default();
        for epoch in 1..=5u64 {
            // Epoch 3 starts a new chain.
            let first = if epoch < 3 { 1 } else { 3 };
            let chain = (first..=epoch).map(|e| path(e, e == first)).collect();
            retention.needs.insert(Epoch(epoch), chain);
        }
        assert_eq!(retention.retire(3), [Epoch(1), Epoch(2)]);
        let mut stored: Vec<String> = (1..=6).map(|e| path(e, e == 1 || e == 3)).collect();
        stored.push("snapshots/readme.txt".into());
        assert_eq!(retention.garbage(&stored, Generation(1)), [path(1, true), path(2, false)]);
        assert_eq!(retention.garbage(&stored, Generation(2)), [path(1, true), path(2, false), path(6, false)]);
    }
}
