//! The lineage of a manifest: the manifests that it came from, by their parents. A manifest outside it belongs to a history that was given up.
//!
//! A manifest may be outside although its number is in the line: the one that was there is lost, and the create of a host that is long dead came
//! late. What later generations have left tells so, unless all of that is lost, too.

use super::manifest::Manifest;
use super::paths;
use crate::codec::snapshot::SnapshotScope;
use crate::ids::{Epoch, Generation};
use std::collections::{BTreeMap, BTreeSet};

/// The history that ends with the manifest of epoch `newest`, newest first: that epoch and all it came from, as far as they are listed. What is
/// listed and not in it belongs to a history that was given up. `manifests`: all that are listed; `None` for those that cannot be read.
///
/// The parent of a manifest that cannot be read is unknown: the one before it may well be.
#[must_use]
pub fn lineage(manifests: &BTreeMap<Epoch, Option<&Manifest>>, newest: Epoch) -> Vec<Epoch> {
    let mut lineage = Vec::new();
    let mut next = Some(newest);
    while let Some((epoch, manifest)) = next.and_then(|epoch| manifests.get_key_value(&epoch)) {
        lineage.push(*epoch);
        // A parent that is not older would be a circle.
        next = match manifest {
            Some(manifest) => manifest.parent.filter(|parent| parent < epoch),
            None => manifests.range(..epoch).next_back().map(|(before, _)| *before),
        };
    }
    lineage
}

/// The history that ends with the manifest of epoch `newest` has left out the rows of `epoch`: one of its manifests is later, and came from an
/// earlier one. What it came from may be gone; so where this is false, nothing is known of epochs before the oldest manifest that is left.
#[must_use]
pub fn has_given_up(manifests: &BTreeMap<Epoch, Option<&Manifest>>, newest: Epoch, epoch: Epoch) -> bool {
    let is_jump = |manifest: &Manifest| manifest.epoch > epoch && manifest.parent < Some(epoch);
    lineage(manifests, newest).iter().any(|of| manifests.get(of).copied().flatten().is_some_and(is_jump))
}

/// A generation that had taken the job over by the epoch of this manifest, though it is later than the manifest's own: the manifest came late, and
/// what it names may be gone. `others`: manifests that can be read; `snapshots`: the names of snapshots that are stored, as far as they are known.
///
/// A run writes at first the manifest with which it takes over, and everything else of later epochs, save a compaction of the very chains that it
/// took over. A run before it finds that number taken. So no manifest that counts is refused.
#[must_use]
pub fn overtaken_by<'a>(
    manifest: &Manifest,
    others: impl Iterator<Item = &'a Manifest>,
    snapshots: impl Iterator<Item = &'a String>,
) -> Option<Generation> {
    let chains = manifest.operators.iter().flat_map(|operator| &operator.instances).flat_map(|instance| &instance.chain);
    let deltas: BTreeSet<&str> = chains.filter(|link| link.scope == SnapshotScope::Delta).filter_map(|link| folder(&link.path)).collect();
    // Whether what was left may be of the epoch of the take-over itself.
    let manifests = others.map(|other| ((other.epoch, other.generation), other.taken_over));
    let snapshots = snapshots.filter_map(|path| {
        let may_be_compaction = path.ends_with(".full") && folder(path).is_some_and(|folder| deltas.contains(folder));
        Some((paths::snapshot_origin(path)?, may_be_compaction))
    });
    let is_over = |(epoch, of_take_over)| if of_take_over { epoch <= manifest.epoch } else { epoch <= manifest.epoch.next() };
    let later =
        manifests.chain(snapshots).filter(|((epoch, generation), first)| *generation > manifest.generation && is_over((*epoch, *first)));
    later.map(|((_, generation), _)| generation).min()
}

fn folder(path: &str) -> Option<&str> {
    Some(path.rsplit_once('/')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::{InstanceState, ObjectRef, OperatorState};
    use crate::ids::{Digest, Instance};

    /// A manifest of epoch 5 and generation 3, whose chain has a full snapshot and so many deltas.
    fn candidate(deltas: u64) -> Manifest {
        let link = |epoch: u64| {
            let scope = if epoch == 1 { SnapshotScope::Full } else { SnapshotScope::Delta };
            ObjectRef { path: left(epoch, 3, epoch == 1), scope, bytes: 1, checksum: 1, entries: 1 }
        };
        let instances = vec![InstanceState { chain: (1..=1 + deltas).map(link).collect(), ..InstanceState::default() }];
        let operators = vec![OperatorState { name: "o".into(), component: Digest([0; 32]), slots: vec![], instances }];
        Manifest { generation: Generation(3), operators, ..Manifest::bare(5, Some(4)) }
    }

    fn left(epoch: u64, generation: u64, full: bool) -> String {
        paths::snapshot("o", Instance(0), Epoch(epoch), Generation(generation), full)
    }

    #[test]
    fn a_snapshot_of_a_later_generation_tells_that_a_manifest_came_late() {
        let by = |deltas, path: String| overtaken_by(&candidate(deltas), std::iter::empty(), [path].iter()).map(|by| by.0);
        assert_eq!(by(1, left(6, 4, false)), Some(4), "its run had taken over before epoch 6");
        assert_eq!(by(1, left(7, 4, false)), None, "it may have taken over with 6");
        assert_eq!(by(1, left(6, 4, true)), None, "a compaction of what it took over with 6");
        assert_eq!(by(0, left(6, 4, true)), Some(4), "there was nothing to be compacted");
        assert_eq!(by(1, left(5, 9, true)), Some(9));
        assert_eq!(by(1, left(5, 3, false)), None, "its own");
        assert_eq!(by(1, left(2, 2, false)), None, "an earlier run's");
        assert_eq!(by(1, "snapshots/o/0000/readme.full".into()), None);
    }

    #[test]
    fn a_manifest_of_a_later_generation_tells_that_a_manifest_came_late() {
        let by = |epoch, generation, taken_over| {
            let other = Manifest { generation: Generation(generation), taken_over, ..Manifest::bare(epoch, Some(epoch - 1)) };
            overtaken_by(&candidate(0), [&other].into_iter(), std::iter::empty()).map(|by| by.0)
        };
        assert_eq!(by(6, 4, false), Some(4), "its parent was of its own run");
        assert_eq!([by(6, 4, true), by(7, 4, false), by(6, 3, false), by(4, 2, true)], [None; 4]);
        assert_eq!([by(4, 4, true), by(4, 4, false)], [Some(4); 2]);
    }

    #[test]
    fn the_lineage_leaves_out_what_was_given_up() {
        let manifests = [Manifest::bare(2, Some(1)), Manifest::bare(3, Some(2)), Manifest::bare(4, Some(2)), Manifest::bare(5, Some(4))];
        let mut listed: BTreeMap<Epoch, Option<&Manifest>> = manifests.iter().map(|m| (m.epoch, Some(m))).collect();
        assert_eq!(lineage(&listed, Epoch(5)), [Epoch(5), Epoch(4), Epoch(2)]);
        listed.insert(Epoch(4), None);
        assert_eq!(lineage(&listed, Epoch(5)), [Epoch(5), Epoch(4), Epoch(3), Epoch(2)], "nobody can tell where 4 came from");
        assert_eq!(lineage(&listed, Epoch(9)), []);
    }

    #[test]
    fn a_history_that_went_back_has_given_up_what_it_went_behind() {
        // 6 went back to 3, which is gone.
        let manifests = [Manifest::bare(5, Some(4)), Manifest::bare(6, Some(3)), Manifest::bare(7, Some(6))];
        let listed: BTreeMap<Epoch, Option<&Manifest>> = manifests.iter().map(|m| (m.epoch, Some(m))).collect();
        let given_up = |epoch| has_given_up(&listed, Epoch(7), Epoch(epoch));
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(given_up), [false, false, false, true, true, false, false, false]);
    }
}
