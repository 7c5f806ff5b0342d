//! Which checkpoint to take up again: the newest one that can be read whole, else the one before it.
//!
//! ```text
//!            Start(epochs) ──> Load(newest) ──> Loaded ──> Verify ──> Verified ──> TakeUp
//!                                  │                          │
//!                                  └── Unusable(reason) ──────┴──> Load(parent, or next older) ... ──> Refuse
//! ```
//! A job without a manifest starts afresh. A job whose every manifest is unusable is refused: starting afresh would double its output.

use super::manifest::Manifest;
use crate::ids::Epoch;
use std::collections::BTreeMap;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Read the manifest of this epoch and tell [`Walk::loaded`] or [`Walk::unusable`].
    Load(Epoch),
    /// There is no checkpoint: start from the beginning.
    Fresh,
    /// No usable checkpoint is left. The reasons are in [`Walk::passed_over`].
    Refuse,
}

/// A walk from the newest checkpoint back. See the module.
#[derive(Debug)]
pub struct Walk {
    /// Epochs not yet looked at, oldest first.
    older: Vec<Epoch>,
    /// Newest epoch that any manifest has, usable or not.
    newest: Option<Epoch>,
    /// The one being looked at.
    at: Option<Epoch>,
    passed_over: Vec<(Epoch, String)>,
}

impl Walk {
    /// Begins with the epochs of all manifests that the store lists, in any order.
    #[must_use]
    pub fn new(mut epochs: Vec<Epoch>) -> Self {
        epochs.sort_unstable();
        epochs.dedup();
        Self { newest: epochs.last().copied(), older: epochs, at: None, passed_over: Vec::new() }
    }

    /// The first thing to do.
    pub fn start(&mut self) -> Next {
        if self.older.is_empty() { Next::Fresh } else { self.step(None) }
    }

    /// The first thing to do where only this checkpoint will do.
    pub fn only(&mut self, epoch: Epoch) -> Next {
        self.older = vec![epoch];
        self.step(None)
    }

    /// The checkpoint that was last said to be loaded.
    #[must_use]
    pub fn at(&self) -> Option<Epoch> {
        self.at
    }

    /// The checkpoint at hand is unusable. `manifest`: its manifest, where at least that could be read; the walk then goes to its
    /// parent, since manifests between the two belong to a history that was given up.
    pub fn unusable(&mut self, manifest: Option<&Manifest>, reason: String) -> Next {
        if let Some(epoch) = self.at {
            self.passed_over.push((epoch, reason));
        }
        self.step(manifest.map(|m| m.parent))
    }

    fn step(&mut self, parent: Option<Option<Epoch>>) -> Next {
        if let Some(parent) = parent {
            self.older.retain(|epoch| parent.is_some_and(|parent| *epoch <= parent));
        }
        self.at = self.older.pop();
        self.at.map_or(Next::Refuse, Next::Load)
    }

    /// Checkpoints that were passed over, newest first, each with the reason.
    #[must_use]
    pub fn passed_over(&self) -> &[(Epoch, String)] {
        &self.passed_over
    }

    /// The first epoch of the new run: past every manifest there is, since a manifest is never overwritten.
    #[must_use]
    pub fn first_epoch(&self) -> Epoch {
        self.newest.map_or(Epoch(1), Epoch::next)
    }
}

/// The history that ends with the manifest of epoch `newest`, newest first: that epoch and all it came from, as far as they are listed. What is
/// listed and not in it belongs to a history that was given up. `manifests`: all that are listed; `None` for those that cannot be read.
///
/// Nobody can tell the parent of a manifest that cannot be read: the one before it may well be.
#[must_use]
pub fn line(manifests: &BTreeMap<Epoch, Option<&Manifest>>, newest: Epoch) -> Vec<Epoch> {
    let mut line = Vec::new();
    let mut next = Some(newest);
    while let Some((epoch, manifest)) = next.and_then(|epoch| manifests.get_key_value(&epoch)) {
        line.push(*epoch);
        // A parent that is not older would be a circle.
        next = match manifest {
            Some(manifest) => manifest.parent.filter(|parent| parent < epoch),
            None => manifests.range(..epoch).next_back().map(|(before, _)| *before),
        };
    }
    line
}

/// The history that ends with the manifest of epoch `newest` has left out the rows of `epoch`: one of its manifests is later, and came from an
/// earlier one. What it came from may be gone; so where this is false, nobody can tell of epochs before the oldest manifest that is left.
#[must_use]
pub fn has_given_up(manifests: &BTreeMap<Epoch, Option<&Manifest>>, newest: Epoch, epoch: Epoch) -> bool {
    let is_jump = |manifest: &Manifest| manifest.epoch > epoch && manifest.parent < Some(epoch);
    line(manifests, newest).iter().any(|of| manifests.get(of).copied().flatten().is_some_and(is_jump))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Digest, Generation};

    fn manifest(epoch: u64, parent: Option<u64>) -> Manifest {
        Manifest {
            job: "j".into(),
            epoch: Epoch(epoch),
            generation: Generation(1),
            writer: 0,
            parent: parent.map(Epoch),
            written_ms: 0,
            topology: Digest([0; 32]),
            workers: 1,
            finished: false,
            taken_over: false,
            operators: vec![],
            sources: vec![],
            sinks: vec![],
        }
    }

    #[test]
    fn no_manifest_is_a_fresh_start() {
        let mut walk = Walk::new(vec![]);
        assert_eq!(walk.start(), Next::Fresh);
        assert_eq!(walk.first_epoch(), Epoch(1));
    }

    #[test]
    fn the_walk_goes_back_and_ends_in_a_refusal() {
        let mut walk = Walk::new(vec![Epoch(2), Epoch(3), Epoch(1)]);
        assert_eq!(walk.start(), Next::Load(Epoch(3)));
        assert_eq!(walk.unusable(None, "cut".into()), Next::Load(Epoch(2)));
        assert_eq!(walk.unusable(Some(&manifest(2, Some(1))), "flipped".into()), Next::Load(Epoch(1)));
        assert_eq!(walk.unusable(None, "gone".into()), Next::Refuse);
        assert_eq!(walk.passed_over().len(), 3);
        assert_eq!(walk.first_epoch(), Epoch(4));
    }

    #[test]
    fn a_history_that_was_given_up_is_not_taken_up_again() {
        // 3 was unusable once, so 4 continued from 2. When 4 is damaged later, 3 must not be used.
        let mut walk = Walk::new(vec![Epoch(2), Epoch(3), Epoch(4)]);
        assert_eq!(walk.start(), Next::Load(Epoch(4)));
        assert_eq!(walk.unusable(Some(&manifest(4, Some(2))), "flipped".into()), Next::Load(Epoch(2)));
    }

    #[test]
    fn the_line_leaves_out_what_was_given_up() {
        let manifests = [manifest(2, Some(1)), manifest(3, Some(2)), manifest(4, Some(2)), manifest(5, Some(4))];
        let mut listed: BTreeMap<Epoch, Option<&Manifest>> = manifests.iter().map(|m| (m.epoch, Some(m))).collect();
        assert_eq!(line(&listed, Epoch(5)), [Epoch(5), Epoch(4), Epoch(2)]);
        listed.insert(Epoch(4), None);
        assert_eq!(line(&listed, Epoch(5)), [Epoch(5), Epoch(4), Epoch(3), Epoch(2)], "nobody can tell where 4 came from");
        assert_eq!(line(&listed, Epoch(9)), []);
    }

    #[test]
    fn a_history_that_went_back_has_given_up_what_it_went_behind() {
        // 6 went back to 3, which is gone.
        let manifests = [manifest(5, Some(4)), manifest(6, Some(3)), manifest(7, Some(6))];
        let listed: BTreeMap<Epoch, Option<&Manifest>> = manifests.iter().map(|m| (m.epoch, Some(m))).collect();
        let given_up = |epoch| has_given_up(&listed, Epoch(7), Epoch(epoch));
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(given_up), [false, false, false, true, true, false, false, false]);
    }

    #[test]
    fn a_first_checkpoint_that_is_damaged_leaves_nothing() {
        let mut walk = Walk::new(vec![Epoch(1)]);
        assert_eq!(walk.start(), Next::Load(Epoch(1)));
        assert_eq!(walk.unusable(Some(&manifest(1, None)), "flipped".into()), Next::Refuse);
    }
}
