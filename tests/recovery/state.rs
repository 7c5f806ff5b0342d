//! State: what a delta costs, other numbers of workers and instances, and checkpoints that do not fit the topology any more.

use super::jobs::{Cells, Folder, Topology, counting, keys, running_counts};
use reprise::job::{Ending, Error, Kind, Notice};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::keying;

const MILLION: usize = 1_000_000;
const CHANGED: usize = 10_000;

fn line(key: usize, value: usize) -> String {
    format!("key-{key:07},{value},0")
}

/// The last value of each key; one checkpoint a run.
fn last_values(chain: &str) -> Topology {
    Topology::every("24h", chain)
        .source("lines", "", true)
        .operator("parse", "parse-kv", "\"lines\"")
        .operator("last", "big-state", r#"{ from = "parse", by = "key" }"#)
        .sink("out", "\"last\"")
}

/// The bytes of state that the one checkpoint of a run wrote.
fn run_for(folder: &Folder, rows: usize) -> u64 {
    folder.run_for(1, 1, rows as u64).checkpoints()[0].bytes
}

fn model(values: impl Fn(usize) -> usize) -> Cells {
    let cell = |key: usize| ((0, format!("key-{key:07}").into_bytes(), Vec::new()), (values(key) as i64).to_le_bytes().to_vec());
    (0..MILLION).map(cell).collect()
}

#[test]
fn ten_thousand_changed_keys_of_a_million_cost_under_five_percent() {
    let folder = Folder::new(&last_values(""));
    folder.feed("lines", "a", (0..MILLION).map(|key| line(key, key)));
    let full_bytes = run_for(&folder, MILLION);
    let first = folder.newest();
    let chain = &first.operators[1].instances[0].chain;
    assert!(chain.len() == 1 && chain[0].scope == SnapshotScope::Full && chain[0].entries == MILLION as u64, "{chain:?}");
    assert_eq!(chain[0].bytes, full_bytes);

    folder.feed("lines", "b", (0..CHANGED).map(|key| line(key * 97, 7)));
    let delta_bytes = run_for(&folder, CHANGED);
    let second = folder.newest();
    let chain = &second.operators[1].instances[0].chain;
    assert!(chain.len() == 2 && chain[1].scope == SnapshotScope::Delta && chain[1].entries == CHANGED as u64, "{chain:?}");
    assert_eq!(chain[1].bytes, delta_bytes);
    assert!(delta_bytes * 20 < full_bytes, "{delta_bytes} bytes after {full_bytes}");
    let changed = |key: usize| if key.is_multiple_of(97) && key / 97 < CHANGED { 7 } else { key };
    assert!(folder.cells(&second, "last") == model(changed), "full snapshot and delta make up the state");

    // What the guest itself has after taking up both: a full snapshot once more.
    folder.set(&last_values("chain-length-max = 0"));
    folder.feed("lines", "c", [line(1, 8)]);
    run_for(&folder, 1);
    let third = folder.newest();
    assert_eq!(third.operators[1].instances[0].chain.len(), 1);
    assert!(folder.cells(&third, "last") == model(|key| if key == 1 { 8 } else { changed(key) }), "the guest has taken up both");
}

#[test]
fn another_number_of_instances_takes_the_state_along() {
    const ROWS: usize = 1_200;
    let folder = Folder::new(&counting("", true));
    for (stage, (workers, instances)) in [(1, 1), (3, 6), (2, 2)].into_iter().enumerate() {
        let part = |part: usize| keys(stage * 400 + part * 100, stage * 400 + (part + 1) * 100, 90);
        let name = |part: usize| format!("{stage}-{part}");
        folder.feed("keys", &name(0), part(0));
        folder.feed("keys", &name(1), part(1));
        if stage == 2 {
            folder.feed("keys", &name(2), part(2));
            folder.feed("keys", &name(3), part(3));
            folder.set(&counting("", false).parallel(instances));
            folder.run(workers).expect(Ending::Finished);
        } else {
            folder.set(&counting("", true).parallel(instances));
            folder.run_feeding(workers, "keys", &[(&name(2), part(2)), (&name(3), part(3))]).expect(Ending::Stopped);
        }
        let newest = folder.newest();
        assert_eq!((newest.workers, newest.operators[0].instances.len()), (workers, instances as usize));
        let cells = folder.cells(&newest, "count");
        assert_eq!(cells.len(), 90, "no key is on two instances, none is lost");
    }
    assert_eq!(folder.rows("out"), running_counts(keys(0, ROWS, 90)));
    assert_eq!(folder.newest().sources[0].rows, ROWS as u64);
}

#[test]
fn state_of_as_many_instances_stays_where_it_is_on_another_number_of_workers() {
    // No chain is compacted.
    let settings = "chain-length-max = 1000";
    let folder = Folder::new(&counting(settings, true).parallel(6));
    folder.feed("keys", "a", keys(0, 300, 90));
    folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    let before = folder.newest();
    folder.feed("keys", "b", keys(300, 400, 90));
    folder.set(&counting(settings, false).parallel(6));
    folder.run(3).expect(Ending::Finished);
    let after = folder.newest();
    assert_eq!((before.workers, after.workers), (2, 3));
    let first = |manifest: &Manifest| {
        let chains = manifest.operators[0].instances.iter().map(|instance| &instance.chain);
        chains.map(|chain| chain.first().map(|object| object.path.clone())).collect::<Vec<_>>()
    };
    assert_eq!(first(&before).iter().flatten().count(), 6, "each instance has state");
    assert_eq!(first(&before), first(&after), "no instance began anew with a full snapshot");
    assert_eq!(folder.cells(&after, "count").len(), 90);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 400, 90)));
}

#[test]
fn state_by_instance_goes_on_with_as_many_instances_and_is_refused_with_others() {
    let topology = |follow| {
        let topology = Topology::new("").keys("keys", follow);
        topology.operator("who", "who-am-i", r#"{ from = "keys", by = "key" }"#).sink("out", "\"who\"")
    };
    let folder = Folder::new(&topology(true));
    folder.feed("keys", "a", keys(0, 100, 40));
    folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    let before = folder.newest().operators[0].instances.iter().map(|instance| instance.rows).collect::<Vec<u64>>();
    folder.feed("keys", "b", ["?".to_owned()]);
    for (workers, parallelism) in [(3, 1), (1, 1), (1, 4)] {
        folder.set(&topology(false).parallel(parallelism));
        let run = folder.run(workers);
        let text = run.error().to_string();
        assert!(text.contains("of which there were 2") && text.contains("help: let it have 2 again"), "{text}");
    }
    folder.set(&topology(false).parallel(2));
    folder.run(1).expect(Ending::Finished);
    let owner = keying::owner(keying::group(b"?"), 2);
    let answer = format!("{owner} of 2, row {}", before[owner as usize] + 1);
    assert!(folder.rows("out").contains(&("?".to_owned(), answer.clone())), "{answer}");
}

/// A stopped job in the middle of its input.
fn stopped() -> Folder {
    let folder = Folder::new(&counting("", true));
    folder.feed("keys", "a", keys(0, 100, 9));
    folder.run_feeding(2, "keys", &[]).expect(Ending::Stopped);
    folder.feed("keys", "b", keys(100, 200, 9));
    folder
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_with_advice_and_stays() {
    let folder = stopped();
    let by_key = |source: &str| format!("{{ from = \"{source}\", by = \"key\" }}");
    let plain = || Topology::new("").keys("keys", false);
    let cases = [
        ("slot `counts`", plain().operator("count", "big-state", &by_key("keys")).sink("out", "\"count\"")),
        ("slot `counts`", plain().operator("count", "echo", "\"keys\"").sink("out", "\"count\"")),
        ("operator `count`", plain().operator("counter", "running-count", &by_key("keys")).sink("out", "\"counter\"")),
        ("operator `count`", plain().sink("out", "\"keys\"")),
        ("source `keys`", {
            folder.feed("other", "a", keys(0, 1, 1));
            Topology::new("").keys("other", false).operator("count", "running-count", &by_key("other")).sink("out", "\"count\"")
        }),
    ];
    let (before, checkpoints) = (folder.lines("out"), folder.objects("checkpoints"));
    for (what, topology) in cases {
        folder.set(&topology);
        let run = folder.run(2);
        let error = run.error();
        let text = error.to_string();
        assert!(matches!(error, Error::Misfit { .. }) && error.kind() == Kind::Topology, "{error:?}");
        assert!(text.contains(what) && text.contains("help: "), "{text}");
        assert_eq!((folder.lines("out"), folder.objects("checkpoints")), (before.clone(), checkpoints.clone()), "{what}");
    }
    folder.set(&counting("", false));
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), running_counts(keys(0, 200, 9)));
}

#[test]
fn another_component_with_the_same_slots_goes_on_with_the_state() {
    let folder = stopped();
    let topology = Topology::new("").keys("keys", false);
    folder.set(&topology.operator("count", "process-error", r#"{ from = "keys", by = "key" }"#).sink("out", "\"count\""));
    let run = folder.run(2).expect(Ending::Finished);
    assert!(run.notices.iter().any(|notice| matches!(notice, Notice::OtherComponent { operator } if operator == "count")));
    assert_eq!(folder.rows("out"), running_counts(keys(0, 200, 9)));
}
