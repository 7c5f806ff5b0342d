//! What the object sink does with its objects: claim the place, publish, take back, clear away.
//!
//! ```text
//! <url>/<sink>-<epoch, 12 digits>-<instance>-<part>.<ext>                                  visible
//! <url>/.reprise/<sink>/owner                                                              name of the job
//! <url>/.reprise/<sink>/lives/<note>                                                       which life of the job's store, see `holding.rs`
//! <url>/.reprise/<sink>/staged/<epoch, 12 digits>-<generation>-<instance>-<part>.<ext>     durable and not yet visible
//! <url>/.reprise/<sink>/published/<instance>-<epoch, 12 digits>                            mark: all up to this epoch was made visible
//! <url>/.reprise/<sink>/taken-back/                                                        visible once, produced again since
//! ```
//! Nothing is overwritten. Publishing is: copy every part, set the mark, remove the staged ones. While a part is staged, it is copied, or
//! found equal, whatever the mark says: a mark may be that of an earlier life of the job, whose store is gone. Where a part is neither staged
//! nor visible, the mark tells that it was published and a reader took it; without a mark it is lost.
//!
//! **A host that wakes up late** can make nothing visible that another one took back. The one that takes over removes all staged objects
//! first and looks for visible ones then; and a copy needs its source at the moment it is made, inside the store.

mod foreign;
mod recover;

use super::token::{ObjectNames, ObjectPart, ObjectsToken};
use crate::connect::sink::output_name::OutputName;
use crate::connect::sink::passage::{Passage, Whereabouts};
use crate::connect::sink::published::Published;
use crate::connect::{ConnectError, Staged};
use crate::store::{Copied, Created, Store};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use reprise_core::codec::checksum;
use std::collections::BTreeMap;

/// Objects of one sink that are worked on at a time.
const CALLS_AT_ONCE: usize = 8;
/// Looks at one object before its changes count as the work of another host.
const LOOKS_MAX: usize = 4;
/// Instances of one sink whose output is published at a time.
const INSTANCES_AT_ONCE: usize = 16;
/// Objects of one name that may be set aside.
const ASIDE_MAX: usize = 1_000;

/// Whether the bytes of a staged object are held against its checksum before it is published. That costs a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// This run stored it just now.
    Ours,
    /// It was left by a run before this one.
    Nobody,
}

/// How far the publication of a part has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is staged and not visible.
    Waits,
    /// It is visible, or was.
    IsVisible,
    /// It came or went between two looks: look again.
    Changes,
}

/// The place of one sink. Clones share what they know.
#[derive(Clone)]
pub struct ObjectsPlace {
    store: Store,
    names: ObjectNames,
    job: String,
    sink: String,
    marks: Published,
}

impl ObjectsPlace {
    /// That of a sink of a job.
    pub fn new(store: Store, job: &str, sink: &str) -> Self {
        Self { store, names: ObjectNames::new(sink), job: job.to_owned(), sink: sink.to_owned(), marks: Published::default() }
    }

    fn full(&self, path: &str) -> String {
        format!("{}/{path}", self.store.root())
    }

    /// Stores a part, not yet visible.
    pub async fn stage(&self, output: &OutputName, part: usize, bytes: Bytes) -> Result<(), ConnectError> {
        let path = self.names.staged(output, part);
        match self.store.create(&path, bytes).await.map_err(ConnectError::storage("stage output"))? {
            Created::New => Ok(()),
            Created::Exists => Err(ConnectError::corrupt(
                format!("`{}` exists, and this run has not written it", self.full(&path)),
                "another host writes there as the same generation: stop it, and start again",
            )),
        }
    }

    /// Stores a part at a visible name, the first one from `part` on that is free; gives that number.
    pub async fn show(&self, output: &OutputName, part: usize, bytes: Bytes) -> Result<usize, ConnectError> {
        for part in part..part.saturating_add(ASIDE_MAX) {
            let path = self.names.immediate(output, part);
            if self.store.create(&path, bytes.clone()).await.map_err(ConnectError::storage("write output"))? == Created::New {
                return Ok(part);
            }
        }
        let path = self.full(&self.names.immediate(output, part));
        Err(ConnectError::corrupt(format!("`{path}` exists, and {ASIDE_MAX} more after it"), "move them away, and start again"))
    }

    /// Reads a token of a manifest.
    ///
    /// # Errors
    /// [`ConnectError::Corrupt`].
    pub fn token(&self, staged: &Staged) -> Result<ObjectsToken, ConnectError> {
        ObjectsToken::parse(&staged.token).filter(|token| token.bytes() == Some(staged.bytes)).ok_or_else(|| {
            let shown: String = staged.token.chars().take(200).collect();
            let what = format!("`{}` is not a token of sink `{}`", shown.escape_debug(), self.sink);
            ConnectError::corrupt(what, "take up an older checkpoint")
        })
    }

    /// Makes tokens visible, those of one instance in their order and those of several instances side by side; gives the number of those that
    /// were not before.
    ///
    /// # Errors
    /// Those of [`crate::connect::SinkConnector::publish`].
    pub async fn publish_all(&self, tokens: &[ObjectsToken], trust: Trust) -> Result<u64, ConnectError> {
        let mut lanes: BTreeMap<u32, Vec<&ObjectsToken>> = BTreeMap::new();
        for token in tokens {
            lanes.entry(token.name.instance).or_default().push(token);
        }
        let lanes: Vec<_> = lanes.into_values().map(|lane| self.publish_lane(lane, trust)).collect();
        stream::iter(lanes).buffer_unordered(INSTANCES_AT_ONCE).try_fold(0, |sum, count| async move { Ok(sum + count) }).await
    }

    async fn publish_lane(&self, tokens: Vec<&ObjectsToken>, trust: Trust) -> Result<u64, ConnectError> {
        let mut count = 0;
        for token in tokens {
            count += u64::from(self.publish(token, trust).await?);
        }
        Ok(count)
    }

    /// Makes all parts of a token visible. True where one of them was not before.
    ///
    /// # Errors
    /// Those of [`crate::connect::SinkConnector::publish`].
    async fn publish(&self, token: &ObjectsToken, trust: Trust) -> Result<bool, ConnectError> {
        let copies: Vec<_> = (0..).zip(&token.parts).map(|(number, part)| self.publish_part(&token.name, number, *part, trust)).collect();
        let copied: Vec<bool> = stream::iter(copies).buffer_unordered(CALLS_AT_ONCE).try_collect().await?;
        if !self.marks.covers(&token.name) {
            self.set_mark(token.name.instance, token.name.epoch).await?;
        }
        self.delete((0..token.parts.len()).map(|part| self.names.staged(&token.name, part)).collect()).await?;
        Ok(copied.contains(&true))
    }

    async fn look(&self, name: &OutputName, (from, to): (&str, &str), passage: &Passage) -> Result<Stage, ConnectError> {
        let looks = futures::future::try_join(self.store.size(from), self.store.size(to));
        let (staged, visible) = looks.await.map_err(ConnectError::storage("publish output"))?;
        match passage.judge(staged, visible)? {
            Whereabouts::Visible => Ok(Stage::IsVisible),
            Whereabouts::Staged => Ok(Stage::Waits),
            Whereabouts::Both => match self.is_equal(from, to).await? {
                Some(true) => Ok(Stage::IsVisible),
                Some(false) => Err(passage.occupied()),
                None => Ok(Stage::Changes),
            },
            Whereabouts::Nowhere => {
                // Fine where it was published and a reader took it.
                self.read_marks().await?;
                if self.marks.covers(name) { Ok(Stage::IsVisible) } else { Err(passage.missing("object")) }
            }
        }
    }

    /// True where the part was not visible before.
    async fn publish_part(&self, name: &OutputName, number: usize, part: ObjectPart, trust: Trust) -> Result<bool, ConnectError> {
        let (from, to) = (self.names.staged(name, number), self.names.visible(name, number));
        let passage = Passage { epoch: name.epoch, bytes: part.bytes, from: self.full(&from), to: self.full(&to) };
        for _ in 0..LOOKS_MAX {
            match self.look(name, (&from, &to), &passage).await? {
                Stage::IsVisible => return Ok(false),
                Stage::Changes => continue,
                Stage::Waits => {}
            }
            if trust == Trust::Nobody && !self.is_as_sealed(part, &from).await? {
                return Err(passage.altered());
            }
            if self.store.copy(&from, &to, part.bytes).await.map_err(ConnectError::storage("publish output"))? == Copied::New {
                return Ok(true);
            }
            // It came or went in between, or the answer to a copy of ours was lost: look again.
        }
        let what = format!("`{}` changes while it is published", passage.to);
        Err(ConnectError::corrupt(what, "another host writes there: stop it, and start again"))
    }

    /// Holds a staged object against its checksum. One that is gone is not looked at: its copy fails later.
    async fn is_as_sealed(&self, part: ObjectPart, path: &str) -> Result<bool, ConnectError> {
        let Some(expected) = part.checksum else { return Ok(true) };
        let found = self.store.get(path).await.map_err(ConnectError::storage("verify output"))?;
        Ok(found.is_none_or(|found| checksum(&found) == expected))
    }

    /// `None` where one of them is gone.
    async fn is_equal(&self, one: &str, other: &str) -> Result<Option<bool>, ConnectError> {
        let storage = |error| ConnectError::storage("compare output")(error);
        let read = futures::future::try_join(self.store.get(one), self.store.get(other));
        let (one, other) = read.await.map_err(storage)?;
        Ok(one.zip(other).map(|(one, other)| one == other))
    }

    async fn delete(&self, paths: Vec<String>) -> Result<(), ConnectError> {
        let deletes: Vec<_> = paths.iter().map(|path| self.store.delete(path)).collect();
        let deleted = stream::iter(deletes).buffer_unordered(CALLS_AT_ONCE).try_collect::<()>().await;
        deleted.map_err(ConnectError::storage("remove staged output and old marks"))
    }

    async fn list_marks(&self) -> Result<Vec<(u32, u64)>, ConnectError> {
        let listed = self.store.list(&self.names.hidden("published")).await.map_err(ConnectError::storage("list published epochs"))?;
        Ok(listed.iter().filter_map(|entry| self.names.parse_mark(&entry.path)).collect())
    }

    /// Looks up the marks.
    pub async fn read_marks(&self) -> Result<(), ConnectError> {
        self.marks.learn(self.list_marks().await?);
        Ok(())
    }

    async fn create_mark(&self, instance: u32, epoch: u64) -> Result<(), ConnectError> {
        // One that exists says the same.
        let created = self.store.create(&self.names.mark(instance, epoch), Bytes::new()).await;
        created.map(|_| ()).map_err(ConnectError::storage("note a published epoch"))
    }

    /// Marks an epoch, then removes the mark before it.
    async fn set_mark(&self, instance: u32, epoch: u64) -> Result<(), ConnectError> {
        self.create_mark(instance, epoch).await?;
        let before = self.marks.lock().insert(instance, epoch).filter(|&before| before < epoch);
        self.delete(before.map(|before| self.names.mark(instance, before)).into_iter().collect()).await
    }
}
