//! One split while it is read: an open file, its window and its decoder.

use super::blocks::{BLOCK_BYTES, Blocks, FOLLOW_BLOCK_BYTES};
use super::content::{Packing, packing_of, unpack};
use super::decoder::{Decoder, Start};
use super::file::Plan;
use super::gather::Gather;
use super::lines::{Bounds, LineScan, Progress};
use super::position::{FINGERPRINT_BYTES, FilePosition, Fingerprint};
use crate::connect::ConnectError;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The last row of a bounded file counts without a line end when the file has not been written for so long.
const SETTLED_AFTER_MS: i64 = 2_000;

/// An open split. See the module.
pub struct OpenSplit {
    path: PathBuf,
    blocks: Blocks,
    decoder: Decoder,
    bounds: Bounds,
    /// Length of a bounded file when it was listed.
    listed: u64,
    /// Nothing has been read of the file yet, so that it must be seen what it is.
    is_unseen: bool,
}

impl OpenSplit {
    /// Opens a split at its position.
    ///
    /// # Errors
    /// As [`FilePosition::verify`].
    pub fn open(plan: &Plan, position: &FilePosition) -> Result<Self, ConnectError> {
        let path = plan.listing.locate(&position.path);
        let length_bytes = position.verify(&path)?;
        let follows = position.end.is_none() && plan.follow;
        let limit = match position.size {
            Some(size) => size,
            None if plan.follow => u64::MAX,
            None => length_bytes,
        };
        let start = match position.offset {
            0 => Start::Input,
            offset if offset == position.start && plan.format.is_lines() => Start::Range(offset),
            _ => Start::Row,
        };
        let offset = if matches!(start, Start::Range(_)) { position.offset - 1 } else { position.offset };
        let packing = match position.packed {
            Some(_) => packing_of(&path, plan.compression)?,
            None => None,
        };
        let block_bytes = if follows { FOLLOW_BLOCK_BYTES } else { BLOCK_BYTES };
        let open = |offset: u64, block_bytes: usize| {
            let file = File::open(&path).map_err(ConnectError::io("open", &path))?;
            match packing {
                Some(packing) => unpack(file, &path, packing, offset),
                None => Blocks::file(file, &path, offset, limit, block_bytes),
            }
        };
        // Whether the last row of a bounded file is whole is looked at when it is reached.
        let bounds = Bounds { stop: position.end.unwrap_or(limit), growing: packing.is_none(), finite: !follows };
        let head = || {
            let bounds = Bounds { stop: u64::MAX, growing: follows, ..bounds };
            Ok((open(0, BLOCK_BYTES.min(plan.row_bytes_max.max(4 << 10)))?, bounds))
        };
        let decoder = Decoder::new(&plan.format, plan.row_bytes_max, &path, start, head)?;
        let blocks = open(offset, block_bytes)?;
        Ok(Self { path, blocks, decoder, bounds, listed: limit, is_unseen: follows && position.offset == 0 })
    }

    /// True while the end of the file is not the end of the split.
    pub fn is_growing(&self) -> bool {
        !self.bounds.finite
    }

    /// Gathers rows and moves `position`. True where it moved.
    ///
    /// # Errors
    /// As [`FilePosition::verify`], for a file that is followed.
    pub fn scan(&mut self, plan: &Plan, position: &mut FilePosition, gather: &mut Gather) -> Result<(Progress, bool), ConnectError> {
        if self.is_growing() {
            self.check_growth(position)?;
            self.check_content(plan)?;
        }
        let before = (position.offset, position.end);
        gather.begin_split(&position.id());
        let mut progress = self.decoder.scan(&plan.format, &mut self.blocks, self.bounds, gather)?;
        if progress == Progress::Wait && self.bounds.finite {
            progress = self.read_last(plan, position, gather)?;
        }
        position.offset = self.decoder.offset(&self.blocks);
        position.time_max = position.time_max.max(gather.time_max());
        if progress == Progress::Done {
            self.finish(position);
        }
        let moved = before != (position.offset, position.end);
        let head_bytes = position.offset.min(FINGERPRINT_BYTES);
        if moved && self.is_growing() && position.fingerprint.bytes < head_bytes {
            position.fingerprint = Fingerprint::read(&self.path, head_bytes)?;
        }
        Ok((progress, moved))
    }

    /// The end of a bounded file as it was listed, within a row that has no end. Where the file has not grown since, and has not been written
    /// just before, that is its last row. Where it has grown, the row is read to its end, or left out.
    fn read_last(&mut self, plan: &Plan, position: &mut FilePosition, gather: &mut Gather) -> Result<Progress, ConnectError> {
        if self.decoder.offset(&self.blocks) >= self.blocks.read_end() {
            return Ok(Progress::Done);
        }
        let metadata = match self.blocks.as_file() {
            Some(file) => Some(file.metadata().map_err(ConnectError::io("look at", &self.path))?),
            None => None,
        };
        let length_bytes = metadata.as_ref().map_or(self.listed, Metadata::len);
        if length_bytes <= self.listed {
            if metadata.is_some_and(|metadata| is_fresh(&metadata, plan.clock.now_ms())) {
                return Ok(Progress::Wait);
            }
            self.bounds.growing = false;
            return self.decoder.scan(&plan.format, &mut self.blocks, self.bounds, gather);
        }
        self.blocks.raise_limit(length_bytes);
        let progress = self.decoder.scan(&plan.format, &mut self.blocks, self.bounds, gather)?;
        let offset = self.decoder.offset(&self.blocks);
        if progress != Progress::Wait || offset >= self.bounds.stop {
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
            self.decoder = Decoder::Lines(LineScan::new(plan.row_bytes_max));
        }
        Ok(Progress::Done)
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

    /// Looks once what a followed file is, as soon as it has something.
    fn check_content(&mut self, plan: &Plan) -> Result<(), ConnectError> {
        if self.is_unseen && std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > 0) {
            if let Some(packing) = packing_of(&self.path, plan.compression)? {
                return Err(packed_is_not_followed(&self.path, packing));
            }
            self.is_unseen = false;
        }
        Ok(())
    }

    /// Looks whether a followed file is still the one that was opened.
    fn check_growth(&mut self, position: &FilePosition) -> Result<(), ConnectError> {
        let read_end = self.blocks.read_end();
        let changed = |what: String| ConnectError::Changed { path: self.path.clone(), offset: read_end, what };
        let now = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                (self.bounds.growing, self.bounds.finite) = (false, true);
                return Ok(());
            }
            Err(error) => return Err(ConnectError::io("look at", &self.path)(error)),
        };
        if let Some(file) = self.blocks.as_file() {
            let opened = file.metadata().map_err(ConnectError::io("look at", &self.path))?;
            if !is_same(&opened, &now) {
                return Err(changed("another file has taken its place while it was followed".to_owned()));
            }
        }
        if now.len() < read_end {
            return Err(changed(format!("it was truncated to {} bytes while it was followed", now.len())));
        }
        if now.len() > read_end {
            position.verify(&self.path)?;
        }
        Ok(())
    }
}

/// True where a file was written a moment ago. A time stamp of the future says nothing.
fn is_fresh(metadata: &Metadata, now_ms: i64) -> bool {
    let Ok(modified) = metadata.modified() else { return false };
    let modified_ms = modified.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    (0..SETTLED_AFTER_MS).contains(&now_ms.saturating_sub(modified_ms))
}

/// Why a packed file cannot be followed.
pub fn packed_is_not_followed(path: &Path, packing: Packing) -> ConnectError {
    ConnectError::Config {
        what: format!("input `{}` is packed by {}, and packed files cannot be followed", path.display(), packing.word()),
        help: "let `path` leave it out, or read it in a job of its own without `follow`".to_owned(),
    }
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
