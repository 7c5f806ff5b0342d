//! Work on threads that may block: what takes processor time, and calls of connectors.

use super::error::Error;

/// Runs work off the threads that wait for I/O.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Internal(format!("a task failed: {error}")))
}
