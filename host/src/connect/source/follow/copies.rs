//! Copies of followed files that were truncated (`copytruncate`): which new file is one, and where to go on in it.
//!
//! A log is copied, and the log itself is truncated then. Between the two both hold the same rows; after the truncation the copy has what was not
//! read before it. So a new file that begins as a known one waits ([`COPY_WAIT`]), and a truncation is remembered ([`CUT_KEPT`]).

use super::known::{Change, Cut, Facts, FollowDecision, Followed, HeldCopy, Tracked, file_name, stem};
use crate::connect::source::listing::FoundFile;
use crate::connect::source::marks::name_hash;
use crate::connect::source::position::{CUTS_MAX, CutPosition};
use std::time::Duration;

/// How long a file that may be a copy of one that is about to be truncated is left alone, after it has last grown.
pub const COPY_WAIT: Duration = Duration::from_secs(2);
/// How long a truncation is remembered: a reader of another checkpoint may have seen it before the one that got the copy.
pub(super) const CUT_KEPT: Duration = Duration::from_secs(10);
/// Files of one stem that a new one is compared with.
const ALIKE_MAX: usize = 64;

impl Followed {
    /// For a checkpoint: how far a file had been read when it was truncated lately.
    pub fn cuts(&self, key: u64) -> Vec<CutPosition> {
        self.files.get(&key).into_iter().flat_map(Tracked::cuts).map(CutPosition::from).collect()
    }

    /// It is another file from here on, under the same name and inode: it was truncated. What had been read of it is remembered, for a copy.
    pub fn cut(&mut self, key: u64, now: Duration) {
        let Some(tracked) = self.files.get_mut(&key) else { return };
        let unread = tracked.len.saturating_sub(tracked.offset);
        let print = tracked.print.take();
        let offset = std::mem::take(&mut tracked.offset);
        if tracked.cuts.len() >= CUTS_MAX {
            tracked.cuts.remove(0);
        }
        if offset > 0 || unread > 0 {
            tracked.cuts.push(Cut { offset, print: print.unwrap_or(0), unread, since: now, is_found: false });
            self.cut.insert(key);
        }
        tracked.len = 0;
    }

    /// True where a copy of what had been read of this file is there, so that it was truncated by who made the copy.
    pub fn has_copy<'a>(&self, key: u64, own: &str, mut names: impl Iterator<Item = (u64, &'a str)>, facts: &mut dyn Facts) -> bool {
        let Some(Tracked { name, offset, print: Some(print), .. }) = self.files.get(&key) else { return false };
        let name = name.as_deref().unwrap_or(own);
        let begins = |other: &str| file_name(other).starts_with(stem(name));
        names.any(|(other, named)| other != key && begins(named) && facts.print(named, *offset) == Some(*print))
            || facts.copy_beside(name, *offset, *print).is_some()
    }

    /// True where a file that has grown does not hold what was read of it, and another one does: it was truncated behind a copy, and filled
    /// again since it was last looked at. Its reader would see that too, but a file that is not known is decided about before: it may be
    /// the copy, or one of the new contents.
    pub(super) fn is_filled_again(&self, found: &FoundFile, files: &[FoundFile], unknown: &[&FoundFile], facts: &mut dyn Facts) -> bool {
        let key = found.look.id.key();
        let Some(tracked @ Tracked { offset: 1.., print: Some(print), .. }) = self.files.get(&key) else { return false };
        // One that was folded has no name: it counts as the one that it has now.
        let name = tracked.name.as_ref().unwrap_or(&found.name);
        let has_changed = (tracked.len, tracked.changed) != (found.look.len, found.look.changed);
        has_changed
            && *name == found.name
            && self.has_alike(found, unknown)
            && facts.print(name, tracked.offset) != Some(*print)
            && self.has_copy(key, name, files.iter().map(|other| (other.look.id.key(), other.name.as_str())), facts)
    }

    /// Known files that this one may be a copy of, by its name.
    pub(super) fn alike(&self, found: &FoundFile) -> Vec<u64> {
        let file = file_name(&found.name);
        let ends = file.char_indices().map(|(at, c)| at + c.len_utf8());
        let stems = ends.filter_map(|end| self.stems.get(&name_hash(&file[..end])));
        let alike = stems.flat_map(|keys| keys.iter().take(ALIKE_MAX));
        let mut keys: Vec<u64> = alike.map(|(_, key)| *key).collect();
        // However many there are of a stem: the shortest names, and those that were truncated.
        let cut = self.cut.iter().filter(|key| !keys.contains(key) && self.is_alike(**key, file));
        keys.extend(cut.copied().collect::<Vec<u64>>());
        keys
    }

    fn is_alike(&self, key: u64, file: &str) -> bool {
        self.files.get(&key).and_then(|tracked| tracked.name.as_deref()).is_some_and(|name| file.starts_with(stem(name)))
    }

    /// True where a file that is not known has a name like that of a known one.
    pub(super) fn has_alike(&self, found: &FoundFile, unknown: &[&FoundFile]) -> bool {
        let tracked = self.files.get(&found.look.id.key());
        let name = tracked.and_then(|tracked| tracked.name.as_ref()).unwrap_or(&found.name);
        unknown.iter().any(|other| file_name(&other.name).starts_with(stem(name)))
    }

    /// The offset to go on at in a copy of a file that has been truncated since, and the reader of that file: what it has read must be in a
    /// checkpoint before what goes on behind it, or with it.
    pub(super) fn copied(
        &mut self,
        like: &[u64],
        key: u64,
        found: &FoundFile,
        now: Duration,
        facts: &mut dyn Facts,
    ) -> Option<(u64, usize)> {
        // A short one was compared with the file while that was whole.
        let held = self.held.get(&key).filter(|held| held.len == found.look.len).map(|held| (held.of, held.since));
        let is_whole =
            |cut: &Cut, facts: &mut dyn Facts| found.look.len >= cut.offset && facts.print(&found.name, cut.offset) == Some(cut.print);
        for is_short in [false, true] {
            // The longest one: a shorter one may be what all of them begin with, as a CSV header.
            let mut best: Option<(u64, u64, usize)> = None;
            for of in like {
                // Of a file that was held when the log was truncated. What was held then is no copy of anything later.
                let first = held
                    .filter(|(held, _)| held == of)
                    .and_then(|(_, since)| self.files.get(of)?.cuts.iter().position(|cut| since <= cut.since));
                for (at, cut) in self.files.get(of).into_iter().flat_map(|tracked| tracked.cuts.iter().enumerate()) {
                    let is_candidate = !cut.is_found && cut.offset > best.map_or(0, |(offset, ..)| offset);
                    if is_candidate && if is_short { found.look.len < cut.offset && first == Some(at) } else { is_whole(cut, facts) } {
                        best = Some((cut.offset, *of, at));
                    }
                }
            }
            let more = |of: &u64| self.files.get(of).filter(|tracked| best.is_some_and(|(offset, ..)| tracked.offset > offset));
            let mut whole = like.iter().filter_map(more).filter(|tracked| found.look.len >= tracked.offset);
            if whole.any(|tracked| facts.print(&found.name, tracked.offset) == tracked.print) {
                // It holds more of a log that is whole still: that one may be truncated in a moment.
                return None;
            }
            if let Some((offset, of, at)) = best {
                let may_be_cut = held.is_none_or(|(_, since)| now.saturating_sub(since) < COPY_WAIT);
                if may_be_cut && found.look.len > offset && self.is_in_whole(like, found, facts) {
                    // Earlier contents may be no more than what all of them begin with, and of the log as it is nothing may have been read.
                    return None;
                }
                let tracked = self.files.get_mut(&of)?;
                tracked.cuts.get_mut(at)?.is_found = true;
                return Some((offset.min(found.look.len), tracked.owner));
            }
        }
        None
    }

    /// True where a log that is whole begins with all of this file.
    fn is_in_whole(&self, like: &[u64], found: &FoundFile, facts: &mut dyn Facts) -> bool {
        let names = like.iter().filter_map(|of| self.files.get(of).filter(|tracked| tracked.len > 0)?.name.as_deref());
        names.into_iter().any(|name| facts.is_beginning(&found.name, name))
    }

    /// A file that is read from its start may be the copy of one that was truncated before any of it was read: then nothing of that is lost.
    pub(super) fn unread_copy(&mut self, like: &[u64], found: &FoundFile) {
        for of in like {
            let Some(tracked) = self.files.get_mut(of) else { continue };
            let before = tracked.cuts.len();
            tracked.cuts.retain(|cut| cut.offset > 0 || found.look.len < cut.unread);
            if tracked.cuts.len() < before {
                return;
            }
        }
    }

    /// True while a file that holds what a known one begins with is left alone.
    pub(super) fn holds(&mut self, key: u64, found: &FoundFile, like: &[u64], now: Duration, facts: &mut dyn Facts) -> bool {
        let is_like = |of: &&u64| {
            let Some(Tracked { name: Some(name), offset, print, len, .. }) = self.files.get(of) else { return false };
            let is_read = *offset > 0 && found.look.len >= *offset;
            *len > 0 && if is_read { facts.print(&found.name, *offset) == *print } else { facts.is_beginning(&found.name, name) }
        };
        if let Some(held) = self.held.get(&key).filter(|held| held.len == found.look.len) {
            return now.saturating_sub(held.since) < COPY_WAIT;
        }
        let Some(of) = like.iter().find(is_like).copied() else { return false };
        self.held.insert(key, HeldCopy { len: found.look.len, since: now, of });
        true
    }

    /// Truncations whose copy lies where `path` does not look, or nowhere.
    pub(super) fn settle_cuts(&mut self, now: Duration, facts: &mut dyn Facts, decided: &mut Vec<FollowDecision>) {
        let mut adopted = Vec::new();
        for key in self.cut.clone() {
            let Some(tracked) = self.files.get_mut(&key) else { continue };
            let Some(name) = tracked.name.clone() else { continue };
            let mut lost = 0;
            tracked.cuts.retain_mut(|cut| {
                if cut.unread > 0
                    && cut.offset > 0
                    && !cut.is_found
                    && let Some(found) = facts.copy_beside(&name, cut.offset, cut.print)
                {
                    adopted.push((found, *cut, tracked.owner));
                    cut.is_found = true;
                }
                let age = now.saturating_sub(cut.since);
                if age >= COPY_WAIT && !cut.is_found {
                    lost += std::mem::take(&mut cut.unread);
                }
                age < CUT_KEPT
            });
            if tracked.cuts.is_empty() {
                self.cut.remove(&key);
            }
            if lost > 0 {
                self.warnings.push(format!(
                    "`{name}` was truncated before {lost} bytes of it were read, and no copy of them was found: they are lost"
                ));
            }
        }
        adopted.sort_by(|a, b| a.0.name.cmp(&b.0.name));
        for (found, cut, owner) in adopted {
            let key = found.look.id.key();
            if self.files.contains_key(&key) {
                continue;
            }
            let mut tracked = Tracked::new(&found.name, Some(&found.look), cut.offset, Some(cut.print));
            (tracked.seen, tracked.outside, tracked.folder, tracked.owner) = (self.round, true, self.folder, owner);
            self.adopt(key, tracked);
            decided.push(FollowDecision { owner: Some(owner), key, change: Change::New { found, start: cut.offset } });
        }
    }
}
