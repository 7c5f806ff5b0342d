//! One call as a sequence of attempts: each with a time limit, with a wait in between, and an end.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use tokio::time;

use super::breaker::{Pass, Refused};
use super::{Store, StoreError, limits};

/// Why an attempt failed.
#[derive(Debug)]
pub enum Failure {
    /// It took too long.
    Timeout(Duration),
    /// The store, or the way to it, said no.
    Error(object_store::Error),
    /// The object ended early, or went on.
    Short {
        /// What the store announced.
        expected_bytes: u64,
        /// What came.
        read_bytes: u64,
    },
    /// A create was refused, but nothing is there: another create was under way, or the object was just deleted.
    Vanished,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(limit) => write!(out, "no answer within {} s", limit.as_secs_f32()),
            Self::Error(error) => write!(out, "{error}"),
            Self::Short { expected_bytes, read_bytes } => write!(out, "{read_bytes} bytes came, {expected_bytes} were announced"),
            Self::Vanished => out.write_str("the create was refused although nothing is there"),
        }
    }
}

/// What to do about a failure.
enum Verdict {
    Retry,
    Denied,
    /// The bucket or the folder is not there, or the store does not know the operation.
    Unusable(&'static str),
}

/// The attempts of one call.
pub struct Attempts<'a> {
    store: &'a Store,
    action: &'static str,
    object: String,
    made: u32,
    /// The attempt under way.
    pass: Option<Pass<'a>>,
}

impl<'a> Attempts<'a> {
    /// A call that has not been tried yet.
    pub fn new(store: &'a Store, action: &'static str, path: &str) -> Self {
        Self { store, action, object: store.object(path), made: 0, pass: None }
    }

    /// The object in full, for messages.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// [`StoreError::Open`]: the store is left alone at present.
    pub fn begin(&mut self) -> Result<(), StoreError> {
        match self.store.gate.enter() {
            Ok(pass) => {
                self.pass = Some(pass);
                Ok(())
            }
            Err(Refused { silent, rest, cause }) => {
                Err(StoreError::Open { action: self.action, object: self.object.clone(), silent, rest, cause })
            }
        }
    }

    /// Ends the last attempt: the store did as asked, or gave an answer that stands.
    pub fn answered(&mut self) {
        if let Some(pass) = self.pass.take() {
            pass.answered();
        }
    }

    /// Runs a part of an attempt, which moves so many bytes, within its time limit.
    pub async fn once<T>(&self, bytes: u64, work: impl Future<Output = object_store::Result<T>>) -> Result<T, Failure> {
        let limit = self.store.limits.timeout_for(bytes);
        match time::timeout(limit, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Failure::Error(error)),
            Err(_) => Err(Failure::Timeout(limit)),
        }
    }

    /// Ends a failed attempt and waits until the next one may be made.
    ///
    /// # Errors
    /// There is no next one: the failure will not pass, the attempts are used up, or the store is now left alone.
    pub async fn failed(&mut self, failure: Failure) -> Result<(), StoreError> {
        self.made += 1;
        let verdict = verdict(&failure);
        match self.pass.take() {
            Some(pass) if matches!(verdict, Verdict::Retry) && !matches!(failure, Failure::Vanished) => pass.failed(failure.to_string()),
            Some(pass) => pass.answered(),
            None => {}
        }
        match verdict {
            Verdict::Retry if self.made <= self.store.limits.retries && !self.store.gate.is_open() => {}
            Verdict::Retry => return Err(self.exhausted(failure)),
            Verdict::Denied => {
                return Err(StoreError::Denied { action: self.action, object: self.object.clone(), source: failure.into_source() });
            }
            Verdict::Unusable(reason) => {
                let reason = format!("{reason} (tried to {} {}: {})", self.action, self.object, failure.into_source());
                return Err(StoreError::Config { location: self.store.root.clone(), reason });
            }
        }
        let wait = self.store.limits.backoff(self.made, limits::random());
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(action = self.action, object = self.object, attempt = self.made, wait_ms, cause = %failure, "storage call failed, trying again");
        time::sleep(wait).await;
        Ok(())
    }

    fn exhausted(&self, failure: Failure) -> StoreError {
        let (action, object, attempts) = (self.action, self.object.clone(), self.made);
        match failure {
            Failure::Timeout(limit) => StoreError::Timeout { action, object, attempts, limit },
            other => StoreError::Unavailable { action, object, attempts, source: other.into_source() },
        }
    }

    /// The error for an object of so many bytes.
    pub fn too_large(&self, bytes: u64) -> StoreError {
        StoreError::TooLarge { action: self.action, object: self.object.clone(), bytes, bytes_max: self.store.limits.object_bytes_max }
    }
}

impl Failure {
    fn into_source(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            Failure::Error(error) => error.into(),
            other => other.to_string().into(),
        }
    }
}

/// An object that is not there is no failure.
pub fn absent_as_none<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Error(object_store::Error::NotFound { .. })) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Failures of which nothing is known count as passing.
fn verdict(failure: &Failure) -> Verdict {
    use object_store::Error;
    let Failure::Error(error) = failure else { return Verdict::Retry };
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Verdict::Denied,
        Error::NotFound { .. } => Verdict::Unusable("the bucket or folder does not exist; create it first"),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => {
            Verdict::Unusable("the store does not support an operation that is needed")
        }
        Error::UnknownConfigurationKey { .. } | Error::InvalidPath { .. } => Verdict::Unusable("it is not set up correctly"),
        other => match io_kind(other) {
            Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => Verdict::Denied,
            Some(ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidFilename) => {
                Verdict::Unusable("a file is where a folder should be, or the other way round; move it away")
            }
            _ => Verdict::Retry,
        },
    }
}

/// The kind of the operating system's error at the bottom of the chain, if there is one.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<ErrorKind> {
    /// Chains are short; this ends one that bites its tail.
    const LINKS_MAX: usize = 16;
    let links = std::iter::successors(Some(error), |link| link.source()).take(LINKS_MAX);
    links.filter_map(|link| link.downcast_ref::<std::io::Error>()).map(std::io::Error::kind).last()
}
