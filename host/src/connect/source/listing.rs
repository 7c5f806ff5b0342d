//! Which files a path or a glob means, in a fixed order: each file once, however many names it has.
//!
//! A file is named by its path relative to the folder of the topology where it lies below that, so that both can move together. The folders
//! before the first wildcard are canonical: however `path` is spelled, a file has one name. Of several names of one file (links) the first
//! one counts, one that is no symbolic link before one that is. Hidden and temporary names match no wildcard: see [`is_passed_over`].

use super::identity::Look;
use crate::connect::ConnectError;
use globset::{GlobBuilder, GlobMatcher};
use reprise_core::codec::checksum;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::DirEntryExt;
use std::path::{Component, Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// Folders below each other that a `**` goes down.
const DEPTH_MAX: usize = 64;
/// Ends of names that programs give to files that they are still writing.
pub const TEMPORARY_ENDS: [&str; 10] = ["~", ".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".download", ".swp", ".swx"];

/// The path or glob of a source, and the files that it means.
pub struct Listing {
    base: PathBuf,
    /// Without `.` parts, as the setting has it.
    written: PathBuf,
    /// The folder above the first wildcard, or that of the file.
    root: PathBuf,
    /// What comes below that folder.
    parts: Vec<Part>,
    whole: GlobMatcher,
}

struct Part {
    text: String,
    /// `None`: any number of folders.
    matcher: Option<GlobMatcher>,
}

/// A file of a source as one look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    pub name: String,
    pub look: Look,
}

/// The files of a source as one look found them.
#[derive(Debug, Default)]
pub struct Listed {
    /// Each file once, sorted by name.
    pub files: Vec<FoundFile>,
    /// Stands for the folder above the first wildcard and for the pattern: a file that was not seen is gone only where both are the same as
    /// when it was seen. None where there is no such folder now.
    pub folder: Option<u64>,
    /// Files and folders that could not be looked at, with the reason: nothing is known of what is in them.
    pub blind: Vec<(String, String)>,
    /// Names that are not UTF-8, which are passed over.
    pub nameless: Vec<PathBuf>,
}

/// True for names that a wildcard does not match, since they are hidden or those of files that are not complete. `part`: what the pattern
/// says of the name; one that has the same mark in so many words means them.
pub fn is_passed_over(name: &str, part: &str) -> bool {
    let hidden = name.starts_with('.') && !part.starts_with('.');
    let saved = name.starts_with('#') && name.ends_with('#') && !part.starts_with('#');
    hidden || saved || TEMPORARY_ENDS.iter().any(|end| name.len() > end.len() && name.ends_with(end) && !part.ends_with(end))
}

impl Listing {
    /// Reads the setting.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where it is no legal glob.
    pub fn new(path: &str, base_dir: &Path) -> Result<Self, ConnectError> {
        let base = canonical(&std::path::absolute(base_dir).map_err(ConnectError::io("find the folder", base_dir))?);
        if base.to_str().is_none() {
            let what = format!("the name of `{}` is not UTF-8", base.display());
            return Err(ConnectError::config(what, "rename it, or choose a glob that leaves it out"));
        }
        let written: PathBuf = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
        let full = base.join(&written);
        let parts: Vec<Component<'_>> = full.components().collect();
        let literal = base.components().count();
        // What stands in the name of the topology's folder is no pattern.
        let first_own = if written.is_absolute() { 0 } else { literal };
        let wild = parts.iter().enumerate().position(|(at, part)| at >= first_own && has_wildcard(Path::new(part)));
        let cut = wild.unwrap_or(parts.len().saturating_sub(1));
        let root = canonical(&parts[..cut].iter().collect::<PathBuf>());
        let below: Vec<String> = parts[cut..].iter().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let refused = |error: &dyn std::fmt::Display| ConnectError::Config {
            what: format!("`{path}` is not a glob: {error}"),
            help: "`*` and `?` stand for parts of names, `**` for folders, `[ab]` for one of some characters".to_owned(),
        };
        reprise_core::topology::check_glob(path).map_err(|why| refused(&why))?;
        let matcher = |text: &str| {
            let glob = GlobBuilder::new(&plain_braces(text)).literal_separator(true).backslash_escape(false).build();
            glob.map(|glob| glob.compile_matcher()).map_err(|error| refused(error.kind()))
        };
        let whole = matcher(&below.join("/"))?;
        let part = |text: String| Ok(Part { matcher: if text == "**" { None } else { Some(matcher(&text)?) }, text });
        let parts = below.into_iter().map(part).collect::<Result<Vec<_>, ConnectError>>()?;
        Ok(Self { base, written, root, parts, whole })
    }

    /// Where the file of this name is.
    pub fn locate(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// The file of this name as it is now; none where it cannot be looked at.
    pub fn look(&self, name: &str) -> Option<FoundFile> {
        let look = Look::at(&self.locate(name)).ok()?;
        Some(FoundFile { name: name.to_owned(), look })
    }

    /// The setting with its folder, for messages.
    pub fn full(&self) -> PathBuf {
        self.base.join(&self.written)
    }

    /// True where the setting means this file.
    pub fn covers(&self, name: &str) -> bool {
        let path = self.locate(name);
        if self.literal().is_some_and(|literal| literal == path) {
            return true;
        }
        path.strip_prefix(&self.root).is_ok_and(|below| self.means(below))
    }

    /// The name of a file that is written otherwise: by a link, through `..`, or before the folder had a canonical name. The same where
    /// the folder of the file is gone.
    pub fn rename(&self, name: &str) -> String {
        let path = self.locate(name);
        let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else { return name.to_owned() };
        self.name(&canonical(folder).join(file)).unwrap_or_else(|| name.to_owned())
    }

    /// The files that exist now. There may be none.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where a path without wildcards is no regular file; [`ConnectError::Io`] where it cannot be looked at.
    pub fn list(&self) -> Result<Listed, ConnectError> {
        let mut listed = Listed { folder: self.folder(), ..Listed::default() };
        let literal = self.literal();
        let path = literal.clone().unwrap_or_else(|| self.full());
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => match path.to_str().map(|path| self.rename(path)) {
                Some(name) => listed.files.push(FoundFile { name, look: Look::of(&metadata) }),
                None => listed.nameless.push(path),
            },
            Ok(metadata) => {
                let (kind, help) = match metadata.is_dir() {
                    true => ("a folder", "to read the files in it, add `/*`"),
                    false => ("no regular file", "for standard input, write `-`"),
                };
                return Err(ConnectError::Config { what: format!("`{}` is {kind}", path.display()), help: help.to_owned() });
            }
            Err(error) if literal.is_some() && error.kind() != ErrorKind::NotFound => {
                return Err(ConnectError::io("look at", &path)(error));
            }
            Err(_) if literal.is_some() => {}
            Err(_) => self.walk(&mut listed),
        }
        Ok(listed)
    }

    /// The folder above the first wildcard and the pattern, as [`Listed::folder`] has them.
    pub fn folder(&self) -> Option<u64> {
        let key = Look::at(&self.root).ok()?.id.key();
        let mut bytes = key.to_le_bytes().to_vec();
        self.parts.iter().for_each(|part| bytes.extend([b"/", part.text.as_bytes()].concat()));
        Some(checksum(&bytes))
    }

    /// The path, where it has no wildcard.
    fn literal(&self) -> Option<PathBuf> {
        match &self.parts[..] {
            [part] if !has_wildcard(Path::new(&part.text)) => Some(self.root.join(&part.text)),
            _ => None,
        }
    }

    fn walk(&self, listed: &mut Listed) {
        let any_depth = self.parts.iter().any(|part| part.matcher.is_none());
        let depth = if any_depth { DEPTH_MAX } else { self.parts.len() };
        let walk = WalkDir::new(&self.root).follow_links(true).min_depth(1).max_depth(depth);
        // Whether the name is that of a link, and the name.
        let mut once: BTreeMap<u64, (bool, FoundFile)> = BTreeMap::new();
        for entry in walk.into_iter().filter_entry(|entry| self.is_on_the_way(entry, any_depth)) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    listed.blind.extend(blind(&error));
                    continue;
                }
            };
            let below = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            if !entry.file_type().is_file() || !self.means(below) {
                continue;
            }
            let Some(name) = self.name(entry.path()) else {
                listed.nameless.push(entry.path().to_path_buf());
                continue;
            };
            let look = match entry.metadata() {
                Ok(metadata) => Look::of(&metadata),
                Err(error) => {
                    listed.blind.extend(blind(&error));
                    continue;
                }
            };
            let (key, new) = (look.id.key(), (entry.path_is_symlink(), FoundFile { name, look }));
            let better = |old: &(bool, FoundFile)| (new.0, &new.1.name) < (old.0, &old.1.name);
            if once.get(&key).is_none_or(better) {
                once.insert(key, new);
            }
        }
        listed.files.extend(once.into_values().map(|(_, found)| found));
        listed.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }

    fn is_on_the_way(&self, entry: &DirEntry, any_depth: bool) -> bool {
        if entry.depth() == 0 || !entry.file_type().is_dir() {
            return true;
        }
        let name = entry.file_name().to_string_lossy();
        match self.parts.get(entry.depth() - 1) {
            _ if any_depth => !name.starts_with('.') || self.parts.iter().any(|part| part.text.starts_with('.')),
            Some(part) => {
                !is_passed_over(&name, &part.text) && part.matcher.as_ref().is_none_or(|matcher| matcher.is_match(entry.file_name()))
            }
            None => false,
        }
    }

    fn means(&self, below: &Path) -> bool {
        let (Some(name), Some(part)) = (below.file_name(), self.parts.last()) else { return false };
        let hidden = |part: Component<'_>| part.as_os_str().to_string_lossy().starts_with('.');
        let may_hide = self.parts.iter().any(|part| part.text.starts_with('.'));
        // Folders of a pattern without `**` were held against its parts on the way.
        let is_hidden = !may_hide && below.components().any(hidden);
        !is_hidden && !is_passed_over(&name.to_string_lossy(), &part.text) && self.whole.is_match(below)
    }

    fn name(&self, path: &Path) -> Option<String> {
        path.strip_prefix(&self.base).unwrap_or(path).to_str().map(str::to_owned)
    }

    /// All regular files beside a file, by the number of their inodes: for those that are looked for under another name.
    pub fn beside(&self, name: &str) -> BTreeMap<u64, String> {
        let path = self.locate(name);
        let Some(entries) = path.parent().and_then(|folder| std::fs::read_dir(folder).ok()) else { return BTreeMap::new() };
        let files = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        files.filter_map(|entry| Some((entry.ino(), self.name(&entry.path())?))).collect()
    }
}

/// A file that is not there any more, or a link that leads nowhere or back, hides nothing.
fn blind(error: &walkdir::Error) -> Option<(String, String)> {
    if error.loop_ancestor().is_some() {
        return None;
    }
    let cause = error.io_error()?;
    let is_loop = cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
    if is_loop || cause.kind() == ErrorKind::NotFound {
        return None;
    }
    Some((error.path()?.to_string_lossy().into_owned(), cause.to_string()))
}

/// The canonical path of what exists of a path, and the rest as it is.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(found) = path.canonicalize() {
        return found;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => canonical(parent).join(name),
        _ => path.to_path_buf(),
    }
}

/// Braces mean nothing in a glob.
fn plain_braces(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '{' | '}') { format!("[{c}]") } else { c.to_string() }).collect()
}

fn has_wildcard(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a.txt", ".hidden.txt", "c.log", "sub/d.txt", "odd[1].txt", "e{1}.dat", "e1.dat"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        folder
    }

    fn names_in(folder: &Path, path: &str) -> Vec<String> {
        let listed = Listing::new(path, folder).unwrap().list().unwrap();
        listed.files.into_iter().map(|found| found.name).collect()
    }

    #[test]
    fn a_glob_lists_files_sorted_and_relative() {
        let folder = folder();
        let names = |path: &str| names_in(folder.path(), path);
        assert_eq!(names("*.txt"), ["a.txt", "b.txt", "odd[1].txt"]);
        assert_eq!(names("./**/*.txt"), ["a.txt", "b.txt", "odd[1].txt", "sub/d.txt"]);
        assert_eq!(names("*.[!t]*"), ["c.log", "e1.dat", "e{1}.dat"]);
        assert_eq!(names("*/*"), ["sub/d.txt"]);
        assert_eq!(names("./a.txt"), ["a.txt"]);
        assert_eq!(names("sub/../a.txt"), ["a.txt"]);
        assert_eq!(names("odd[1].txt"), ["odd[1].txt"]);
        assert_eq!(names("e{?}.dat"), ["e{1}.dat"]);
        assert_eq!(names("none*"), [""; 0]);
        assert_eq!(names(".hid*"), [".hidden.txt"]);
        let absolute = folder.path().join("*.log");
        assert_eq!(names(absolute.to_str().unwrap()), ["c.log"]);
    }

    #[test]
    fn a_folder_whose_own_name_looks_like_a_pattern_is_no_pattern() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("jobs[old]*");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("a.txt"), "x").unwrap();
        assert_eq!(names_in(&inner, "*.txt"), ["a.txt"]);
        assert_eq!(names_in(&inner, "a.txt"), ["a.txt"]);
    }

    #[test]
    fn names_of_unfinished_files_match_no_wildcard_unless_the_pattern_says_them() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "a~", "#a#", "a.tmp", "a.part", "b.crdownload", ".a.swp", "c.tmpl"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        assert_eq!(names_in(folder.path(), "*"), ["a", "c.tmpl"]);
        assert_eq!(names_in(folder.path(), "**/*"), ["a", "c.tmpl"]);
        assert_eq!(names_in(folder.path(), "*.tmp"), ["a.tmp"]);
        assert_eq!(names_in(folder.path(), "a.part"), ["a.part"]);
        assert_eq!(names_in(folder.path(), "#*"), ["#a#"]);
    }

    #[test]
    fn links_neither_double_a_file_nor_lead_in_circles() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        symlink("..", at("sub/up")).unwrap();
        symlink("sub", at("other")).unwrap();
        symlink("a.txt", at("0.txt")).unwrap();
        symlink("nowhere", at("broken.txt")).unwrap();
        symlink("self.txt", at("self.txt")).unwrap();
        std::fs::hard_link(at("b.txt"), at("z.txt")).unwrap();
        assert_eq!(names_in(folder.path(), "*.txt"), ["a.txt", "b.txt", "odd[1].txt"]);
        let all = names_in(folder.path(), "**/*.txt");
        assert_eq!(all.len(), 4, "{all:?}");
    }

    #[test]
    fn a_name_that_is_not_utf8_is_passed_over_and_told() {
        let folder = folder();
        std::fs::write(folder.path().join(OsStr::from_bytes(b"caf\xe9.txt")), "x").unwrap();
        let listed = Listing::new("*.txt", folder.path()).unwrap().list().unwrap();
        assert_eq!((listed.files.len(), listed.nameless.len()), (3, 1));
    }

    #[test]
    fn one_file_has_one_name_however_the_path_is_spelled() {
        let folder = folder();
        let here = folder.path().canonicalize().unwrap();
        symlink(&here, folder.path().join("link")).unwrap();
        for (base, path) in [
            (here.clone(), "*.log".to_owned()),
            (here.join("sub/.."), format!("{}/*.log", here.display())),
            (here.join("link"), "./sub/../*.log".to_owned()),
            (here.clone(), "link/c.log".to_owned()),
        ] {
            assert_eq!(names_in(&base, &path), ["c.log"], "{} {path}", base.display());
        }
        assert_eq!(Listing::new("*", &here).unwrap().rename("link/sub/../c.log"), "c.log");
    }

    #[test]
    fn a_folder_is_refused_with_advice() {
        let folder = folder();
        let error = Listing::new("sub", folder.path()).unwrap().list().unwrap_err();
        assert!(matches!(error, ConnectError::Config { .. }), "{error}");
        assert!(error.to_string().contains("add `/*`"), "{error}");
    }

    #[test]
    fn only_files_that_are_meant_are_covered() {
        let folder = folder();
        let listing = Listing::new("*.txt", folder.path()).unwrap();
        assert!(listing.covers("a.txt") && listing.covers("gone.txt"));
        assert!(!listing.covers("sub/d.txt") && !listing.covers("/etc/passwd") && !listing.covers("../a.txt") && !listing.covers("a.txt~"));
    }
}
