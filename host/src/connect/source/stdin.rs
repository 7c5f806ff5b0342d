//! The source `file` with path `-`: standard input.
//!
//! One split, which cannot be read again: its position only counts rows, and rows since the last checkpoint are lost in a crash. Rows are
//! given out as soon as a read brings them; offsets of rejected rows count from the start of this run's input.

use super::content::packing;
use super::decoder::{Decoder, RowSettings, Start};
use super::gather::Gather;
use super::lines::Bounds;
use super::{STDIN_PATH, blocks::Blocks, lines::ScanProgress};
use crate::clock::Clock;
use crate::connect::{BatchLimits, ConnectError, InputStatus, SourceBatch, SourceConnector, SourceReader, SourceSplit};
use reprise_core::topology::FileSource;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

/// Identity of the only split.
const SPLIT: &str = "stdin";

/// Rows that a position counts; `None` for positions of other sources.
pub fn rows_of(position: &str) -> Option<u64> {
    serde_json::from_str::<Position>(position).ok().map(|position| position.rows)
}

/// False where standard input is certain to bring nothing: it is closed, `/dev/null`, or a file at its end. Reads nothing.
pub fn may_have_input() -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let Ok(mut input) = std::io::stdin().as_fd().try_clone_to_owned().map(File::from) else { return false };
    let Ok(metadata) = input.metadata() else { return true };
    if metadata.is_file() {
        return input.stream_position().map_or(true, |at| at < metadata.len());
    }
    std::fs::metadata("/dev/null").map_or(true, |null| null.rdev() != metadata.rdev())
}

/// Why a job that has finished does not read standard input.
pub fn finished() -> ConnectError {
    let what = "the job finished in an earlier run and its output is published; what comes on standard input now was not read, since it \
               cannot be compared with what was read then";
    let help = "to read it as a new input, give the job another `name` or another store; if it has been read, there is nothing to do";
    ConnectError::config(what, help)
}

/// The source that reads standard input: one split, which cannot be read again.
pub struct StdinSourceConnector {
    rows: Arc<RowSettings>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    /// Rows given out over all runs, rejected ones included.
    rows: u64,
}

impl Position {
    fn to_split(self) -> SourceSplit {
        let position = serde_json::to_string(&self).expect("a number is JSON");
        SourceSplit { split: SPLIT.to_owned(), position }
    }
}

impl StdinSourceConnector {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConnectError::Config`].
    pub fn new(settings: &FileSource, limits: BatchLimits, clock: Clock) -> Result<Self, ConnectError> {
        if settings.follow {
            let what = "standard input cannot be followed";
            return Err(ConnectError::config(what, "leave `follow` out; standard input is read until it is closed"));
        }
        Ok(Self { rows: Arc::new(RowSettings::new(settings, limits, clock)?) })
    }

    /// A reader of any stream in the place of standard input.
    pub(super) fn reader_of(&self, splits: &[SourceSplit], stream: Box<dyn Read + Send>) -> Result<StreamReader, ConnectError> {
        let rows = Arc::clone(&self.rows);
        let path = Path::new(STDIN_PATH);
        let head =
            || Err(ConnectError::Io { doing: "read again", path: path.to_path_buf(), source: std::io::ErrorKind::NotSeekable.into() });
        let decoder = Decoder::new(&rows, path, Start::Input, head)?;
        let position = match splits.iter().find(|split| split.split == SPLIT) {
            None => None,
            Some(split) => Some(serde_json::from_str(&split.position).map_err(|error| split.corrupt(&error.to_string()))?),
        };
        let gather = Gather::new(rows.limits, rows.row_bytes_max);
        Ok(StreamReader { rows, decoder, blocks: Blocks::stream(stream, path), position, gather, time_max: None, is_seen: false })
    }
}

impl SourceConnector for StdinSourceConnector {
    fn splits(&self, known: &[SourceSplit]) -> Result<Vec<SourceSplit>, ConnectError> {
        Ok(if known.is_empty() { vec![Position::default().to_split()] } else { known.to_vec() })
    }

    fn is_done(&self, _: &SourceSplit) -> bool {
        false
    }

    fn reader(&self, splits: Vec<SourceSplit>) -> Result<Box<dyn SourceReader>, ConnectError> {
        Ok(Box::new(self.reader_of(&splits, Box::new(std::io::stdin()))?))
    }

    fn replays(&self) -> bool {
        false
    }
}

/// Reads a stream to its end.
pub(super) struct StreamReader {
    rows: Arc<RowSettings>,
    decoder: Decoder,
    blocks: Blocks,
    /// None once the stream has ended, and where this reader never had it.
    position: Option<Position>,
    gather: Gather,
    time_max: Option<i64>,
    /// What it is has been looked at.
    is_seen: bool,
}

impl SourceReader for StreamReader {
    fn next(&mut self) -> Result<InputStatus, ConnectError> {
        let Some(mut position) = self.position else { return Ok(InputStatus::End) };
        self.gather.reserve();
        self.gather.begin_split(SPLIT);
        if !std::mem::replace(&mut self.is_seen, true) {
            self.check_content()?;
        }
        self.gather.set_horizon(self.rows.horizon.now_ms());
        let bounds = Bounds { stop: u64::MAX, growing: false, finite: true };
        let progress = self.decoder.scan(&self.rows.format, &mut self.blocks, bounds, &mut self.gather)?;
        self.time_max = self.time_max.max(self.gather.time_max());
        let (rows, rejected) = self.gather.take();
        position.rows += (rows.len() + rejected.len()) as u64;
        self.position = (progress != ScanProgress::Done).then_some(position);
        if rows.is_empty() && rejected.is_empty() {
            return Ok(if self.position.is_some() {
                InputStatus::Rows(SourceBatch { watermark: self.watermark(), ..SourceBatch::default() })
            } else {
                InputStatus::End
            });
        }
        Ok(InputStatus::Rows(SourceBatch { rows, rejected, positions: vec![position.to_split()], watermark: self.watermark() }))
    }

    fn ends(&self) -> bool {
        false
    }
}

impl StreamReader {
    /// Looks at what a first read brings.
    fn check_content(&mut self) -> Result<(), ConnectError> {
        self.blocks.fill()?;
        match packing(Path::new("standard input"), self.blocks.window(), self.rows.compression)? {
            None => Ok(()),
            Some(packing) => Err(ConnectError::Config {
                what: format!("standard input is packed by {}, and is not unpacked", packing.word()),
                help: "unpack it before the job, as with `zcat FILE | reprise run ...`, or name the file in `path`".to_owned(),
            }),
        }
    }

    fn watermark(&self) -> i64 {
        self.rows.watermark(self.time_max).unwrap_or(i64::MIN)
    }
}
