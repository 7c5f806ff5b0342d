//! One list of the client, from its first object to its last: what is below our root, and behind the start.

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::handle::Store;
use super::retry::{AttemptFailure, RetriedCall};

/// A list that is read to its end or to its first failure.
pub struct ObjectListing<'a> {
    store: &'a Store,
    /// Objects up to this path are passed over.
    after: Option<Path>,
    objects: BoxStream<'static, object_store::Result<ObjectMeta>>,
}

impl<'a> ObjectListing<'a> {
    /// The objects within a prefix, from after a path on. The client is called at the first [`Self::next`].
    pub fn new(store: &'a Store, within: &Path, after: Option<&Path>) -> Self {
        let objects = match after {
            Some(after) => store.objects.list_with_offset(Some(within), after),
            None => store.objects.list(Some(within)),
        };
        Self { store, after: after.cloned(), objects: objects.fuse().boxed() }
    }

    /// The next object with its path below our root; nothing at the end.
    ///
    /// # Errors
    /// The list broke: it has to be begun anew.
    pub async fn next(&mut self, attempts: &RetriedCall<'_>) -> Result<Option<(String, ObjectMeta)>, AttemptFailure> {
        while let Some(meta) = attempts.once(0, self.objects.try_next()).await? {
            // Not every server knows where to start.
            if self.after.as_ref().is_some_and(|after| meta.location <= *after) {
                continue;
            }
            if let Some(path) = self.store.inside(&meta.location) {
                return Ok(Some((path.to_owned(), meta)));
            }
        }
        Ok(None)
    }
}
