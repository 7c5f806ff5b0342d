//! What the committer holds, spares and lets go of, step by step.

use super::*;
use crate::checkpoint::chain::ChainLimits;
use crate::checkpoint::coordinator::{self, Content, Layout, Node, OperatorLayout};
use crate::checkpoint::manifest::{ObjectRef, StagedRef};
use crate::codec::snapshot::SnapshotScope;
use crate::ids::{Digest, Instance};

const OURS: Generation = Generation(7);

fn layout() -> Layout {
    Layout {
        job: "j".into(),
        generation: OURS,
        writer: 1,
        topology: Digest([0; 32]),
        workers: 1,
        operators: vec![OperatorLayout { name: "count".into(), component: Digest([1; 32]), slots: vec![], instances: 1 }],
        sources: vec![("text".into(), vec![])],
        sinks: vec!["out".into()],
        chain: ChainLimits { length_max: 1, bytes_max: u64::MAX },
    }
}

/// A committer that keeps one checkpoint, begun at epoch 2, past its first sweep.
fn committer() -> Committer {
    let taken = coordinator::beginning(layout(), Epoch(1));
    let retention = Retention::new(&[Epoch(1)], std::slice::from_ref(&taken), Some(Epoch(1)));
    let mut committer = Committer::new(layout(), &taken, retention, 1);
    assert_eq!(committer.begin().unwrap(), [CommitterAction::Sweep(vec![])]);
    assert_eq!(committer.step(CommitterEvent::Swept(vec![])).unwrap(), []);
    committer
}

fn snapshot(epoch: u64) -> ObjectRef {
    let path = paths::snapshot("count", Instance(0), Epoch(epoch), OURS, epoch == 2);
    let scope = if epoch == 2 { SnapshotScope::Full } else { SnapshotScope::Delta };
    ObjectRef { path, scope, bytes: 10, checksum: 0, entries: 1 }
}

/// Reports an epoch of all participants; gives the last actions.
fn report(committer: &mut Committer, epoch: u64, closed: bool) -> Vec<CommitterAction> {
    let staged = Some(StagedRef { epoch: Epoch(epoch), token: format!("t{epoch}"), rows: 1, bytes: 1 });
    let snapshot = Some(snapshot(epoch));
    let contents = [
        (Node::Source(0), Content::Source { splits: vec![], rows: 1, rejected: 0, quarantine: vec![], ended: closed }),
        (Node::Operator(0), Content::Operator { snapshot, watermark: 0, rows: 1, rejected: 0, quarantine: vec![], parked: vec![] }),
        (Node::Sink(0), Content::Sink { staged, rows: 1 }),
    ];
    let report = |(node, content)| Report { from: Participant { node, instance: 0 }, epoch: Epoch(epoch), closed, content };
    let reports = contents.map(report).map(|report| committer.step(CommitterEvent::Reported(report)).unwrap());
    reports.into_iter().next_back().unwrap()
}

/// Stores the manifest that is under way; gives the actions after the second look.
fn store(committer: &mut Committer) -> Vec<CommitterAction> {
    assert!(matches!(&committer.step(CommitterEvent::Newest(OURS)).unwrap()[..], [CommitterAction::Create(_)]));
    assert_eq!(committer.step(CommitterEvent::Created(true)).unwrap(), [CommitterAction::Look]);
    committer.step(CommitterEvent::Newest(OURS)).unwrap()
}

fn through(committer: &mut Committer, epoch: u64) -> Vec<CommitterAction> {
    committer.step(CommitterEvent::LaneThrough { lane: 0, epoch: Epoch(epoch) }).unwrap()
}

fn published(epoch: u64) -> impl Fn(&CommitterAction) -> bool {
    move |action| matches!(action, CommitterAction::Published(manifest) if manifest.epoch == Epoch(epoch))
}

#[test]
fn a_manifest_whose_output_is_not_published_does_not_retire_the_one_before_it() {
    let mut committer = committer();
    for epoch in [2, 3] {
        assert_eq!(report(&mut committer, epoch, false), [CommitterAction::Look]);
        let actions = store(&mut committer);
        assert!(actions.iter().any(|action| matches!(action, CommitterAction::Publish(output) if output.epoch == Epoch(epoch))));
        assert!(actions.contains(&CommitterAction::Sweep(vec![])), "{actions:?}");
        committer.step(CommitterEvent::Swept(vec![])).unwrap();
    }
    assert_eq!((committer.behind(), committer.newest()), (2, Some(Epoch(3))));
    let actions = through(&mut committer, 2);
    assert!(actions.iter().any(published(2)) && actions.contains(&CommitterAction::Sweep(vec![])), "{actions:?}");
    // The sweep is under way still.
    assert_eq!(through(&mut committer, 3).iter().filter(|action| matches!(action, CommitterAction::Sweep(_))).count(), 0);
    assert_eq!(committer.end(&[]).1, [Epoch(1), Epoch(2)]);
}

#[test]
fn a_compaction_is_spared_until_a_manifest_could_name_it() {
    let mut committer = committer();
    report(&mut committer, 2, false);
    store(&mut committer);
    report(&mut committer, 3, false);
    let actions = store(&mut committer);
    let compacts = |action: &CommitterAction| matches!(action, CommitterAction::Compact(compaction) if compaction.epoch == Epoch(3));
    assert!(actions.iter().any(compacts), "{actions:?}");
    let path = paths::snapshot("count", Instance(0), Epoch(3), OURS, true);
    assert_eq!(committer.spared(), BTreeSet::from([path.clone()]));
    let object = ObjectRef { path: path.clone(), scope: SnapshotScope::Full, ..snapshot(3) };
    let at = Participant { node: Node::Operator(0), instance: 0 };
    committer.step(CommitterEvent::Compacted(CompactedChain { at, last: snapshot(3).path, object })).unwrap();
    report(&mut committer, 4, false);
    store(&mut committer);
    assert!(committer.spared().contains(&path), "the manifest may have been under way");
    report(&mut committer, 5, false);
    store(&mut committer);
    assert!(!committer.spared().contains(&path) && committer.retention().needs(&path));
}

#[test]
fn a_savepoint_on_its_way_is_waited_for_by_everything_else() {
    let mut committer = committer();
    let asked = CommitterEvent::SavepointAsked { name: "s".into(), epoch: Epoch(2) };
    assert_eq!(committer.step(asked).unwrap(), []);
    report(&mut committer, 2, false);
    store(&mut committer);
    let actions = through(&mut committer, 2);
    assert!(
        matches!(actions.last(), Some(CommitterAction::CreateSavepoint { path, .. }) if path == "savepoints/s.manifest"),
        "{actions:?}"
    );
    assert_eq!(report(&mut committer, 3, true), [], "a look for the next manifest waits");
    assert_eq!(committer.step(CommitterEvent::SavepointCreated(true)).unwrap(), [CommitterAction::LookAfterSavepoint]);
    let actions = committer.step(CommitterEvent::NewestAfterSavepoint(OURS)).unwrap();
    assert!(matches!(&actions[..], [CommitterAction::Saved { is_new: true, .. }, CommitterAction::Look]), "{actions:?}");
}

#[test]
fn no_sweep_begins_while_a_savepoint_is_on_its_way() {
    let sweeps = |actions: &[CommitterAction]| actions.iter().any(|action| matches!(action, CommitterAction::Sweep(_)));
    for (planted, begins) in [(None, false), (Some(CommitterMutation::SweepBesideSavepoint), true)] {
        let mut committer = committer();
        planted.into_iter().for_each(|mutation| committer.plant(mutation));
        committer.step(CommitterEvent::SavepointAsked { name: "s".into(), epoch: Epoch(2) }).unwrap();
        for epoch in [2, 3] {
            report(&mut committer, epoch, false);
            store(&mut committer);
        }
        assert!(!sweeps(&through(&mut committer, 2)), "one is under way");
        committer.step(CommitterEvent::Swept(vec![])).unwrap();
        assert_eq!(sweeps(&through(&mut committer, 3)), begins);
    }
}

#[test]
fn a_savepoint_of_a_host_that_was_replaced_is_removed_again() {
    let mut committer = committer();
    committer.step(CommitterEvent::SavepointAsked { name: "s".into(), epoch: Epoch(1) }).unwrap();
    committer.step(CommitterEvent::SavepointCreated(true)).unwrap();
    let theirs = Generation(8);
    let actions = committer.step(CommitterEvent::NewestAfterSavepoint(theirs)).unwrap();
    assert_eq!(actions, [CommitterAction::Remove("savepoints/s.manifest".into()), CommitterAction::Look]);
    assert_eq!(committer.step(CommitterEvent::Newest(theirs)), Err(CommitterError::Fenced { theirs }));
}

#[test]
fn a_manifest_that_breaks_an_invariant_is_not_written() {
    let mut committer = committer();
    report(&mut committer, 2, false);
    store(&mut committer);
    let from = |node| Participant { node, instance: 0 };
    let content = Content::Operator {
        snapshot: Some(snapshot(2)),
        watermark: 0,
        rows: 1,
        rejected: 0,
        quarantine: vec![snapshot(2)],
        parked: vec![],
    };
    let contents = [
        (Node::Source(0), Content::Source { splits: vec![], rows: 1, rejected: 0, quarantine: vec![], ended: false }),
        (Node::Operator(0), content),
        (Node::Sink(0), Content::Sink { staged: None, rows: 1 }),
    ];
    for (node, content) in contents {
        let report = Report { from: from(node), epoch: Epoch(3), closed: false, content };
        committer.step(CommitterEvent::Reported(report)).unwrap();
    }
    let error = committer.step(CommitterEvent::Newest(OURS)).unwrap_err();
    assert!(matches!(&error, CommitterError::Broken(broken) if broken.invariant == "object-once"), "{error}");
}
