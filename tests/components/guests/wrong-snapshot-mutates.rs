//! Wrong: reading a full snapshot counts one more row of a key.

use components::wrong::{Part, Scope, Wrong, with};
use reprise_guest::Batch;

struct SnapshotMutates;

impl Wrong for SnapshotMutates {
    const NAME: &'static str = "wrong-snapshot-mutates";

    fn part(scope: Scope, part: &mut Part) {
        if scope == Scope::Full && part.done {
            let row = Batch { times: vec![0], key_ends: vec![5], keys: b"key-0".to_vec(), value_ends: vec![1], values: b"x".to_vec() };
            with(|runner| runner.process(0, &row)).expect("the tally takes every row");
        }
    }
}

components::export_wrong!(SnapshotMutates);
