//! Faults on purpose: a store whose calls an intercept may let fail, hang or wait.
//!
//! It stands between the retries and the store, so that everything above it is what runs in earnest. The decider ([`Intercept`]) sees
//! each call before it is made, and knows nothing of the client library. Failures look like those of a connection: they say nothing about
//! whether the store did as asked.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::limits::StoreLimits;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// An intercept decides what befalls the calls of a store.
pub trait Intercept: Send + Sync + fmt::Debug {
    /// Called before each call is made, in the order of their numbers for calls that follow each other.
    fn before(&self, call: &StorageCall) -> Interference;

    /// The limits to work under, in place of the given ones: so that small objects go up in parts too.
    fn limits(&self, limits: StoreLimits) -> StoreLimits {
        limits
    }
}

/// A call of a store that is about to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageCall {
    /// Counts all calls of this store from 0. A job has several stores where its sinks have some of their own.
    pub number: u64,
    /// The kind of the call.
    pub kind: CallKind,
    /// The object, or the prefix of a list, relative to the store's root.
    pub path: String,
}

/// The kinds of calls that a store makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    /// Writes an object, whatever is there.
    Put,
    /// Writes an object if none is there.
    PutIfAbsent,
    /// Reads an object.
    Get,
    /// Asks whether an object is there, and how long it is.
    Head,
    /// Lists objects; a list of several pages counts once.
    List,
    /// Removes an object.
    Delete,
    /// Copies an object.
    Copy,
    /// Begins an upload in parts.
    MultipartStart,
    /// Uploads one part.
    MultipartPart,
    /// Makes an object of the parts.
    MultipartComplete,
    /// Gives an upload up.
    MultipartAbort,
}

impl CallKind {
    /// All kinds of calls.
    pub const ALL: [Self; 11] = [
        Self::Put,
        Self::PutIfAbsent,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Delete,
        Self::Copy,
        Self::MultipartStart,
        Self::MultipartPart,
        Self::MultipartComplete,
        Self::MultipartAbort,
    ];
}

/// The fate of a call that an intercept decides.
///
/// Of a read or a list, "after" means that everything was handed over and then no end comes, but a failure or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interference {
    /// The call is made.
    Pass,
    /// The call is not made, and fails.
    FailBefore,
    /// The call is made, and fails all the same: the answer was lost.
    FailAfter,
    /// The call is not made, and never ends.
    HangBefore,
    /// The call is made, and never ends.
    HangAfter,
    /// The call is made after so much time.
    Delay(Duration),
}

/// A store whose calls may be interfered with.
#[derive(Clone, Debug)]
pub struct Intercepted {
    inner: Arc<dyn ObjectStore>,
    turns: Turns,
}

/// Counts calls and asks about each.
#[derive(Clone, Debug)]
struct Turns {
    intercept: Arc<dyn Intercept>,
    calls: Arc<AtomicU64>,
    /// The prefix that is taken off the paths which are shown.
    prefix: Arc<str>,
}

impl Intercepted {
    /// Wraps a store; `prefix` is the root of the job in it.
    pub fn new(inner: Arc<dyn ObjectStore>, intercept: Arc<dyn Intercept>, prefix: &str) -> Self {
        Self { inner, turns: Turns { intercept, calls: Arc::default(), prefix: prefix.into() } }
    }
}

/// The failure of a call that was interfered with.
fn failure() -> Error {
    Error::Generic { store: "intercepted", source: "the connection was lost, on purpose".into() }
}

impl Turns {
    fn ask(&self, kind: CallKind, path: &Path) -> Interference {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let inside = path.as_ref().strip_prefix(&*self.prefix).unwrap_or(path.as_ref());
        let path = inside.strip_prefix('/').unwrap_or(inside).to_owned();
        self.intercept.before(&StorageCall { number, kind, path })
    }

    /// Makes a call, or does not.
    async fn call<T>(&self, kind: CallKind, path: &Path, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.ask(kind, path) {
            Interference::Pass => {}
            Interference::FailBefore => return Err(failure()),
            Interference::HangBefore => return futures::future::pending().await,
            Interference::FailAfter => {
                drop(call.await);
                return Err(failure());
            }
            Interference::HangAfter => {
                drop(call.await);
                return futures::future::pending().await;
            }
            Interference::Delay(time) => tokio::time::sleep(time).await,
        }
        call.await
    }

    /// Lets an interference befall a stream.
    fn stream<T: Send + 'static>(interference: Interference, inner: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        let failed = || stream::once(async { Err(failure()) });
        match interference {
            Interference::Pass => inner,
            Interference::FailBefore => failed().boxed(),
            Interference::HangBefore => stream::pending().boxed(),
            Interference::FailAfter => inner.chain(failed()).boxed(),
            Interference::HangAfter => inner.chain(stream::pending()).boxed(),
            Interference::Delay(time) => tokio::time::sleep(time).map(|()| inner).flatten_stream().boxed(),
        }
    }
}

impl fmt::Display for Intercepted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Intercepted({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Intercepted {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let kind = if options.mode == PutMode::Create { CallKind::PutIfAbsent } else { CallKind::Put };
        self.turns.call(kind, location, self.inner.put_opts(location, payload, options)).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.turns.call(CallKind::MultipartStart, location, self.inner.put_multipart_opts(location, options)).await?;
        let upload = Upload { inner: begun, turns: self.turns.clone(), location: location.clone() };
        Ok(Box::new(upload) as Box<dyn MultipartUpload>)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.turns.call(CallKind::Head, location, self.inner.get_opts(location, options)).await;
        }
        let interference = self.turns.ask(CallKind::Get, location);
        match interference {
            Interference::FailBefore => return Err(failure()),
            Interference::HangBefore => return futures::future::pending().await,
            _ => {}
        }
        let found = self.inner.get_opts(location, options).await?;
        if interference == Interference::Pass {
            return Ok(found);
        }
        let (meta, range, attributes, extensions) =
            (found.meta.clone(), found.range.clone(), found.attributes.clone(), found.extensions.clone());
        let body = Turns::stream::<Bytes>(interference, found.into_stream());
        Ok(GetResult { payload: GetResultPayload::Stream(body), meta, range, attributes, extensions })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let Self { inner, turns } = self.clone();
        let delete = move |location: Result<Path>| {
            let (inner, turns) = (Arc::clone(&inner), turns.clone());
            async move {
                let location = location?;
                turns.call(CallKind::Delete, &location, inner.delete(&location)).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (turns, within, found) = (self.turns.clone(), prefix.cloned().unwrap_or_default(), self.inner.list(prefix));
        // The call is made when the list begins to be read.
        async move { Turns::stream(turns.ask(CallKind::List, &within), found) }.flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let within = prefix.cloned().unwrap_or_default();
        self.turns.call(CallKind::List, &within, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.turns.call(CallKind::Copy, to, self.inner.copy_opts(from, to, options)).await
    }
}

/// An upload in parts.
#[derive(Debug)]
struct Upload {
    inner: Box<dyn MultipartUpload>,
    turns: Turns,
    location: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, bytes: PutPayload) -> UploadPart {
        // Parts are numbered as they are made, and go on their way when they are first polled.
        let (part, turns, location) = (self.inner.put_part(bytes), self.turns.clone(), self.location.clone());
        async move { turns.call(CallKind::MultipartPart, &location, part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.turns.call(CallKind::MultipartComplete, &self.location, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.turns.call(CallKind::MultipartAbort, &self.location, self.inner.abort()).await
    }
}
