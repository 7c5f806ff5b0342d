//! Lines out of blocks: what a row is for the formats `lines` and `json`.
//!
//! - A row ends with `\n` or `\r\n`, which are not part of it; the last row of an input may lack both.
//! - A range of a file owns the rows that *start* in it: it skips to behind the first `\n` at or after `start - 1`, and reads its last row
//!   to the end even where that lies in the next range.
//! - A byte order mark at the start of the input is not part of the first row.
//! - A row longer than `row_bytes_max` is rejected; no more than that is ever held of it.

use super::blocks::{Blocks, Fill};
use super::gather::Gather;
use crate::connect::ConnectError;
use memchr::{memchr, memchr_iter};

/// UTF-8 for U+FEFF.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why reading rows stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanProgress {
    /// The batch is full.
    Full,
    /// A growing input has no complete row now.
    Wait,
    /// There are rows, and reading on might block.
    Paused,
    /// The range, or the input, is at its end.
    Done,
}

/// How far to read.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Rows that start here or later belong to another split.
    pub stop: u64,
    /// The end of the input is not its last word.
    pub growing: bool,
    /// The input ends some time, so that it may be read far ahead and then again.
    pub finite: bool,
}

/// A row that turned out to be too long, while its end is looked for.
pub struct LongRow {
    /// Where it starts.
    pub offset: u64,
    /// Its first bytes.
    pub head: Vec<u8>,
}

/// Finds lines. One for each split.
pub struct LineScan {
    row_bytes_max: usize,
    /// Where the range starts, while the end of the row before it is looked for.
    skipping: Option<u64>,
    long: Option<LongRow>,
}

impl LineScan {
    /// For a range that starts at a row.
    pub fn new(row_bytes_max: usize) -> Self {
        Self { row_bytes_max, skipping: None, long: None }
    }

    /// For a range that starts anywhere behind the first byte. The blocks must begin at `start - 1`.
    pub fn skipping(row_bytes_max: usize, start: u64) -> Self {
        Self { skipping: Some(start), ..Self::new(row_bytes_max) }
    }

    /// From here a new scan would go on: the first row that has not been given out.
    pub fn offset(&self, blocks: &Blocks) -> u64 {
        match (&self.skipping, &self.long) {
            (Some(start), _) => *start,
            (None, Some(long)) => long.offset,
            (None, None) => blocks.offset(),
        }
    }

    /// Gives complete rows to `row` (gather, offset, bytes) until something stops it.
    pub fn scan(
        &mut self,
        blocks: &mut Blocks,
        bounds: Bounds,
        gather: &mut Gather,
        mut row: impl FnMut(&mut Gather, u64, &[u8]),
    ) -> Result<ScanProgress, ConnectError> {
        loop {
            if self.skipping.is_some() || self.long.is_some() {
                match self.find_end(blocks, bounds, gather)? {
                    Some(progress) => return Ok(progress),
                    None => continue,
                }
            }
            let base = blocks.offset();
            let window = blocks.window();
            let mut at = 0;
            for newline in memchr_iter(b'\n', window) {
                if base + at as u64 >= bounds.stop || gather.is_full() {
                    break;
                }
                let line = &window[at..newline];
                self.give(gather, base + at as u64, line.strip_suffix(b"\r").unwrap_or(line), &mut row);
                at = newline + 1;
            }
            blocks.consume(at);
            if blocks.offset() >= bounds.stop {
                return Ok(ScanProgress::Done);
            }
            if gather.is_full() {
                return Ok(ScanProgress::Full);
            }
            // One byte more, for the `\r` that is not part of the row.
            if blocks.window().len() > self.row_bytes_max + 1 {
                let head = blocks.window()[..self.row_bytes_max].to_vec();
                self.long = Some(LongRow { offset: blocks.offset(), head });
                continue;
            }
            if blocks.may_block() && !gather.is_empty() {
                return Ok(ScanProgress::Paused);
            }
            if blocks.fill()? == Fill::End {
                if bounds.growing {
                    return Ok(ScanProgress::Wait);
                }
                self.give_last(blocks, gather, &mut row);
                return Ok(ScanProgress::Done);
            }
        }
    }

    #[inline]
    fn give(&self, gather: &mut Gather, offset: u64, line: &[u8], row: &mut impl FnMut(&mut Gather, u64, &[u8])) {
        let line = if offset == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if line.len() > self.row_bytes_max {
            gather.reject_long(offset, line, "");
        } else {
            row(gather, offset, line);
        }
    }

    /// The row that the end of the input ends; a byte order mark alone is none.
    fn give_last(&self, blocks: &mut Blocks, gather: &mut Gather, row: &mut impl FnMut(&mut Gather, u64, &[u8])) {
        let (offset, line) = (blocks.offset(), blocks.window());
        let is_mark = offset == 0 && line == BYTE_ORDER_MARK;
        if !line.is_empty() && !is_mark {
            self.give(gather, offset, line, row);
        }
        blocks.consume(usize::MAX);
    }

    /// Looks for the end of a row that is not wanted. `None`: found.
    fn find_end(&mut self, blocks: &mut Blocks, bounds: Bounds, gather: &mut Gather) -> Result<Option<ScanProgress>, ConnectError> {
        loop {
            let newline = memchr(b'\n', blocks.window());
            blocks.consume(newline.map_or(usize::MAX, |at| at + 1));
            if newline.is_some() {
                break;
            }
            if self.skipping.is_some() && blocks.offset() >= bounds.stop {
                // No row starts in this range.
                self.skipping = None;
                return Ok(Some(ScanProgress::Done));
            }
            if blocks.may_block() && !gather.is_empty() {
                return Ok(Some(ScanProgress::Paused));
            }
            if blocks.fill()? == Fill::End {
                if bounds.growing {
                    return Ok(Some(ScanProgress::Wait));
                }
                break;
            }
        }
        self.skipping = None;
        if let Some(long) = self.long.take() {
            gather.reject_long(long.offset, &long.head, "");
        }
        Ok(None)
    }
}
