//! What the handles of the virtual WASI stand for: streams, waits, errors, open files and folders that are read.

use std::collections::VecDeque;
use std::fs::{File, FileType};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

/// The error of a stream.
pub struct IoError {
    /// What the file system said.
    pub(super) kind: io::ErrorKind,
}

/// An event that a guest may wait for.
pub enum Pollable {
    /// It has happened.
    Ready,
    /// An instant of the monotonic clock, in nanoseconds.
    At(u64),
}

impl Pollable {
    /// The instant at which it happens; 0 where it has happened.
    pub(super) fn instant_ns(&self) -> u64 {
        if let Self::At(instant) = self { *instant } else { 0 }
    }
}

/// A stream that a guest reads.
pub enum InputStream {
    /// Standard input.
    Empty,
    /// A file, and where reading goes on.
    File {
        /// The file.
        file: Arc<File>,
        /// Offset of the next byte.
        at: u64,
    },
}

/// A stream that a guest writes.
#[derive(Debug, Clone, Copy)]
pub enum OutputStream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// An open file or folder.
pub struct Descriptor {
    /// The path where the guest sees it.
    pub(super) guest: String,
    pub(super) opened: DescriptorTarget,
}

/// The file or folder that a descriptor stands for.
pub(super) enum DescriptorTarget {
    /// A folder without links in its path.
    Folder(PathBuf),
    File(Arc<File>),
}

/// A folder that is being read: the entries that are left.
pub struct Entries {
    pub(super) left: VecDeque<(String, FileType)>,
    /// The number of entries that there were.
    pub(super) count: usize,
}

/// Reads from a place of a file on; no byte at its end.
pub(super) fn read_file(mut file: &File, at: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
