//! The fence around manifests, savepoints, and compaction, step by step.

use super::*;
use crate::checkpoint::chain::ChainLimits;
use crate::checkpoint::coordinator::{self, CompactedChain, Compaction, Content, Layout, Node, OperatorLayout, Participant, Report};
use crate::checkpoint::manifest::ObjectRef;
use crate::codec::snapshot::SnapshotScope;
use crate::ids::Digest;

fn layout(length_max: u32) -> Layout {
    Layout {
        job: "j".into(),
        generation: Generation(7),
        writer: 1,
        topology: Digest([0; 32]),
        workers: 1,
        operators: vec![OperatorLayout { name: "count".into(), component: Digest([1; 32]), slots: vec![], instances: 1 }],
        sources: vec![("text".into(), vec![])],
        sinks: vec!["out".into()],
        chain: ChainLimits { length_max, bytes_max: u64::MAX },
    }
}

fn committer(length_max: u32) -> FencedCommitter {
    let taken = coordinator::beginning(layout(length_max), Epoch(1));
    FencedCommitter::new(Coordinator::new(layout(length_max), Epoch(2), Some(&taken)), taken)
}

fn object(epoch: u64, scope: SnapshotScope) -> ObjectRef {
    ObjectRef { path: format!("o{epoch}"), scope, bytes: 10, checksum: 0, entries: 1 }
}

/// Reports an epoch for all three participants; gives the actions of the last report.
fn report(committer: &mut FencedCommitter, epoch: u64, closed: bool) -> Vec<FencedAction> {
    let scope = if epoch == 2 { SnapshotScope::Full } else { SnapshotScope::Delta };
    let staged = StagedRef { epoch: Epoch(epoch), token: format!("t{epoch}"), rows: 1, bytes: 1 };
    let contents = [
        (Node::Source(0), Content::Source { splits: vec![], rows: 1, rejected: 0, quarantine: vec![], ended: closed }),
        (
            Node::Operator(0),
            Content::Operator {
                snapshot: Some(object(epoch, scope)),
                watermark: 0,
                rows: 1,
                rejected: 0,
                quarantine: vec![],
                parked: vec![],
            },
        ),
        (Node::Sink(0), Content::Sink { staged: Some(staged), rows: 1 }),
    ];
    let mut actions = Vec::new();
    for (node, content) in contents {
        let from = Participant { node, instance: 0 };
        actions = committer.tell(Event::Reported(Report { from, epoch: Epoch(epoch), closed, content })).unwrap();
    }
    actions
}

const OURS: Generation = Generation(7);

/// Stores and publishes the manifest that is under way; gives the actions of both.
fn store(committer: &mut FencedCommitter) -> Vec<FencedAction> {
    let created = committer.newest(OURS).unwrap();
    assert!(matches!(&created[..], [FencedAction::Create(_)]), "{created:?}");
    assert_eq!(committer.created(true).unwrap(), [FencedAction::Look]);
    let mut actions = committer.newest(OURS).unwrap();
    let Some(FencedAction::Publish { manifest, .. }) = actions.first().cloned() else { panic!("{actions:?}") };
    actions.extend(committer.tell(Event::Published(manifest.epoch)).unwrap());
    actions
}

#[test]
fn a_manifest_is_created_between_two_looks() {
    let mut committer = committer(16);
    assert_eq!(report(&mut committer, 2, false), [FencedAction::Look]);
    let actions = store(&mut committer);
    assert!(actions.contains(&FencedAction::Do(Action::Completed(Epoch(2)))));
}

#[test]
fn a_newer_claim_before_the_create_ends_the_run_without_it() {
    let mut committer = committer(16);
    report(&mut committer, 2, false);
    assert_eq!(committer.newest(Generation(8)), Err(CommitterError::Fenced { theirs: Generation(8) }));
}

#[test]
fn a_newer_claim_after_the_create_ends_the_run_before_it_publishes() {
    let mut committer = committer(16);
    report(&mut committer, 2, false);
    committer.newest(OURS).unwrap();
    committer.created(true).unwrap();
    assert_eq!(committer.newest(Generation(8)), Err(CommitterError::Fenced { theirs: Generation(8) }));
}

#[test]
fn a_place_that_is_taken_ends_the_run() {
    let mut committer = committer(16);
    report(&mut committer, 2, false);
    committer.newest(OURS).unwrap();
    assert_eq!(committer.created(false), Err(CommitterError::Overtaken { epoch: Epoch(2) }));
}

#[test]
fn a_savepoint_waits_for_its_epoch_and_has_nothing_left_to_publish() {
    let mut committer = committer(16);
    assert_eq!(committer.asked("later".into(), Epoch(3)), []);
    let now = committer.asked("now".into(), Epoch(1));
    assert!(matches!(&now[..], [FencedAction::Save { name, manifest }] if name == "now" && manifest.epoch == Epoch(1)));
    report(&mut committer, 2, false);
    assert!(!store(&mut committer).iter().any(|action| matches!(action, FencedAction::Save { .. })));
    report(&mut committer, 3, false);
    let actions = store(&mut committer);
    let saved = actions.iter().find_map(|action| match action {
        FencedAction::Save { name, manifest } => Some((name.as_str(), manifest)),
        _ => None,
    });
    let (name, manifest) = saved.expect("its epoch is published");
    assert_eq!((name, manifest.epoch), ("later", Epoch(3)));
    assert!(manifest.sinks.iter().all(|sink| sink.staged.is_empty()));
}

#[test]
fn a_savepoint_that_waits_at_the_end_is_kept_before_the_run_is_done() {
    let mut committer = committer(16);
    assert_eq!(committer.asked("last".into(), Epoch(99)), []);
    report(&mut committer, 2, true);
    let actions = store(&mut committer);
    let save = actions.iter().position(|action| matches!(action, FencedAction::Save { .. })).expect("it is kept");
    let done =
        actions.iter().position(|action| matches!(action, FencedAction::Do(Action::Done { finished: true }))).expect("all have closed");
    assert!(save < done);
}

#[test]
fn a_chain_that_is_long_is_compacted_once_and_named_in_the_next_manifest() {
    let mut committer = committer(2);
    let mut asked = None;
    for epoch in 2..=5 {
        report(&mut committer, epoch, false);
        for action in store(&mut committer) {
            if let FencedAction::Do(Action::Compact(compaction)) = action {
                assert!(asked.replace(compaction).is_none(), "asked for once while it is under way");
            }
        }
    }
    let Compaction { at, epoch, chain, .. } = *asked.expect("two deltas are due");
    assert_eq!((epoch, chain.len()), (Epoch(4), 3));
    let object = ObjectRef { path: "compacted".into(), ..object(4, SnapshotScope::Full) };
    committer.tell(Event::Compacted(CompactedChain { at, last: chain[2].path.clone(), object })).unwrap();
    report(&mut committer, 6, false);
    let created = committer.newest(OURS).unwrap();
    let [FencedAction::Create(manifest)] = &created[..] else { panic!("{created:?}") };
    let names: Vec<&str> = manifest.operators[0].instances[0].chain.iter().map(|link| link.path.as_str()).collect();
    assert_eq!(names, ["compacted", "o5", "o6"]);
    invariants::check_read(manifest, "j", Epoch(6)).unwrap();
}

#[test]
fn a_damaged_chain_is_replaced_by_a_full_snapshot_and_a_late_compaction_of_it_is_passed_over() {
    let mut committer = committer(1);
    report(&mut committer, 2, false);
    store(&mut committer);
    report(&mut committer, 3, false);
    let at = store(&mut committer).into_iter().find_map(|action| match action {
        FencedAction::Do(Action::Compact(compaction)) => Some(compaction.at),
        _ => None,
    });
    let at = at.expect("one delta is due");
    assert_eq!(committer.tell(Event::ChainDamaged(at)).unwrap(), [FencedAction::Do(Action::AskFull(at))]);
    let stray = CompactedChain { at, last: "another chain's".into(), object: object(3, SnapshotScope::Full) };
    committer.tell(Event::Compacted(stray)).unwrap();
    report(&mut committer, 4, false);
    let created = committer.newest(OURS).unwrap();
    assert!(matches!(&created[..], [FencedAction::Create(m)] if m.operators[0].instances[0].chain.len() == 3));
}

#[test]
fn checkpoints_wait_for_a_compaction_that_lags_too_far_behind() {
    let mut committer = committer(1);
    let mut due = None;
    let mut epoch = 2;
    loop {
        if report(&mut committer, epoch, false).is_empty() {
            break;
        }
        due = due.or(store(&mut committer).into_iter().find_map(|action| match action {
            FencedAction::Do(Action::Compact(compaction)) => Some(compaction),
            _ => None,
        }));
        epoch += 1;
        assert!(epoch < 50, "nothing ever waits");
    }
    let Compaction { at, chain, .. } = *due.expect("a chain was due");
    let object = ObjectRef { path: "compacted".into(), ..object(3, SnapshotScope::Full) };
    let actions = committer.tell(Event::Compacted(CompactedChain { at, last: chain.last().unwrap().path.clone(), object })).unwrap();
    assert_eq!(actions, [FencedAction::Look], "and go on once it is done");
}

#[test]
fn a_chain_that_an_earlier_run_left_too_long_is_compacted_at_the_start() {
    let mut base = coordinator::beginning(layout(2), Epoch(9));
    base.operators[0].instances[0].chain =
        vec![object(2, SnapshotScope::Full), object(3, SnapshotScope::Delta), object(4, SnapshotScope::Delta)];
    let mut committer = FencedCommitter::new(Coordinator::new(layout(2), Epoch(10), Some(&base)), base.clone());
    let actions = committer.begin();
    assert!(
        matches!(&actions[..], [FencedAction::Do(Action::Compact(compaction))] if compaction.epoch == Epoch(9) && compaction.chain.len() == 3),
        "{actions:?}"
    );
    let mut more = layout(2);
    more.operators[0].instances = 2;
    let mut other = FencedCommitter::new(Coordinator::new(more, Epoch(10), Some(&base)), base);
    assert_eq!(other.begin(), [], "with another number of instances chains begin anew");
}

#[test]
fn output_that_is_published_while_the_next_manifest_is_stored_makes_a_savepoint_ripe() {
    let mut committer = committer(16);
    for epoch in [2, 3] {
        report(&mut committer, epoch, false);
        committer.newest(OURS).unwrap();
        committer.created(true).unwrap();
        committer.newest(OURS).unwrap();
    }
    committer.tell(Event::Published(Epoch(2))).unwrap();
    let actions = committer.asked("now".into(), Epoch(2));
    assert!(matches!(&actions[..], [FencedAction::Save { manifest, .. }] if manifest.epoch == Epoch(2)), "{actions:?}");
}
