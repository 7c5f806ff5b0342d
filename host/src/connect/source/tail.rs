//! The followed files of one reader.
//!
//! ```text
//! Reading ──end of file──> Resting ──grown──> Reading
//!    │                        ├── read to its end, closed ──> folded: a mark, no entry of its own
//!    │                        └── gone, or moved away long ago ──> Ending ──> forgotten
//!    └── cannot be read ──> Aside, tried again later
//! ```
//! At most so many files are open as [`super::context::HANDLES_MAX`] says; a file that rests is closed for another one, or after
//! [`REST_OPEN`]. What is read of a file goes into the checkpoint as the position of its split; a split that ended has an empty position.

mod read;
mod report;

use super::context::SourceContext;
use super::follow::Change;
use super::identity::Look;
use super::listing::FoundFile;
use super::marks::{self, Mark, Marks, name_hash};
use super::position::FilePosition;
use super::split::OpenSplit;
use super::start::free_name;
use super::watermark::IdlenessTimer;
use crate::connect::ConnectError;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// How long a file that rests stays open.
const REST_OPEN: Duration = Duration::from_secs(10);
/// How long it stays open where many wait to be folded.
const REST_LOOSE: Duration = Duration::from_secs(1);
/// How long a file that was moved to where `path` does not look is read on after it has last grown.
const LINGER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Resting,
    /// It is gone, or it was moved away: when all of it is read, the split ends. What stands at its end without a line end is no row.
    Ending(&'static str),
    Aside(Instant),
    /// It cannot be followed, since it is packed: an older file, perhaps, whose rows have been read.
    Passed,
}

struct Entry {
    position: FilePosition,
    open: Option<Box<OpenSplit>>,
    state: State,
    /// When it last grew.
    grown: Instant,
    /// When it was last read.
    read: Instant,
    queued: bool,
    moved: bool,
    outside: bool,
    /// Its last row is to be taken although it has no line end.
    takes_last: bool,
    quiet: IdlenessTimer,
}

/// The followed files of one reader: which are read, which rest, and what a checkpoint has to be told of them.
#[derive(Default)]
pub(super) struct Tail {
    index: usize,
    is_finder: bool,
    entries: BTreeMap<u64, Entry>,
    /// Identities of their splits.
    names: HashSet<String>,
    /// Files with something to read, in turn.
    ready: VecDeque<u64>,
    moved: Vec<u64>,
    /// Splits that ended.
    ended: Vec<String>,
    marks: Marks,
    /// Names of the splits that hold the marks: a checkpoint has them.
    mark_splits: Vec<String>,
    /// Marks that a checkpoint has and that have positions of their own since.
    unfolded: HashSet<u64>,
    /// Changes of the marks since they were last given out.
    marks_changed: usize,
    /// Files that came to rest since the last folding.
    rested: usize,
    /// When it was last looked what time alone brings.
    watched: Option<Instant>,
}

impl Tail {
    pub fn new(context: &SourceContext, index: usize) -> Self {
        Self { index, is_finder: context.claim_finder(index), ..Self::default() }
    }

    /// Takes finished files over.
    pub fn take_marks(&mut self, context: &SourceContext, marks: &Marks) {
        let mut shared = context.shared();
        marks.files.keys().for_each(|key| shared.followed.own(*key, self.index));
        self.marks.merge(marks.clone());
        self.mark_splits.push(marks::SPLIT.to_owned());
    }

    /// Takes a split over.
    ///
    /// # Errors
    /// [`ConnectError::Io`] where the file of a split that this process did not list cannot be looked at.
    pub fn take_up(&mut self, context: &SourceContext, position: FilePosition) -> Result<(), ConnectError> {
        let listed = context.shared().splits.get(&position.id()).copied();
        let key = match listed.or(position.file.map(|file| file.key())) {
            Some(key) => key,
            None => {
                let path = context.listing.locate(&position.path);
                Look::at(&path).map_err(ConnectError::io("look at", &path))?.id.key()
            }
        };
        let outside = {
            let mut shared = context.shared();
            shared.followed.own(key, self.index);
            shared.followed.get(key).is_some_and(|tracked| tracked.outside)
        };
        self.begin(key, position);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.outside = outside;
        }
        Ok(())
    }

    fn begin(&mut self, key: u64, position: FilePosition) {
        let now = Instant::now();
        let entry = Entry {
            position,
            open: None,
            state: State::Resting,
            grown: now,
            read: now,
            queued: false,
            moved: false,
            outside: false,
            takes_last: false,
            quiet: IdlenessTimer::default(),
        };
        self.names.insert(entry.position.id());
        self.entries.insert(key, entry);
        self.queue(key);
    }

    /// Begins with a file whose split has no identity yet.
    fn begin_new(&mut self, context: &SourceContext, key: u64, mut position: FilePosition) {
        let id = position.id();
        {
            let shared = context.shared();
            let is_taken = |name: &str| shared.reserved.contains(name) || self.names.contains(name);
            // Two readers must not find the same free name: only the one that gets new files takes plain ones.
            let own = if self.is_finder { id.clone() } else { format!("{id}#r{}", self.index) };
            if is_taken(&own) {
                position.split = Some(free_name(&own, is_taken));
            } else if own != id {
                position.split = Some(own);
            }
        }
        self.begin(key, position);
    }

    fn queue(&mut self, key: u64) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.state == State::Resting {
            entry.state = State::Reading;
        }
        if !std::mem::replace(&mut entry.queued, true) {
            self.ready.push_back(key);
        }
    }

    /// True where nothing is left to read, now or later.
    pub fn is_over(&self, context: &SourceContext) -> bool {
        !self.is_finder && self.entries.is_empty() && self.marks.files.is_empty() && context.retire(self.index)
    }

    /// The largest event time of each file, and for how long it has had nothing.
    pub fn times(&self) -> impl Iterator<Item = (Option<i64>, &IdlenessTimer)> {
        let read = self.entries.values().filter(|entry| entry.state != State::Passed);
        read.map(|entry| (entry.position.time_max, &entry.quiet))
    }

    /// For how long each file has had nothing.
    pub fn quiet(&mut self) -> impl Iterator<Item = (&FilePosition, &mut IdlenessTimer)> {
        let read = self.entries.values_mut().filter(|entry| entry.state != State::Passed);
        read.map(|entry| (&entry.position, &mut entry.quiet))
    }

    /// There are positions to give out.
    pub fn has_news(&self) -> bool {
        !self.moved.is_empty() || !self.ended.is_empty() || self.has_last_marks()
    }

    /// Looks what has changed, and what time alone brings. `is_idle`: nothing else was read.
    ///
    /// # Errors
    /// [`ConnectError::Missing`] where a file is lost and the settings say to stop then.
    pub fn look(&mut self, context: &SourceContext, is_idle: bool, now: Instant) -> Result<(), ConnectError> {
        for (key, change) in context.changes(self.index, self.is_finder, is_idle && self.ready.is_empty()) {
            self.apply(context, key, change, now)?;
        }
        if self.watched.is_some_and(|watched| now.duration_since(watched) < context.poll) {
            return Ok(());
        }
        self.watched = Some(now);
        let mut due = Vec::new();
        for (key, entry) in &mut self.entries {
            let rests = entry.state == State::Resting;
            if rests || matches!(entry.state, State::Aside(_)) {
                entry.quiet.note(false, now);
            }
            match entry.state {
                State::Aside(until) if until <= now => {
                    entry.state = State::Resting;
                    due.push(*key);
                }
                _ if rests && entry.outside && now.duration_since(entry.grown) >= LINGER => {
                    entry.state = State::Ending("its file was moved to where `path` does not look");
                    due.push(*key);
                }
                _ if rests && is_half(entry) && context.partial_after.is_some_and(|after| now.duration_since(entry.grown) >= after) => {
                    entry.takes_last = true;
                    due.push(*key);
                }
                _ if rests && !is_half(entry) && entry.open.is_some() && now.duration_since(entry.read) >= REST_OPEN => {
                    entry.open = None;
                }
                _ => {}
            }
        }
        due.into_iter().for_each(|key| self.queue(key));
        let is_over = |key: &u64| context.shared().followed.cuts(*key).is_empty();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| !entry.position.cuts.is_empty()).filter(|(key, _)| is_over(key)) {
            entry.moved = true;
            self.moved.push(*key);
        }
        Ok(())
    }

    fn apply(&mut self, context: &SourceContext, key: u64, change: Change, now: Instant) -> Result<(), ConnectError> {
        if let (Change::Renamed { name, key: new }, Some(mark)) = (&change, self.marks.files.get(&key).copied()) {
            self.marks.files.remove(&key);
            self.marks.files.insert(*new, Mark { name: name_hash(name), ..mark });
            self.marks_changed += 1;
            let has_more = context.shared().followed.get(*new).is_some_and(|tracked| tracked.len != mark.offset);
            if has_more {
                // That it had grown was told while its new name was not known.
                self.unfold(context, *new);
            }
            return Ok(());
        }
        if !matches!(change, Change::New { .. } | Change::Gone { .. }) {
            self.unfold(context, key);
        }
        match change {
            Change::Renamed { name, key: new } => self.renamed(key, new, &name),
            Change::Outside { name } => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    tracing::info!(
                        "input: `{}` has become `{name}`, which `path` does not mean: it is read to its end",
                        entry.position.path
                    );
                    entry.position.rename(&name);
                    (entry.outside, entry.moved, entry.grown) = (true, true, now);
                    self.moved.push(key);
                    self.queue(key);
                }
            }
            Change::Grown => {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.grown = now;
                }
                self.queue(key);
            }
            Change::Truncated { unread } => self.restart(key, Some(unread), now),
            Change::Gone { name, offset, unread } => self.gone(context, key, (name, offset, unread))?,
            Change::New { found, start } => self.new_file(context, key, &found, start),
        }
        Ok(())
    }

    fn renamed(&mut self, key: u64, new: u64, name: &str) {
        let Some(mut entry) = self.entries.remove(&key) else { return };
        entry.position.rename(name);
        (entry.outside, entry.moved, entry.queued) = (false, true, entry.queued && new == key);
        if new != key {
            // It is another file with the same contents.
            entry.position.file = None;
            entry.open = None;
        }
        self.moved.push(new);
        self.entries.insert(new, entry);
        self.queue(new);
    }

    fn new_file(&mut self, context: &SourceContext, key: u64, found: &FoundFile, start: u64) {
        let print = context.shared().followed.get(key).and_then(|tracked| tracked.print);
        let outside = !context.listing.covers(&found.name);
        if let Some(before) = self.entries.remove(&key) {
            // Its inode was used again.
            self.ended(&before);
        }
        self.begin_new(context, key, context.followed(found, start, print));
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.outside = outside;
            if start > 0 {
                // What comes before is known from a file that is read from its start from now on: both go into one checkpoint.
                (entry.position.seen, entry.moved) = (Some(start), true);
                self.moved.push(key);
            }
        }
    }

    /// A file that is folded has an entry again.
    fn unfold(&mut self, context: &SourceContext, key: u64) {
        if self.entries.contains_key(&key) || !self.marks.files.contains_key(&key) {
            return;
        }
        // Where it is not there at this moment, the next look tells what became of it.
        if let Some(position) = context.position_of(key) {
            self.marks.files.remove(&key);
            self.marks_changed += 1;
            self.unfolded.insert(key);
            self.begin_new(context, key, position);
        }
    }

    /// It was truncated.
    fn restart(&mut self, key: u64, unread: Option<u64>, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(unread) = unread {
            let rest = if unread > 0 { format!(" {unread} bytes had not been read; a copy of them is looked for.") } else { String::new() };
            tracing::warn!("input: `{}` was truncated: it is read from its start.{rest}", entry.position.path);
        }
        entry.position.restart();
        entry.open = None;
        (entry.moved, entry.grown) = (true, now);
        self.moved.push(key);
        self.queue(key);
    }

    fn gone(&mut self, context: &SourceContext, key: u64, (name, offset, unread): (Option<String>, u64, u64)) -> Result<(), ConnectError> {
        if self.marks.files.remove(&key).is_some() {
            self.marks_changed += 1;
            return context.lost(&name.unwrap_or_default(), offset, Some(unread));
        }
        let Some(entry) = self.entries.get_mut(&key) else { return Ok(()) };
        if entry.open.is_some() {
            entry.state = State::Ending("its file was removed");
            self.queue(key);
            return Ok(());
        }
        if entry.state == State::Passed {
            self.end(context, key);
            return Ok(());
        }
        let is_begun = entry.position.offset > 0 || entry.position.seen.is_some();
        match is_begun {
            true => context.lost(&entry.position.path, entry.position.offset, Some(unread))?,
            false if unread == 0 => {}
            false => context.warn(format!("`{}` came and went before it could be read: {unread} bytes", entry.position.path)),
        }
        self.end(context, key);
        Ok(())
    }

    fn ended(&mut self, entry: &Entry) {
        let id = entry.position.id();
        self.names.remove(&id);
        self.ended.push(id);
    }

    /// The split has ended.
    fn end(&mut self, context: &SourceContext, key: u64) {
        if let Some(entry) = self.entries.remove(&key) {
            self.ended(&entry);
            if self.unfolded.remove(&key) {
                // Without its position the mark would count again.
                self.marks_changed = usize::MAX / 2;
            }
            context.shared().followed.end(key);
        }
    }
}

/// True where something stands behind the last row that has no line end.
fn is_half(entry: &Entry) -> bool {
    entry.position.seen.is_none_or(|seen| seen > entry.position.offset)
}
