//! Bytes of one split to rows, in the format of the source.

use super::blocks::Blocks;
use super::csv::{CsvRows, CsvScan};
use super::event_time::Horizon;
use super::gather::Gather;
use super::json::JsonRows;
use super::lines::{Bounds, LineScan, ScanProgress};
use crate::clock::Clock;
use crate::connect::source::ROW_BYTES_MAX;
use crate::connect::{BatchLimits, ConnectError};
use reprise_core::topology::{Compression, Field, FileSource, SourceFormat};
use std::path::Path;

/// The format of a source, with its settings checked.
pub enum Format {
    Lines,
    Json(JsonRows),
    Csv(CsvRows),
}

/// The settings of a source that say what its rows are, whatever they are read from.
pub struct RowSettings {
    pub format: Format,
    pub limits: BatchLimits,
    pub row_bytes_max: usize,
    pub compression: Compression,
    /// Milliseconds; none where rows have no time.
    pub lateness_ms: Option<i64>,
    pub horizon: Horizon,
}

impl RowSettings {
    /// Checks the settings of a source.
    ///
    /// # Errors
    /// [`ConnectError::Config`].
    pub fn new(settings: &FileSource, limits: BatchLimits, clock: Clock) -> Result<Self, ConnectError> {
        let lateness_ms = i64::try_from(settings.lateness.as_millis()).unwrap_or(i64::MAX);
        Ok(Self {
            format: Format::new(settings)?,
            limits,
            row_bytes_max: settings.row_bytes_max as usize,
            compression: settings.compression,
            lateness_ms: settings.time.as_ref().map(|_| lateness_ms),
            horizon: Horizon::new(settings, clock),
        })
    }

    /// The watermark of rows whose latest event time is this one, where rows have times.
    pub fn watermark(&self, latest: Option<i64>) -> Option<i64> {
        Some(latest?.saturating_sub(self.lateness_ms?).saturating_sub(1))
    }
}

/// Where in its input a decoder starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first byte of the input.
    Input,
    /// At a row.
    Row,
    /// Behind the end of a row that starts before this offset; the blocks begin one byte before it.
    Range(u64),
}

impl Format {
    /// Checks the settings of a source.
    ///
    /// # Errors
    /// [`ConnectError::Config`].
    pub fn new(settings: &FileSource) -> Result<Self, ConnectError> {
        if settings.row_bytes_max == 0 || settings.row_bytes_max > ROW_BYTES_MAX {
            let what = format!("`row-max` of the source is {} bytes", settings.row_bytes_max);
            return Err(ConnectError::config(what, format!("choose 1 to {ROW_BYTES_MAX} bytes")));
        }
        match settings.format {
            SourceFormat::Lines if settings.key.is_some() || settings.time.is_some() => Err(ConnectError::Config {
                what: "`key` and `time` cannot be found in rows of format lines".to_owned(),
                help: "use format json or csv, or let an operator set them".to_owned(),
            }),
            SourceFormat::Lines => Ok(Self::Lines),
            SourceFormat::Json => Ok(Self::Json(JsonRows::new(settings)?)),
            SourceFormat::Csv { header, delimiter } => {
                Ok(Self::Csv(CsvRows::new(settings, header, delimiter, settings.row_bytes_max as usize)?))
            }
        }
    }

    /// The settings that decide which rows the bytes of a file are, for people and to compare.
    pub fn reads(settings: &FileSource) -> String {
        let mut text = match settings.format {
            SourceFormat::Lines => "lines".to_owned(),
            SourceFormat::Json => "json".to_owned(),
            SourceFormat::Csv { header, delimiter } => {
                let header = if header { "" } else { "out" };
                format!("csv with{header} header, separated by `{}`", delimiter.escape_ascii())
            }
        };
        let place = |field: &Field| match field {
            Field::Column(name) => format!("column `{name}`"),
            Field::Index(index) => format!("column {index}"),
            Field::Pointer(pointer) => format!("`{pointer}`"),
        };
        if let Some(key) = &settings.key {
            text += &format!(", key at {}", place(key));
        }
        if let Some(time) = &settings.time {
            text += &format!(", time at {} in {}", place(&time.field), time.unit.word());
        }
        text
    }

    /// True where rows may start at any newline, so that a file can be cut into ranges.
    pub fn is_lines(&self) -> bool {
        matches!(self, Self::Lines | Self::Json(_))
    }
}

/// Decodes one split.
pub enum Decoder {
    Lines(LineScan),
    Csv(Box<CsvScan>),
}

impl Decoder {
    /// A decoder for a split that starts as `start` says; `path` is its input. `head` opens it from its start, for its first record.
    ///
    /// # Errors
    /// Where the header of a CSV file cannot be read again.
    pub fn new(
        rows: &RowSettings,
        path: &Path,
        start: Start,
        head: impl FnOnce() -> Result<(Blocks, Bounds), ConnectError>,
    ) -> Result<Self, ConnectError> {
        let row_bytes_max = rows.row_bytes_max;
        Ok(match (&rows.format, start) {
            (Format::Lines | Format::Json(_), Start::Range(start)) => Self::Lines(LineScan::skipping(row_bytes_max, start)),
            (Format::Lines | Format::Json(_), _) => Self::Lines(LineScan::new(row_bytes_max)),
            (Format::Csv(settings), Start::Input) => Self::Csv(Box::new(CsvScan::new(settings, path))),
            (Format::Csv(settings), _) => {
                let (head, bounds) = head()?;
                Self::Csv(Box::new(CsvScan::resume(settings, path, head, bounds)?))
            }
        })
    }

    /// Gathers rows until something stops it.
    ///
    /// # Errors
    /// The decoder is of no use afterwards.
    pub fn scan(
        &mut self,
        format: &Format,
        blocks: &mut Blocks,
        bounds: Bounds,
        gather: &mut Gather,
    ) -> Result<ScanProgress, ConnectError> {
        match (self, format) {
            (Self::Csv(scan), _) => scan.scan(blocks, bounds, gather),
            (Self::Lines(scan), Format::Json(rows)) => {
                scan.scan(blocks, bounds, gather, |gather, offset, line| rows.row(gather, offset, line))
            }
            (Self::Lines(scan), _) => scan.scan(blocks, bounds, gather, |gather, _, line| gather.push_plain(line)),
        }
    }

    /// From here a new decoder would go on.
    pub fn offset(&self, blocks: &Blocks) -> u64 {
        match self {
            Self::Lines(scan) => scan.offset(blocks),
            Self::Csv(scan) => scan.offset(blocks),
        }
    }
}
