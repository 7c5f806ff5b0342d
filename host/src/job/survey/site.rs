//! Where a job is kept: given by a topology file, of which only the text is read, or by a store and a name.

use super::error::SurveyError;
use crate::job::error::failed;
use crate::job::prepare::{TopologyFile, folder};
use crate::store::{self, Store};
use std::path::{Path, PathBuf};

/// Where a job is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// URL of the store.
    pub store: String,
    /// Relative URLs start here.
    pub base_dir: PathBuf,
    /// The job.
    pub job: String,
    /// Limits of the store.
    pub limits: store::StoreLimits,
}

/// The site that a topology file names. Its components and inputs may be missing.
///
/// # Errors
/// [`Error::Read`](crate::job::Error::Read) and [`Error::Topology`](crate::job::Error::Topology).
pub fn site_of(path: &Path) -> Result<Site, SurveyError> {
    let (topology, _) = TopologyFile::read(path)?;
    let settings = topology.checkpoint;
    let limits = store::StoreLimits { timeout: settings.timeout, retries: settings.retries, ..store::StoreLimits::default() };
    Ok(Site { store: settings.store, base_dir: folder(path), job: topology.name, limits })
}

impl Site {
    /// Opens the store, if there is one.
    ///
    /// # Errors
    /// [`SurveyError::NoJob`] where the folder is missing; failures of the store.
    pub async fn open(&self) -> Result<Store, SurveyError> {
        let opened = Store::open_existing(&self.store, &self.base_dir, &self.job, self.limits.clone()).await;
        let store = opened.map_err(failed("open the store"))?;
        store.ok_or_else(|| SurveyError::NoJob {
            job: self.job.clone(),
            store: self.store.clone(),
            help: "that folder does not exist; the first `reprise run` makes it. Relative paths start at the folder of the topology file, \
                   those of `--store` at the current folder"
                .into(),
        })
    }
}
