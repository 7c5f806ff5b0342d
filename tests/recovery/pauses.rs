//! Operators that are paused for an hour, and go on because somebody asks: the oracle is the run without faults, or without the rows.

use super::jobs::{Folder, JOB, Run, Then, Topology, running_counts};
use reprise::clock::Clock;
use reprise::engine::OperatorEvent;
use reprise::job::{self, Ending, Error, Notice, OperatorAnswer, OperatorWish, Requester};
use reprise::store::{Store, StoreLimits};
use reprise_core::checkpoint::faulted::FaultedRows;
use reprise_core::checkpoint::manifest::Resume;
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

/// Longer than any test lasts.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// Lines `key,value,7` go to `a`, a guest, by key, and what that emits to `b`, a counter, by key.
pub(super) fn chain(guest: &str, on_failure: &str, follow: bool) -> Topology {
    let settings = format!("on-failure = {{ retries = 0, pause = \"1h\", {on_failure} }}\ndeadline = \"60s\"");
    Topology::new("savepoint-poll = \"10ms\"\nkeep = 1000")
        .source("lines", "", follow)
        .operator("parse", "parse-text", "\"lines\"")
        .operator_set("a", guest, r#"{ from = "parse", by = "key" }"#, &settings)
        .operator("b", "running-count", r#"{ from = "a", by = "key" }"#)
        .sink("out", "\"b\"")
}

/// Lines with poison at every `nth`.
pub(super) fn lines(rows: usize, nth: usize) -> Vec<String> {
    let value = |row| if row % nth == nth - 1 { "poison" } else { "v" };
    (0..rows).map(|row| format!("k{},{},7", row * 7 % 9, value(row))).collect()
}

fn key(line: &str) -> &str {
    line.split(',').next().unwrap()
}

/// Asks for the end of pauses, as `reprise resume` does.
fn ask(folder: &Folder, operators: &[&str], wait: Duration) -> Result<Vec<OperatorAnswer>, Error> {
    let operators: Vec<String> = operators.iter().map(|name| (*name).to_owned()).collect();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let store = Store::open("file:./state", &folder.path(""), JOB, StoreLimits::default()).await.unwrap();
        job::ask_about_operators(&store, &operators, OperatorWish::Resume, Requester { writer: 7, now_ms: 1_000 }, wait).await
    })
}

fn resumed(operator: &str, was_paused: bool) -> OperatorAnswer {
    OperatorAnswer { operator: operator.to_owned(), was_so: Some(was_paused) }
}

/// Runs to the end, and asks for the end of each pause.
fn run(folder: &Folder) -> Run {
    let run = folder.run_set(
        2,
        |options| options.clock = Clock::Stepping(Arc::new(AtomicI64::new(0))),
        |notice| {
            if let Notice::Operator(OperatorEvent::Paused { operator, pause, .. }) = notice {
                assert_eq!((operator.as_str(), *pause), ("a", Duration::from_secs(3_600)));
                assert_eq!(ask(folder, &["a"], LONG).unwrap(), [resumed("a", true)]);
            }
            Then::GoOn
        },
    );
    let run = run.expect(Ending::Finished);
    let count =
        |wanted: fn(&OperatorEvent) -> bool| run.notices.iter().filter(|n| matches!(n, Notice::Operator(event) if wanted(event))).count();
    let (paused, ended) = (count(|e| matches!(e, OperatorEvent::Paused { .. })), count(|e| matches!(e, OperatorEvent::PauseEnded { .. })));
    let works_again = count(|e| matches!(e, OperatorEvent::Resumed { .. }));
    assert!(
        paused > 0 && paused == ended && works_again > 0 && works_again <= ended,
        "{paused} pauses, {ended} ended, {works_again} for good"
    );
    assert_eq!(folder.objects("requests"), [] as [&str; 0], "each is answered, and nothing is left of it");
    run
}

#[test]
fn an_operator_with_too_many_faults_goes_on_when_somebody_asks() {
    let folder = Folder::new(&chain("trap-unreachable", "faults-max = 0", false));
    let lines = lines(100, 20);
    folder.feed("lines", "all", &lines);
    run(&folder);
    assert_eq!(folder.rows("out"), running_counts(lines.iter().filter(|line| !line.contains("poison")).map(|line| key(line))));
    let held = folder.objects("quarantine/a");
    let held = held.iter().map(|path| record::decode::<FaultedRows>(&fs::read(folder.store().join(path)).unwrap()).unwrap());
    assert_eq!(held.map(|object| object.rows.len()).sum::<usize>(), 5);
}

#[test]
fn a_fault_that_passes_during_a_pause_costs_no_row() {
    // The fault depends on the millisecond, which is another one at each call.
    let folder = Folder::new(&chain("trap-sometimes", "then = \"pause\", faults-max = 1000000", false).step_by_step(1));
    let lines = lines(48, 3);
    folder.feed("lines", "all", &lines);
    run(&folder);
    assert_eq!(folder.rows("out"), running_counts(lines.iter().map(|line| key(line))));
    assert!(folder.objects("quarantine").is_empty());
}

/// Leaves an object of somebody else among the requests.
fn leave(folder: &Folder, path: &str, operator: &str) {
    let path = folder.store().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, record::encode(&Resume { operator: operator.to_owned(), writer: 8, asked_ms: 0 }).unwrap()).unwrap();
}

#[test]
fn who_asks_about_an_operator_that_is_not_paused_is_told_so() {
    let folder = Folder::new(&chain("running-count", "", true));
    folder.feed("lines", "all", lines(40, 50));
    // An answer that nobody took away, a request that its host did not live to answer, and one of a version to come.
    leave(&folder, &paths::not_paused("a").unwrap(), "a");
    leave(&folder, &paths::resume("parse").unwrap(), "parse");
    leave(&folder, "requests/a.later", "a");
    let mut asked = false;
    let run = folder.run_with(2, |notice| {
        if !matches!(notice, Notice::Checkpoint(_)) {
            return Then::GoOn;
        }
        if !std::mem::replace(&mut asked, true) {
            assert_eq!(ask(&folder, &["a", "b"], LONG).unwrap(), [resumed("a", false), resumed("b", false)]);
            while folder.objects("requests").contains(&paths::resume("parse").unwrap()) {
                std::thread::yield_now();
            }
            assert_eq!(folder.objects("requests"), ["requests/a.later", "requests/parse.not-paused"]);
            // The host does not know this one: it is not paused either.
            assert_eq!(ask(&folder, &["other"], LONG).unwrap(), [resumed("other", false)]);
        }
        Then::Stop
    });
    let run = run.expect(Ending::Stopped);
    assert!(asked && !run.notices.iter().any(|notice| matches!(notice, Notice::Operator(OperatorEvent::PauseEnded { .. }))));
}

#[test]
fn who_asks_where_nobody_answers_takes_back_what_is_its_own() {
    let folder = Folder::new(&chain("running-count", "", true));
    leave(&folder, &paths::resume("a").unwrap(), "a");
    for operators in [&["b"][..], &["a"], &["a", "b"]] {
        let error = ask(&folder, operators, Duration::ZERO).unwrap_err().to_string();
        assert!(error.starts_with(&format!("operator `{}` was not resumed in time: no host answered", operators[0])), "{error}");
        assert_eq!(folder.objects("requests"), ["requests/a.resume"], "the request of somebody else stays");
    }
    for name in ["", "../x", "A", "a.b"] {
        let error = ask(&folder, &[name], Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("is no name of an operator"), "{name:?}: {error}");
    }
}

/// Lines go to a parser, `a`, and what it makes of them to `b`, a counter, by key.
fn parsing(on_failure: &str) -> Topology {
    Topology::new("")
        .source("lines", "", false)
        .operator_set("a", "parse-text", "\"lines\"", &format!("on-failure = {{ {on_failure} }}\ndeadline = \"60s\""))
        .operator("b", "running-count", r#"{ from = "a", by = "key" }"#)
        .sink("out", "\"b\"")
}

/// Lines of which every fifth is none that the parser takes.
fn lines_with_bad_ones(rows: usize) -> Vec<String> {
    (0..rows).map(|row| if row % 5 == 4 { format!("bad {row}") } else { format!("k{},v,7", row * 7 % 9) }).collect()
}

fn all_but_the_bad(folder: &Folder, lines: &[String]) {
    let good: Vec<&String> = lines.iter().filter(|line| !line.starts_with("bad")).collect();
    assert_eq!(folder.rows("out"), running_counts(good.iter().map(|line| key(line))));
    let newest = folder.newest();
    let rejected: u64 = newest.operators.iter().flat_map(|operator| &operator.instances).map(|instance| instance.rejected).sum();
    assert_eq!(rejected as usize, lines.len() - good.len());
}

#[test]
fn an_operator_that_rejects_too_many_rows_is_paused_and_nothing_is_lost() {
    let folder = Folder::new(&parsing("rejections-max = 20, pause = \"10ms\""));
    let lines = lines_with_bad_ones(400);
    folder.feed("lines", "all", &lines);
    let run = folder.run(2).expect(Ending::Finished);
    let reasons = run.notices.iter().filter_map(|notice| match notice {
        Notice::Operator(OperatorEvent::Paused { operator, reason, .. }) => Some((operator.as_str(), reason.as_str())),
        _ => None,
    });
    let reasons: Vec<_> = reasons.collect();
    assert!(!reasons.is_empty() && reasons.iter().all(|reason| *reason == ("a", "over 20 rejected rows in 60s")), "{reasons:?}");
    all_but_the_bad(&folder, &lines);
}

#[test]
fn too_many_rejected_rows_stop_the_job_where_its_topology_says_so() {
    let folder = Folder::new(&parsing("rejections-max = 20, open = \"stop\""));
    let lines = lines_with_bad_ones(400);
    folder.feed("lines", "all", &lines);
    let text = folder.run(2).error().to_string();
    assert!(text.contains("operator `a` is stopped: over 20 rejected rows in 60s"), "{text}");
    // Who takes as many for good goes on where it was.
    folder.set(&parsing("rejections-max = 80, open = \"stop\""));
    folder.run(2).expect(Ending::Finished);
    all_but_the_bad(&folder, &lines);
}
