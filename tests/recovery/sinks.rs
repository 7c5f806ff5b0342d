//! Output of jobs that are let go of in the middle and taken up again: to objects, exactly once; and at once, at least once.

use super::jobs::{Folder, Topology, counting_into, keys, parsed, running_counts};
use reprise::job::{Ending, Notice};
use reprise::store::{Store, StoreLimits};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of a job.
const ROWS: usize = 30_000;
const KEYS: usize = 700;
/// Rows of one file of those that are fed one by one.
const FILE_ROWS: usize = 500;

/// The folder of a counting job with its whole input.
fn prepared(topology: &Topology) -> Folder {
    let folder = Folder::new(topology);
    folder.feed("keys", "all", keys(0, ROWS, KEYS));
    folder
}

/// The rows in all visible objects at a url.
fn rows_at(folder: &Folder, url: &str) -> Vec<(String, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lines: Vec<String> = runtime.block_on(async {
        let store = Store::open_place(url, &folder.path(""), StoreLimits::default()).await.unwrap();
        let mut lines = Vec::new();
        for entry in store.list("").await.unwrap().into_iter().filter(|entry| !entry.path.starts_with('.')) {
            let bytes = store.get(&entry.path).await.unwrap().unwrap();
            lines.extend(String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned));
        }
        lines
    });
    parsed(&lines)
}

/// A job whose runs were let go of after so many checkpoints each, with its whole input by now.
fn after_deaths(sink: &str, deaths: &[(u32, usize)]) -> Folder {
    let folder = Folder::new(&counting_into(sink, true));
    let mut fed = 0;
    for &(workers, checkpoints) in deaths {
        folder.abandon(workers, checkpoints, &mut || {
            folder.feed("keys", &format!("part-{fed:06}"), keys(fed, fed + FILE_ROWS, KEYS));
            fed += FILE_ROWS;
        });
    }
    assert!(fed < ROWS);
    folder.feed("keys", "rest", keys(fed, ROWS, KEYS));
    folder.set(&counting_into(sink, false));
    folder
}

#[test]
fn a_keyed_count_into_objects_is_whole_after_runs_that_died() {
    let expected = running_counts(keys(0, ROWS, KEYS));
    for url in ["memory:recovered-count", "file:./out"] {
        let sink = format!("objects = {{ url = \"{url}\", part-bytes = \"64KiB\" }}");
        let folder = after_deaths(&sink, &[(2, 1), (1, 3), (3, 2), (2, 1)]);
        folder.run(2).expect(Ending::Finished);
        assert_eq!(rows_at(&folder, url), expected, "{url}");
        folder.run(1).expect(Ending::AlreadyFinished);
        assert_eq!(rows_at(&folder, url), expected, "{url}");
    }
}

#[test]
fn objects_of_checkpoints_that_were_passed_over_are_taken_back_and_produced_again() {
    let folder = after_deaths("objects = { url = \"file:./out\" }", &[(2, 6)]);
    // The newest checkpoint is lost, though its output is visible.
    let newest = folder.objects("checkpoints").pop().unwrap();
    std::fs::write(folder.store().join(newest), b"damaged").unwrap();
    let run = folder.run(2).expect(Ending::Finished);
    assert!(!run.passed_over().is_empty());
    assert_eq!(rows_at(&folder, "file:./out"), running_counts(keys(0, ROWS, KEYS)));
}

#[test]
fn immediate_output_loses_nothing_and_invents_nothing_where_runs_died() {
    let expected = running_counts(keys(0, ROWS, KEYS));
    let counted = |rows: &[(String, String)]| -> BTreeMap<(String, String), usize> {
        let mut counts = BTreeMap::new();
        rows.iter().for_each(|row| *counts.entry(row.clone()).or_default() += 1);
        counts
    };
    for settings in ["file = { path = \"out\" }", "objects = { url = \"file:./out\", part-bytes = \"64KiB\" }"] {
        let folder = after_deaths(&format!("delivery = \"immediate\"\n{settings}"), &[(2, 1), (1, 3), (3, 2)]);
        folder.run(2).expect(Ending::Finished);
        let shown = folder.rows("out");
        let (shown, whole) = (counted(&shown), counted(&expected));
        assert_eq!(shown.keys().collect::<BTreeSet<_>>(), whole.keys().collect(), "{settings}");
        assert!(whole.iter().all(|(row, count)| shown[row] >= *count), "{settings}");
    }
}

#[test]
fn a_run_says_that_its_sink_is_immediate() {
    for (delivery, weaker) in [("immediate", 1), ("exactly-once", 0)] {
        let folder =
            prepared(&counting_into(&format!("delivery = \"{delivery}\"\nobjects = {{ url = \"memory:said-{delivery}\" }}"), false));
        let run = folder.run(1).expect(Ending::Finished);
        let said = run.notices.iter().filter(|notice| matches!(notice, Notice::Weaker { what } if what.contains("sink `out`")));
        assert_eq!(said.count(), weaker, "{delivery}");
        assert_eq!(rows_at(&folder, &format!("memory:said-{delivery}")), running_counts(keys(0, ROWS, KEYS)));
    }
}

#[test]
fn a_place_that_belongs_to_another_job_is_left_alone() {
    let folder = prepared(&counting_into("objects = { url = \"file:./out\" }", false));
    std::fs::create_dir_all(folder.path("out/.reprise/out")).unwrap();
    std::fs::write(folder.path("out/.reprise/out/owner"), "somebody").unwrap();
    let run = folder.run(1);
    let error = format!("{:?}", run.error());
    assert!(error.contains("holds output of sink `out` of job `somebody`"), "{error}");
    assert!(rows_at(&folder, "file:./out").is_empty());
}
