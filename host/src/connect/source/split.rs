//! One split while it is read: an open file, its window and its decoder.

use super::blocks::{BLOCK_BYTES, Blocks, FOLLOW_BLOCK_BYTES};
use super::decoder::{Decoder, Start};
use super::file::Plan;
use super::gather::Gather;
use super::lines::{Bounds, Progress};
use super::position::{FINGERPRINT_BYTES, FilePosition, Fingerprint};
use crate::connect::ConnectError;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::PathBuf;

/// An open split. See the module.
pub struct OpenSplit {
    path: PathBuf,
    blocks: Blocks,
    decoder: Decoder,
    bounds: Bounds,
}

impl OpenSplit {
    /// Opens a split at its position.
    ///
    /// # Errors
    /// As [`FilePosition::verify`].
    pub fn open(plan: &Plan, position: &FilePosition) -> Result<Self, ConnectError> {
        let path = plan.listing.locate(&position.path);
        let length_bytes = position.verify(&path)?;
        let file = File::open(&path).map_err(ConnectError::io("open", &path))?;
        let growing = position.end.is_none() && plan.follow;
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
        let block_bytes = if growing { FOLLOW_BLOCK_BYTES } else { BLOCK_BYTES };
        let blocks = Blocks::file(file, &path, offset, limit, block_bytes)?;
        let decoder = Decoder::new(&plan.format, plan.row_bytes_max, &path, start)?;
        let bounds = Bounds { stop: position.end.unwrap_or(u64::MAX), growing };
        Ok(Self { path, blocks, decoder, bounds })
    }

    /// True while the end of the file is not the end of the split.
    pub fn is_growing(&self) -> bool {
        self.bounds.growing
    }

    /// Gathers rows and moves `position`. True where it moved.
    ///
    /// # Errors
    /// As [`FilePosition::verify`], for a file that is followed.
    pub fn scan(&mut self, plan: &Plan, position: &mut FilePosition, gather: &mut Gather) -> Result<(Progress, bool), ConnectError> {
        if self.bounds.growing {
            self.check_growth(position)?;
        }
        let before = (position.offset, position.end);
        gather.begin_split(&position.id());
        let progress = self.decoder.scan(&plan.format, &mut self.blocks, self.bounds, gather)?;
        position.offset = self.decoder.offset(&self.blocks);
        position.time_max = position.time_max.max(gather.time_max());
        if progress == Progress::Done && plan.follow && position.end.is_none() {
            // The file was removed.
            (position.end, position.size) = (Some(position.offset), Some(position.offset));
        }
        let moved = before != (position.offset, position.end);
        let head_bytes = position.offset.min(FINGERPRINT_BYTES);
        if moved && self.bounds.growing && position.fingerprint.bytes < head_bytes {
            position.fingerprint = Fingerprint::read(&self.path, head_bytes)?;
        }
        Ok((progress, moved))
    }

    /// Looks whether a followed file is still the one that was opened.
    fn check_growth(&mut self, position: &FilePosition) -> Result<(), ConnectError> {
        let read_end = self.blocks.read_end();
        let changed = |what: String| ConnectError::Changed { path: self.path.clone(), offset: read_end, what };
        let now = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.bounds.growing = false;
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

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}
