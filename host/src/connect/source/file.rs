//! The source `file`: files that a path or a glob names.
//!
//! # Splits
//! Files of format `lines` and `json` are cut into ranges of `split` bytes; a CSV file is one split, and so is a followed file. The cut is
//! made once, when a file is first seen: a checkpoint keeps it, whatever the settings say later. A bounded file is read as long as it was
//! when it was listed; what is appended later is left out, with a warning. Empty files have no splits. A packed file (gzip, zstd) is one
//! split, of which only the end shows how long it is.
//!
//! A split that is under way is read with the settings that it was begun with ([`super::decoder::Format::reads`]); others are refused.
//!
//! # Follow
//! With `follow`, files never end, and a last row without a newline is left until it has one. A file that is truncated or replaced is an
//! error; one that is removed is read to its end, its last row included, and then finished for good. New files that match the glob are
//! found at every poll by the first reader made in the process that listed the splits; it reads them itself. A file read to its end in a
//! bounded run and followed in a later one goes on where it ended.
//!
//! # Watermark
//! The smallest, over the splits that are not finished, of: largest event time seen, less `lateness`, less 1 ms. A split that has not
//! given a time yet holds the watermark of its reader back, so that in bounded files it moves only in the last split. A followed one that has
//! had no rows for `idle-after` is left out ([`super::watermark`]).

use super::content::packing_of;
use super::decoder::Format;
use super::event_time::Horizon;
use super::listing::Listing;
use super::position::{FINGERPRINT_BYTES, FilePosition, Fingerprint, UNKNOWN_BYTES};
use super::reader::FileReader;
use super::split::packed_is_not_followed;
use crate::clock::Clock;
use crate::connect::{BatchLimits, ConnectError, Source, SourceReader, SplitPosition};
use reprise_core::topology::{Compression, FileSource};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Splits of one source; a position of each is in every checkpoint.
pub const SPLITS_MAX: usize = 100_000;

/// The source `file`. See the module.
pub struct FilesSource {
    plan: Arc<Plan>,
}

/// What the source and its readers share.
pub(super) struct Plan {
    pub format: Format,
    pub listing: Listing,
    /// The settings that say which rows the bytes are.
    reads: String,
    pub compression: Compression,
    pub limits: BatchLimits,
    pub row_bytes_max: usize,
    split_bytes: u64,
    pub follow: bool,
    pub poll: Duration,
    /// Milliseconds; none where rows have no time.
    pub lateness_ms: Option<i64>,
    pub idle_after: Option<Duration>,
    pub horizon: Horizon,
    pub clock: Clock,
    /// Files that some reader has, in the process that listed them.
    seen: Mutex<Option<BTreeSet<String>>>,
    has_finder: AtomicBool,
}

/// What a checkpoint says of one file, over all its splits.
#[derive(Default)]
struct Known {
    followed: bool,
    /// Of its last range: that one says whether a row at the end was left out.
    size: u64,
    start: u64,
}

impl FilesSource {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConnectError::Config`].
    pub fn new(settings: &FileSource, base_dir: &Path, limits: BatchLimits, clock: Clock) -> Result<Self, ConnectError> {
        if settings.split_bytes == 0 {
            return Err(ConnectError::Config {
                what: "`split` of the source is 0 bytes".to_owned(),
                help: "choose at least 1; some MiB are usual".to_owned(),
            });
        }
        let lateness_ms = i64::try_from(settings.lateness.as_millis()).unwrap_or(i64::MAX);
        let plan = Plan {
            format: Format::new(settings)?,
            listing: Listing::new(&settings.path, base_dir)?,
            reads: Format::reads(settings),
            compression: settings.compression,
            limits,
            row_bytes_max: settings.row_bytes_max as usize,
            split_bytes: settings.split_bytes,
            follow: settings.follow,
            poll: settings.poll,
            lateness_ms: settings.time.as_ref().map(|_| lateness_ms),
            idle_after: settings.idle_after,
            horizon: Horizon::new(settings, clock.clone()),
            clock,
            seen: Mutex::new(None),
            has_finder: AtomicBool::new(false),
        };
        Ok(Self { plan: Arc::new(plan) })
    }
}

impl Source for FilesSource {
    fn splits(&self, known: &[SplitPosition]) -> Result<Vec<SplitPosition>, ConnectError> {
        let plan = &self.plan;
        let mut files: BTreeMap<String, Known> = BTreeMap::new();
        for split in known {
            let position = FilePosition::parse(split)?;
            if !position.is_done() {
                plan.check_known(&position)?;
            }
            let file = files.entry(position.path).or_default();
            file.followed |= position.size.is_none();
            if position.start >= file.start {
                (file.start, file.size) = (position.start, position.packed.or(position.size).unwrap_or(0));
            }
        }
        if !plan.follow && !known.is_empty() && known.iter().all(|split| self.is_done(split)) {
            // Operators may have been told that the input has ended: files that came later must not reopen it.
            return Ok(known.to_vec());
        }
        let names = plan.listing.names()?;
        if names.is_empty() && known.is_empty() && !plan.follow {
            return Err(ConnectError::Missing {
                what: format!("no file matches `{}`", plan.listing.full().display()),
                help: "correct `path` of the source; with `follow = true` it waits for files to come".to_owned(),
            });
        }
        let mut splits = known.to_vec();
        for name in &names {
            let file = files.get(name);
            splits.extend(plan.cut(name, file)?.iter().map(FilePosition::to_split));
            if splits.len() > SPLITS_MAX {
                return Err(ConnectError::Config {
                    what: format!("the source has more than {SPLITS_MAX} splits, at file `{name}`"),
                    help: "raise `split`, or name fewer files".to_owned(),
                });
            }
        }
        let seen = files.into_keys().chain(names).collect();
        *plan.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Ok(splits)
    }

    fn is_done(&self, split: &SplitPosition) -> bool {
        FilePosition::parse(split).is_ok_and(|position| position.is_done())
    }

    fn reader(&self, splits: Vec<SplitPosition>) -> Result<Box<dyn SourceReader>, ConnectError> {
        let mut positions = splits.iter().map(FilePosition::parse).collect::<Result<Vec<_>, _>>()?;
        for position in positions.iter_mut().filter(|position| !position.is_done()) {
            // As it is from here on: it was none, or nothing has been read.
            position.reads = Some(self.plan.reads.clone());
        }
        Ok(Box::new(FileReader::new(Arc::clone(&self.plan), positions, self.plan.claim_finder())))
    }

    fn replays(&self) -> bool {
        true
    }
}

impl Plan {
    /// Refuses to go on with a file that the settings do not mean any more, or that is not what it was.
    fn check_known(&self, position: &FilePosition) -> Result<(), ConnectError> {
        if !self.listing.covers(&position.path) {
            return Err(ConnectError::Config {
                what: format!(
                    "the checkpoint has read `{}` up to offset {}, but `path` of the source no longer covers that file",
                    position.path.escape_debug(),
                    position.offset
                ),
                help: "let `path` cover it until it has been read, or start the job anew with an empty checkpoint store".to_owned(),
            });
        }
        self.check_reads(position)?;
        position.verify(&self.listing.locate(&position.path)).map(|_| ())
    }

    /// Refuses to read the rest of a file otherwise than its beginning. A whole file of which nothing has been read may be read in another way.
    fn check_reads(&self, position: &FilePosition) -> Result<(), ConnectError> {
        let is_whole = position.start == 0 && position.end == position.size;
        let is_free = is_whole && position.offset == 0 && position.packed.is_none();
        let before = position.reads.as_deref().filter(|before| *before != self.reads && !is_free);
        let what = if let Some(before) = before {
            format!("as {before}, and the topology says {}", self.reads)
        } else if position.packed.is_some() && (self.follow || self.compression == Compression::None) {
            let says = if self.follow { "follow = true" } else { "compression = \"none\"" };
            format!("as a packed file, and the topology says `{says}`")
        } else {
            return Ok(());
        };
        Err(ConnectError::Config {
            what: format!("the job has begun to read `{}` (up to offset {}) {what}", position.path.escape_debug(), position.offset),
            help: "write the settings as they were until that file has been read, or start the job anew with an empty checkpoint store"
                .to_owned(),
        })
    }

    /// The new splits of a file.
    fn cut(&self, name: &str, known: Option<&Known>) -> Result<Vec<FilePosition>, ConnectError> {
        let path = self.listing.locate(name);
        let length = || std::fs::metadata(&path).map(|metadata| metadata.len()).map_err(ConnectError::io("look at", &path));
        match known {
            Some(known) if known.followed => return Ok(Vec::new()),
            _ if self.follow && self.passes_over(&path)? => return Ok(Vec::new()),
            Some(known) if self.follow => return Ok(vec![self.position(name, known.size, None, None)?]),
            Some(known) => {
                if length()? > known.size {
                    tracing::warn!(
                        "input `{name}` has grown since it was listed with {} bytes; what was appended is not read (set follow = true to read it)",
                        known.size
                    );
                }
                return Ok(Vec::new());
            }
            None if self.follow => return Ok(vec![self.position(name, 0, None, None)?]),
            None => {}
        }
        let size = length()?;
        if packing_of(&path, self.compression)?.is_some() {
            let whole = self.position(name, 0, Some(UNKNOWN_BYTES), Some(UNKNOWN_BYTES))?;
            return Ok(vec![FilePosition { packed: Some(size), ..whole }]);
        }
        let step = if self.format.is_lines() { self.split_bytes } else { size.max(1) };
        let first = self.position(name, 0, Some(size), Some(size))?;
        let starts = (0..size).step_by(usize::try_from(step).unwrap_or(usize::MAX)).take(SPLITS_MAX + 1);
        let range = |start: u64| FilePosition { start, offset: start, end: Some(start.saturating_add(step).min(size)), ..first.clone() };
        Ok(starts.map(range).collect())
    }

    fn position(&self, name: &str, start: u64, end: Option<u64>, size: Option<u64>) -> Result<FilePosition, ConnectError> {
        let fingerprint = Fingerprint::read(&self.listing.locate(name), FINGERPRINT_BYTES)?;
        let (path, reads) = (name.to_owned(), Some(self.reads.clone()));
        Ok(FilePosition { path, start, end, offset: start, size, fingerprint, packed: None, reads, time_max: None })
    }

    /// True for a packed file, which cannot be followed; the log says so.
    fn passes_over(&self, path: &Path) -> Result<bool, ConnectError> {
        let Some(packing) = packing_of(path, self.compression)? else { return Ok(false) };
        tracing::warn!("{}", packed_is_not_followed(path, packing));
        Ok(true)
    }

    /// True once, for the reader that looks for new files.
    fn claim_finder(&self) -> bool {
        let listed = self.seen.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        self.follow && listed && !self.has_finder.swap(true, Ordering::AcqRel)
    }

    /// Followed files that nobody has seen before.
    pub(super) fn find_new(&self) -> Result<Vec<FilePosition>, ConnectError> {
        let mut guard = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = guard.as_mut() else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for name in self.listing.names()? {
            if seen.contains(&name) {
                continue;
            }
            let path = self.listing.locate(&name);
            let position = match self.passes_over(&path) {
                Ok(true) => {
                    seen.insert(name);
                    continue;
                }
                Ok(false) => self.position(&name, 0, None, None),
                Err(error) => Err(error),
            };
            match position {
                Ok(position) => found.push(position),
                // It came and went.
                Err(ConnectError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            seen.insert(name);
        }
        Ok(found)
    }
}
