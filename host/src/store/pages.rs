//! Lists of any length, a page at a time: for what works through very much, and must not hold it all.

use object_store::path::Path;

use super::error::StoreError;
use super::handle::Store;
use super::listing::ObjectListing;
use super::retry::{AttemptFailure, RetriedCall};

/// Objects of one page.
pub const PAGE_OBJECTS: usize = 1_000;
/// Times that one list is begun anew: one that breaks at the same place each time gives the same pages again and again.
const RESTARTS_MAX: u32 = 32;

/// An object that a page of a list shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageEntry {
    /// Relative to the store's root, as `create` takes it.
    pub path: String,
    /// The length of the object.
    pub size_bytes: u64,
    /// The time when the object was written, by the store's clock: milliseconds since 1970-01-01T00:00:00Z.
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
    under_way: Option<ObjectListing<'a>>,
    restarts: u32,
}

impl Store {
    /// The objects whose path begins with `prefix` as whole segments, as [`Store::list`] has it, but of any number and in no order.
    ///
    /// # Errors
    /// [`StoreError::Path`] for a prefix that is none.
    pub fn pages(&self, prefix: &str) -> Result<Pages<'_>, StoreError> {
        let within = prefix.strip_suffix('/').unwrap_or(prefix).to_owned();
        Ok(Pages { store: self, within, location: self.within(prefix)?, after: None, under_way: None, restarts: 0 })
    }

    /// The objects of [`Store::pages`], without the objects whose path sorts before `after` or is `after`.
    ///
    /// # Errors
    /// As [`Store::pages`].
    pub fn pages_after(&self, prefix: &str, after: &str) -> Result<Pages<'_>, StoreError> {
        Ok(Pages { after: Some(self.location("list", after)?), ..self.pages(prefix)? })
    }
}

impl Pages<'_> {
    /// The next page, never an empty one; nothing at the end.
    ///
    /// # Errors
    /// As every call, and where the list broke more often than one may. A further call begins the list anew.
    pub async fn next(&mut self) -> Result<Option<Vec<PageEntry>>, StoreError> {
        let attempts = RetriedCall::new(self.store, "list", &self.within);
        let mut made = 0;
        loop {
            match self.next_once(&attempts).await {
                Ok(page) => return Ok(Some(page).filter(|page| !page.is_empty())),
                Err(failure) => {
                    self.under_way = None;
                    self.restarts = self.restarts.saturating_add(1);
                    if self.restarts > RESTARTS_MAX {
                        made = made.max(self.store.limits.retries);
                    }
                    made += 1;
                    attempts.failed(made, failure).await?;
                }
            }
        }
    }

    async fn next_once(&mut self, attempts: &RetriedCall<'_>) -> Result<Vec<PageEntry>, AttemptFailure> {
        let listing = self.under_way.get_or_insert_with(|| ObjectListing::new(self.store, &self.location, self.after.as_ref()));
        let mut page = Vec::new();
        while page.len() < PAGE_OBJECTS {
            let Some((path, meta)) = listing.next(attempts).await? else { break };
            page.push(PageEntry { path, size_bytes: meta.size, written_ms: meta.last_modified.timestamp_millis() });
        }
        Ok(page)
    }
}
