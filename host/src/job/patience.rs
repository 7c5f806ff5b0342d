//! Waiting for a store that does not answer: what a run does is tried again until the store is back, the run is given up, or the outage
//! has lasted too long. The store itself tries each call a few times first; see `store/`.

use super::error::Error;
use super::notice::{Notice, Watch};
use crate::engine::Control;
use crate::store::StoreError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wait between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// See the module. Shared by all that a run has under way.
pub(super) struct Patience {
    /// How long an outage may last.
    outage_max: Duration,
    control: Arc<Control>,
    watch: Watch,
    outage: Mutex<Option<Instant>>,
}

impl Patience {
    pub fn new(outage_max: Duration, control: Arc<Control>, watch: Watch) -> Self {
        Self { outage_max, control, watch, outage: Mutex::new(None) }
    }

    /// Does something until it succeeds or fails for good.
    ///
    /// # Errors
    /// [`Error::Store`] after an outage of `outage_max` or a failure that will not pass, [`Error::Abandoned`] where the run was given up
    /// meanwhile.
    pub async fn insist<T, F>(&self, doing: &'static str, mut attempt: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut began = None;
        loop {
            match attempt().await {
                Ok(done) => {
                    if began.is_some() {
                        self.is_back();
                    }
                    return Ok(done);
                }
                Err(error) if error.is_passing() => {
                    let since = *began.get_or_insert_with(|| self.is_out(doing, &error));
                    if since.elapsed() >= self.outage_max {
                        return Err(Error::Store { doing, error });
                    }
                    if self.control.aborted() {
                        return Err(Error::Abandoned);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(Error::Store { doing, error }),
            }
        }
    }

    /// Notes an outage, where none is noted yet, and gives its beginning.
    fn is_out(&self, doing: &'static str, error: &StoreError) -> Instant {
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        *outage.get_or_insert_with(|| {
            (self.watch)(Notice::StorageOut { doing, reason: error.to_string(), outage_max: self.outage_max });
            Instant::now()
        })
    }

    fn is_back(&self) {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(since) = outage {
            (self.watch)(Notice::StorageBack { after: since.elapsed() });
        }
    }
}
