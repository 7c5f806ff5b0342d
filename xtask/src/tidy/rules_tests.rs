//! Tests of the rules: a text that breaks one, and the complaint.

use super::*;
use crate::tidy::types;

/// The lines complained about, with the texts joined.
fn complain(path: &str, text: &str) -> (Vec<usize>, String) {
    let complaints = file(path, text);
    let lines = complaints.iter().map(|complaint| complaint.line).collect();
    (lines, complaints.iter().map(|complaint| complaint.text.as_str()).collect::<Vec<_>>().join("; "))
}

#[test]
fn a_file_that_holds_to_the_rules_is_left_alone() {
    let text = "//! Wakes the moon: timely, unsafe, object_store.\nfn rise() { let timely = \"unsafe wasmtime::Engine\"; }\n";
    assert_eq!(complain("host/src/moon.rs", text), (vec![], String::new()));
}

#[test]
fn a_file_has_to_open_with_its_description() {
    assert_eq!(complain("host/src/moon.rs", "use std::fmt;\n").0, [1]);
}

#[test]
fn long_files_and_long_functions_are_named() {
    let body = "    let _ = 1;\n".repeat(FUNCTION_LINES_MAX - 1);
    let (lines, text) = complain("a.rs", &format!("//! A.\nfn fits() {{\n{}}}\nfn long() {{\n{body}}}\n", &body[15..]));
    assert_eq!(lines, [2 + FUNCTION_LINES_MAX]);
    assert!(text.contains("`fn long` has 71 lines"), "{text}");
    let (lines, text) = complain("a.rs", &format!("//! A.\n{}", "//\n".repeat(FILE_LINES_MAX)));
    assert_eq!(lines, [501]);
    assert!(text.contains("501 lines"), "{text}");
}

#[test]
fn names_that_say_nothing_are_refused() {
    for (path, text) in [
        ("host/src/util.rs", "//! A.\n"),
        ("host/src/job_helpers/mod.rs", "//! A.\n"),
        ("a.rs", "//! A.\nstruct StoreManager;\n"),
        ("a.rs", "//! A.\nenum RowData {}\n"),
        ("a.rs", "//! A.\ntrait X {}\ntype StoreImpl = u8;\n"),
        ("a.rs", "//! A.\nmod common;\n"),
    ] {
        assert_eq!(complain(path, text).0.len(), 1, "{path} {text}");
    }
    assert_eq!(complain("a.rs", "//! A.\nstruct Metadata;\nstruct Data;\nmod utility;\nstruct Encoded;\n").0, [0; 0]);
}

#[test]
fn a_library_is_named_in_its_own_folder_only() {
    let text = "//! A.\nuse timely::dataflow::Scope;\nfn f(a: wasmtime::Engine) {}\nuse object_store;\n";
    assert_eq!(complain("host/src/job/mod.rs", text).0, [2, 3, 4]);
    assert_eq!(complain("host/src/engine/mod.rs", text).0, [3, 4]);
    assert_eq!(complain("host/src/wasm.rs", text).0, [2, 4]);
    assert_eq!(complain("host/src/wasmer/mod.rs", text).0, [2, 3, 4]);
}

#[test]
fn imports_point_left() {
    let text = "//! A.\nuse crate::engine::Worker;\nuse crate::jobs;\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    assert_eq!(complain("host/src/store/mod.rs", text).0, [2]);
    assert_eq!(complain("host/src/wasm/x/y.rs", text).0, [2]);
    assert_eq!(complain("host/src/job/mod.rs", text).0, [0; 0]);
}

#[test]
fn the_core_stays_pure_outside_its_tests() {
    let text = "//! A.\nuse std::time::{Duration,\n    Instant};\nfn f() { std::fs::read(\"a\"); }\nuse std::time::Duration;\n#[cfg(test)]\nmod tests { use std::fs; }\n";
    assert_eq!(complain("host/core/src/a.rs", text).0, [4, 2]);
    assert_eq!(complain("host/core/src/a/tests.rs", text).0, [0; 0]);
    assert_eq!(complain("host/src/a.rs", text).0, [0; 0]);
}

#[test]
fn unsafe_code_and_ignored_tests_are_refused() {
    let text = "//! A.\nfn f() { unsafe { g() } }\n#[test]\n#[ignore = \"slow\"]\nfn t() {}\n#![deny(unsafe_code)]\n";
    assert_eq!(complain("host/src/a.rs", text).0, [4, 2]);
    assert_eq!(complain("host/src/wasm/precompiled.rs", text).0, [4]);
    assert_eq!(complain("tests/components/bad/src/lib.rs", text).0, [4]);
}

#[test]
fn every_bad_guest_is_named_by_a_test() {
    let files = |test: &str| {
        [
            ("tests/components/traps/Cargo.toml", "[package]\nname = \"trap-late\"\n[lib]\ncrate-type = [\"cdylib\"]\n"),
            ("tests/components/bad/Cargo.toml", "[package]\nname = \"bad\"\n\n[[example]]\ncrate-type = [\"cdylib\"]\n"),
            ("tests/components/bad/examples/stack-overflow.rs", "//! A."),
            ("tests/faults.rs", test),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
    };
    assert_eq!(unused_guests(&files("run(\"trap-late\"); run(\"stack-overflow\");")), []);
    let complaints = unused_guests(&files("run(\"trap-later\"); run(\"a-stack-overflow\");"));
    let paths: Vec<&str> = complaints.iter().map(|complaint| complaint.path.as_str()).collect();
    assert_eq!(paths, ["tests/components/traps/Cargo.toml", "tests/components/bad/examples/stack-overflow.rs"]);
}

#[test]
fn a_wide_struct_says_why() {
    let fields = |count: usize| (0..count).map(|at| format!("    a{at}: Vec<(u8, fn(u8) -> std::fmt::Error)>,\n")).collect::<String>();
    let complain = |above: &str, count| types::wide("a.rs", &format!("{above}struct Moon {{\n{}}}\nstruct Pair(u8, u8);\n", fields(count)));
    assert_eq!(complain("", types::FIELDS_MAX), []);
    assert_eq!(complain("// Wide: one field a crater.\n#[derive(Debug)]\npub ", 17), []);
    let complaints = complain("// Wide: of another.\nstruct Sun;\n/// The moon.\n", 17);
    assert_eq!(complaints.len(), 1);
    assert!(complaints[0].text.contains("`struct Moon` has 17 fields"), "{complaints:?}");
    assert_eq!(complaints[0].line, 4);
}

#[test]
fn a_comment_that_points_at_the_module_is_refused() {
    let text = "//! A.\n/// A moon. See the module.\nstruct Moon;\n// See the module.\n";
    assert_eq!(complain("a.rs", text).0, [2]);
}

/// A host with two crates, and a glossary with these rows of types.
fn host(core: &str, engine: &str, rows: &str) -> Vec<(String, String)> {
    let glossary = format!(
        "| word | meaning |\n|---|---|\n| **moon**, **satellite** | goes round |\n\n## Types\n\n| type | file | word |\n|---|---|---|\n{rows}"
    );
    [
        ("docs/glossary.md", glossary.as_str()),
        ("host/core/src/failure.rs", core),
        ("host/core/src/lib.rs", "pub mod failure;"),
        ("host/src/engine/mod.rs", engine),
        ("host/src/engine/trials.rs", "pub struct Moon;"),
        ("host/src/lib.rs", "mod engine;"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .to_vec()
}

fn texts(complaints: Vec<Complaint>) -> Vec<String> {
    complaints.iter().map(ToString::to_string).collect()
}

#[test]
fn a_public_name_belongs_to_one_type_of_the_host() {
    let twice = |core, engine| texts(types::twice(&host(core, engine, "")));
    assert_eq!(twice("pub struct Moon;\nstruct Sun;", "pub(super) enum Sun {}\n#[cfg(test)]\nmod trials;"), [""; 0]);
    let complaints = twice("/// pub struct Star;\npub struct Moon;", "//! E.\nmod a { pub(crate) type Moon = u8; }\npub trait Star {}");
    assert_eq!(
        complaints,
        ["host/src/engine/mod.rs:2: the public type `Moon` has the name of one in host/core/src/failure.rs:2: a name belongs to one type"]
    );
}

#[test]
fn the_glossary_has_every_type_and_no_other() {
    let rows = "| `Crater` | `host/src/engine/mod.rs` | moon |\n| `Moon` | `host/core/src/failure.rs` | moon, satellite |\n";
    let files = |rows| host("pub struct Moon;\npub(crate) struct Near;", "pub enum Crater {}", rows);
    assert_eq!(texts(types::unexplained(&files(rows))), [""; 0]);
    assert_eq!(types::missing_rows(&files("")), ["| `Crater` | `host/src/engine/mod.rs` | |", "| `Moon` | `host/core/src/failure.rs` | |"]);
    let wrong = "| `Moon` | `host/core/src/failure.rs` | rock |\n| `Crater` | `host/src/engine/mod.rs` | moon |\n| `Sun` | `host/src/engine/mod.rs` | moon |\n";
    let complaints = texts(types::unexplained(&files(wrong)));
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    for (complaint, part) in complaints.iter().zip(["no word of the glossary", "no type `Sun`", "`Crater` stands below `Moon`"]) {
        assert!(complaint.contains(part), "{complaint}");
    }
}
