//! Rules of types: their width, their names, and their rows in the glossary.
//!
//! A public type is a `struct`, `enum`, `trait` or `type` that is `pub`, to a part of its crate or to all. Types of tests are free.

use std::collections::{BTreeMap, BTreeSet};

use super::circles;
use super::rules::Complaint;
use super::source;

/// Fields of a struct.
pub const FIELDS_MAX: usize = 16;
/// Begins the comment that says why a struct has more.
const WIDE: &str = "// Wide: ";
/// Trees in which a name belongs to one public type.
const HOST: [&str; 2] = ["host/src/", "host/core/src/"];
/// The page with the words of the project.
const GLOSSARY: &str = "docs/glossary.md";
/// The heading of its table of types.
const TYPES: &str = "## Types";
/// Where every type that is public to all has a row there.
const IN_GLOSSARY: [&str; 4] = ["host/src/engine", "host/src/job", "host/core/src/checkpoint", "host/core/src/failure"];

/// A type that others may name.
struct PublicType<'a> {
    path: &'a str,
    line: usize,
    name: String,
    /// Public to all, not to a part of the crate only.
    is_open: bool,
}

/// Structs of one file that are too wide and do not say why.
pub fn wide(path: &str, text: &str) -> Vec<Complaint> {
    let code = &source::scrub(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for offset in source::words(code, "struct") {
        let Some(fields) = fields(&code[offset..]) else { continue };
        let line = source::line_of(code, offset);
        // The comments and attributes of the struct stand directly above it.
        let mut above =
            lines[..line - 1].iter().rev().map(|line| line.trim()).take_while(|line| line.starts_with("//") || line.starts_with('#'));
        if fields > FIELDS_MAX && !above.any(|line| line.starts_with(WIDE)) {
            let name = word(code[offset + "struct".len()..].trim_start());
            let text =
                format!("`struct {name}` has {fields} fields, more than {FIELDS_MAX}: split it, or say why above it, `{WIDE}reason`");
            complaints.push(Complaint::of("wide-struct", path, line, text));
        }
    }
    complaints
}

/// The number of named fields of the struct that this code begins with.
fn fields(code: &str) -> Option<usize> {
    let open = code.find(['{', ';', '('])?;
    if !code[open..].starts_with('{') {
        return None;
    }
    let bytes = code.as_bytes();
    let (mut depth, mut fields) = (0_usize, 0);
    for at in open..bytes.len() {
        match bytes[at] {
            b'{' | b'(' | b'[' | b'<' => depth += 1,
            b'>' if bytes[at - 1] == b'-' => {}
            b'}' | b')' | b']' | b'>' => depth = depth.saturating_sub(1),
            b':' if depth == 1 && bytes[at - 1] != b':' && bytes.get(at + 1) != Some(&b':') => fields += 1,
            _ => {}
        }
        if depth == 0 {
            return Some(fields);
        }
    }
    None
}

/// The public types of the host's product code.
fn public(files: &[(String, String)]) -> Vec<PublicType<'_>> {
    let mut types = Vec::new();
    for (path, code) in circles::product(files) {
        if !HOST.iter().any(|tree| path.starts_with(tree)) {
            continue;
        }
        for offset in source::words(&code, "pub") {
            let rest = code[offset + "pub".len()..].trim_start();
            let (is_open, rest) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
                Some((_, rest)) => (false, rest.trim_start()),
                None => (true, rest),
            };
            let Some(rest) = ["struct ", "enum ", "trait ", "type "].iter().find_map(|kind| rest.strip_prefix(kind)) else { continue };
            types.push(PublicType { path, line: source::line_of(&code, offset), name: word(rest).to_owned(), is_open });
        }
    }
    types
}

/// Public types of the host that share a name with another one.
pub fn twice(files: &[(String, String)]) -> Vec<Complaint> {
    let mut first: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    let mut complaints = Vec::new();
    for PublicType { path, line, name, .. } in public(files) {
        if let Some((other, at)) = first.get(&name) {
            let text = format!("the public type `{name}` has the name of one in {other}:{at}: a name belongs to one type");
            complaints.push(Complaint::of("type-names", path, line, text));
        } else {
            first.insert(name, (path, line));
        }
    }
    complaints
}

/// A row of the table of types: line, type, file, words of the glossary.
type Row<'a> = (usize, &'a str, &'a str, &'a str);

/// The rows of the table, and the words that the page explains.
fn glossary(files: &[(String, String)]) -> (Vec<Row<'_>>, BTreeSet<&str>) {
    let page = files.iter().find(|(path, _)| path == GLOSSARY).map_or("", |(_, text)| text.as_str());
    let words = page.lines().filter(|line| line.starts_with("| **")).flat_map(|line| line.split("**").skip(1).step_by(2));
    let start = page.lines().position(|line| line == TYPES).unwrap_or(usize::MAX);
    let rows = page.lines().enumerate().skip(start).filter_map(|(at, line)| {
        let cells: Vec<&str> =
            line.strip_prefix('|')?.trim_end().strip_suffix('|')?.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        match cells[..] {
            [name, file, word] if name.starts_with(char::is_uppercase) => Some((at + 1, name, file, word)),
            _ => None,
        }
    });
    (rows.collect(), words.collect())
}

/// Name and file of each type that has to have a row.
fn expected(files: &[(String, String)]) -> BTreeSet<(String, &str)> {
    let is_in = |path: &str| IN_GLOSSARY.iter().any(|tree| path.strip_prefix(tree).is_some_and(|rest| rest.starts_with(['/', '.'])));
    public(files).into_iter().filter(|found| found.is_open && is_in(found.path)).map(|found| (found.name, found.path)).collect()
}

/// What the glossary's table of types lacks, and what it has that is not so.
pub fn unexplained(files: &[(String, String)]) -> Vec<Complaint> {
    let ((rows, words), expected) = (glossary(files), expected(files));
    let complaint = |line, text| Complaint::of("glossary", GLOSSARY, line, text);
    let mut complaints: Vec<Complaint> = missing_rows(files).iter().map(|row| complaint(1, format!("lacks the row {row}"))).collect();
    for (line, name, file, meaning) in &rows {
        if !expected.contains(&((*name).to_owned(), file)) {
            complaints.push(complaint(*line, format!("`{file}` has no type `{name}` that is public to all")));
        }
        for word in meaning.split(',').map(str::trim).filter(|word| !words.contains(word)) {
            complaints.push(complaint(*line, format!("`{name}` is said to be `{word}`, which is no word of the glossary")));
        }
    }
    let late = rows.windows(2).filter(|pair| pair[0].1 > pair[1].1);
    complaints.extend(
        late.map(|pair| complaint(pair[1].0, format!("`{}` stands below `{}`: rows are in the order of names", pair[1].1, pair[0].1))),
    );
    complaints
}

/// The rows that the glossary's table of types lacks, without the word.
pub fn missing_rows(files: &[(String, String)]) -> Vec<String> {
    let present: BTreeSet<(&str, &str)> = glossary(files).0.iter().map(|(_, name, file, _)| (*name, *file)).collect();
    let lacks = |(name, path): &&(String, &str)| !present.contains(&(name.as_str(), *path));
    expected(files).iter().filter(lacks).map(|(name, path)| format!("| `{name}` | `{path}` | |")).collect()
}

/// The letters, digits and underscores that a text begins with.
fn word(text: &str) -> &str {
    &text[..text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len())]
}
