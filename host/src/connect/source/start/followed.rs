//! The splits of a run that follows files: what a checkpoint knows of them is held against what there is, before there are readers.

use super::{Before, Known, free_name};
use crate::connect::source::content::packing_of;
use crate::connect::source::context::SourceContext;
use crate::connect::source::follow::{Change, Tracked};
use crate::connect::source::identity::{Look, print_of};
use crate::connect::source::listing::{FoundFile, Listed};
use crate::connect::source::marks::{self, Marks};
use crate::connect::source::position::{CutPosition, FilePosition, Fingerprint};
use crate::connect::source::split::packed_is_not_followed;
use crate::connect::{ConnectError, SourceSplit};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// New followed files that are dealt out to all instances; more of them are found while the job runs.
const DEALT_MAX: usize = 1_000;

impl SourceContext {
    /// The splits of a run that follows files.
    pub(in crate::connect::source) fn begin_followed(&self, known: &[SourceSplit]) -> Result<Vec<SourceSplit>, ConnectError> {
        let Before { marks, files } = self.before(known)?;
        let listed = self.list()?;
        let (mut splits, mut live) = (Vec::new(), HashMap::new());
        let folder = marks.folder;
        {
            let mut shared = self.shared();
            for (key, mark) in &marks.files {
                shared.followed.adopt(*key, Tracked::marked(mark).within(folder));
            }
            shared.followed.gone = Marks { files: BTreeMap::new(), ..marks.clone() };
        }
        for (_, known) in files {
            self.take_up(known, &listed, folder, &mut splits, &mut live)?;
        }
        let decided = self.decide(&listed, DEALT_MAX);
        for decision in decided {
            self.apply(decision.key, decision.change, &mut live)?;
        }
        for (key, position) in &mut live {
            self.settle(*key, position)?;
        }
        let mut shared = self.shared();
        let mut finished = Marks { folder: shared.followed.gone.folder, files: marks.files, gone: shared.followed.gone.gone.clone() };
        finished.files.retain(|key, _| shared.followed.get(*key).is_some() && !live.contains_key(key));
        for (key, file) in shared.followed.marks() {
            if let (false, Some(mark)) = (live.contains_key(&key), file) {
                finished.files.insert(key, mark);
            }
        }
        let mut taken: BTreeSet<String> = splits.iter().map(|split| split.split.clone()).collect();
        let mut live: Vec<(u64, FilePosition)> = live.into_iter().collect();
        // Those that had an identity before keep it.
        live.sort_by_cached_key(|(_, position)| (position.seen.is_none(), position.id()));
        for (key, mut position) in live {
            position.cuts = shared.followed.cuts(key);
            let mut split = position.to_split();
            if !taken.insert(split.split.clone()) {
                let name = free_name(&split.split, |name| taken.contains(name));
                taken.insert(name.clone());
                split = FilePosition { split: Some(name), ..position }.to_split();
            }
            shared.splits.insert(split.split.clone(), key);
            splits.push(split);
        }
        if !finished.is_empty() || (finished.folder.is_some() && !splits.is_empty()) {
            splits.push(finished.to_split(marks::SPLIT));
        }
        splits.sort_unstable_by(|a, b| a.split.cmp(&b.split));
        Ok(splits)
    }

    /// Takes up what is known of one file.
    fn take_up(
        &self,
        known: Known,
        listed: &Listed,
        folder: Option<u64>,
        splits: &mut Vec<SourceSplit>,
        live: &mut HashMap<u64, FilePosition>,
    ) -> Result<(), ConnectError> {
        let (size, is_followed) = (known.size(), known.positions.iter().any(|position| position.end.is_none()));
        let bounded_print = known.print();
        let mut template = None;
        for position in known.positions {
            if position.end.is_some() {
                if !position.is_done() {
                    self.check_known(&position)?;
                    splits.push(position.to_split());
                }
                template.get_or_insert(position);
                continue;
            }
            self.take_up_followed(position, listed, folder, live)?;
        }
        // A file that was read to its end goes on from there.
        let (Some(template), false) = (template, is_followed) else { return Ok(()) };
        let path = self.listing.locate(&template.path);
        let Ok(look) = Look::at(&path) else { return Ok(()) };
        if look.len < size || Fingerprint::read(&path, template.fingerprint.bytes)? != template.fingerprint {
            return Ok(());
        }
        let print = match bounded_print {
            Some(print) => Some(print),
            None => print_of(&path, size).map_err(ConnectError::io("read", &path))?,
        };
        let found = FoundFile { name: template.path, look };
        let position = FilePosition { start: size, ..self.followed(&found, size, print) };
        let key = look.id.key();
        self.shared().followed.adopt(key, Tracked::new(&found.name, Some(&look), size, print).within(folder));
        live.insert(key, position);
        Ok(())
    }

    fn take_up_followed(
        &self,
        mut position: FilePosition,
        listed: &Listed,
        folder: Option<u64>,
        live: &mut HashMap<u64, FilePosition>,
    ) -> Result<(), ConnectError> {
        let path = self.listing.locate(&position.path);
        self.check_reads(&position)?;
        if position.file.is_none() {
            // An older host wrote it: only the name tells which file it was.
            let Ok(look) = Look::at(&path) else { return self.lost(&position.path, position.offset, None) };
            if look.len >= position.offset {
                position.verify(&path)?;
            }
            position.file = Some(look.id);
            position.set_print(print_of(&path, position.offset).ok().flatten().filter(|_| position.offset > 0));
            position.seen = Some(position.offset.max(look.len));
        }
        let Some(id) = position.file else { return Ok(()) };
        let mut tracked = Tracked::new(&position.path, None, position.offset, position.print());
        (tracked.ino, tracked.len, tracked.folder) = (Some(id.ino), position.seen.unwrap_or(0), folder);
        tracked = tracked.cut_at(position.cuts.iter().filter_map(CutPosition::parts), self.now());
        tracked.outside = !self.listing.covers(&position.path) && listed.files.iter().all(|found| found.name != position.path);
        self.shared().followed.adopt(id.key(), tracked);
        live.insert(id.key(), position);
        Ok(())
    }

    /// Carries out what was decided before there are readers.
    fn apply(&self, key: u64, change: Change, live: &mut HashMap<u64, FilePosition>) -> Result<(), ConnectError> {
        match change {
            Change::Renamed { name, key: new } => {
                if let Some(mut position) = live.remove(&key) {
                    position.rename(&name);
                    if new != key {
                        // It is another file with the same contents, as where a whole folder was copied.
                        position.file = Look::at(&self.listing.locate(&name)).ok().map(|look| look.id).filter(|id| id.key() == new);
                    }
                    live.insert(new, position);
                }
            }
            Change::Outside { name } => {
                if let Some(position) = live.get_mut(&key) {
                    self.warn(format!("`{}` has become `{name}`, which `path` does not mean: it is read to its end", position.path));
                    position.rename(&name);
                }
            }
            Change::Grown => self.unfold(key, live),
            Change::Truncated { .. } => {
                self.unfold(key, live);
                if let Some(position) = live.get_mut(&key) {
                    self.warn(format!("`{}` was truncated: it is read from its start", position.path));
                    position.restart();
                }
            }
            Change::Gone { name, offset, unread } => {
                live.remove(&key);
                self.lost(&name.unwrap_or_default(), offset, Some(unread))?;
            }
            Change::New { found, start } => {
                let (print, path) = (self.shared().followed.get(key).and_then(|tracked| tracked.print), self.listing.locate(&found.name));
                match packing_of(&path, self.rows.compression) {
                    Ok(Some(packing)) => self.tell_once(&found.name, || packed_is_not_followed(&path, packing).to_string()),
                    _ => drop(live.insert(key, self.followed(&found, start, print))),
                }
            }
        }
        Ok(())
    }

    /// A folded file that is to be read on has a position of its own again.
    fn unfold(&self, key: u64, live: &mut HashMap<u64, FilePosition>) {
        if live.contains_key(&key) {
            return;
        }
        if let Some(position) = self.position_of(key) {
            live.insert(key, position);
        }
    }

    /// Looks whether a file still holds what was read of it.
    fn settle(&self, key: u64, position: &mut FilePosition) -> Result<(), ConnectError> {
        let path = self.listing.locate(&position.path);
        let is_as_read = position.print_read().is_none_or(|print| print_of(&path, position.offset).ok().flatten() == Some(print));
        if !is_as_read && Look::at(&path).is_ok_and(|look| look.id.key() == key) {
            self.explain(key, position)?;
            position.restart();
        }
        Ok(())
    }
}
