//! A mistake in a topology file, said to the person who wrote it: where, what, and what to do.
//!
//! Problems of a topology are gathered, not thrown: the check goes on after each, so that one run shows them all.

use crate::plain::{is_steering, plain, plain_lines};
use std::fmt;

/// Mistakes that are kept of one file; what comes after them is dropped.
pub const PROBLEMS_MAX: usize = 1_000;
/// Characters of a name or value that a message quotes.
const QUOTE_CHARS_MAX: usize = 80;
/// Characters of a source line that are shown.
const LINE_CHARS_MAX: usize = 120;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// The problems as text, one after another: `topology.toml:12:5: message`, and below it `  help: ...`.
#[must_use]
pub fn render(problems: &[Problem], file_name: &str) -> String {
    write(problems, file_name, None)
}

/// As [`render`], with the line of `text` that each problem is about and a mark below its column.
#[must_use]
pub fn render_quoted(problems: &[Problem], file_name: &str, text: &str) -> String {
    write(problems, file_name, Some(text))
}

fn write(problems: &[Problem], file_name: &str, text: Option<&str>) -> String {
    let lines: Vec<&str> = text.map(|text| text.lines().collect()).unwrap_or_default();
    let mut out = String::new();
    let file_name = plain(file_name);
    for problem in problems {
        // Names of files and what components say are in it too.
        out.push_str(&format!("{file_name}:{}\n", plain_lines(&problem.to_string())));
        if let Some(line) = problem.line.checked_sub(1).and_then(|index| lines.get(index)) {
            quote_line(&mut out, line, problem);
        }
        if let Some(help) = &problem.help {
            out.push_str(&format!("  help: {}\n", plain_lines(help)));
        }
    }
    out
}

/// Shows a window of the line that has the column in it, what could steer a terminal as blanks so that the mark stays below its place.
fn quote_line(out: &mut String, line: &str, problem: &Problem) {
    let column = problem.column.saturating_sub(1);
    let first = if column < LINE_CHARS_MAX { 0 } else { column - LINE_CHARS_MAX / 2 };
    let window: String = line.chars().skip(first).take(LINE_CHARS_MAX).map(|c| if is_steering(c) { ' ' } else { c }).collect();
    let number = problem.line.to_string();
    let margin = " ".repeat(number.len());
    out.push_str(&format!("  {number} | {}\n", window.trim_end()));
    out.push_str(&format!("  {margin} | {}^\n", " ".repeat(column - first)));
}

/// Text from a file or a guest, cut and made printable, for use inside a message.
pub(super) fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTE_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTE_CHARS_MAX).is_some() {
        quoted.push_str("...");
    }
    quoted
}

/// Turns byte offsets of a text into lines and columns.
#[derive(Debug)]
pub(super) struct Places<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1)).collect();
        Self { text, line_starts }
    }

    /// The text itself.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Line and column of a byte offset, both from 1. An offset beyond the end is the end.
    pub(super) fn find(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= at).max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.as_bytes().get(start..at).unwrap_or_default();
        // A character is counted at its first byte.
        let chars = before.iter().filter(|b| (**b as i8) >= -0x40).count();
        (line, chars + 1)
    }
}

/// The mistakes found so far.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    places: Places<'a>,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { places: Places::new(text), found: Vec::new() }
    }

    pub(super) fn places(&self) -> &Places<'a> {
        &self.places
    }

    /// No room for more: looking further is a waste of time.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= PROBLEMS_MAX
    }

    /// Adds a mistake at a byte offset.
    pub(super) fn add(&mut self, at: usize, message: impl Into<String>, help: Option<String>) {
        if !self.is_full() {
            let (line, column) = self.places.find(at);
            self.found.push(Problem { line, column, message: message.into(), help });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them in the order of the file.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        sorted(self.found)
    }
}

/// Problems in the order of the file, none twice.
pub(super) fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        let places = Places::new("aé\n\nxyz");
        assert_eq!(places.find(0), (1, 1));
        assert_eq!(places.find(3), (1, 3));
        assert_eq!(places.find(4), (2, 1));
        assert_eq!(places.find(7), (3, 3));
        assert_eq!(places.find(99), (3, 4));
        assert_eq!(Places::new("").find(0), (1, 1));
    }

    #[test]
    fn the_mark_stands_below_the_column_even_in_a_long_line() {
        let problem = Problem { line: 1, column: 501, message: "m".into(), help: Some("h".into()) };
        let text = format!("{}#{}", "a".repeat(500), "b".repeat(500));
        let shown = render_quoted(&[problem], "f", &text);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "f:1:501: m");
        assert_eq!(lines[1].find('#'), lines[2].find('^'));
        assert!(lines[1].len() < 140);
        assert_eq!(lines[3], "  help: h");
    }

    #[test]
    fn a_quote_is_short_and_printable() {
        assert_eq!(quote("a\u{1b}b"), "a\\u{1b}b");
        assert_eq!(quote(&"x".repeat(100)).len(), 83);
    }
}
