//! What was noted about rows in quarantine: which were asked for, sent again, and dropped.

use crate::job::error::{Error, failed};
use crate::store::Store;
use futures::{StreamExt, TryStreamExt};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::{Dropped, History, ObjectName, Replay, Replayed, is_replay_source};
use reprise_core::codec::record::{self, Record};
use reprise_core::ids::{Epoch, Generation};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Notes that are read at the same time.
const READS_AT_ONCE: usize = 8;

/// A request that waits, or waits no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::job) struct ReplayRequest {
    /// Where it is.
    pub path: String,
    /// The object whose rows are asked for.
    pub object: ObjectName,
    /// What is asked.
    pub replay: Replay,
}

/// The position in a split that is a request: so many of its rows are done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::job) struct ReplayPosition {
    /// How many.
    pub done: u32,
}

/// Everything that was noted.
#[derive(Debug, Default)]
pub(in crate::job) struct QuarantineLedger {
    /// The requests there are, in the order of their paths.
    pub requests: Vec<ReplayRequest>,
    /// Rows that are done, by the split of their request.
    pub positions: BTreeMap<String, u32>,
    /// Rows that were sent again, by object, with the newest epoch of a note.
    pub replayed: BTreeMap<String, BTreeMap<u32, Epoch>>,
    /// Notes of histories that were given up.
    pub dead: Vec<(String, Generation)>,
    /// Rows that were dropped, by object.
    pub dropped: BTreeMap<String, BTreeSet<u32>>,
}

impl QuarantineLedger {
    /// Reads all but the notes of what was dropped. `newest`: the checkpoint that `history` ends with.
    pub async fn read(store: &Store, newest: &Manifest, history: &History<'_>) -> Result<Self, Error> {
        let mut ledger = Self { requests: requests(store).await?, positions: positions(newest), ..Self::default() };
        ledger.read_replayed(store, history).await?;
        Ok(ledger)
    }

    async fn read_replayed(&mut self, store: &Store, history: &History<'_>) -> Result<(), Error> {
        let listed = store.list(paths::REPLAYED).await.map_err(failed("list what was sent again"))?;
        let mut counting = BTreeMap::new();
        for path in listed.into_iter().map(|entry| entry.path) {
            match paths::replayed_origin(&path) {
                Some((epoch, _)) if history.has(epoch) => drop(counting.insert(path, epoch)),
                Some((_, generation)) => self.dead.push((path, generation)),
                None => _ = store.pass_over(&path, "it is no note about the quarantine"),
            }
        }
        for (path, note) in read_all::<Replayed>(store, counting.keys().cloned().collect()).await? {
            let Some(&epoch) = counting.get(&path) else { continue };
            for rows in note.objects {
                let noted = self.replayed.entry(rows.object).or_default();
                rows.rows.into_iter().for_each(|row| _ = noted.insert(row, epoch));
            }
        }
        Ok(())
    }

    /// Reads the notes of what was dropped among the rows of these objects. `paths`: what is listed in the folder of the quarantine.
    pub async fn read_dropped(&mut self, store: &Store, paths: impl Iterator<Item = &str>) -> Result<(), Error> {
        let paths: Vec<String> = paths.filter(|path| ObjectName::of_dropped(path).is_some()).map(str::to_owned).collect();
        for (path, note) in read_all::<Dropped>(store, paths).await? {
            let is_own = ObjectName::of_dropped(&path).is_some_and(|(object, _)| object.path() == note.rows.object);
            if is_own {
                self.dropped.entry(note.rows.object).or_default().extend(note.rows.rows);
            }
        }
        Ok(())
    }

    /// Number of rows of a request that are done.
    pub fn done(&self, request: &ReplayRequest) -> usize {
        self.positions.get(&request.replay.split(&request.path)).copied().unwrap_or(0) as usize
    }

    /// The row is dropped.
    pub fn is_dropped(&self, object: &str, row: u32) -> bool {
        self.dropped.get(object).is_some_and(|rows| rows.contains(&row))
    }

    /// A note says that the row was sent again.
    pub fn is_noted(&self, object: &str, row: u32) -> bool {
        self.replayed.get(object).is_some_and(|rows| rows.contains_key(&row))
    }

    /// The rows that requests ask for and nothing else speaks of: `true` where the checkpoint has them already.
    pub fn asked(&self) -> BTreeMap<(String, u32), bool> {
        let mut asked = BTreeMap::new();
        for request in &self.requests {
            let done = self.done(request);
            for (place, &row) in request.replay.rows.rows.iter().enumerate() {
                *asked.entry((request.replay.rows.object.clone(), row)).or_default() |= place < done;
            }
        }
        asked
    }

    /// Rows that a request waits for: with their places in it.
    pub fn waiting<'a>(&'a self, request: &'a ReplayRequest) -> impl Iterator<Item = (usize, u32)> + 'a {
        let object = &request.replay.rows.object;
        let rest = request.replay.rows.rows.iter().copied().enumerate().skip(self.done(request));
        rest.filter(move |&(_, row)| !self.is_noted(object, row) && !self.is_dropped(object, row))
    }
}

/// The positions of all sources that send rows again, by split.
pub(in crate::job) fn positions(manifest: &Manifest) -> BTreeMap<String, u32> {
    let sources = manifest.sources.iter().filter(|source| is_replay_source(&source.name));
    let splits = sources.flat_map(|source| &source.splits);
    splits.filter_map(|split| Some((split.split.clone(), serde_json::from_str::<ReplayPosition>(&split.position).ok()?.done))).collect()
}

/// The requests there are, in the order of their paths. Objects that are none are passed over.
pub(in crate::job) async fn requests(store: &Store) -> Result<Vec<ReplayRequest>, Error> {
    let listed = store.list(paths::REPLAYS).await.map_err(failed("list requests to send rows again"))?;
    requests_of(store, listed.into_iter().map(|entry| entry.path).collect()).await
}

/// Those of these objects that are requests. The others are passed over.
pub(in crate::job) async fn requests_of(store: &Store, paths: Vec<String>) -> Result<Vec<ReplayRequest>, Error> {
    let mut named = BTreeMap::new();
    for path in paths {
        match ObjectName::of_replay(&path) {
            Some((object, _)) => _ = named.insert(path, object),
            None => _ = store.pass_over(&path, "it is no request to send rows again"),
        }
    }
    let read = read_all::<Replay>(store, named.keys().cloned().collect()).await?;
    let request = |(path, replay): (String, Replay)| {
        let object = named.get(&path)?.clone();
        if replay.rows.object != object.path() {
            store.pass_over(&path, "it asks for rows of another object than its name says");
            return None;
        }
        Some(ReplayRequest { path, object, replay })
    };
    Ok(read.into_iter().filter_map(request).collect())
}

/// Reads records. Those that are gone meanwhile are left out; those that cannot be read are too, and the log says so.
async fn read_all<R: Record>(store: &Store, paths: Vec<String>) -> Result<Vec<(String, R)>, Error> {
    let reads = futures::stream::iter(paths).map(async |path: String| {
        let bytes = store.get(&path).await.map_err(failed("read a note about the quarantine"))?;
        Ok::<_, Error>(bytes.and_then(|bytes| match record::decode::<R>(&bytes) {
            Ok(record) => Some((path, record)),
            Err(error) => {
                store.pass_over(&path, &format!("it cannot be read: {error}"));
                None
            }
        }))
    });
    reads.buffered(READS_AT_ONCE).try_filter_map(async |read| Ok(read)).try_collect().await
}
