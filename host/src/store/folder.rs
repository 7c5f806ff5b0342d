//! A folder as a store: the client library's, with a list that what lies there besides cannot break.
//!
//! The library's own list ends at the first name that is no path of a store, at a folder that may not be read and at links in a circle.
//! Here those are passed over and named ([`Strays`]): a folder is open to other programs, to the desktop and to `fsck`. What the
//! list itself needs, and cannot be read, is an error.

use std::collections::VecDeque;
use std::fmt;
use std::fs::FileType;
use std::io::ErrorKind;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};
use walkdir::WalkDir;

use super::path;
use super::strays::Strays;

/// Entries that are read in one go, on a thread that may block.
const ENTRIES_AT_ONCE: usize = 1_024;
/// "A folder is there".
const IS_A_FOLDER: i32 = 21;

/// The client of a store in a folder.
#[derive(Debug, Clone)]
pub struct Folder {
    inner: LocalFileSystem,
    root: PathBuf,
    strays: Arc<Strays>,
}

impl Folder {
    /// The folder at `root`, which `inner` serves.
    pub fn new(inner: LocalFileSystem, root: PathBuf, strays: Arc<Strays>) -> Self {
        Self { inner, root, strays }
    }

    fn walk(&self, prefix: Option<&Path>, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        // Paths of stores have only letters that every file system takes as they are.
        let below = prefix.map_or_else(|| self.root.clone(), |prefix| self.root.join(prefix.as_ref()));
        let walk = WalkDir::new(below).min_depth(1).follow_links(true).into_iter();
        let entries = Entries { walk, root: self.root.clone(), after: after.cloned(), strays: Arc::clone(&self.strays) };
        if tokio::runtime::Handle::try_current().is_err() {
            return stream::iter(entries).boxed();
        }
        let read = |(mut entries, mut page): (Entries, VecDeque<Result<ObjectMeta>>)| async move {
            if page.is_empty() {
                let more = move || {
                    let page: VecDeque<_> = entries.by_ref().take(ENTRIES_AT_ONCE).collect();
                    (entries, page)
                };
                (entries, page) = tokio::task::spawn_blocking(more).await?;
            }
            page.pop_front().transpose().map(|found| found.map(|found| (found, (entries, page))))
        };
        stream::try_unfold((entries, VecDeque::new()), read).boxed()
    }
}

/// The objects that a walk through a folder finds.
struct Entries {
    walk: walkdir::IntoIter,
    root: PathBuf,
    after: Option<Path>,
    strays: Arc<Strays>,
}

impl Iterator for Entries {
    type Item = Result<ObjectMeta>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = match self.walk.next()? {
                Ok(entry) => self.object(&entry),
                Err(error) => self.unreadable(error),
            };
            if let Some(found) = found.transpose() {
                return Some(found);
            }
        }
    }
}

impl Entries {
    fn pass_over(&self, path: &FilePath, why: &str) {
        self.strays.note(&path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy(), why);
    }

    fn object(&mut self, entry: &walkdir::DirEntry) -> Result<Option<ObjectMeta>> {
        let name = entry.file_name().to_str();
        if name.is_none_or(|name| path::segment(name).is_err()) {
            if !name.is_some_and(is_unfinished) {
                self.pass_over(entry.path(), "its name is none that a store can have");
            }
            if entry.file_type().is_dir() {
                self.walk.skip_current_dir();
            }
            return Ok(None);
        }
        if entry.file_type().is_dir() {
            return Ok(None);
        }
        if !entry.file_type().is_file() {
            self.pass_over(entry.path(), "it is no file");
            return Ok(None);
        }
        let inside = entry.path().strip_prefix(&self.root).ok().and_then(FilePath::to_str);
        let Some(location) = inside.and_then(|inside| Path::parse(inside).ok()) else { return Ok(None) };
        if self.after.as_ref().is_some_and(|after| location <= *after) {
            return Ok(None);
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) => return self.unreadable(error),
        };
        let last_modified = meta.modified().map_or_else(|_| chrono::DateTime::UNIX_EPOCH, Into::into);
        Ok(Some(ObjectMeta { location, last_modified, size: meta.len(), e_tag: None, version: None }))
    }

    /// Judges an entry that a walk could not read: none of the store's, or an error.
    fn unreadable(&self, error: walkdir::Error) -> Result<Option<ObjectMeta>> {
        let kind = error.io_error().map(std::io::Error::kind);
        if kind == Some(ErrorKind::NotFound) {
            // It went away meanwhile, or a link leads nowhere. A folder that is missing has no objects.
            return Ok(None);
        }
        if let (Some(path), 1..) = (error.path(), error.depth()) {
            if error.loop_ancestor().is_some() {
                self.pass_over(path, "links lead in a circle");
                return Ok(None);
            }
            if let Some(why) = stray(std::fs::symlink_metadata(path).map(|lies| lies.file_type()), kind) {
                self.pass_over(path, why);
                return Ok(None);
            }
        }
        let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("links lead in a circle"));
        Err(Error::Generic { store: "folder", source: Box::new(source) })
    }
}

/// The reason why something that cannot be read is none of the store's; `None` where a list needs it. `lies`: what lies there itself, which a folder hides
/// that may not be searched.
fn stray(lies: std::io::Result<FileType>, refusal: Option<ErrorKind>) -> Option<&'static str> {
    let lies = lies.ok()?;
    if lies.is_symlink() {
        return Some("the link cannot be followed");
    }
    (lies.is_dir() && refusal == Some(ErrorKind::PermissionDenied)).then_some("it may not be read")
}

/// An object that is being written, or was when its host died.
fn is_unfinished(name: &str) -> bool {
    let number = name.split_once('#').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Folder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(out)
    }
}

#[async_trait]
impl ObjectStore for Folder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, options).await;
        if matches!(put, Err(Error::AlreadyExists { .. })) && self.root.join(location.as_ref()).is_dir() {
            // No object will ever be seen there.
            return Err(Error::Generic { store: "folder", source: Box::new(std::io::Error::from_raw_os_error(IS_A_FOLDER)) });
        }
        put
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.walk(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Tries whether files of a folder can have two names, on which it rests that an object is created only if it is absent. `link` makes the second
/// name.
///
/// # Errors
/// The refusal of the system, of whichever step.
pub fn try_links(folder: &FilePath, name: &str, link: impl Fn(&FilePath, &FilePath) -> std::io::Result<()>) -> std::io::Result<Links> {
    // Names of unfinished objects, which no list shows.
    let (first, second) = (folder.join(format!("{name}#1")), folder.join(format!("{name}#2")));
    std::fs::write(&first, b"links?")?;
    let linked = link(&first, &second);
    // Leftovers do no harm.
    let _ = (std::fs::remove_file(&second), std::fs::remove_file(&first));
    match linked {
        Ok(()) => Ok(Links::Work),
        Err(error) if matches!(error.raw_os_error(), Some(1 | 18 | 31 | 38 | 95)) => Ok(Links::Missing(error)),
        Err(error) => Err(error),
    }
}

/// The outcome of a try to link.
#[derive(Debug)]
pub enum Links {
    /// There are links.
    Work,
    /// The file system has none, and said so.
    Missing(std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    async fn listed(folder: &FilePath, prefix: Option<&str>) -> Result<Vec<String>> {
        let inner = LocalFileSystem::new_with_prefix(folder).expect("it is there");
        let store = Folder::new(inner, folder.to_owned(), Arc::default());
        let prefix = prefix.map(Path::from);
        let mut found: Vec<String> = store.list(prefix.as_ref()).map_ok(|meta| meta.location.to_string()).try_collect().await?;
        found.sort();
        Ok(found)
    }

    #[tokio::test]
    async fn what_is_no_object_does_not_break_a_list() {
        use std::os::unix::ffi::OsStringExt;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = |name: &str| folder.path().join(name);
        for inside in ["a/b/deep", "a/c", "a/lost+found"] {
            std::fs::create_dir_all(at(inside)).expect("it is new");
        }
        for name in ["a/1", "a/b/2", "a/b/deep/3", "a/.DS_Store", "a/4#1", "a/two words", "a/line\nend", "a/per%cent", "a/c/\u{e9}", "top"]
        {
            std::fs::write(at(name), name).expect("the folder is there");
        }
        let odd = std::ffi::OsString::from_vec(b"a/\xff\xfe".to_vec());
        std::fs::write(folder.path().join(&odd), "x").expect("the file system takes any bytes");
        std::fs::create_dir(folder.path().join(std::ffi::OsString::from_vec(b"a/\xfd".to_vec()))).expect("it is new");
        std::fs::write(folder.path().join(std::ffi::OsString::from_vec(b"a/\xfd/inside".to_vec())), "x").expect("it is there");
        std::os::unix::fs::symlink(at("a"), at("a/b/round")).expect("links can be made");
        std::os::unix::fs::symlink("nowhere", at("a/b/broken")).expect("links can be made");
        std::os::unix::fs::symlink(at("a/1"), at("a/b/good")).expect("links can be made");
        std::os::unix::fs::symlink("itself", at("a/b/itself")).expect("links can be made");
        std::os::unix::fs::symlink(at("a/1/below"), at("a/b/through")).expect("links can be made");
        let expected = ["a/.DS_Store", "a/1", "a/b/2", "a/b/deep/3", "a/b/good"];
        assert_eq!(listed(folder.path(), Some("a")).await.expect("nothing breaks it"), expected);
        assert_eq!(listed(folder.path(), None).await.expect("nothing breaks it").len(), expected.len() + 1);
        assert!(listed(folder.path(), Some("missing")).await.expect("a missing folder is empty").is_empty());
        assert!(listed(folder.path(), Some("top")).await.expect("a file is no folder").is_empty());
    }

    #[tokio::test]
    async fn what_a_list_needs_and_may_not_look_at_is_an_error() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("a")).expect("it is new");
        std::fs::write(at("a/1"), "x").expect("the folder is there");
        std::os::unix::fs::symlink("itself", at("itself")).expect("links can be made");
        let lies = |name: &str| std::fs::symlink_metadata(at(name)).map(|lies| lies.file_type());
        let (denied, other) = (Some(ErrorKind::PermissionDenied), Some(ErrorKind::NotADirectory));
        assert!(stray(Err(ErrorKind::PermissionDenied.into()), denied).is_none(), "it may be an object, and nobody can tell");
        assert!(stray(lies("a/1"), denied).is_none() && stray(lies("a"), other).is_none());
        assert!(stray(lies("a"), denied).is_some() && stray(lies("itself"), other).is_some());
        // Who may do everything sees all of it.
        std::fs::set_permissions(at("a"), std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        let is_hidden = std::fs::metadata(at("a/1")).is_err();
        let listed = listed(folder.path(), Some("a")).await;
        std::fs::set_permissions(at("a"), std::fs::Permissions::from_mode(0o700)).expect("it is ours");
        assert_eq!(listed.is_err(), is_hidden, "{listed:?}");
    }

    #[tokio::test]
    async fn long_lists_come_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let count = 2 * ENTRIES_AT_ONCE + 1;
        for number in 0..count {
            std::fs::write(folder.path().join(number.to_string()), "").expect("the folder is there");
        }
        assert_eq!(listed(folder.path(), None).await.expect("it can be read").len(), count);
    }

    #[test]
    fn a_file_system_without_links_is_told_apart_from_other_trouble() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let with = |number: i32| try_links(folder.path(), "probe", |_, _| Err(std::io::Error::from_raw_os_error(number)));
        for number in [1, 38, 95] {
            assert!(matches!(with(number), Ok(Links::Missing(_))), "{number}");
        }
        for number in [5, 28, 30] {
            assert!(with(number).is_err(), "{number}");
        }
        assert!(matches!(try_links(folder.path(), "probe", |from, to| std::fs::hard_link(from, to)), Ok(Links::Work)));
        assert!(try_links(&folder.path().join("missing"), "probe", |_, _| Ok(())).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0, "nothing stays");
    }
}
