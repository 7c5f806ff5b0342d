//! The life of a job in its store: a random name that is made once, before the first run touches any output.
//!
//! Sinks note it beside their output. A store that was deleted and made anew has another life, and does not know that output.

use super::error::{Error, failed};
use crate::clock::Clock;
use crate::store::{Created, Store};
use bytes::Bytes;
use reprise_core::checkpoint::manifest::Identity;
use reprise_core::checkpoint::paths;
use reprise_core::codec::{CodecError, record};
use reprise_core::ids::Life;

/// Looks at the identity while hosts that start at one moment make it.
const LOOKS_MAX: u32 = 3;

/// The life of the job in its store. One that has none, as those of the first hosts have, gets one.
pub(super) async fn of(store: &Store, job: &str, clock: &Clock) -> Result<Life, Error> {
    for _ in 0..LOOKS_MAX {
        if let Some(bytes) = store.get(paths::IDENTITY).await.map_err(failed("read the identity of the job"))? {
            return read(&bytes, job, &format!("{}/{}", store.root(), paths::IDENTITY));
        }
        let life = Life::of((Clock::unlikely_number(), Clock::unlikely_number()));
        let made = Identity { job: job.to_owned(), life, made_ms: clock.now_ms() };
        let bytes = record::encode(&made).map_err(|error| Error::Internal(format!("an identity: {error}")))?;
        let created = store.create(paths::IDENTITY, Bytes::from(bytes)).await.map_err(failed("store the identity of the job"))?;
        if created == Created::New {
            return Ok(life);
        }
    }
    Err(Error::Internal("the identity of the job comes and goes in its store".into()))
}

fn read(bytes: &[u8], job: &str, path: &str) -> Result<Life, Error> {
    let wrong = |what: String| Error::Identity { path: path.to_owned(), what };
    match record::decode::<Identity>(bytes) {
        Ok(identity) if identity.job == job => Ok(identity.life),
        Ok(identity) => Err(wrong(format!("it is of the job `{}`", identity.job))),
        Err(error @ CodecError::Version { .. }) => Err(Error::Newer { path: path.to_owned(), error }),
        Err(error) => Err(wrong(error.to_string())),
    }
}
