//! Names of rows and objects, and which of them count.

use super::*;
use crate::checkpoint::manifest::{InstanceState, ObjectRef, OperatorState};
use crate::codec::snapshot::SnapshotScope;
use crate::ids::Digest;

fn name(epoch: u64, generation: u64) -> ObjectName {
    let node = "count".to_owned();
    ObjectName { epoch: Epoch(epoch), generation: Generation(generation), node, instance: Instance(1), part: 0 }
}

#[test]
fn paths_and_ids_tell_what_they_were_made_of() {
    let object = name(41, 7);
    assert_eq!(object.path(), "quarantine/count/000000000041-000007-0001-0");
    assert_eq!(ObjectName::of_path(&object.path()), Some(object.clone()));
    assert_eq!(object.dropped(3), "quarantine/count/000000000041-000007-0001-0.dropped-3");
    assert_eq!(ObjectName::of_dropped(&object.dropped(3)), Some((object.clone(), 3)));
    assert_eq!(object.replay(2), "replays/count/000000000041-000007-0001-0.2");
    assert_eq!(ObjectName::of_replay(&object.replay(2)), Some((object.clone(), 2)));
    let id = RowId { object: object.clone(), row: 12 };
    assert_eq!(id.to_string(), "count/41-7-1-0/12");
    assert_eq!("count/41-7-1-0/12".parse(), Ok(id.clone()));
    assert_eq!("count/000000000041-000007-0001-0/12".parse(), Ok(id));
}

#[test]
fn foreign_names_and_ids_are_told_from_ours() {
    let object = name(41, 7);
    for foreign in ["quarantine/count/41-7-1-0", "quarantine/count/readme", &object.dropped(0), "quarantine/000000000041-000007-0001-0"] {
        assert_eq!(ObjectName::of_path(foreign), None, "{foreign}");
    }
    for foreign in ["replays/count/000000000041-000007-0001-0", "replays/count/000000000041-000007-0001-0.x", &object.path()] {
        assert_eq!(ObjectName::of_replay(foreign), None, "{foreign}");
    }
    for foreign in
        ["", "count", "count/41-7-1-0", "count/41-7-1/0", "count/41-7-1-0-0/0", "count/+41-7-1-0/0", "/41-7-1-0/0", "a/b/1-1-1-1/0"]
    {
        assert!(foreign.parse::<RowId>().is_err(), "{foreign}");
    }
}

#[test]
fn no_node_of_a_topology_is_called_like_a_source_that_sends_again() {
    let [own, other] = [None, Some(0)].map(|place| replay_source("count", 0, place));
    assert_ne!(own, other);
    assert!(is_replay_source(&own) && is_replay_source(&other) && !crate::description::is_name(&own), "{own}, {other}");
    assert!(!is_replay_source("quarantine"));
}

fn manifest(epoch: u64, parent: Option<u64>, named: &[&ObjectName]) -> Manifest {
    let object = |name: &&ObjectName| ObjectRef { path: name.path(), scope: SnapshotScope::Full, bytes: 1, checksum: 1, entries: 1 };
    let instance = InstanceState { quarantine: named.iter().map(object).collect(), ..InstanceState::default() };
    let operator = OperatorState { name: "count".into(), component: Digest([0; 32]), slots: vec![], instances: vec![instance] };
    Manifest { operators: vec![operator], ..Manifest::bare(epoch, parent) }
}

#[test]
fn only_what_completed_epochs_of_this_history_name_counts() {
    let (old, named, late) = (name(1, 1), name(5, 2), name(5, 1));
    // 6 took over from 3: 4 was given up. 5 is of that history; 7 and 8 follow it.
    let six = Manifest { taken_over: true, ..manifest(6, Some(3), &[]) };
    let manifests = [manifest(3, Some(2), &[]), six, manifest(7, Some(6), &[&name(7, 3)]), manifest(8, Some(7), &[])];
    let listed: Vec<Epoch> = manifests.iter().map(|m| m.epoch).collect();
    let history = History::new(&manifests[3], &listed, &manifests);
    assert!(history.has_object(&old), "its manifest is gone");
    assert!(!history.has_object(&named) && !history.has_object(&late), "epoch 5 was given up");
    assert!(!history.has_object(&name(3, 1)), "its manifest does not name it");
    assert!(history.has_object(&name(7, 3)) && !history.has_object(&name(7, 2)));
    assert!(!history.has_object(&name(9, 3)), "not complete yet");
    assert_eq!([1, 3, 4, 5, 6, 7, 8, 9].map(|e| history.has(Epoch(e))), [true, true, false, false, true, true, true, false]);
    assert_eq!(history.oldest(), Some(Epoch(3)));
    let history = History::new(&manifests[1], &listed[..2], &manifests[..2]);
    assert!(!history.has(Epoch(6)) && history.has(Epoch(3)), "a manifest that only took over has the rows of its parent");
}

#[test]
fn an_object_is_read_by_the_kind_of_its_frame() {
    let row = QuarantinedRow { input: 2, origin: String::new(), time: 5, key: vec![], value: vec![], reason: "no".into() };
    let faulted =
        FaultedRow { row: row.clone(), call: "process".into(), kind: "trap".into(), backtrace: vec![], log_tail: vec![], capsule: None };
    let (node, instance, epoch) = ("count".to_owned(), Instance(1), Epoch(41));
    let refused = Quarantine { node: node.clone(), instance, epoch, rows: vec![row] };
    let mut failed = FaultedRows { node, instance, epoch, component: Digest([0; 32]), line: 1, rows: vec![faulted] };
    let (first, second) = (record::encode(&refused).unwrap(), record::encode(&failed).unwrap());
    let (first, second) = (QuarantineObject::read(&first).unwrap(), QuarantineObject::read(&second).unwrap());
    assert!(first.is_named(&name(41, 9)) && !first.is_named(&name(42, 9)));
    assert_eq!((first.len(), first.row(0).map(|r| r.input), first.fault(0)), (1, Some(2), None));
    assert_eq!((second.len(), second.row(0).map(|r| r.time), second.row(1)), (1, Some(5), None));
    assert!(second.fault(0).is_some());
    failed.rows[0].kind = "k".repeat(33);
    assert!(QuarantineObject::read(&record::encode(&failed).unwrap()).is_err(), "a limit is passed");
}
