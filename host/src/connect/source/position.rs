//! Where a reader stands in a file, as text that people can read, and the check that the file is still the same.
//!
//! ```json
//! {"path":"corpus/a.txt","start":0,"end":67108864,"offset":4711,"size":90000000,"fingerprint":{"bytes":4096,"sha256":"..."},
//!  "near":"93f0c4a1d2b35e67","file":{"dev":1,"ino":2,"born":3}}
//! ```
//! `near` and `file` are missing in positions that older hosts wrote.
//!
//! Law: `start <= offset`; `start <= end <= size`. A split is finished when `offset >= end`; the last row of a range may lie across `end`.

use super::identity::{FileId, print_of};
use crate::connect::{ConnectError, SourceSplit};
use reprise_core::ids::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes from the start of a file that say whether it is still the same file.
pub const FINGERPRINT_BYTES: u64 = 4 << 10;

/// Stands for a length that is not known yet.
pub const UNKNOWN_BYTES: u64 = i64::MAX as u64;

/// Truncations of one file that are remembered, the latest.
pub const CUTS_MAX: usize = 8;

/// Position in one split of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What the file began with; of no bytes where `near` says it.
    #[serde(default, skip_serializing_if = "Fingerprint::is_none")]
    pub fingerprint: Fingerprint,
    /// Digest of what comes before `offset`, see [`super::identity::print_at`]; in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<String>,
    /// Which file it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileId>,
    /// While the file is followed: its length when it was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// Identity of the split, where path and start do not give it: the file has another name than at first, or another file had it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
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
    /// While the file is followed: what had been read of it when it was truncated lately. A copy of that which another reader got goes on
    /// behind it, although this position is from before the checkpoint that knows of the copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<CutPosition>,
}

/// How far a file had been read when it was truncated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CutPosition {
    /// All rows that started before it had been given out.
    pub offset: u64,
    /// Digest of what came before it, as [`FilePosition::near`].
    pub near: String,
}

impl CutPosition {
    /// With the digest as a number; none where it is no digest.
    pub fn parts(&self) -> Option<(u64, u64)> {
        Some((self.offset, u64::from_str_radix(&self.near, 16).ok()?))
    }
}

impl From<(u64, u64)> for CutPosition {
    fn from((offset, print): (u64, u64)) -> Self {
        Self { offset, near: format!("{print:016x}") }
    }
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

impl Default for Fingerprint {
    /// Of no bytes.
    fn default() -> Self {
        Self::of(&[])
    }
}

impl Fingerprint {
    fn of(head: &[u8]) -> Self {
        Self { bytes: head.len() as u64, sha256: Digest(Sha256::digest(head).into()).to_string() }
    }

    fn is_none(&self) -> bool {
        self.bytes == 0
    }

    /// Of the first `bytes` bytes of a file, or of as many as it has.
    ///
    /// # Errors
    /// [`ConnectError::Io`].
    pub fn read(path: &Path, bytes: u64) -> Result<Self, ConnectError> {
        Ok(Self::of(&head_of(path, bytes.min(FINGERPRINT_BYTES))?))
    }
}

/// The first bytes of a file, so many or as many as it has.
///
/// # Errors
/// [`ConnectError::Io`].
pub fn head_of(path: &Path, bytes: u64) -> Result<Vec<u8>, ConnectError> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(ConnectError::io("open", path))?;
    file.take(bytes).read_to_end(&mut head).map_err(ConnectError::io("read", path))?;
    Ok(head)
}

impl FilePosition {
    /// Reads a position back.
    ///
    /// # Errors
    /// [`ConnectError::Corrupt`] where it cannot have been written here.
    pub fn parse(split: &SourceSplit) -> Result<Self, ConnectError> {
        let corrupt = |why: String| split.corrupt(&why);
        let position: Self = serde_json::from_str(&split.position).map_err(|error| corrupt(error.to_string()))?;
        let legal = position.start <= position.offset
            && position.end.is_none_or(|end| position.start <= end)
            && position.size.is_none_or(|size| position.end.is_some_and(|end| end <= size) && position.offset <= size)
            && position.fingerprint.bytes <= FINGERPRINT_BYTES
            && position.near.as_ref().is_none_or(|_| position.print().is_some())
            && position.cuts.len() <= CUTS_MAX
            && position.cuts.iter().all(|cut| cut.offset > 0 && cut.parts().is_some())
            && position.split.as_ref().is_none_or(|split| split.contains('@'));
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
        self.split.clone().unwrap_or_else(|| format!("{}@{}", self.path, self.start))
    }

    /// The digest near the offset.
    pub fn print(&self) -> Option<u64> {
        self.near.as_deref().and_then(|near| u64::from_str_radix(near, 16).ok())
    }

    /// The digest near the offset, where something was read before it.
    pub fn print_read(&self) -> Option<u64> {
        self.print().filter(|_| self.offset > 0)
    }

    /// Sets the digest near the offset.
    pub fn set_print(&mut self, print: Option<u64>) {
        self.near = print.map(|print| format!("{print:016x}"));
    }

    /// The file is read from its start; the split stays the same.
    pub fn restart(&mut self) {
        self.split = Some(self.id());
        (self.start, self.offset, self.near) = (0, 0, None);
        // Nothing of it has been seen as it is now.
        self.seen = self.seen.map(|_| 0);
        self.fingerprint = Fingerprint::default();
        self.split.take_if(|split| *split == format!("{}@0", self.path));
    }

    /// The file has another name from here on; the split stays the same.
    pub fn rename(&mut self, path: &str) {
        if self.path != path {
            self.split = Some(self.id());
            self.path = path.to_owned();
            self.split.take_if(|split| *split == format!("{}@{}", self.path, self.start));
        }
    }

    /// For a checkpoint.
    pub fn to_split(&self) -> SourceSplit {
        let position = serde_json::to_string(self).expect("numbers and text are JSON");
        SourceSplit { split: self.id(), position }
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
        let Some(metadata) = ConnectError::unless_absent(std::fs::metadata(path), "look at", path)? else {
            let what = format!("input `{}` has gone; it had been read up to offset {}", path.display(), self.offset);
            return Err(ConnectError::missing(what, "put the file back, or start the job anew with an empty checkpoint store"));
        };
        let length_bytes = metadata.len();
        let known = self.packed.unwrap_or_else(|| self.size.unwrap_or(0).max(self.offset));
        if length_bytes < known {
            return Err(changed(format!("it has {length_bytes} bytes, but had at least {known}: it was truncated or replaced")));
        }
        if Fingerprint::read(path, self.fingerprint.bytes)? != self.fingerprint {
            return Err(changed(format!("its first {} bytes are others: it was replaced", self.fingerprint.bytes)));
        }
        if let Some(print) = self.print_read()
            && print_of(path, self.offset).map_err(ConnectError::io("read", path))? != Some(print)
        {
            return Err(changed(format!("what comes before byte {} is not what was read there: it was rewritten", self.offset)));
        }
        Ok(length_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As hosts wrote positions before they held which file it is.
    #[test]
    fn positions_of_older_hosts_are_read() {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, id, done) in [
            (r#"{"path":"in/a.txt","start":0,"end":8,"offset":4,"size":9,"fingerprint":{"bytes":9,"sha256":"D"}}"#, "in/a.txt@0", false),
            (
                r#"{"path":"in/a.txt","start":8,"end":9,"offset":9,"size":9,"fingerprint":{"bytes":9,"sha256":"D"},"time_max":-5}"#,
                "in/a.txt@8",
                true,
            ),
            (
                r#"{"path":"in/a.log","start":0,"end":null,"offset":4,"size":null,"fingerprint":{"bytes":4,"sha256":"D"}}"#,
                "in/a.log@0",
                false,
            ),
        ] {
            let text = text.replace('D', digest);
            let split = SourceSplit { split: id.to_owned(), position: text.clone() };
            let position = FilePosition::parse(&split).unwrap();
            assert_eq!((position.is_done(), position.to_split().position.as_str()), (done, text.as_str()));
        }
    }

    #[test]
    fn a_split_keeps_its_identity_under_another_name() {
        let text = r#"{"path":"a","start":0,"end":null,"offset":4,"size":null}"#;
        let mut position = FilePosition::parse(&SourceSplit { split: "a@0".into(), position: text.into() }).unwrap();
        position.rename("b");
        position.set_print(Some(7));
        assert_eq!((position.id().as_str(), position.print()), ("a@0", Some(7)));
        assert_eq!(FilePosition::parse(&position.to_split()).unwrap(), position);
        position.rename("a");
        assert_eq!((position.id().as_str(), position.split.as_deref()), ("a@0", None));
    }
}
