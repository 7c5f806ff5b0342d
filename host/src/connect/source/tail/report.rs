//! What a tail has to say for a checkpoint: positions that moved, splits that ended, and marks of files that were read to their ends.

use super::{Entry, REST_LOOSE, State, Tail, is_half};
use crate::connect::SourceSplit;
use crate::connect::source::context::{SPLITS_MAX, SourceContext};
use crate::connect::source::identity::Look;
use crate::connect::source::marks;
use std::time::Instant;

/// Files at rest that have a position of their own before they are folded; with many folded ones, a part of their number more.
const LOOSE_MAX: usize = 16;
/// That part.
const LOOSE_SHARE: usize = 32;
/// Files at rest that cannot be folded, since they hold the watermark, from which on that is told.
const RESTING_TOLD: usize = 1_000;

impl Tail {
    /// The positions that changed since they were last given out.
    pub fn positions(&mut self, context: &SourceContext, out: &mut Vec<SourceSplit>) {
        self.fold(context, Instant::now());
        // First: a new file may have the identity of a split that ended in the same batch.
        let ended = std::mem::take(&mut self.ended);
        out.extend(ended.into_iter().map(SourceSplit::ended));
        for key in std::mem::take(&mut self.moved) {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if std::mem::take(&mut entry.moved) {
                if entry.position.file.is_none_or(|file| file.key() != key) {
                    let look = Look::at(&context.listing.locate(&entry.position.path)).ok();
                    entry.position.file = look.map(|look| look.id).filter(|id| id.key() == key);
                }
                entry.position.cuts = context.shared().followed.cuts(key);
                out.push(entry.position.to_split());
            }
        }
        if self.marks_changed > LOOSE_MAX + self.marks.files.len() / LOOSE_SHARE || self.has_last_marks() {
            self.marks_changed = 0;
            self.unfolded.clear();
            {
                let shared = context.shared();
                self.marks.folder = shared.followed.gone.folder;
                if self.is_finder {
                    self.marks.gone.clone_from(&shared.followed.gone.gone);
                }
            }
            let own = format!("{}/{}", marks::SPLIT, self.index);
            for other in std::mem::replace(&mut self.mark_splits, vec![own.clone()]) {
                if other != own {
                    out.push(SourceSplit::ended(other));
                }
            }
            out.push(self.marks.to_split(&own));
        }
    }

    /// The last mark is gone, and no checkpoint knows that.
    pub(super) fn has_last_marks(&self) -> bool {
        self.marks_changed > 0 && self.marks.files.is_empty()
    }

    /// Folds files that were read to their ends, where there are many.
    fn fold(&mut self, context: &SourceContext, now: Instant) {
        if self.rested <= LOOSE_MAX + self.marks.files.len() / LOOSE_SHARE {
            return;
        }
        self.rested = 0;
        let shared = context.shared();
        let is_foldable = |key: &u64, entry: &Entry| {
            let tracked = shared.followed.get(*key).filter(|tracked| tracked.offset == tracked.len && tracked.len == entry.position.offset);
            let is_at_rest = entry.state == State::Resting && !entry.outside && !is_half(entry);
            // The event time of a file is in its position only: one that holds the watermark keeps that.
            let is_heard = context.rows.lateness_ms.is_some() && !context.idle_after.is_some_and(|after| entry.quiet.lasts(after));
            let is_cold = entry.open.is_none() || now.duration_since(entry.read) >= REST_LOOSE;
            tracked.filter(|_| is_at_rest && is_cold && !is_heard).and_then(|tracked| tracked.mark())
        };
        let folded: Vec<_> = self.entries.iter().filter_map(|(key, entry)| Some((*key, is_foldable(key, entry)?))).collect();
        drop(shared);
        if context.rows.lateness_ms.is_some() && context.idle_after.is_none() {
            let resting = self.entries.values().filter(|entry| entry.state == State::Resting).count();
            if resting >= RESTING_TOLD {
                context.tell_once("files at rest", || {
                    format!(
                        "{resting} files have been read to their ends and hold the watermark back, so that each stays in every checkpoint, and a source \
                         cannot begin with more than {SPLITS_MAX}; set `idle-after` in the source, and they are kept in 30 bytes each"
                    )
                });
            }
        }
        if folded.is_empty() {
            return;
        }
        for (key, mark) in folded {
            self.marks.files.insert(key, mark);
            self.marks_changed += 1;
            if let Some(entry) = self.entries.remove(&key) {
                self.ended(&entry);
            }
        }
        // The marks go into the checkpoint with the ends of the splits.
        self.marks_changed = self.marks_changed.max(LOOSE_MAX + 1 + self.marks.files.len() / LOOSE_SHARE);
    }
}
