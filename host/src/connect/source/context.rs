//! What the source `file` and its readers share: the settings, and what they know together of followed files.

use super::decoder::{Format, RowSettings};
use super::disk::Disk;
use super::follow::{Change, FollowDecision, Followed};
use super::listing::{Listed, Listing};
use super::position::FilePosition;
use crate::clock::Clock;
use crate::connect::{BatchLimits, ConnectError};
use reprise_core::topology::{FileSource, OnLost};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Splits of one source; a position of each is in every checkpoint.
pub const SPLITS_MAX: usize = 100_000;
/// Files that are open at a time, over all readers of a source; each reader has one at least.
pub const HANDLES_MAX: usize = 64;
/// Of these, what a look at the folder opens for a moment.
const LOOK_HANDLES: usize = 2;
/// New followed files that are begun at one look. Others wait for a later one.
pub const NEW_MAX: usize = 4_096;
/// Pause after a look for each file that was seen, so that looking at many takes a small part of a processor.
const PAUSE_PER_FILE: Duration = Duration::from_micros(20);
/// Different troubles that are remembered to have been told.
const TOLD_MAX: usize = 10_000;
/// So many pauses without a look, another reader looks in the place of the one whose turn it is: that one has much to read.
const LOOKS_MISSED: u32 = 10;

/// The settings of a source of files, and what its readers know together.
pub(super) struct SourceContext {
    pub rows: RowSettings,
    pub listing: Listing,
    /// The settings that say which rows the bytes are.
    pub reads: String,
    pub split_bytes: u64,
    pub follow: bool,
    pub poll: Duration,
    pub on_lost: OnLost,
    pub partial_after: Option<Duration>,
    pub idle_after: Option<Duration>,
    pub clock: Clock,
    began: Instant,
    readers: AtomicUsize,
    /// Held by the reader that looks: two looks side by side would each hold an old list against the findings of the other.
    looking: Mutex<()>,
    shared: Mutex<FollowState>,
}

/// The followed files of a source and what its readers have to do about them.
#[derive(Default)]
pub(super) struct FollowState {
    pub followed: Followed,
    /// Keys of followed files, by their splits as they were listed.
    pub splits: HashMap<String, u64>,
    /// Identities of splits that readers began with: no new file gets one of them.
    pub reserved: BTreeSet<String>,
    /// The splits were listed in this process.
    pub listed: bool,
    /// What readers have to do, by reader.
    changes: BTreeMap<usize, Vec<(u64, Change)>>,
    /// The reader that gets new files.
    finder: Option<usize>,
    /// Readers that have ended.
    ended: BTreeSet<usize>,
    looked: Option<Instant>,
    pause: Duration,
    /// Troubles that were told; they are told once.
    told: BTreeSet<String>,
    /// Names that are not UTF-8, as many as were told.
    nameless: usize,
    /// Found before the first reader ran.
    warnings: Vec<String>,
}

impl SourceContext {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`ConnectError::Config`].
    pub(super) fn new(settings: &FileSource, base_dir: &Path, limits: BatchLimits, clock: Clock) -> Result<Self, ConnectError> {
        let context = SourceContext {
            rows: RowSettings::new(settings, limits, clock.clone())?,
            listing: Listing::new(&settings.path, base_dir)?,
            reads: Format::reads(settings),
            split_bytes: settings.split_bytes,
            follow: settings.follow,
            poll: settings.poll,
            on_lost: settings.on_lost,
            partial_after: settings.partial_after,
            idle_after: settings.idle_after,
            clock,
            began: Instant::now(),
            readers: AtomicUsize::new(0),
            looking: Mutex::new(()),
            shared: Mutex::default(),
        };
        context.shared().followed.takes_empty = context.rows.lateness_ms.is_some();
        Ok(context)
    }

    /// The number of a new reader.
    pub(super) fn seat(&self) -> usize {
        self.readers.fetch_add(1, Ordering::AcqRel)
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, FollowState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the source was opened.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed().saturating_add(skipped())
    }

    /// Files that one reader may have open.
    pub(super) fn handles(&self) -> usize {
        ((HANDLES_MAX - LOOK_HANDLES) / self.readers.load(Ordering::Acquire).max(1)).max(1)
    }

    /// True once, for the reader that gets new files.
    pub(super) fn claim_finder(&self, index: usize) -> bool {
        let mut shared = self.shared();
        self.follow && shared.listed && *shared.finder.get_or_insert(index) == index
    }

    /// What changed, for this reader. `looks`: it looks at the folder, where that is due or where it has nothing else to do.
    pub(super) fn changes(&self, index: usize, looks: bool, is_idle: bool) -> Vec<(u64, Change)> {
        if self.look_is_due(looks, is_idle) {
            self.look();
        }
        self.shared().changes.remove(&index).unwrap_or_default()
    }

    /// A reader begins to read a file. False where something was decided about it that the reader has not heard of, or is about to be.
    pub(super) fn begin_reading(&self, index: usize, key: u64) -> bool {
        let mut shared = self.shared();
        let is_told = shared.changes.get(&index).is_none_or(|changes| changes.iter().all(|(changed, _)| *changed != key));
        is_told && shared.followed.begin_reading(key)
    }

    /// A reader has nothing left to read. False where it was given something meanwhile.
    pub(super) fn retire(&self, index: usize) -> bool {
        let mut shared = self.shared();
        let is_free = shared.changes.get(&index).is_none_or(Vec::is_empty);
        if is_free {
            shared.ended.insert(index);
        }
        is_free
    }

    /// How long to wait for the next look.
    pub(super) fn pause(&self) -> Duration {
        self.shared().pause.max(self.poll)
    }

    fn look_is_due(&self, looks: bool, is_idle: bool) -> bool {
        let mut shared = self.shared();
        if shared.finder.is_none() {
            return false;
        }
        let missed = if looks { 1 } else { LOOKS_MISSED };
        let pause = shared.pause.max(self.poll).saturating_mul(missed);
        let due = (looks && is_idle) || shared.looked.is_none_or(|looked| looked.elapsed() >= pause);
        if due {
            // Nobody else looks meanwhile.
            shared.looked = Some(Instant::now());
        }
        due
    }

    fn look(&self) {
        let Ok(_looking) = self.looking.try_lock() else { return };
        let listed = match self.listing.list() {
            Ok(listed) => listed,
            Err(error) => {
                self.tell_once(&error.to_string(), || format!("the input cannot be looked at: {error}; it is tried again"));
                return;
            }
        };
        self.tell_troubles(&listed);
        // Under one lock: no reader begins with a file about which something is decided that it cannot hear of yet.
        let mut shared = self.shared();
        let decided = self.decide_in(&mut shared, &listed, NEW_MAX);
        let finder = shared.finder;
        for FollowDecision { owner, key, change } in decided {
            let owner = owner.filter(|owner| !shared.ended.contains(owner));
            if let Some(reader) = owner.or(finder) {
                if owner.is_none() {
                    shared.followed.own(key, reader);
                }
                shared.changes.entry(reader).or_default().push((key, change));
            }
        }
        shared.pause = PAUSE_PER_FILE.saturating_mul(u32::try_from(listed.files.len()).unwrap_or(u32::MAX));
        shared.looked = Some(Instant::now());
    }

    /// Holds what was listed against what is known.
    pub(super) fn decide(&self, listed: &Listed, room: usize) -> Vec<FollowDecision> {
        self.decide_in(&mut self.shared(), listed, room)
    }

    fn decide_in(&self, shared: &mut FollowState, listed: &Listed, room: usize) -> Vec<FollowDecision> {
        let mut disk = Disk::new(&self.listing, &listed.blind);
        let decided = shared.followed.look(&listed.files, listed.folder, (self.now(), room), &mut disk);
        let warnings = std::mem::take(&mut shared.followed.warnings);
        shared.warnings.extend(warnings);
        decided
    }

    /// A file that was being read does not hold what was read of it any more: it was truncated, where there is a copy of what it was.
    ///
    /// # Errors
    /// [`ConnectError::Changed`] where nothing tells what happened, and the settings do not say to go on.
    pub(super) fn explain(&self, key: u64, position: &FilePosition) -> Result<(), ConnectError> {
        let listed = self.listing.list()?;
        let names = listed.files.iter().map(|found| (found.look.id.key(), found.name.as_str()));
        let mut disk = Disk::new(&self.listing, &[]);
        let mut shared = self.shared();
        let is_copied = shared.followed.has_copy(key, &position.path, names, &mut disk);
        if !is_copied && self.on_lost == OnLost::Stop {
            return Err(ConnectError::Changed {
                path: self.listing.locate(&position.path),
                offset: position.offset,
                what:
                    "what had been read of it is not there any more: it was rewritten, or truncated and filled again, and there is no copy \
                       beside it; `on-lost = \"skip\"` in the source reads it from its start"
                        .to_owned(),
            });
        }
        shared.followed.cut(key, self.now());
        let why = if is_copied { "a copy of what it was is there" } else { "`on-lost` is \"skip\"" };
        tracing::warn!("`{}` does not hold what was read of it, and {why}: it is read from its start", position.path);
        Ok(())
    }

    /// Warns of what could not be looked at; of each thing once.
    pub(super) fn tell_troubles(&self, listed: &Listed) {
        for (path, reason) in &listed.blind {
            self.tell_once(path, || format!("`{path}` cannot be looked at: {reason}; it is passed over and tried again"));
        }
        let mut shared = self.shared();
        if listed.nameless.len() > shared.nameless {
            let (count, first) = (listed.nameless.len(), listed.nameless[0].display().to_string());
            shared.warnings.push(format!("{count} file names are not UTF-8 and are passed over, such as `{}`", first.escape_debug()));
        }
        shared.nameless = listed.nameless.len();
    }

    /// Keeps a warning for the next reader that runs, unless it was told before.
    pub(super) fn tell_once(&self, about: &str, text: impl FnOnce() -> String) {
        let mut shared = self.shared();
        if shared.told.len() < TOLD_MAX && shared.told.insert(about.to_owned()) {
            shared.warnings.push(text());
            if shared.told.len() == TOLD_MAX {
                shared.warnings.push(format!("{TOLD_MAX} different troubles were told; more are not"));
            }
        }
    }

    /// How many troubles were told so far.
    pub(super) fn troubles(&self) -> usize {
        self.shared().told.len()
    }

    /// Keeps a warning for the next reader that runs: a command that only looks at a job says nothing.
    pub(super) fn warn(&self, text: String) {
        self.shared().warnings.push(text);
    }

    /// Tells what was found.
    pub(super) fn tell(&self) {
        let warnings = std::mem::take(&mut self.shared().warnings);
        warnings.iter().for_each(|warning| tracing::warn!("input: {warning}"));
    }
}

#[cfg(test)]
thread_local! {
    /// Time that a test does not wait for.
    pub(super) static SKIPPED: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::ZERO) };
}

#[cfg(test)]
fn skipped() -> Duration {
    SKIPPED.get()
}

#[cfg(not(test))]
fn skipped() -> Duration {
    Duration::ZERO
}
