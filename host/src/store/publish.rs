//! What objects that people read need beside create, get, list and delete: copies, lengths, and lists that begin at a name.

use futures::StreamExt;
use object_store::path::Path;
use object_store::{CopyMode, CopyOptions, ObjectStoreExt};

use super::attempts::{Attempts, Failure, absent_as_none};
use super::{Entry, Limits, Store, StoreError};

/// What a copy found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The target did not exist; now it is a copy.
    New,
    /// The target exists, and was left as it is. After an answer that was lost it may be our own copy.
    Exists,
    /// There is nothing to copy from.
    Absent,
}

#[cfg(test)]
impl Store {
    /// The place at a url of a bucket on a server of the tests.
    pub(crate) async fn open_fake(url: &str, server: &super::fake_s3::FakeS3, limits: Limits) -> Self {
        let environment = super::bucket::Environment::new(server.variables());
        super::location::open_place(&environment, url, std::path::Path::new("."), limits, None).await.expect("it is set up")
    }
}

impl Store {
    /// The limits of this store.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The length of an object; nothing if it does not exist.
    ///
    /// # Errors
    /// As every call.
    pub async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        let location = self.location("look at", path)?;
        let mut attempts = Attempts::new(self, "look at", path);
        loop {
            match absent_as_none(attempts.once(0, self.objects.head(&location)).await) {
                Ok(found) => {
                    return Ok(found.map(|meta| meta.size));
                }
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    /// Copies an object of so many bytes to a path where nothing is, inside the store: its bytes do not come here. The copy is whole or
    /// absent, and is durable when this returns.
    ///
    /// The source must exist at the moment of the copy itself. So whoever has removed it need not fear that somebody who looked before
    /// and sleeps in between still copies it.
    ///
    /// A bucket may not know copies on the condition that the target is absent, so there it is looked up before. Two that copy to one
    /// target at the same time may both get [`Copied::New`]: they must copy equal bytes.
    ///
    /// # Errors
    /// As every call. After [`StoreError::Unavailable`] and [`StoreError::Timeout`] the copy may exist, or appear later.
    pub async fn copy(&self, from: &str, to: &str, size_bytes: u64) -> Result<Copied, StoreError> {
        let (source, target) = (self.location("copy", from)?, self.location("copy to", to)?);
        let mut attempts = Attempts::new(self, "copy to", to);
        loop {
            match self.copy_once(&source, &target, size_bytes, &attempts).await {
                Ok(copied) => {
                    return Ok(copied);
                }
                Err(failure) => attempts.failed(failure).await?,
            }
        }
    }

    async fn copy_once(&self, from: &Path, to: &Path, size_bytes: u64, attempts: &Attempts<'_>) -> Result<Copied, Failure> {
        use object_store::Error;
        let copy = |mode| self.objects.copy_opts(from, to, CopyOptions::new().with_mode(mode));
        let copied = match attempts.once(size_bytes, copy(CopyMode::Create)).await {
            Err(Failure::Error(Error::NotSupported { .. } | Error::NotImplemented { .. })) => {
                if absent_as_none(attempts.once(0, self.objects.head(to)).await)?.is_some() {
                    return Ok(Copied::Exists);
                }
                attempts.once(size_bytes, copy(CopyMode::Overwrite)).await
            }
            tried => tried,
        };
        match copied {
            Ok(()) => Ok(Copied::New),
            Err(Failure::Error(Error::AlreadyExists { .. })) => Ok(Copied::Exists),
            Err(Failure::Error(Error::NotFound { .. })) => Ok(Copied::Absent),
            Err(failure) => Err(failure),
        }
    }

    /// The objects directly at the root whose name begins with `stem` and is greater than `after`, in order of their names.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_named_after(&self, stem: &str, after: &str) -> Result<Vec<Entry>, StoreError> {
        let offset = self.location("list", after)?;
        let mut attempts = Attempts::new(self, "list", "");
        loop {
            match self.list_named_after_once(stem, &offset, &attempts).await {
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
    async fn list_named_after_once(&self, stem: &str, offset: &Path, attempts: &Attempts<'_>) -> Result<Option<Vec<Entry>>, Failure> {
        let mut entries = Vec::new();
        let root = self.root_path();
        let mut found = self.objects.list_with_offset(Some(&root), offset);
        while let Some(meta) = attempts.once(0, async { found.next().await.transpose() }).await? {
            let Some(path) = self.inside(&meta.location).filter(|path| path.starts_with(stem) && !path.contains('/')) else { continue };
            // Not every server knows where to start.
            if meta.location <= *offset {
                continue;
            }
            if entries.len() >= self.limits.list_max {
                return Ok(None);
            }
            entries.push(Entry { path: path.to_owned(), size_bytes: meta.size });
        }
        Ok(Some(entries))
    }
}
