//! Lists of any length, a page at a time: for who works through what may be very much, and must not hold it all.

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::attempts::{Attempts, Failure};
use super::{Store, StoreError};

/// Objects of one page.
pub const PAGE_OBJECTS: usize = 1_000;

/// An object that a page shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Relative to the store's root, as `create` takes it.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// When it was written, by the store's clock: milliseconds since 1970-01-01T00:00:00Z.
    pub written_ms: i64,
}

/// A list under way. Not in any order; where a try failed in the middle, the next one begins anew, so that objects may come twice. One that is
/// created or deleted meanwhile may come or not.
pub struct Pages<'a> {
    store: &'a Store,
    within: String,
    location: Path,
    under_way: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
}

impl Store {
    /// The objects whose path begins with `prefix` as whole segments, as [`Store::list`] has it, but of any number and in no order.
    ///
    /// # Errors
    /// [`StoreError::Path`] for a prefix that is none.
    pub fn pages(&self, prefix: &str) -> Result<Pages<'_>, StoreError> {
        let within = prefix.strip_suffix('/').unwrap_or(prefix).to_owned();
        let location = if within.is_empty() { self.root_path() } else { self.location("list", &within)? };
        Ok(Pages { store: self, within, location, under_way: None })
    }
}

impl Pages<'_> {
    /// The next page, never an empty one; nothing at the end.
    ///
    /// # Errors
    /// As every call. A further call begins the list anew.
    pub async fn next(&mut self) -> Result<Option<Vec<Found>>, StoreError> {
        let store = self.store;
        let mut attempts = Attempts::new(store, "list", &self.within);
        loop {
            attempts.begin()?;
            match self.next_once(&attempts).await {
                Ok(page) => {
                    attempts.answered();
                    return Ok(Some(page).filter(|page| !page.is_empty()));
                }
                Err(failure) => {
                    self.under_way = None;
                    attempts.failed(failure).await?;
                }
            }
        }
    }

    async fn next_once(&mut self, attempts: &Attempts<'_>) -> Result<Vec<Found>, Failure> {
        let mut page = Vec::new();
        let found = self.under_way.get_or_insert_with(|| self.store.objects.list(Some(&self.location)).fuse().boxed());
        while page.len() < PAGE_OBJECTS {
            let Some(meta) = attempts.once(0, async { found.next().await.transpose() }).await? else { break };
            let Some(path) = self.store.inside(&meta.location) else { continue };
            page.push(Found { path: path.to_owned(), size_bytes: meta.size, written_ms: millis(meta.last_modified) });
        }
        Ok(page)
    }
}

fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}
