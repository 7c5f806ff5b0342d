//! The table `grant` of an operator: what its guests get of the world outside. Nothing unless it is written here.
//!
//! Whether a component would see what it is granted, and whether the folders exist, is checked where they are opened.

use super::home;
use super::problem::{Problems, quote};
use super::table::{Given, Placed, Reader, Section, below_or_empty, item_at};

/// Environment variables that one operator may be granted.
pub const VARIABLES_MAX: usize = 256;
/// Bytes of their names and values together.
pub const VARIABLES_BYTES_MAX: usize = 64 << 10;
/// Folders that one operator may be granted.
pub const FOLDERS_MAX: usize = 16;
/// Bytes of the path under which a guest sees a folder.
pub const GUEST_PATH_BYTES_MAX: usize = 256;

/// The grant of an operator: what its guests have beyond the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Environment variables, names and values, in the order of the file.
    pub variables: Vec<(String, String)>,
    /// Folders to read, in the order of the file.
    pub folders: Vec<GrantedFolder>,
}

/// A granted folder, which guests may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedFolder {
    /// Where a guest sees it: an absolute path without `.`, `..` and empty names.
    pub guest: String,
    /// Where it is, as written.
    pub path: String,
}

impl Grant {
    /// What is granted, in words. Values of variables are left out: they may be secrets.
    pub(super) fn texts(&self) -> Vec<String> {
        let names: Vec<String> = self.variables.iter().map(|(name, _)| quote(name)).collect();
        let variables = (!names.is_empty()).then(|| format!("environment variables {}", names.join(", ")));
        let folder = |folder: &GrantedFolder| format!("folder {} as {}, read-only", quote(&folder.path), quote(&folder.guest));
        variables.into_iter().chain(self.folders.iter().map(folder)).collect()
    }
}

/// Keys and values of a table.
type Pairs = Vec<(String, Placed<String>)>;

/// Reads the table of an operator, where there is one.
pub(super) fn read(operator: &mut Section<'_>, reader: &mut Reader<'_>) -> Grant {
    let table = operator.table(reader, "grant", "`grant`", "{ env = { LANG = \"C\" } }");
    let (variables, folders) = below_or_empty(table, reader, |section, reader| {
        let variables = section.table(reader, "env", "`env`", "{ LANG = \"C\" }");
        let folders = section.table(reader, "folders", "`folders`", "{ \"/data\" = \"dictionaries\" }");
        (read_pairs(variables, reader), read_pairs(folders, reader))
    });
    folders.iter().for_each(|(_, path)| home::check("folders", path, &mut reader.problems));
    check(variables, folders, &mut reader.problems)
}

/// Any keys, each with a string.
fn read_pairs(given: Given<Section<'_>>, reader: &mut Reader<'_>) -> Pairs {
    let Given::Is(Placed { value: section, .. }) = given else { return Vec::new() };
    let mut pairs = Vec::new();
    for (key, item) in section.raw().iter() {
        let at = if item.span().is_some() { item_at(item) } else { section.at };
        match item.as_str() {
            Some(text) => pairs.extend(reader.expand(text, at).map(|value| (key.to_owned(), Placed { value, at }))),
            None => reader.wrong_type(at, &quote(key), "a string", item, ""),
        }
    }
    pairs
}

fn check(variables: Pairs, folders: Pairs, problems: &mut Problems<'_>) -> Grant {
    check_variables(&variables, problems);
    check_folders(&folders, problems);
    Grant {
        variables: variables.into_iter().map(|(name, value)| (name, value.value)).collect(),
        folders: folders.into_iter().map(|(guest, path)| GrantedFolder { guest, path: path.value }).collect(),
    }
}

fn check_variables(variables: &[(String, Placed<String>)], problems: &mut Problems<'_>) {
    let Some((_, first)) = variables.first() else { return };
    if variables.len() > VARIABLES_MAX {
        problems.add(first.at, format!("`env` has {} variables; at most {VARIABLES_MAX} are granted", variables.len()), None);
    }
    let bytes: usize = variables.iter().map(|(name, value)| name.len().saturating_add(value.value.len())).sum();
    if bytes > VARIABLES_BYTES_MAX {
        problems.add(first.at, format!("`env` has {bytes} bytes; at most {VARIABLES_BYTES_MAX} are granted"), None);
    }
    for (name, value) in variables {
        if name.is_empty() || name.contains('=') || name.chars().any(char::is_control) {
            let help = Some("a name has at least one character, no `=` and no control characters".to_owned());
            problems.add(value.at, format!("`env`: \"{}\" cannot be the name of a variable", quote(name)), help);
        }
        if value.value.contains('\0') {
            problems.add(value.at, format!("`env`: the value of `{}` contains a zero byte", quote(name)), None);
        }
    }
}

fn check_folders(folders: &[(String, Placed<String>)], problems: &mut Problems<'_>) {
    if let Some((_, first)) = folders.get(FOLDERS_MAX) {
        problems.add(first.at, format!("`folders` has {} folders; at most {FOLDERS_MAX} are granted", folders.len()), None);
    }
    for (guest, path) in folders {
        if !is_guest_path(guest) {
            let help = format!(
                "the key is where the guest sees the folder: an absolute path such as \"/data\", at most {GUEST_PATH_BYTES_MAX} bytes, without `.` and `..`"
            );
            problems.add(path.at, format!("`folders`: \"{}\" is not a path for a guest", quote(guest)), Some(help));
        }
        if path.value.is_empty() || path.value.contains('\0') {
            let help = Some("write `\"/data\" = \"dictionaries\"`, a path relative to the topology file".to_owned());
            problems.add(path.at, format!("`folders`: \"{}\" is not a path", quote(&path.value)), help);
        }
    }
}

fn is_guest_path(path: &str) -> bool {
    let Some(names) = path.strip_prefix('/') else { return false };
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && !name.chars().any(char::is_control);
    path.len() <= GUEST_PATH_BYTES_MAX && (names.is_empty() || names.split('/').all(is_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_path_is_absolute_and_plain() {
        for good in ["/", "/data", "/a/b c/d.txt"] {
            assert!(is_guest_path(good), "{good}");
        }
        for bad in ["", "data", "//", "/data/", "/a//b", "/a/../b", "/.", "/a\n", &format!("/{}", "x".repeat(GUEST_PATH_BYTES_MAX))] {
            assert!(!is_guest_path(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_granted_has_an_end() {
        let messages = |variables, folders| {
            let mut problems = Problems::new("");
            check(variables, folders, &mut problems);
            problems.into_sorted().into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        let pairs = |count: usize, value: &str| {
            (0..count).map(|i| (format!("/{i}"), Placed { value: value.to_owned(), at: 0 })).collect::<Vec<_>>()
        };
        assert!(messages(pairs(VARIABLES_MAX, "v"), pairs(FOLDERS_MAX, "f")).is_empty());
        let many = messages(pairs(VARIABLES_MAX + 1, "v"), pairs(FOLDERS_MAX + 1, "f"));
        assert_eq!(many, ["`env` has 257 variables; at most 256 are granted", "`folders` has 17 folders; at most 16 are granted"]);
        let large = messages(pairs(1, &"v".repeat(VARIABLES_BYTES_MAX)), Vec::new());
        assert_eq!(large, ["`env` has 65538 bytes; at most 65536 are granted"]);
    }
}
