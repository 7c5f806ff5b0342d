//! The sweep of a run: what it deletes, in which order. Manifests first, the oldest first of all, then the snapshots that only they needed. So a
//! manifest that exists is whole at every moment, whenever a sweep is interrupted; what it leaves is garbage, which the next one finds.
//!
//! ```text
//! Delete(manifest) ... ──> Savepoints ──> Claims ──> Delete(old claims) ──> Page ──> Delete(garbage of it) ──> Page ... ──> Done
//! ```
//! Who was replaced deletes nothing, since its successor may have gone back to what this run takes for old: claims are looked at before the first
//! deletion, and again after so many and so long ([`LookPace`]).

use super::paths;
use super::retention::{Reach, Retention};
use crate::ids::{Epoch, Generation};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Snapshots that one sweep deletes; the rest is left to the next one.
pub const DELETIONS_MAX: usize = 1_000_000;
/// Deletions between two looks at the claims.
pub const DELETIONS_UNSEEN_MAX: usize = 256;
/// Time between two looks at the claims.
const TIME_UNSEEN_MAX: Duration = Duration::from_secs(1);

/// What the driver of a sweep is to do next. It tells [`Sweep::step`] the names that it listed, and nothing after a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepStep {
    /// Delete these; there may be none.
    Delete(Vec<String>),
    /// List all savepoints.
    Savepoints,
    /// List all claims.
    Claims,
    /// List the next page of snapshots; tell nothing where there is none.
    Page,
    /// It is over.
    Done,
}

/// What a sweep has deleted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Manifests.
    pub manifests: Vec<Epoch>,
    /// Snapshots.
    pub objects: usize,
}

#[derive(Debug, Clone, Copy)]
enum SweepStage {
    /// The manifest that is being deleted.
    Manifests(Option<Epoch>),
    Savepoints,
    Claims,
    OldClaims,
    Page,
    /// So many snapshots are being deleted.
    Garbage(usize),
}

/// A sweep of a run.
#[derive(Debug)]
pub struct Sweep {
    generation: Generation,
    retired: VecDeque<Epoch>,
    retention: Retention,
    reach: Reach,
    /// Objects that are on their way into a manifest.
    pub spared: BTreeSet<String>,
    stage: SweepStage,
    swept: Swept,
}

impl Sweep {
    /// Begins to delete these manifests, oldest first, and what is neither retained nor spared. `generation`: the one of the run.
    #[must_use]
    pub fn new(retired: Vec<Epoch>, retention: Retention, spared: BTreeSet<String>, generation: Generation) -> Self {
        let (reach, stage) = (retention.reach(generation), SweepStage::Manifests(None));
        Self { generation, retired: retired.into(), retention, reach, spared, stage, swept: Swept::default() }
    }

    /// The generation of the run.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// What it has deleted, also where it was ended early.
    #[must_use]
    pub fn into_swept(self) -> Swept {
        self.swept
    }

    /// Takes what was listed; at first nothing.
    pub fn step(&mut self, listed: Option<Vec<String>>) -> SweepStep {
        match (self.stage, listed) {
            (SweepStage::Manifests(gone), _) => {
                self.swept.manifests.extend(gone);
                let next = self.retired.pop_front();
                self.stage = next.map_or(SweepStage::Savepoints, |epoch| SweepStage::Manifests(Some(epoch)));
                next.map_or(SweepStep::Savepoints, |epoch| SweepStep::Delete(vec![paths::manifest(epoch)]))
            }
            (SweepStage::Savepoints, listed) => {
                let listed = listed.unwrap_or_default();
                self.retention.let_go_of_all_but(&listed.iter().filter_map(|path| paths::savepoint_name(path)).collect());
                self.reach = self.retention.reach(self.generation);
                self.stage = SweepStage::Claims;
                SweepStep::Claims
            }
            (SweepStage::Claims, listed) => {
                // The fence only looks for newer claims than its own.
                let is_old = |path: &String| paths::claim_generation(path).is_some_and(|claimed| claimed < self.generation);
                self.stage = SweepStage::OldClaims;
                SweepStep::Delete(listed.into_iter().flatten().filter(is_old).collect())
            }
            (SweepStage::Page, Some(page)) => {
                let is_garbage = |path: &String| self.reach.is_garbage(path) && !self.spared.contains(path);
                let left = DELETIONS_MAX.saturating_sub(self.swept.objects);
                let garbage: Vec<String> = page.into_iter().filter(is_garbage).take(left).collect();
                self.stage = SweepStage::Garbage(garbage.len());
                SweepStep::Delete(garbage)
            }
            (SweepStage::Page, None) => SweepStep::Done,
            (SweepStage::OldClaims, _) => self.next_page(0),
            (SweepStage::Garbage(gone), _) => self.next_page(gone),
        }
    }

    fn next_page(&mut self, gone: usize) -> SweepStep {
        self.swept.objects += gone;
        self.stage = SweepStage::Page;
        if self.swept.objects < DELETIONS_MAX { SweepStep::Page } else { SweepStep::Done }
    }
}

/// The pace of looks at the claims, between which deletions are let through.
#[derive(Debug, Clone, Copy, Default)]
pub struct LookPace {
    /// When the last look was, and how many deletions have been let through since.
    looked: Option<(Duration, usize)>,
}

impl LookPace {
    /// Lets so many deletions through, at most [`DELETIONS_UNSEEN_MAX`], unless it is time for a look. `now`: on any clock that only goes forward.
    pub fn lets_through(&mut self, now: Duration, deletions: usize) -> bool {
        let Some((at, since)) = &mut self.looked else { return false };
        *since += deletions;
        now.saturating_sub(*at) < TIME_UNSEEN_MAX && *since <= DELETIONS_UNSEEN_MAX
    }

    /// Notes a look that found no newer claim, begun at `now`. So many deletions follow it, however long it took.
    pub fn looked(&mut self, now: Duration, deletions: usize) {
        self.looked = Some((now, deletions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::Manifest;
    use crate::ids::Instance;

    fn snapshot(epoch: u64, generation: u64) -> String {
        paths::snapshot("o", Instance(0), Epoch(epoch), Generation(generation), true)
    }

    #[test]
    fn manifests_go_first_then_claims_then_what_nothing_needs() {
        let mut retention = Retention::default();
        (1..=3).for_each(|epoch| retention.note(&Manifest::bare(epoch, None)));
        retention.hold_unread("gone");
        let retired = retention.retire(1);
        let spared = BTreeSet::from([snapshot(2, 1)]);
        let mut sweep = Sweep::new(retired, retention, spared, Generation(2));
        assert_eq!(sweep.step(None), SweepStep::Delete(vec![paths::manifest(Epoch(1))]));
        assert_eq!(sweep.step(None), SweepStep::Delete(vec![paths::manifest(Epoch(2))]));
        assert_eq!(sweep.step(None), SweepStep::Savepoints);
        assert_eq!(sweep.step(Some(vec![])), SweepStep::Claims);
        let claims = [1, 2, 3].map(|generation| paths::claim(Generation(generation)));
        assert_eq!(sweep.step(Some(claims.to_vec())), SweepStep::Delete(claims[..1].to_vec()));
        assert_eq!(sweep.step(None), SweepStep::Page);
        let page = vec![snapshot(1, 1), snapshot(2, 1), snapshot(3, 1), snapshot(3, 2), "snapshots/readme".into()];
        let garbage = SweepStep::Delete(vec![snapshot(1, 1), snapshot(3, 1)]);
        assert_eq!(sweep.step(Some(page)), garbage, "what is spared stays, and what may be on its way");
        assert_eq!([sweep.step(None), sweep.step(None)], [SweepStep::Page, SweepStep::Done]);
        assert_eq!(sweep.into_swept(), Swept { manifests: vec![Epoch(1), Epoch(2)], objects: 2 });
    }

    #[test]
    fn while_a_savepoint_cannot_be_read_no_snapshot_goes() {
        let mut retention = Retention::default();
        retention.hold_unread("s");
        let mut sweep = Sweep::new(vec![], retention, BTreeSet::new(), Generation(2));
        assert_eq!(sweep.step(None), SweepStep::Savepoints);
        sweep.step(paths::savepoint("s").map(|path| vec![path]));
        sweep.step(Some(vec![]));
        sweep.step(None);
        assert_eq!(sweep.step(Some(vec![snapshot(1, 1)])), SweepStep::Delete(vec![]));
    }

    #[test]
    fn a_look_is_due_at_first_after_so_many_deletions_and_after_so_long() {
        let mut pace = LookPace::default();
        let ms = Duration::from_millis;
        assert!(!pace.lets_through(ms(0), 1));
        pace.looked(ms(0), 1);
        assert!(pace.lets_through(ms(1), DELETIONS_UNSEEN_MAX - 1) && !pace.lets_through(ms(1), 1));
        pace.looked(ms(5), 1);
        assert!(pace.lets_through(ms(1_004), 1) && !pace.lets_through(ms(1_005), 1));
    }
}
