//! The rules themselves: pure functions from paths and texts to complaints.

use std::fmt;

use super::circles::Circle;
use super::source;

/// Lines of a file.
pub const FILE_LINES_MAX: usize = 500;
/// Lines of a function.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Where bad guests live: they do what no other code may.
const BAD_GUESTS: &str = "tests/components/";
/// Folders below it whose files or folders are a guest each.
const GUEST_FOLDERS: [&str; 2] = ["examples", "guests"];
/// The one file with `unsafe` code.
const UNSAFE_FILE: &str = "host/src/wasm/precompiled.rs";
/// Words that name nothing.
const EMPTY_WORDS: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "processor"];
/// Endings of type names that say nothing.
const EMPTY_ENDINGS: [&str; 3] = ["Data", "Info", "Impl"];
/// A library and the only folder that may name it.
const OWNERS: [(&str, &str); 3] = [("timely", "host/src/engine"), ("wasmtime", "host/src/wasm"), ("object_store", "host/src/store")];
/// Imports point left in `core -> store | wasm -> connect -> verify | engine -> job -> cli`: a layer and what it may not import.
const RIGHT_OF: [(&str, &[&str]); 6] = [
    ("store", &["wasm", "connect", "verify", "engine", "job", "cli"]),
    ("wasm", &["store", "connect", "verify", "engine", "job", "cli"]),
    ("connect", &["wasm", "verify", "engine", "job", "cli"]),
    ("verify", &["store", "engine", "job", "cli"]),
    ("engine", &["verify", "job", "cli"]),
    ("job", &["verify", "cli"]),
];
/// What the core may not name.
const IMPURE: [&str; 6] = ["std::fs", "std::thread", "std::net", "std::process", "std::io", "std::env"];
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

/// Something to mend.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The rule's name in the list of those that do not hold yet; empty for one that always does.
    pub rule: &'static str,
    path: String,
    line: usize,
    text: String,
}

impl Complaint {
    /// A complaint of a rule that has a name.
    pub fn of(rule: &'static str, path: &str, line: usize, text: String) -> Self {
        Self { rule, path: path.to_owned(), line, text }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// One file and its readings.
struct File<'a> {
    path: &'a str,
    text: &'a str,
    /// Without comments and literals.
    code: String,
    /// Without test modules too; empty for a file of tests.
    product: String,
}

impl File<'_> {
    fn complaint(&self, line: usize, text: String) -> Complaint {
        Complaint::of("", self.path, line, text)
    }

    fn at(&self, offset: usize, text: String) -> Complaint {
        self.complaint(source::line_of(&self.code, offset), text)
    }
}

/// Everything that one file can be told.
pub fn file(path: &str, text: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if !path.ends_with(".rs") {
        return complaints;
    }
    let code = source::scrub(text);
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/");
    let product = if is_test { String::new() } else { source::without_tests(&code) };
    let file = File { path, text, code, product };
    opening_and_length(&file, &mut complaints);
    names(&file, &mut complaints);
    libraries(&file, &mut complaints);
    layers(&file, &mut complaints);
    purity(&file, &mut complaints);
    switches(&file, &mut complaints);
    complaints
}

fn opening_and_length(file: &File, complaints: &mut Vec<Complaint>) {
    // A crate may open with the text of its README, which its tests then build.
    if !file.text.starts_with("//!") && !file.text.starts_with("#![doc = include_str!") {
        complaints.push(file.complaint(1, "does not open with `//!`: say what the file is, and what it is not".to_owned()));
    }
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        complaints.push(Complaint::of("file-lines", file.path, lines, format!("has {lines} lines, more than {FILE_LINES_MAX}: split it")));
    }
    for (at, _) in file.text.lines().enumerate().filter(|(_, line)| is_signpost(line)) {
        let text = "a comment that points elsewhere: say what the item is".to_owned();
        complaints.push(Complaint::of("doc-comments", file.path, at + 1, text));
    }
    for function in source::functions(&file.code) {
        if function.lines > FUNCTION_LINES_MAX {
            let text = format!("`fn {}` has {} lines, more than {FUNCTION_LINES_MAX}: split it", function.name, function.lines);
            complaints.push(file.complaint(function.line, text));
        }
    }
}

/// Whether the line is a doc comment that sends its reader to the module's.
fn is_signpost(line: &str) -> bool {
    let line = line.trim_start();
    (line.starts_with("///") || line.starts_with("//!")) && line.to_lowercase().contains("see the module")
}

fn names(file: &File, complaints: &mut Vec<Complaint>) {
    for segment in file.path.trim_end_matches(".rs").split('/') {
        if segment.split(['_', '-']).any(|word| EMPTY_WORDS.contains(&word)) {
            complaints.push(file.complaint(1, format!("`{segment}` names nothing: say what is in it")));
        }
    }
    for keyword in ["struct", "enum", "trait", "type", "mod"] {
        for offset in source::words(&file.code, keyword) {
            let rest = file.code[offset + keyword.len()..].trim_start();
            let name: String = rest.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
            if let Some(word) = empty_word(&name) {
                complaints.push(file.at(offset, format!("`{word}` in the name `{name}` says nothing")));
            }
        }
    }
}

fn empty_word(name: &str) -> Option<&'static str> {
    let ending = EMPTY_ENDINGS.into_iter().find(|ending| name.len() > ending.len() && name.ends_with(ending));
    ending.or_else(|| EMPTY_WORDS.into_iter().find(|word| words_of(name).iter().any(|part| part == word)))
}

/// The words of a snake-case or camel-case name, in lower case.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter != '_' {
            words.last_mut().expect("there is always a word").extend(letter.to_lowercase());
        }
    }
    words
}

fn libraries(file: &File, complaints: &mut Vec<Complaint>) {
    if file.path.starts_with("xtask/") {
        return;
    }
    for (library, owner) in OWNERS {
        let owned = file.path.strip_prefix(owner).is_some_and(|rest| rest.starts_with('/') || rest == ".rs");
        if owned {
            continue;
        }
        for offset in source::words(&file.code, library) {
            let is_path = file.code[offset + library.len()..].starts_with("::");
            let is_import = file.code[..offset].trim_end().ends_with("use");
            if is_path || is_import {
                complaints.push(file.at(offset, format!("only {owner} may name `{library}`")));
            }
        }
    }
}

fn layers(file: &File, complaints: &mut Vec<Complaint>) {
    let Some(rest) = file.path.strip_prefix("host/src/") else { return };
    let layer = rest.split(['/', '.']).next().unwrap_or_default();
    for (_, forbidden) in RIGHT_OF.iter().filter(|(name, _)| *name == layer) {
        for other in *forbidden {
            let path = format!("crate::{other}");
            for offset in source::words(&file.product, &path) {
                complaints.push(file.at(offset, format!("`{layer}` may not import `{other}`: imports point left")));
            }
        }
    }
}

fn purity(file: &File, complaints: &mut Vec<Complaint>) {
    if !file.path.starts_with("host/core/src/") {
        return;
    }
    let because = "the core has no I/O, clock, randomness or threads";
    for path in IMPURE {
        for offset in source::words(&file.product, path) {
            complaints.push(file.at(offset, format!("names `{path}`: {because}")));
        }
    }
    for offset in source::words(&file.product, "std::time") {
        // What is imported may stand in braces: read to the end of the statement.
        let statement = file.product[offset..].split(';').next().unwrap_or_default();
        for clock in CLOCKS.into_iter().filter(|clock| source::words(statement, clock).next().is_some()) {
            complaints.push(file.at(offset, format!("names `std::time::{clock}`: {because}")));
        }
    }
}

fn switches(file: &File, complaints: &mut Vec<Complaint>) {
    for (offset, _) in file.code.match_indices("#[ignore") {
        complaints.push(file.at(offset, "switches a test off: mend it or remove it".to_owned()));
    }
    if file.path == UNSAFE_FILE || file.path.starts_with(BAD_GUESTS) {
        return;
    }
    for offset in source::words(&file.code, "unsafe") {
        complaints.push(file.at(offset, format!("`unsafe` belongs into {UNSAFE_FILE} alone")));
    }
}

/// Files that import each other.
pub fn circle(circle: Circle) -> Complaint {
    let text = format!("files import each other in a circle: give what both need a file of its own\n    {}", circle.imports.join("\n    "));
    Complaint::of("", &circle.path, 1, text)
}

/// Bad guests that no test of `tests/*.rs` names.
pub fn unused_guests(files: &[(String, String)]) -> Vec<Complaint> {
    let tests: Vec<&str> = files.iter().filter(|(path, _)| is_test_program(path)).map(|(_, text)| text.as_str()).collect();
    let mut complaints = Vec::new();
    for (path, text) in files {
        let Some(rest) = path.strip_prefix(BAD_GUESTS) else { continue };
        let Some(name) = guest_name(rest, text) else { continue };
        if !tests.iter().any(|test| names_guest(test, &name)) {
            let text = format!("no test in tests/ names the guest `{name}`: use it or remove it");
            complaints.push(Complaint::of("", path, 1, text));
        }
    }
    complaints
}

fn is_test_program(path: &str) -> bool {
    path.strip_prefix("tests/").is_some_and(|rest| rest.ends_with(".rs") && !rest.starts_with("components/"))
}

/// The guest that this file of `tests/components/` makes: an example, or the library of a manifest that is a cdylib.
fn guest_name(path: &str, text: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').collect();
    if let Some(place) = parts.iter().position(|part| GUEST_FOLDERS.contains(part)) {
        return match parts[place + 1..] {
            [file] => file.strip_suffix(".rs").map(str::to_owned),
            [folder, "main.rs"] => Some(folder.to_owned()),
            _ => None,
        };
    }
    let library = text.split("[lib]").nth(1).and_then(|rest| rest.split("\n[").next())?;
    if parts.last() != Some(&"Cargo.toml") || !library.contains("cdylib") {
        return None;
    }
    let package = text.split("[package]").nth(1)?;
    let name = package.lines().find_map(|line| line.trim().strip_prefix("name"))?;
    Some(name.trim_matches([' ', '=', '"', '\t']).to_owned())
}

/// Whether the text holds the name with no letter, digit, `-` or `_` at either side.
fn names_guest(text: &str, name: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    text.match_indices(name).any(|(offset, _)| {
        !text[..offset].chars().next_back().is_some_and(is_part) && !text[offset + name.len()..].chars().next().is_some_and(is_part)
    })
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
