//! Requests, one at a time for each object.
//!
//! A request is read whole before it takes its lock, so that a slow client holds nobody up. Then it runs in a task of its own, so that
//! a client that hangs up cannot free the lock half-way.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, RwLock};

use crate::atomic::Atomic;

/// The longest request: far above any part or object that a test sends in one.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// Locks, which objects share by the hash of their path.
const LOCKS: usize = 256;

/// Why there is no answer at all.
#[derive(Debug)]
pub struct Fault(String);

impl std::error::Error for Fault {}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// The server without its listener. Clones are the same server.
#[derive(Clone)]
pub struct Service {
    s3: S3Service,
    locks: Arc<Locks>,
}

struct Locks {
    objects: Vec<Mutex<()>>,
    /// A list walks through folders, which objects must not leave meanwhile.
    listed: RwLock<()>,
}

impl Service {
    /// The server of a folder. Without credentials it lets everyone in.
    pub fn new(folder: impl AsRef<Path>, auth: Option<SimpleAuth>) -> Result<Self, Fault> {
        let files = s3s_fs::FileSystem::new(folder).map_err(|error| Fault(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(Atomic(files));
        if let Some(auth) = auth {
            builder.set_auth(auth);
        }
        let objects = (0..LOCKS).map(|_| Mutex::default()).collect();
        Ok(Self { s3: builder.build(), locks: Arc::new(Locks { objects, listed: RwLock::default() }) })
    }

    /// Serves a connection to its end.
    pub async fn connection(self, stream: TcpStream) {
        let answer = hyper::service::service_fn(|request: Request<Incoming>| {
            let service = self.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
                let bytes = body.map_err(|error| Fault(error.to_string()))?.to_bytes();
                service.answer(Request::from_parts(head, Body::from(bytes))).await
            }
        });
        // Clients of tests hang up whenever they like.
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    }

    /// Answers a request that is there as a whole.
    pub async fn answer(self, request: Request<Body>) -> Result<HttpResponse, Fault> {
        match tokio::spawn(self.alone(request)).await {
            Ok(answer) => answer,
            Err(panic) => {
                eprintln!("error: {panic}");
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                Ok(answer)
            }
        }
    }

    /// Runs a request under the locks that it needs.
    async fn alone(self, request: Request<Body>) -> Result<HttpResponse, Fault> {
        let is_read = [Method::GET, Method::HEAD].contains(request.method());
        // In path style a list names a bucket alone.
        let is_list = is_read && !request.uri().path().trim_matches('/').contains('/');
        let (_listing, _changing, _object);
        if is_list {
            _listing = self.locks.listed.write().await;
        } else if !is_read {
            _changing = self.locks.listed.read().await;
            let mut hasher = DefaultHasher::new();
            request.uri().path().hash(&mut hasher);
            let place = usize::try_from(hasher.finish() % LOCKS as u64).expect("it is below their number");
            _object = self.locks.objects[place].lock().await;
        }
        self.s3.call(request).await.map_err(|error| Fault(format!("{error:?}")))
    }
}

#[cfg(test)]
mod tests;
