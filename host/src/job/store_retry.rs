//! The store of a run, through outages: each call is made again until it succeeds, fails for good, the run is given up, or the outage has lasted
//! too long. The store itself makes each call again a few times first, see [`crate::store`].
//!
//! Calls before a run has begun are not made again: a start that must fail should fail at once.

use super::error::{Error, failed};
use super::notice::{Notice, Watch};
use super::recovery;
use crate::engine::Control;
use crate::store::{Created, Creation, Store, StoreError};
use bytes::Bytes;
use reprise_core::ids::Generation;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wait between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// The store of a run, whose calls are made again. Clones share what is known of an outage.
#[derive(Clone)]
pub(super) struct RetryingStore {
    /// The store, for calls that are not made again.
    pub store: Store,
    outage: Arc<Outage>,
}

/// An outage, as all calls of a run see it.
struct Outage {
    /// How long it may last.
    most: Duration,
    control: Arc<Control>,
    watch: Watch,
    since: Mutex<Option<Instant>>,
}

impl RetryingStore {
    /// `outage_max`: how long an outage may last.
    pub fn new(store: Store, outage_max: Duration, control: Arc<Control>, watch: Watch) -> Self {
        Self { store, outage: Arc::new(Outage { most: outage_max, control, watch, since: Mutex::new(None) }) }
    }

    /// The run was given up.
    pub fn is_over(&self) -> bool {
        self.outage.control.aborted()
    }

    /// Makes a call until it succeeds or fails for good.
    ///
    /// # Errors
    /// [`Error::Store`] after an outage of `outage_max` or a failure that will not pass, [`Error::Abandoned`] where the run was given up
    /// meanwhile.
    pub async fn until_deadline<T, F>(&self, doing: &'static str, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut began = None;
        loop {
            match attempt().await {
                Ok(done) => {
                    if began.is_some() {
                        self.outage.ends();
                    }
                    return Ok(done);
                }
                Err(error) if error.is_passing() => {
                    let since = *began.get_or_insert_with(|| self.outage.begins(doing, &error));
                    if since.elapsed() >= self.outage.most {
                        return Err(Error::Store { doing, error });
                    }
                    if self.outage.control.aborted() {
                        return Err(Error::Abandoned);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(Error::Store { doing, error }),
            }
        }
    }

    /// Creates an object whose name is ours alone. False where another one is there.
    pub async fn create(&self, path: &str, bytes: Vec<u8>, whole: bool) -> Result<bool, Error> {
        let bytes = Bytes::from(bytes);
        let mut again = false;
        let create = || {
            let how = Creation { again: std::mem::replace(&mut again, true), whole };
            self.store.create_as(path, bytes.clone(), how)
        };
        Ok(self.until_deadline("store an object", create).await? == Created::New)
    }

    /// As [`Self::create`], where the name cannot be taken.
    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), Error> {
        match self.create(path, bytes, false).await? {
            true => Ok(()),
            false => Err(Error::Internal(format!("`{path}` exists already, though its name is ours alone"))),
        }
    }

    /// The newest generation that was claimed.
    pub async fn newest_generation(&self) -> Result<Generation, Error> {
        self.until_deadline("list generations", || recovery::newest_generation(&self.store)).await
    }

    /// Removes an object, without a second try; a failure is told by the log alone.
    pub async fn remove(&self, path: &str) {
        if let Err(error) = self.store.delete(path).await.map_err(failed("remove an object")) {
            tracing::warn!(path, cause = %error, "an object that is of no use any more stays");
        }
    }
}

impl Outage {
    /// Notes an outage, where none is noted yet, and gives its beginning.
    fn begins(&self, doing: &'static str, error: &StoreError) -> Instant {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        *since.get_or_insert_with(|| {
            (self.watch)(Notice::StorageOut { doing, reason: error.to_string(), outage_max: self.most });
            Instant::now()
        })
    }

    fn ends(&self) {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(since) = since {
            (self.watch)(Notice::StorageBack { after: since.elapsed() });
        }
    }
}
