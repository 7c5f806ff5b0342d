//! Foreign things in a place of output: what no sink of Reprise can have put there, by its name and kind. They are named and counted for people, and
//! never touched.
//!
//! Shape decides, not origin: output of another job, of an earlier name of the sink or of another kind of sink is not foreign. A file that
//! somebody gave such a name cannot be told from output.
//!
//! | in the place | is of a sink |
//! |---|---|
//! | `<sink>-<epoch>-<instance>.<ext>`, and the names with a part, or a generation and a number | a file |
//! | a folder that has a `.reprise` of its own | the place of another sink |
//! | `.reprise/<sink>/`, in it `owner`, `lives/`, `staged/`, `published/`, `taken-back/`, in these their own names | as `staging.rs` and `place.rs` name them |
//! | every other name with a dot at its beginning, and `NAME#1` | nobody's business: readers leave them alone, as sources do |
//! | all else: other names, other folders, links of any name, pipes | foreign |
//!
//! A place may hold any number of files, and a start must not take longer for it: of each folder at most [`LOOKED_AT_MAX`] names are looked at, in
//! whichever order they come, without opening anything. Links are not followed, and of a foreign folder the name is all that counts.

use super::output_name::{EPOCH_DIGITS, EXTENSIONS, OutputName};
use super::published::parse_note;
use crate::connect::ConnectError;
use crate::connect::holding::Tenant;
use reprise_core::description::is_name;
use std::fs::{self, FileType};
use std::path::Path;

/// Names of one folder of a place, or of one stretch of a bucket, that are looked at: some milliseconds of a disk, ten requests to a bucket.
pub const LOOKED_AT_MAX: usize = 10_000;
/// Foreign things that are named; those beyond are counted alone.
pub const NAMED_MAX: usize = 3;
/// The folder of what sinks keep beside their output.
const HIDDEN: &str = ".reprise";
/// The folders of a sink in it.
const KEPT: [&str; 4] = ["lives", "staged", "published", "taken-back"];

/// What a place of output holds that no sink has put there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreign {
    /// The first of them in the order of their names, relative to the place and as they are; a folder ends with `/`. At most [`NAMED_MAX`].
    pub named: Vec<String>,
    /// All of them.
    pub count: u64,
    /// There is more in the place than was looked at.
    pub is_part: bool,
}

impl Foreign {
    /// Names and counts what was found.
    pub(super) fn new(mut found: Vec<String>, is_part: bool) -> Self {
        found.sort_unstable();
        let count = found.len() as u64;
        found.truncate(NAMED_MAX);
        Self { named: found, count, is_part }
    }
}

/// The kind of an entry, as far as sinks make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
    /// A link, a pipe, a device: no sink makes these.
    Other,
}

impl EntryKind {
    fn of(kind: FileType) -> Self {
        match kind {
            kind if kind.is_file() => Self::File,
            kind if kind.is_dir() => Self::Folder,
            _ => Self::Other,
        }
    }
}

/// True of a path, relative to a place, that a sink may have made, or that is nobody's business. All folders above it must be so.
pub(super) fn is_of_a_sink(path: &str, kind: EntryKind) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_hidden = |(depth, part): (usize, &&str)| part.starts_with('.') && (depth > 0 || **part != *HIDDEN);
    if parts.iter().enumerate().any(is_hidden) || parts.last().is_some_and(|name| is_unfinished(name)) {
        return true;
    }
    match (parts.as_slice(), kind) {
        ([name], EntryKind::File) => is_output(name),
        ([HIDDEN], EntryKind::Folder) => true,
        ([HIDDEN, sink], EntryKind::Folder) => is_name(sink),
        ([HIDDEN, _, folder], EntryKind::Folder) => KEPT.contains(folder),
        // While it is written it has the number of a process behind its name.
        ([HIDDEN, _, name], EntryKind::File) => *name == "owner" || name.strip_prefix("owner.new-").is_some_and(is_number),
        ([HIDDEN, _, folder, name], EntryKind::File) => match *folder {
            "lives" => Tenant::parse(name).is_some(),
            "staged" => OutputName::parse(name).is_some() || OutputName::parse_piece(name).is_some(),
            // Those of the first hosts are the number of an instance.
            "published" => parse_note(name).is_some() || is_number(name),
            "taken-back" => is_output(name) || name.rsplit_once('.').is_some_and(|(stem, copy)| is_number(copy) && is_output(stem)),
            _ => false,
        },
        _ => false,
    }
}

/// The part of the path of an object that is foreign: its first folder that no sink makes, else the object itself.
pub(super) fn foreign_part(path: &str) -> Option<String> {
    let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
    let folder = folders.into_iter().find(|folder| !is_of_a_sink(folder, EntryKind::Folder));
    match folder {
        Some(folder) => Some(format!("{folder}/")),
        None => (!is_of_a_sink(path, EntryKind::File)).then(|| path.to_owned()),
    }
}

/// The folder at the top of a place that an object shows to be a place of its own.
pub(super) fn place_within(path: &str) -> Option<String> {
    let (folder, rest) = path.split_once('/')?;
    rest.strip_prefix(HIDDEN)?.starts_with('/').then(|| format!("{folder}/"))
}

/// What sinks keep of themselves in a place.
pub(super) fn kept_of(sink: &str) -> String {
    format!("{HIDDEN}/{sink}")
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|number| number.to_string() == text)
}

fn is_epoch(text: &str) -> bool {
    text.parse::<u64>().is_ok_and(|epoch| format!("{epoch:0EPOCH_DIGITS$}") == text)
}

/// An object that is being written to a folder, or was when its host died.
fn is_unfinished(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, number)| is_number(number))
}

/// True of a name that output of some sink may have: behind the epoch there are one to three numbers.
fn is_output(name: &str) -> bool {
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    EXTENSIONS.contains(&extension)
        && (1..=3).any(|behind| {
            let mut parts = stem.rsplitn(behind + 2, '-');
            let numbers = parts.by_ref().take(behind).filter(|part| is_number(part)).count();
            numbers == behind && parts.next().is_some_and(is_epoch) && parts.next().is_some_and(is_name)
        })
}

/// Looks through a folder that is the place of a sink.
///
/// # Errors
/// Where a folder that is there cannot be listed.
pub(super) fn look_through(place: &Path, sink: &str) -> Result<Foreign, ConnectError> {
    let kept = kept_of(sink);
    let inside: Vec<String> = KEPT.iter().map(|folder| format!("{kept}/{folder}")).collect();
    let (mut found, mut is_part) = (Vec::new(), false);
    for below in [String::new(), HIDDEN.to_owned(), kept].into_iter().chain(inside) {
        let folder = place.join(&below);
        let Some(entries) = ConnectError::unless_absent(fs::read_dir(&folder), "list", &folder)? else { continue };
        for (number, entry) in entries.enumerate() {
            if number == LOOKED_AT_MAX {
                is_part = true;
                break;
            }
            let entry = entry.map_err(ConnectError::io("list", &folder))?;
            // One that went away meanwhile, or cannot be looked at, is nothing to tell.
            let Ok(kind) = entry.file_type().map(EntryKind::of) else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let is_a_place = || below.is_empty() && kind == EntryKind::Folder && entry.path().join(HIDDEN).is_dir();
            if !is_of_a_sink(&path, kind) && !is_a_place() {
                found.push(if kind == EntryKind::Folder { path + "/" } else { path });
            }
        }
    }
    Ok(Foreign::new(found, is_part))
}

#[cfg(test)]
mod tests;
