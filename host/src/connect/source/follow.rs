//! What to do about followed files: what exists now, held against what is known, gives changes for those who read.
//!
//! Pure: what must be looked up in the file system while deciding is asked of [`Facts`]; time is an argument.
//!
//! ```text
//! known file   seen, other name ──> Renamed      not seen, beside under a name that is not meant ──> Outside
//!              seen, longer     ──> Grown        not seen at all, in the folder that it was in   ──> Gone
//!              seen, shorter    ──> Truncated    not seen, and the folder is another one or none ──> kept
//! known file   grown, other contents, and what was read of it is in an unknown file ──> Truncated
//! unknown file begins as a known one that was cut   ──> New, behind what was read of that one (a copy made by copytruncate)
//!              begins as a known one that is whole  ──> held for COPY_WAIT: it may be cut in a moment
//!              else                                 ──> New, from the start
//! ```
//! What copies of truncated files have to do with it is in `copies.rs` beside this.
//!
//! Law: a file that is known and was not seen is forgotten only where the folder is the one that it was seen in.

mod copies;
mod known;

#[cfg(test)]
pub use copies::COPY_WAIT;
pub use known::{Change, Facts, FollowDecision, Followed, Tracked, file_name, stem};

use super::identity::stamp;
use super::listing::FoundFile;
use super::marks::{MARKS_MAX, Mark, name_hash};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

impl Followed {
    /// The file of this key.
    pub fn get(&self, key: u64) -> Option<&Tracked> {
        self.files.get(&key)
    }

    /// How many are known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// All files, with what is to be remembered of those that were read to their ends.
    pub fn marks(&self) -> impl Iterator<Item = (u64, Option<Mark>)> {
        self.files.iter().map(|(key, tracked)| (*key, tracked.mark().filter(|_| tracked.offset == tracked.len && tracked.ino.is_some())))
    }

    /// Begins with a file.
    pub fn adopt(&mut self, key: u64, tracked: Tracked) {
        if let Some(name) = &tracked.name {
            self.stems.entry(name_hash(stem(name))).or_default().insert((name.len(), key));
        }
        if !tracked.cuts.is_empty() {
            self.cut.insert(key);
        }
        self.files.insert(key, tracked);
    }

    /// Ends with a file; one that was read to its end may come back.
    pub fn end(&mut self, key: u64) {
        let Some(tracked) = self.forget(key) else { return };
        if self.gone_owners.len() >= MARKS_MAX {
            self.gone_owners.clear();
        }
        self.gone_owners.insert(key, tracked.owner);
        if let Some(mark) = tracked.mark().filter(|mark| mark.offset == tracked.len) {
            self.gone.went(key, mark);
        }
    }

    /// Ends with a file.
    fn forget(&mut self, key: u64) -> Option<Tracked> {
        let tracked = self.files.remove(&key)?;
        self.drop_stem(key, tracked.name.as_deref());
        self.cut.remove(&key);
        Some(tracked)
    }

    fn drop_stem(&mut self, key: u64, name: Option<&str>) {
        let Some(name) = name else { return };
        let hash = name_hash(stem(name));
        if let Some(keys) = self.stems.get_mut(&hash) {
            keys.remove(&(name.len(), key));
            if keys.is_empty() {
                self.stems.remove(&hash);
            }
        }
    }

    fn rename(&mut self, key: u64, name: &str) {
        let Some(tracked) = self.files.get_mut(&key) else { return };
        let before = tracked.name.replace(name.to_owned());
        tracked.name_hash = name_hash(name);
        self.drop_stem(key, before.as_deref());
        self.stems.entry(name_hash(stem(name))).or_default().insert((name.len(), key));
    }

    /// Who reads it.
    pub fn own(&mut self, key: u64, owner: usize) {
        if let Some(tracked) = self.files.get_mut(&key) {
            tracked.owner = owner;
        }
    }

    /// A reader begins to read a file. False where a look waits for it to be at rest: it is read after that.
    pub fn begin_reading(&mut self, key: u64) -> bool {
        let is_free = !self.wanted.contains(&key);
        if is_free {
            self.reading.insert(key);
        }
        is_free
    }

    /// A reader is through with a file for now.
    pub fn end_reading(&mut self, key: u64) {
        self.reading.remove(&key);
    }

    /// True where a file is being read, so that a look must leave it until the next time.
    fn waits_for(&mut self, key: u64) -> bool {
        let is_read = self.reading.contains(&key);
        if is_read {
            self.wanted.insert(key);
        }
        is_read
    }

    /// It has been read this far.
    pub fn read(&mut self, key: u64, offset: u64, print: Option<u64>) {
        if let Some(tracked) = self.files.get_mut(&key) {
            (tracked.offset, tracked.print) = (offset, print);
        }
    }

    /// Holds what exists now against what is known. `room`: how many new files may be begun; others stay unknown for the present.
    pub fn look(
        &mut self,
        files: &[FoundFile],
        folder: Option<u64>,
        (now, mut room): (Duration, usize),
        facts: &mut dyn Facts,
    ) -> Vec<FollowDecision> {
        self.round += 1;
        self.wanted.clear();
        let mut decided = Vec::new();
        let (known, mut unknown): (Vec<&FoundFile>, Vec<&FoundFile>) =
            files.iter().partition(|found| self.files.contains_key(&found.look.id.key()));
        for found in known {
            let (key, is_shorter) = (found.look.id.key(), self.is_shorter(found));
            let is_open = is_shorter || self.is_renamed(found) || self.has_alike(found, &unknown);
            let again = match is_open && self.waits_for(key) {
                true => None,
                // Other readers go on meanwhile: a file may have been listed shorter than what was read of it since.
                false if is_shorter => facts.again(found),
                false => Some(found.clone()),
            };
            let Some(found) = &again else {
                // It is being read, has another name by now, or is gone: the next look tells.
                if let Some(tracked) = self.files.get_mut(&key) {
                    tracked.seen = self.round;
                }
                continue;
            };
            let is_another = self.is_another(found, facts) || self.is_filled_again(found, files, &unknown, facts);
            self.seen(found, is_another, folder, now, &mut decided);
        }
        self.missing(&mut unknown, folder, now, facts, &mut decided);
        self.gone.folder = if self.keeps_unseen { self.gone.folder.or(folder) } else { folder.or(self.gone.folder) };
        self.folder = folder.or(self.folder);
        let keys: HashSet<u64> = unknown.iter().map(|found| found.look.id.key()).collect();
        self.held.retain(|key, _| keys.contains(key));
        let takes_empty = self.takes_empty;
        // A copy may have a name that sorts before that of its log, as `app-2026.log`: the log comes first.
        unknown.sort_by_key(|found| stem(&found.name).len());
        for found in unknown.into_iter().filter(|found| takes_empty || found.look.len > 0) {
            let is_full = self.files.len() >= MARKS_MAX;
            if is_full && !std::mem::replace(&mut self.tells_full, true) {
                self.warnings
                    .push(format!("{MARKS_MAX} files are known: new ones, such as `{}`, are not read until some are gone", found.name));
            }
            if room == 0 || is_full {
                break;
            }
            room -= usize::from(self.unknown(found, folder, now, facts, &mut decided));
        }
        self.settle_cuts(now, facts, &mut decided);
        decided
    }

    fn is_renamed(&self, found: &FoundFile) -> bool {
        self.files.get(&found.look.id.key()).is_some_and(|tracked| tracked.name.as_ref().is_some_and(|name| *name != found.name))
    }

    /// True where less was listed of a file than what has been read of it; of one of which nothing was given out, than what was seen.
    fn is_shorter(&self, found: &FoundFile) -> bool {
        let tracked = self.files.get(&found.look.id.key());
        tracked.is_some_and(|tracked| found.look.len < tracked.offset || (tracked.offset == 0 && found.look.len < tracked.len))
    }

    /// A file that is known. `is_another`: it does not hold what was read of it.
    fn seen(&mut self, found: &FoundFile, is_another: bool, folder: Option<u64>, now: Duration, decided: &mut Vec<FollowDecision>) {
        let (key, is_cut) = (found.look.id.key(), is_another || self.is_shorter(found));
        let Some(tracked) = self.files.get_mut(&key) else { return };
        let owner = Some(tracked.owner);
        let is_as_marked = tracked.stamp.take().is_some_and(|then| then == stamp(found.look.len, found.look.changed));
        tracked.seen = self.round;
        tracked.outside = false;
        tracked.ino = Some(found.look.id.ino);
        tracked.folder = folder;
        let grown = (tracked.len, tracked.changed) != (found.look.len, found.look.changed);
        let renamed = tracked.name.as_deref() != Some(&found.name);
        if renamed {
            // One that was folded has no name that anybody would miss.
            if tracked.name.is_some() {
                decided.push(FollowDecision { owner, key, change: Change::Renamed { name: found.name.clone(), key } });
            }
            self.rename(key, &found.name);
        }
        let Some(tracked) = self.files.get_mut(&key) else { return };
        if is_cut {
            let unread = tracked.len.saturating_sub(tracked.offset);
            self.cut(key, now);
            decided.push(FollowDecision { owner, key, change: Change::Truncated { unread } });
        } else if grown && !is_as_marked {
            decided.push(FollowDecision { owner, key, change: Change::Grown });
        }
        if let Some(tracked) = self.files.get_mut(&key) {
            (tracked.len, tracked.changed) = (found.look.len, found.look.changed);
        }
    }

    /// Files that are known and were not seen.
    fn missing(
        &mut self,
        unknown: &mut Vec<&FoundFile>,
        folder: Option<u64>,
        now: Duration,
        facts: &mut dyn Facts,
        decided: &mut Vec<FollowDecision>,
    ) {
        let round = self.round;
        let mut missing: Vec<u64> = self.files.iter().filter(|(_, file)| file.seen != round).map(|(key, _)| *key).collect();
        missing.sort_unstable();
        let (mut kept, mut taken) = (0, HashSet::new());
        // Only where the folder is another one: there a name and what was read under it stand for the file.
        let mut by_name: HashMap<u32, &FoundFile> = HashMap::new();
        for key in missing {
            let Some(tracked) = self.files.get(&key) else { continue };
            if facts.is_blind(tracked.name.as_deref()) || self.reading.contains(&key) {
                continue;
            }
            let (owner, is_elsewhere) = (Some(tracked.owner), folder.is_none() || (tracked.folder.is_some() && tracked.folder != folder));
            let beside = tracked.name.as_deref().zip(tracked.ino).and_then(|(name, ino)| facts.beside(name, ino));
            if let Some(found) = beside.filter(|found| found.look.id.key() == key) {
                let is_meant = facts.is_meant(&found.name);
                let was_outside = tracked.outside && tracked.name.as_deref() == Some(&found.name);
                self.seen(&found, false, folder, now, decided);
                if !is_meant && !was_outside {
                    decided.retain(|decision| decision.key != key || !matches!(decision.change, Change::Renamed { .. }));
                    decided.push(FollowDecision { owner, key, change: Change::Outside { name: found.name } });
                }
                if let Some(tracked) = self.files.get_mut(&key) {
                    tracked.outside = !is_meant;
                }
                continue;
            }
            if is_elsewhere {
                if by_name.is_empty() {
                    by_name = unknown.iter().map(|found| (name_hash(&found.name), *found)).collect();
                }
                if let Some(found) = by_name.get(&tracked.name_hash).copied().filter(|found| is_same(tracked, found, facts)) {
                    taken.insert(found.look.id.key());
                    self.rekey(key, found, folder, now, decided);
                } else {
                    kept += 1;
                }
                continue;
            }
            self.went(key, decided);
        }
        unknown.retain(|found| !taken.contains(&found.look.id.key()));
        if kept > 0 && !self.keeps_unseen {
            let what = if folder.is_some() { "or `path` is another one than before" } else { "is not there" };
            self.warnings.push(format!("the folder of the input {what}: {kept} files that were read in it are not forgotten"));
        }
        self.keeps_unseen = kept > 0;
    }

    fn went(&mut self, key: u64, decided: &mut Vec<FollowDecision>) {
        let Some(tracked) = self.files.get(&key) else { return };
        let (owner, name, offset) = (Some(tracked.owner), tracked.name.clone(), tracked.offset);
        let unread = tracked.len.saturating_sub(offset);
        self.end(key);
        decided.push(FollowDecision { owner, key, change: Change::Gone { name, offset, unread } });
    }

    /// True where a known inode has another name and other contents: it was renamed and truncated, or used again at once. Of a folded file the
    /// hash of its name is known.
    fn is_another(&self, found: &FoundFile, facts: &mut dyn Facts) -> bool {
        let Some(tracked @ Tracked { offset: 1.., .. }) = self.files.get(&found.look.id.key()) else { return false };
        // Without a digest it is shorter, which is seen elsewhere, or cannot be read, which says nothing.
        tracked.name_hash != name_hash(&found.name)
            && facts.print(&found.name, tracked.offset).is_some_and(|print| Some(print) != tracked.print)
    }

    fn rekey(&mut self, key: u64, found: &FoundFile, folder: Option<u64>, now: Duration, decided: &mut Vec<FollowDecision>) {
        let Some(tracked) = self.forget(key) else { return };
        let (owner, new) = (Some(tracked.owner), found.look.id.key());
        self.adopt(new, Tracked { name: Some(found.name.clone()), ino: None, ..tracked });
        decided.push(FollowDecision { owner, key, change: Change::Renamed { name: found.name.clone(), key: new } });
        self.seen(found, false, folder, now, decided);
    }

    /// Decides about a file that is not known. True where it is begun.
    fn unknown(
        &mut self,
        found: &FoundFile,
        folder: Option<u64>,
        now: Duration,
        facts: &mut dyn Facts,
        decided: &mut Vec<FollowDecision>,
    ) -> bool {
        let key = found.look.id.key();
        let mut owner = self.gone_owners.get(&key).copied();
        let mut start = self.came_back(found, facts);
        if start.is_none() {
            let like = self.alike(found);
            if like.iter().filter(|of| self.waits_for(**of)).count() > 0 {
                return false;
            }
            if let Some((offset, reader)) = self.copied(&like, key, found, now, facts) {
                (start, owner) = (Some(offset), Some(reader));
            } else if self.holds(key, found, &like, now, facts) {
                return false;
            } else {
                self.unread_copy(&like, found);
            }
        }
        self.held.remove(&key);
        self.gone_owners.remove(&key);
        let start = start.unwrap_or_else(|| {
            self.tell_repeated(found, facts);
            0
        });
        let print = if start == 0 { None } else { facts.print(&found.name, start) };
        let mut tracked = Tracked::new(&found.name, Some(&found.look), start, print);
        (tracked.seen, tracked.folder) = (self.round, folder);
        tracked.owner = owner.unwrap_or_default();
        self.adopt(key, tracked);
        decided.push(FollowDecision { owner, key, change: Change::New { found: found.clone(), start } });
        true
    }

    /// Where to go on with a file that was read, went and came back. Without a time of birth it may be another one with the same inode.
    fn came_back(&mut self, found: &FoundFile, facts: &mut dyn Facts) -> Option<u64> {
        let (key, _) = (found.look.id.key(), found.look.id.born?);
        let at = self.gone.gone.iter().position(|(gone, _)| *gone == key)?;
        let (_, mark) = self.gone.gone.remove(at);
        (facts.print(&found.name, mark.offset) == Some(mark.print)).then_some(mark.offset)
    }

    /// A new file that begins as one that just went under its name has its rows again; that may be meant.
    fn tell_repeated(&mut self, found: &FoundFile, facts: &mut dyn Facts) {
        let (hash, key) = (name_hash(&found.name), found.look.id.key());
        let Some((_, mark)) = self.gone.gone.iter().rev().find(|(other, mark)| mark.name == hash && *other != key) else { return };
        if found.look.len > mark.offset && facts.print(&found.name, mark.offset) == Some(mark.print) {
            self.warnings.push(format!(
                "`{}` is a new file that begins with the {} bytes of the one that it replaced: they are read again; append to a file instead of replacing it",
                found.name, mark.offset
            ));
        }
    }
}

/// True where a file holds what was read under its name.
fn is_same(tracked: &Tracked, found: &FoundFile, facts: &mut dyn Facts) -> bool {
    found.look.len >= tracked.offset && (tracked.offset == 0 || facts.print(&found.name, tracked.offset) == tracked.print)
}

#[cfg(test)]
mod tests;
