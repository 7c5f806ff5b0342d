//! Rows in quarantine: listed, dropped, and sent again. The oracle is the run whose component never refused them.

use super::jobs::{Folder, JOB, Run, Then, Topology, running_counts};
use reprise::clock::Clock;
use reprise::job::survey::{self, RowEntry, RowFilter, RowState, SurveyError};
use reprise::job::{self, ChosenRows, Ending, Notice, Requester, RowCounts};
use reprise::store::{Store, StoreLimits};
use reprise_core::checkpoint::quarantine::{ObjectName, is_replay_source};
use reprise_core::codec::record;
use reprise_core::ids::Epoch;
use std::collections::BTreeSet;
use std::fs;

const SETTINGS: &str = "keep = 1000\nsavepoint-poll = \"100ms\"";
/// Refuses lines whose value is no number.
const STRICT: &str = "parse-kv";
/// Takes them.
const MENDED: &str = "parse-text";

/// Lines `key,value,time`, parsed by a guest and counted by key.
fn parsing(parser: &str, follow: bool) -> Topology {
    parsing_with(SETTINGS, parser, follow)
}

fn parsing_with(settings: &str, parser: &str, follow: bool) -> Topology {
    Topology::new(settings)
        .source("lines", "", follow)
        .operator("parse", parser, "\"lines\"")
        .operator("count", "running-count", r#"{ from = "parse", by = "key" }"#)
        .sink("out", "\"count\"")
}

fn is_bad(row: usize) -> bool {
    row % 3 == 1
}

fn lines(rows: std::ops::Range<usize>) -> Vec<String> {
    rows.map(|row| format!("k{},{},7", row % 7, if is_bad(row) { format!("x{row}") } else { row.to_string() })).collect()
}

/// What comes out where no row is refused.
fn expected(rows: std::ops::Range<usize>) -> Vec<(String, String)> {
    running_counts(rows.map(|row| format!("k{}", row % 7)))
}

/// What comes out without those that are.
fn expected_without(rows: std::ops::Range<usize>) -> Vec<(String, String)> {
    running_counts(rows.filter(|row| !is_bad(*row)).map(|row| format!("k{}", row % 7)))
}

fn bad(rows: std::ops::Range<usize>) -> usize {
    rows.filter(|row| is_bad(*row)).count()
}

/// A job that followed its input to so many rows, and was stopped.
fn stopped(rows: usize) -> Folder {
    let folder = Folder::new(&parsing(STRICT, true));
    folder.feed("lines", "a", lines(0..rows));
    folder.run_feeding(2, "lines", &[]).expect(Ending::Stopped);
    assert_eq!(folder.rows("out"), expected_without(0..rows));
    folder
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn store(folder: &Folder) -> Store {
    Store::open("file:./state", &folder.path(""), JOB, StoreLimits::default()).await.unwrap()
}

const BY: Requester = Requester { writer: 7, now_ms: 1_000 };

fn ask(folder: &Folder, chosen: &ChosenRows) -> Result<RowCounts, SurveyError> {
    now(async { job::ask_for_rows(&store(folder).await, JOB, chosen, Requester { writer: Clock::unlikely_number(), ..BY }).await })
}

fn drop_rows(folder: &Folder, chosen: &ChosenRows) -> Result<RowCounts, SurveyError> {
    now(async { job::drop_rows(&store(folder).await, JOB, chosen, BY).await })
}

fn list(folder: &Folder) -> Vec<RowEntry> {
    let listed = now(async { survey::rows(&store(folder).await, JOB, &RowFilter::default(), usize::MAX).await.unwrap() });
    assert!(!listed.more && listed.unreadable.is_empty());
    listed.rows
}

fn values(rows: &[RowEntry]) -> BTreeSet<String> {
    rows.iter().map(|kept| String::from_utf8(kept.row.value.clone()).unwrap()).collect()
}

fn sent_again(run: &Run) -> u64 {
    run.notices.iter().map(|notice| if let Notice::Replays { rows } = notice { *rows } else { 0 }).sum()
}

#[test]
fn rows_that_are_sent_again_through_a_mended_component_give_the_output_of_the_full_input() {
    let folder = stopped(300);
    let rows = list(&folder);
    assert_eq!((rows.len(), values(&rows).len()), (bad(0..300), bad(0..300)));
    assert!(rows.iter().all(|kept| kept.state == RowState::Held && kept.kind() == "refused" && kept.row.reason.contains("not an integer")));
    assert!(rows.is_sorted_by_key(|kept| kept.id.clone()), "oldest first");
    let asked = ask(&folder, &ChosenRows::All).unwrap();
    assert_eq!((asked.rows, asked.before), (bad(0..300) as u64, 0));
    let again = ask(&folder, &ChosenRows::Node("parse".into())).unwrap();
    assert_eq!((again.rows, again.before), (0, bad(0..300) as u64), "a row is asked for once");
    assert!(list(&folder).iter().all(|kept| kept.state == RowState::Asked), "they stay on the list until they are done");
    folder.feed("lines", "b", lines(300..360));
    folder.set(&parsing(MENDED, false));
    let run = folder.run(2).expect(Ending::Finished);
    assert_eq!(sent_again(&run), bad(0..300) as u64);
    assert_eq!(folder.rows("out"), expected(0..360));
    assert_eq!(list(&folder), []);
    assert_eq!(run.checkpoints().last().unwrap().rows, 360, "rows that are sent again were read once");
    folder.run(2).expect(Ending::AlreadyFinished);
    assert_eq!(folder.rows("out"), expected(0..360));
    let row = now(async { survey::row(&store(&folder).await, JOB, &rows[0].id).await.unwrap() });
    assert_eq!(row.state, RowState::Replayed);
    let asked = ask(&folder, &ChosenRows::Rows(vec![rows[0].id.clone()])).unwrap();
    assert_eq!((asked.rows, asked.before), (0, 1));
}

#[test]
fn rows_go_back_to_the_instance_that_refused_them_where_a_worker_has_several() {
    const INSTANCES: usize = 4;
    for (by, workers, copies) in [("round-robin", 1, 1), ("round-robin", 2, 1), ("all", 1, INSTANCES), ("all", 2, INSTANCES)] {
        let topology = |parser: &str| {
            let topology = Topology::new(SETTINGS).source("lines", "", false);
            let topology = topology.operator("parse", parser, &format!("{{ from = \"lines\", by = \"{by}\" }}")).parallel(INSTANCES as u32);
            topology.operator("count", "running-count", r#"{ from = "parse", by = "key" }"#).sink("out", "\"count\"")
        };
        let folder = Folder::new(&topology(STRICT));
        folder.feed("lines", "a", lines(0..200));
        folder.run(workers).expect(Ending::Finished);
        assert_eq!(list(&folder).len(), bad(0..200) * copies, "{by}, {workers} workers");
        let worked = || folder.newest().operators[0].instances.iter().map(|instance| instance.rows).collect::<Vec<u64>>();
        let refused = || folder.newest().operators[0].instances.iter().map(|instance| instance.rejected).collect::<Vec<u64>>();
        let expected_rows: Vec<u64> = worked().into_iter().zip(refused()).map(|(worked, refused)| worked + refused).collect();
        ask(&folder, &ChosenRows::All).unwrap();
        folder.set(&topology(MENDED));
        let run = folder.run(workers).expect(Ending::Finished);
        assert_eq!((sent_again(&run), list(&folder).len()), ((bad(0..200) * copies) as u64, 0));
        assert_eq!(worked(), expected_rows, "{by}, {workers} workers: each instance got the rows that it had refused");
        let all = (0..copies).flat_map(|_| 0..200).map(|row| format!("k{}", row % 7));
        assert_eq!(folder.rows("out"), running_counts(all), "{by}, {workers} workers");
    }
}

#[test]
fn of_several_who_ask_for_the_same_rows_at_once_each_row_is_asked_for_once() {
    let folder = stopped(120);
    let asked: Vec<RowCounts> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(&folder, &ChosenRows::All).unwrap())).collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    });
    assert_eq!(asked.iter().map(|asked| asked.rows).sum::<u64>(), bad(0..120) as u64, "{asked:?}");
    folder.set(&parsing(MENDED, false));
    let run = folder.run(2).expect(Ending::Finished);
    assert_eq!((sent_again(&run), folder.rows("out")), (bad(0..120) as u64, expected(0..120)));
}

#[test]
fn a_job_that_has_finished_is_taken_up_again_for_rows_to_send() {
    let folder = Folder::new(&parsing(STRICT, false));
    folder.feed("lines", "a", lines(0..100));
    folder.run(2).expect(Ending::Finished);
    ask(&folder, &ChosenRows::All).unwrap();
    folder.set(&parsing(MENDED, false));
    // With another number of instances.
    folder.run(3).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), expected(0..100));
    assert_eq!(list(&folder), []);
    folder.run(3).expect(Ending::AlreadyFinished);
}

#[test]
fn a_request_whose_rows_are_gone_keeps_nobody_waiting_and_is_removed() {
    let folder = Folder::new(&parsing(STRICT, false));
    folder.feed("lines", "a", lines(0..100));
    folder.run(2).expect(Ending::Finished);
    ask(&folder, &ChosenRows::All).unwrap();
    std::fs::remove_dir_all(folder.store().join("quarantine")).unwrap();
    folder.set(&parsing(MENDED, false));
    folder.run(2).expect(Ending::AlreadyFinished);
    folder.feed("lines", "b", lines(100..160));
    let run = folder.run(2).expect(Ending::Finished);
    assert_eq!((sent_again(&run), folder.objects("replays").len()), (0, 0));
    folder.run(2).expect(Ending::AlreadyFinished);
}

#[test]
fn what_was_sent_again_is_remembered_over_runs_and_requests_go_when_nothing_can_undo_them() {
    let settings = "keep = 3\nsavepoint-poll = \"100ms\"";
    let folder = Folder::new(&parsing_with(settings, STRICT, true));
    folder.feed("lines", "0", lines(0..60));
    folder.run_feeding(2, "lines", &[]).expect(Ending::Stopped);
    ask(&folder, &ChosenRows::All).unwrap();
    let mut requests = folder.objects("replays").len();
    assert!(requests > 0);
    folder.set(&parsing_with(settings, MENDED, true));
    for stage in 1..8 {
        folder.feed("lines", &stage.to_string(), lines(60 * stage..60 * (stage + 1)));
        folder.run_feeding(2, "lines", &[]).expect(Ending::Stopped);
        assert_eq!(list(&folder), [], "stage {stage}");
        requests = folder.objects("replays").len();
    }
    assert_eq!(requests, 0);
    assert_eq!(folder.rows("out"), expected(0..480));
    assert!(folder.newest().sources.iter().all(|source| !is_replay_source(&source.name)), "manifests have forgotten it");
    assert_eq!(folder.objects("replayed").len(), 1);
}

#[test]
fn a_run_that_is_under_way_sends_rows_again() {
    let folder = stopped(200);
    folder.set(&parsing(MENDED, true));
    let (mut asked, mut fed) = (false, false);
    let run = folder.run_with(2, |notice| match notice {
        Notice::Started { .. } if !std::mem::replace(&mut asked, true) => {
            assert_eq!(ask(&folder, &ChosenRows::All).unwrap().rows, bad(0..200) as u64);
            Then::GoOn
        }
        Notice::Replays { .. } => {
            folder.feed("lines", "b", lines(200..250));
            fed = true;
            Then::GoOn
        }
        Notice::Checkpoint(made) if fed && folder.is_covered_by(made) && list(&folder).is_empty() => Then::Stop,
        _ => Then::GoOn,
    });
    let run = run.expect(Ending::Stopped);
    assert_eq!(sent_again(&run), bad(0..200) as u64, "once");
    assert_eq!(folder.rows("out"), expected(0..250));
}

#[test]
fn a_row_that_is_refused_again_is_a_new_row_in_quarantine() {
    let folder = stopped(60);
    let before = list(&folder);
    ask(&folder, &ChosenRows::Rows(vec![before[0].id.clone(), before[1].id.clone()])).unwrap();
    folder.set(&parsing(STRICT, false));
    folder.run(2).expect(Ending::Finished);
    let after = list(&folder);
    assert_eq!((after.len(), values(&after)), (before.len(), values(&before)));
    let ids = |rows: &[RowEntry]| rows.iter().map(|kept| kept.id.clone()).collect::<BTreeSet<_>>();
    let gone: Vec<_> = ids(&before).difference(&ids(&after)).cloned().collect();
    assert_eq!(gone, [before[0].id.clone(), before[1].id.clone()]);
    assert!(after.iter().all(|kept| kept.state == RowState::Held));
    ask(&folder, &ChosenRows::All).unwrap();
    folder.set(&parsing(MENDED, false));
    folder.run(2).expect(Ending::Finished);
    assert_eq!((folder.rows("out"), list(&folder)), (expected(0..60), vec![]));
}

#[test]
fn rows_that_were_dropped_are_on_no_list_and_are_never_sent_again() {
    let folder = stopped(60);
    let rows = list(&folder);
    let one = |row: &RowEntry| ChosenRows::Rows(vec![row.id.clone()]);
    assert_eq!(drop_rows(&folder, &one(&rows[0])).unwrap().rows, 1);
    let again = drop_rows(&folder, &one(&rows[0])).unwrap();
    assert_eq!((again.rows, again.before), (0, 1));
    assert_eq!(list(&folder), rows[1..]);
    let asked = ask(&folder, &ChosenRows::All).unwrap();
    assert_eq!(asked.rows as usize, rows.len() - 1);
    // A drop also takes back what was asked.
    assert_eq!(drop_rows(&folder, &one(&rows[1])).unwrap().rows, 1);
    folder.set(&parsing(MENDED, false));
    let run = folder.run(2).expect(Ending::Finished);
    assert_eq!(sent_again(&run) as usize, rows.len() - 2);
    assert_eq!(list(&folder), []);
    assert_eq!(folder.rows("out").len(), 58);
    let mut unknown = rows[0].id.clone();
    unknown.row = 1_000_000;
    for decide in [ask, drop_rows] {
        let error = decide(&folder, &ChosenRows::Rows(vec![unknown.clone()])).unwrap_err();
        assert!(error.to_string().contains("has no row `parse/"), "{error}");
    }
}

#[test]
fn keyed_rows_go_to_the_instance_that_owns_their_key() {
    let topology = |guest: &str| {
        Topology::new(SETTINGS)
            .source("lines", "", false)
            .operator("parse", MENDED, "\"lines\"")
            .operator("count", guest, r#"{ from = "parse", by = "key" }"#)
            .sink("out", "\"count\"")
    };
    // It wants numbers of 8 bytes, and gets texts.
    let folder = Folder::new(&topology("count-sum"));
    folder.feed("lines", "a", lines(0..200));
    folder.run(2).expect(Ending::Finished);
    assert_eq!((list(&folder).len(), folder.rows("out")), (200, vec![]));
    ask(&folder, &ChosenRows::Node("count".into())).unwrap();
    folder.set(&topology("running-count"));
    folder.run(3).expect(Ending::Finished);
    assert_eq!((folder.rows("out"), list(&folder)), (expected(0..200), vec![]));
}

#[test]
fn rows_that_an_operator_failed_at_are_sent_again_through_a_mended_one() {
    let topology = |guest: &str| {
        let settings = "on-failure = { retries = 1, backoff = \"1ms..1ms\" }\ndeadline = \"60s\"";
        Topology::new(SETTINGS)
            .source("lines", "", false)
            .operator("parse", MENDED, "\"lines\"")
            .operator_set("a", guest, r#"{ from = "parse", by = "key" }"#, settings)
            .operator("b", "running-count", r#"{ from = "a", by = "key" }"#)
            .sink("out", "\"b\"")
    };
    let folder = Folder::new(&topology("trap-unreachable"));
    let lines: Vec<String> = (0..700).map(|row| format!("k{},{},7", row % 7, if row % 100 == 50 { "poison" } else { "v" })).collect();
    folder.feed("lines", "a", &lines);
    folder.run(2).expect(Ending::Finished);
    let rows = list(&folder);
    assert_eq!((rows.len(), folder.rows("out").len()), (7, 693));
    for kept in &rows {
        let fault = kept.fault.as_ref().expect("it failed");
        assert_eq!((kept.kind(), fault.call.as_str(), kept.row.value.as_slice()), ("trap", "process", b"poison".as_slice()));
        assert!(kept.line.is_some() && kept.component.is_some() && fault.capsule.is_some(), "{kept:?}");
    }
    // One fails again, and is a new row.
    ask(&folder, &ChosenRows::Rows(vec![rows[0].id.clone()])).unwrap();
    folder.run(2).expect(Ending::Finished);
    let again = list(&folder);
    assert_eq!((again.len(), again[6].kind(), again[..6] == rows[1..]), (7, "trap", true));
    ask(&folder, &ChosenRows::Node("a".into())).unwrap();
    folder.set(&topology("running-count"));
    folder.run(3).expect(Ending::Finished);
    assert_eq!((folder.rows("out"), list(&folder)), (expected(0..700), vec![]));
}

#[test]
fn a_job_that_had_ended_tells_its_end_once_more_after_the_rows() {
    let topology = |parser: &str| {
        Topology::new(SETTINGS)
            .source("lines", "", false)
            .operator("parse", parser, "\"lines\"")
            .operator("sum", "count-sum", r#"{ from = "parse", by = "key" }"#)
            .sink("out", "\"sum\"")
    };
    let folder = Folder::new(&topology(STRICT));
    folder.feed("lines", "a", ["k,1,7", "k,x,7", "k,2,7"]);
    folder.run(2).expect(Ending::Finished);
    assert_eq!(folder.rows("out"), [("k".to_owned(), "2,3".to_owned())]);
    ask(&folder, &ChosenRows::All).unwrap();
    folder.run(2).expect(Ending::Finished);
    let twice = vec![("k".to_owned(), "2,3".to_owned()); 2];
    assert_eq!((folder.rows("out"), list(&folder).len()), (twice, 1), "refused again, and the sums are told again");
}

#[test]
fn a_host_that_dies_while_it_sends_rows_again_neither_loses_nor_doubles_one() {
    let folder = stopped(1_500);
    ask(&folder, &ChosenRows::All).unwrap();
    folder.set(&parsing(MENDED, true));
    for checkpoints in 1..=4 {
        let copy = folder.copy();
        let mut rows = 1_500;
        for _ in 0..2 {
            copy.abandon(2, checkpoints, &mut || {
                copy.feed("lines", &rows.to_string(), lines(rows..rows + 6));
                rows += 6;
            });
        }
        copy.set(&parsing(MENDED, false));
        copy.run(2).expect(Ending::Finished);
        assert_eq!(copy.rows("out"), expected(0..rows), "{checkpoints} checkpoints");
        assert_eq!(list(&copy), []);
    }
}

#[test]
fn a_walk_back_to_before_rows_were_sent_again_sends_them_again() {
    let folder = stopped(120);
    let before = folder.newest().epoch;
    ask(&folder, &ChosenRows::All).unwrap();
    folder.set(&parsing(MENDED, true));
    for stage in [120, 150, 180] {
        folder.feed("lines", &stage.to_string(), lines(stage..stage + 30));
        folder.run_feeding(2, "lines", &[]).expect(Ending::Stopped);
        assert_eq!(list(&folder), [], "{stage}");
    }
    let expected = expected(0..210);
    assert_eq!(folder.rows("out"), expected);
    assert_eq!(folder.objects("replayed").len(), 1);
    for manifest in folder.all_manifests().iter().filter(|manifest| manifest.epoch > before) {
        fs::write(folder.store().join(format!("checkpoints/{:012}.manifest", manifest.epoch.0)), "damaged").unwrap();
    }
    folder.set(&parsing(MENDED, false));
    let run = folder.run(2).expect(Ending::Finished);
    assert!(!run.passed_over().is_empty() && sent_again(&run) == bad(0..120) as u64);
    assert_eq!((folder.rows("out"), list(&folder)), (expected, vec![]));
}

#[test]
fn rows_of_epochs_that_do_not_count_are_on_no_list() {
    let folder = stopped(60);
    let rows = list(&folder);
    let object = &rows[0].id.object;
    let fake = |epoch: u64, generation: u64| {
        let (mut name, mut held) = (object.clone(), fs::read(folder.store().join(object.path())).unwrap());
        name.epoch.0 = epoch;
        name.generation.0 = generation;
        let mut read: reprise_core::checkpoint::manifest::Quarantine = record::decode(&held).unwrap();
        read.epoch = name.epoch;
        held = record::encode(&read).unwrap();
        fs::write(folder.store().join(name.path()), held).unwrap();
        name
    };
    let newest = folder.newest().epoch.0;
    // Of a host that was replaced, and of an epoch that was not completed.
    let (stale, open) = (fake(newest, 999), fake(newest + 1, 999));
    assert!([stale, open].iter().all(|name| ObjectName::of_path(&name.path()).as_ref() == Some(name)));
    assert_eq!(list(&folder), rows);
}

#[test]
fn more_requests_than_a_run_serves_are_served_one_after_another() {
    const OBJECTS: u32 = 1_100;
    let folder = stopped(60);
    let first = list(&folder).swap_remove(0);
    // As of an epoch whose manifest was deleted.
    fs::remove_file(folder.store().join("checkpoints/000000000001.manifest")).unwrap();
    let row = reprise_core::checkpoint::manifest::QuarantinedRow { value: b"k0,x,7".to_vec(), ..first.row };
    for part in 0..OBJECTS {
        let name = ObjectName { epoch: Epoch(1), part, ..first.id.object.clone() };
        let (node, instance, rows) = (name.node.clone(), name.instance, vec![row.clone()]);
        let object = reprise_core::checkpoint::manifest::Quarantine { node, instance, epoch: name.epoch, rows };
        fs::write(folder.store().join(name.path()), record::encode(&object).unwrap()).unwrap();
    }
    let asked = ask(&folder, &ChosenRows::All).unwrap().rows;
    assert_eq!(asked, u64::from(OBJECTS) + bad(0..60) as u64);
    folder.set(&parsing(MENDED, true));
    let run = folder.run_with(2, |notice| match notice {
        Notice::Checkpoint(_) if list(&folder).is_empty() => Then::Stop,
        _ => Then::GoOn,
    });
    let run = run.expect(Ending::Stopped);
    assert!(run.notices.iter().filter(|notice| matches!(notice, Notice::Replays { .. })).count() > 1);
    assert_eq!(folder.rows("out").len(), 60 + OBJECTS as usize);
}

#[test]
fn rows_that_a_source_refused_are_refused_with_a_word_of_what_to_do() {
    let topology = Topology::new(SETTINGS)
        .source("json", "format = \"json\"\nkey = { pointer = \"/id\" }", false)
        .operator("count", "running-count", r#"{ from = "json", by = "key" }"#)
        .sink("out", "\"count\"");
    let folder = Folder::new(&topology);
    folder.feed_with_refused("json", "a", ["{\"id\":1}", "{ no"], 1);
    folder.run(1).expect(Ending::Finished);
    let rows = list(&folder);
    assert_eq!((rows.len(), rows[0].row.value.as_slice()), (1, b"{ no".as_slice()));
    for chosen in [ChosenRows::Node("json".into()), ChosenRows::Rows(vec![rows[0].id.clone()])] {
        let error = ask(&folder, &chosen).unwrap_err().to_string();
        assert!(error.contains("the source `json`") && error.contains("help: mend the input"), "{error}");
    }
    let asked = ask(&folder, &ChosenRows::All).unwrap();
    assert_eq!((asked.rows, asked.of_sources), (0, 1));
    assert!(folder.objects("replays").is_empty());
    assert_eq!(drop_rows(&folder, &ChosenRows::All).unwrap().rows, 1);
    assert_eq!(list(&folder), []);
}
