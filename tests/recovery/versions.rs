//! Components whose state has another version than that of the checkpoint: cells are migrated, or refused by the name of their slot.

use super::jobs::{Folder, Topology, counting, keys, running_counts};
use reprise::job::{Ending, Kind};

/// As [`counting`], with a component whose slot `counts` is in version 2.
fn migrating(follow: bool) -> Topology {
    let topology = Topology::new("").keys("keys", follow);
    topology.operator("count", "migrating-count", r#"{ from = "keys", by = "key" }"#).sink("out", "\"count\"")
}

/// A job of version 1 that was stopped after 100 rows.
fn stopped(workers: u32) -> Folder {
    let folder = Folder::new(&counting("", true));
    folder.feed("keys", "a", keys(0, 100, 9));
    folder.run_feeding(workers, "keys", &[]).expect(Ending::Stopped);
    folder
}

#[test]
fn a_component_of_the_next_version_takes_the_cells_over_on_any_number_of_workers() {
    for workers in [2, 3] {
        let folder = stopped(2);
        folder.feed("keys", "b", keys(100, 200, 9));
        folder.set(&migrating(true));
        folder.run_feeding(workers, "keys", &[]).expect(Ending::Stopped);
        let newest = folder.newest();
        assert_eq!(newest.operators[0].slots[0].version, 2);
        let cells = folder.cells(&newest, "count");
        assert!(cells.len() == 9 && cells.values().all(|count| count.is_ascii()), "every cell is in text now: {cells:?}");
        folder.feed("keys", "c", keys(200, 300, 9));
        folder.set(&migrating(false));
        folder.run(workers).expect(Ending::Finished);
        assert_eq!(folder.rows("out"), running_counts(keys(0, 300, 9)));
    }
}

#[test]
fn a_component_of_the_version_before_refuses_the_cells_by_the_name_of_their_slot() {
    let folder = stopped(2);
    folder.feed("keys", "b", keys(100, 200, 9));
    folder.set(&migrating(true));
    folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    let before = (folder.lines("out"), folder.manifests());
    folder.feed("keys", "c", keys(200, 300, 9));
    folder.set(&counting("", false));
    let run = folder.run(2);
    let error = run.error();
    assert_eq!(error.kind(), Kind::Guest);
    let expected = "state `counts`: its cells are of version 2, and this operator knows no version after 1";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!((folder.lines("out"), folder.manifests()), before);
    folder.set(&migrating(false));
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 300, 9)));
}

#[test]
fn cells_of_the_version_before_do_not_outlive_a_state_that_is_empty_now() {
    let folder = stopped(1);
    folder.feed("keys", "b", ["forget"]);
    folder.set(&migrating(true));
    folder.run_feeding(1, "keys", &[]).expect(Ending::Stopped);
    let newest = folder.newest();
    let chain = &newest.operators[0].instances[0].chain;
    assert!(chain.iter().all(|object| object.entries == 0), "{chain:?}");
    folder.feed("keys", "c", keys(0, 50, 9));
    folder.set(&migrating(false));
    folder.run(1).expect(Ending::Finished);
    let mut expected = running_counts(keys(0, 100, 9));
    expected.extend(running_counts(keys(0, 50, 9)));
    expected.sort();
    assert_eq!(folder.rows("out"), expected);
}
