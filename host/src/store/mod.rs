//! Objects by path, in a folder, a bucket or memory. The only module that names `object_store`.
//!
//! What is promised, whatever is behind:
//!
//! - [`Store::create`] is atomic: of any number of creators of one path, one gets [`Created::New`]. Nothing is ever overwritten. The
//!   one exception is an object above [`LARGE_BYTES`] in a bucket, see there.
//! - An object appears whole or not at all, and is durable when `create` returns. In a folder that means `fsync` of the file and of
//!   the folders above it.
//! - A read sees every create that returned before it began.
//! - Every call ends: each attempt has a time limit, and the attempts are counted ([`StoreLimits`]).
//!
//! It knows nothing of operators, checkpoints or what the bytes mean, and it verifies no checksums: that is for the layer that
//! wrote them.
//!
//! **Retries.** This module is the only one that retries; the client's own retries are switched off, because a conditional create
//! that a client repeats in silence may meet its own object. Parts of a large upload, which carry no condition, are repeated one by one
//! under the same limits.
//!
//! A host that is killed while it writes to a folder may leave a file `NAME#1` there: the unfinished object. It is never listed or
//! read, and may be removed by hand while no host runs.

mod bucket;
mod copy;
mod create;
mod delete;
mod error;
mod fault_injection;
mod folder;
mod handle;
mod limits;
mod listing;
mod open;
mod pages;
mod path;
mod probe;
mod read;
mod retry;
mod settings;
mod strays;
pub mod trouble;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod fake_s3;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

pub use copy::Copied;
pub use create::{Created, Creation};
pub use error::StoreError;
pub use fault_injection::{CallKind, Intercept, Interference, StorageCall};
pub use handle::Store;
pub use limits::{LARGE_BYTES, StoreLimits};
pub use pages::{PAGE_OBJECTS, PageEntry, Pages};
pub use read::Entry;
