//! Copies inside a store.

use object_store::path::Path;
use object_store::{CopyMode, CopyOptions, ObjectStoreExt};

use super::error::StoreError;
use super::handle::Store;
use super::retry::{AttemptFailure, RetriedCall, absent_as_none};

/// The outcome of a copy inside a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The target did not exist; now it is a copy.
    New,
    /// The target exists, and was left as it is. After an answer that was lost it may be our own copy.
    Exists,
    /// There is nothing to copy from.
    Absent,
}

impl Store {
    /// Copies an object of so many bytes to a path where nothing is, inside the store: its bytes do not come here. The copy is whole or
    /// absent, and is durable when this returns.
    ///
    /// The source must exist at the moment of the copy itself. So a host that has removed it need not fear that another one, which looked
    /// before and sleeps in between, still copies it.
    ///
    /// A bucket may not know copies on the condition that the target is absent, so there it is looked up before. Two that copy to one
    /// target at the same time may both get [`Copied::New`]: they must copy equal bytes.
    ///
    /// # Errors
    /// As every call. After [`StoreError::Unavailable`] and [`StoreError::Timeout`] the copy may exist, or appear later.
    pub async fn copy(&self, from: &str, to: &str, size_bytes: u64) -> Result<Copied, StoreError> {
        let (source, target) = (self.location("copy", from)?, self.location("copy to", to)?);
        let attempts = RetriedCall::new(self, "copy to", to);
        attempts.run(|| self.copy_once(&source, &target, size_bytes, &attempts)).await
    }

    async fn copy_once(&self, from: &Path, to: &Path, size_bytes: u64, attempts: &RetriedCall<'_>) -> Result<Copied, AttemptFailure> {
        use object_store::Error;
        let copy = |mode| self.objects.copy_opts(from, to, CopyOptions::new().with_mode(mode));
        let copied = match attempts.once(size_bytes, copy(CopyMode::Create)).await {
            Err(AttemptFailure::Error(Error::NotSupported { .. } | Error::NotImplemented { .. })) => {
                if absent_as_none(attempts.once(0, self.objects.head(to)).await)?.is_some() {
                    return Ok(Copied::Exists);
                }
                attempts.once(size_bytes, copy(CopyMode::Overwrite)).await
            }
            tried => tried,
        };
        match copied {
            Ok(()) => Ok(Copied::New),
            Err(AttemptFailure::Error(Error::AlreadyExists { .. })) => Ok(Copied::Exists),
            Err(AttemptFailure::Error(Error::NotFound { .. })) => Ok(Copied::Absent),
            Err(failure) => Err(failure),
        }
    }
}
