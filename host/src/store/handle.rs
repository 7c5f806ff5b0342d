//! The handle of a store: where its objects are, and what all calls share. The calls themselves are in files of their own.

use object_store::ObjectStore;
use object_store::path::Path;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use super::error::StoreError;
use super::limits::StoreLimits;
use super::path;
use super::strays::Strays;

/// The objects of one job, or of a place for output. Cheap to clone; clones share their connection.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Segments before every path, inside `objects`. Ends without `/`; may be empty.
    pub(super) prefix: String,
    /// The location, and the job where the store is that of one, for messages.
    pub(super) root: String,
    pub(super) limits: StoreLimits,
    /// Bytes above which a create goes up in parts; none where one call takes any size.
    pub(super) large_bytes: Option<usize>,
    /// The folder, where the store is one.
    pub(super) folder: Option<Arc<FilePath>>,
    pub(super) strays: Arc<Strays>,
}

impl Store {
    /// The store at a location, as its url says: without a prefix, under default limits, and taking objects of any size in one call. `shown`: the
    /// location in messages.
    pub(super) fn new(objects: Arc<dyn ObjectStore>, shown: String) -> Self {
        let (prefix, limits, strays) = (String::new(), StoreLimits::default(), Arc::default());
        Self { objects, prefix, root: shown, limits, large_bytes: None, folder: None, strays }
    }

    /// The location with the job, for messages.
    pub fn root(&self) -> String {
        self.root.clone()
    }

    /// The folder whose files the objects are, where it is one.
    pub fn folder(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(&self.prefix))
    }

    /// The limits of this store.
    pub fn limits(&self) -> &StoreLimits {
        &self.limits
    }

    /// Names something in the store that is none of the job's, or is of no use, and is passed over: in the log, once, with a count. True for what
    /// was not named before.
    pub fn pass_over(&self, path: &str, why: &str) -> bool {
        self.strays.note(path, why)
    }

    /// The checked path as the client takes it.
    pub(super) fn location(&self, action: &'static str, path: &str) -> Result<Path, StoreError> {
        let refused = |reason: String| StoreError::Path { action, object: self.object(path), reason };
        path::check(path).map_err(&refused)?;
        let whole = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        Path::parse(whole).map_err(|error| refused(error.to_string()))
    }

    /// A prefix of paths as the client takes it: without the `/` at its end, and checked unless it is empty and means all.
    pub(super) fn within(&self, prefix: &str) -> Result<Path, StoreError> {
        match prefix.strip_suffix('/').unwrap_or(prefix) {
            "" => Ok(Path::from_iter(self.prefix.split('/').filter(|segment| !segment.is_empty()))),
            within => self.location("list", within),
        }
    }

    /// The path of an object of the client as ours; nothing if it is not below our root.
    pub(super) fn inside<'a>(&self, location: &'a Path) -> Option<&'a str> {
        let path = location.as_ref();
        if self.prefix.is_empty() { Some(path) } else { path.strip_prefix(self.prefix.as_str())?.strip_prefix('/') }
    }

    /// The full path of an object, for messages.
    pub(super) fn object(&self, path: &str) -> String {
        if path.is_empty() { self.root.clone() } else { format!("{}/{path}", self.root) }
    }
}
