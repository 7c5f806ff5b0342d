//! Whether a store keeps the one promise that everything rests on.

use bytes::Bytes;
use futures::future;
use std::sync::Arc;

use super::create::{Created, Creation};
use super::error::StoreError;
use super::folder::{self, Links};
use super::handle::Store;
use super::limits;

/// Creators that race for one object.
const RACERS: u8 = 8;
/// Bytes that each of them brings: enough that a store which looks first and writes then has something to do in between.
const RACER_BYTES: usize = 16 << 10;

impl Store {
    /// Creates one object twice, and expects the second create to be refused and the first bytes to stay. Then lets several creators race
    /// for another object, and expects one to win. Removes both objects.
    ///
    /// It is also the first contact with a bucket, so it finds a wrong name, endpoint or key. A store that passes may still be one that
    /// lets two creators win now and then: what is seen is a proof of guilt only.
    ///
    /// # Errors
    /// [`StoreError::NotAtomic`] if the store lets a second create through: then no job may run on it. Otherwise as every call.
    pub async fn probe(&self) -> Result<(), StoreError> {
        if let Some(finding) = self.missing_links().await {
            return Err(StoreError::NotAtomic { root: self.root(), finding });
        }
        let name = format!("probe/{:016x}{:016x}", limits::random(), limits::random());
        let (path, contested) = (format!("{name}-twice"), format!("{name}-race"));
        let mut finding = self.create_twice(&path).await;
        let mut removed = self.delete(&path).await;
        if matches!(finding, Ok(None)) {
            finding = self.race(&contested).await;
            removed = removed.and(self.delete(&contested).await);
        }
        match finding? {
            Some(finding) => Err(StoreError::NotAtomic { root: self.root(), finding }),
            None => removed,
        }
    }

    /// A folder where files cannot have two names: creating an object only if it is absent rests on that. Other trouble is for the calls that follow
    /// to find, which tell it better.
    async fn missing_links(&self) -> Option<String> {
        let (folder, name) = (Arc::clone(self.folder.as_ref()?), format!("links-{:016x}", limits::random()));
        let tried = tokio::task::spawn_blocking(move || folder::try_links(&folder, &name, |from, to| std::fs::hard_link(from, to)));
        match tried.await {
            Ok(Ok(Links::Missing(error))) => Some(format!(
                "its file system has no hard links ({error}), on which it rests that of two hosts one finds the object of the other"
            )),
            _ => None,
        }
    }

    /// Finds what is wrong with the store when it is asked one thing after another, if anything is.
    async fn create_twice(&self, path: &str) -> Result<Option<String>, StoreError> {
        const FIRST: &[u8] = b"the first bytes stay";
        const SECOND: &[u8] = b"these must be refused";
        let finding = if self.create(path, Bytes::from_static(FIRST)).await? != Created::New {
            "it says of an object that was never created that it exists"
        } else if self.create(path, Bytes::from_static(SECOND)).await? != Created::Exists {
            "it let an object be created twice"
        } else {
            match self.get(path).await? {
                Some(bytes) if bytes == FIRST => return Ok(None),
                Some(_) => "it refused to create an object twice, but changed its bytes",
                None => "it does not find an object that was just created",
            }
        };
        Ok(Some(finding.to_owned()))
    }

    /// Finds what is wrong with the store when several ask at once, if anything is.
    async fn race(&self, path: &str) -> Result<Option<String>, StoreError> {
        let bytes = |racer: u8| Bytes::from(vec![racer; RACER_BYTES]);
        // All of them are waited for: one that is still under way would leave its object behind.
        let outcomes = future::join_all((0..RACERS).map(|racer| self.create_as(path, bytes(racer), Creation::WHOLE))).await;
        let outcomes: Vec<Created> = outcomes.into_iter().collect::<Result<_, _>>()?;
        let winners: Vec<u8> = (0..RACERS).zip(outcomes).filter(|(_, outcome)| *outcome == Created::New).map(|(racer, _)| racer).collect();
        let [winner] = winners[..] else {
            return Ok(Some(format!("of {RACERS} creators that raced for one object, {} were told that they created it", winners.len())));
        };
        Ok(match self.get(path).await? {
            Some(found) if found == bytes(winner) => None,
            Some(_) => {
                Some("of creators that raced for one object, one was told that it created it, but the bytes are another's".to_owned())
            }
            None => Some("it does not find an object for which creators just raced".to_owned()),
        })
    }
}
