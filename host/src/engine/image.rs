//! The state of an instance as of its last snapshot, in the host's memory: what its successor is restored from.
//!
//! It is a chain like that on storage: chunks in the order in which they are to be restored, later ones winning. When the newer ones have
//! grown to half of what they change, a thread folds all into one; the instance works on meanwhile. What is to be reported at the end of an
//! epoch is kept in the same way.

use reprise_core::cells::Chunk;
use reprise_core::checkpoint::chain;
use reprise_core::columns::ColumnError;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

/// Changes of fewer bytes are not worth folding.
const FOLD_BYTES_MIN: u64 = 2 << 20;
/// Changes that are not reported yet and no more bytes than the state and these are not worth folding.
const UNREPORTED_BYTES_MIN: u64 = 16 << 20;
/// What a cell counts beside its bytes.
const CELL_BYTES: u64 = 12;
/// What a chunk counts beside its cells: its seven columns, wherever they lie.
const CHUNK_BYTES: u64 = 256;

/// Cells with the version that their slot had in the component which wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The version.
    pub version: u32,
    /// The cells.
    pub chunk: Chunk,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Image {
    chunks: Vec<Arc<Versioned>>,
    bytes: u64,
    /// Of these, those of the last full snapshot or fold.
    base_bytes: u64,
    folding: Option<Folding>,
}

#[derive(Debug)]
struct Folding {
    /// How many chunks at the front are being folded.
    chunks: usize,
    folded: Receiver<Option<Vec<Versioned>>>,
}

/// What chunks count, in bytes.
pub(super) fn bytes<'a>(chunks: impl IntoIterator<Item = &'a Arc<Versioned>>) -> u64 {
    let one = |held: &Arc<Versioned>| held.chunk.size_bytes() as u64 + held.chunk.len() as u64 * CELL_BYTES + CHUNK_BYTES;
    chunks.into_iter().map(one).sum()
}

impl Image {
    /// The image of what an instance was restored from.
    pub fn new(chunks: Vec<Arc<Versioned>>) -> Self {
        let bytes = bytes(&chunks);
        Self { chunks, bytes, base_bytes: bytes, folding: None }
    }

    /// The chunks, in the order in which they are to be restored.
    pub fn chunks(&self) -> &[Arc<Versioned>] {
        &self.chunks
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds changes.
    pub fn append(&mut self, changes: impl IntoIterator<Item = Arc<Versioned>>) {
        let from = self.chunks.len();
        self.chunks.extend(changes);
        self.bytes += bytes(&self.chunks[from..]);
    }

    /// Takes the place of everything before.
    pub fn replace(&mut self, full: Vec<Arc<Versioned>>) {
        *self = Self::new(full);
    }

    /// Takes what a thread has folded, and lets one fold where that is due.
    pub fn tend(&mut self) {
        self.fold_beyond(0, |chunks| chain::fold(chunks));
    }

    /// Takes what a thread has folded. Lets one fold where there are more than `least` bytes, a third of which came since the last time.
    fn fold_beyond(&mut self, least: u64, folds: Folds) {
        if let Some(folding) = &self.folding {
            match folding.folded.try_recv() {
                Ok(folded) => {
                    let replaced = folding.chunks;
                    self.folding = None;
                    let Some(folded) = folded else { return };
                    self.chunks.splice(..replaced, folded.into_iter().map(Arc::new));
                    self.bytes = bytes(&self.chunks);
                    self.base_bytes = self.bytes;
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => self.folding = None,
            }
        }
        let is_due = self.bytes > least && self.bytes - self.base_bytes > (self.base_bytes / 2).max(FOLD_BYTES_MIN);
        if is_due && self.is_uniform() {
            self.folding = fold(self.chunks.clone(), folds);
        }
    }

    /// True where all chunks of a slot have one version: others cannot be told apart once they are folded.
    fn is_uniform(&self) -> bool {
        let mut versions = std::collections::BTreeMap::new();
        self.chunks.iter().all(|held| *versions.entry(held.chunk.slot()).or_insert(held.version) == held.version)
    }
}

/// What has changed since the last report: cells that change again and again are kept once, or a few times, however long an epoch is.
#[derive(Debug, Default)]
pub(super) struct Unreported(Image);

impl Unreported {
    /// Adds changes. `state_bytes`: of all that the instance has. Only where there are more changes than that, some cells are there twice.
    pub fn append(&mut self, changes: impl IntoIterator<Item = Arc<Versioned>>, state_bytes: u64) {
        self.0.append(changes);
        self.0.fold_beyond(state_bytes.saturating_add(UNREPORTED_BYTES_MIN), |chunks| chain::fold_changes(chunks));
    }

    /// Gives all away.
    pub fn take(&mut self) -> Vec<Arc<Versioned>> {
        std::mem::take(self).0.chunks
    }

    pub fn is_empty(&self) -> bool {
        self.0.chunks.is_empty()
    }
}

/// How chunks become fewer.
type Folds = fn(&[&Chunk]) -> Result<Vec<Chunk>, ColumnError>;

/// Folds on a thread of its own. `None` where there is none to be had: the next turn tries again.
fn fold(chunks: Vec<Arc<Versioned>>, folds: Folds) -> Option<Folding> {
    let (done, folded) = sync_channel(1);
    let count = chunks.len();
    let work = move || {
        let versions: std::collections::BTreeMap<u32, u32> = chunks.iter().map(|held| (held.chunk.slot(), held.version)).collect();
        let plain: Vec<&Chunk> = chunks.iter().map(|held| &held.chunk).collect();
        let versioned = |chunk: Chunk| Versioned { version: versions.get(&chunk.slot()).copied().unwrap_or_default(), chunk };
        let folded = folds(&plain).ok().map(|folded| folded.into_iter().map(versioned).collect());
        // Nobody listens where the image was replaced meanwhile.
        let _ = done.send(folded);
    };
    let spawned = std::thread::Builder::new().name("fold".to_owned()).spawn(work);
    spawned.ok().map(|_| Folding { chunks: count, folded })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::cells::Cell;
    use std::collections::BTreeMap;

    fn chunk(cells: impl IntoIterator<Item = (u32, Option<u8>)>) -> Arc<Versioned> {
        let mut chunk = Chunk::new(0);
        for (key, value) in cells {
            let bytes = value.map(|value| vec![value; 100]);
            chunk.push(Cell { key: &key.to_le_bytes(), item: b"", value: bytes.as_deref() }).unwrap();
        }
        Arc::new(Versioned { version: 3, chunk })
    }

    fn cells(image: &Image) -> BTreeMap<Vec<u8>, Vec<u8>> {
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
        let mut image = Image::new(vec![chunk((0..1000).map(|key| (key, Some(1))))]);
        let mut last = image.bytes();
        let mut folds = 0;
        for round in 0..200u32 {
            image.append([chunk((0..1000).map(|key| (key, Some(round as u8)))), chunk([(round, None)])]);
            image.tend();
            folds += usize::from(image.bytes() < last);
            last = image.bytes();
        }
        while image.folding.is_some() {
            image.tend();
            std::thread::yield_now();
        }
        let cells = cells(&image);
        assert_eq!(cells.len(), 999, "each round sets all again, and the last one removes one");
        assert!(cells.values().all(|value| *value == [199; 100]));
        assert!(image.bytes() < 200 * 1000 * 112, "{} bytes after {folds} folds", image.bytes());
    }

    #[test]
    fn changes_of_a_few_bytes_are_folded_by_what_they_take() {
        let mut image = Image::new(vec![chunk([(0, Some(1))])]);
        // One removed cell a snapshot: 16 bytes, and a chunk.
        let rounds = 1 + FOLD_BYTES_MIN / (CHUNK_BYTES + 16);
        for round in 0..rounds {
            assert!(image.folding.is_none(), "after {round} of {rounds}");
            image.append([chunk([(7, None)])]);
            image.tend();
        }
        assert!(image.folding.is_some());
        while image.folding.is_some() {
            image.tend();
            std::thread::yield_now();
        }
        assert_eq!((image.chunks().len(), cells(&image).len()), (1, 1));
    }

    #[test]
    fn changes_of_the_same_cells_are_kept_a_few_times_however_many_there_are_until_they_are_reported() {
        let state_bytes = bytes(&[chunk((0..40_000).map(|key| (key, Some(1))))]);
        let mut unreported = Unreported::default();
        let mut most = 0;
        for round in 0..60u32 {
            unreported.append([chunk((0..40_000).map(|key| (key, (key != round).then_some(round as u8))))], state_bytes);
            // Whoever folds is waited for: the bound is on what is kept, not on how fast that is.
            while unreported.0.folding.is_some() {
                unreported.append([], state_bytes);
                std::thread::yield_now();
            }
            most = most.max(unreported.0.bytes());
        }
        assert!(most < 4 * state_bytes + UNREPORTED_BYTES_MIN, "{most} bytes for a state of {state_bytes}");
        let held = Image::new(unreported.take());
        assert!(unreported.is_empty());
        let removed = held.chunks().iter().flat_map(|held| held.chunk.cells().filter(|cell| cell.value.is_none())).count();
        assert!(removed > 0, "who has the cell from before must hear that it is gone");
        let cells = cells(&held);
        assert_eq!(cells.len(), 39_999);
        assert!(cells.values().all(|value| *value == [59; 100]));
    }

    #[test]
    fn a_full_snapshot_takes_the_place_of_everything() {
        let mut image = Image::new(vec![chunk([(1, Some(1))])]);
        image.append([chunk([(2, Some(2))])]);
        image.replace(vec![chunk([(3, Some(3))])]);
        assert_eq!(cells(&image).len(), 1);
        assert_eq!(image.bytes(), 104 + CELL_BYTES + CHUNK_BYTES);
    }
}
