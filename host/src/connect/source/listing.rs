//! Which files a path or a glob means, in a fixed order.
//!
//! A file is named by its path relative to the folder of the topology where it lies below that, so that both can move together. Two names
//! of one file (links) are two files. Names that start with a dot match no wildcard.

use crate::connect::ConnectError;
use glob::{MatchOptions, Pattern};
use std::path::{Component, Path, PathBuf};

const MATCHING: MatchOptions = MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A path or a glob. See the module.
pub struct Listing {
    base: PathBuf,
    /// Without `.` parts.
    written: PathBuf,
    pattern: Pattern,
}

impl Listing {
    /// Reads the setting.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where it is no legal glob.
    pub fn new(path: &str, base_dir: &Path) -> Result<Self, ConnectError> {
        let base = std::path::absolute(base_dir).map_err(ConnectError::io("find the folder", base_dir))?;
        let written: PathBuf = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
        let full = if written.is_absolute() {
            text(&written)?.to_owned()
        } else {
            format!("{}/{}", Pattern::escape(text(&base)?.trim_end_matches('/')), text(&written)?)
        };
        let pattern = Pattern::new(&full).map_err(|error| ConnectError::Config {
            what: format!("`{path}` is not a glob: {error}"),
            help: "`*` and `?` stand for parts of names, `**` for folders, `[ab]` for one of some characters".to_owned(),
        })?;
        Ok(Self { base, written, pattern })
    }

    /// Where the file of this name is.
    pub fn locate(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// The setting with its folder, for messages.
    pub fn full(&self) -> PathBuf {
        self.base.join(&self.written)
    }

    /// True where the setting means this file.
    pub fn covers(&self, name: &str) -> bool {
        let path = self.locate(name);
        path == self.full() || self.pattern.matches_path_with(&path, MATCHING)
    }

    /// The names of the files that exist now, sorted; there may be none.
    ///
    /// # Errors
    /// [`ConnectError::Config`] for what is no regular file or has no name in UTF-8; [`ConnectError::Io`] for folders that cannot be read.
    pub fn names(&self) -> Result<Vec<String>, ConnectError> {
        let literal = self.full();
        match std::fs::metadata(&literal) {
            Ok(metadata) if metadata.is_file() => return Ok(vec![self.name(&literal)?]),
            Ok(metadata) => {
                let (kind, help) = match metadata.is_dir() {
                    true => ("a folder", "to read the files in it, add `/*`"),
                    false => ("no regular file", "for standard input, write `-`"),
                };
                return Err(ConnectError::Config { what: format!("`{}` is {kind}", literal.display()), help: help.to_owned() });
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(ConnectError::io("look at", &literal)(error)),
            Err(_) if !has_wildcard(&self.written) => return Ok(Vec::new()),
            Err(_) => {}
        }
        let matches = glob::glob_with(self.pattern.as_str(), MATCHING).map_err(|error| ConnectError::Config {
            what: format!("`{}` is not a glob: {error}", self.written.display()),
            help: "see the topology reference for what a glob may hold".to_owned(),
        })?;
        let mut names = Vec::new();
        for found in matches {
            let path = found.map_err(|error| {
                let path = error.path().to_path_buf();
                ConnectError::Io { doing: "list", path, source: error.into() }
            })?;
            if path.is_file() {
                names.push(self.name(&path)?);
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn name(&self, path: &Path) -> Result<String, ConnectError> {
        text(path.strip_prefix(&self.base).unwrap_or(path)).map(str::to_owned)
    }
}

fn has_wildcard(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

fn text(path: &Path) -> Result<&str, ConnectError> {
    path.to_str().ok_or_else(|| ConnectError::Config {
        what: format!("the name of `{}` is not UTF-8", path.display()),
        help: "rename it, or choose a glob that leaves it out".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.txt", "a.txt", ".hidden.txt", "c.log", "sub/d.txt", "odd[1].txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    }

    #[test]
    fn a_glob_lists_files_sorted_and_relative() {
        let folder = folder();
        let names = |path: &str| Listing::new(path, folder.path()).unwrap().names().unwrap();
        assert_eq!(names("*.txt"), ["a.txt", "b.txt", "odd[1].txt"]);
        assert_eq!(names("./**/*.txt"), ["a.txt", "b.txt", "odd[1].txt", "sub/d.txt"]);
        assert_eq!(names("*"), ["a.txt", "b.txt", "c.log", "odd[1].txt"]);
        assert_eq!(names("./a.txt"), ["a.txt"]);
        assert_eq!(names("odd[1].txt"), ["odd[1].txt"]);
        assert_eq!(names("none*"), [""; 0]);
        let absolute = folder.path().join("*.log");
        assert_eq!(names(absolute.to_str().unwrap()), ["c.log"]);
    }

    #[test]
    fn a_folder_is_refused_with_advice() {
        let folder = folder();
        let error = Listing::new("sub", folder.path()).unwrap().names().unwrap_err();
        assert!(matches!(error, ConnectError::Config { .. }), "{error}");
        assert!(error.to_string().contains("add `/*`"), "{error}");
    }

    #[test]
    fn only_files_that_are_meant_are_covered() {
        let folder = folder();
        let listing = Listing::new("*.txt", folder.path()).unwrap();
        assert!(listing.covers("a.txt") && listing.covers("gone.txt"));
        assert!(!listing.covers("sub/d.txt") && !listing.covers("/etc/passwd") && !listing.covers("../a.txt"));
    }
}
