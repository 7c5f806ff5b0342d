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

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextCandidate {
    /// Read the manifest of this epoch and tell [`Candidates::loaded`] or [`Candidates::unusable`].
    Load(Epoch),
    /// There is no checkpoint: start from the beginning.
    Fresh,
    /// No usable checkpoint is left. The reasons are in [`Candidates::passed_over`].
    Refuse,
}

/// The checkpoints that a run may take up, from the newest one back.
#[derive(Debug)]
pub struct Candidates {
    /// Epochs not yet looked at, oldest first.
    older: Vec<Epoch>,
    /// Newest epoch that any manifest has, usable or not.
    newest: Option<Epoch>,
    /// The one being looked at.
    at: Option<Epoch>,
    passed_over: Vec<(Epoch, String)>,
}

impl Candidates {
    /// Begins with the epochs of all manifests that the store lists, in any order.
    #[must_use]
    pub fn new(mut epochs: Vec<Epoch>) -> Self {
        epochs.sort_unstable();
        epochs.dedup();
        Self { newest: epochs.last().copied(), older: epochs, at: None, passed_over: Vec::new() }
    }

    /// The first thing to do.
    pub fn start(&mut self) -> NextCandidate {
        if self.older.is_empty() { NextCandidate::Fresh } else { self.step(None) }
    }

    /// The first thing to do where only this checkpoint will do.
    pub fn only(&mut self, epoch: Epoch) -> NextCandidate {
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
    pub fn unusable(&mut self, manifest: Option<&Manifest>, reason: String) -> NextCandidate {
        if let Some(epoch) = self.at {
            self.passed_over.push((epoch, reason));
        }
        self.step(manifest.map(|m| m.parent))
    }

    fn step(&mut self, parent: Option<Option<Epoch>>) -> NextCandidate {
        if let Some(parent) = parent {
            self.older.retain(|epoch| parent.is_some_and(|parent| *epoch <= parent));
        }
        self.at = self.older.pop();
        self.at.map_or(NextCandidate::Refuse, NextCandidate::Load)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_manifest_is_a_fresh_start() {
        let mut walk = Candidates::new(vec![]);
        assert_eq!(walk.start(), NextCandidate::Fresh);
        assert_eq!(walk.first_epoch(), Epoch(1));
    }

    #[test]
    fn the_walk_goes_back_and_ends_in_a_refusal() {
        let mut walk = Candidates::new(vec![Epoch(2), Epoch(3), Epoch(1)]);
        assert_eq!(walk.start(), NextCandidate::Load(Epoch(3)));
        assert_eq!(walk.unusable(None, "cut".into()), NextCandidate::Load(Epoch(2)));
        assert_eq!(walk.unusable(Some(&Manifest::bare(2, Some(1))), "flipped".into()), NextCandidate::Load(Epoch(1)));
        assert_eq!(walk.unusable(None, "gone".into()), NextCandidate::Refuse);
        assert_eq!(walk.passed_over().len(), 3);
        assert_eq!(walk.first_epoch(), Epoch(4));
    }

    #[test]
    fn a_history_that_was_given_up_is_not_taken_up_again() {
        // 3 was unusable once, so 4 continued from 2. When 4 is damaged later, 3 must not be used.
        let mut walk = Candidates::new(vec![Epoch(2), Epoch(3), Epoch(4)]);
        assert_eq!(walk.start(), NextCandidate::Load(Epoch(4)));
        assert_eq!(walk.unusable(Some(&Manifest::bare(4, Some(2))), "flipped".into()), NextCandidate::Load(Epoch(2)));
    }

    #[test]
    fn a_first_checkpoint_that_is_damaged_leaves_nothing() {
        let mut walk = Candidates::new(vec![Epoch(1)]);
        assert_eq!(walk.start(), NextCandidate::Load(Epoch(1)));
        assert_eq!(walk.unusable(Some(&Manifest::bare(1, None)), "flipped".into()), NextCandidate::Refuse);
    }
}
