//! `reprise verify`: good operators pass, and each wrong one fails with its cause, its slot and its place.
//!
//! The guests are those of `tests/components` and of the examples; `cargo xtask test` builds them.

use crate::support::{Ended, Place, guest};
use reprise::verify::{INSTANCES_MAX, InputRows, VerifyReport, VerifySettings, verify};
use reprise::wasm::{Component, Limits, Runtime, Settings as RuntimeSettings};
use reprise_core::batch::{Batch, Row};
use reprise_core::verify::{Cause, ChangeFault, Check, Detail, Finding, OutputDifference, Verdict};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

/// Seeds of every operator, good and wrong.
const SEEDS: [u64; 2] = [1, 9_223_372_036_854_775_809];
/// Rounds of each check.
const ROUNDS: u32 = 12;

/// Tests run side by side, and each has a few instances at a time.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new(&RuntimeSettings { instances_max: INSTANCES_MAX * 16, ..RuntimeSettings::default() }).unwrap());

/// Each guest is compiled once for all tests.
fn load(name: &str) -> Component {
    static LOADED: Mutex<BTreeMap<String, Component>> = Mutex::new(BTreeMap::new());
    let load = || RUNTIME.load(&std::fs::read(guest(name)).unwrap()).unwrap();
    LOADED.lock().unwrap().entry(name.to_owned()).or_insert_with(load).clone()
}

fn report(name: &str, config: &str, seed: u64) -> VerifyReport {
    // A slow machine is no fault of a guest.
    let limits = Limits { deadline: Duration::from_secs(300), ..Limits::default() };
    let settings = VerifySettings { config: config.to_owned(), seed, rounds: ROUNDS, limits };
    verify(&load(name), None, &settings, &mut |_| {}).unwrap()
}

/// The checks that failed, and why.
fn findings(report: &VerifyReport) -> BTreeMap<Check, &Finding> {
    let mut findings = BTreeMap::new();
    for (check, verdict) in &report.verdicts {
        if let Verdict::Failed(finding) = verdict {
            findings.insert(*check, finding.as_ref());
        }
    }
    findings
}

fn not_applicable(report: &VerifyReport) -> Vec<Check> {
    report.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::NotApplicable(_))).map(|(check, _)| *check).collect()
}

/// The checks that need state, or rows of a key that always go to one instance.
const OF_STATE: [Check; 5] = [Check::Changes, Check::Parts, Check::Chunks, Check::Chain, Check::Rescale];

#[test]
fn good_operators_pass_every_check() {
    // With state, and without.
    let stateful = [
        ("count", "{}"),
        ("count", r#"{"emit":"updates"}"#),
        ("running-count", "{}"),
        ("count-sum", "{}"),
        ("running-sum", "{}"),
        ("migrating-count", "{}"),
        ("big-state", "{}"),
        ("keyed-windows", "{}"),
    ];
    let stateless =
        [("split", "{}"), ("split", r#"{"lowercase":false}"#), ("parse-kv", "{}"), ("parse-text", "{}"), ("parse-column", "{}")];
    for (name, config) in stateful.into_iter().chain(stateless) {
        for seed in SEEDS {
            let report = report(name, config, seed);
            assert_eq!(findings(&report), BTreeMap::new(), "{name} with seed {seed}");
            assert_eq!(report.verdicts.iter().map(|(check, _)| *check).collect::<Vec<_>>(), Check::ALL, "{name}");
            let beside = if stateful.contains(&(name, config)) { &[][..] } else { &OF_STATE };
            assert_eq!(not_applicable(&report), beside, "{name}");
            let coverage = report.coverage.as_ref().unwrap();
            let is_taken = coverage.rows >= 1_000 && coverage.emitted > 0 && (coverage.refused > 0) == (name == "keyed-windows");
            assert!(is_taken, "{name} takes the rows: {coverage:?}");
            assert!(coverage.cells.iter().all(|cells| *cells > 20), "{name} has state: {coverage:?}");
            assert_eq!(report.warnings, Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn a_state_of_one_instance_is_not_rescaled() {
    // A mebibyte of output for each row: five will do.
    let mut rows = Batch::new();
    (0..5).for_each(|time| rows.push(Row { time, key: b"", value: b"later" }).unwrap());
    let given = InputRows { files: vec![rows], ..InputRows::default() };
    let settings = VerifySettings { config: "{}".to_owned(), seed: 1, rounds: 2, limits: Limits::default() };
    let report = verify(&load("large-output"), Some(&given), &settings, &mut |_| {}).unwrap();
    assert_eq!((findings(&report), not_applicable(&report)), (BTreeMap::new(), vec![Check::Rescale]));
    assert_eq!(report.coverage.unwrap().emitted, 5 * 1024);
}

#[test]
fn an_operator_that_hands_everything_out_at_once_passes_but_for_pieces() {
    let report = report("echo", "{}", 1);
    let findings = findings(&report);
    assert_eq!(findings.keys().copied().collect::<Vec<_>>(), [Check::Pieces]);
    let finding = findings[&Check::Pieces];
    assert_eq!(finding.cause, Cause::Fault);
    assert!(finding.notes[0].contains("output over the limit"), "{finding:?}");
}

/// What must be found in a wrong operator.
struct Wrong {
    name: &'static str,
    check: Check,
    cause: Cause,
    /// The cell that the finding must name: its slot and, where it is always the same, its key.
    cell: Option<(&'static str, Option<&'static str>)>,
    /// A remark that it must make.
    note: Option<&'static str>,
}

const fn wrong(name: &'static str, check: Check, cause: Cause) -> Wrong {
    Wrong { name, check, cause, cell: None, note: None }
}

const WRONG: [Wrong; 17] = [
    wrong("wrong-forgotten-slot", Check::Restore, Cause::Undeclared),
    Wrong { note: Some("it declares no state at all"), ..wrong("wrong-hidden-global", Check::Restore, Cause::Undeclared) },
    Wrong {
        note: Some("slot `last-value` is declared, and no snapshot held a cell of it"),
        ..wrong("wrong-silent-slot", Check::Restore, Cause::Undeclared)
    },
    wrong("wrong-iteration-order", Check::Restore, Cause::Order),
    wrong("wrong-call-counter", Check::Replay, Cause::Undeclared),
    wrong("wrong-batch-dependent", Check::Batches, Cause::Batches),
    Wrong {
        note: Some("slot `totals` has a cell under the key \"all rows\", which no row had"),
        ..wrong("wrong-shared-key", Check::Rescale, Cause::Rescale)
    },
    Wrong { note: Some("the memory was limited to"), ..wrong("wrong-short-memory", Check::Memory, Cause::Memory) },
    Wrong { cell: Some(("counts", Some("key-1"))), ..wrong("wrong-delta", Check::Changes, Cause::Changes(ChangeFault::SetMissing)) },
    Wrong { cell: Some(("counts", None)), ..wrong("wrong-delta-removal", Check::Changes, Cause::Changes(ChangeFault::RemovalMissing)) },
    Wrong { cell: Some(("counts", Some("key-1"))), ..wrong("wrong-full", Check::Changes, Cause::Changes(ChangeFault::FullMissing)) },
    Wrong { cell: Some(("counts", None)), note: Some("in parts of"), ..wrong("wrong-lost-part", Check::Parts, Cause::Parts) },
    Wrong { cell: Some(("counts", None)), ..wrong("wrong-restore-appends", Check::Chunks, Cause::RestoreTwice) },
    Wrong { cell: Some(("counts", Some("key-1"))), ..wrong("wrong-restore-changes", Check::Restore, Cause::RestoreCountsAsChange) },
    wrong("wrong-snapshot-mutates", Check::Reading, Cause::SnapshotMutates),
    wrong("wrong-describe-changes", Check::Describe, Cause::Description),
    Wrong { note: Some("`open` was told that a call may return"), ..wrong("wrong-pieces", Check::Pieces, Cause::Pieces) },
];

#[test]
fn every_wrong_operator_fails_with_what_is_wrong_and_where() {
    for wrong in &WRONG {
        for seed in SEEDS {
            let report = report(wrong.name, "{}", seed);
            let found = findings(&report);
            let context = format!("{} with seed {seed}: {found:?}", wrong.name);
            let finding = found.get(&wrong.check).unwrap_or_else(|| panic!("`{}` passed: {context}", wrong.check.name()));
            assert_eq!(finding.cause, wrong.cause, "{context}");
            assert!(finding.at.is_some() || wrong.check == Check::Batches, "a call is named: {context}");
            assert!(!finding.details.is_empty(), "there is evidence: {context}");
            if let Some((slot, key)) = wrong.cell {
                let Detail::Cell(cell) = &finding.details[0] else { panic!("no cell is named: {context}") };
                assert_eq!(report.description.slots[cell.slot as usize].name, slot, "{context}");
                assert!(key.is_none_or(|key| key.as_bytes() == cell.key), "{context}");
                assert_ne!(cell.expected, cell.came, "{context}");
            }
            assert!(wrong.note.is_none_or(|note| finding.notes.iter().any(|said| said.contains(note))), "{context}");
            assert_eq!(report.verdicts[0], (Check::Run, Verdict::Passed { rounds: 1 }), "{context}");
        }
    }
}

#[test]
fn what_is_wrong_with_one_thing_is_not_told_of_others() {
    for (name, failing) in [
        ("wrong-batch-dependent", &[Check::Batches][..]),
        ("wrong-shared-key", &[Check::Rescale]),
        ("wrong-short-memory", &[Check::Memory]),
        ("wrong-delta", &[Check::Changes, Check::Chain]),
        ("wrong-delta-removal", &[Check::Changes, Check::Chain]),
        ("wrong-lost-part", &[Check::Parts]),
        ("wrong-restore-appends", &[Check::Chunks, Check::Chain]),
        ("wrong-describe-changes", &[Check::Describe]),
        ("wrong-pieces", &[Check::Pieces]),
    ] {
        let report = report(name, "{}", 1);
        // Reading in small parts may be what a check of something else stumbles over.
        let found: Vec<Check> = findings(&report).into_keys().filter(|check| name != "wrong-lost-part" || *check == Check::Parts).collect();
        assert_eq!(found, failing, "{name}");
    }
}

#[test]
fn the_same_rows_in_another_order_are_told_as_such() {
    let report = report("wrong-iteration-order", "{}", 1);
    let finding = findings(&report)[&Check::Restore];
    let Detail::Output(OutputDifference::Row { expected, came, is_order: true, .. }) = &finding.details[0] else { panic!("{finding:?}") };
    assert_ne!(expected, came);
    assert!(report.warnings.iter().any(|warning| warning.contains("`random`")), "{:?}", report.warnings);
}

#[test]
fn a_finding_shows_again_with_its_seed_and_has_the_checks_that_may_explain_it() {
    let (report, again) = (report("wrong-full", "{}", 5), report("wrong-full", "{}", 5));
    assert_eq!(report.verdicts, again.verdicts);
    let finding = findings(&report)[&Check::Replay];
    assert!(finding.notes.iter().any(|note| note.contains("`changes` failed too")), "{finding:?}");
}

#[test]
fn hostile_operators_end_in_findings() {
    let mut rows = Batch::new();
    for row in 0..40 {
        let value: &[u8] = if row == 30 { b"poison" } else { b"x" };
        rows.push(Row { time: row, key: b"a", value }).unwrap();
    }
    let given = InputRows { files: vec![rows], ..InputRows::default() };
    let limits = Limits { deadline: Duration::from_secs(2), memory_bytes_max: 16 << 20, ..Limits::default() };
    let settings = VerifySettings { config: "{}".to_owned(), seed: 1, rounds: 2, limits };
    for name in [
        "trap-unreachable",
        "panic",
        "endless-loop",
        "memory-bomb",
        "stack-overflow",
        "process-error",
        "lie-huge",
        "lie-short-ends",
        "lie-more",
        "lie-reject-row",
        "lie-chunk-slot",
        "lie-chunk-removed",
        "lie-snapshot-endless",
    ] {
        let report = verify(&load(name), Some(&given), &settings, &mut |_| {}).unwrap();
        let findings = findings(&report);
        let (check, finding) = findings.first_key_value().unwrap_or_else(|| panic!("{name} passed"));
        assert_eq!(finding.cause, Cause::Fault, "{name}, {}: {finding:?}", check.name());
        assert!(finding.at.is_some() && !finding.notes.is_empty(), "{name}: {finding:?}");
    }
}

#[test]
fn the_documentation_has_every_check_and_every_cause() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verify.md")).unwrap();
    let named: Vec<&str> = Check::ALL.iter().map(|check| check.name()).chain(Cause::ALL.iter().map(|cause| cause.name())).collect();
    let missing: Vec<&&str> = named.iter().filter(|name| !docs.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/verify.md lacks {missing:?}");
}

fn run(place: &Place, arguments: &[&str]) -> Ended {
    place.run(&[&["verify"], arguments].concat())
}

fn file(name: &str) -> String {
    guest(name).to_str().unwrap().to_owned()
}

#[test]
fn the_command_tells_what_passed_and_ends_with_0() {
    let place = Place::new();
    let ended = run(&place, &[&file("count"), "--rounds", "3"]);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(0), ""), "{ended}");
    for text in
        ["operator `count` 0.1.0", "generated, words of text: 1,201 rows", "slot `totals`: up to 95 cells", "seed      1, 3 rounds a check"]
    {
        assert!(ended.stdout.contains(text), "it lacks `{text}`: {ended}");
    }
    assert_eq!(ended.stdout.matches("  passed  ").count(), Check::ALL.len(), "{ended}");
}

#[test]
fn the_command_names_slot_key_values_and_call_and_ends_with_3() {
    let place = Place::new();
    let ended = run(&place, &[&file("wrong-delta"), "--rounds", "5"]);
    assert_eq!(ended.code(), Some(3), "{ended}");
    for text in [
        "  FAILED  changes",
        "changes: a cell was set, and is not in the snapshot of changes",
        "in the snapshot after call ",
        "slot `counts`, cell \"key-1\"",
        "    expected  ",
        "    came      ",
    ] {
        assert!(ended.stdout.contains(text), "it lacks `{text}`: {ended}");
    }
    assert!(ended.stderr.starts_with("error: 2 of 15 checks failed\n  help: with `--seed 1`"), "{ended}");

    let ended = run(&place, &[&file("wrong-delta"), "--rounds", "5", "--seed", "77", "--json"]);
    assert_eq!((ended.code(), ended.stderr.as_str()), (Some(3), ""), "{ended}");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["passed"], &answer["seed"], &answer["rounds"]), (&Value::from(false), &Value::from(77), &Value::from(5)));
    let check = answer["checks"].as_array().unwrap().iter().find(|check| check["check"] == "changes").unwrap();
    let (finding, cell) = (&check["finding"], &check["finding"]["details"][0]);
    assert_eq!((&check["verdict"], &finding["cause"]), (&Value::from("failed"), &Value::from("change-missing")), "{ended}");
    assert_eq!((&cell["slot"], &cell["key"]), (&Value::from("counts"), &Value::from("key-1")), "{ended}");
    assert!(cell["expected"].is_u64() && finding["at"]["number"].is_u64(), "the value is decoded: {ended}");
}

#[test]
fn rows_of_files_are_used_as_a_source_would_read_them() {
    let place = Place::new();
    let csv: String = (0..300).map(|row| format!("k{},{},{}\n", row % 7, row * 10, row)).collect();
    place.write("rows.csv", format!("id,at,n\n{csv}"));
    let ended = run(&place, &[&file("running-count"), "--input", "rows.csv", "--key", "id", "--time", "at", "--rounds", "3", "--json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
    let coverage = &answer["coverage"];
    assert_eq!((&coverage["rows"], &coverage["emitted"], &coverage["cells"][0]), (&300.into(), &300.into(), &7.into()), "{ended}");
    assert_eq!((&answer["rows"], &answer["warnings"]), (&Value::from("of the input"), &serde_json::json!([])), "{ended}");

    let ended = run(&place, &[&file("running-count"), "--input", "rows.csv", "--rounds", "1"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stdout.contains("warning: it keeps state by key, and all keys are empty"), "{ended}");
}

#[test]
fn rows_at_which_an_operator_fails_are_named() {
    let place = Place::new();
    place.write("rows.jsonl", "{\"k\":\"a\"}\n".repeat(50) + "poison\n");
    place.write("poison.txt", "fine\n".repeat(50) + "poison\n");
    let ended = run(&place, &[&file("trap-unreachable"), "--input", "poison.txt"]);
    assert_eq!(ended.code(), Some(3), "{ended}");
    for text in ["run: a call ended in a fault", "trapped in `process`: unreachable executed", "of input `rows`", "the straight run failed"]
    {
        assert!(ended.stdout.contains(text), "it lacks `{text}`: {ended}");
    }
    let ended = run(&place, &[&file("trap-unreachable"), "--input", "rows.jsonl", "--rounds", "1"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stdout.contains("of the input; 1 that cannot be read are left out"), "{ended}");
}

#[test]
fn what_cannot_be_verified_ends_with_2() {
    let place = Place::new();
    place.write("empty.txt", "");
    place.write("rows.txt", "x\n");
    let count = file("count");
    let wanted: [(&[&str], &str); 9] = [
        (&["missing.wasm"], "cannot read `missing.wasm`"),
        (&["rows.txt"], "is not WebAssembly"),
        (&[&file("import-alien")], "evil:host/api@0.1.0"),
        (&[&file("bad-description")], "broke the contract"),
        (&[&count, "--config", r#"{"emit":"nothing"}"#], "`--config`"),
        (&[&count, "--config", "{"], "--config"),
        (&[&count, "--input", "empty.txt"], "no row can be read"),
        (&[&count, "--input", "rows.txt", "--input", "rows.txt"], "2 input files are given, and the operator has 1 inputs"),
        (&[&count, "--input", "rows.txt", "--key", "id"], "a line has no fields"),
    ];
    for (arguments, text) in wanted {
        let ended = run(&place, arguments);
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended}");
        assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(text), "it lacks `{text}`: {ended}");
    }
}
