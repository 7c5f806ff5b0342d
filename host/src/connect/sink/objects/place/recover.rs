//! What the place of an object sink goes through at the start of a run: whose it is, what is taken back, what is cleared away.

use super::{ASIDE_MAX, CALLS_AT_ONCE, ObjectsPlace};
use crate::connect::holding::{Holding, NOTE_ROUNDS_MAX, Note, Tenant, next_note, taken_now};
use crate::connect::sink::is_owned;
use crate::connect::sink::objects::token::ObjectsToken;
use crate::connect::sink::published::standing;
use crate::connect::{ConnectError, Recovery};
use crate::store::{Copied, Created, Entry};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use reprise_core::checkpoint::expiry::{KeptObject, expired};
use std::collections::BTreeSet;

impl ObjectsPlace {
    /// False where the place has no owner.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where it is another job's.
    async fn is_owned(&self) -> Result<bool, ConnectError> {
        let found =
            self.store.get(&self.names.hidden("owner")).await.map_err(ConnectError::storage("look whose the place of the output is"))?;
        is_owned(found.as_deref(), &self.job, self.store.root(), &self.sink, "url")
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, ConnectError> {
        let listed = self.store.list(&self.names.hidden("lives")).await.map_err(ConnectError::storage("list runs that wrote output"))?;
        Ok(listed.iter().filter_map(|entry| self.names.parse_life(&entry.path)).collect())
    }

    /// What the place holds of the sink, for [`crate::connect::SinkConnector::holding`].
    pub async fn holding(&self) -> Result<Holding, ConnectError> {
        self.is_owned().await?;
        let tenants = self.tenants().await?;
        let mut newest = self.list_marks().await?.into_iter().map(|(_, epoch)| epoch).max();
        let mut staged = self.list_staged().await?.iter().filter_map(|path| self.names.staged_generation(path)).max();
        if tenants.is_empty() {
            // There may be any number of them.
            let mut pages = self.store.pages_after("", &self.names.behind(None)).map_err(ConnectError::storage("list output"))?;
            while let Some(page) = pages.next().await.map_err(ConnectError::storage("list output"))? {
                for found in page.iter().filter(|found| !found.path.contains('/')) {
                    newest = newest.max(self.names.visible_epoch(&found.path));
                    staged = staged.max(self.names.immediate_generation(&found.path));
                }
            }
        }
        Ok(Holding { tenants, newest, staged })
    }

    /// Takes the place for a run.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where it is another job's, [`ConnectError::Unknown`] where it is not this run's to take.
    pub async fn take(&self, recovery: &Recovery, named: &[ObjectsToken]) -> Result<(), ConnectError> {
        let storage = |error| ConnectError::storage("claim the place of the output")(error);
        // Before the notes: what a later run stages comes after its note.
        let staged = match recovery.adopt {
            Some(_) => self.list_staged().await?,
            None => Vec::new(),
        };
        let mut holding = self.holding().await?;
        if holding.admit(&self.store.root(), &self.sink, recovery)? {
            self.remove_but(staged, named).await?;
        }
        if self.store.create(&self.names.hidden("owner"), Bytes::from(self.job.clone())).await.map_err(storage)? == Created::Exists {
            self.is_owned().await?;
        }
        self.read_marks().await?;
        let mut made = None;
        for _ in 0..NOTE_ROUNDS_MAX {
            match next_note(&holding.tenants, recovery, made) {
                Note::Make(note) => {
                    // One that exists is ours: its name holds our number.
                    self.store.create(&self.names.life(&note), Bytes::new()).await.map_err(storage)?;
                    made = Some(note);
                }
                Note::Stands => {
                    let older = holding.tenants.iter().filter(|older| !older.is_of(recovery));
                    self.delete(older.map(|older| self.names.life(older)).collect()).await?;
                    return Ok(());
                }
                Note::Lost => break,
            }
            holding.tenants = self.tenants().await?;
        }
        self.delete(made.iter().map(|made| self.names.life(made)).collect()).await?;
        Err(taken_now(&self.store.root()))
    }

    async fn list_staged(&self) -> Result<Vec<String>, ConnectError> {
        let listed = self.store.list(&self.names.hidden("staged")).await.map_err(ConnectError::storage("list staged output"))?;
        Ok(listed.into_iter().map(|entry| entry.path).collect())
    }

    /// Removes what of these is not named by the checkpoint: it is of a life that is not this run's.
    async fn remove_but(&self, staged: Vec<String>, named: &[ObjectsToken]) -> Result<(), ConnectError> {
        let named: BTreeSet<String> =
            named.iter().flat_map(|token| (0..token.parts.len()).map(|part| self.names.staged(&token.name, part))).collect();
        let is_ours = |path: &String| self.names.staged_generation(path).is_some() && !named.contains(path);
        self.delete(staged.into_iter().filter(is_ours).collect()).await
    }

    /// Removes what generations before this one have staged; gives the number of objects.
    pub async fn remove_staged(&self, generation: u64) -> Result<u64, ConnectError> {
        let is_earlier = |path: &String| self.names.staged_generation(path).is_some_and(|of| of < generation);
        let earlier: Vec<String> = self.list_staged().await?.into_iter().filter(is_earlier).collect();
        let count = earlier.len() as u64;
        self.delete(earlier).await?;
        Ok(count)
    }

    /// Moves visible objects of epochs that do not count aside; gives their number. A list begins behind those that count.
    pub async fn take_back(&self, recovery: &Recovery) -> Result<u64, ConnectError> {
        let listed = self.store.list_named_after(&self.names.stem(), &self.names.behind(recovery.recovered)).await;
        let listed = listed.map_err(ConnectError::storage("list output"))?;
        let is_later = |name: &str| self.names.visible_epoch(name).is_some_and(|epoch| recovery.is_void(epoch));
        let later: Vec<_> = listed.into_iter().filter(|entry| is_later(&entry.path)).collect();
        let count = later.len() as u64;
        let moves: Vec<_> = later.into_iter().map(|entry| self.set_aside(entry.path, entry.size_bytes)).collect();
        stream::iter(moves).buffer_unordered(CALLS_AT_ONCE).try_collect::<()>().await?;
        self.reset_marks(recovery).await?;
        Ok(count)
    }

    /// Deletes what was set aside and is over the limit, that of the oldest epochs first and the newest not; gives the number of objects.
    pub async fn expire(&self, bytes_max: u64) -> Result<u64, ConnectError> {
        let folder = self.names.taken_back("", 0);
        let folder = folder.trim_end_matches('/');
        let listed = self.store.list(folder).await.map_err(ConnectError::storage("list output that was taken back"))?;
        let epoch = |path: &str| {
            let name = path.rsplit_once('/')?.1;
            let copied = || name.rsplit_once('.').filter(|(_, copy)| copy.parse::<u64>().is_ok());
            self.names.visible_epoch(name).or_else(|| self.names.visible_epoch(copied()?.0))
        };
        // By their epochs, and none is too old.
        let kept = |entry: Entry| {
            let of = i64::try_from(epoch(&entry.path)?).unwrap_or(i64::MAX);
            Some(KeptObject { written_ms: of, path: entry.path, size_bytes: entry.size_bytes })
        };
        let over = expired(listed.into_iter().filter_map(kept).collect(), 0, (i64::MAX, bytes_max), |_| false);
        let count = over.len() as u64;
        self.delete(over.into_iter().map(|object| object.path).collect()).await?;
        Ok(count)
    }

    async fn set_aside(&self, name: String, bytes: u64) -> Result<(), ConnectError> {
        let storage = |error| ConnectError::storage("take back output")(error);
        for copy in 0..ASIDE_MAX {
            let to = self.names.taken_back(&name, copy);
            match self.store.copy(&name, &to, bytes).await.map_err(storage)? {
                Copied::New => return self.store.delete(&name).await.map_err(storage),
                // A reader took it first.
                Copied::Absent => return Ok(()),
                // Ours, of a recovery that died before it removed the original, or of an answer that was lost.
                Copied::Exists if self.is_equal(&name, &to).await? == Some(true) => return self.store.delete(&name).await.map_err(storage),
                Copied::Exists => {}
            }
        }
        let folder = self.full(&self.names.taken_back(&name, 0));
        let what = format!("`{folder}` exists {ASIDE_MAX} times");
        Err(ConnectError::corrupt(what, "remove what was taken back and is not needed, and start again"))
    }

    /// Of the epochs before this run none after the recovered one is published, and all up to it are: one mark for each instance is left, of that
    /// epoch or before it. Marks of later runs are theirs.
    async fn reset_marks(&self, recovery: &Recovery) -> Result<(), ConnectError> {
        let mut listed = self.list_marks().await?;
        listed.retain(|(_, epoch)| *epoch <= recovery.taken);
        let kept = standing(listed.iter().copied(), recovery.recovered);
        for (&instance, &epoch) in kept.iter().filter(|(instance, epoch)| !listed.contains(&(**instance, **epoch))) {
            self.create_mark(instance, epoch).await?;
        }
        let dropped = listed.into_iter().filter(|(instance, epoch)| kept.get(instance) != Some(epoch));
        self.delete(dropped.map(|(instance, epoch)| self.names.mark(instance, epoch)).collect()).await?;
        *self.marks.lock() = kept;
        Ok(())
    }
}
