//! Every way to connect nodes, with one worker and with three, with one instance on each and with several: the output is that of an obvious model.

use super::jobs::{Folder, Topology, keys, running_counts};
use reprise::job::Ending;
use reprise_core::keying;

const ROWS: usize = 500;
const DIFFERENT: usize = 40;

fn input() -> Vec<String> {
    keys(0, ROWS, DIFFERENT)
}

/// Workers, and instances of operators: one on each worker, and several.
const SIZES: [(u32, u32); 4] = [(1, 1), (3, 3), (1, 4), (3, 6)];

/// Runs a topology over [`input`] as the source `keys`, in each size, and lets `check` look at the output. It is told how many instances
/// operators have that are not fed from their own worker alone.
fn each(topology: impl Fn(Topology) -> Topology, check: impl Fn(&Folder, u32)) {
    for (workers, instances) in SIZES {
        let folder = Folder::new(&topology(Topology::new("").keys("keys", false)).parallel(instances));
        for (file, part) in input().chunks(70).enumerate() {
            folder.feed("keys", &format!("{file:02}"), part);
        }
        folder.run(workers).expect(Ending::Finished);
        check(&folder, instances);
        let before = folder.lines("out");
        folder.run(workers).expect(Ending::AlreadyFinished);
        assert_eq!(folder.lines("out"), before, "a second run of a finished job adds nothing");
    }
}

/// The keys of rows, sorted.
fn keys_of(rows: Vec<(String, String)>) -> Vec<String> {
    rows.into_iter().map(|(key, _)| key).collect()
}

fn sorted(mut keys: Vec<String>) -> Vec<String> {
    keys.sort();
    keys
}

#[test]
fn two_operators_read_one_source() {
    let topology = |topology: Topology| {
        topology
            .operator("one", "running-count", r#"{ from = "keys", by = "key" }"#)
            .operator("other", "running-count", r#"{ from = "keys", by = "key" }"#)
            .operator("plain", "echo", "\"keys\"")
            .sink("out", "\"one\"")
            .sink("out-other", "\"other\"")
            .sink("out-plain", "\"plain\"")
    };
    each(topology, |folder, _| {
        assert_eq!(folder.rows("out"), running_counts(input()));
        assert_eq!(folder.rows("out-other"), running_counts(input()));
        assert_eq!(keys_of(folder.rows("out-plain")), sorted(input()));
    });
}

#[test]
fn one_operator_reads_two_sources_by_key() {
    let more = || keys(3, 203, 60);
    for (workers, instances) in SIZES {
        let topology = Topology::new("").keys("keys", false).keys("more", false);
        let both = r#"[{ from = "keys", by = "key" }, { from = "more", by = "key" }]"#;
        let folder = Folder::new(&topology.operator("count", "running-count", both).sink("out", "\"count\"").parallel(instances));
        folder.feed("keys", "a", input());
        folder.feed("more", "a", more());
        folder.run(workers).expect(Ending::Finished);
        assert_eq!(folder.rows("out"), running_counts(input().into_iter().chain(more())));
    }
}

#[test]
fn rows_in_turn_reach_each_instance_once() {
    let topology = |topology: Topology| {
        topology
            .operator("pass", "echo", r#"{ from = "keys", by = "round-robin" }"#)
            .operator("count", "running-count", r#"{ from = "pass", by = "key" }"#)
            .sink("out", "\"count\"")
            .sink("out-pass", r#"{ from = "pass", by = "round-robin" }"#)
    };
    each(topology, |folder, instances| {
        assert_eq!(folder.rows("out"), running_counts(input()));
        assert_eq!(keys_of(folder.rows("out-pass")), sorted(input()));
        let manifest = folder.newest();
        let worked = manifest.operators[0].instances.iter().filter(|instance| instance.rows > 0).count();
        assert_eq!(worked, instances as usize, "every instance had its turn");
    });
}

#[test]
fn rows_for_all_reach_every_instance() {
    let topology = |topology: Topology| topology.operator("pass", "echo", r#"{ from = "keys", by = "all" }"#).sink("out", "\"pass\"");
    each(topology, |folder, instances| {
        let copies = (0..instances).flat_map(|_| input()).collect();
        assert_eq!(keys_of(folder.rows("out")), sorted(copies));
    });
}

#[test]
fn two_sinks_read_one_operator_and_one_sink_reads_two() {
    let topology = |topology: Topology| {
        topology
            .operator("count", "running-count", r#"{ from = "keys", by = "key" }"#)
            .sink("out", "\"count\"")
            .sink("out-by-key", r#"{ from = "count", by = "key" }"#)
            .sink("out-both", r#"["count", { from = "keys", by = "round-robin" }]"#)
    };
    each(topology, |folder, _| {
        assert_eq!(folder.lines("out-by-key"), folder.lines("out"));
        assert_eq!(folder.rows("out"), running_counts(input()));
        let twice = input().into_iter().chain(input()).collect();
        assert_eq!(keys_of(folder.rows("out-both")), sorted(twice));
    });
}

#[test]
fn a_chain_keeps_the_order_of_each_key_up_to_its_end() {
    let topology = |topology: Topology| {
        topology
            .operator("pass", "echo", r#"{ from = "keys", by = "round-robin" }"#)
            .operator("count", "running-count", r#"{ from = "pass", by = "key" }"#)
            .operator("still", "echo", "\"count\"")
            .operator("last", "big-state", r#"{ from = "still", by = "key" }"#)
            .operator("once", "running-count", r#"{ from = "last", by = "key" }"#)
            .sink("out", "\"last\"")
            .sink("out-once", "\"once\"")
    };
    each(topology, |folder, _| {
        let count = |key: &String| input().iter().filter(|other| *other == key).count().to_string();
        let mut different = sorted(input());
        different.dedup();
        let totals: Vec<(String, String)> = different.iter().map(|key| (key.clone(), count(key))).collect();
        assert_eq!(folder.rows("out"), totals, "the last count of a key is its highest");
        let once: Vec<(String, String)> = different.iter().map(|key| (key.clone(), "1".to_owned())).collect();
        assert_eq!(folder.rows("out-once"), once, "rows emitted at the end of the input come before it at the next operator");
    });
}

#[test]
fn each_row_meets_the_instance_that_owns_its_key_and_each_instance_knows_its_place() {
    let topology =
        Topology::new("").keys("keys", false).operator("who", "who-am-i", r#"{ from = "keys", by = "key" }"#).sink("out", "\"who\"");
    for (workers, instances) in SIZES.into_iter().chain([(1, 16), (2, 64)]) {
        let folder = Folder::new(&topology.clone().parallel(instances));
        folder.feed("keys", "a", input());
        folder.run(workers).expect(Ending::Finished);
        let owner = |key: &str| keying::owner(keying::group(key.as_bytes()), instances);
        let mut expected: Vec<_> = input().into_iter().map(|key| (key.clone(), format!("{} of {instances}", owner(&key)))).collect();
        expected.sort();
        assert_eq!(folder.rows("out"), expected, "{instances} instances on {workers} workers");
    }
}
