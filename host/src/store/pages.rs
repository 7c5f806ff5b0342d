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
/// Times that one list is begun anew: one that breaks at the same place each time gives the same pages again and again.
const RESTARTS_MAX: u32 = 32;

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
    /// Objects up to this path are passed over.
    after: Option<Path>,
    under_way: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
    restarts: u32,
}

impl Store {
    /// The objects whose path begins with `prefix` as whole segments, as [`Store::list`] has it, but of any number and in no order.
    ///
    /// # Errors
    /// [`StoreError::Path`] for a prefix that is none.
    pub fn pages(&self, prefix: &str) -> Result<Pages<'_>, StoreError> {
        self.pages_from(prefix, None)
    }

    /// As [`Store::pages`], without the objects whose path sorts before `after` or is `after`.
    ///
    /// # Errors
    /// As [`Store::pages`].
    pub fn pages_after(&self, prefix: &str, after: &str) -> Result<Pages<'_>, StoreError> {
        self.pages_from(prefix, Some(after))
    }

    fn pages_from(&self, prefix: &str, after: Option<&str>) -> Result<Pages<'_>, StoreError> {
        let within = prefix.strip_suffix('/').unwrap_or(prefix).to_owned();
        let location = if within.is_empty() { self.root_path() } else { self.location("list", &within)? };
        let after = after.map(|after| self.location("list", after)).transpose()?;
        Ok(Pages { store: self, within, location, after, under_way: None, restarts: 0 })
    }
}

impl Pages<'_> {
    /// The next page, never an empty one; nothing at the end.
    ///
    /// # Errors
    /// As every call, and where the list broke more often than one may. A further call begins the list anew.
    pub async fn next(&mut self) -> Result<Option<Vec<Found>>, StoreError> {
        let store = self.store;
        let mut attempts = Attempts::new(store, "list", &self.within);
        loop {
            match self.next_once(&attempts).await {
                Ok(page) => {
                    return Ok(Some(page).filter(|page| !page.is_empty()));
                }
                Err(failure) => {
                    self.under_way = None;
                    self.restarts = self.restarts.saturating_add(1);
                    if self.restarts > RESTARTS_MAX {
                        attempts.end_with_this();
                    }
                    attempts.failed(failure).await?;
                }
            }
        }
    }

    async fn next_once(&mut self, attempts: &Attempts<'_>) -> Result<Vec<Found>, Failure> {
        let mut page = Vec::new();
        let begin = || match &self.after {
            Some(after) => self.store.objects.list_with_offset(Some(&self.location), after),
            None => self.store.objects.list(Some(&self.location)),
        };
        let found = self.under_way.get_or_insert_with(|| begin().fuse().boxed());
        while page.len() < PAGE_OBJECTS {
            let Some(meta) = attempts.once(0, async { found.next().await.transpose() }).await? else { break };
            let Some(path) = self.store.inside(&meta.location) else { continue };
            // Not every server knows where to start.
            if self.after.as_ref().is_some_and(|after| meta.location <= *after) {
                continue;
            }
            page.push(Found { path: path.to_owned(), size_bytes: meta.size, written_ms: millis(meta.last_modified) });
        }
        Ok(page)
    }
}

fn millis(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}
