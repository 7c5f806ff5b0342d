//! Which checkpoints and snapshots may be deleted: what no retained manifest reaches.

use super::manifest::Manifest;
use super::recovery::RecoveredJob;
use super::{lineage, paths};
use crate::ids::{Epoch, Generation};
use std::collections::{BTreeMap, BTreeSet};

/// The manifests that a run knows of, and what each of them names.
#[derive(Debug, Clone, Default)]
pub struct Retention {
    needs: BTreeMap<Epoch, BTreeSet<String>>,
    /// Of these, the ones that a run took over with: they have the state of their parents, and do not count as kept.
    taken_over: BTreeSet<Epoch>,
    /// Manifests that are to be deleted, and are not known to be gone.
    retiring: BTreeSet<Epoch>,
    /// The snapshots and quarantine objects that each savepoint names; `None` where that cannot be known.
    held: BTreeMap<String, Option<BTreeSet<String>>>,
}

fn needs(manifest: &Manifest) -> BTreeSet<String> {
    manifest.objects().map(|object| object.path.clone()).collect()
}

/// What is reached from the manifests and savepoints of one moment. Those that come later need nothing else of what is garbage now: see
/// [`Retention::reach`].
#[derive(Debug, Clone)]
pub struct Reach {
    /// `None`: that cannot be known.
    reached: Option<BTreeSet<String>>,
    newest: Option<Epoch>,
    current: Generation,
}

impl Reach {
    /// Nothing retained names this snapshot, and it is on its way into no manifest.
    #[must_use]
    pub fn is_garbage(&self, path: &str) -> bool {
        paths::snapshot_origin(path).is_some_and(|origin| self.is_free(path, origin))
    }

    /// Nothing retained names this object of that epoch and generation, and it is on its way into no manifest.
    #[must_use]
    pub fn is_free(&self, path: &str, (epoch, generation): (Epoch, Generation)) -> bool {
        let Some(reached) = &self.reached else { return false };
        let in_flight = generation >= self.current && self.newest.is_none_or(|newest| epoch >= newest);
        !in_flight && !reached.contains(path)
    }
}

impl Retention {
    /// Notes a manifest that exists.
    pub fn note(&mut self, manifest: &Manifest) {
        if manifest.taken_over {
            self.taken_over.insert(manifest.epoch);
        }
        self.needs.insert(manifest.epoch, needs(manifest));
    }

    /// Holds what a savepoint needs.
    pub fn hold(&mut self, name: &str, manifest: &Manifest) {
        self.held.insert(name.to_owned(), Some(needs(manifest)));
    }

    /// Notes a savepoint that was not read. What it needs cannot be known, unless it is held already; so nothing is garbage while it is there.
    pub fn hold_unread(&mut self, name: &str) {
        self.held.entry(name.to_owned()).or_insert(None);
    }

    /// A retained manifest or savepoint needs this object.
    #[must_use]
    pub fn needs(&self, path: &str) -> bool {
        self.needs.values().chain(self.held.values().flatten()).any(|needs| needs.contains(path))
    }

    /// Forgets the savepoints that are no more.
    pub fn let_go_of_all_but(&mut self, names: &BTreeSet<&str>) {
        self.held.retain(|name, _| names.contains(name.as_str()));
    }

    /// Begins with the manifests that a run has found: those in the line of the one with which it took over count; the others belong to
    /// histories that were given up, and go at the first [`Self::retire`]. And with the savepoints there are, by name; an error: it was not
    /// read, see [`Self::hold_unread`].
    #[must_use]
    pub fn of_run(up: &RecoveredJob, savepoints: &BTreeMap<String, Result<Manifest, String>>) -> Self {
        let mut retention = Self::new(&up.listed, &up.readable, up.taken.as_ref().map(|taken| taken.epoch));
        for (name, read) in savepoints {
            match read {
                Ok(manifest) => retention.hold(name, manifest),
                Err(_) => retention.hold_unread(name),
            }
        }
        retention
    }

    /// `listed`: the epochs of all manifests; `readable`: those that could be read; `base`: the one in whose line are those that count.
    pub(super) fn new(listed: &[Epoch], readable: &[Manifest], base: Option<Epoch>) -> Self {
        let mut retention = Self::default();
        let mut manifests: BTreeMap<Epoch, Option<&Manifest>> = listed.iter().map(|epoch| (*epoch, None)).collect();
        manifests.extend(readable.iter().map(|manifest| (manifest.epoch, Some(manifest))));
        for epoch in base.map(|base| lineage::lineage(&manifests, base)).unwrap_or_default() {
            if let Some(Some(manifest)) = manifests.get(&epoch) {
                retention.note(manifest);
            }
        }
        retention.retiring = listed.iter().copied().filter(|epoch| !retention.needs.contains_key(epoch)).collect();
        retention
    }

    /// Manifests to delete so that the newest `keep` stay, oldest first. What they need is needed no more. They are told again each time until
    /// [`Self::gone`] says that they are deleted.
    pub fn retire(&mut self, keep: usize) -> Vec<Epoch> {
        while self.needs.len() - self.taken_over.len() > keep.max(1) {
            if let Some((epoch, _)) = self.needs.pop_first() {
                self.taken_over.remove(&epoch);
                self.retiring.insert(epoch);
            }
        }
        self.retiring.iter().copied().collect()
    }

    /// These manifests are deleted.
    pub fn gone(&mut self, epochs: &[Epoch]) {
        epochs.iter().for_each(|epoch| _ = self.retiring.remove(epoch));
    }

    /// What is reached now. Objects of generation `current` or later, and of the epoch of the newest manifest or later, may be on their way into
    /// a manifest. So what a later manifest names is reached already or in flight, and a sweep may work with this however long it takes.
    #[must_use]
    pub fn reach(&self, current: Generation) -> Reach {
        let is_known = self.held.values().all(Option::is_some);
        let reached = is_known.then(|| self.needs.values().chain(self.held.values().flatten()).flatten().cloned().collect());
        Reach { reached, newest: self.needs.keys().next_back().copied(), current }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::{InstanceState, ObjectRef, OperatorState};
    use crate::codec::snapshot::SnapshotScope;
    use crate::ids::{Digest, Instance};

    impl Retention {
        /// Of the `stored` snapshot objects, those that nothing retained needs.
        fn garbage<'a>(&self, stored: &'a [String], current: Generation) -> Vec<&'a str> {
            let reach = self.reach(current);
            stored.iter().filter(|path| reach.is_garbage(path)).map(String::as_str).collect()
        }
    }

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
        retention.gone(&[Epoch(1)]);
        assert_eq!(retention.retire(3), [Epoch(2)], "nobody has said that it is gone");
        retention.gone(&[Epoch(2), Epoch(7)]);
        assert!(retention.retire(3).is_empty());
        let mut stored: Vec<String> = (1..=6).map(|e| path(e, e == 1 || e == 3)).collect();
        stored.push("snapshots/readme.txt".into());
        assert_eq!(retention.garbage(&stored, Generation(1)), [path(1, true), path(2, false)]);
        assert_eq!(retention.garbage(&stored, Generation(2)), [path(1, true), path(2, false), path(6, false)]);
        let compacted = path(5, true);
        let stored = [compacted.clone()];
        assert!(retention.garbage(&stored, Generation(1)).is_empty(), "a compaction of the newest checkpoint may be under way");
        assert_eq!(retention.garbage(&stored, Generation(2)), [compacted], "but not one of a host before this one");
    }

    /// A manifest that needs this snapshot.
    fn naming(path: String) -> Manifest {
        let object = ObjectRef { scope: SnapshotScope::Full, bytes: 1, checksum: 1, entries: 1, path };
        let instances = vec![InstanceState { chain: vec![object], ..InstanceState::default() }];
        let operator = OperatorState { name: "o".into(), component: Digest([0; 32]), slots: vec![], instances };
        Manifest {
            job: "j".into(),
            epoch: Epoch(1),
            generation: Generation(1),
            workers: 1,
            operators: vec![operator],
            ..Manifest::default()
        }
    }

    #[test]
    fn a_savepoint_that_is_there_already_keeps_what_it_needs() {
        let path = |epoch| paths::snapshot("o", Instance(0), Epoch(epoch), Generation(1), true);
        let stored = [path(1), path(2)];
        let mut retention = Retention::default();
        retention.needs.insert(Epoch(9), BTreeSet::new());
        retention.hold("before-upgrade", &naming(path(1)));
        retention.hold_unread("before-upgrade");
        assert_eq!(retention.garbage(&stored, Generation(2)), [path(2)]);
    }

    #[test]
    fn what_a_savepoint_needs_stays_until_it_is_dropped() {
        let path = paths::snapshot("o", Instance(0), Epoch(1), Generation(1), true);
        let stored = [path.clone()];
        let mut retention = Retention::default();
        retention.needs.insert(Epoch(9), BTreeSet::new());
        assert_eq!(retention.garbage(&stored, Generation(2)), [path.as_str()]);
        retention.held.insert("before-upgrade".into(), Some(BTreeSet::from([path.clone()])));
        assert!(retention.garbage(&stored, Generation(2)).is_empty());
        retention.let_go_of_all_but(&BTreeSet::from(["another"]));
        assert_eq!(retention.garbage(&stored, Generation(2)), [path.as_str()]);
        retention.hold_unread("first");
        assert!(retention.garbage(&stored, Generation(2)).is_empty(), "somebody else has stored one of that name");
        retention.let_go_of_all_but(&BTreeSet::new());
        retention.hold_unread("damaged");
        assert!(retention.garbage(&stored, Generation(2)).is_empty(), "nobody can tell what it needs");
    }
}
