//! Finding a path inside a granted folder, and listing folders. Nothing outside of the folder is ever looked at.
//!
//! A path is walked name by name. A symbolic link is taken apart like the path itself, so that neither `..` nor a link nor a link to a
//! link leads out; what would is refused before the file system is asked, whether it exists or not. The walk and the use of what it found
//! are two steps: a program that may write in the folder could swap a file in between. Guests cannot write.

use super::bindings::filesystem::types::{DescriptorType, ErrorCode};
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

/// Bytes of a path that a guest names.
pub const PATH_BYTES_MAX: usize = 4096;
/// Symbolic links that are followed on the way to one file.
pub const LINKS_MAX: usize = 40;
/// Names of all the folders that an instance is reading at a time.
pub const ENTRIES_MAX: usize = 65_536;

/// The file or folder that a path of a guest leads to.
#[derive(Debug)]
pub(super) struct FoundPath {
    /// The path on this machine; no part of it below the folder is a link, save the last where links are not followed.
    pub(super) host: PathBuf,
    /// The path from the folder on: names with `/` between.
    pub(super) inside: String,
    pub(super) metadata: Metadata,
}

/// Walks from `base`, which is a folder without links in its path. `follow`: the last name may be a link too.
pub(super) fn find(base: &Path, path: &str, follow: bool) -> Result<FoundPath, ErrorCode> {
    if path.is_empty() {
        return Err(ErrorCode::NoEntry);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(ErrorCode::NameTooLong);
    }
    if path.starts_with('/') {
        return Err(ErrorCode::NotPermitted);
    }
    let follow = follow || path.ends_with('/');
    let mut names: VecDeque<OsString> = path.split('/').map(OsString::from).collect();
    let mut host = base.to_owned();
    let mut inside: Vec<String> = Vec::new();
    let mut metadata = fs::symlink_metadata(&host).map_err(code)?;
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        if !metadata.is_dir() {
            return Err(ErrorCode::NotDirectory);
        }
        match one(&name)? {
            Step::Stay => {}
            Step::Up => {
                inside.pop().ok_or(ErrorCode::NotPermitted)?;
                host.pop();
                metadata = fs::symlink_metadata(&host).map_err(code)?;
            }
            Step::Down(name) => {
                let next = host.join(name);
                let found = fs::symlink_metadata(&next).map_err(code)?;
                if found.is_symlink() && (follow || !names.is_empty()) {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(ErrorCode::Loop);
                    }
                    take_apart(&fs::read_link(&next).map_err(code)?, &mut names)?;
                } else {
                    inside.push(name.to_str().ok_or(ErrorCode::IllegalByteSequence)?.to_owned());
                    (host, metadata) = (next, found);
                }
            }
        }
    }
    Ok(FoundPath { host, inside: inside.join("/"), metadata })
}

enum Step<'a> {
    Stay,
    Up,
    Down(&'a OsStr),
}

/// One name of a path. Refuses what this machine would not take for one name.
fn one(name: &OsStr) -> Result<Step<'_>, ErrorCode> {
    let bytes = name.as_encoded_bytes();
    if bytes.contains(&0) {
        return Err(ErrorCode::Invalid);
    }
    if bytes.is_empty() || bytes == b"." {
        return Ok(Step::Stay);
    }
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::ParentDir), None) => Ok(Step::Up),
        (Some(Component::Normal(part)), None) if part == name => Ok(Step::Down(name)),
        _ => Err(ErrorCode::NotPermitted),
    }
}

/// Puts the names of a link's target before those that are still to be walked.
fn take_apart(target: &Path, names: &mut VecDeque<OsString>) -> Result<(), ErrorCode> {
    let mut front = VecDeque::new();
    for part in target.components() {
        match part {
            Component::Normal(_) | Component::ParentDir | Component::CurDir => front.push_back(part.as_os_str().to_owned()),
            Component::RootDir | Component::Prefix(_) => return Err(ErrorCode::NotPermitted),
        }
    }
    if front.is_empty() {
        return Err(ErrorCode::NoEntry);
    }
    front.append(names);
    *names = front;
    Ok(())
}

/// The entries of a folder, in the order of their names, whatever the order of the file system.
pub(super) fn list(folder: &Path, entries_max: usize) -> Result<VecDeque<(String, FileType)>, ErrorCode> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(code)? {
        let entry = entry.map_err(code)?;
        if entries.len() == entries_max {
            return Err(ErrorCode::InsufficientMemory);
        }
        let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
        entries.push((name, entry.file_type().map_err(code)?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries.into())
}

/// The type of a file, in the words of WASI. What is neither file, folder nor link is not told apart.
pub(super) fn kind(ty: FileType) -> DescriptorType {
    if ty.is_file() {
        DescriptorType::RegularFile
    } else if ty.is_dir() {
        DescriptorType::Directory
    } else if ty.is_symlink() {
        DescriptorType::SymbolicLink
    } else {
        DescriptorType::Unknown
    }
}

/// An error of the file system, in the words of WASI.
pub(super) fn code(error: io::Error) -> ErrorCode {
    code_of(error.kind())
}

/// The code of WASI for a kind of error.
pub(super) fn code_of(kind: io::ErrorKind) -> ErrorCode {
    match kind {
        io::ErrorKind::NotFound => ErrorCode::NoEntry,
        io::ErrorKind::PermissionDenied => ErrorCode::Access,
        io::ErrorKind::NotADirectory => ErrorCode::NotDirectory,
        io::ErrorKind::IsADirectory => ErrorCode::IsDirectory,
        io::ErrorKind::InvalidInput => ErrorCode::Invalid,
        io::ErrorKind::InvalidFilename => ErrorCode::NameTooLong,
        _ => ErrorCode::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder `in` with a file, a folder, and links; beside it what must not be found.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap().join("in");
        fs::create_dir_all(base.join("deep")).unwrap();
        fs::write(base.join("file"), "1").unwrap();
        fs::write(base.join("deep/file"), "12").unwrap();
        fs::write(base.join("../secret"), "s").unwrap();
        for (target, link) in [("file", "to-file"), ("deep", "to-deep"), ("../file", "deep/up"), ("../secret", "out"), ("..", "parent")] {
            symlink(target, base.join(link)).unwrap();
        }
        symlink("to-deep/../out", base.join("chain")).unwrap();
        symlink("round", base.join("round")).unwrap();
        symlink(base.join("file"), base.join("absolute")).unwrap();
        (place, base)
    }

    #[test]
    fn paths_inside_are_found_and_told_without_links() {
        let (_place, base) = place();
        let inside = |path: &str| find(&base, path, true).map(|found| found.inside);
        for (path, expected) in [
            (".", ""),
            ("file", "file"),
            ("./deep//file", "deep/file"),
            ("deep/../file", "file"),
            ("to-file", "file"),
            ("to-deep/file", "deep/file"),
            ("to-deep/up", "file"),
            ("deep/", "deep"),
        ] {
            assert_eq!(inside(path), Ok(expected.to_owned()), "{path}");
        }
        assert_eq!(find(&base, "to-deep/up", false).unwrap().inside, "deep/up", "the last name alone is not followed");
        assert_eq!(find(&base, "to-deep/", false).unwrap().inside, "deep", "but before a slash it is");
    }

    #[test]
    fn no_path_leads_out_whether_there_is_something_or_not() {
        let (_place, base) = place();
        for path in ["..", "../secret", "../nothing", "deep/../../secret", "out", "parent", "parent/in/file", "chain", "absolute", "/file"]
        {
            assert_eq!(find(&base, path, true).unwrap_err(), ErrorCode::NotPermitted, "{path}");
        }
        assert_eq!(find(&base.join("deep"), "up", true).unwrap_err(), ErrorCode::NotPermitted, "a folder inside is a border too");
    }

    #[test]
    fn odd_paths_have_their_own_errors() {
        let (_place, base) = place();
        let error = |path: &str| find(&base, path, true).unwrap_err();
        assert_eq!(error(""), ErrorCode::NoEntry);
        assert_eq!(error("none"), ErrorCode::NoEntry);
        assert_eq!(error("file/x"), ErrorCode::NotDirectory);
        assert_eq!(error("file/"), ErrorCode::NotDirectory);
        assert_eq!(error("file/.."), ErrorCode::NotDirectory);
        assert_eq!(error("round"), ErrorCode::Loop);
        assert_eq!(error("a\0b"), ErrorCode::Invalid);
        assert_eq!(error(&"x/".repeat(PATH_BYTES_MAX)), ErrorCode::NameTooLong);
        assert_eq!(error(&"x".repeat(300)), ErrorCode::NameTooLong);
    }

    #[test]
    fn a_folder_is_listed_in_the_order_of_names_up_to_a_limit() {
        let (_place, base) = place();
        let names: Vec<String> = list(&base, 9).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["absolute", "chain", "deep", "file", "out", "parent", "round", "to-deep", "to-file"]);
        assert_eq!(list(&base, 8).unwrap_err(), ErrorCode::InsufficientMemory);
    }
}
