//! Taking up again: the claim of a generation, the walk to the newest usable checkpoint, and its state, instance by instance.

use super::error::Error;
use super::objects::{read_manifest, verify};
use crate::engine::{Chain, Restored};
use crate::store::{Created, Store};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::manifest::{Claim, InstanceState, Manifest, ObjectRef, OperatorState};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::recovery::{Next, Walk};
use reprise_core::codec::record;
use reprise_core::codec::snapshot::Scope;
use reprise_core::description::{Description, Slot, SlotKind};
use reprise_core::ids::{Epoch, Generation};
use reprise_core::keying;
use std::collections::BTreeMap;

/// Objects that are read at the same time.
const READS_AT_ONCE: usize = 8;
/// Claims that are tried before giving up: each loss means that another host claimed in between.
pub(super) const CLAIMS_MAX: u32 = 16;

/// A checkpoint that was read whole.
pub(super) struct Checkpoint {
    /// Its manifest.
    pub manifest: Manifest,
    /// The chunks of every snapshot object, by path.
    chunks: BTreeMap<String, Vec<Chunk>>,
}

/// What the store holds of a job.
pub(super) struct Found {
    /// The checkpoint to take up; `None` for a fresh start.
    pub checkpoint: Option<Checkpoint>,
    /// Checkpoints that were passed over, newest first, with the reason.
    pub passed_over: Vec<(Epoch, String)>,
    /// Every manifest that could be read.
    pub manifests: Vec<Manifest>,
    /// Epochs of all manifests that are there.
    pub listed: Vec<Epoch>,
    /// The first epoch of the new run.
    pub first_epoch: Epoch,
}

fn store(doing: &'static str) -> impl Fn(crate::store::StoreError) -> Error {
    move |error| Error::Store { doing, error }
}

/// Claims the next generation.
pub(super) async fn claim(objects: &Store, writer: u64, host: &str, now_ms: i64) -> Result<Generation, Error> {
    for _ in 0..CLAIMS_MAX {
        let Some(next) = newest_generation(objects).await?.0.checked_add(1) else {
            return Err(Error::Internal("the largest generation there is has been claimed: a foreign claim lies in the store".into()));
        };
        let generation = Generation(next);
        let claim = Claim { generation, writer, host: host.to_owned(), claimed_ms: now_ms };
        let bytes = record::encode(&claim).map_err(|error| Error::Internal(error.to_string()))?;
        let created = objects.create(&paths::claim(generation), Bytes::from(bytes)).await.map_err(store("claim a generation"))?;
        if created == Created::New {
            return Ok(generation);
        }
    }
    Err(Error::Internal(format!("{CLAIMS_MAX} claims were lost to other hosts, one after another")))
}

/// The newest generation that anybody claimed; 0 where nobody did.
pub(super) async fn newest_generation(objects: &Store) -> Result<Generation, Error> {
    let claims = objects.list(paths::GENERATIONS).await.map_err(store("list generations"))?;
    Ok(claims.iter().filter_map(|entry| paths::claim_generation(&entry.path)).max().unwrap_or(Generation(0)))
}

/// The newest manifest that can be read, its snapshots unseen: for checks that need no claim.
pub(super) async fn glance(objects: &Store, job: &str) -> Result<Option<Manifest>, Error> {
    let listed = objects.list(paths::CHECKPOINTS).await.map_err(store("list checkpoints"))?;
    for epoch in listed.iter().rev().filter_map(|entry| paths::manifest_epoch(&entry.path)) {
        if let Ok(manifest) = read_manifest(objects, job, epoch).await? {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// Deletes refused rows of epochs that do not count: those after `base`.
pub(super) async fn clear_quarantine(objects: &Store, base: Option<Epoch>) -> Result<(), Error> {
    for entry in objects.list(paths::QUARANTINE).await.map_err(store("list the quarantine"))? {
        if paths::quarantine_epoch(&entry.path).is_some_and(|epoch| base.is_none_or(|base| epoch > base)) {
            objects.delete(&entry.path).await.map_err(store("clear the quarantine"))?;
        }
    }
    Ok(())
}

/// Stores a manifest. False where there is one of that epoch already.
pub(super) async fn put_manifest(objects: &Store, manifest: &Manifest) -> Result<bool, Error> {
    let bytes = record::encode(manifest).map_err(|error| Error::Internal(format!("a manifest: {error}")))?;
    let created = objects.create(&paths::manifest(manifest.epoch), Bytes::from(bytes)).await;
    Ok(created.map_err(store("store a manifest"))? == Created::New)
}

/// Walks to the newest usable checkpoint.
pub(super) async fn find(objects: &Store, job: &str) -> Result<Found, Error> {
    let listed = objects.list(paths::CHECKPOINTS).await.map_err(store("list checkpoints"))?;
    let epochs: Vec<Epoch> = listed.iter().filter_map(|entry| paths::manifest_epoch(&entry.path)).collect();
    let mut manifests = BTreeMap::new();
    for &epoch in &epochs {
        manifests.insert(epoch, read_manifest(objects, job, epoch).await?);
    }
    let mut walk = Walk::new(epochs.clone());
    let mut next = walk.start();
    let checkpoint = loop {
        match next {
            Next::Fresh => break None,
            Next::Refuse => {
                let reasons = walk.passed_over().iter().map(|(epoch, reason)| format!("\n  checkpoint {epoch}: {reason}")).collect();
                return Err(Error::NoCheckpoint { reasons });
            }
            Next::Load(epoch) => match manifests.get(&epoch) {
                Some(Ok(manifest)) => match read_snapshots(objects, job, manifest).await? {
                    Ok(chunks) => break Some(Checkpoint { manifest: manifest.clone(), chunks }),
                    Err(reason) => next = walk.unusable(Some(manifest), reason),
                },
                Some(Err(reason)) => next = walk.unusable(None, reason.clone()),
                None => next = walk.unusable(None, "its manifest was not listed".into()),
            },
        }
    };
    let passed_over = walk.passed_over().to_vec();
    let manifests = manifests.into_values().filter_map(Result::ok).collect();
    Ok(Found { checkpoint, passed_over, manifests, listed: epochs, first_epoch: walk.first_epoch() })
}

type Chunks = BTreeMap<String, Vec<Chunk>>;

/// Reads and verifies every snapshot that a manifest needs; what is wrong is told as text.
async fn read_snapshots(objects: &Store, job: &str, manifest: &Manifest) -> Result<Result<Chunks, String>, Error> {
    let wanted: Vec<(&OperatorState, u32, &ObjectRef)> = manifest
        .operators
        .iter()
        .flat_map(|o| o.instances.iter().zip(0..).flat_map(move |(i, index)| i.chain.iter().map(move |object| (o, index, object))))
        .collect();
    let reads = futures::stream::iter(wanted.into_iter().map(|(operator, instance, object)| async move {
        let bytes = objects.get(&object.path).await.map_err(store("read a snapshot"))?;
        Ok::<_, Error>(verify(bytes.as_deref(), job, operator, instance, object).map(|chunks| (object.path.clone(), chunks)))
    }));
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

impl Checkpoint {
    /// The state of every instance of one operator, for `workers` instances of a component that describes itself so. Takes the chunks
    /// out of the checkpoint.
    pub fn state_of(&mut self, operator: &str, description: &Description, workers: u32) -> Result<Vec<Restored>, Error> {
        let epoch = self.manifest.epoch;
        let Some(old) = self.manifest.operators.iter().find(|o| o.name == operator) else {
            return Ok((0..workers).map(|_| fresh()).collect());
        };
        let misfit = |what: String, help: &str| Error::Misfit { epoch, what, help: help.into() };
        let slots = moves(old, description, epoch)?;
        let mut chains: Vec<(Vec<Chunk>, &InstanceState)> = Vec::new();
        for instance in &old.instances {
            let mut chain = Vec::new();
            for object in &instance.chain {
                chain.extend(self.chunks.remove(&object.path).unwrap_or_default());
            }
            chains.push((chain, instance));
        }
        let same_slots = old.slots == description.slots;
        if old.instances.len() == workers as usize {
            let own = chains.into_iter().map(|(chunks, instance)| Restored {
                chunks: chunks.into_iter().map(|chunk| slots[chunk.slot() as usize].of(chunk)).collect(),
                watermark: instance.watermark,
                chain: same_slots.then(|| sizes(instance)).flatten(),
            });
            return Ok(own.collect());
        }
        let watermark = old.instances.iter().map(|i| i.watermark).min().unwrap_or(i64::MIN);
        spread(chains.into_iter().map(|(chunks, _)| chunks), &slots, watermark, workers).map_err(|slot| {
            let name = old.slots.get(slot as usize).map_or("?", |s| s.name.as_str());
            let what = format!("operator `{operator}` keeps the slot `{name}` per instance, of which there were {}", old.instances.len());
            misfit(what, &format!("run it with `--workers {}`", self.manifest.workers))
        })
    }
}

fn fresh() -> Restored {
    Restored { watermark: i64::MIN, ..Restored::default() }
}

/// Where the cells of each slot of a checkpoint go in a component that describes itself so.
///
/// # Errors
/// A slot that the component does not have.
pub(super) fn moves(old: &OperatorState, description: &Description, epoch: Epoch) -> Result<Vec<Moved>, Error> {
    let operator = &old.name;
    let to = |slot: &Slot| {
        let now = description.slots.iter().position(|now| now.name == slot.name && now.kind == slot.kind);
        let misfit = || Error::Misfit {
            epoch,
            what: format!("operator `{operator}` has state in the {:?} slot `{}`, which its component no longer has", slot.kind, slot.name),
            help: "give the component a slot of that name and kind, or the operator another name".into(),
        };
        Ok(Moved { to: now.ok_or_else(misfit)? as u32, kind: slot.kind, version: slot.version })
    };
    old.slots.iter().map(to).collect()
}

/// Where the cells of a slot of the checkpoint go.
pub(super) struct Moved {
    /// Number of the slot in the present component.
    to: u32,
    kind: SlotKind,
    /// The version that the slot had when its cells were written.
    version: u32,
}

impl Moved {
    /// A chunk as it is to be restored.
    fn of(&self, chunk: Chunk) -> (u32, Chunk) {
        (self.version, chunk.with_slot(self.to))
    }
}

fn sizes(instance: &InstanceState) -> Option<Chain> {
    let (full, deltas) = instance.chain.split_first()?;
    debug_assert_eq!(full.scope, Scope::Full);
    Some(Chain { deltas: deltas.len() as u32, full_bytes: full.bytes, delta_bytes: deltas.iter().map(|d| d.bytes).sum() })
}

/// Deals the cells of all old instances out to another number of new ones. The error is a slot that cannot be dealt out.
fn spread(chains: impl Iterator<Item = Vec<Chunk>>, slots: &[Moved], watermark: i64, workers: u32) -> Result<Vec<Restored>, u32> {
    let mut dealt: Vec<Restored> = (0..workers).map(|_| Restored { watermark, ..Restored::default() }).collect();
    let owners = keying::owners(workers);
    for (old_instance, chain) in chains.enumerate() {
        for chunk in chain {
            let slot = &slots[chunk.slot() as usize];
            match slot.kind {
                SlotKind::Instance if chunk.is_empty() => {}
                SlotKind::Instance => return Err(chunk.slot()),
                // The same everywhere: the first instance's copy serves all.
                SlotKind::Broadcast if old_instance > 0 => {}
                SlotKind::Broadcast => dealt.iter_mut().for_each(|to| to.chunks.push(slot.of(chunk.clone()))),
                SlotKind::Keyed => {
                    let mut parts: Vec<Chunk> = (0..workers).map(|_| Chunk::new(chunk.slot())).collect();
                    for cell in chunk.cells() {
                        let part = &mut parts[owners[keying::group(cell.key).0 as usize] as usize];
                        part.push(cell).expect("a part is no larger than the chunk it comes from");
                    }
                    for (to, part) in dealt.iter_mut().zip(parts) {
                        if !part.is_empty() {
                            to.chunks.push(slot.of(part));
                        }
                    }
                }
            }
        }
    }
    Ok(dealt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::cells::Cell;

    fn keyed(keys: std::ops::Range<u32>) -> Chunk {
        let mut chunk = Chunk::new(0);
        for key in keys {
            chunk.push(Cell { key: &key.to_le_bytes(), item: b"", value: Some(b"v") }).unwrap();
        }
        chunk
    }

    fn moved(to: u32, kind: SlotKind) -> [Moved; 1] {
        [Moved { to, kind, version: 2 }]
    }

    #[test]
    fn keyed_cells_move_to_the_owners_of_their_keys() {
        let dealt = spread([vec![keyed(0..100)], vec![keyed(100..200)]].into_iter(), &moved(3, SlotKind::Keyed), 7, 3).unwrap();
        let mut cells = 0;
        for (instance, restored) in dealt.iter().enumerate() {
            assert_eq!((restored.watermark, restored.chain.is_none()), (7, true));
            for (version, chunk) in &restored.chunks {
                assert_eq!((*version, chunk.slot()), (2, 3));
                assert!(chunk.cells().all(|c| keying::owner(keying::group(c.key), 3) == instance as u32));
                cells += chunk.len();
            }
        }
        assert_eq!(cells, 200);
    }

    #[test]
    fn broadcast_cells_are_copied_and_instance_cells_cannot_move() {
        let dealt = spread([vec![keyed(0..2)], vec![keyed(0..2)]].into_iter(), &moved(0, SlotKind::Broadcast), 0, 3).unwrap();
        assert!(dealt.iter().all(|restored| restored.chunks == [(2, keyed(0..2))]));
        assert_eq!(spread([vec![keyed(0..2)]].into_iter(), &moved(0, SlotKind::Instance), 0, 2).unwrap_err(), 0);
    }
}
