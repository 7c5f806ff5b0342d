//! Creating an object that must not exist yet.
//!
//! ```text
//! put if absent ──ok──────────────> New
//!      ├── exists ──> look: there ─> Exists     (ours if an earlier attempt ended unknown and the bytes are equal: New)
//!      │                    absent ─> try again (a create under way was refused on our account)
//!      └── anything else = unknown ─> look: equal bytes ─> New, other bytes ─> Exists, absent ─> try again
//! ```
//!
//! A failed answer to a create says nothing about the object: the request may have arrived, and may arrive later still. So after an
//! unknown outcome only the bytes can tell whose object it is, and creators that may meet put something unique into theirs.

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{GetOptions, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload};
use std::sync::Arc;

use super::error::StoreError;
use super::handle::Store;
use super::limits::{self, StoreLimits};
use super::retry::{AttemptFailure, RetriedCall, absent_as_none};

/// Parts under way at a time.
const PARTS_AT_ONCE: usize = 4;

/// The outcome of a create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object did not exist; now it holds our bytes.
    New,
    /// The object exists, and was left as it is.
    Exists,
}

/// The way in which an object is created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Creation {
    /// An earlier create of these bytes at this path ended unknown: where they are there, they count as ours.
    pub again: bool,
    /// Never in parts, whatever its length: for names that several creators may have.
    pub whole: bool,
}

impl Creation {
    /// For the first time, and never in parts.
    pub const WHOLE: Self = Self { again: false, whole: true };
}

/// The object at a path, compared with some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Absent,
    Equal,
    Other,
}

impl Store {
    /// Creates an object if it does not exist. Of several creators of one path, one gets [`Created::New`].
    ///
    /// After an answer that was lost, bytes that equal ours count as ours: creators that may meet put something unique into theirs.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if there are more than [`StoreLimits::object_bytes_max`] bytes; otherwise as every call. After
    /// [`StoreError::Unavailable`] and [`StoreError::Timeout`] the object may exist, or appear later; a new call finds out.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created, StoreError> {
        self.create_as(path, bytes, Creation::default()).await
    }

    /// Creates an object as [`Store::create`] does, with a say in how.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub async fn create_as(&self, path: &str, bytes: Bytes, how: Creation) -> Result<Created, StoreError> {
        let location = self.location("create", path)?;
        let attempts = RetriedCall::new(self, "create", path);
        if bytes.len() as u64 > self.limits.object_bytes_max {
            return Err(attempts.too_large(bytes.len() as u64));
        }
        let mut unknown = how.again;
        let mut made = 0;
        loop {
            made += 1;
            let failure = match self.put(&location, &bytes, how.whole, &attempts).await {
                Ok(()) => {
                    return Ok(Created::New);
                }
                Err(AttemptFailure::Error(object_store::Error::AlreadyExists { .. })) => AttemptFailure::Vanished,
                Err(failure) => {
                    unknown = true;
                    failure
                }
            };
            match self.look(&location, &bytes, unknown, &attempts).await {
                Ok(seen @ (Seen::Equal | Seen::Other)) => {
                    return Ok(if unknown && seen == Seen::Equal { Created::New } else { Created::Exists });
                }
                Ok(Seen::Absent) => attempts.failed(made, failure).await?,
                // What the put said matters more than why the look failed, unless it only said that something is there.
                Err(looking) => attempts.failed(made, if matches!(failure, AttemptFailure::Vanished) { looking } else { failure }).await?,
            }
        }
    }

    async fn put(&self, location: &Path, bytes: &Bytes, whole: bool, attempts: &RetriedCall<'_>) -> Result<(), AttemptFailure> {
        if !whole && self.large_bytes.is_some_and(|large| bytes.len() > large) {
            return self.put_large(location, bytes, attempts).await;
        }
        let options = PutOptions::from(PutMode::Create);
        let put = self.objects.put_opts(location, PutPayload::from_bytes(bytes.clone()), options);
        attempts.once(bytes.len() as u64, put).await.map(drop)
    }

    /// Uploads in parts, after a look whether something is there. A failed upload is given up, so that no parts stay behind.
    async fn put_large(&self, location: &Path, bytes: &Bytes, attempts: &RetriedCall<'_>) -> Result<(), AttemptFailure> {
        if absent_as_none(attempts.once(0, self.objects.head(location)).await)?.is_some() {
            let source = "looked up before the upload".into();
            return Err(AttemptFailure::Error(object_store::Error::AlreadyExists { path: location.to_string(), source }));
        }
        let options = PutMultipartOptions::default().with_retry_policy(Arc::new(PartRetries(self.limits.clone())));
        let mut upload = attempts.once(0, self.objects.put_multipart_opts(location, options)).await?;
        let part_bytes = self.limits.part_bytes.max(1);
        let starts = (0..bytes.len()).step_by(part_bytes);
        let parts: Vec<_> = starts.map(|start| upload.put_part(bytes.slice(start..bytes.len().min(start + part_bytes)).into())).collect();
        let sent = stream::iter(parts).buffer_unordered(PARTS_AT_ONCE).try_collect::<Vec<()>>();
        let mut outcome = attempts.once(bytes.len() as u64, sent).await.map(drop);
        if outcome.is_ok() {
            outcome = attempts.once(0, upload.complete()).await.map(drop);
        }
        if outcome.is_err() {
            // The store removes unfinished uploads after some days if this fails too, or keeps them, as its owner has set it up.
            let _ = attempts.once(0, upload.abort()).await;
        }
        outcome
    }

    /// Looks what is at a path; reads it only if `compare`, and answers [`Seen::Other`] for anything there if not.
    async fn look(&self, location: &Path, bytes: &Bytes, compare: bool, attempts: &RetriedCall<'_>) -> Result<Seen, AttemptFailure> {
        let Some(meta) = absent_as_none(attempts.once(0, self.objects.head(location)).await)? else { return Ok(Seen::Absent) };
        if !compare || meta.size != bytes.len() as u64 {
            return Ok(Seen::Other);
        }
        let get = self.objects.get_opts(location, GetOptions::default());
        let Some(found) = absent_as_none(attempts.once(0, get).await)? else { return Ok(Seen::Absent) };
        let mut stream = found.into_stream();
        let mut at = 0;
        while let Some(piece) = attempts.once(bytes.len() as u64, stream.try_next()).await? {
            if bytes.get(at..at + piece.len()) != Some(&piece[..]) {
                return Ok(Seen::Other);
            }
            at += piece.len();
        }
        Ok(if at == bytes.len() { Seen::Equal } else { Seen::Other })
    }
}

/// Repeats single parts of an upload, within the limits of the store.
#[derive(Debug)]
struct PartRetries(StoreLimits);

#[async_trait]
impl RetryPolicy for PartRetries {
    async fn retry(&self, context: RetryContext) -> bool {
        let made = u32::try_from(context.attempt).unwrap_or(u32::MAX);
        let is_passing = match context.failure {
            RetryFailure::Status(status) => status.is_server_error() || matches!(status.as_u16(), 200 | 408 | 429),
            _ => true,
        };
        if !is_passing || made > self.0.retries {
            return false;
        }
        tokio::time::sleep(self.0.backoff(made, limits::random())).await;
        true
    }
}
