//! Bytes at rest: frames, manifests, claims, snapshots, quarantine files, parked input.
//!
//! Every stored object is a sequence of [`frame`]s. Small records inside frames are bincode 2 (standard configuration, with a byte limit);
//! cells and rows are raw columns. What is read is verified before it is trusted: magic, kind, version, length, checksum, then the
//! checked constructors of the types themselves. Old versions are read for ever; `docs/formats.md` describes the bytes.

pub mod frame;
pub mod parked;
pub mod record;
pub mod snapshot;

use crate::columns::ColumnError;

/// The checksum of a whole object: XXH3-64 of its bytes.
#[must_use]
pub fn checksum(object: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(object)
}

/// [`checksum`] of bytes that come piece by piece.
#[derive(Default)]
pub struct Checksum(xxhash_rust::xxh3::Xxh3Default);

impl Checksum {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The checksum of all pieces so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.0.digest()
    }
}

/// Why stored bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than the format needs.
    #[error("truncated: {what} needs {needed} bytes, {found} are there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are left.
        found: u64,
    },
    /// Not a file of ours.
    #[error("not a Reprise object: it starts with {found:02x?}")]
    Magic {
        /// The bytes in place of the magic.
        found: [u8; 8],
    },
    /// A frame of another kind than expected.
    #[error("a frame of kind {found} where kind {expected} belongs")]
    Kind {
        /// The kind that belongs here.
        expected: u16,
        /// The kind that is here.
        found: u16,
    },
    /// Written by a newer host.
    #[error("format version {found}; this host reads up to {max}: use a newer host")]
    Version {
        /// The version found.
        found: u16,
        /// The newest version known.
        max: u16,
    },
    /// A length over its limit.
    #[error("{what} claims {claimed} bytes; at most {max} are allowed")]
    Limit {
        /// What is too long.
        what: &'static str,
        /// The length it claims.
        claimed: u64,
        /// The limit.
        max: u64,
    },
    /// The checksum does not fit the bytes.
    #[error("checksum mismatch: {expected:016x} is written, the bytes give {found:016x}")]
    Checksum {
        /// The checksum written.
        expected: u64,
        /// The checksum of the bytes.
        found: u64,
    },
    /// Sound bytes with an impossible meaning.
    #[error("{0}")]
    Content(String),
}

impl From<ColumnError> for CodecError {
    fn from(error: ColumnError) -> Self {
        Self::Content(error.to_string())
    }
}
