//! Objects by path, in a folder, a bucket or memory. The only module that names `object_store`.
//!
//! What is promised, whatever is behind:
//!
//! - [`Store::create`] is atomic: of any number of creators of one path, one gets [`Created::New`]. Nothing is ever overwritten. The
//!   one exception is an object above [`LARGE_BYTES`] in a bucket, see there.
//! - An object appears whole or not at all, and is durable when `create` returns. In a folder that means `fsync` of the file and of
//!   the folders above it.
//! - A read sees every create that returned before it began.
//! - Every call ends: each attempt has a time limit, and the attempts are counted ([`Limits`]).
//!
//! It knows nothing of operators, checkpoints or what the bytes mean, and it verifies no checksums: that is for the layer that
//! wrote them.
//!
//! **Retries.** This module is the only one that retries; the client's own retries are switched off, because a conditional create
//! that a client repeats in silence may meet its own object. Parts of a large upload, which carry no condition, are repeated one by one
//! under the same limits.
//!
//! A host that is killed while it writes to a folder may leave a file `NAME#1` there: the unfinished object. It is never listed or
//! read, and may be removed by hand while no host runs.

mod attempts;
mod bucket;
mod create;
mod error;
mod folder;
mod intercept;
mod limits;
mod location;
mod pages;
mod path;
mod probe;
mod publish;
mod settings;
mod strays;
pub mod trouble;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod fake_s3;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

use std::path::Path as FilePath;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use attempts::Attempts;
pub use create::{Created, Creation, LARGE_BYTES};
pub use error::StoreError;
pub use intercept::{CallKind, Intercept, Interference, StorageCall};
pub use limits::Limits;
pub use pages::{Found, PAGE_OBJECTS, Pages};
pub use publish::Copied;

/// Objects that are removed side by side.
const DELETES_AT_ONCE: usize = 32;

/// An object that a list found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Relative to the store's root, as `create` takes it.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
}

/// The objects of one job, or of a place that is nobody's alone. Cheap to clone; clones share their connection.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// What comes before every path, inside `objects`. Ends without `/`; may be empty.
    prefix: String,
    /// For messages: the location, and the job where it is one's.
    root: String,
    limits: Limits,
    /// Bytes above which a create goes up in parts; none where one call takes any size.
    large_bytes: Option<usize>,
    /// Where it is, where it is a folder.
    folder: Option<Arc<FilePath>>,
    strays: Arc<strays::Strays>,
}

impl Store {
    /// Opens the store of the job `job` at `url`, and makes the folder if it is one.
    ///
    /// | `url` | where |
    /// |---|---|
    /// | `file:./state`, `file:state` | a folder, relative to `base_dir` |
    /// | `file:/abs/state`, `file:///abs/state` | a folder |
    /// | `memory:`, `memory:NAME` | this process; every open of the same name sees the same objects |
    /// | `s3://BUCKET`, `s3://BUCKET/PREFIX` | a bucket; endpoint, region, credentials and addressing from the usual `AWS_*` variables |
    ///
    /// # Errors
    /// [`StoreError::Config`] if the url, the job's name or the variables that describe a bucket cannot be used, [`StoreError::Denied`] or [`StoreError::Unavailable`] if
    /// the folder cannot be made. A bucket is not contacted: that is for [`Store::probe`].
    pub async fn open(url: &str, base_dir: &FilePath, job: &str, limits: Limits) -> Result<Self, StoreError> {
        Self::open_with(url, base_dir, job, limits, None).await
    }

    /// As [`open`](Self::open), with somebody who may interfere with each call: to see what a job makes of faults.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        url: &str,
        base_dir: &FilePath,
        job: &str,
        limits: Limits,
        intercept: Option<Arc<dyn Intercept>>,
    ) -> Result<Self, StoreError> {
        location::open(&bucket::Environment::of_process(), url, base_dir, job, limits, intercept).await
    }

    /// Opens the place at `url` itself, without a job: for output. Otherwise as [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_place(url: &str, base_dir: &FilePath, limits: Limits) -> Result<Self, StoreError> {
        Self::open_place_with(url, base_dir, limits, None).await
    }

    /// As [`open_place`](Self::open_place), with somebody who may interfere with each call.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_place_with(
        url: &str,
        base_dir: &FilePath,
        limits: Limits,
        intercept: Option<Arc<dyn Intercept>>,
    ) -> Result<Self, StoreError> {
        location::open_place(&bucket::Environment::of_process(), url, base_dir, limits, intercept).await
    }

    /// As [`Store::open`], for who only reads: a folder that is missing is not made, and gives nothing.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::Config`] where a file lies in the place of the folder.
    pub async fn open_existing(url: &str, base_dir: &FilePath, job: &str, limits: Limits) -> Result<Option<Self>, StoreError> {
        location::open_existing(url, base_dir, job, limits).await
    }

    /// As [`Store::open`], with variables that are given instead of those of the process: for processes that reach several buckets.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with_variables(
        url: &str,
        base_dir: &FilePath,
        job: &str,
        limits: Limits,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        location::open(&bucket::Environment::new(variables), url, base_dir, job, limits, None).await
    }

    /// The location with the job, for messages.
    pub fn root(&self) -> String {
        self.root.clone()
    }

    /// The object's bytes; nothing if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] before anything is read, if the object is longer than [`Limits::object_bytes_max`]; otherwise as
    /// every call: [`StoreError::Path`], [`StoreError::Denied`], [`StoreError::Timeout`] or [`StoreError::Unavailable`].
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let location = self.location("read", path)?;
        let mut attempts = Attempts::new(self, "read", path);
        loop {
            match self.get_once(&location, &attempts).await {
                Ok(outcome) => {
                    return outcome;
                }
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    async fn get_once(&self, location: &Path, attempts: &Attempts<'_>) -> Result<Result<Option<Bytes>, StoreError>, attempts::Failure> {
        let Some(found) = attempts::absent_as_none(attempts.once(0, self.objects.get(location)).await)? else { return Ok(Ok(None)) };
        let size_bytes = found.meta.size;
        if size_bytes > self.limits.object_bytes_max {
            return Ok(Err(attempts.too_large(size_bytes)));
        }
        let bytes = attempts.once(size_bytes, found.bytes()).await?;
        if bytes.len() as u64 != size_bytes {
            return Err(attempts::Failure::Short { expected_bytes: size_bytes, read_bytes: bytes.len() as u64 });
        }
        Ok(Ok(Some(bytes)))
    }

    /// The objects whose path begins with `prefix` as whole segments, in order of their path. `""` lists all; `a/b` and `a/b/` list
    /// `a/b/c`, but neither `a/bc` nor `a/b` itself.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] if there are more than [`Limits::list_max`]; otherwise as every call.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.list_from(prefix, None).await
    }

    /// As [`Store::list`], without the objects whose path sorts before `after` or is `after`.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Entry>, StoreError> {
        self.list_from(prefix, Some(after)).await
    }

    async fn list_from(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Entry>, StoreError> {
        let within = prefix.strip_suffix('/').unwrap_or(prefix);
        let after = after.map(|after| self.location("list", after)).transpose()?;
        let location = if within.is_empty() { self.root_path() } else { self.location("list", within)? };
        let mut attempts = Attempts::new(self, "list", within);
        loop {
            match self.list_once(&location, after.as_ref(), &attempts).await {
                Ok(found) => {
                    let too_many = || StoreError::TooMany { prefix: attempts.object().to_owned(), objects_max: self.limits.list_max };
                    let mut entries = found.ok_or_else(too_many)?;
                    entries.sort();
                    return Ok(entries);
                }
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    /// Nothing if there are more than the limit allows.
    async fn list_once(
        &self,
        location: &Path,
        after: Option<&Path>,
        attempts: &Attempts<'_>,
    ) -> Result<Option<Vec<Entry>>, attempts::Failure> {
        let mut entries = Vec::new();
        let mut found = match after {
            Some(after) => self.objects.list_with_offset(Some(location), after),
            None => self.objects.list(Some(location)),
        };
        while let Some(meta) = attempts.once(0, async { found.next().await.transpose() }).await? {
            let Some(path) = self.inside(&meta.location) else { continue };
            // Not every server knows where to start.
            if after.is_some_and(|after| meta.location <= *after) {
                continue;
            }
            if entries.len() >= self.limits.list_max {
                return Ok(None);
            }
            entries.push(Entry { path: path.to_owned(), size_bytes: meta.size });
        }
        Ok(Some(entries))
    }

    /// Removes an object. One that does not exist is fine.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let location = self.location("delete", path)?;
        let mut attempts = Attempts::new(self, "delete", path);
        loop {
            match attempts::absent_as_none(attempts.once(0, self.objects.delete(&location)).await) {
                Ok(_) => {
                    return Ok(());
                }
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    /// Removes objects side by side, as [`Store::delete`] does one. While the store answers all are tried, whether others were removed or
    /// not.
    ///
    /// # Errors
    /// The first failure, and at once where it is a passing one: the store does not answer, and each further call would wait for it, too.
    pub async fn delete_all(&self, paths: impl IntoIterator<Item = String>) -> Result<(), StoreError> {
        let deletes = stream::iter(paths).map(|path| async move { self.delete(&path).await });
        let mut deletes = pin!(deletes.buffer_unordered(DELETES_AT_ONCE));
        let mut removed = Ok(());
        while let Some(one) = deletes.next().await {
            if one.as_ref().is_err_and(StoreError::is_passing) {
                return one;
            }
            removed = removed.and(one);
        }
        removed
    }

    /// Names something in the store that is none of the job's, or is of no use, and is passed over: in the log, once, with a count. True for what
    /// was not named before.
    pub fn pass_over(&self, path: &str, why: &str) -> bool {
        self.strays.note(path, why)
    }

    /// The checked path as the client takes it.
    fn location(&self, action: &'static str, path: &str) -> Result<Path, StoreError> {
        let refused = |reason: String| StoreError::Path { action, object: self.object(path), reason };
        path::check(path).map_err(&refused)?;
        let whole = if self.prefix.is_empty() { path.to_owned() } else { format!("{}/{path}", self.prefix) };
        Path::parse(whole).map_err(|error| refused(error.to_string()))
    }

    /// What all paths begin with, as the client takes it.
    fn root_path(&self) -> Path {
        Path::from_iter(self.prefix.split('/').filter(|segment| !segment.is_empty()))
    }

    /// The path of an object of the client as ours; nothing if it is not below our root.
    fn inside<'a>(&self, location: &'a Path) -> Option<&'a str> {
        let path = location.as_ref();
        if self.prefix.is_empty() { Some(path) } else { path.strip_prefix(self.prefix.as_str())?.strip_prefix('/') }
    }

    /// The full path of an object, for messages.
    fn object(&self, path: &str) -> String {
        if path.is_empty() { self.root.clone() } else { format!("{}/{path}", self.root) }
    }
}
