//! Reads every object that checkpoints name, and says which of them are not what was written.

use super::catalog;
use super::choose::{Choice, choose};
use super::error::SurveyError;
use super::which::Which;
use super::{MANIFESTS_MAX, READS_AT_ONCE};
use crate::job::error::failed;
use crate::store::Store;
use futures::{StreamExt, TryStreamExt};
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, OperatorState};
use reprise_core::checkpoint::objects::{read_parked, read_snapshot, sound};
use reprise_core::checkpoint::quarantine::{ObjectName, QuarantineObject};
use std::collections::BTreeMap;

/// What to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// Every checkpoint and savepoint, at most [`MANIFESTS_MAX`] of each, the newest ones.
    All,
    /// One of them.
    One(Choice),
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SurveyProgress {
    /// Objects read.
    pub objects: u64,
    /// Objects to read.
    pub objects_all: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Bytes to read.
    pub bytes_all: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Each checkpoint and savepoint, newest first.
    pub verdicts: Vec<(Which, CheckpointVerdict)>,
    /// Objects that are not what was written, by path.
    pub bad: Vec<BadObject>,
    /// Objects read, manifests not counted. One that several checkpoints name is read once.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Checkpoints and savepoints that were left out, being over the limit.
    pub left_out: usize,
}

/// The verdict over a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointVerdict {
    /// All of its objects are as they were written.
    Sound {
        /// So many.
        objects: usize,
    },
    /// Some are not.
    Bad {
        /// So many.
        objects: usize,
        /// So many of them are bad.
        bad: usize,
        /// Bad ones are among those that a run needs for taking up again.
        unusable: bool,
    },
    /// Its manifest cannot be read.
    Unreadable(String),
    /// It was deleted while it was verified, by a sweep of the running job.
    Gone,
}

/// What an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// State of an instance.
    Snapshot,
    /// Input that waits for an operator.
    Parked,
    /// Refused rows; not needed for taking up again.
    Quarantine,
}

/// An object that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadObject {
    /// Its path below the job.
    pub path: String,
    /// What it is for.
    pub role: Role,
    /// What is wrong.
    pub reason: String,
    /// Who needs it.
    pub needed_by: Vec<Which>,
}

impl Verified {
    /// True where everything is as it was written.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| matches!(verdict, CheckpointVerdict::Sound { .. } | CheckpointVerdict::Gone))
    }
}

/// An object and what a manifest says of it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    object: &'a ObjectRef,
    node: &'a str,
    instance: u32,
    content: Content<'a>,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Snapshot(&'a OperatorState),
    Parked,
    Quarantine,
}

impl Wanted<'_> {
    fn role(&self) -> Role {
        match self.content {
            Content::Snapshot(_) => Role::Snapshot,
            Content::Parked => Role::Parked,
            Content::Quarantine => Role::Quarantine,
        }
    }

    /// The path, and all else that a manifest says of the object: equal where two manifests say the same.
    fn key(&self) -> (String, String) {
        let slots = match self.content {
            Content::Snapshot(operator) => operator.slots.len(),
            Content::Parked | Content::Quarantine => 0,
        };
        (self.object.path.clone(), format!("{:?} {:?} {} {} {slots}", self.role(), self.object, self.node, self.instance))
    }

    fn check(&self, job: &str, bytes: Option<&[u8]>) -> Result<(), String> {
        let (path, entries) = (&self.object.path, self.object.entries);
        let found = match self.content {
            Content::Snapshot(operator) => {
                let chunks = read_snapshot(bytes, self.object, job, (operator, self.instance))?;
                chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>()
            }
            Content::Parked => return read_parked(bytes, self.object, job, self.node).map(drop),
            Content::Quarantine => {
                let rows = QuarantineObject::read(sound(bytes, self.object)?).map_err(|error| format!("`{path}`: {error}"))?;
                let is_own = |name: &ObjectName| name.node == self.node && name.instance.0 == self.instance && rows.is_named(name);
                if !ObjectName::of_path(path).is_some_and(|name| is_own(&name)) {
                    return Err(format!("`{path}` holds rows of another node, instance or epoch: it says `{}`", rows.node()));
                }
                rows.len() as u64
            }
        };
        if found == entries { Ok(()) } else { Err(format!("`{path}` has {found} entries, {entries} were written")) }
    }
}

/// Everything that a manifest names. Quarantine of a source does not tell its instance, which its name does.
fn wanted(manifest: &Manifest) -> Vec<Wanted<'_>> {
    let mut all = Vec::new();
    for operator in &manifest.operators {
        let node = operator.name.as_str();
        for (state, instance) in operator.instances.iter().zip(0..) {
            all.extend(state.chain.iter().map(|object| Wanted { object, node, instance, content: Content::Snapshot(operator) }));
            // Instances may share one: it is the operator's, and told once.
            all.extend(state.parked.iter().map(|parked| Wanted { object: &parked.object, node, instance: 0, content: Content::Parked }));
            all.extend(state.quarantine.iter().map(|object| Wanted { object, node, instance, content: Content::Quarantine }));
        }
    }
    for source in &manifest.sources {
        for object in &source.quarantine {
            let instance = instance_of(&object.path).unwrap_or(u32::MAX);
            all.push(Wanted { object, node: &source.name, instance, content: Content::Quarantine });
        }
    }
    all
}

/// The instance in the name of a quarantine object: `<epoch>-<generation>-<instance>-<part>`.
fn instance_of(path: &str) -> Option<u32> {
    path.rsplit('/').next()?.split('-').nth(2)?.parse().ok()
}

/// Verifies one checkpoint or all of them. `watch` is told how far it is, after each object.
///
/// # Errors
/// [`SurveyError::NoJob`]; for one, [`SurveyError::NoCheckpoint`]; failures of the store. Damage is no error but what was found.
pub async fn verify(store: &Store, job: &str, what: &Verify, watch: &mut dyn FnMut(SurveyProgress)) -> Result<Verified, SurveyError> {
    let (manifests, left_out) = match what {
        Verify::All => every_manifest(store, job).await?,
        Verify::One(choice) => (one_manifest(store, job, choice).await?, 0),
    };
    // What is to be read, and which of the manifests need it.
    let mut needed = BTreeMap::new();
    for (place, (_, manifest)) in manifests.iter().enumerate() {
        let Ok(manifest) = manifest else { continue };
        for wanted in wanted(manifest) {
            let (_, by): &mut (Wanted, Vec<usize>) = needed.entry(wanted.key()).or_insert_with(|| (wanted, Vec::new()));
            if by.last() != Some(&place) {
                by.push(place);
            }
        }
    }
    let bytes_all = needed.values().fold(0u64, |sum, (wanted, _)| sum.saturating_add(wanted.object.bytes));
    let mut progress = SurveyProgress { objects: 0, objects_all: needed.len() as u64, bytes: 0, bytes_all };
    let reads = futures::stream::iter(needed.values()).map(|(wanted, by)| async move {
        // A path that no store would take was not written by a host.
        let bytes = match store.get(&wanted.object.path).await {
            Err(error @ (crate::store::StoreError::Path { .. } | crate::store::StoreError::TooLarge { .. })) => {
                return Ok((wanted, by, 0, Err(error.to_string())));
            }
            read => read.map_err(failed("read an object"))?,
        };
        let length = bytes.as_ref().map_or(0, bytes::Bytes::len) as u64;
        Ok::<_, SurveyError>((wanted, by, length, wanted.check(job, bytes.as_deref())))
    });
    let mut reads = reads.buffered(READS_AT_ONCE);
    let mut found = Vec::new();
    while let Some((wanted, by, length, outcome)) = reads.try_next().await? {
        progress.objects += 1;
        progress.bytes = progress.bytes.saturating_add(length);
        watch(progress);
        if let Err(reason) = outcome {
            found.push((wanted, by, reason));
        }
    }
    let verdicts = verdicts(store, job, &manifests, &found).await?;
    let mut bad = Vec::new();
    for (wanted, by, reason) in found {
        let still = |place: &&usize| !matches!(verdicts[**place].1, CheckpointVerdict::Gone);
        let needed_by: Vec<Which> = by.iter().filter(still).map(|place| verdicts[*place].0.clone()).collect();
        if !needed_by.is_empty() {
            bad.push(BadObject { path: wanted.object.path.clone(), role: wanted.role(), reason, needed_by });
        }
    }
    Ok(Verified { verdicts, bad, objects: progress.objects, bytes: progress.bytes, left_out })
}

type Manifests = Vec<(Which, Result<Manifest, String>)>;

async fn every_manifest(store: &Store, job: &str) -> Result<(Manifests, usize), SurveyError> {
    let names = catalog::names(store, job).await?;
    let all = names.epochs.len() + names.savepoints.len();
    let epochs = names.epochs.into_iter().rev().take(MANIFESTS_MAX).map(Which::Epoch);
    let wanted: Vec<Which> = epochs.chain(names.savepoints.into_iter().take(MANIFESTS_MAX).map(Which::Savepoint)).collect();
    let left_out = all - wanted.len();
    let reads = futures::stream::iter(wanted).map(|which| async move {
        let read = catalog::read(store, job, &which).await?;
        Ok::<_, SurveyError>(read.map(|manifest| (which, manifest)))
    });
    let read: Vec<Option<_>> = reads.buffered(READS_AT_ONCE).try_collect().await?;
    Ok((read.into_iter().flatten().collect(), left_out))
}

/// An unreadable manifest is what is being looked for; one that is not there is an error.
async fn one_manifest(store: &Store, job: &str, choice: &Choice) -> Result<Manifests, SurveyError> {
    let names = catalog::names(store, job).await?;
    let which = match choice {
        Choice::Latest => names.epochs.last().copied().map(Which::Epoch),
        Choice::Epoch(epoch, _) if names.epochs.contains(epoch) => Some(Which::Epoch(*epoch)),
        Choice::Epoch(_, name) | Choice::Savepoint(name) => Some(Which::Savepoint(name.clone())),
    };
    if let Some(which) = which
        && let Some(manifest) = catalog::read(store, job, &which).await?
    {
        return Ok(vec![(which, manifest)]);
    }
    let chosen = choose(store, job, choice).await?;
    Ok(vec![(chosen.which, Ok(chosen.manifest))])
}

async fn verdicts(
    store: &Store,
    job: &str,
    manifests: &Manifests,
    found: &[(&Wanted<'_>, &Vec<usize>, String)],
) -> Result<Vec<(Which, CheckpointVerdict)>, SurveyError> {
    let mut verdicts = Vec::new();
    for (place, (which, manifest)) in manifests.iter().enumerate() {
        let verdict = match manifest {
            Err(reason) => CheckpointVerdict::Unreadable(reason.clone()),
            Ok(manifest) => {
                let objects = manifest.objects().count();
                let mine = || found.iter().filter(|(_, by, _)| by.contains(&place));
                match mine().count() {
                    0 => CheckpointVerdict::Sound { objects },
                    _ if catalog::read(store, job, which).await?.is_none() => CheckpointVerdict::Gone,
                    bad => CheckpointVerdict::Bad { objects, bad, unusable: mine().any(|(wanted, ..)| wanted.role() != Role::Quarantine) },
                }
            }
        };
        verdicts.push((which.clone(), verdict));
    }
    Ok(verdicts)
}
