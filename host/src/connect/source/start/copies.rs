//! Copies of files that were truncated behind them (`copytruncate`), as a run finds them that reads files to their ends: what it knows is what an earlier
//! run had read, and it looks once.
//!
//! A file counts as such a copy where its name begins as that of a known file, that one does not hold any more what was read of it, and this one does.
//! A copy of a file that is as it was is an honest file.

use super::known::{Before, Known};
use crate::connect::source::context::SourceContext;
use crate::connect::source::follow::{file_name, stem};
use crate::connect::source::identity::{print_of, stamp};
use crate::connect::source::listing::{FoundFile, Listed};
use crate::connect::source::position::CutPosition;
use std::collections::{HashMap, HashSet};

/// What was read of a file and is not there any more.
struct Cut {
    /// The file, where it was finished.
    key: Option<u64>,
    name: String,
    offset: u64,
    print: u64,
}

/// What is known of copies.
#[derive(Default)]
pub(super) struct Copies {
    /// By the key of a copy: how much of it was read, the digest of that, and the name of the file that it was read in.
    pub of: HashMap<u64, (u64, u64, String)>,
    /// Finished files that were truncated.
    pub truncated: HashSet<u64>,
}

impl SourceContext {
    /// Looks for copies among files that no split speaks of.
    pub(super) fn copies(&self, before: &Before, listed: &Listed) -> Copies {
        let holds = |name: &str, offset, print| print_of(&self.listing.locate(name), offset).ok().flatten() == Some(print);
        let mut cuts = Vec::new();
        for found in &listed.files {
            let key = found.look.id.key();
            let mark =
                before.marks.files.get(&key).filter(|mark| mark.offset > 0 && mark.stamp != stamp(found.look.len, found.look.changed));
            if let Some(mark) = mark.filter(|mark| !holds(&found.name, mark.offset, mark.print)) {
                cuts.push(Cut { key: Some(key), name: found.name.clone(), offset: mark.offset, print: mark.print });
            }
        }
        let by_key: HashMap<u64, &FoundFile> = listed.files.iter().map(|found| (found.look.id.key(), found)).collect();
        for (name, known) in &before.files {
            let (id, size) = (known.positions.iter().find_map(|position| position.file), known.size());
            // What the last run finished has no mark yet.
            if let (Some(found), Some(print), 1..) = (id.and_then(|id| by_key.get(&id.key())), known.print(), size)
                && known.is_done()
                && !holds(&found.name, size, print)
            {
                cuts.push(Cut { key: None, name: found.name.clone(), offset: size, print });
            }
            let parts = known.positions.iter().flat_map(|position| &position.cuts).filter_map(CutPosition::parts);
            cuts.extend(parts.map(|(offset, print)| Cut { key: None, name: name.clone(), offset, print }));
        }
        // The longest first: a shorter one may be what all of them begin with, as a CSV header.
        cuts.sort_by_key(|cut| std::cmp::Reverse(cut.offset));
        let mut copies = Copies::default();
        let files = before.files.values().flat_map(|known| &known.positions).filter_map(|position| position.file);
        let begun: HashSet<u64> = files.map(|file| file.key()).collect();
        let is_unknown = |found: &&FoundFile| {
            let key = found.look.id.key();
            let is_back = || before.marks.gone.iter().any(|(gone, _)| *gone == key);
            // A name counts only where the file still is that one: where copies are shifted, the next one gets it.
            let is_known = |known: &Known| known.print().is_none_or(|print| holds(&found.name, known.size(), print));
            !before.marks.files.contains_key(&key)
                && !begun.contains(&key)
                && !before.files.get(&found.name).is_some_and(is_known)
                && !is_back()
        };
        for found in listed.files.iter().filter(is_unknown) {
            let is_of = |cut: &&Cut| {
                found.look.len >= cut.offset
                    && file_name(&found.name).starts_with(stem(&cut.name))
                    && found.name != cut.name
                    && holds(&found.name, cut.offset, cut.print)
            };
            if let Some(cut) = cuts.iter().find(is_of) {
                copies.of.insert(found.look.id.key(), (cut.offset, cut.print, cut.name.clone()));
                copies.truncated.extend(cut.key);
            }
        }
        copies
    }
}
