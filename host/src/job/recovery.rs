//! Carries out a recovery ([`reprise_core::checkpoint::recovery`]): what it asks of the store, one question after another.

use super::error::{Error, failed};
use super::objects::{read_manifest, read_manifest_at};
use crate::clock::Clock;
use crate::store::{Created, Creation, Entry, Store, StoreError};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::manifest::{Claim, Manifest, ObjectRef, OperatorState};
use reprise_core::checkpoint::objects::{read_parked, read_snapshot};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::recovery::{
    JobRecovery, RecoverFrom, RecoveredJob, RecoveryAnswer, RecoveryRefusal, RecoveryRequest, RecoveryStep,
};
use reprise_core::codec::record;
use reprise_core::ids::{Epoch, Generation};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects that are read at the same time.
const READS_AT_ONCE: usize = 8;

/// Which checkpoint a run begins with, as its user says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFrom {
    /// That of an epoch. Later ones are given up.
    Epoch(Epoch),
    /// A savepoint, by its name. Checkpoints after it are given up.
    Savepoint(String),
}

/// A checkpoint that was read whole.
pub(super) struct LoadedCheckpoint {
    /// Its manifest.
    pub manifest: Manifest,
    /// The chunks of every snapshot object, by path.
    pub chunks: Chunks,
}

/// Chunks of snapshot objects, by path.
pub(super) type Chunks = BTreeMap<String, Vec<Chunk>>;

/// A job that was taken up.
pub(super) struct RecoveredRun {
    /// What was found and written.
    pub up: RecoveredJob,
    /// The base with its state.
    pub checkpoint: Option<LoadedCheckpoint>,
}

/// Who opens, and with what.
pub(super) struct RecoveryDriver<'a> {
    pub store: &'a Store,
    pub job: &'a str,
    pub clock: &'a Clock,
    /// Process and machine, for people.
    pub host: String,
    /// The generation of this host's last run, 0 where it had none. Set as soon as the next one is claimed.
    pub own: &'a AtomicU64,
    /// The last epoch that a job can have.
    pub epoch_max: Epoch,
    /// A job that has finished is taken up all the same.
    pub reopens: bool,
    /// The run begins after this epoch.
    pub after: Epoch,
}

impl RecoveryDriver<'_> {
    /// Claims the job and takes it up. `beginning`: what a new job begins with.
    pub async fn open(&self, start: Option<&StartFrom>, beginning: Manifest) -> Result<RecoveredRun, Error> {
        let mut chunks = None;
        let from = match start {
            None => RecoverFrom::Newest,
            Some(StartFrom::Epoch(epoch)) => RecoverFrom::Epoch(*epoch),
            Some(StartFrom::Savepoint(name)) => {
                let checkpoint = read_savepoint(self.store, self.job, name).await?;
                chunks = Some(checkpoint.chunks);
                RecoverFrom::savepoint(checkpoint.manifest, &self.snapshots().await?)
            }
        };
        let writer = beginning.writer;
        let before = Some(Generation(self.own.load(Ordering::Acquire))).filter(|own| own.0 > 0);
        let (mut recovery, mut turn) = JobRecovery::new(from, beginning, before, self.epoch_max);
        if self.reopens {
            recovery.reopen();
        }
        recovery.begin_after(self.after);
        let mut manifests = BTreeMap::new();
        loop {
            let ask = match turn {
                RecoveryStep::Ask(ask) => ask,
                RecoveryStep::Refused(refusal) => return Err(self.refused(refusal)),
                RecoveryStep::RecoveredJob(up) => {
                    let manifest = up.base.clone();
                    let checkpoint = manifest.map(|manifest| LoadedCheckpoint { manifest, chunks: chunks.take().unwrap_or_default() });
                    return Ok(RecoveredRun { up: *up, checkpoint });
                }
            };
            let answer = match ask {
                RecoveryRequest::Claims => RecoveryAnswer::Claims(newest_generation(self.store).await.map_err(failed("list generations"))?),
                RecoveryRequest::Claim(generation) => RecoveryAnswer::Claim(self.claim(generation, writer).await?),
                RecoveryRequest::Manifests => {
                    manifests = read_manifests(self.store, self.job).await?;
                    RecoveryAnswer::Manifests(manifests.clone())
                }
                RecoveryRequest::Snapshots => RecoveryAnswer::Snapshots(self.snapshots().await?),
                RecoveryRequest::Verify(epoch) => RecoveryAnswer::Verify(match manifests.get(&epoch) {
                    Some(Ok(manifest)) => read_snapshots(self.store, self.job, manifest).await?.map(|read| chunks = Some(read)),
                    _ => Err("its manifest was not read".to_owned()),
                }),
                RecoveryRequest::Create(mut manifest) => {
                    manifest.written_ms = self.clock.now_ms();
                    RecoveryAnswer::Create(put_manifest(self.store, &manifest).await?)
                }
            };
            turn = recovery.step(answer);
        }
    }

    /// The names of all snapshots.
    async fn snapshots(&self) -> Result<Vec<String>, Error> {
        let listed = self.store.list(paths::SNAPSHOTS).await.map_err(failed("list snapshots"))?;
        Ok(listed.into_iter().map(|entry| entry.path).collect())
    }

    async fn claim(&self, generation: Generation, writer: u64) -> Result<bool, Error> {
        let claim = Claim { generation, writer, host: self.host.clone(), claimed_ms: self.clock.now_ms() };
        let bytes = record::encode(&claim).map_err(|error| Error::Internal(error.to_string()))?;
        let created = self.store.create(&paths::claim(generation), Bytes::from(bytes)).await.map_err(failed("claim a generation"))?;
        if created == Created::New {
            self.own.store(generation.0, Ordering::Release);
        }
        Ok(created == Created::New)
    }

    fn refused(&self, refusal: RecoveryRefusal) -> Error {
        match refusal {
            RecoveryRefusal::Fenced { ours, theirs } => Error::Fenced { ours, theirs },
            RecoveryRefusal::NoCheckpoint(passed_over) => Error::NoCheckpoint {
                reasons: passed_over.iter().map(|(epoch, reason)| format!("\n  checkpoint {epoch}: {reason}")).collect(),
            },
            RecoveryRefusal::Lost => Error::Internal("claims or manifests were lost to other hosts, one after another".into()),
            RecoveryRefusal::Broken(broken) => Error::Internal(broken.to_string()),
            RecoveryRefusal::Exhausted => {
                let text = format!("numbers have come to their end: a job has at most {} epochs", self.epoch_max);
                let help = "start a new job under another `name`";
                Error::Engine(Box::new(crate::engine::Failure::Limit(format!("{text}\n  help: {help}"))))
            }
        }
    }
}

/// The newest generation that was claimed; 0 where none was.
pub(super) async fn newest_generation(objects: &Store) -> Result<Generation, StoreError> {
    let mut newest = Generation(0);
    for Entry { path, .. } in objects.list(paths::GENERATIONS).await? {
        match paths::claim_generation(&path) {
            // Its name alone counts, whatever is in it: a claim that is damaged is a claim.
            Some(claimed) => newest = newest.max(claimed),
            None => _ = objects.pass_over(&path, "it is no claim"),
        }
    }
    Ok(newest)
}

/// The newest manifest that can be read, its snapshots unseen: for checks that need no claim.
pub(super) async fn glance(objects: &Store, job: &str) -> Result<Option<Manifest>, Error> {
    let listed = objects.list(paths::CHECKPOINTS).await.map_err(failed("list checkpoints"))?;
    for epoch in listed.iter().rev().filter_map(|entry| paths::manifest_epoch(&entry.path)) {
        if let Ok(manifest) = read_manifest(objects, job, epoch).await? {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// Stores a manifest. False where there is one of that epoch already.
async fn put_manifest(objects: &Store, manifest: &Manifest) -> Result<bool, Error> {
    let bytes = record::encode(manifest).map_err(|error| Error::Internal(format!("a manifest: {error}")))?;
    let created = objects.create_as(&paths::manifest(manifest.epoch), Bytes::from(bytes), Creation::WHOLE).await;
    Ok(created.map_err(failed("store a manifest"))? == Created::New)
}

async fn read_manifests(objects: &Store, job: &str) -> Result<BTreeMap<Epoch, Result<Manifest, String>>, Error> {
    let listed = objects.list(paths::CHECKPOINTS).await.map_err(failed("list checkpoints"))?;
    for Entry { path, .. } in listed.iter().filter(|entry| paths::manifest_epoch(&entry.path).is_none()) {
        objects.pass_over(path, "it is no manifest");
    }
    let epochs: Vec<Epoch> = listed.iter().filter_map(|entry| paths::manifest_epoch(&entry.path)).collect();
    let reads =
        futures::stream::iter(epochs).map(|epoch| async move { Ok::<_, Error>((epoch, read_manifest(objects, job, epoch).await?)) });
    reads.buffered(READS_AT_ONCE).try_collect().await
}

/// Every savepoint, by name; an error tells why it cannot be read.
pub(super) async fn savepoints(objects: &Store, job: &str) -> Result<BTreeMap<String, Result<Manifest, String>>, Error> {
    let mut found = BTreeMap::new();
    for entry in objects.list(paths::SAVEPOINTS).await.map_err(failed("list savepoints"))? {
        let Some(name) = paths::savepoint_name(&entry.path) else {
            objects.pass_over(&entry.path, "it is no savepoint");
            continue;
        };
        let read = match read_manifest_at(objects, job, &entry.path, None).await {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            // Only a run that begins with it needs the newer host.
            Err(Error::Newer { error, .. }) => Err(format!("`{}`: {error}", entry.path)),
            Err(error) => return Err(error),
        };
        found.insert(name.to_owned(), read);
    }
    Ok(found)
}

async fn read_savepoint(objects: &Store, job: &str, name: &str) -> Result<LoadedCheckpoint, Error> {
    let none = |reason: String| Error::NoCheckpoint { reasons: format!("\n  savepoint `{name}`: {reason}") };
    let path = paths::savepoint(name).ok_or_else(|| none("no savepoint can have this name".to_owned()))?;
    let read = read_manifest_at(objects, job, &path, None).await?;
    let manifest = read.ok_or_else(|| none(format!("`{path}` does not exist")))?.map_err(none)?;
    let none = |reason: String| Error::NoCheckpoint { reasons: format!("\n  savepoint `{name}`: {reason}") };
    let chunks = read_snapshots(objects, job, &manifest).await?.map_err(none)?;
    Ok(LoadedCheckpoint { manifest, chunks })
}

/// Reads and verifies every snapshot that a manifest needs; what is wrong is told as text.
async fn read_snapshots(objects: &Store, job: &str, manifest: &Manifest) -> Result<Result<Chunks, String>, Error> {
    let wanted: Vec<(&OperatorState, u32, &ObjectRef)> = manifest
        .operators
        .iter()
        .flat_map(|o| o.instances.iter().zip(0..).flat_map(move |(i, index)| i.chain.iter().map(move |object| (o, index, object))))
        .collect();
    let reads = futures::stream::iter(wanted.into_iter().map(|(operator, instance, object)| async move {
        let bytes = objects.get(&object.path).await.map_err(failed("read a snapshot"))?;
        Ok::<_, Error>(read_snapshot(bytes.as_deref(), object, job, (operator, instance)).map(|chunks| (object.path.clone(), chunks)))
    }));
    if let Err(reason) = verify_all_parked(objects, job, manifest).await? {
        return Ok(Err(reason));
    }
    let mut reads = reads.buffered(READS_AT_ONCE);
    let mut chunks = Chunks::new();
    while let Some(read) = reads.try_next().await? {
        match read {
            Ok((path, found)) => drop(chunks.insert(path, found)),
            Err(reason) => return Ok(Err(reason)),
        }
    }
    Ok(Ok(chunks))
}

/// Reads and verifies every object of parked input that a manifest needs, and keeps none.
async fn verify_all_parked(objects: &Store, job: &str, manifest: &Manifest) -> Result<Result<(), String>, Error> {
    let mut wanted: BTreeMap<&str, (&OperatorState, &ObjectRef)> = BTreeMap::new();
    for operator in &manifest.operators {
        let parked = operator.instances.iter().flat_map(|instance| &instance.parked);
        wanted.extend(parked.map(|parked| (parked.object.path.as_str(), (operator, &parked.object))));
    }
    let reads = futures::stream::iter(wanted.into_values().map(|(operator, object)| async move {
        let bytes = objects.get(&object.path).await.map_err(failed("read parked input"))?;
        Ok::<_, Error>(read_parked(bytes.as_deref(), object, job, &operator.name).map(drop))
    }));
    let mut reads = reads.buffered(READS_AT_ONCE);
    while let Some(read) = reads.try_next().await? {
        if read.is_err() {
            return Ok(read);
        }
    }
    Ok(Ok(()))
}

/// Deletes refused rows of epochs that do not count, written by hosts before this one. They will be refused again.
pub(super) async fn clear_quarantine<'a>(objects: &Store, nodes: impl Iterator<Item = &'a str>, up: &RecoveredJob) -> Result<(), Error> {
    let covered = up.base.as_ref().and_then(Manifest::covered);
    for node in nodes {
        let (folder, after) = (format!("{}/{node}", paths::QUARANTINE), paths::quarantine_after(node, covered));
        for entry in objects.list_after(&folder, &after).await.map_err(failed("list the quarantine"))? {
            if up.has_given_up(&entry.path, up.generation) {
                objects.delete(&entry.path).await.map_err(failed("clear the quarantine"))?;
            }
        }
    }
    Ok(())
}
