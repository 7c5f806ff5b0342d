//! Reading objects, their lengths, and lists that are held whole.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::error::StoreError;
use super::handle::Store;
use super::listing::ObjectListing;
use super::retry::{AttemptFailure, RetriedCall, absent_as_none};

/// An object that a list found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Relative to the store's root, as `create` takes it.
    pub path: String,
    /// The length of the object.
    pub size_bytes: u64,
}

impl Store {
    /// The object's bytes; nothing if it does not exist.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] before anything is read, if the object is longer than
    /// [`StoreLimits::object_bytes_max`](super::StoreLimits::object_bytes_max); otherwise as every call: [`StoreError::Path`],
    /// [`StoreError::Denied`], [`StoreError::Timeout`] or [`StoreError::Unavailable`].
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let location = self.location("read", path)?;
        let attempts = RetriedCall::new(self, "read", path);
        attempts.run(|| self.get_once(&location, &attempts)).await
    }

    async fn get_once(&self, location: &Path, attempts: &RetriedCall<'_>) -> Result<Option<Bytes>, AttemptFailure> {
        let Some(found) = absent_as_none(attempts.once(0, self.objects.get(location)).await)? else { return Ok(None) };
        let expected_bytes = found.meta.size;
        if expected_bytes > self.limits.object_bytes_max {
            return Err(AttemptFailure::Refused(attempts.too_large(expected_bytes)));
        }
        let bytes = attempts.once(expected_bytes, found.bytes()).await?;
        if bytes.len() as u64 != expected_bytes {
            return Err(AttemptFailure::Short { expected_bytes, read_bytes: bytes.len() as u64 });
        }
        Ok(Some(bytes))
    }

    /// The length of an object; nothing if it does not exist.
    ///
    /// # Errors
    /// As every call.
    pub async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        let location = self.location("look at", path)?;
        let attempts = RetriedCall::new(self, "look at", path);
        let head = async || absent_as_none(attempts.once(0, self.objects.head(&location)).await);
        Ok(attempts.run(head).await?.map(|meta| meta.size))
    }

    /// The objects whose path begins with `prefix` as whole segments, in order of their path. `""` lists all; `a/b` and `a/b/` list
    /// `a/b/c`, but neither `a/bc` nor `a/b` itself.
    ///
    /// # Errors
    /// [`StoreError::TooMany`] if there are more than [`StoreLimits::list_max`](super::StoreLimits::list_max); otherwise as every call.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.list_where(prefix, None, |_| true).await
    }

    /// The objects of [`Store::list`], without the objects whose path sorts before `after` or is `after`.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Entry>, StoreError> {
        self.list_where(prefix, Some(after), |_| true).await
    }

    /// The objects directly at the root whose name begins with `stem` and is greater than `after`, in order of their names.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_named_after(&self, stem: &str, after: &str) -> Result<Vec<Entry>, StoreError> {
        self.list_where("", Some(after), |path| path.starts_with(stem) && !path.contains('/')).await
    }

    async fn list_where(&self, prefix: &str, after: Option<&str>, is_meant: impl Fn(&str) -> bool) -> Result<Vec<Entry>, StoreError> {
        let within = self.within(prefix)?;
        let after = after.map(|after| self.location("list", after)).transpose()?;
        let attempts = RetriedCall::new(self, "list", prefix.strip_suffix('/').unwrap_or(prefix));
        let once = async || {
            let mut listing = ObjectListing::new(self, &within, after.as_ref());
            let mut entries = Vec::new();
            while let Some((path, ObjectMeta { size, .. })) = listing.next(&attempts).await? {
                if !is_meant(&path) {
                    continue;
                }
                if entries.len() >= self.limits.list_max {
                    return Err(AttemptFailure::Refused(attempts.too_many()));
                }
                entries.push(Entry { path, size_bytes: size });
            }
            entries.sort();
            Ok(entries)
        };
        attempts.run(once).await
    }
}
