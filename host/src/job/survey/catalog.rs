//! Every checkpoint and savepoint of a job, each in a line.

use super::error::SurveyError;
use super::parked::ParkedSummary;
use super::which::Which;
use super::{MANIFESTS_MAX, READS_AT_ONCE};
use crate::job::Error;
use crate::job::objects::read_manifest_at;
use crate::store::Store;
use futures::{StreamExt, TryStreamExt};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::is_replay_source;
use reprise_core::ids::{Epoch, Generation};

/// What a store holds of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    /// The newest checkpoints, newest first.
    pub checkpoints: Vec<CatalogEntry>,
    /// Older ones that were left out.
    pub older: usize,
    /// Savepoints, by name.
    pub savepoints: Vec<CatalogEntry>,
    /// Savepoints that were left out.
    pub more_savepoints: usize,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// Its epoch or name.
    pub which: Which,
    /// Its manifest.
    pub path: String,
    /// What its manifest says, or why that cannot be read.
    pub summary: Result<Summary, String>,
}

/// A manifest in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The epoch that it completes.
    pub epoch: Epoch,
    /// The run that wrote it.
    pub generation: Generation,
    /// When: milliseconds since 1970-01-01T00:00:00Z.
    pub written_ms: i64,
    /// The checkpoint before it.
    pub parent: Option<Epoch>,
    /// Instances of every node.
    pub workers: u32,
    /// Rows that the sources had read.
    pub rows: u64,
    /// Rows that sources and operators had refused.
    pub rejected: u64,
    /// Bytes of its snapshots.
    pub state_bytes: u64,
    /// Number of its snapshots.
    pub objects: usize,
    /// What waits for its operators, beside the state.
    pub parked: ParkedSummary,
    /// The input had ended.
    pub finished: bool,
    /// Written at the start of a run, with the state of its parent.
    pub taken_over: bool,
}

impl Summary {
    /// The summary of a manifest.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let instances = || manifest.operators.iter().flat_map(|o| &o.instances);
        let chains = || instances().flat_map(|i| &i.chain);
        let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
        Self {
            epoch: manifest.epoch,
            generation: manifest.generation,
            written_ms: manifest.written_ms,
            parent: manifest.parent,
            workers: manifest.workers,
            rows: sum(&mut manifest.sources.iter().filter(|s| !is_replay_source(&s.name)).map(|s| s.rows)),
            rejected: sum(&mut manifest.sources.iter().map(|s| s.rejected).chain(instances().map(|i| i.rejected))),
            state_bytes: sum(&mut chains().map(|object| object.bytes)),
            objects: chains().count(),
            parked: ParkedSummary::of_manifest(manifest),
            finished: manifest.finished,
            taken_over: manifest.taken_over,
        }
    }
}

/// Names and paths of what is there. The epochs are in order, oldest first.
pub(super) struct CatalogNames {
    pub epochs: Vec<Epoch>,
    pub savepoints: Vec<String>,
}

/// Lists manifests without reading them.
///
/// # Errors
/// [`SurveyError::NoJob`] where there is nothing of this job, not even a claim.
pub(super) async fn names(objects: &Store, job: &str) -> Result<CatalogNames, SurveyError> {
    let list = async |folder: &'static str, doing| objects.list(folder).await.map_err(|error| Error::Store { doing, error });
    let checkpoints = list(paths::CHECKPOINTS, "list checkpoints").await?;
    let savepoints = list(paths::SAVEPOINTS, "list savepoints").await?;
    let mut epochs: Vec<Epoch> = checkpoints.iter().filter_map(|entry| paths::manifest_epoch(&entry.path)).collect();
    epochs.sort_unstable();
    let savepoints: Vec<String> = savepoints.iter().filter_map(|entry| paths::savepoint_name(&entry.path).map(str::to_owned)).collect();
    if epochs.is_empty() && savepoints.is_empty() {
        let claims = list(paths::GENERATIONS, "list generations").await?;
        if !claims.iter().any(|entry| paths::claim_generation(&entry.path).is_some()) {
            let root = objects.root();
            return Err(SurveyError::NoJob {
                job: job.to_owned(),
                store: root.strip_suffix(job).map_or(root.as_str(), |store| store.trim_end_matches('/')).to_owned(),
                help: "nothing there was written by a run of that job: look at `store` and `name`, which must be those of the run".into(),
            });
        }
    }
    Ok(CatalogNames { epochs, savepoints })
}

/// Reads the manifests of the newest `limit` checkpoints and of as many savepoints; at most [`MANIFESTS_MAX`] of each.
///
/// # Errors
/// [`SurveyError::NoJob`], and failures of the store. A manifest that cannot be read is no error but an entry.
pub async fn catalog(objects: &Store, job: &str, limit: usize) -> Result<Catalog, SurveyError> {
    let limit = limit.min(MANIFESTS_MAX);
    let names = names(objects, job).await?;
    let checkpoints: Vec<Which> = names.epochs.iter().rev().take(limit).copied().map(Which::Epoch).collect();
    let savepoints: Vec<Which> = names.savepoints.iter().take(limit).cloned().map(Which::Savepoint).collect();
    Ok(Catalog {
        older: names.epochs.len() - checkpoints.len(),
        more_savepoints: names.savepoints.len() - savepoints.len(),
        checkpoints: entries(objects, job, checkpoints).await?,
        savepoints: entries(objects, job, savepoints).await?,
    })
}

async fn entries(objects: &Store, job: &str, wanted: Vec<Which>) -> Result<Vec<CatalogEntry>, SurveyError> {
    let reads = futures::stream::iter(wanted.into_iter().map(|which| async move {
        let path = which.path();
        let found = read(objects, job, &which).await?;
        Ok::<_, SurveyError>(found.map(|manifest| CatalogEntry {
            which,
            path,
            summary: manifest.as_ref().map(Summary::of).map_err(String::clone),
        }))
    }));
    // One that a sweep deleted since it was listed is no longer there.
    reads.buffered(READS_AT_ONCE).try_filter_map(async |entry| Ok(entry)).try_collect().await
}

/// Reads a manifest. `None`: it is not there. One of a newer host counts as unreadable.
pub(super) async fn read(objects: &Store, job: &str, which: &Which) -> Result<Option<Result<Manifest, String>>, SurveyError> {
    match read_manifest_at(objects, job, &which.path(), which.epoch()).await {
        Err(Error::Newer { path, error }) => Ok(Some(Err(format!("`{path}`: {error}")))),
        other => Ok(other?),
    }
}
