//! The invariants of manifests: what holds of each one that a run writes. They are checked before the write, in release builds too; where one is
//! broken nothing is written, and the run ends with an internal error that names it.
//!
//! A manifest that a broken host has written is worse than none: the next run trusts it, publishes what it names, and deletes what it does not.
//!
//! | invariant | what breaks without it |
//! |---|---|
//! | `epoch-after-parent` | a lineage that runs in a circle has no end |
//! | `generation-not-older` | a run that was fenced off continues the history of its successor |
//! | `chain-begins-full` | deltas without the snapshot that they change restore to a wrong state |
//! | `chain-in-order` | an older value of a cell covers a newer one |
//! | `object-once` | two instances restore the same state, or a compaction replaces an object that another chain needs |
//! | `parked-once` | rows that wait are worked on twice, or from beyond their end |
//! | `position-once` | a split is read twice, from two positions |
//! | `staged-of-the-past` | output of an epoch that is not complete is published |
//! | `counts-do-not-fall` | an epoch was folded into another history than its own |

use super::manifest::{InstanceState, Manifest, OperatorState};
use super::paths;
use crate::codec::snapshot::SnapshotScope;
use crate::ids::Epoch;
use std::collections::{BTreeMap, BTreeSet};

/// An invariant that a manifest breaks: a fault of the host itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the manifest of epoch {epoch} is not written, since it breaks the invariant `{invariant}`: {what}")]
pub struct BrokenInvariant {
    /// Name of the invariant.
    pub invariant: &'static str,
    /// The epoch of the manifest.
    pub epoch: Epoch,
    /// What is wrong, for people.
    pub what: String,
}

type Check = fn(&Manifest, Option<&Manifest>) -> Result<(), String>;

/// All invariants, by name.
const ALL: [(&str, Check); 9] = [
    ("epoch-after-parent", |manifest, _| epoch_after_parent(manifest)),
    ("generation-not-older", generation_not_older),
    ("chain-begins-full", |manifest, _| chain_begins_full(manifest)),
    ("chain-in-order", |manifest, _| chain_in_order(manifest)),
    ("object-once", |manifest, _| object_once(manifest)),
    ("parked-once", |manifest, _| parked_once(manifest)),
    ("position-once", |manifest, _| position_once(manifest)),
    ("staged-of-the-past", |manifest, _| staged_of_the_past(manifest)),
    ("counts-do-not-fall", counts_do_not_fall),
];

/// Checks a manifest that is about to be written. `before`: the one whose history it continues, where there is one.
///
/// # Errors
/// The first invariant that it breaks. Nothing may be written then.
pub fn check(manifest: &Manifest, before: Option<&Manifest>) -> Result<(), BrokenInvariant> {
    let broken = |invariant, what| BrokenInvariant { invariant, epoch: manifest.epoch, what };
    ALL.iter().try_for_each(|(invariant, check)| check(manifest, before).map_err(|what| broken(*invariant, what)))
}

/// Checks of a manifest that was read what decoding cannot: that it speaks of this job and this epoch, and the invariants without which it cannot
/// be taken up.
///
/// # Errors
/// What is wrong, for people.
pub fn check_read(manifest: &Manifest, job: &str, epoch: Epoch) -> Result<(), String> {
    require(manifest.job == job, || format!("it belongs to the job `{}`", manifest.job))?;
    require(manifest.epoch == epoch, || format!("it is of epoch {}", manifest.epoch))?;
    epoch_after_parent(manifest)?;
    chain_begins_full(manifest)
}

/// The parent of a manifest is of an earlier epoch.
fn epoch_after_parent(manifest: &Manifest) -> Result<(), String> {
    require(manifest.parent.is_none_or(|parent| parent < manifest.epoch), || "its parent is not older than it is".to_owned())
}

/// The epoch of a manifest comes after that of the manifest before it, and its generation is that one's or a later one.
fn generation_not_older(manifest: &Manifest, before: Option<&Manifest>) -> Result<(), String> {
    let Some(before) = before else { return Ok(()) };
    require(manifest.epoch > before.epoch && manifest.generation >= before.generation, || {
        format!("it is of generation {}, and follows epoch {} of generation {}", manifest.generation, before.epoch, before.generation)
    })
}

/// A chain begins with a full snapshot, and only deltas follow.
fn chain_begins_full(manifest: &Manifest) -> Result<(), String> {
    for (operator, index, instance) in instances(manifest) {
        let mut scopes = instance.chain.iter().map(|object| object.scope);
        let is_whole = scopes.next().is_none_or(|first| first == SnapshotScope::Full) && scopes.all(|scope| scope == SnapshotScope::Delta);
        require(is_whole, || format!("the chain of operator `{}` instance {index} is not one full snapshot and deltas", operator.name))?;
    }
    Ok(())
}

/// The epochs of the objects of a chain go up, and none is later than the manifest. Names that tell no epoch are passed over.
fn chain_in_order(manifest: &Manifest) -> Result<(), String> {
    for (operator, index, instance) in instances(manifest) {
        let epochs = instance.chain.iter().filter_map(|object| paths::snapshot_origin(&object.path)).map(|(epoch, _)| epoch);
        let epochs: Vec<_> = epochs.collect();
        let is_in_order = epochs.is_sorted_by(|one, next| one < next) && epochs.last().is_none_or(|last| *last <= manifest.epoch);
        require(is_in_order, || format!("the chain of operator `{}` instance {index} is of the epochs {epochs:?}", operator.name))?;
    }
    Ok(())
}

/// An object is named once.
fn object_once(manifest: &Manifest) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    manifest.objects().try_for_each(|object| require(seen.insert(&object.path), || format!("`{}` is named twice", object.path)))
}

/// An instance has a share of an object of parked input once, and some of it waits.
fn parked_once(manifest: &Manifest) -> Result<(), String> {
    for (operator, index, instance) in instances(manifest) {
        let mut seen = BTreeSet::new();
        for parked in &instance.parked {
            let is_sound = seen.insert((&parked.object.path, &parked.hops)) && parked.done < parked.object.entries;
            let at =
                || format!("operator `{}` instance {index} has done {} entries of `{}`", operator.name, parked.done, parked.object.path);
            require(is_sound, at)?;
        }
    }
    Ok(())
}

/// A source has one position in a split.
fn position_once(manifest: &Manifest) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    let mut splits = manifest.sources.iter().flat_map(|source| source.splits.iter().map(move |split| (&source.name, &split.split)));
    splits.try_for_each(|split| require(seen.insert(split), || format!("split `{}` of source `{}` has two positions", split.1, split.0)))
}

/// Staged output is of the epoch of the manifest or of an earlier one.
fn staged_of_the_past(manifest: &Manifest) -> Result<(), String> {
    let mut staged = manifest.sinks.iter().flat_map(|sink| sink.staged.iter().map(move |staged| (&sink.name, staged.epoch)));
    staged.try_for_each(|(sink, epoch)| require(epoch <= manifest.epoch, || format!("sink `{sink}` has output of epoch {epoch}")))
}

/// The rows that each node has worked on and refused are no fewer than before.
fn counts_do_not_fall(manifest: &Manifest, before: Option<&Manifest>) -> Result<(), String> {
    let counts = |manifest: &Manifest| {
        let sources = manifest.sources.iter().map(|source| (("source", source.name.clone()), (source.rows, source.rejected)));
        let sinks = manifest.sinks.iter().map(|sink| (("sink", sink.name.clone()), (sink.rows, 0)));
        let operators = manifest.operators.iter().map(|operator| {
            let (rows, rejected) = operator.instances.iter().fold((0, 0), |(rows, rejected), i| (rows + i.rows, rejected + i.rejected));
            (("operator", operator.name.clone()), (rows, rejected))
        });
        sources.chain(sinks).chain(operators).collect::<BTreeMap<_, (u64, u64)>>()
    };
    let now = counts(manifest);
    before.map(counts).into_iter().flatten().try_for_each(|(node, old)| {
        let has_fallen = now.get(&node).is_some_and(|new| new.0 < old.0 || new.1 < old.1);
        require(!has_fallen, || format!("{} `{}` had worked on {} rows and refused {}", node.0, node.1, old.0, old.1))
    })
}

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn instances(manifest: &Manifest) -> impl Iterator<Item = (&OperatorState, usize, &InstanceState)> {
    manifest.operators.iter().flat_map(|operator| operator.instances.iter().enumerate().map(move |(at, instance)| (operator, at, instance)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::manifest::{ObjectRef, SinkState, SourceState, SplitPosition, StagedRef};
    use crate::ids::{Digest, Generation, Instance};

    fn snapshot(epoch: u64, scope: SnapshotScope) -> ObjectRef {
        let path = paths::snapshot("count", Instance(0), Epoch(epoch), Generation(3), scope == SnapshotScope::Full);
        ObjectRef { path, scope, bytes: 1, checksum: 1, entries: 1 }
    }

    /// A manifest that breaks nothing, of epoch 7 and generation 3.
    fn sound() -> Manifest {
        let chain = vec![snapshot(5, SnapshotScope::Full), snapshot(6, SnapshotScope::Delta), snapshot(7, SnapshotScope::Delta)];
        let instances = vec![InstanceState { chain, rows: 10, rejected: 1, ..InstanceState::default() }];
        let split = SplitPosition { split: "a".into(), position: "1".into(), instance: Instance(0) };
        let staged = StagedRef { epoch: Epoch(7), token: "t".into(), rows: 1, bytes: 1 };
        Manifest {
            job: "j".into(),
            epoch: Epoch(7),
            generation: Generation(3),
            parent: Some(Epoch(6)),
            workers: 1,
            operators: vec![OperatorState { name: "count".into(), component: Digest([0; 32]), slots: vec![], instances }],
            sources: vec![SourceState { name: "in".into(), splits: vec![split], rows: 10, rejected: 0, quarantine: vec![] }],
            sinks: vec![SinkState { name: "out".into(), staged: vec![staged], rows: 9 }],
            ..Manifest::default()
        }
    }

    fn before() -> Manifest {
        let mut before = sound();
        (before.epoch, before.parent) = (Epoch(6), Some(Epoch(5)));
        before.operators[0].instances[0].chain.pop();
        before.sinks[0].staged.clear();
        before
    }

    /// The invariant that a manifest breaks once something was done to it.
    fn broken_by(spoil: impl FnOnce(&mut Manifest)) -> Option<&'static str> {
        let mut manifest = sound();
        spoil(&mut manifest);
        check(&manifest, Some(&before())).err().map(|broken| broken.invariant)
    }

    #[test]
    fn a_sound_manifest_breaks_nothing() {
        assert_eq!(broken_by(|_| ()), None);
        assert_eq!(check(&sound(), None), Ok(()));
    }

    #[test]
    fn a_parent_of_the_same_epoch_is_refused() {
        assert_eq!(broken_by(|manifest| manifest.parent = Some(Epoch(7))), Some("epoch-after-parent"));
    }

    #[test]
    fn an_older_generation_or_epoch_than_before_is_refused() {
        assert_eq!(broken_by(|manifest| manifest.generation = Generation(2)), Some("generation-not-older"));
        let mut late = before();
        late.epoch = Epoch(7);
        assert!(check(&sound(), Some(&late)).is_err_and(|broken| broken.invariant == "generation-not-older"));
    }

    #[test]
    fn a_chain_that_does_not_begin_full_is_refused() {
        assert_eq!(broken_by(|m| drop(m.operators[0].instances[0].chain.remove(0))), Some("chain-begins-full"));
        assert_eq!(broken_by(|m| m.operators[0].instances[0].chain[2].scope = SnapshotScope::Full), Some("chain-begins-full"));
    }

    #[test]
    fn a_chain_whose_epochs_do_not_go_up_is_refused() {
        let path = |epoch| snapshot(epoch, SnapshotScope::Delta).path;
        assert_eq!(broken_by(|m| m.operators[0].instances[0].chain[1].path = path(7)), Some("chain-in-order"));
        assert_eq!(broken_by(|m| m.operators[0].instances[0].chain[2].path = path(8)), Some("chain-in-order"));
    }

    #[test]
    fn an_object_that_is_named_twice_is_refused() {
        let twice = |m: &mut Manifest| m.sources[0].quarantine = m.operators[0].instances[0].chain[..1].to_vec();
        assert_eq!(broken_by(twice), Some("object-once"));
    }

    #[test]
    fn two_positions_in_one_split_are_refused() {
        let twice = |m: &mut Manifest| {
            let again = SplitPosition { position: "2".into(), ..m.sources[0].splits[0].clone() };
            m.sources[0].splits.push(again);
        };
        assert_eq!(broken_by(twice), Some("position-once"));
    }

    #[test]
    fn staged_output_of_a_later_epoch_is_refused() {
        assert_eq!(broken_by(|m| m.sinks[0].staged[0].epoch = Epoch(8)), Some("staged-of-the-past"));
    }

    #[test]
    fn counts_that_fall_are_refused() {
        assert_eq!(broken_by(|m| m.sources[0].rows = 9), Some("counts-do-not-fall"));
        assert_eq!(broken_by(|m| m.operators[0].instances[0].rejected = 0), Some("counts-do-not-fall"));
        assert_eq!(broken_by(|m| m.sinks[0].rows = 0), Some("counts-do-not-fall"));
        assert_eq!(broken_by(|m| m.sinks.clear()), None, "a node that the topology no longer has");
    }
}
