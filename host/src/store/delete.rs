//! Removing objects.

use futures::{StreamExt, stream};
use object_store::ObjectStoreExt;
use std::pin::pin;

use super::error::StoreError;
use super::handle::Store;
use super::retry::{RetriedCall, absent_as_none};

/// Objects that are removed side by side.
const DELETES_AT_ONCE: usize = 32;

impl Store {
    /// Removes an object. One that does not exist is fine.
    ///
    /// # Errors
    /// As every call.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let location = self.location("delete", path)?;
        let attempts = RetriedCall::new(self, "delete", path);
        let once = async || absent_as_none(attempts.once(0, self.objects.delete(&location)).await);
        attempts.run(once).await.map(drop)
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
}
