//! Whether a store keeps the one promise that everything rests on.

use bytes::Bytes;

use super::{Created, Store, StoreError, limits};

impl Store {
    /// Creates one object twice, and expects the second create to be refused and the first bytes to stay. Removes the object.
    ///
    /// It is also the first contact with a bucket, so it finds a wrong name, endpoint or key.
    ///
    /// # Errors
    /// [`StoreError::NotAtomic`] if the store lets the second create through: then no job may run on it. Otherwise as every call.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let path = format!("probe/{:016x}{:016x}", limits::random(), limits::random());
        let finding = self.probe_at(&path).await;
        let removed = self.delete(&path).await;
        match finding? {
            Some(finding) => Err(StoreError::NotAtomic { root: self.root(), finding: finding.to_owned() }),
            None => removed,
        }
    }

    /// What is wrong with the store, if anything is.
    async fn probe_at(&self, path: &str) -> Result<Option<&'static str>, StoreError> {
        const FIRST: &[u8] = b"the first bytes stay";
        const SECOND: &[u8] = b"these must be refused";
        if self.create(path, Bytes::from_static(FIRST)).await? != Created::New {
            return Ok(Some("it says of an object that was never created that it exists"));
        }
        if self.create(path, Bytes::from_static(SECOND)).await? != Created::Exists {
            return Ok(Some("it let an object be created twice"));
        }
        Ok(match self.get(path).await? {
            Some(bytes) if bytes == FIRST => None,
            Some(_) => Some("it refused to create an object twice, but changed its bytes"),
            None => Some("it does not find an object that was just created"),
        })
    }
}
