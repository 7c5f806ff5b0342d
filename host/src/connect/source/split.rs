//! One split while it is read: an open file, its window and its decoder.

use super::blocks::{BLOCK_BYTES, Blocks, FOLLOW_BLOCK_BYTES};
use super::decoder::{Decoder, Start};
use super::file::Plan;
use super::gather::Gather;
use super::identity::{Look, print_at};
use super::lines::{Bounds, Progress};
use super::position::FilePosition;
use crate::connect::ConnectError;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// An open split. See the module.
pub struct OpenSplit {
    path: PathBuf,
    blocks: Blocks,
    decoder: Decoder,
    bounds: Bounds,
}

/// What opening a followed file came to.
pub enum Opened {
    /// It can be read.
    Open(Box<OpenSplit>),
    /// It is gone, or another one is in its place: the next look finds out.
    NotThere,
    /// What comes before the offset is not what was read.
    Changed,
}

impl OpenSplit {
    /// Opens a split of a bounded file at its position.
    ///
    /// # Errors
    /// As [`FilePosition::verify`].
    pub fn open(plan: &Plan, position: &FilePosition) -> Result<Self, ConnectError> {
        let path = plan.listing.locate(&position.path);
        let length_bytes = position.verify(&path)?;
        let file = File::open(&path).map_err(ConnectError::io("open", &path))?;
        let limit = position.size.unwrap_or(length_bytes);
        Self::begin(plan, position, file, path, limit)
    }

    /// Opens a followed file at its position. `key`: which one it must be.
    ///
    /// # Errors
    /// [`ConnectError::Io`]; [`ConnectError::Config`] where its beginning does not fit the settings.
    pub fn follow(plan: &Plan, position: &FilePosition, key: u64) -> Result<Opened, ConnectError> {
        let path = plan.listing.locate(&position.path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Opened::NotThere),
            Err(error) => return Err(ConnectError::io("open", &path)(error)),
        };
        let look = file.metadata().map(|metadata| Look::of(&metadata)).map_err(ConnectError::io("look at", &path))?;
        if look.id.key() != key {
            return Ok(Opened::NotThere);
        }
        if !is_as_read(&file, position).map_err(ConnectError::io("read", &path))? {
            return Ok(Opened::Changed);
        }
        Self::begin(plan, position, file, path, u64::MAX).map(|open| Opened::Open(Box::new(open)))
    }

    fn begin(plan: &Plan, position: &FilePosition, file: File, path: PathBuf, limit: u64) -> Result<Self, ConnectError> {
        let growing = position.end.is_none() && plan.follow;
        let start = match position.offset {
            0 => Start::Input,
            offset if offset == position.start && plan.format.is_lines() => Start::Range(offset),
            _ => Start::Row,
        };
        let offset = if matches!(start, Start::Range(_)) { position.offset - 1 } else { position.offset };
        let block_bytes = if growing { FOLLOW_BLOCK_BYTES } else { BLOCK_BYTES };
        let blocks = Blocks::file(file, &path, offset, limit, block_bytes)?;
        let decoder = Decoder::new(&plan.format, plan.row_bytes_max, &path, start)?;
        let bounds = Bounds { stop: position.end.unwrap_or(u64::MAX), growing };
        Ok(Self { path, blocks, decoder, bounds })
    }

    /// The end of the file is the end of its last row from here on.
    pub fn take_last_row(&mut self) {
        self.bounds.growing = false;
    }

    /// Gathers rows and moves `position`. True where it moved.
    ///
    /// # Errors
    /// [`ConnectError::Io`]; [`ConnectError::Changed`] where a bounded file has become shorter.
    pub fn scan(&mut self, plan: &Plan, position: &mut FilePosition, gather: &mut Gather) -> Result<(Progress, bool), ConnectError> {
        let before = position.offset;
        gather.begin_split(&position.id());
        let progress = self.decoder.scan(&plan.format, &mut self.blocks, self.bounds, gather)?;
        position.offset = self.decoder.offset(&self.blocks);
        position.time_max = position.time_max.max(gather.time_max());
        let moved = before != position.offset;
        if moved {
            position.set_print(self.print(position.offset)?);
        }
        Ok((progress, moved))
    }

    fn print(&self, offset: u64) -> Result<Option<u64>, ConnectError> {
        let Some(file) = self.blocks.as_file() else { return Ok(None) };
        print_at(file, offset).map_err(ConnectError::io("read", &self.path))
    }

    /// True where the file still holds what was read of it.
    ///
    /// # Errors
    /// [`ConnectError::Io`].
    pub fn is_as_read(&self, position: &FilePosition) -> Result<bool, ConnectError> {
        let Some(file) = self.blocks.as_file() else { return Ok(true) };
        is_as_read(file, position).map_err(ConnectError::io("read", &self.path))
    }

    /// How many bytes the file has now.
    pub fn length(&self) -> Option<u64> {
        self.blocks.as_file()?.metadata().ok().map(|metadata| metadata.len())
    }

    /// What stands behind the last row of a file that ends: half a row, cut to `bytes_max`. Line ends alone are none.
    ///
    /// # Errors
    /// [`ConnectError::Io`].
    pub fn rest(&self, offset: u64, bytes_max: usize) -> Result<Vec<u8>, ConnectError> {
        let Some(file) = self.blocks.as_file() else { return Ok(Vec::new()) };
        let io = ConnectError::io("read", &self.path);
        let length = match file.metadata() {
            Ok(metadata) => metadata.len().saturating_sub(offset).min(bytes_max as u64) as usize,
            Err(error) => return Err(io(error)),
        };
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).map_err(io)?;
        let is_blank = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) || (offset == 0 && bytes == super::lines::BYTE_ORDER_MARK);
        Ok(if is_blank { Vec::new() } else { bytes })
    }
}

fn is_as_read(file: &File, position: &FilePosition) -> std::io::Result<bool> {
    match position.print() {
        Some(print) if position.offset > 0 => Ok(print_at(file, position.offset)? == Some(print)),
        _ => Ok(true),
    }
}
