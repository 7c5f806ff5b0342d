//! From the url of a store to its client.

use std::collections::BTreeMap;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::{LARGE_BYTES, Limits, Store, StoreError, path};

/// Time to reach a server; an attempt's own limit covers the rest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where objects are, and what is asked of them there.
struct Location {
    objects: Arc<dyn ObjectStore>,
    /// Segments before the job, joined by `/`; may be empty.
    prefix: String,
    shown: String,
    large_bytes: Option<usize>,
}

/// See [`Store::open`].
pub async fn open(url: &str, base_dir: &FilePath, job: &str, limits: Limits) -> Result<Store, StoreError> {
    open_with(url, base_dir, job, limits, variables()).await
}

/// As [`open`], with the variables that set up a bucket.
pub async fn open_with(
    url: &str,
    base_dir: &FilePath,
    job: &str,
    limits: Limits,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Store, StoreError> {
    let refused = |reason: String| StoreError::Config { location: url.to_owned(), reason };
    path::segment(job).map_err(|reason| refused(format!("the job's name `{job}` cannot be part of a path: {reason}")))?;
    let location = match url.split_once(':') {
        Some(("file", rest)) => folder(rest, base_dir, url).await?,
        Some(("memory", name)) => memory(name).map_err(refused)?,
        Some(("s3", rest)) => bucket(rest, variables).map_err(refused)?,
        _ => return Err(refused("it is none of `file:PATH`, `memory:NAME` and `s3://BUCKET/PREFIX`".to_owned())),
    };
    let prefix = if location.prefix.is_empty() { job.to_owned() } else { format!("{}/{job}", location.prefix) };
    let root = format!("{}/{job}", location.shown.trim_end_matches('/'));
    Ok(Store { objects: location.objects, prefix, root, limits, large_bytes: location.large_bytes })
}

/// The variables of the process that are text; others are none of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
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
    open(url, base_dir, job, limits).await.map(Some)
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
    make_folder(&folder).await.map_err(|error| {
        let (action, object) = ("create the folder", folder.display().to_string());
        match error.kind() {
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::Denied { action, object, source: error.into() }
            }
            _ => StoreError::Unavailable { action, object, attempts: 1, source: error.into() },
        }
    })?;
    let objects = LocalFileSystem::new_with_prefix(&folder).map_err(|error| refused(&error.to_string()))?.with_fsync(true);
    Ok(Location { objects: Arc::new(objects), prefix: String::new(), shown: format!("file:{}", folder.display()), large_bytes: None })
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
    Ok(Location { objects, prefix: String::new(), shown: format!("memory:{name}"), large_bytes: None })
}

/// A bucket, set up by variables as `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, ... Names are those of the client library.
fn bucket(rest: &str, variables: impl Iterator<Item = (String, String)>) -> Result<Location, String> {
    let Some(rest) = rest.strip_prefix("//") else {
        return Err("write `s3://BUCKET/PREFIX`".to_owned());
    };
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    if bucket.is_empty() || !bucket.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)) {
        return Err(format!("`{bucket}` is no name of a bucket"));
    }
    if !prefix.is_empty() {
        path::check(prefix).map_err(|reason| format!("the prefix after the bucket is not allowed: {reason}"))?;
    }
    // Ours is the only retry, and the only limit on time: see the head of the module.
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::MAX };
    let client = ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_TIMEOUT);
    let mut builder = AmazonS3Builder::new().with_client_options(client);
    for (name, value) in variables.filter(|(name, _)| name.starts_with("AWS_")) {
        let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else { continue };
        if matches!(key, AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint) && value.starts_with("http://") {
            builder = builder.with_allow_http(true);
        }
        builder = builder.with_config(key, value);
    }
    let objects = builder
        .with_bucket_name(bucket)
        .with_retry(retry)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Objects are deleted one at a time; the bulk call is missing from some servers.
        .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true")
        .build()
        .map_err(|error| format!("{error}\n  help: set the variables AWS_REGION, AWS_ENDPOINT_URL and the credentials"))?;
    let shown = if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
    Ok(Location { objects: Arc::new(objects), prefix: prefix.to_owned(), shown, large_bytes: Some(LARGE_BYTES) })
}
