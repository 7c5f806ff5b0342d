//! The state of an instance as of its last snapshot, in the host's memory: what a replacement is restored from.
//!
//! It is a chain like that on storage: chunks in the order in which they are to be restored, later ones winning. When the newer ones have
//! grown to half of what they change, all are folded into one; the instance works on meanwhile. What is to be reported at the end of an
//! epoch is kept in the same way.

use crate::cells::Chunk;
use crate::checkpoint::fold::{fold, fold_changes};
use crate::columns::ColumnError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// Changes of fewer bytes are not worth folding.
pub const FOLD_BYTES_MIN: u64 = 2 << 20;
/// Changes that are not reported yet and no more bytes than the state and this many times what is worth folding are left as they are.
const UNREPORTED_FACTOR: u64 = 8;
/// What a cell counts beside its bytes.
const CELL_BYTES: u64 = 12;
/// What a chunk counts beside its cells: its seven columns, wherever they lie.
const CHUNK_BYTES: u64 = 256;

/// Cells with the version that their slot had in the component which wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedChunk {
    /// The version.
    pub version: u32,
    /// The cells.
    pub chunk: Chunk,
}

/// The state of an instance as of its last snapshot.
#[derive(Debug)]
pub struct StateBackup {
    chunks: Vec<Arc<VersionedChunk>>,
    bytes: u64,
    /// Of these, those of the last full snapshot or fold.
    base_bytes: u64,
    /// Changes of fewer bytes are not worth folding.
    fold_bytes_min: u64,
    folding: Option<Folding>,
}

#[derive(Debug)]
struct Folding {
    /// How many chunks at the front are being folded.
    chunks: usize,
    folded: Receiver<Option<Vec<VersionedChunk>>>,
}

/// What chunks count, in bytes.
pub fn bytes<'a>(chunks: impl IntoIterator<Item = &'a Arc<VersionedChunk>>) -> u64 {
    let one = |held: &Arc<VersionedChunk>| held.chunk.size_bytes() as u64 + held.chunk.len() as u64 * CELL_BYTES + CHUNK_BYTES;
    chunks.into_iter().map(one).sum()
}

impl StateBackup {
    /// The backup of what an instance was restored from. `fold_bytes_min`: changes of fewer bytes are not folded.
    pub fn new(chunks: Vec<Arc<VersionedChunk>>, fold_bytes_min: u64) -> Self {
        let bytes = bytes(&chunks);
        Self { chunks, bytes, base_bytes: bytes, fold_bytes_min, folding: None }
    }

    /// The chunks, in the order in which they are to be restored.
    pub fn chunks(&self) -> &[Arc<VersionedChunk>] {
        &self.chunks
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds changes.
    pub fn append(&mut self, changes: impl IntoIterator<Item = Arc<VersionedChunk>>) {
        let from = self.chunks.len();
        self.chunks.extend(changes);
        self.bytes += bytes(&self.chunks[from..]);
    }

    /// Takes the place of everything before.
    pub fn replace(&mut self, full: Vec<Arc<VersionedChunk>>) {
        *self = Self::new(full, self.fold_bytes_min);
    }

    /// Takes what was folded. Gives the next fold where one is due. `loses_newer`: a mutation, false in the product.
    pub fn tend(&mut self, loses_newer: bool) -> Option<FoldWork> {
        self.fold_beyond(0, |chunks| fold(chunks), loses_newer)
    }

    /// Takes what was folded. Gives a fold where there are more than `least` bytes, a third of which came since the last one.
    fn fold_beyond(&mut self, least: u64, folds: Folds, loses_newer: bool) -> Option<FoldWork> {
        if let Some(folding) = &self.folding {
            match folding.folded.try_recv() {
                Ok(folded) => {
                    let replaced = (folding.chunks + usize::from(loses_newer)).min(self.chunks.len());
                    self.folding = None;
                    let folded = folded?;
                    self.chunks.splice(..replaced, folded.into_iter().map(Arc::new));
                    self.bytes = bytes(&self.chunks);
                    self.base_bytes = self.bytes;
                }
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => self.folding = None,
            }
        }
        let is_due = self.bytes > least && self.bytes - self.base_bytes > (self.base_bytes / 2).max(self.fold_bytes_min);
        (is_due && self.is_uniform()).then(|| {
            let (done, folded) = sync_channel(1);
            self.folding = Some(Folding { chunks: self.chunks.len(), folded });
            FoldWork { chunks: self.chunks.clone(), folds, done }
        })
    }

    /// True where all chunks of a slot have one version: others cannot be told apart once they are folded.
    fn is_uniform(&self) -> bool {
        let mut versions = BTreeMap::new();
        self.chunks.iter().all(|held| *versions.entry(held.chunk.slot()).or_insert(held.version) == held.version)
    }
}

/// What has changed since the last report: cells that change again and again are kept once, or a few times, however long an epoch is.
#[derive(Debug)]
pub struct UnreportedChanges(StateBackup);

impl UnreportedChanges {
    /// None yet. `fold_bytes_min`: changes of fewer bytes are not folded.
    pub fn new(fold_bytes_min: u64) -> Self {
        Self(StateBackup::new(Vec::new(), fold_bytes_min))
    }

    /// Adds changes. `state_bytes`: of all that the instance has. Only where there are more changes than that, some cells are there twice. Gives
    /// a fold where one is due.
    pub fn append(&mut self, changes: impl IntoIterator<Item = Arc<VersionedChunk>>, state_bytes: u64) -> Option<FoldWork> {
        self.0.append(changes);
        let least = state_bytes.saturating_add(self.0.fold_bytes_min.saturating_mul(UNREPORTED_FACTOR));
        self.0.fold_beyond(least, |chunks| fold_changes(chunks), false)
    }

    /// Gives all away.
    pub fn take(&mut self) -> Vec<Arc<VersionedChunk>> {
        let empty = StateBackup::new(Vec::new(), self.0.fold_bytes_min);
        let taken = std::mem::replace(&mut self.0, empty);
        taken.chunks
    }

    pub fn is_empty(&self) -> bool {
        self.0.chunks.is_empty()
    }
}

/// How chunks become fewer.
type Folds = fn(&[&Chunk]) -> Result<Vec<Chunk>, ColumnError>;

/// A fold: chunks become fewer. It may run anywhere, and takes long; the instance works on meanwhile.
#[derive(Debug)]
pub struct FoldWork {
    chunks: Vec<Arc<VersionedChunk>>,
    folds: Folds,
    done: SyncSender<Option<Vec<VersionedChunk>>>,
}

impl FoldWork {
    /// Folds.
    pub fn run(self) {
        let Self { chunks, folds, done } = self;
        let versions: BTreeMap<u32, u32> = chunks.iter().map(|held| (held.chunk.slot(), held.version)).collect();
        let plain: Vec<&Chunk> = chunks.iter().map(|held| &held.chunk).collect();
        let versioned = |chunk: Chunk| VersionedChunk { version: versions.get(&chunk.slot()).copied().unwrap_or_default(), chunk };
        let folded = folds(&plain).ok().map(|folded| folded.into_iter().map(versioned).collect());
        // The backup may have been replaced meanwhile.
        let _ = done.send(folded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Cell;

    fn do_fold(work: Option<FoldWork>) {
        if let Some(work) = work {
            std::thread::Builder::new().spawn(move || work.run()).unwrap();
        }
    }

    fn chunk(cells: impl IntoIterator<Item = (u32, Option<u8>)>) -> Arc<VersionedChunk> {
        let mut chunk = Chunk::new(0);
        for (key, value) in cells {
            let bytes = value.map(|value| vec![value; 100]);
            chunk.push(Cell { key: &key.to_le_bytes(), item: b"", value: bytes.as_deref() }).unwrap();
        }
        Arc::new(VersionedChunk { version: 3, chunk })
    }

    fn cells(image: &StateBackup) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut cells = BTreeMap::new();
        for held in image.chunks() {
            assert_eq!(held.version, 3);
            for cell in held.chunk.cells() {
                match cell.value {
                    Some(value) => drop(cells.insert(cell.key.to_vec(), value.to_vec())),
                    None => drop(cells.remove(cell.key)),
                }
            }
        }
        cells
    }

    #[test]
    fn changes_are_folded_once_they_outweigh_the_rest_and_nothing_is_lost_meanwhile() {
        let mut image = StateBackup::new(vec![chunk((0..1000).map(|key| (key, Some(1))))], FOLD_BYTES_MIN);
        let mut last = image.bytes();
        let mut folds = 0;
        for round in 0..200u32 {
            image.append([chunk((0..1000).map(|key| (key, Some(round as u8)))), chunk([(round, None)])]);
            do_fold(image.tend(false));
            folds += usize::from(image.bytes() < last);
            last = image.bytes();
        }
        while image.folding.is_some() {
            do_fold(image.tend(false));
            std::thread::yield_now();
        }
        let cells = cells(&image);
        assert_eq!(cells.len(), 999, "each round sets all again, and the last one removes one");
        assert!(cells.values().all(|value| *value == [199; 100]));
        assert!(image.bytes() < 200 * 1000 * 112, "{} bytes after {folds} folds", image.bytes());
    }

    #[test]
    fn changes_of_a_few_bytes_are_folded_by_what_they_take() {
        let mut image = StateBackup::new(vec![chunk([(0, Some(1))])], FOLD_BYTES_MIN);
        // One removed cell a snapshot: 16 bytes, and a chunk.
        let rounds = 1 + FOLD_BYTES_MIN / (CHUNK_BYTES + 16);
        for round in 0..rounds {
            assert!(image.folding.is_none(), "after {round} of {rounds}");
            image.append([chunk([(7, None)])]);
            do_fold(image.tend(false));
        }
        assert!(image.folding.is_some());
        while image.folding.is_some() {
            do_fold(image.tend(false));
            std::thread::yield_now();
        }
        assert_eq!((image.chunks().len(), cells(&image).len()), (1, 1));
    }

    #[test]
    fn changes_of_the_same_cells_are_kept_a_few_times_however_many_there_are_until_they_are_reported() {
        let state_bytes = bytes(&[chunk((0..40_000).map(|key| (key, Some(1))))]);
        let mut unreported = UnreportedChanges::new(FOLD_BYTES_MIN);
        let mut most = 0;
        for round in 0..60u32 {
            do_fold(unreported.append([chunk((0..40_000).map(|key| (key, (key != round).then_some(round as u8))))], state_bytes));
            // Whoever folds is waited for: the bound is on what is kept, not on how fast that is.
            while unreported.0.folding.is_some() {
                do_fold(unreported.append([], state_bytes));
                std::thread::yield_now();
            }
            most = most.max(unreported.0.bytes());
        }
        assert!(most < 4 * state_bytes + UNREPORTED_FACTOR * FOLD_BYTES_MIN, "{most} bytes for a state of {state_bytes}");
        let held = StateBackup::new(unreported.take(), FOLD_BYTES_MIN);
        assert!(unreported.is_empty());
        let removed = held.chunks().iter().flat_map(|held| held.chunk.cells().filter(|cell| cell.value.is_none())).count();
        assert!(removed > 0, "who has the cell from before must hear that it is gone");
        let cells = cells(&held);
        assert_eq!(cells.len(), 39_999);
        assert!(cells.values().all(|value| *value == [59; 100]));
    }

    #[test]
    fn a_full_snapshot_takes_the_place_of_everything() {
        let mut image = StateBackup::new(vec![chunk([(1, Some(1))])], FOLD_BYTES_MIN);
        image.append([chunk([(2, Some(2))])]);
        image.replace(vec![chunk([(3, Some(3))])]);
        assert_eq!(cells(&image).len(), 1);
        assert_eq!(image.bytes(), 104 + CELL_BYTES + CHUNK_BYTES);
    }
}
