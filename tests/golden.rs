//! Golden files: what a program printed or wrote once, kept under `tests/golden/`, and what it does now must be the same.
//!
//! `UPDATE_GOLDEN=1` writes the files instead; read the difference before committing it. Files of a format on disk are only ever added.

use std::fs;
use std::path::PathBuf;

/// The path of a golden file, given relative to `tests/golden/`.
pub fn path(relative: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden")).join(relative)
}

/// Compares a text with the golden file at `relative`.
///
/// # Panics
/// Where they differ, with the first line that does.
#[track_caller]
#[allow(dead_code, reason = "not every suite has a single text")]
pub fn check(relative: &str, actual: &str) {
    if let Some(difference) = compare(relative, actual) {
        panic!("{difference}");
    }
}

/// As [`check`] for bytes: names the first offset that differs.
#[track_caller]
#[allow(dead_code, reason = "formats on disk use it")]
pub fn check_bytes(relative: &str, actual: &[u8]) {
    let Some(expected) = load_or_update(relative, actual) else { return };
    let same = expected.iter().zip(actual).take_while(|(a, b)| a == b).count();
    assert!(
        expected == actual,
        "{relative}: {} bytes, expected {}; the first difference is at offset {same}\n{ADVICE}",
        actual.len(),
        expected.len()
    );
}

const ADVICE: &str = "if the change is meant, run with UPDATE_GOLDEN=1 and read the difference";

/// What differs between a text and its golden file, in words; `None` where nothing does.
pub fn compare(relative: &str, actual: &str) -> Option<String> {
    let bytes = load_or_update(relative, actual.as_bytes())?;
    let expected = String::from_utf8_lossy(&bytes);
    if expected == actual {
        return None;
    }
    let same = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end of text)").to_owned();
    let (expected_line, actual_line) = (line(&expected), line(actual));
    Some(format!("{relative}:{}:\n  expected: {expected_line}\n  actual:   {actual_line}\nall of it:\n{actual}\n{ADVICE}", same + 1))
}

/// The bytes of the golden file; `None` where it was just written.
fn load_or_update(relative: &str, actual: &[u8]) -> Option<Vec<u8>> {
    let path = path(relative);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        }
        fs::write(&path, actual).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        return None;
    }
    Some(fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}\n{ADVICE}", path.display())))
}
