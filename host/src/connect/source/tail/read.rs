//! Reading of followed files: which one is open, whether it still holds what was read of it, and what to do where it cannot be read.

use super::{Entry, State, Tail, is_half};
use crate::connect::ConnectError;
use crate::connect::source::context::SourceContext;
use crate::connect::source::gather::Gather;
use crate::connect::source::lines::ScanProgress;
use crate::connect::source::split::{OpenSplit, OpenedSplit, packed_is_not_followed};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Pause before a file that could not be read is tried again.
const ASIDE: Duration = Duration::from_secs(5);

impl Tail {
    /// Followed files, each once, until the batch is full.
    ///
    /// # Errors
    /// Where the source cannot go on; the trouble of one file is none.
    pub fn read(&mut self, context: &SourceContext, gather: &mut Gather, now: Instant) -> Result<(), ConnectError> {
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
            if !context.begin_reading(self.index, key) {
                self.queue(key);
                continue;
            }
            let read = self.read_file(context, key, gather, now);
            context.shared().followed.end_reading(key);
            match read {
                Ok(()) => {}
                Err(error @ (ConnectError::Io { .. } | ConnectError::Config { .. })) => self.set_aside(context, key, &error, now),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_file(&mut self, context: &SourceContext, key: u64, gather: &mut Gather, now: Instant) -> Result<(), ConnectError> {
        if !self.is_readable(context, key, now)? {
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
        let (progress, moved) = open.scan(context, &mut entry.position, gather)?;
        entry.position.seen = Some(open.length().unwrap_or(0).max(entry.position.offset));
        entry.read = now;
        entry.quiet.note(moved, now);
        if moved || was_half != Some(is_half(entry)) {
            entry.moved = true;
            self.moved.push(key);
            context.shared().followed.read(key, entry.position.offset, entry.position.print());
        }
        if progress == ScanProgress::Full {
            self.queue(key);
            return Ok(());
        }
        let Some(open) = entry.open.as_ref() else { return Ok(()) };
        if let State::Ending(why) = entry.state {
            let rest = open.rest(entry.position.offset, context.rows.row_bytes_max)?;
            if !rest.is_empty() {
                gather.begin_split(&entry.position.id());
                gather.reject(entry.position.offset, &rest, format!("the row has no line end, and {why}: it may be cut"));
            }
            self.end(context, key);
            return Ok(());
        }
        entry.state = State::Resting;
        if std::mem::take(&mut entry.takes_last) {
            // What comes behind a row without a line end is a row of its own.
            entry.open = None;
            entry.grown = now;
        }
        self.rested += 1;
        Ok(())
    }

    /// Opens a file where it is closed, and looks whether it holds what was read of it.
    fn is_readable(&mut self, context: &SourceContext, key: u64, now: Instant) -> Result<bool, ConnectError> {
        let Some(entry) = self.entries.get_mut(&key) else { return Ok(false) };
        let is_ending = matches!(entry.state, State::Ending(_));
        if !is_ending && matches!(&entry.open, Some(open) if !open.is_half_as_read()? && open.is_as_read(&entry.position)?) {
            // It was truncated and filled again before the row was given out: that is read anew.
            entry.open = None;
        }
        let is_as_read = match &entry.open {
            Some(open) => open.is_as_read(&entry.position)?,
            None => {
                self.make_room(context, key);
                let Some(entry) = self.entries.get_mut(&key) else { return Ok(false) };
                match OpenSplit::follow(context, &entry.position, key)? {
                    OpenedSplit::Open(open) => {
                        entry.open = Some(open);
                        true
                    }
                    OpenedSplit::NotThere => {
                        entry.state = State::Resting;
                        return Ok(false);
                    }
                    OpenedSplit::Changed => false,
                    OpenedSplit::Packed(packing) => {
                        entry.state = State::Passed;
                        let path = context.listing.locate(&entry.position.path);
                        context.tell_once(&entry.position.path, || packed_is_not_followed(&path, packing).to_string());
                        return Ok(false);
                    }
                }
            }
        };
        if !is_as_read {
            let Some(entry) = self.entries.get(&key) else { return Ok(false) };
            if matches!(entry.state, State::Ending(_)) {
                let unread = entry.position.seen.map(|seen| seen.saturating_sub(entry.position.offset));
                context.lost(&entry.position.path, entry.position.offset, unread)?;
                self.end(context, key);
                return Ok(false);
            }
            context.explain(key, &entry.position)?;
            self.restart(key, None, now);
            return Ok(false);
        }
        Ok(true)
    }

    /// Closes the files that were not read for the longest time, where too many are open.
    fn make_room(&mut self, context: &SourceContext, key: u64) {
        let open = self.entries.iter_mut().filter(|(other, entry)| entry.open.is_some() && **other != key);
        let mut open: Vec<&mut Entry> = open.map(|(_, entry)| entry).collect();
        // One whose last row is not complete may be removed with it.
        open.sort_by_key(|entry| (matches!(entry.state, State::Ending(_)), is_half(entry), entry.read));
        let closed = (open.len() + 1).saturating_sub(context.handles());
        open.into_iter().take(closed).for_each(|entry| entry.open = None);
    }

    /// One file cannot be read: that is told once, and it is tried again later. The others go on.
    fn set_aside(&mut self, context: &SourceContext, key: u64, error: &ConnectError, now: Instant) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.open = None;
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
        let (path, count) = (entry.position.path.clone(), context.troubles() + 1);
        context.tell_once(&path, || {
            format!("`{path}` cannot be read: {reason}; it is set aside and tried again every {} s (trouble {count})", ASIDE.as_secs())
        });
    }
}
