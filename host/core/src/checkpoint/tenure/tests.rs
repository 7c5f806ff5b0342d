//! The fence around manifests, savepoints, and compaction, step by step.

use super::*;
use crate::checkpoint::chain::ChainLimits;
use crate::checkpoint::coordinator::{self, Content, Layout, Node, OperatorLayout};
use crate::codec::snapshot::Scope;
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

fn tenure(length_max: u32) -> Tenure {
    let taken = coordinator::beginning(layout(length_max), Epoch(1));
    Tenure::new(Coordinator::new(layout(length_max), Epoch(2), Some(&taken)), taken)
}

fn object(epoch: u64, scope: Scope) -> ObjectRef {
    ObjectRef { path: format!("o{epoch}"), scope, bytes: 10, checksum: 0, entries: 1 }
}

/// Reports an epoch for all three participants; gives the deeds of the last report.
fn report(tenure: &mut Tenure, epoch: u64, closed: bool) -> Vec<Deed> {
    let scope = if epoch == 2 { Scope::Full } else { Scope::Delta };
    let staged = StagedRef { epoch: Epoch(epoch), token: format!("t{epoch}"), rows: 1, bytes: 1 };
    let contents = [
        (Node::Source(0), Content::Source { splits: vec![], rows: 1, rejected: 0, quarantine: vec![], ended: closed }),
        (
            Node::Operator(0),
            Content::Operator { snapshot: Some(object(epoch, scope)), watermark: 0, rows: 1, rejected: 0, quarantine: vec![] },
        ),
        (Node::Sink(0), Content::Sink { staged: Some(staged), rows: 1 }),
    ];
    let mut deeds = Vec::new();
    for (node, content) in contents {
        let from = Participant { node, instance: 0 };
        deeds = tenure.step(Fact::Reported(Report { from, epoch: Epoch(epoch), closed, content })).unwrap();
    }
    deeds
}

const NONE_NEWER: Fact = Fact::Newest(Generation(7));

/// Stores and publishes the manifest that is under way; gives the deeds of both.
fn store(tenure: &mut Tenure) -> Vec<Deed> {
    let created = tenure.step(NONE_NEWER).unwrap();
    assert!(matches!(&created[..], [Deed::Create(_)]), "{created:?}");
    assert_eq!(tenure.step(Fact::Created(true)).unwrap(), [Deed::Look]);
    let mut deeds = tenure.step(NONE_NEWER).unwrap();
    let Some(Deed::Publish { manifest, .. }) = deeds.first().cloned() else { panic!("{deeds:?}") };
    deeds.extend(tenure.step(Fact::Published(manifest.epoch)).unwrap());
    deeds
}

#[test]
fn a_manifest_is_created_between_two_looks() {
    let mut tenure = tenure(16);
    assert_eq!(report(&mut tenure, 2, false), [Deed::Look]);
    let deeds = store(&mut tenure);
    assert!(deeds.contains(&Deed::Completed(Epoch(2))));
}

#[test]
fn a_newer_claim_before_the_create_ends_the_tenure_without_it() {
    let mut tenure = tenure(16);
    report(&mut tenure, 2, false);
    assert_eq!(tenure.step(Fact::Newest(Generation(8))), Err(End::Fenced { theirs: Generation(8) }));
}

#[test]
fn a_newer_claim_after_the_create_ends_the_tenure_before_it_publishes() {
    let mut tenure = tenure(16);
    report(&mut tenure, 2, false);
    tenure.step(NONE_NEWER).unwrap();
    tenure.step(Fact::Created(true)).unwrap();
    assert_eq!(tenure.step(Fact::Newest(Generation(8))), Err(End::Fenced { theirs: Generation(8) }));
}

#[test]
fn a_place_that_is_taken_ends_the_tenure() {
    let mut tenure = tenure(16);
    report(&mut tenure, 2, false);
    tenure.step(NONE_NEWER).unwrap();
    assert_eq!(tenure.step(Fact::Created(false)), Err(End::Overtaken { epoch: Epoch(2) }));
}

#[test]
fn a_savepoint_waits_for_its_epoch_and_has_nothing_left_to_publish() {
    let mut tenure = tenure(16);
    assert_eq!(tenure.step(Fact::Asked { name: "later".into(), epoch: Epoch(3) }).unwrap(), []);
    let now = tenure.step(Fact::Asked { name: "now".into(), epoch: Epoch(1) }).unwrap();
    assert!(matches!(&now[..], [Deed::Save { name, manifest }] if name == "now" && manifest.epoch == Epoch(1)));
    report(&mut tenure, 2, false);
    assert!(!store(&mut tenure).iter().any(|deed| matches!(deed, Deed::Save { .. })));
    report(&mut tenure, 3, false);
    let deeds = store(&mut tenure);
    let saved = deeds.iter().find_map(|deed| match deed {
        Deed::Save { name, manifest } => Some((name.as_str(), manifest)),
        _ => None,
    });
    let (name, manifest) = saved.expect("its epoch is published");
    assert_eq!((name, manifest.epoch), ("later", Epoch(3)));
    assert!(manifest.sinks.iter().all(|sink| sink.staged.is_empty()));
}

#[test]
fn a_savepoint_that_waits_at_the_end_is_kept_before_the_run_is_done() {
    let mut tenure = tenure(16);
    tenure.step(Fact::Asked { name: "last".into(), epoch: Epoch(99) }).unwrap();
    report(&mut tenure, 2, true);
    let deeds = store(&mut tenure);
    let save = deeds.iter().position(|deed| matches!(deed, Deed::Save { .. })).expect("it is kept");
    let done = deeds.iter().position(|deed| matches!(deed, Deed::Done { finished: true })).expect("all have closed");
    assert!(save < done);
}

#[test]
fn a_chain_that_is_long_is_compacted_once_and_named_in_the_next_manifest() {
    let mut tenure = tenure(2);
    let mut asked = None;
    for epoch in 2..=5 {
        report(&mut tenure, epoch, false);
        for deed in store(&mut tenure) {
            if let Deed::Compact { at, epoch, chain, .. } = deed {
                assert!(asked.replace((at, epoch, chain)).is_none(), "asked for once while it is under way");
            }
        }
    }
    let (at, epoch, chain) = asked.expect("two deltas are due");
    assert_eq!((epoch, chain.len()), (Epoch(4), 3));
    let object = ObjectRef { path: "compacted".into(), ..object(4, Scope::Full) };
    tenure.step(Fact::Compacted { at, last: chain[2].path.clone(), object }).unwrap();
    report(&mut tenure, 6, false);
    let created = tenure.step(NONE_NEWER).unwrap();
    let [Deed::Create(manifest)] = &created[..] else { panic!("{created:?}") };
    let names: Vec<&str> = manifest.operators[0].instances[0].chain.iter().map(|link| link.path.as_str()).collect();
    assert_eq!(names, ["compacted", "o5", "o6"]);
    manifest.check("j", Epoch(6)).unwrap();
}

#[test]
fn a_damaged_chain_is_replaced_by_a_full_snapshot_and_a_late_compaction_of_it_is_passed_over() {
    let mut tenure = tenure(1);
    report(&mut tenure, 2, false);
    store(&mut tenure);
    report(&mut tenure, 3, false);
    let at = store(&mut tenure).into_iter().find_map(|deed| match deed {
        Deed::Compact { at, .. } => Some(at),
        _ => None,
    });
    let at = at.expect("one delta is due");
    assert_eq!(tenure.step(Fact::NotCompacted { at, damaged: true }).unwrap(), [Deed::AskFull(at)]);
    let stray = Fact::Compacted { at, last: "another chain's".into(), object: object(3, Scope::Full) };
    tenure.step(stray).unwrap();
    report(&mut tenure, 4, false);
    let created = tenure.step(NONE_NEWER).unwrap();
    assert!(matches!(&created[..], [Deed::Create(m)] if m.operators[0].instances[0].chain.len() == 3));
}

#[test]
fn checkpoints_wait_for_a_compaction_that_lags_too_far_behind() {
    let mut tenure = tenure(1);
    let mut at = None;
    let mut epoch = 2;
    loop {
        if report(&mut tenure, epoch, false).is_empty() {
            break;
        }
        at = at.or(store(&mut tenure).into_iter().find_map(|deed| match deed {
            Deed::Compact { at, epoch, chain, .. } => Some((at, epoch, chain)),
            _ => None,
        }));
        epoch += 1;
        assert!(epoch < 50, "nothing ever waits");
    }
    let (at, _, chain) = at.expect("a chain was due");
    let object = ObjectRef { path: "compacted".into(), ..object(3, Scope::Full) };
    let deeds = tenure.step(Fact::Compacted { at, last: chain.last().unwrap().path.clone(), object }).unwrap();
    assert_eq!(deeds, [Deed::Look], "and go on once it is done");
}

#[test]
fn a_chain_that_an_earlier_run_left_too_long_is_compacted_at_the_start() {
    let mut base = coordinator::beginning(layout(2), Epoch(9));
    base.operators[0].instances[0].chain = vec![object(2, Scope::Full), object(3, Scope::Delta), object(4, Scope::Delta)];
    let mut tenure = Tenure::new(Coordinator::new(layout(2), Epoch(10), Some(&base)), base.clone());
    let deeds = tenure.begin();
    assert!(matches!(&deeds[..], [Deed::Compact { epoch: Epoch(9), chain, .. }] if chain.len() == 3), "{deeds:?}");
    let mut more = layout(2);
    more.operators[0].instances = 2;
    let mut other = Tenure::new(Coordinator::new(more, Epoch(10), Some(&base)), base);
    assert_eq!(other.begin(), [], "with another number of instances chains begin anew");
}

#[test]
fn output_that_is_published_while_the_next_manifest_is_stored_makes_a_savepoint_ripe() {
    let mut tenure = tenure(16);
    for epoch in [2, 3] {
        report(&mut tenure, epoch, false);
        tenure.step(NONE_NEWER).unwrap();
        tenure.step(Fact::Created(true)).unwrap();
        tenure.step(NONE_NEWER).unwrap();
    }
    tenure.step(Fact::Published(Epoch(2))).unwrap();
    let deeds = tenure.step(Fact::Asked { name: "now".into(), epoch: Epoch(2) }).unwrap();
    assert!(matches!(&deeds[..], [Deed::Save { manifest, .. }] if manifest.epoch == Epoch(2)), "{deeds:?}");
}
