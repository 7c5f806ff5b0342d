//! The splits that a run begins with: what a checkpoint knows, held against the files there are.

mod copies;
mod followed;
mod known;

use self::copies::Copies;
use self::known::{Before, Known};
use super::content::packing_of;
use super::context::{SPLITS_MAX, SourceContext};
use super::identity::{Look, print_of, stamp};
use super::listing::{FoundFile, Listed};
use super::marks::{self, Mark, Marks, name_hash};
use super::position::{FINGERPRINT_BYTES, FilePosition, Fingerprint, UNKNOWN_BYTES};
use crate::connect::{ConnectError, SourceSplit};
use reprise_core::topology::{Compression, OnLost};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

impl SourceContext {
    fn before(&self, known: &[SourceSplit]) -> Result<Before, ConnectError> {
        let mut before = Before { marks: Marks::default(), files: BTreeMap::new() };
        for split in known {
            if Marks::is(&split.split) {
                before.marks.merge(Marks::parse(split)?);
                continue;
            }
            let mut position = FilePosition::parse(split)?;
            let name = self.listing.rename(&position.path);
            position.rename(&name);
            before.files.entry(name).or_default().positions.push(position);
        }
        Ok(before)
    }

    fn list(&self) -> Result<Listed, ConnectError> {
        let listed = self.listing.list()?;
        if let (Some((path, reason)), false) = (listed.blind.first(), self.follow) {
            return Err(ConnectError::io("list", &PathBuf::from(path))(std::io::Error::other(reason.clone())));
        }
        self.tell_troubles(&listed);
        Ok(listed)
    }

    /// Refuses to go on with a bounded file that the settings do not mean any more, or that is not what it was.
    fn check_known(&self, position: &FilePosition) -> Result<u64, ConnectError> {
        if !self.listing.covers(&position.path) {
            let what = format!(
                "the checkpoint has read `{}` up to offset {}, but `path` of the source no longer covers that file",
                position.path.escape_debug(),
                position.offset
            );
            let help = "let `path` cover it until it has been read, or start the job anew with an empty checkpoint store";
            return Err(ConnectError::config(what, help));
        }
        self.check_reads(position)?;
        position.verify(&self.listing.locate(&position.path))
    }

    /// Refuses to read the rest of a file otherwise than its beginning. A whole file of which nothing has been read may be read in another way.
    fn check_reads(&self, position: &FilePosition) -> Result<(), ConnectError> {
        let is_whole = position.start == 0 && position.end == position.size;
        let is_free = is_whole && position.offset == 0 && position.packed.is_none();
        let before = position.reads.as_deref().filter(|before| *before != self.reads && !is_free);
        let what = if let Some(before) = before {
            format!("as {before}, and the topology says {}", self.reads)
        } else if position.packed.is_some() && (self.follow || self.rows.compression == Compression::None) {
            let says = if self.follow { "follow = true" } else { "compression = \"none\"" };
            format!("as a packed file, and the topology says `{says}`")
        } else {
            return Ok(());
        };
        let what = format!("the job has begun to read `{}` (up to offset {}) {what}", position.path.escape_debug(), position.offset);
        let help = "write the settings as they were until that file has been read, or start the job anew with an empty checkpoint store";
        Err(ConnectError::config(what, help))
    }

    /// The splits of a run that reads files to their ends.
    pub(super) fn begin_bounded(&self, known: &[SourceSplit]) -> Result<Vec<SourceSplit>, ConnectError> {
        let before = self.before(known)?;
        let listed = self.list()?;
        let copies = self.copies(&before, &listed);
        let Before { mut marks, files } = before;
        if listed.files.is_empty() && known.is_empty() {
            let what = format!("no file matches `{}`", self.listing.full().display());
            return Err(ConnectError::missing(what, "correct `path` of the source; with `follow = true` it waits for files to come"));
        }
        let by_name: HashMap<&str, &FoundFile> = listed.files.iter().map(|found| (found.name.as_str(), found)).collect();
        let by_key: HashMap<u64, &FoundFile> = listed.files.iter().map(|found| (found.look.id.key(), found)).collect();
        let mut splits = Vec::new();
        let mut open: BTreeMap<String, u64> = BTreeMap::new();
        for (name, mut known) in files {
            let id = known.positions.iter().find_map(|position| position.file);
            let found = id.and_then(|id| by_key.get(&id.key())).or_else(|| by_name.get(name.as_str())).copied();
            let name = found.map_or(name, |found| found.name.clone());
            known.positions.iter_mut().for_each(|position| position.rename(&name));
            if !self.end_followed(&mut known)? {
                continue;
            }
            if known.is_done() {
                // Where `path` does not mean it at present, it may again later.
                if let Some(found) = found.cloned().or_else(|| self.listing.look(&name)) {
                    marks.files.extend(self.mark_of(&found, &known).map(|mark| (found.look.id.key(), mark)));
                }
                continue;
            }
            let size = known.size();
            for position in known.positions.iter().filter(|position| !position.is_done()) {
                if self.check_known(position)? > size && !known.is_packed() && !open.contains_key(&name) {
                    self.warn(format!("`{name}` has grown since it was listed with {size} bytes; a later run reads what was appended"));
                }
                open.insert(name.clone(), size);
            }
            splits.extend(known.positions.iter().map(FilePosition::to_split));
        }
        let mut names: HashMap<u32, Vec<u64>> = HashMap::new();
        marks.files.iter().for_each(|(key, mark)| names.entry(mark.name).or_default().push(*key));
        for found in listed.files.iter().filter(|found| !open.contains_key(&found.name)) {
            if let Some(start) = self.start_of(found, &mut marks, &names, &copies) {
                splits.extend(self.cut(found, start)?.iter().map(FilePosition::to_split));
            }
            if splits.len() > SPLITS_MAX {
                let what = format!("the source has more than {SPLITS_MAX} splits, at file `{}`", found.name);
                return Err(ConnectError::config(what, "raise `split`, or name fewer files"));
            }
        }
        forget_gone(&mut marks, &listed);
        if !marks.is_empty() {
            splits.push(marks.to_split(marks::SPLIT));
        }
        Ok(splits)
    }

    /// A file that was followed ends where it ends now. False where it is gone, and nothing of it is left to read.
    fn end_followed(&self, known: &mut Known) -> Result<bool, ConnectError> {
        for position in known.positions.iter_mut().filter(|position| position.end.is_none()) {
            let path = self.listing.locate(&position.path);
            let Some(look) = ConnectError::unless_absent(Look::at(&path), "look at", &path)? else {
                self.lost(&position.path, position.offset, position.seen.map(|seen| seen.saturating_sub(position.offset)))?;
                return Ok(false);
            };
            self.check_reads(position)?;
            position.verify(&path)?;
            (position.end, position.size, position.seen) = (Some(look.len), Some(look.len), None);
        }
        Ok(true)
    }

    /// A file is nowhere. That is well where it had been read to its end. `unread`: bytes that are known to be lost with it, where that is known.
    ///
    /// # Errors
    /// [`ConnectError::Missing`] where it had not, and the settings do not say to go on.
    pub(super) fn lost(&self, name: &str, offset: u64, unread: Option<u64>) -> Result<(), ConnectError> {
        if unread == Some(0) {
            return Ok(());
        }
        let path = self.listing.locate(name);
        let rest = match unread {
            Some(bytes) => format!("{bytes} bytes behind that were not read"),
            None => "whether that was its end is not known".to_owned(),
        };
        let what = format!("input `{}` has gone; it had been read up to offset {offset}, {rest}", path.display());
        match self.on_lost {
            OnLost::Stop => Err(ConnectError::Missing {
                what,
                help: "put the file back, or set `on-lost = \"skip\"` in the source to go on without the rest of it".to_owned(),
            }),
            OnLost::Skip => {
                self.warn(format!("{what}; the job goes on without them"));
                Ok(())
            }
        }
    }

    /// To remember a bounded file that was read to its end; none where it is not that file any more.
    fn mark_of(&self, found: &FoundFile, known: &Known) -> Option<Mark> {
        let path = self.listing.locate(&found.name);
        let (size, first) = (known.size(), known.positions.first()?);
        let is_it = found.look.len >= size
            && Fingerprint::read(&path, first.fingerprint.bytes).ok()? == first.fingerprint
            && known.print().is_none_or(|print| print_of(&path, size).ok().flatten() == Some(print));
        let print = print_of(&path, size).ok().flatten()?;
        is_it.then(|| Mark { name: name_hash(&found.name), offset: size, print, stamp: stamp(size, found.look.changed) })
    }

    /// Where to begin with a file that no split speaks of; none where there is nothing to read. `names`: keys of finished files by their names.
    fn start_of(&self, found: &FoundFile, marks: &mut Marks, names: &HashMap<u32, Vec<u64>>, copies: &Copies) -> Option<u64> {
        let (key, path) = (found.look.id.key(), self.listing.locate(&found.name));
        let fits = |mark: &Mark| found.look.len >= mark.offset && print_of(&path, mark.offset).ok().flatten() == Some(mark.print);
        if copies.truncated.contains(&key) {
            marks.files.remove(&key);
            self.warn(format!("`{}` was truncated behind a copy of what had been read of it: it is read from its start", found.name));
            return Some(0);
        }
        if let Some((offset, print, of)) = copies.of.get(&key) {
            let mark =
                Mark { name: name_hash(&found.name), offset: *offset, print: *print, stamp: stamp(found.look.len, found.look.changed) };
            self.warn(format!("`{}` is a copy of `{of}`, which was truncated: what had been read of that is not read again", found.name));
            marks.files.insert(key, mark);
            return self.grown(found, key, mark, marks);
        }
        if let Some(mark) = marks.files.get(&key).copied() {
            if mark.stamp != stamp(found.look.len, found.look.changed) && !fits(&mark) {
                self.warn(format!(
                    "`{}` was read to its end and then rewritten in place: its new contents are not read; give them to a new file",
                    found.name
                ));
                return None;
            }
            if found.look.len == mark.offset {
                let now = Mark { name: name_hash(&found.name), stamp: stamp(found.look.len, found.look.changed), ..mark };
                marks.files.insert(key, now);
            }
            return self.grown(found, key, mark, marks);
        }
        // A file that was copied or put back: name and contents stand for it.
        let by_name = names.get(&name_hash(&found.name)).into_iter().flatten();
        let known = by_name.filter_map(|old| Some((*old, *marks.files.get(old)?)));
        let back = marks.gone.iter().copied().filter(|(old, _)| found.look.id.born.is_some() && *old == key);
        let Some((old, mark)) = known.chain(back).find(|(_, mark)| fits(mark)) else { return Some(0) };
        marks.files.remove(&old);
        marks.gone.retain(|(other, _)| *other != old);
        marks.files.insert(key, mark);
        self.grown(found, key, mark, marks)
    }

    /// Goes on with a file that had been read to its end.
    fn grown(&self, found: &FoundFile, key: u64, mark: Mark, marks: &mut Marks) -> Option<u64> {
        if found.look.len <= mark.offset {
            return None;
        }
        if packing_of(&self.listing.locate(&found.name), self.rows.compression).is_ok_and(|packing| packing.is_some()) {
            self.warn(format!("`{}` is packed, and has grown since it was read: what was appended is not read", found.name));
            return None;
        }
        marks.files.remove(&key);
        self.warn(format!(
            "`{}` has grown from {} to {} bytes since it was read; what was appended is read",
            found.name, mark.offset, found.look.len
        ));
        Some(mark.offset)
    }

    /// The splits of a file from `start` on.
    fn cut(&self, found: &FoundFile, start: u64) -> Result<Vec<FilePosition>, ConnectError> {
        let size = found.look.len;
        if packing_of(&self.listing.locate(&found.name), self.rows.compression)?.is_some() {
            let whole = self.position(found, 0)?;
            return Ok(vec![FilePosition { end: Some(UNKNOWN_BYTES), size: Some(UNKNOWN_BYTES), packed: Some(size), ..whole }]);
        }
        let step = if self.rows.format.is_lines() { self.split_bytes } else { size.max(1) };
        let first = FilePosition { end: Some(size), size: Some(size), ..self.position(found, start)? };
        let starts = (start..size).step_by(usize::try_from(step).unwrap_or(usize::MAX)).take(SPLITS_MAX + 1);
        let range = |start: u64| FilePosition { start, offset: start, end: Some(start.saturating_add(step).min(size)), ..first.clone() };
        Ok(starts.map(range).collect())
    }

    fn position(&self, found: &FoundFile, start: u64) -> Result<FilePosition, ConnectError> {
        let fingerprint = Fingerprint::read(&self.listing.locate(&found.name), FINGERPRINT_BYTES.min(found.look.len))?;
        Ok(FilePosition { fingerprint, start, ..self.followed(found, start, None) })
    }

    /// The position of a file that is followed, as it is known.
    pub(super) fn position_of(&self, key: u64) -> Option<FilePosition> {
        let shared = self.shared();
        let tracked = shared.followed.get(key)?;
        let found = self.listing.look(tracked.name.as_deref()?).filter(|found| found.look.id.key() == key)?;
        Some(self.followed(&found, tracked.offset, tracked.print))
    }

    /// The position in a file that is followed from `offset` on.
    pub(super) fn followed(&self, found: &FoundFile, offset: u64, print: Option<u64>) -> FilePosition {
        let mut position = FilePosition {
            path: found.name.clone(),
            offset,
            file: Some(found.look.id),
            reads: Some(self.reads.clone()),
            ..FilePosition::default()
        };
        position.set_print(print);
        position
    }
}

/// Forgets files that are gone from the folder where they were seen.
fn forget_gone(marks: &mut Marks, listed: &Listed) {
    let there: HashSet<u64> = listed.files.iter().map(|found| found.look.id.key()).collect();
    let gone: Vec<(u64, Mark)> = marks.files.iter().filter(|(key, _)| !there.contains(key)).map(|(key, mark)| (*key, *mark)).collect();
    if !gone.is_empty() && marks.folder != listed.folder {
        // They were seen with another path, which no other folder equals.
        marks.folder.get_or_insert(0);
        return;
    }
    marks.folder = listed.folder.or(marks.folder);
    for (key, mark) in gone {
        marks.files.remove(&key);
        marks.went(key, mark);
    }
}

/// An identity that is free, like one that is taken.
pub(super) fn free_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut number = 2_u64;
    loop {
        let other = format!("{name}#{number}");
        if !is_taken(&other) {
            return other;
        }
        number += 1;
    }
}
