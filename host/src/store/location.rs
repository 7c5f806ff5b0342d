//! From the url of a store to its client.

use std::collections::BTreeMap;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;

use super::bucket::{self, Environment};
use super::folder::Folder;
use super::intercept::{Intercept, Intercepted};
use super::strays::Strays;
use super::trouble::{self, Trouble};
use super::{Limits, Store, StoreError, path};

/// Where objects are, and what is asked of them there.
pub struct Location {
    /// Their client.
    pub objects: Arc<dyn ObjectStore>,
    /// Segments before the job, joined by `/`; may be empty.
    pub prefix: String,
    /// For messages.
    pub shown: String,
    /// Bytes above which an object has to go up in parts.
    pub large_bytes: Option<usize>,
    /// The folder, where it is one.
    pub folder: Option<PathBuf>,
    /// What was passed over there.
    pub strays: Arc<Strays>,
}

/// See [`Store::open_with`]; `environment` says how buckets are reached.
pub async fn open(
    environment: &Environment,
    url: &str,
    base_dir: &FilePath,
    job: &str,
    limits: Limits,
    intercept: Option<Arc<dyn Intercept>>,
) -> Result<Store, StoreError> {
    let refused = |reason: String| StoreError::Config { location: url.to_owned(), reason };
    path::segment(job).map_err(|reason| refused(format!("the job's name `{job}` cannot be part of a path: {reason}")))?;
    let location = locate(environment, url, base_dir).await?;
    let prefix = if location.prefix.is_empty() { job.to_owned() } else { format!("{}/{job}", location.prefix) };
    let root = format!("{}/{job}", location.shown.trim_end_matches('/'));
    Ok(store(location, prefix, root, limits, intercept))
}

fn store(location: Location, prefix: String, root: String, limits: Limits, intercept: Option<Arc<dyn Intercept>>) -> Store {
    let Location { objects, large_bytes, folder, strays, .. } = location;
    let (objects, limits): (Arc<dyn ObjectStore>, Limits) = match intercept {
        Some(intercept) => {
            let limits = intercept.limits(limits);
            (Arc::new(Intercepted::new(objects, intercept, &prefix)), limits)
        }
        None => (objects, limits),
    };
    let large_bytes = limits.large_bytes.or(large_bytes);
    Store { objects, prefix, root, limits, large_bytes, folder: folder.map(Into::into), strays }
}

/// See [`Store::open_place_with`].
pub async fn open_place(
    environment: &Environment,
    url: &str,
    base_dir: &FilePath,
    limits: Limits,
    intercept: Option<Arc<dyn Intercept>>,
) -> Result<Store, StoreError> {
    let location = locate(environment, url, base_dir).await?;
    let (prefix, shown) = (location.prefix.clone(), location.shown.clone());
    Ok(store(location, prefix, shown, limits, intercept))
}

async fn locate(environment: &Environment, url: &str, base_dir: &FilePath) -> Result<Location, StoreError> {
    let refused = |reason: String| StoreError::Config { location: url.to_owned(), reason };
    match url.split_once(':') {
        Some(("file", rest)) => folder(rest, base_dir, url).await,
        Some(("memory", name)) => memory(name).map_err(refused),
        Some(("s3", rest)) => bucket::locate(rest, environment).map_err(refused),
        _ => Err(refused("it is none of `file:PATH`, `memory:NAME` and `s3://BUCKET/PREFIX`".to_owned())),
    }
}

/// As [`open`], but makes nothing; `None` where the folder is missing. See [`Store::open_existing`].
pub async fn open_existing(url: &str, base_dir: &FilePath, job: &str, limits: Limits) -> Result<Option<Store>, StoreError> {
    if let Some(rest) = url.strip_prefix("file:") {
        let folder = folder_path(rest, base_dir, url)?;
        if !folder.exists() {
            return Ok(None);
        }
        if !folder.is_dir() {
            return Err(StoreError::Config { location: url.to_owned(), reason: format!("`{}` is no folder", folder.display()) });
        }
    }
    open(&Environment::of_process(), url, base_dir, job, limits, None).await.map(Some)
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

async fn folder(rest: &str, base_dir: &FilePath, url: &str) -> Result<Location, StoreError> {
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
    let folder = std::fs::canonicalize(&folder).map_err(|error| refused(&error.to_string()))?;
    let strays = Arc::<Strays>::default();
    let objects = Arc::new(Folder::new(objects, folder.clone(), Arc::clone(&strays)));
    Ok(Location { objects, prefix: String::new(), shown, large_bytes: None, folder: Some(folder), strays })
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

/// All opens of one name in this process see the same objects.
fn memory(name: &str) -> Result<Location, String> {
    static NAMED: LazyLock<Mutex<BTreeMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    if !name.is_empty() {
        path::segment(name).map_err(|reason| format!("the name after `memory:` is not allowed: {reason}"))?;
    }
    // The map is whole even if a thread panicked beside it: an insert is its only change.
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    let objects = Arc::clone(named.entry(name.to_owned()).or_default());
    Ok(Location {
        objects,
        prefix: String::new(),
        shown: format!("memory:{name}"),
        large_bytes: None,
        folder: None,
        strays: Arc::default(),
    })
}
