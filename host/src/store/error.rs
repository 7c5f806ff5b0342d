//! What a store answers when it cannot do as asked.

use std::time::Duration;

/// The error of a storage call. Each message names the object in full and ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Every attempt failed. A create may have happened all the same. Trying again later may help.
    #[error("cannot {action} {object}: {attempts} attempts failed\n  help: {help}")]
    Unavailable {
        /// What was tried: `read`, `create`, ...
        action: &'static str,
        /// The object in full.
        object: String,
        /// How often.
        attempts: u32,
        /// What to do.
        help: String,
        /// The last failure.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The last attempt took longer than its limit. A create may have happened all the same. Trying again later may help.
    #[error(
        "cannot {action} {object}: attempt {attempts} took longer than {} s\n  help: look whether the store hangs, or allow it more time",
        .limit.as_secs_f32()
    )]
    Timeout {
        /// What was tried.
        action: &'static str,
        /// The object in full.
        object: String,
        /// How often.
        attempts: u32,
        /// The limit of that attempt.
        limit: Duration,
    },
    /// The store forbids it. It will until someone changes its rights.
    #[error("not allowed to {action} {object}\n  help: {help}")]
    Denied {
        /// What was tried.
        action: &'static str,
        /// The object in full.
        object: String,
        /// What to do.
        help: &'static str,
        /// What the store said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store does not create atomically: two hosts could both believe that they own the job.
    #[error(
        "{root} cannot hold a job: {finding}\n  help: use a store that refuses to create an object that exists (S3 since 2024, a local file system with hard links)"
    )]
    NotAtomic {
        /// The store's root.
        root: String,
        /// What the probe saw.
        finding: String,
    },
    /// The object is longer than the limit.
    #[error(
        "cannot {action} {object}: it has {bytes} bytes, more than {bytes_max}\n  help: raise the limit of the store if the object is meant to be that long"
    )]
    TooLarge {
        /// What was tried.
        action: &'static str,
        /// The object in full.
        object: String,
        /// Its length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A list is longer than the limit.
    #[error("{prefix} holds more than {objects_max} objects\n  help: remove what does not belong there, or raise the limit of the store")]
    TooMany {
        /// What was listed.
        prefix: String,
        /// The limit.
        objects_max: usize,
    },
    /// A path that is not allowed: the fault of the caller.
    #[error("cannot {action} {object}: the path is not allowed: {reason}")]
    Path {
        /// What was tried.
        action: &'static str,
        /// The object in full.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The location cannot be used as it is written, or does not exist.
    #[error("the store `{location}` cannot be used: {reason}")]
    Config {
        /// The url of the store.
        location: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

impl StoreError {
    /// True where the same call may succeed later without anyone changing anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, StoreError::Unavailable { .. } | StoreError::Timeout { .. })
    }
}
