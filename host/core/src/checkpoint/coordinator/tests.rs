//! The coordinator against its invariants, under reports in random order.

use super::*;
use crate::checkpoint::chain::ChainLimits;
use crate::checkpoint::invariants;
use crate::checkpoint::manifest::SplitPosition;
use crate::codec::snapshot::SnapshotScope;
use crate::ids::{Digest, Generation, Instance};
use proptest::prelude::*;

fn layout(workers: u32) -> Layout {
    Layout {
        job: "j".into(),
        generation: Generation(1),
        writer: 9,
        topology: Digest([0; 32]),
        workers,
        operators: vec![OperatorLayout { name: "count".into(), component: Digest([1; 32]), slots: vec![], instances: workers }],
        sources: vec![("text".into(), vec![SplitPosition { split: "s9".into(), position: "unread".into(), instance: Instance(0) }])],
        sinks: vec!["out".into()],
        chain: ChainLimits { length_max: 1_000, bytes_max: u64::MAX },
    }
}

fn object(epoch: u64, full: bool) -> ObjectRef {
    ObjectRef {
        path: format!("o-{epoch}"),
        scope: if full { SnapshotScope::Full } else { SnapshotScope::Delta },
        bytes: 1,
        checksum: 1,
        entries: 1,
    }
}

fn report(node: Node, instance: u32, epoch: u64, closed: bool) -> Report {
    let content = match node {
        Node::Source(_) => Content::Source {
            splits: vec![SplitPosition { split: format!("s{instance}"), position: epoch.to_string(), instance: Instance(instance) }],
            rows: 1,
            rejected: 0,
            quarantine: vec![],
            ended: closed,
        },
        Node::Operator(_) => Content::Operator {
            snapshot: Some(object(epoch, epoch == 1)),
            watermark: epoch as i64,
            rows: 1,
            rejected: 0,
            quarantine: vec![],
            parked: vec![],
        },
        Node::Sink(_) => Content::Sink {
            staged: Some(StagedRef { epoch: Epoch(epoch), token: format!("t{instance}-{epoch}"), rows: 1, bytes: 1 }),
            rows: 1,
        },
    };
    Report { from: Participant { node, instance }, epoch: Epoch(epoch), closed, content }
}

const NODES: [Node; 3] = [Node::Source(0), Node::Operator(0), Node::Sink(0)];

/// Plays `order`, an interleaving of participants, to the end and checks the invariants on the way. The operator has `more` instances than
/// there are workers.
fn play(workers: u32, more: u32, epochs: u64, order: &[u32], store_late: &[bool]) -> Manifest {
    let mut layout = layout(workers);
    layout.operators[0].instances += more;
    let mut left: Vec<(Node, u32, u64)> = layout.participants().map(|at| (at.node, at.instance, 1)).collect();
    let mut coordinator = Coordinator::new(layout, Epoch(1), None);
    let mut reported: BTreeMap<(Node, u32), u64> = BTreeMap::new();
    let (mut last, mut done, mut owed) = (None::<Manifest>, None, VecDeque::new());
    let mut published = std::collections::BTreeSet::new();
    let (mut order, mut late) = (order.iter().cycle(), store_late.iter().cycle());
    while done.is_none() {
        let event = if !left.is_empty() && (owed.is_empty() || *late.next().unwrap()) {
            let at = *order.next().unwrap() as usize % left.len();
            let (node, instance, epoch) = left[at];
            if epoch == epochs {
                left.remove(at);
            } else {
                left[at].2 += 1;
            }
            reported.insert((node, instance), epoch);
            Event::Reported(report(node, instance, epoch, epoch == epochs))
        } else {
            owed.pop_front().expect("nothing is left to do, yet it is not done")
        };
        for action in coordinator.step(event).unwrap() {
            match action {
                Action::Write(manifest) => {
                    assert!(reported.values().all(|&e| e >= manifest.epoch.0), "written before all reported");
                    assert_eq!(manifest.parent, last.as_ref().map(|m| m.epoch));
                    owed.push_back(Event::Stored(manifest.epoch));
                    last = Some(*manifest);
                }
                Action::Publish { epoch, staged } => {
                    assert!(last.as_ref().is_some_and(|m| m.epoch >= epoch));
                    published.extend(staged.into_iter().map(|(_, s)| s.token));
                    owed.push_back(Event::Published(epoch));
                }
                Action::Completed(_) | Action::Compact(_) => {}
                Action::AskFull(at) => panic!("nothing of {at:?} is damaged"),
                Action::Done { finished } => done = Some(finished),
            }
        }
    }
    assert_eq!(done, Some(true));
    assert_eq!(published.len() as u64, epochs * u64::from(workers), "everything is published in the end");
    last.unwrap()
}

proptest! {
    #[test]
    fn any_order_of_reports_ends_in_the_same_checkpoint(
        workers in 1..4u32, more in 0..3u32, epochs in 1..6u64,
        order in proptest::collection::vec(any::<u32>(), 1..40),
        late in proptest::collection::vec(any::<bool>(), 1..10),
    ) {
        let late: Vec<bool> = late.into_iter().chain([true, false]).collect();
        let end = play(workers, more, epochs, &order, &late);
        prop_assert!(end.finished);
        prop_assert_eq!(end.epoch, Epoch(epochs));
        prop_assert_eq!(end.sources[0].rows, epochs * u64::from(workers));
        let (unread, read): (Vec<_>, Vec<_>) = end.sources[0].splits.iter().partition(|s| s.split == "s9");
        prop_assert!(read.len() == workers as usize && read.iter().all(|s| s.position == epochs.to_string()));
        prop_assert!(unread.len() == 1 && unread[0].position == "unread", "a split that nobody has begun is kept");
        prop_assert_eq!(end.operators[0].instances.len() as u32, workers + more);
        for instance in &end.operators[0].instances {
            prop_assert_eq!(instance.chain.len() as u64, epochs);
            prop_assert_eq!(instance.chain[0].scope, SnapshotScope::Full);
        }
        invariants::check_read(&end, "j", Epoch(epochs)).unwrap();
    }
}

#[test]
fn an_epoch_without_news_has_a_manifest_too() {
    let mut coordinator = Coordinator::new(layout(1), Epoch(1), None);
    let idle = |node| {
        let mut idle = report(node, 0, 1, false);
        idle.content = match idle.content {
            Content::Source { .. } => Content::Source { splits: vec![], rows: 0, rejected: 0, quarantine: vec![], ended: false },
            Content::Operator { .. } => {
                Content::Operator { snapshot: None, watermark: i64::MIN, rows: 0, rejected: 0, quarantine: vec![], parked: vec![] }
            }
            Content::Sink { .. } => Content::Sink { staged: None, rows: 0 },
        };
        Event::Reported(idle)
    };
    assert_eq!(coordinator.step(idle(NODES[0])).unwrap(), []);
    assert_eq!(coordinator.step(idle(NODES[1])).unwrap(), []);
    assert!(matches!(&coordinator.step(idle(NODES[2])).unwrap()[..], [Action::Write(m)] if m.epoch == Epoch(1)));
}

#[test]
fn reports_out_of_order_are_a_violation() {
    let mut coordinator = Coordinator::new(layout(1), Epoch(1), None);
    assert!(coordinator.step(Event::Reported(report(NODES[0], 0, 2, false))).is_err());
    assert!(coordinator.step(Event::Reported(report(NODES[0], 1, 1, false))).is_err());
    coordinator.step(Event::Reported(report(NODES[0], 0, 1, true))).unwrap();
    assert!(coordinator.step(Event::Reported(report(NODES[0], 0, 2, true))).is_err());
}

#[test]
fn a_participant_that_closed_early_stands_for_later_epochs() {
    let mut coordinator = Coordinator::new(layout(1), Epoch(1), None);
    coordinator.step(Event::Reported(report(NODES[0], 0, 1, true))).unwrap();
    for epoch in 1..=2 {
        coordinator.step(Event::Reported(report(NODES[1], 0, epoch, epoch == 2))).unwrap();
    }
    let first = coordinator.step(Event::Reported(report(NODES[2], 0, 1, false))).unwrap();
    assert!(matches!(&first[..], [Action::Write(m)] if m.epoch == Epoch(1) && !m.finished));
    coordinator.step(Event::Stored(Epoch(1))).unwrap();
    let second = coordinator.step(Event::Reported(report(NODES[2], 0, 2, true))).unwrap();
    assert!(matches!(&second[..], [Action::Write(m)] if m.epoch == Epoch(2) && m.finished));
}

#[test]
fn another_number_of_instances_starts_new_chains() {
    let base = play(2, 0, 3, &[0], &[true, false]);
    let same = Coordinator::new(layout(2), Epoch(4), Some(&base));
    assert_eq!(same.state.operators[0].instances[0].chain.len(), 3);
    let more = Coordinator::new(layout(3), Epoch(4), Some(&base));
    assert!(more.state.operators[0].instances.iter().all(|i| i.chain.is_empty()));
    // They belong to instances, not to workers.
    let base = play(2, 1, 3, &[0], &[true, false]);
    let more = Coordinator::new(layout(3), Epoch(4), Some(&base));
    assert!(more.state.operators[0].instances.iter().all(|i| i.chain.len() == 3));
}

#[test]
fn a_manifest_that_takes_over_has_the_state_of_its_parent() {
    let base = play(2, 0, 3, &[0], &[true, false]);
    let taken = base.take_over(Epoch(9), Generation(5), 77);
    invariants::check_read(&taken, "j", Epoch(9)).unwrap();
    assert_eq!((taken.parent, taken.generation, taken.writer, taken.taken_over), (Some(Epoch(3)), Generation(5), 77, true));
    assert_eq!((&taken.operators, &taken.sinks), (&base.operators, &base.sinks));
    let next = Coordinator::new(layout(2), Epoch(10), Some(&taken));
    assert_eq!((next.stored, next.state.operators[0].instances[0].chain.len()), (Some(Epoch(9)), 3));
    let first = beginning(layout(2), Epoch(1));
    assert!(first.taken_over && first.parent.is_none() && first.sources[0].splits.is_empty());
}

#[test]
fn manifests_are_so_far_ahead_of_their_output_and_no_further() {
    let mut coordinator = Coordinator::new(layout(1), Epoch(1), None);
    let (mut written, last) = (Vec::new(), UNPUBLISHED_MAX as u64 + 5);
    let step = |coordinator: &mut Coordinator, event, written: &mut Vec<Manifest>| {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in coordinator.step(event).unwrap() {
                if let Action::Write(manifest) = action {
                    events.push_back(Event::Stored(manifest.epoch));
                    written.push(*manifest);
                }
            }
        }
    };
    for epoch in 1..=last {
        for node in NODES {
            step(&mut coordinator, Event::Reported(report(node, 0, epoch, false)), &mut written);
        }
    }
    assert_eq!(written.len(), UNPUBLISHED_MAX, "nothing is published");
    assert_eq!(written.last().map(|manifest| manifest.sinks[0].staged.len()), Some(UNPUBLISHED_MAX), "all of it is named again");
    for epoch in 1..=last {
        step(&mut coordinator, Event::Published(Epoch(epoch)), &mut written);
    }
    let epochs: Vec<u64> = written.iter().map(|manifest| manifest.epoch.0).collect();
    assert_eq!(epochs, (1..=last).collect::<Vec<_>>(), "none is left out");
    assert!(written.last().is_some_and(|manifest| manifest.sinks[0].staged.len() <= UNPUBLISHED_MAX));
}
