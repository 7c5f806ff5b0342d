//! From the url of a store to its handle.

use std::collections::BTreeMap;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use super::bucket::{self, BucketEnvironment};
use super::error::StoreError;
use super::fault_injection::{Intercept, Intercepted};
use super::folder::Folder;
use super::handle::Store;
use super::limits::StoreLimits;
use super::path;
use super::strays::Strays;
use super::trouble::{self, Trouble};

impl Store {
    /// Opens the store of the job `job` at `url`, and makes the folder if it is one.
    ///
    /// | `url` | where |
    /// |---|---|
    /// | `file:./state`, `file:state` | a folder, relative to `base_dir` |
    /// | `file:/abs/state`, `file:///abs/state` | a folder |
    /// | `memory:`, `memory:NAME` | this process; every open of the same name sees the same objects |
    /// | `s3://BUCKET`, `s3://BUCKET/PREFIX` | a bucket; endpoint, region, credentials and addressing from the usual `AWS_*` variables |
    ///
    /// # Errors
    /// [`StoreError::Config`] if the url, the job's name or the variables that describe a bucket cannot be used, [`StoreError::Denied`] or [`StoreError::Unavailable`] if
    /// the folder cannot be made. A bucket is not contacted: that is for [`Store::probe`].
    pub async fn open(url: &str, base_dir: &FilePath, job: &str, limits: StoreLimits) -> Result<Self, StoreError> {
        Self::open_with(url, base_dir, job, limits, None).await
    }

    /// Opens the store of a job as [`open`](Self::open) does, with an intercept that may interfere with each call: to see what a job makes of faults.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        url: &str,
        base_dir: &FilePath,
        job: &str,
        limits: StoreLimits,
        intercept: Option<Arc<dyn Intercept>>,
    ) -> Result<Self, StoreError> {
        Self::open_at(&BucketEnvironment::of_process(), url, base_dir, Some(job), (limits, intercept)).await
    }

    /// Opens the store of a job as [`open`](Self::open) does, with variables that are given instead of those of the process: for processes that reach several buckets.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with_variables(
        url: &str,
        base_dir: &FilePath,
        job: &str,
        limits: StoreLimits,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        Self::open_at(&BucketEnvironment::new(variables), url, base_dir, Some(job), (limits, None)).await
    }

    /// Opens the place at `url` itself, without a job: for output. Otherwise as [`Store::open`].
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_place(url: &str, base_dir: &FilePath, limits: StoreLimits) -> Result<Self, StoreError> {
        Self::open_place_with(url, base_dir, limits, None).await
    }

    /// Opens a place as [`open_place`](Self::open_place) does, with an intercept that may interfere with each call.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_place_with(
        url: &str,
        base_dir: &FilePath,
        limits: StoreLimits,
        intercept: Option<Arc<dyn Intercept>>,
    ) -> Result<Self, StoreError> {
        Self::open_at(&BucketEnvironment::of_process(), url, base_dir, None, (limits, intercept)).await
    }

    /// Opens the store of a job, or the place itself where there is none.
    async fn open_at(
        environment: &BucketEnvironment,
        url: &str,
        base_dir: &FilePath,
        job: Option<&str>,
        (mut limits, intercept): (StoreLimits, Option<Arc<dyn Intercept>>),
    ) -> Result<Self, StoreError> {
        if let Some(job) = job {
            let refused = |reason| format!("the job's name `{job}` cannot be part of a path: {reason}");
            path::segment(job).map_err(|reason| StoreError::Config { location: url.to_owned(), reason: refused(reason) })?;
        }
        let mut store = locate(environment, url, base_dir).await?;
        if let Some(job) = job {
            store.prefix = if store.prefix.is_empty() { job.to_owned() } else { format!("{}/{job}", store.prefix) };
            store.root = format!("{}/{job}", store.root.trim_end_matches('/'));
        }
        if let Some(intercept) = intercept {
            limits = intercept.limits(limits);
            store.objects = Arc::new(Intercepted::new(store.objects, intercept, &store.prefix));
        }
        let large_bytes = limits.large_bytes.or(store.large_bytes);
        Ok(Self { limits, large_bytes, ..store })
    }

    /// The place at a url of a bucket on a server of the tests.
    #[cfg(test)]
    pub(crate) async fn open_fake(url: &str, server: &super::fake_s3::FakeS3, limits: StoreLimits) -> Self {
        let environment = BucketEnvironment::new(server.variables());
        Self::open_at(&environment, url, FilePath::new("."), None, (limits, None)).await.expect("it is set up")
    }

    /// Opens the store of a job as [`Store::open`] does, for readers: a folder that is missing is not made, and gives nothing.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::Config`] where a file lies in the place of the folder.
    pub async fn open_existing(url: &str, base_dir: &FilePath, job: &str, limits: StoreLimits) -> Result<Option<Self>, StoreError> {
        if let Some(rest) = url.strip_prefix("file:") {
            let folder = folder_path(rest, base_dir, url)?;
            if !folder.exists() {
                return Ok(None);
            }
            if !folder.is_dir() {
                return Err(StoreError::Config { location: url.to_owned(), reason: format!("`{}` is no folder", folder.display()) });
            }
        }
        Self::open(url, base_dir, job, limits).await.map(Some)
    }
}

async fn locate(environment: &BucketEnvironment, url: &str, base_dir: &FilePath) -> Result<Store, StoreError> {
    let refused = |reason: String| StoreError::Config { location: url.to_owned(), reason };
    match url.split_once(':') {
        Some(("file", rest)) => folder(rest, base_dir, url).await,
        Some(("memory", name)) => memory(name).map_err(refused),
        Some(("s3", rest)) => bucket::locate(rest, environment).map_err(refused),
        _ => Err(refused("it is none of `file:PATH`, `memory:NAME` and `s3://BUCKET/PREFIX`".to_owned())),
    }
}

fn folder_path(rest: &str, base_dir: &FilePath, url: &str) -> Result<PathBuf, StoreError> {
    let refused = |reason: &str| StoreError::Config { location: url.to_owned(), reason: reason.to_owned() };
    let given = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(refused("it names a host; write `file:./PATH` or `file:///PATH`")),
        None => rest,
    };
    if given.is_empty() {
        return Err(refused("it names no folder; write `file:./PATH` or `file:///PATH`"));
    }
    Ok(base_dir.join(given).components().filter(|part| !matches!(part, Component::CurDir)).collect())
}

async fn folder(rest: &str, base_dir: &FilePath, url: &str) -> Result<Store, StoreError> {
    let refused = |reason: &str| StoreError::Config { location: url.to_owned(), reason: reason.to_owned() };
    let folder = folder_path(rest, base_dir, url)?;
    if folder.exists() && !folder.is_dir() {
        return Err(refused(&format!(
            "`{}` is a file, where a folder should be\n  help: move it away, or name another store",
            folder.display()
        )));
    }
    make_folder(&folder).await.map_err(|error| {
        let (action, object) = ("create the folder", folder.display().to_string());
        match trouble::of(&error) {
            Some(trouble) if trouble.is_refusal => StoreError::Denied { action, object, help: trouble.help, source: error.into() },
            Some(trouble) if !trouble.is_passing => refused(&format!("cannot create the folder {object}: {}", trouble.advice())),
            known => {
                let help = known.map_or("look at the cause, which follows".to_owned(), Trouble::advice);
                StoreError::Unavailable { action, object, attempts: 1, help, source: error.into() }
            }
        }
    })?;
    let objects = LocalFileSystem::new_with_prefix(&folder).map_err(|error| refused(&error.to_string()))?.with_fsync(true);
    let shown = format!("file:{}", folder.display());
    let folder: Arc<FilePath> = std::fs::canonicalize(&folder).map_err(|error| refused(&error.to_string()))?.into();
    let strays = Arc::<Strays>::default();
    let objects = Arc::new(Folder::new(objects, folder.to_path_buf(), Arc::clone(&strays)));
    Ok(Store { folder: Some(folder), strays, ..Store::new(objects, shown) })
}

/// Makes a folder with all above it, so that it is still there after a power failure.
async fn make_folder(folder: &FilePath) -> std::io::Result<()> {
    let missing: Vec<&FilePath> = folder.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    tokio::fs::create_dir_all(folder).await?;
    for created in missing {
        // The entry of a folder lies in the one above. A relative path ends in "", which means the current folder.
        let above = created.parent().filter(|above| *above != FilePath::new("")).unwrap_or(FilePath::new("."));
        tokio::fs::File::open(above).await?.sync_all().await?;
    }
    Ok(())
}

/// The location of a store in memory: all opens of one name in this process see the same objects.
fn memory(name: &str) -> Result<Store, String> {
    static NAMED: LazyLock<Mutex<BTreeMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    if !name.is_empty() {
        path::segment(name).map_err(|reason| format!("the name after `memory:` is not allowed: {reason}"))?;
    }
    // The map is whole even if a thread panicked beside it: an insert is its only change.
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    let objects: Arc<InMemory> = Arc::clone(named.entry(name.to_owned()).or_default());
    Ok(Store::new(objects, format!("memory:{name}")))
}
