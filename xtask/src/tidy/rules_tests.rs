//! Tests of the rules: a text that breaks one, and the complaint.

use super::*;

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
    assert_eq!(lines, [601]);
    assert!(text.contains("601 lines"), "{text}");
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
