//! Files that were read to their ends, folded: what is kept of each is a fixed number of bytes.
//!
//! ```json
//! {"finished":2,"folder":1234,"files":"<BASE64>","gone":"<BASE64>"}
//! ```
//! A record has 30 bytes, little-endian: key of the file (8), hash of its name (4), bytes read (6), print at that offset (8), stamp of length
//! and time of change (4). Records are sorted by key. `gone` holds those of files that were there lately.
//!
//! A split of this kind has no rows of its own. Where a file of it grows, it becomes a split of its own again.

use crate::connect::{ConnectError, SourceSplit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use reprise_core::codec::checksum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Identity of the split; those of single readers have their number after a slash. Splits of files have an `@`.
pub const SPLIT: &str = "finished";
/// Bytes of a record.
const RECORD_BYTES: usize = 30;
/// Files that a source remembers to have read: a record of each is in every checkpoint.
pub const MARKS_MAX: usize = 1_000_000;
/// Files that are remembered after they are gone: they may come back.
pub const GONE_MAX: usize = 256;

/// A file that was read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// [`name_hash`] of its name.
    pub name: u32,
    /// Bytes read; less than 2^48.
    pub offset: u64,
    /// [`super::identity::print_at`] of that offset.
    pub print: u64,
    /// [`super::identity::stamp`] of its length and time of change.
    pub stamp: u32,
}

/// A file name in 32 bits, as marks hold it.
pub fn name_hash(name: &str) -> u32 {
    checksum(name.as_bytes()) as u32
}

/// The marks of one split: files that were read to their ends, and the folder that they were seen in.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Marks {
    /// The folder that the files were seen in, and the pattern: see [`super::listing::Listed::folder`].
    pub folder: Option<u64>,
    /// By key.
    pub files: BTreeMap<u64, Mark>,
    /// By key, the latest last.
    pub gone: Vec<(u64, Mark)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    finished: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    folder: Option<u64>,
    files: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    gone: String,
}

impl Marks {
    /// True for splits of this kind.
    pub fn is(split: &str) -> bool {
        split == SPLIT || split.strip_prefix(SPLIT).is_some_and(|rest| rest.starts_with('/') && !rest.contains('@'))
    }

    /// Reads them back.
    ///
    /// # Errors
    /// [`ConnectError::Corrupt`] where they cannot have been written here.
    pub fn parse(split: &SourceSplit) -> Result<Self, ConnectError> {
        let corrupt = |why: String| split.corrupt(&why);
        let text: Text = serde_json::from_str(&split.position).map_err(|error| corrupt(error.to_string()))?;
        let files = unfold(&text.files).map_err(&corrupt)?;
        let gone = unfold(&text.gone).map_err(&corrupt)?;
        let files: BTreeMap<u64, Mark> = files.into_iter().collect();
        if files.len() as u64 != text.finished {
            return Err(corrupt(format!("it has {} files, not {}", files.len(), text.finished)));
        }
        Ok(Self { folder: text.folder, files, gone })
    }

    /// For a checkpoint.
    pub fn to_split(&self, split: &str) -> SourceSplit {
        let (files, gone) = (pack(self.files.iter().map(|(key, mark)| (*key, *mark))), pack(self.gone.iter().copied()));
        let text = Text { finished: self.files.len() as u64, folder: self.folder, files, gone };
        SourceSplit { split: split.to_owned(), position: serde_json::to_string(&text).expect("numbers and text are JSON") }
    }

    /// Remembers a file that has gone, and forgets the one that went first where there are too many.
    pub fn went(&mut self, key: u64, mark: Mark) {
        self.gone.retain(|(other, _)| *other != key);
        if self.gone.len() >= GONE_MAX {
            self.gone.remove(0);
        }
        self.gone.push((key, mark));
    }

    /// Puts others to these; their folder counts where these have none.
    pub fn merge(&mut self, other: Self) {
        self.folder = self.folder.or(other.folder);
        self.files.extend(other.files);
        other.gone.into_iter().for_each(|(key, mark)| self.went(key, mark));
    }

    /// True where nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.gone.is_empty()
    }
}

fn pack(marks: impl Iterator<Item = (u64, Mark)>) -> String {
    let mut bytes = Vec::with_capacity(marks.size_hint().0 * RECORD_BYTES);
    for (key, mark) in marks {
        bytes.extend_from_slice(&key.to_le_bytes());
        bytes.extend_from_slice(&mark.name.to_le_bytes());
        bytes.extend_from_slice(&mark.offset.to_le_bytes()[..6]);
        bytes.extend_from_slice(&mark.print.to_le_bytes());
        bytes.extend_from_slice(&mark.stamp.to_le_bytes());
    }
    BASE64.encode(bytes)
}

fn unfold(text: &str) -> Result<Vec<(u64, Mark)>, String> {
    if text.len() / 4 * 3 > MARKS_MAX * RECORD_BYTES {
        return Err(format!("it has more than {MARKS_MAX} files"));
    }
    let bytes = BASE64.decode(text).map_err(|error| error.to_string())?;
    if bytes.len() % RECORD_BYTES != 0 {
        return Err(format!("{} bytes are no whole number of records", bytes.len()));
    }
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mark = |record: &[u8]| {
        let (name, stamp) = (number(&record[8..12]) as u32, number(&record[26..30]) as u32);
        (number(&record[..8]), Mark { name, offset: number(&record[12..18]), print: number(&record[18..26]), stamp })
    };
    Ok(bytes.chunks_exact(RECORD_BYTES).map(mark).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u64) -> Mark {
        Mark { name: number as u32, offset: number * 1_000_003, print: !number, stamp: 7 }
    }

    #[test]
    fn marks_come_back_as_they_were_and_take_forty_characters_each() {
        let mut marks = Marks { folder: Some(u64::MAX), ..Marks::default() };
        for number in 0..1_000 {
            marks.files.insert(checksum(&[number as u8, (number >> 8) as u8]), mark(number));
        }
        marks.went(5, mark(5));
        let split = marks.to_split("finished/3");
        assert!(split.position.len() < 1_000 * 40 + 150, "{}", split.position.len());
        assert!(Marks::is(&split.split) && Marks::is("finished") && !Marks::is("finished/a@0") && !Marks::is("finished@0"));
        assert_eq!(Marks::parse(&split).unwrap(), marks);
    }

    #[test]
    fn only_so_many_of_those_that_went_are_remembered() {
        let mut marks = Marks::default();
        (0..1_000).for_each(|number| marks.went(number, mark(number)));
        assert_eq!((marks.gone.len(), marks.gone[0].0), (GONE_MAX, 1_000 - GONE_MAX as u64));
    }

    #[test]
    fn marks_that_lie_are_refused() {
        let refused = |position: &str| Marks::parse(&SourceSplit { split: SPLIT.into(), position: position.into() }).is_err();
        assert!(!refused(r#"{"finished":0,"files":""}"#));
        for text in ["", "{}", r#"{"finished":1,"files":""}"#, r#"{"finished":0,"files":"AAAA"}"#, r#"{"finished":0,"files":"?"}"#] {
            assert!(refused(text), "{text}");
        }
    }
}
