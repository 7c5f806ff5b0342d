//! Foreign objects in the place of an object sink, see `sink/foreign.rs`. A place in a folder is looked through as a folder: a list of objects
//! hides what is none.
//!
//! A bucket lists in the order of names, at least as a rule. What sinks keep comes early, so the look begins anew behind it; and behind the sink's own
//! output where that alone is more than is looked at.

use super::ObjectsPlace;
use crate::connect::ConnectError;
use crate::connect::sink::foreign::{Foreign, LOOKED_AT_MAX, foreign_part, kept_of, place_within};
use crate::store::PAGE_OBJECTS;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Pages of one stretch of the names.
const PAGES_MAX: usize = LOOKED_AT_MAX.div_ceil(PAGE_OBJECTS);
/// A name behind all that sinks keep, and before those of output.
const BEHIND_KEPT: &str = ".reprise0";

#[derive(Default)]
struct Found {
    foreign: BTreeSet<String>,
    /// Folders that are places of other sinks.
    places: BTreeSet<String>,
}

impl ObjectsPlace {
    /// The folder, where the place is one.
    pub fn folder(&self) -> Option<PathBuf> {
        self.store.folder()
    }

    /// What lies in the bucket, and is of no sink.
    pub async fn foreign(&self) -> Result<Foreign, ConnectError> {
        let mut found = Found::default();
        let mut is_whole = self.look_behind("", None, Some(BEHIND_KEPT), &mut found).await?;
        is_whole &= self.look_behind(&kept_of(&self.sink), None, None, &mut found).await?;
        if !self.look_behind("", Some(BEHIND_KEPT), None, &mut found).await? {
            is_whole = false;
            // Behind `-` comes `.`.
            self.look_behind("", Some(&format!("{}.", self.sink)), None, &mut found).await?;
        }
        let Found { foreign, places } = found;
        Ok(Foreign::new(foreign.difference(&places).cloned().collect(), !is_whole))
    }

    /// Looks at objects behind `after`, up to the page that reaches `until`. False where there were more than are looked at.
    async fn look_behind(&self, prefix: &str, after: Option<&str>, until: Option<&str>, found: &mut Found) -> Result<bool, ConnectError> {
        let storage = |error| ConnectError::storage("list output")(error);
        let mut pages = match after {
            Some(after) => self.store.pages_after(prefix, after),
            None => self.store.pages(prefix),
        }
        .map_err(storage)?;
        for _ in 0..PAGES_MAX {
            let Some(page) = pages.next().await.map_err(storage)? else { return Ok(true) };
            found.foreign.extend(page.iter().filter_map(|entry| foreign_part(&entry.path)));
            found.places.extend(page.iter().filter_map(|entry| place_within(&entry.path)));
            if until.is_some_and(|until| page.iter().any(|entry| entry.path.as_str() > until)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
