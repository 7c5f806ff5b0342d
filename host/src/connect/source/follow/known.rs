//! What is known of followed files, what is asked, and what is answered.

use crate::connect::source::identity::{Look, stamp};
use crate::connect::source::listing::FoundFile;
use crate::connect::source::marks::{Mark, Marks, name_hash};
use crate::connect::source::position::CUTS_MAX;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

/// A followed file, as it is known.
#[derive(Debug, Clone, Default)]
pub struct Tracked {
    /// The reader that has it.
    pub owner: usize,
    /// None for one that was folded and has not been seen since.
    pub name: Option<String>,
    /// None where it was folded and has not been seen since.
    pub ino: Option<u64>,
    pub name_hash: u32,
    /// Rows before it have been given out.
    pub offset: u64,
    /// Digest at the offset; none where nothing was read.
    pub print: Option<u64>,
    /// As last seen.
    pub len: u64,
    pub(super) changed: i64,
    /// It lies outside of what `path` means.
    pub outside: bool,
    /// The folder that it was last seen in.
    pub folder: Option<u64>,
    /// Of the length and time of change when it was folded.
    pub(super) stamp: Option<u32>,
    pub(super) seen: u64,
    pub(super) cuts: Vec<Cut>,
}

impl Tracked {
    /// One that is known from a checkpoint or was just found.
    pub fn new(name: &str, look: Option<&Look>, offset: u64, print: Option<u64>) -> Self {
        let (ino, len, changed) = look.map_or((None, 0, 0), |look| (Some(look.id.ino), look.len, look.changed));
        Self { name: Some(name.to_owned()), ino, name_hash: name_hash(name), offset, print, len, changed, ..Self::default() }
    }

    /// The same, last seen in this folder.
    pub fn within(self, folder: Option<u64>) -> Self {
        Self { folder, ..self }
    }

    /// One that was folded.
    pub fn marked(mark: &Mark) -> Self {
        let (print, stamp) = (Some(mark.print), Some(mark.stamp));
        Self { name_hash: mark.name, offset: mark.offset, print, len: mark.offset, stamp, ..Self::default() }
    }

    /// The same, truncated before, when this much had been read of it.
    pub fn cut_at(self, cuts: impl Iterator<Item = (u64, u64)>, now: Duration) -> Self {
        let cut = |(offset, print)| Cut { offset, print, unread: 0, since: now, is_found: false };
        Self { cuts: cuts.take(CUTS_MAX).map(cut).collect(), ..self }
    }

    /// Offsets and digests of what had been read when it was truncated lately.
    pub fn cuts(&self) -> impl Iterator<Item = (u64, u64)> {
        self.cuts.iter().filter(|cut| cut.offset > 0).map(|cut| (cut.offset, cut.print))
    }

    /// To remember that it was read.
    pub fn mark(&self) -> Option<Mark> {
        Some(Mark { name: self.name_hash, offset: self.offset, print: self.print?, stamp: stamp(self.len, self.changed) })
    }
}

/// What the readers must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has another name, and another key where the whole folder is another one.
    Renamed { name: String, key: u64 },
    /// There may be more to read.
    Grown,
    /// It is shorter than what was read of it: it is read from its start. So many bytes are known to be unread.
    Truncated { unread: u64 },
    /// It has a name that `path` does not mean.
    Outside { name: String },
    /// It is nowhere. It had been read up to `offset`; so many bytes behind that were seen and not read.
    Gone { name: Option<String>, offset: u64, unread: u64 },
    /// It was not known. Rows before `start` are known from elsewhere.
    New { found: FoundFile, start: u64 },
}

/// One change, for one reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowDecision {
    /// The reader that it is for; none for a new file that any may read.
    pub owner: Option<usize>,
    pub key: u64,
    pub change: Change,
}

/// What is looked up while deciding.
pub trait Facts {
    /// The digest of a file at an offset; none where it is shorter or cannot be read.
    fn print(&mut self, name: &str, offset: u64) -> Option<u64>;
    /// A file that was listed, as it is now; none where it has another name or is gone.
    fn again(&mut self, found: &FoundFile) -> Option<FoundFile>;
    /// True where the first file holds what the second one begins with.
    fn is_beginning(&mut self, part: &str, whole: &str) -> bool;
    /// The file that was called so and had this inode, under whatever name it has in its folder.
    fn beside(&mut self, name: &str, ino: u64) -> Option<FoundFile>;
    /// A file beside this one that `path` does not mean, whose name begins as that of this one and which has this digest at this offset.
    fn copy_beside(&mut self, name: &str, offset: u64, print: u64) -> Option<FoundFile>;
    /// True where `path` means this name.
    fn is_meant(&mut self, name: &str) -> bool;
    /// True where nothing is known of what this name stands for: a folder on its way cannot be read.
    fn is_blind(&mut self, name: Option<&str>) -> bool;
}

/// What had been read of a file when it was truncated.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub(super) offset: u64,
    pub(super) print: u64,
    /// Bytes that were there, had not been read, and have not been told to be lost.
    pub(super) unread: u64,
    pub(super) since: Duration,
    /// Its copy was found.
    pub(super) is_found: bool,
}

/// A new file that is left alone.
#[derive(Debug)]
pub struct HeldCopy {
    pub(super) len: u64,
    pub(super) since: Duration,
    pub(super) of: u64,
}

/// The followed files of a source, over all its readers, and what was seen of them.
#[derive(Debug, Default)]
pub struct Followed {
    pub(super) files: HashMap<u64, Tracked>,
    /// Lengths of names, and keys, by the hash of the stem of the name.
    pub(super) stems: HashMap<u32, BTreeSet<(usize, u64)>>,
    /// Files that were truncated lately.
    pub(super) cut: BTreeSet<u64>,
    /// Files that a reader reads at this moment: nothing is decided about them that what it reads could contradict.
    pub(super) reading: HashSet<u64>,
    /// Files that a look waits for to be at rest: no reader begins to read them before the next one.
    pub(super) wanted: HashSet<u64>,
    /// The readers that had files that went. What a checkpoint has of such a file and of the same one when it is back comes from one reader, in order.
    pub(super) gone_owners: HashMap<u64, usize>,
    pub(super) held: HashMap<u64, HeldCopy>,
    /// The round of looks.
    pub(super) round: u64,
    /// The folder as last seen.
    pub folder: Option<u64>,
    /// Files that went, which may come back.
    pub gone: Marks,
    /// Files without contents are followed, too: they hold event time back.
    pub takes_empty: bool,
    /// Some files are kept though nothing is seen of them.
    pub keeps_unseen: bool,
    /// It was told that no more files can be known.
    pub(super) tells_full: bool,
    /// What is to be told.
    pub warnings: Vec<String>,
}

/// What rotated copies of a file begin with: its name without the last ending.
pub fn stem(name: &str) -> &str {
    let file = file_name(name);
    match file.rfind('.') {
        Some(at) if at > 0 => &file[..at],
        _ => file,
    }
}

/// The name of a file without its folders.
pub fn file_name(name: &str) -> &str {
    Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name)
}
