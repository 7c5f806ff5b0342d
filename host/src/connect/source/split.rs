//! One split while it is read: an open file, its window and its decoder.

use super::blocks::{BLOCK_BYTES, Blocks, FOLLOW_BLOCK_BYTES};
use super::content::{Packing, packing_of, unpack};
use super::context::SourceContext;
use super::decoder::{Decoder, Start};
use super::gather::Gather;
use super::identity::{Look, print_at};
use super::lines::{Bounds, LineScan, ScanProgress};
use super::position::FilePosition;
use crate::connect::ConnectError;
use std::fs::{File, Metadata};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The last row of a bounded file counts without a line end when the file has not been written for so long.
const SETTLED_AFTER_MS: i64 = 2_000;

/// A split that is open: its file, the window on it and the decoder.
pub struct OpenSplit {
    path: PathBuf,
    blocks: Blocks,
    decoder: Decoder,
    bounds: Bounds,
    /// Length of a bounded file when it was listed.
    listed: u64,
    /// Of a followed file: up to where a half row was read, and the digest there.
    half: Option<(u64, u64)>,
}

/// A followed file after an attempt to open it.
pub enum OpenedSplit {
    /// It can be read.
    Open(Box<OpenSplit>),
    /// It is gone, or another one is in its place: the next look finds out.
    NotThere,
    /// What comes before the offset is not what was read.
    Changed,
    /// It cannot be followed, since it is packed.
    Packed(Packing),
}

impl OpenSplit {
    /// Opens a split of a bounded file at its position.
    ///
    /// # Errors
    /// As [`FilePosition::verify`].
    pub fn open(context: &SourceContext, position: &FilePosition) -> Result<Self, ConnectError> {
        let path = context.listing.locate(&position.path);
        let length_bytes = position.verify(&path)?;
        let limit = position.size.unwrap_or(length_bytes);
        let packing = match position.packed {
            Some(_) => packing_of(&path, context.rows.compression)?,
            None => None,
        };
        let open = |offset: u64, block_bytes: usize| {
            let file = File::open(&path).map_err(ConnectError::io("open", &path))?;
            match packing {
                Some(packing) => unpack(file, &path, packing, offset),
                None => Blocks::file(file, &path, offset, limit, block_bytes),
            }
        };
        // Whether the last row is whole is looked at when it is reached.
        let bounds = Bounds { stop: position.end.unwrap_or(limit), growing: packing.is_none(), finite: true };
        let (start, offset) = start_of(context, position);
        let head = || {
            let bounds = Bounds { stop: u64::MAX, growing: false, ..bounds };
            Ok((open(0, head_bytes(context))?, bounds))
        };
        let decoder = Decoder::new(&context.rows, &path, start, head)?;
        let blocks = open(offset, BLOCK_BYTES)?;
        Ok(Self { path, blocks, decoder, bounds, listed: limit, half: None })
    }

    /// Opens a followed file at its position. `key`: which one it must be.
    ///
    /// # Errors
    /// [`ConnectError::Io`]; [`ConnectError::Config`] where its beginning does not fit the settings.
    pub fn follow(context: &SourceContext, position: &FilePosition, key: u64) -> Result<OpenedSplit, ConnectError> {
        let path = context.listing.locate(&position.path);
        let io = |doing| ConnectError::io(doing, &path);
        let Some(file) = ConnectError::unless_absent(File::open(&path), "open", &path)? else { return Ok(OpenedSplit::NotThere) };
        let look = file.metadata().map(|metadata| Look::of(&metadata)).map_err(io("look at"))?;
        // One without contents is opened when it has some.
        if look.id.key() != key || look.len == 0 {
            return Ok(OpenedSplit::NotThere);
        }
        if !is_as_read(&file, position).map_err(io("read"))? {
            return Ok(OpenedSplit::Changed);
        }
        if let (0, Some(packing)) = (position.offset, packing_of(&path, context.rows.compression)?) {
            return Ok(OpenedSplit::Packed(packing));
        }
        let bounds = Bounds { stop: u64::MAX, growing: true, finite: false };
        let (start, offset) = start_of(context, position);
        // Both share one place in the file: what is read first is read whole before the other one seeks.
        let head = || {
            let file = file.try_clone().map_err(io("open"))?;
            Ok((Blocks::file(file, &path, 0, u64::MAX, head_bytes(context))?, bounds))
        };
        let decoder = Decoder::new(&context.rows, &path, start, head)?;
        let blocks = Blocks::file(file, &path, offset, u64::MAX, FOLLOW_BLOCK_BYTES)?;
        Ok(OpenedSplit::Open(Box::new(Self { path, blocks, decoder, bounds, listed: u64::MAX, half: None })))
    }

    /// The end of a followed file is the end of its last row from here on.
    pub fn take_last_row(&mut self) {
        self.bounds.growing = false;
    }

    /// Gathers rows and moves `position`. True where it moved.
    ///
    /// # Errors
    /// [`ConnectError::Io`]; [`ConnectError::Changed`] where a bounded file has become shorter.
    pub fn scan(
        &mut self,
        context: &SourceContext,
        position: &mut FilePosition,
        gather: &mut Gather,
    ) -> Result<(ScanProgress, bool), ConnectError> {
        let before = (position.offset, position.end);
        gather.begin_split(&position.id());
        let mut progress = self.decoder.scan(&context.rows.format, &mut self.blocks, self.bounds, gather)?;
        if progress == ScanProgress::Wait && self.bounds.finite {
            progress = self.read_last(context, position, gather)?;
        }
        position.offset = self.decoder.offset(&self.blocks);
        position.time_max = position.time_max.max(gather.time_max());
        if progress == ScanProgress::Done && self.bounds.finite {
            self.finish(position);
        }
        let moved = before != (position.offset, position.end);
        if moved {
            position.set_print(self.print(position.offset)?);
        }
        let read_end = self.blocks.read_end();
        let is_half = !self.bounds.finite && progress == ScanProgress::Wait && read_end > position.offset;
        if !is_half || self.half.is_none_or(|(end, _)| end != read_end) {
            self.half = if is_half { self.print(read_end)?.map(|print| (read_end, print)) } else { None };
        }
        Ok((progress, moved))
    }

    /// The end of a bounded file as it was listed, within a row that has no end. Where the file has not grown since, and has not been written
    /// just before, that is its last row. Where it has grown, the row is read to its end, or left out.
    fn read_last(
        &mut self,
        context: &SourceContext,
        position: &mut FilePosition,
        gather: &mut Gather,
    ) -> Result<ScanProgress, ConnectError> {
        if self.decoder.offset(&self.blocks) >= self.blocks.read_end() {
            return Ok(ScanProgress::Done);
        }
        let metadata = match self.blocks.as_file() {
            Some(file) => Some(file.metadata().map_err(ConnectError::io("look at", &self.path))?),
            None => None,
        };
        let length_bytes = metadata.as_ref().map_or(self.listed, Metadata::len);
        if length_bytes <= self.listed {
            if metadata.is_some_and(|metadata| is_fresh(&metadata, context.clock.now_ms())) {
                return Ok(ScanProgress::Wait);
            }
            self.bounds.growing = false;
            return self.decoder.scan(&context.rows.format, &mut self.blocks, self.bounds, gather);
        }
        self.blocks.raise_limit(length_bytes);
        let progress = self.decoder.scan(&context.rows.format, &mut self.blocks, self.bounds, gather)?;
        let offset = self.decoder.offset(&self.blocks);
        if progress != ScanProgress::Wait || offset >= self.bounds.stop {
            return Ok(progress);
        }
        if position.end == position.size {
            tracing::warn!(
                "input `{}` is being written while it is read: its last row, at offset {offset}, has no end yet and is left out\n  help: run the job again when the file is complete; it goes on at that row",
                self.path.display()
            );
            (position.end, position.size) = (Some(offset), Some(offset));
        } else {
            let reason = "the file was being written while it was read, and this row had no end yet".to_owned();
            gather.reject(offset, self.blocks.window(), reason);
            self.blocks.consume(usize::MAX);
            self.decoder = Decoder::Lines(LineScan::new(context.rows.row_bytes_max));
        }
        Ok(ScanProgress::Done)
    }

    /// Notes where the input ended, where that was not known before.
    fn finish(&self, position: &mut FilePosition) {
        let is_unknown = position.end.is_none() || position.packed.is_some();
        if is_unknown {
            (position.end, position.size) = (Some(position.offset), Some(position.offset));
        }
        // A row that began before the listed end may have ended behind it.
        position.size = position.size.map(|size| size.max(position.offset));
    }

    /// None where offsets do not count the bytes of the file.
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

    /// True where the file still holds the half row that was read of it.
    ///
    /// # Errors
    /// [`ConnectError::Io`].
    pub fn is_half_as_read(&self) -> Result<bool, ConnectError> {
        let Some((end, print)) = self.half else { return Ok(true) };
        Ok(self.print(end)? == Some(print))
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

/// Where the decoder starts, and where the blocks begin.
fn start_of(context: &SourceContext, position: &FilePosition) -> (Start, u64) {
    match position.offset {
        0 => (Start::Input, 0),
        offset if offset == position.start && context.rows.format.is_lines() => (Start::Range(offset), offset - 1),
        offset => (Start::Row, offset),
    }
}

/// Bytes of one read of the first record.
fn head_bytes(context: &SourceContext) -> usize {
    BLOCK_BYTES.min(context.rows.row_bytes_max.max(4 << 10))
}

fn is_as_read(file: &File, position: &FilePosition) -> std::io::Result<bool> {
    position.print_read().map_or(Ok(true), |print| Ok(print_at(file, position.offset)? == Some(print)))
}

/// True where a file was written a moment ago. A time stamp of the future says nothing.
fn is_fresh(metadata: &Metadata, now_ms: i64) -> bool {
    let Ok(modified) = metadata.modified() else { return false };
    let modified_ms = modified.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    (0..SETTLED_AFTER_MS).contains(&now_ms.saturating_sub(modified_ms))
}

/// Why a packed file cannot be followed.
pub fn packed_is_not_followed(path: &Path, packing: Packing) -> ConnectError {
    let what = format!("input `{}` is packed by {}, and packed files cannot be followed", path.display(), packing.word());
    ConnectError::config(what, "let `path` leave it out, or read it in a job of its own without `follow`")
}
