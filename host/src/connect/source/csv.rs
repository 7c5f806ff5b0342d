//! Rows of the format `csv`.
//!
//! With a header the value of a row is a JSON object, header to text; without one it is a JSON array of texts. Quoted fields may hold
//! newlines. All records of a file must have as many fields as its first one; others are rejected, as is one that is not UTF-8 or holds a
//! NUL byte. Empty lines are no rows.
//!
//! # Quotes
//! A record whose quotes are not sound ([`super::quotes`]) is no row: where text follows a closing quote, where a quote is still open at the
//! end of the input, and, in an input that grows or cannot be read again, where one is still open after `row_bytes_max`. Its first line is
//! rejected, and reading goes on with the line behind it. So an open quote swallows no rows. In a file that can be read again, a record that
//! is longer than `row_bytes_max` is followed to its end before this is decided. Each byte is read about twice at most: a line that opens
//! a quote is closed, or broken, at the latest by the next line that would open one.
//!
//! The first record shapes all others, so that it is read again when a file is taken up behind it.

mod header;

use super::blocks::{Blocks, Fill};
use super::event_time;
use super::gather::Gather;
use super::json::bad_time;
use super::lines::{BYTE_ORDER_MARK, Bounds, LongRow, ScanProgress};
use super::quotes::Quotes;
use crate::connect::ConnectError;
use csv_core::ReadRecordResult;
use memchr::{memchr, memchr2};
use reprise_core::topology::{Field, FileSource, TimeField};
use std::path::{Path, PathBuf};

/// Why the first line of a record is refused.
const OPEN: &str = "a quote is opened and never closed; lines behind this one are read as rows of their own";
const BROKEN: &str = "text follows a closing quote; within quotes, a quote is written twice";
/// Fields that a record is first given room for.
const FIELDS_FIRST: usize = 32;

/// What the settings say of CSV.
#[derive(Debug, Clone)]
pub struct CsvRows {
    pub header: bool,
    pub delimiter: u8,
    pub key: Option<Field>,
    pub time: Option<TimeField>,
    pub row_bytes_max: usize,
}

impl CsvRows {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where key or time cannot be found in CSV.
    pub fn new(settings: &FileSource, header: bool, delimiter: u8, row_bytes_max: usize) -> Result<Self, ConnectError> {
        let time = settings.time.clone();
        for (what, field) in [("key", settings.key.as_ref()), ("time", time.as_ref().map(|time| &time.field))] {
            let help = match field {
                Some(Field::Pointer(_)) => "write `{ column = ... }` with the name of a column or its index from 0",
                Some(Field::Column(_)) if !header => "give its index from 0, or set `header = true`",
                _ => continue,
            };
            return Err(ConnectError::Config { what: format!("`{what}` does not fit CSV: {field:?}"), help: help.to_owned() });
        }
        if matches!(delimiter, b'"' | b'\n' | b'\r') {
            let what = format!("`{}` cannot delimit CSV columns", delimiter.escape_ascii());
            return Err(ConnectError::Config { what, help: "use another character, such as a comma".to_owned() });
        }
        Ok(Self { header, delimiter, key: settings.key.clone(), time, row_bytes_max })
    }
}

/// What the first record says of all others.
#[derive(Debug, Clone)]
struct Shape {
    /// JSON text before each field: `{"name":`, then `,"name":`; or `[` and `,`.
    prefixes: Vec<String>,
    key: Option<usize>,
    time: Option<usize>,
}

/// What the next record is.
enum Found {
    /// Fields are in `text` and `ends`; so many bytes of the window are the record, and are to be consumed.
    Record(usize),
    Long(LongRow),
    /// A record that is none: its first line, which has been consumed, and why.
    Unsound(LongRow, String),
    Stopped(ScanProgress),
}

/// A record that is longer than allowed, while its end is looked for.
struct LongRecord {
    row: LongRow,
    end: LongEnd,
}

/// What ends it.
enum LongEnd {
    /// The end of the record; where its quotes turn out to be unsound, reading goes on at its second line, once that is known.
    Record { quotes: Quotes, second: Option<u64> },
    /// The end of its first line.
    Line,
}

/// Finds records. One for each split.
pub struct CsvScan {
    settings: CsvRows,
    path: PathBuf,
    parser: csv_core::Reader,
    /// Bytes of the window that the parser has seen.
    fed: usize,
    text: Vec<u8>,
    text_len: usize,
    ends: Vec<usize>,
    ends_len: usize,
    long: Option<LongRecord>,
    /// A record that is too long ends with its first line: the input cannot be read again, or has no end yet.
    by_line: bool,
    shape: Option<Shape>,
    value: Vec<u8>,
}

impl CsvScan {
    /// For an input from its start; `path` names it in errors.
    pub fn new(settings: &CsvRows, path: &Path) -> Self {
        Self {
            settings: settings.clone(),
            path: path.to_path_buf(),
            parser: parser(settings),
            fed: 0,
            text: vec![0; 4 << 10],
            text_len: 0,
            ends: vec![0; FIELDS_FIRST],
            ends_len: 0,
            long: None,
            by_line: false,
            shape: None,
            value: Vec::new(),
        }
    }

    /// For a file from somewhere behind its first record, which is read here: `head` is the file from its start, as far as
    /// `bounds` say.
    ///
    /// # Errors
    /// As [`CsvScan::scan`].
    pub fn resume(settings: &CsvRows, path: &Path, mut head: Blocks, bounds: Bounds) -> Result<Self, ConnectError> {
        let mut first = Self::new(settings, path);
        loop {
            match first.find(&mut head, bounds, false)? {
                Found::Record(_) => break first.learn()?,
                Found::Long(_) if settings.header => return Err(first.long_header()),
                Found::Unsound(_, reason) if settings.header => return Err(first.bad_header(&format!("cannot be read: {reason}"))),
                Found::Long(_) | Found::Unsound(..) => {}
                // The first record is not complete yet; it will be found where the split goes on.
                Found::Stopped(_) => break,
            }
        }
        Ok(Self { shape: first.shape, ..Self::new(settings, path) })
    }

    /// From here a new scan would go on.
    pub fn offset(&self, blocks: &Blocks) -> u64 {
        self.long.as_ref().map_or(blocks.offset(), |long| long.row.offset)
    }

    /// Gathers rows until something stops it.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where the header lacks a column that the settings name; [`ConnectError::Io`].
    pub fn scan(&mut self, blocks: &mut Blocks, bounds: Bounds, gather: &mut Gather) -> Result<ScanProgress, ConnectError> {
        loop {
            if gather.is_full() {
                return Ok(ScanProgress::Full);
            }
            match self.find(blocks, bounds, !gather.is_empty())? {
                Found::Stopped(progress) => return Ok(progress),
                Found::Long(_) if self.settings.header && self.shape.is_none() => return Err(self.long_header()),
                Found::Unsound(_, reason) if self.settings.header && self.shape.is_none() => {
                    return Err(self.bad_header(&format!("cannot be read: {reason}")));
                }
                Found::Long(long) => gather.reject_long(long.offset, &long.head, ""),
                Found::Unsound(line, reason) => gather.reject(line.offset, &line.head, reason),
                Found::Record(bytes) => {
                    let header = self.shape.is_none() && self.settings.header;
                    if self.shape.is_none() {
                        self.learn()?;
                    }
                    if !header {
                        self.row(blocks.offset(), blocks.window().get(..bytes).unwrap_or_default(), gather);
                    }
                    blocks.consume(bytes);
                    (self.text_len, self.ends_len) = (0, 0);
                }
            }
        }
    }

    /// The next record, long row, unsound line or stop.
    fn find(&mut self, blocks: &mut Blocks, bounds: Bounds, may_pause: bool) -> Result<Found, ConnectError> {
        self.by_line = !bounds.finite || blocks.as_file().is_none();
        loop {
            let mut starved = blocks.window().len() == self.fed;
            if matches!(self.long, Some(LongRecord { end: LongEnd::Line, .. })) {
                if let Some(found) = self.pass_line(blocks) {
                    return Ok(found);
                }
                starved = true;
            } else if self.fed == 0 && self.long.is_none() {
                starved = !self.skip_to_record(blocks);
                if blocks.offset() >= bounds.stop {
                    return Ok(Found::Stopped(ScanProgress::Done));
                }
            }
            if starved {
                if self.fed > self.settings.row_bytes_max && self.long.is_none() {
                    self.begin_long(blocks);
                    continue;
                }
                if may_pause && blocks.may_block() {
                    return Ok(Found::Stopped(ScanProgress::Paused));
                }
                if blocks.fill()? == Fill::End {
                    return match bounds.growing {
                        true => Ok(Found::Stopped(ScanProgress::Wait)),
                        false => self.finish(blocks),
                    };
                }
                continue;
            }
            let result = self.feed(&blocks.window()[self.fed..]);
            // The fields of a long one do not matter any more.
            if (self.long.is_some() && self.pass(blocks)) || result == ReadRecordResult::Record {
                return self.complete(blocks);
            }
        }
    }

    /// Passes the byte order mark and empty lines. False where a record may still start behind the window.
    fn skip_to_record(&self, blocks: &mut Blocks) -> bool {
        if blocks.offset() == 0 {
            if blocks.window().starts_with(BYTE_ORDER_MARK) {
                blocks.consume(BYTE_ORDER_MARK.len());
            } else if BYTE_ORDER_MARK.starts_with(blocks.window()) {
                return false;
            }
        }
        let blank = blocks.window().iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
        blocks.consume(blank);
        !blocks.window().is_empty()
    }

    /// The input has ended: what is left is the last record.
    fn finish(&mut self, blocks: &mut Blocks) -> Result<Found, ConnectError> {
        if matches!(self.long, Some(LongRecord { end: LongEnd::Line, .. })) {
            return self.complete(blocks);
        }
        // A window that was too short to tell a byte order mark has not been fed.
        let rest = &blocks.window()[self.fed..];
        let mut result = if rest.is_empty() { ReadRecordResult::InputEmpty } else { self.feed(rest) };
        while !matches!(result, ReadRecordResult::Record | ReadRecordResult::End) {
            result = self.feed(&[]);
        }
        match result {
            ReadRecordResult::Record => self.complete(blocks),
            _ if self.long.is_some() => self.complete(blocks),
            _ => Ok(Found::Stopped(ScanProgress::Done)),
        }
    }

    /// The record is too long. By lines where it cannot be read again: then its quotes are not waited for.
    fn begin_long(&mut self, blocks: &mut Blocks) {
        let row = LongRow { offset: blocks.offset(), head: blocks.window()[..self.settings.row_bytes_max].to_vec() };
        if !self.by_line {
            self.long = Some(LongRecord { row, end: LongEnd::Record { quotes: Quotes::Field, second: None } });
            self.pass(blocks);
        } else {
            self.long = Some(LongRecord { row, end: LongEnd::Line });
            self.start_anew();
        }
    }

    /// Gives up what the parser has seen of a long record. True where its quotes are broken, so that it need not be read on.
    fn pass(&mut self, blocks: &mut Blocks) -> bool {
        let seen = &blocks.window()[..self.fed];
        let mut is_broken = false;
        if let Some(LongRecord { end: LongEnd::Record { quotes, second }, .. }) = &mut self.long {
            quotes.feed(seen, self.settings.delimiter);
            *second = second.or_else(|| line_end(seen).map(|at| blocks.offset() + at as u64));
            is_broken = *quotes == Quotes::Broken && second.is_some();
        }
        blocks.consume(self.fed);
        (self.fed, self.text_len, self.ends_len) = (0, 0, 0);
        is_broken
    }

    /// Passes the first line of a long record; what is behind it is read anew. `None` where its end is not here.
    fn pass_line(&mut self, blocks: &mut Blocks) -> Option<Found> {
        let end = line_end(blocks.window());
        blocks.consume(end.unwrap_or(usize::MAX));
        end.and_then(|_| self.long.take()).map(|long| self.too_long(long.row))
    }

    /// A line that is too long, or opens a quote that is not closed in time.
    fn too_long(&self, mut row: LongRow) -> Found {
        if Quotes::of(&row.head, self.settings.delimiter) != Quotes::Open {
            return Found::Long(row);
        }
        cut_to_line(&mut row.head);
        let max = self.settings.row_bytes_max;
        Found::Unsound(
            row,
            format!("a quote is opened and not closed within `row-max` ({max} bytes); lines behind this one are read as rows of their own"),
        )
    }

    /// The parser has come to the end of a record, or of the input.
    fn complete(&mut self, blocks: &mut Blocks) -> Result<Found, ConnectError> {
        if let Some(long) = self.long.take() {
            self.start_anew();
            let LongEnd::Record { quotes, second } = long.end else { return Ok(self.too_long(long.row)) };
            let (false, Some(second)) = (quotes.are_sound(), second) else { return Ok(Found::Long(long.row)) };
            blocks.rewind(second)?;
            return Ok(unsound(long.row, quotes));
        }
        let bytes = std::mem::take(&mut self.fed);
        let record = without_newline(&blocks.window()[..bytes]);
        let quotes = Quotes::of(record, self.settings.delimiter);
        let is_long = record.len() > self.settings.row_bytes_max;
        if quotes.are_sound() && !is_long {
            return Ok(Found::Record(bytes));
        }
        let head = record[..record.len().min(self.settings.row_bytes_max)].to_vec();
        let row = LongRow { offset: blocks.offset(), head };
        self.start_anew();
        if is_long && self.by_line {
            let line = line_end(record).unwrap_or(bytes);
            blocks.consume(line);
            return Ok(self.too_long(row));
        }
        if quotes.are_sound() {
            blocks.consume(bytes);
            return Ok(Found::Long(row));
        }
        let line = line_end(record).unwrap_or(bytes);
        blocks.consume(line);
        Ok(if is_long && line > self.settings.row_bytes_max { Found::Long(row) } else { unsound(row, quotes) })
    }

    /// The next byte is the first one of a record.
    fn start_anew(&mut self) {
        self.parser = parser(&self.settings);
        (self.fed, self.text_len, self.ends_len) = (0, 0, 0);
    }

    /// Gives bytes to the parser, and makes room for what it writes. Unescaped text is never longer than the record, so that ends at twice the
    /// longest row.
    fn feed(&mut self, bytes: &[u8]) -> ReadRecordResult {
        let (text, ends) = (&mut self.text[self.text_len..], &mut self.ends[self.ends_len..]);
        let (result, read, wrote, ended) = self.parser.read_record(bytes, text, ends);
        self.fed += read;
        self.text_len += wrote;
        self.ends_len += ended;
        match result {
            ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
            ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
            ReadRecordResult::InputEmpty | ReadRecordResult::Record | ReadRecordResult::End => {}
        }
        result
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    fn row(&mut self, offset: u64, raw: &[u8], gather: &mut Gather) {
        let mut value = std::mem::take(&mut self.value);
        let built = self.build(&mut value).and_then(|(key, time)| gather.check_time(time).map(|()| (key, time)));
        match built {
            Ok((key, time)) => gather.push(offset, key, &value, time),
            Err(reason) => gather.reject(offset, without_newline(raw), reason),
        }
        self.value = value;
    }

    /// Writes the row's JSON to `value`; gives its key and time.
    fn build(&self, value: &mut Vec<u8>) -> Result<(&[u8], Option<i64>), String> {
        let Some(shape) = &self.shape else { return Err("the file has no first record".to_owned()) };
        let (count, width) = (self.ends_len, shape.prefixes.len());
        if count != width {
            return Err(format!("the record has {count} fields, the first one of the file has {width}"));
        }
        let text = std::str::from_utf8(&self.text[..self.text_len]).map_err(|error| format!("the record is not UTF-8: {error}"))?;
        value.clear();
        if memchr(0, text.as_bytes()).is_some() {
            return Err("the record holds a NUL byte; is the file binary, or UTF-16?".to_owned());
        }
        let mut start = 0;
        for (prefix, &end) in shape.prefixes.iter().zip(&self.ends) {
            let field = text.get(start..end).ok_or("the record is not UTF-8: a character lies across two fields")?;
            value.extend_from_slice(prefix.as_bytes());
            crate::connect::json_text::string(value, field);
            start = end;
        }
        value.push(if self.settings.header { b'}' } else { b']' });
        let time = match (shape.time, &self.settings.time) {
            (Some(column), Some(setting)) => {
                let text = std::str::from_utf8(self.field(column)).unwrap_or_default();
                Some(event_time::parse(text, setting.unit).ok_or_else(|| bad_time(text, setting.unit))?)
            }
            _ => None,
        };
        Ok((shape.key.map_or(&[][..], |column| self.field(column)), time))
    }
}

fn parser(settings: &CsvRows) -> csv_core::Reader {
    let mut parser = csv_core::ReaderBuilder::new().delimiter(settings.delimiter).build();
    // The parser drops a byte order mark from the first bytes it sees, even in mid-file; now it has seen some.
    parser.read_record(b"\n", &mut [0; 1], &mut [0; 1]);
    parser
}

/// Bytes of the first line, its end included.
fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr2(b'\n', b'\r', bytes).map(|at| at + 1)
}

/// Leaves the first line, without its end.
fn cut_to_line(bytes: &mut Vec<u8>) {
    if let Some(end) = line_end(bytes) {
        bytes.truncate(end - 1);
    }
}

/// The first line of a record that is none.
fn unsound(mut row: LongRow, quotes: Quotes) -> Found {
    cut_to_line(&mut row.head);
    Found::Unsound(row, if quotes == Quotes::Open { OPEN } else { BROKEN }.to_owned())
}

fn without_newline(record: &[u8]) -> &[u8] {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    record.strip_suffix(b"\r").unwrap_or(record)
}
