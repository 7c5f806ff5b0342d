//! Large reads, and the unread bytes as one slice.
//!
//! The buffer grows only as far as one row needs: a decoder gives a row up before the window passes the longest one allowed.

use crate::connect::ConnectError;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of one read from a file that is read to its end.
pub const BLOCK_BYTES: usize = 512 << 10;
/// Bytes of one read from a followed file; there may be many of those open at a time.
pub const FOLLOW_BLOCK_BYTES: usize = 64 << 10;

enum Input {
    File(File),
    Stream(Box<dyn Read + Send>),
    /// What is unpacked from a file.
    Packed(Box<dyn Read + Send>),
}

/// What a fill did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// There are more bytes in the window.
    More,
    /// The input has no more bytes now.
    End,
}

/// A window on the bytes of an input, filled by large reads.
pub struct Blocks {
    input: Input,
    path: PathBuf,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Of `buffer[start]` in the input.
    offset: u64,
    /// Bytes at or behind this offset do not exist.
    limit: u64,
    /// A stream has ended. It is not asked again: a terminal would begin anew.
    is_over: bool,
}

impl Blocks {
    /// Reads a file from `offset` up to `limit`.
    ///
    /// # Errors
    /// [`ConnectError::Io`].
    pub fn file(mut file: File, path: &Path, offset: u64, limit: u64, block_bytes: usize) -> Result<Self, ConnectError> {
        file.seek(SeekFrom::Start(offset)).map_err(ConnectError::io("seek in", path))?;
        Ok(Self { limit, ..Self::new(Input::File(file), path, offset, block_bytes) })
    }

    /// Reads a stream; `path` names it in errors.
    pub fn stream(stream: Box<dyn Read + Send>, path: &Path) -> Self {
        Self::new(Input::Stream(stream), path, 0, FOLLOW_BLOCK_BYTES)
    }

    /// What a packed file holds, from `offset` on.
    pub fn packed(stream: Box<dyn Read + Send>, path: &Path, offset: u64) -> Self {
        Self::new(Input::Packed(stream), path, offset, FOLLOW_BLOCK_BYTES)
    }

    fn new(input: Input, path: &Path, offset: u64, block_bytes: usize) -> Self {
        let buffer = vec![0; block_bytes];
        Self { input, path: path.to_path_buf(), buffer, start: 0, end: 0, offset, limit: u64::MAX, is_over: false }
    }

    /// The bytes that are read and not consumed.
    #[inline]
    pub fn window(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Offset of the window's first byte.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset behind the window's last byte.
    pub fn read_end(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// The file, where the input is one.
    pub fn as_file(&self) -> Option<&File> {
        match &self.input {
            Input::File(file) => Some(file),
            Input::Stream(_) | Input::Packed(_) => None,
        }
    }

    /// True where a read may block until more is written.
    pub fn may_block(&self) -> bool {
        matches!(self.input, Input::Stream(_)) && !self.is_over
    }

    /// Goes back to an offset of a file that was passed.
    ///
    /// # Errors
    /// [`ConnectError::Io`], also for a stream.
    pub fn rewind(&mut self, offset: u64) -> Result<(), ConnectError> {
        match &mut self.input {
            Input::File(file) => file.seek(SeekFrom::Start(offset)),
            Input::Stream(_) | Input::Packed(_) => Err(io::ErrorKind::NotSeekable.into()),
        }
        .map_err(ConnectError::io("seek in", &self.path))?;
        (self.start, self.end, self.offset) = (0, 0, offset);
        Ok(())
    }

    /// Lets more bytes exist than before.
    pub fn raise_limit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Gives up the first bytes of the window, at most all of it.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.start);
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads once; keeps the window.
    ///
    /// # Errors
    /// [`ConnectError::Io`]; [`ConnectError::Changed`] where a file ends before its limit.
    pub fn fill(&mut self) -> Result<Fill, ConnectError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let grown = self.buffer.len().saturating_mul(2);
            self.buffer.resize(grown, 0);
        }
        let room = (self.buffer.len() - self.end) as u64;
        let room = room.min(self.limit.saturating_sub(self.read_end())) as usize;
        if room == 0 || self.is_over {
            return Ok(Fill::End);
        }
        let target = &mut self.buffer[self.end..self.end + room];
        let read = loop {
            let read = match &mut self.input {
                Input::File(file) => file.read(target),
                Input::Stream(stream) | Input::Packed(stream) => stream.read(target),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(self.input, Input::Packed(_)) => return Err(damaged(&self.path, self.read_end(), &error)),
                other => break other.map_err(ConnectError::io("read", &self.path))?,
            }
        };
        if read == 0 && self.limit != u64::MAX {
            let what = format!("it ends at byte {}, but had {} bytes when it was listed", self.read_end(), self.limit);
            return Err(ConnectError::Changed { path: self.path.clone(), offset: self.offset, what });
        }
        self.is_over = read == 0 && !matches!(self.input, Input::File(_));
        self.end += read;
        Ok(if read == 0 { Fill::End } else { Fill::More })
    }
}

/// A packed file that cannot be unpacked to its end.
pub fn damaged(path: &Path, offset: u64, error: &io::Error) -> ConnectError {
    let what = format!("input `{}` cannot be unpacked behind byte {offset} of what it holds: {error}", path.display());
    ConnectError::config(what, "the file is cut or damaged, or still being written; when it is whole, `reprise run` goes on from there")
}
