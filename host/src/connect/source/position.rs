//! Where a reader stands in a file, as text that people can read, and the check that the file is still the same.
//!
//! ```json
//! {"path":"corpus/a.txt","start":0,"end":67108864,"offset":4711,"size":90000000,"fingerprint":{"bytes":4096,"sha256":"..."}}
//! ```
//! Law: `start <= offset`; `start <= end <= size`. A split is finished when `offset >= end`; the last row of a range may lie across `end`.

use crate::connect::{ConnectError, SplitPosition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes from the start of a file that say whether it is still the same file.
pub const FINGERPRINT_BYTES: u64 = 4 << 10;

/// Stands for a length that is not known yet.
pub const UNKNOWN_BYTES: u64 = i64::MAX as u64;

/// Position in one split of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilePosition {
    /// Relative to the folder of the topology where it lies there.
    pub path: String,
    /// The split owns rows that start at or behind this byte...
    pub start: u64,
    /// ...and before this one; none while the file is followed.
    pub end: Option<u64>,
    /// All rows that start before it have been given out.
    pub offset: u64,
    /// Length of the file when it was listed; bytes behind it do not count. None while the file is followed.
    pub size: Option<u64>,
    /// What the file began with.
    pub fingerprint: Fingerprint,
    /// Length of the file when it was listed, where it is packed: then the other offsets count unpacked bytes, and where it ends shows only
    /// at the end ([`UNKNOWN_BYTES`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<u64>,
    /// The settings that say which rows the bytes are ([`super::decoder::Format::reads`]); none in positions of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<String>,
    /// The largest event time given out; none without `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_max: Option<i64>,
}

/// Digest of the first bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// How many bytes, at most [`FINGERPRINT_BYTES`].
    pub bytes: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Fingerprint {
    /// Of the first `bytes` bytes of a file, or of as many as it has.
    ///
    /// # Errors
    /// [`ConnectError::Io`].
    pub fn read(path: &Path, bytes: u64) -> Result<Self, ConnectError> {
        let file = File::open(path).map_err(ConnectError::io("open", path))?;
        let mut head = Vec::new();
        file.take(bytes.min(FINGERPRINT_BYTES)).read_to_end(&mut head).map_err(ConnectError::io("read", path))?;
        let sha256 = Sha256::digest(&head).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes: head.len() as u64, sha256 })
    }
}

impl FilePosition {
    /// Reads a position back.
    ///
    /// # Errors
    /// [`ConnectError::Corrupt`] where it cannot have been written here.
    pub fn parse(split: &SplitPosition) -> Result<Self, ConnectError> {
        let corrupt = |why: String| ConnectError::Corrupt {
            what: format!("the position of split `{}` cannot be used: {why}", split.split.escape_debug()),
            help: "take up an older checkpoint, or start the job anew with an empty checkpoint store".to_owned(),
        };
        let position: Self = serde_json::from_str(&split.position).map_err(|error| corrupt(error.to_string()))?;
        let legal = position.start <= position.offset
            && position.end.is_none_or(|end| position.start <= end)
            && position.size.is_none_or(|size| position.end.is_some_and(|end| end <= size) && position.offset <= size)
            && position.fingerprint.bytes <= FINGERPRINT_BYTES;
        if !legal {
            return Err(corrupt("its offsets contradict each other".to_owned()));
        }
        if position.id() != split.split {
            return Err(corrupt(format!("it belongs to split `{}`", position.id().escape_debug())));
        }
        Ok(position)
    }

    /// Identity of the split.
    pub fn id(&self) -> String {
        format!("{}@{}", self.path, self.start)
    }

    /// For a checkpoint.
    pub fn to_split(&self) -> SplitPosition {
        let position = serde_json::to_string(self).expect("numbers and text are JSON");
        SplitPosition { split: self.id(), position }
    }

    /// True where no row is left.
    pub fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.offset >= end)
    }

    /// Checks that the file still is what it was.
    ///
    /// # Errors
    /// [`ConnectError::Changed`] where it is shorter or begins otherwise, [`ConnectError::Missing`] where it is gone.
    pub fn verify(&self, path: &Path) -> Result<u64, ConnectError> {
        let changed = |what: String| ConnectError::Changed { path: path.to_path_buf(), offset: self.offset, what };
        let length_bytes = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ConnectError::Missing {
                    what: format!("input `{}` has gone; it had been read up to offset {}", path.display(), self.offset),
                    help: "put the file back, or start the job anew with an empty checkpoint store".to_owned(),
                });
            }
            Err(error) => return Err(ConnectError::io("look at", path)(error)),
        };
        let known = self.packed.unwrap_or_else(|| self.size.unwrap_or(0).max(self.offset));
        if length_bytes < known {
            return Err(changed(format!("it has {length_bytes} bytes, but had at least {known}: it was truncated or replaced")));
        }
        if Fingerprint::read(path, self.fingerprint.bytes)? != self.fingerprint {
            return Err(changed(format!("its first {} bytes are others: it was replaced", self.fingerprint.bytes)));
        }
        Ok(length_bytes)
    }
}
