//! What makes a file this file: what the file system says of it, and digests of what it holds.
//!
//! A file is its inode and its time of birth. Where the file system keeps no such time, an inode number may be used again for another file:
//! then the device is part of it, and contents decide. Names decide only where the folder itself is another one.

use reprise_core::codec::checksum;
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Bytes at the start of a file, and before an offset, that a [`print_at`] covers: so many each.
const PRINT_BYTES: u64 = 4 << 10;

/// A file or folder, by what the file system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileId {
    /// Number of the device; another one after a restart of the machine, perhaps.
    pub dev: u64,
    /// Number of the inode.
    pub ino: u64,
    /// When the file was made, in nanoseconds since 1970; none where the file system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<i64>,
}

impl FileId {
    /// What a file is known by: of inode and birth, or of inode and device where there is no birth.
    pub fn key(&self) -> u64 {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&self.ino.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.born.unwrap_or(self.dev as i64).to_le_bytes());
        bytes[16] = u8::from(self.born.is_some());
        checksum(&bytes)
    }
}

/// What one look at a file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub id: FileId,
    pub len: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub changed: i64,
}

impl Look {
    /// From what the file system says.
    pub fn of(metadata: &Metadata) -> Self {
        let nanos =
            |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_nanos()).ok());
        let born = metadata.created().ok().and_then(nanos).filter(|born| *born > 0);
        let changed = metadata.modified().ok().and_then(nanos).unwrap_or(0);
        Self { id: FileId { dev: metadata.dev(), ino: metadata.ino(), born }, len: metadata.len(), changed }
    }

    /// At a path; links are followed.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::of(&metadata))
    }
}

/// Of length and time of change, short: where it is the same, the contents need not be read to see that they are.
pub fn stamp(len: u64, changed: i64) -> u32 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&len.to_le_bytes());
    bytes[8..].copy_from_slice(&changed.to_le_bytes());
    checksum(&bytes) as u32
}

/// Digest of the offset, of the first bytes of a file and of those right before the offset. `None` where the file ends before it.
pub fn print_at(file: &File, offset: u64) -> io::Result<Option<u64>> {
    let near = offset.min(PRINT_BYTES) as usize;
    let mut bytes = vec![0; 8 + 2 * near];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    let (head, tail) = bytes[8..].split_at_mut(near);
    for (part, at) in [(head, 0), (tail, offset - near as u64)] {
        match file.read_exact_at(part, at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(checksum(&bytes)))
}

/// The same, of the file at a path.
pub fn print_of(path: &Path, offset: u64) -> io::Result<Option<u64>> {
    print_at(&File::open(path)?, offset)
}

/// True where a file holds what another one begins with, as far as can be told from its beginning and its end. Both may grow meanwhile.
pub fn is_beginning(part: &Path, whole: &Path) -> io::Result<bool> {
    let (part, whole) = (File::open(part)?, File::open(whole)?);
    let len = part.metadata()?.len();
    Ok(len > 0 && print_at(&part, len)? == print_at(&whole, len)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_covers_the_head_and_what_is_near_the_offset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut bytes = vec![b'x'; 20_000];
        let print = |bytes: &[u8], offset| {
            std::fs::write(&path, bytes).unwrap();
            print_of(&path, offset).unwrap()
        };
        let before = print(&bytes, 15_000);
        assert!(before.is_some() && before != print(&bytes, 14_999));
        assert_eq!(print(&bytes, 20_001), None);
        bytes[15_000] = b'y';
        assert_eq!(print(&bytes, 15_000), before, "what comes after the offset does not count");
        for at in [0, 4_095, 10_904, 14_999] {
            let mut other = bytes.clone();
            other[at] = b'y';
            assert_ne!(print(&other, 15_000), before, "{at}");
        }
    }

    #[test]
    fn a_file_keeps_its_key_under_another_name_and_a_copy_has_another() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "1\n").unwrap();
        let key = Look::at(&a).unwrap().id.key();
        std::fs::copy(&a, &b).unwrap();
        assert_ne!(Look::at(&b).unwrap().id.key(), key);
        std::fs::rename(&a, &b).unwrap();
        assert_eq!(Look::at(&b).unwrap().id.key(), key);
    }
}
