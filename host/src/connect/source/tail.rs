//! The followed files of one reader.
//!
//! ```text
//! Reading ──end of file──> Resting ──grown──> Reading
//!    │                        ├── read to its end, closed ──> folded: a mark, no entry of its own
//!    │                        └── gone, or moved away long ago ──> Ending ──> forgotten
//!    └── cannot be read ──> Aside, tried again later
//! ```
//! At most so many files are open as [`super::plan::HANDLES_MAX`] says; a file that rests is closed for another one, or after
//! [`REST_OPEN`]. What is read of a file goes into the checkpoint as the position of its split; a split that ended has an empty position.

mod report;

use super::follow::Change;
use super::gather::Gather;
use super::identity::Look;
use super::lines::Progress;
use super::listing::Found;
use super::marks::{self, Mark, Marks, name_hash};
use super::plan::Plan;
use super::position::FilePosition;
use super::split::{OpenSplit, Opened, packed_is_not_followed};
use super::start::free_name;
use super::watermark::Quiet;
use crate::connect::ConnectError;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// How long a file that rests stays open.
const REST_OPEN: Duration = Duration::from_secs(10);
/// How long it stays open where many wait to be folded.
const REST_LOOSE: Duration = Duration::from_secs(1);
/// How long a file that was moved to where `path` does not look is read on after it has last grown.
const LINGER: Duration = Duration::from_secs(60);
/// Pause before a file that could not be read is tried again.
const ASIDE: Duration = Duration::from_secs(5);

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
    quiet: Quiet,
}

/// See the module.
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
    open: usize,
    /// When it was last looked what time alone brings.
    watched: Option<Instant>,
}

impl Tail {
    pub fn new(plan: &Plan, index: usize) -> Self {
        Self {
            index,
            is_finder: plan.claim_finder(index),
            entries: BTreeMap::new(),
            names: HashSet::new(),
            ready: VecDeque::new(),
            moved: Vec::new(),
            ended: Vec::new(),
            marks: Marks::default(),
            mark_splits: Vec::new(),
            unfolded: HashSet::new(),
            marks_changed: 0,
            rested: 0,
            open: 0,
            watched: None,
        }
    }

    /// Takes finished files over.
    pub fn take_marks(&mut self, plan: &Plan, marks: &Marks) {
        let mut shared = plan.shared();
        marks.files.keys().for_each(|key| shared.followed.own(*key, self.index));
        self.marks.merge(marks.clone());
        self.mark_splits.push(marks::SPLIT.to_owned());
    }

    /// Takes a split over.
    ///
    /// # Errors
    /// [`ConnectError::Io`] where the file of a split that this process did not list cannot be looked at.
    pub fn take_up(&mut self, plan: &Plan, position: FilePosition) -> Result<(), ConnectError> {
        let listed = plan.shared().splits.get(&position.id()).copied();
        let key = match listed.or(position.file.map(|file| file.key())) {
            Some(key) => key,
            None => {
                let path = plan.listing.locate(&position.path);
                Look::at(&path).map_err(ConnectError::io("look at", &path))?.id.key()
            }
        };
        let outside = {
            let mut shared = plan.shared();
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
            quiet: Quiet::default(),
        };
        self.names.insert(entry.position.id());
        self.entries.insert(key, entry);
        self.queue(key);
    }

    /// Begins with a file whose split has no identity yet.
    fn begin_new(&mut self, plan: &Plan, key: u64, mut position: FilePosition) {
        let id = position.id();
        {
            let shared = plan.shared();
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
    pub fn is_over(&self, plan: &Plan) -> bool {
        !self.is_finder && self.entries.is_empty() && self.marks.files.is_empty() && plan.retire(self.index)
    }

    /// The largest event time of each file, and for how long it has had nothing.
    pub fn times(&self) -> impl Iterator<Item = (Option<i64>, &Quiet)> {
        let read = self.entries.values().filter(|entry| entry.state != State::Passed);
        read.map(|entry| (entry.position.time_max, &entry.quiet))
    }

    /// For how long each file has had nothing.
    pub fn quiet(&mut self) -> impl Iterator<Item = (&FilePosition, &mut Quiet)> {
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
    pub fn look(&mut self, plan: &Plan, is_idle: bool, now: Instant) -> Result<(), ConnectError> {
        for (key, change) in plan.changes(self.index, self.is_finder, is_idle && self.ready.is_empty()) {
            self.apply(plan, key, change, now)?;
        }
        if self.watched.is_some_and(|watched| now.duration_since(watched) < plan.poll) {
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
                _ if rests && is_half(entry) && plan.partial_after.is_some_and(|after| now.duration_since(entry.grown) >= after) => {
                    entry.takes_last = true;
                    due.push(*key);
                }
                _ if rests && !is_half(entry) && entry.open.is_some() && now.duration_since(entry.read) >= REST_OPEN => {
                    entry.open = None;
                    self.open -= 1;
                }
                _ => {}
            }
        }
        due.into_iter().for_each(|key| self.queue(key));
        let is_over = |key: &u64| plan.shared().followed.cuts(*key).is_empty();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| !entry.position.cuts.is_empty()).filter(|(key, _)| is_over(key)) {
            entry.moved = true;
            self.moved.push(*key);
        }
        Ok(())
    }

    fn apply(&mut self, plan: &Plan, key: u64, change: Change, now: Instant) -> Result<(), ConnectError> {
        if let (Change::Renamed { name, key: new }, Some(mark)) = (&change, self.marks.files.get(&key).copied()) {
            self.marks.files.remove(&key);
            self.marks.files.insert(*new, Mark { name: name_hash(name), ..mark });
            self.marks_changed += 1;
            let has_more = plan.shared().followed.get(*new).is_some_and(|tracked| tracked.len != mark.offset);
            if has_more {
                // That it had grown was told while its new name was not known.
                self.unfold(plan, *new);
            }
            return Ok(());
        }
        if !matches!(change, Change::New { .. } | Change::Gone { .. }) {
            self.unfold(plan, key);
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
            Change::Gone { name, offset, unread } => self.gone(plan, key, (name, offset, unread))?,
            Change::New { found, start } => self.new_file(plan, key, &found, start),
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
            self.open -= usize::from(entry.open.take().is_some());
        }
        self.moved.push(new);
        self.entries.insert(new, entry);
        self.queue(new);
    }

    fn new_file(&mut self, plan: &Plan, key: u64, found: &Found, start: u64) {
        let print = plan.shared().followed.get(key).and_then(|tracked| tracked.print);
        let outside = !plan.listing.covers(&found.name);
        if let Some(before) = self.entries.remove(&key) {
            // Its inode was used again.
            self.open -= usize::from(before.open.is_some());
            self.names.remove(&before.position.id());
            self.ended.push(before.position.id());
        }
        self.begin_new(plan, key, plan.followed(found, start, print));
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
    fn unfold(&mut self, plan: &Plan, key: u64) {
        if self.entries.contains_key(&key) || !self.marks.files.contains_key(&key) {
            return;
        }
        // Where it is not there at this moment, the next look tells what became of it.
        if let Some(position) = plan.position_of(key) {
            self.marks.files.remove(&key);
            self.marks_changed += 1;
            self.unfolded.insert(key);
            self.begin_new(plan, key, position);
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
        self.open -= usize::from(entry.open.take().is_some());
        (entry.moved, entry.grown) = (true, now);
        self.moved.push(key);
        self.queue(key);
    }

    fn gone(&mut self, plan: &Plan, key: u64, (name, offset, unread): (Option<String>, u64, u64)) -> Result<(), ConnectError> {
        if self.marks.files.remove(&key).is_some() {
            self.marks_changed += 1;
            return plan.lost(&name.unwrap_or_default(), offset, Some(unread));
        }
        let Some(entry) = self.entries.get_mut(&key) else { return Ok(()) };
        if entry.open.is_some() {
            entry.state = State::Ending("its file was removed");
            self.queue(key);
            return Ok(());
        }
        if entry.state == State::Passed {
            self.end(plan, key);
            return Ok(());
        }
        let is_begun = entry.position.offset > 0 || entry.position.seen.is_some();
        match is_begun {
            true => plan.lost(&entry.position.path, entry.position.offset, Some(unread))?,
            false if unread == 0 => {}
            false => plan.warn(format!("`{}` came and went before it could be read: {unread} bytes", entry.position.path)),
        }
        self.end(plan, key);
        Ok(())
    }

    /// The split has ended.
    fn end(&mut self, plan: &Plan, key: u64) {
        if let Some(entry) = self.entries.remove(&key) {
            self.open -= usize::from(entry.open.is_some());
            self.names.remove(&entry.position.id());
            self.ended.push(entry.position.id());
            if self.unfolded.remove(&key) {
                // Without its position the mark would count again.
                self.marks_changed = usize::MAX / 2;
            }
            plan.shared().followed.end(key);
        }
    }

    /// Followed files, each once, until the batch is full.
    ///
    /// # Errors
    /// Where the source cannot go on; the trouble of one file is none.
    pub fn read(&mut self, plan: &Plan, gather: &mut Gather, now: Instant) -> Result<(), ConnectError> {
        for _ in 0..self.ready.len() {
            if gather.is_full() {
                break;
            }
            let Some(key) = self.ready.pop_front() else { break };
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.queued = false;
            if matches!(entry.state, State::Aside(_) | State::Passed) {
                continue;
            }
            if !plan.begin_reading(self.index, key) {
                self.queue(key);
                continue;
            }
            let read = self.read_file(plan, key, gather, now);
            plan.end_reading(key);
            match read {
                Ok(()) => {}
                Err(error @ (ConnectError::Io { .. } | ConnectError::Config { .. })) => self.set_aside(plan, key, &error, now),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_file(&mut self, plan: &Plan, key: u64, gather: &mut Gather, now: Instant) -> Result<(), ConnectError> {
        if !self.is_readable(plan, key, now)? {
            return Ok(());
        }
        let Some(entry) = self.entries.get_mut(&key) else { return Ok(()) };
        let Some(open) = entry.open.as_mut() else { return Ok(()) };
        // One that has grown at this moment waits anew.
        entry.takes_last &= open.length() == entry.position.seen;
        if entry.takes_last {
            open.take_last_row();
        }
        let was_half = entry.position.seen.map(|seen| seen > entry.position.offset);
        let (progress, moved) = open.scan(plan, &mut entry.position, gather)?;
        entry.position.seen = Some(open.length().unwrap_or(0).max(entry.position.offset));
        entry.read = now;
        entry.quiet.note(moved, now);
        if moved || was_half != Some(is_half(entry)) {
            entry.moved = true;
            self.moved.push(key);
            plan.shared().followed.read(key, entry.position.offset, entry.position.print());
        }
        if progress == Progress::Full {
            self.queue(key);
            return Ok(());
        }
        let Some(open) = entry.open.as_ref() else { return Ok(()) };
        if let State::Ending(why) = entry.state {
            let rest = open.rest(entry.position.offset, plan.row_bytes_max)?;
            if !rest.is_empty() {
                gather.begin_split(&entry.position.id());
                gather.reject(entry.position.offset, &rest, format!("the row has no line end, and {why}: it may be cut"));
            }
            self.end(plan, key);
            return Ok(());
        }
        entry.state = State::Resting;
        if std::mem::take(&mut entry.takes_last) {
            // What comes behind a row without a line end is a row of its own.
            entry.open = None;
            entry.grown = now;
            self.open -= 1;
        }
        self.rested += 1;
        Ok(())
    }

    /// Opens a file where it is closed, and looks whether it holds what was read of it.
    fn is_readable(&mut self, plan: &Plan, key: u64, now: Instant) -> Result<bool, ConnectError> {
        let Some(entry) = self.entries.get_mut(&key) else { return Ok(false) };
        let is_ending = matches!(entry.state, State::Ending(_));
        if !is_ending && matches!(&entry.open, Some(open) if !open.is_half_as_read()? && open.is_as_read(&entry.position)?) {
            // It was truncated and filled again before the row was given out: that is read anew.
            entry.open = None;
            self.open -= 1;
        }
        let is_as_read = match &entry.open {
            Some(open) => open.is_as_read(&entry.position)?,
            None => {
                self.make_room(plan, key);
                let Some(entry) = self.entries.get_mut(&key) else { return Ok(false) };
                match OpenSplit::follow(plan, &entry.position, key)? {
                    Opened::Open(open) => {
                        entry.open = Some(open);
                        self.open += 1;
                        true
                    }
                    Opened::NotThere => {
                        entry.state = State::Resting;
                        return Ok(false);
                    }
                    Opened::Changed => false,
                    Opened::Packed(packing) => {
                        entry.state = State::Passed;
                        let path = plan.listing.locate(&entry.position.path);
                        plan.tell_once(&entry.position.path, || packed_is_not_followed(&path, packing).to_string());
                        return Ok(false);
                    }
                }
            }
        };
        if !is_as_read {
            let Some(entry) = self.entries.get(&key) else { return Ok(false) };
            if matches!(entry.state, State::Ending(_)) {
                let unread = entry.position.seen.map(|seen| seen.saturating_sub(entry.position.offset));
                plan.lost(&entry.position.path, entry.position.offset, unread)?;
                self.end(plan, key);
                return Ok(false);
            }
            plan.explain(key, &entry.position)?;
            self.restart(key, None, now);
            return Ok(false);
        }
        Ok(true)
    }

    /// Closes the files that were not read for the longest time, where too many are open.
    fn make_room(&mut self, plan: &Plan, key: u64) {
        let handles = plan.handles();
        while self.open >= handles {
            let open = self.entries.iter().filter(|(other, entry)| entry.open.is_some() && **other != key);
            // One whose last row is not complete may be removed with it.
            let oldest = open.min_by_key(|(_, entry)| (matches!(entry.state, State::Ending(_)), is_half(entry), entry.read));
            let Some(oldest) = oldest.map(|(key, _)| *key) else { return };
            if let Some(entry) = self.entries.get_mut(&oldest) {
                entry.open = None;
            }
            self.open -= 1;
        }
    }

    /// One file cannot be read: that is told once, and it is tried again later. The others go on.
    fn set_aside(&mut self, plan: &Plan, key: u64, error: &ConnectError, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        self.open -= usize::from(entry.open.take().is_some());
        entry.state = State::Aside(now + ASIDE);
        let reason = match error {
            ConnectError::Io { source, .. } if source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
                "too many files are open; raise `ulimit -n`, or LimitNOFILE of the service".to_owned()
            }
            // The next look tells what became of it.
            ConnectError::Io { source, .. } if source.kind() == ErrorKind::NotFound => return,
            ConnectError::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        let (path, count) = (entry.position.path.clone(), plan.troubles() + 1);
        plan.tell_once(&path, || {
            format!("`{path}` cannot be read: {reason}; it is set aside and tried again every {} s (trouble {count})", ASIDE.as_secs())
        });
    }
}

/// True where something stands behind the last row that has no line end.
fn is_half(entry: &Entry) -> bool {
    entry.position.seen.is_none_or(|seen| seen > entry.position.offset)
}
