//! Retries: one storage call as a sequence of attempts, each with a time limit, with a wait in between, and an end.

use std::fmt;
use std::time::Duration;

use tokio::time;

use super::error::StoreError;
use super::handle::Store;
use super::limits;
use super::trouble::{self, Trouble};
use crate::panics::guarded_future;

/// The failure of one attempt of a storage call.
#[derive(Debug)]
pub enum AttemptFailure {
    /// The attempt took longer than this limit.
    Timeout(Duration),
    /// The store, or the way to it, said no.
    Error(object_store::Error),
    /// The object ended early, or went on.
    Short {
        /// Bytes that the store announced.
        expected_bytes: u64,
        /// Bytes that came.
        read_bytes: u64,
    },
    /// A create was refused, but nothing is there: another create was under way, or the object was just deleted.
    Vanished,
    /// The client library panicked, with these words.
    Panicked(String),
    /// The store answered, and what it has is refused here: trying again would change nothing.
    Refused(StoreError),
}

impl fmt::Display for AttemptFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(limit) => write!(out, "no answer within {} s", limit.as_secs_f32()),
            Self::Error(error) => write!(out, "{error}"),
            Self::Short { expected_bytes, read_bytes } => write!(out, "{read_bytes} bytes came, {expected_bytes} were announced"),
            Self::Vanished => out.write_str("the create was refused although nothing is there"),
            Self::Panicked(words) => write!(out, "the client library gave up: {words}"),
            Self::Refused(refused) => write!(out, "{refused}"),
        }
    }
}

/// The decision about a failure.
enum Verdict {
    Retry,
    /// With what to do about it.
    Denied(&'static str),
    /// The bucket or the folder is not there, or the store does not know the operation.
    Unusable(String),
}

/// A storage call that is tried again: its attempts, each with a time limit.
pub struct RetriedCall<'a> {
    store: &'a Store,
    action: &'static str,
    object: String,
}

impl<'a> RetriedCall<'a> {
    /// A call that has not been tried yet.
    pub fn new(store: &'a Store, action: &'static str, path: &str) -> Self {
        Self { store, action, object: store.object(path) }
    }

    /// Makes attempts until one succeeds.
    ///
    /// # Errors
    /// As [`Self::failed`].
    pub async fn run<T, F>(&self, mut once: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, AttemptFailure>>,
    {
        let mut made = 0;
        loop {
            match once().await {
                Ok(done) => return Ok(done),
                Err(failure) => {
                    made += 1;
                    self.failed(made, failure).await?;
                }
            }
        }
    }

    /// Runs a part of an attempt, which moves so many bytes, within its time limit. A panic of the client library is a failure like others.
    pub async fn once<T>(&self, bytes: u64, work: impl Future<Output = object_store::Result<T>>) -> Result<T, AttemptFailure> {
        let limit = self.store.limits.timeout_for(bytes);
        // What panicked is dropped, and nothing of it is used again.
        match time::timeout(limit, guarded_future(work)).await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(error))) => Err(AttemptFailure::Error(error)),
            Ok(Err(words)) => Err(AttemptFailure::Panicked(words)),
            Err(_) => Err(AttemptFailure::Timeout(limit)),
        }
    }

    /// Ends a failed attempt, after which so many were made, and waits until the next one may be made.
    ///
    /// # Errors
    /// There is no next one: the failure will not pass, or the attempts are used up.
    pub async fn failed(&self, made: u32, failure: AttemptFailure) -> Result<(), StoreError> {
        let failure = match failure {
            AttemptFailure::Refused(refused) => return Err(refused),
            failure => failure,
        };
        match verdict(&failure) {
            Verdict::Retry if made <= self.store.limits.retries => {}
            Verdict::Retry => return Err(self.exhausted(made, failure)),
            Verdict::Denied(help) => {
                return Err(StoreError::Denied { action: self.action, object: self.object.clone(), help, source: failure.into_source() });
            }
            Verdict::Unusable(reason) => {
                let reason = format!("{reason} (tried to {} {}: {})", self.action, self.object, failure.into_source());
                return Err(StoreError::Config { location: self.store.root.clone(), reason });
            }
        }
        let wait = self.store.limits.backoff(made, limits::random());
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // A task that was cancelled ends with its runtime, and so does this call: that is no trouble of the store.
        if !matches!(&failure, AttemptFailure::Error(object_store::Error::JoinError { source }) if source.is_cancelled()) {
            tracing::warn!(action = self.action, object = self.object, attempt = made, wait_ms, cause = %failure, "storage call failed, trying again");
        }
        time::sleep(wait).await;
        Ok(())
    }

    fn exhausted(&self, attempts: u32, failure: AttemptFailure) -> StoreError {
        let (action, object) = (self.action, self.object.clone());
        match failure {
            AttemptFailure::Timeout(limit) => StoreError::Timeout { action, object, attempts, limit },
            other => {
                let help =
                    trouble_of(&other).map_or("look whether the store is up and reachable; the cause follows".to_owned(), Trouble::advice);
                StoreError::Unavailable { action, object, attempts, help, source: other.into_source() }
            }
        }
    }

    /// The error for an object of so many bytes.
    pub fn too_large(&self, bytes: u64) -> StoreError {
        StoreError::TooLarge { action: self.action, object: self.object.clone(), bytes, bytes_max: self.store.limits.object_bytes_max }
    }

    /// The error for a list of more objects than one may hold.
    pub fn too_many(&self) -> StoreError {
        StoreError::TooMany { prefix: self.object.clone(), objects_max: self.store.limits.list_max }
    }
}

impl AttemptFailure {
    fn into_source(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            AttemptFailure::Error(error) => error.into(),
            other => other.to_string().into(),
        }
    }
}

/// An object that is not there is no failure.
pub fn absent_as_none<T>(result: Result<T, AttemptFailure>) -> Result<Option<T>, AttemptFailure> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(AttemptFailure::Error(object_store::Error::NotFound { .. })) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Failures of which nothing is known count as passing.
fn verdict(failure: &AttemptFailure) -> Verdict {
    use object_store::Error;
    const REPORT: &str = "the client library of the store has a fault; please report this, with the lines above";
    let unusable = |reason: &str| Verdict::Unusable(reason.to_owned());
    let error = match failure {
        AttemptFailure::Panicked(_) => return unusable(REPORT),
        AttemptFailure::Error(error) => error,
        _ => return Verdict::Retry,
    };
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Verdict::Denied("look at the credentials, and at the rights of this user or role there")
        }
        Error::NotFound { .. } => unusable("the bucket or folder does not exist; create it first"),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => unusable("the store does not support an operation that is needed"),
        Error::UnknownConfigurationKey { .. } => unusable("it is not set up correctly"),
        Error::InvalidPath { .. } => unusable("an object lies there whose name no store of a job can have; move it away"),
        Error::JoinError { source } if source.is_panic() => unusable(REPORT),
        _ => match trouble_of(failure) {
            Some(trouble) if trouble.is_refusal => Verdict::Denied(trouble.help),
            Some(trouble) if !trouble.is_passing => Verdict::Unusable(trouble.advice()),
            _ => Verdict::Retry,
        },
    }
}

/// The trouble that the operating system tells of, if it is at the bottom of the failure.
fn trouble_of(failure: &AttemptFailure) -> Option<&'static Trouble> {
    let AttemptFailure::Error(error) = failure else { return None };
    trouble::below(error)
}
