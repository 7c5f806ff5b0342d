//! Snapshot chains: when one is due to be compacted, and how its cells are folded into one full snapshot.
//!
//! A chain is a full snapshot and the deltas after it. The host compacts it without the guest: it knows cells by slot, key and item. So
//! a guest is asked for a full snapshot only where it begins a chain.
//!
//! Costs: a compaction reads and writes the state once. It is due at the latest when the deltas together have as many bytes as the
//! full snapshot, so over time it moves no more bytes than the deltas themselves.

use super::manifest::ObjectRef;
use crate::cells::{Cell, Chunk};
use crate::columns::ColumnError;
use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Deltas below which a chain is left alone however large they are: reading it back costs little.
const DELTAS_MIN: u32 = 4;
/// How many times `length_max` a chain may have, and `DELTAS_MIN` more, before new checkpoints wait for its compaction.
const SLACK: u32 = 4;
/// Bytes of a chunk that [`fold`] makes; one cell alone may have more.
const CHUNK_BYTES: usize = 1 << 20;

/// The limits of a chain. They come from the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainLimits {
    /// Deltas after which a chain is compacted. 0: every snapshot is full, and nothing is ever compacted.
    pub length_max: u32,
    /// Bytes of deltas after which it is compacted.
    pub bytes_max: u64,
}

impl ChainLimits {
    /// The chain should be compacted.
    #[must_use]
    pub fn is_due(&self, chain: &[ObjectRef]) -> bool {
        let Some((full, deltas)) = chain.split_first() else { return false };
        let (count, bytes) = (deltas.len() as u32, deltas.iter().map(|d| d.bytes).fold(0, u64::saturating_add));
        count > 0 && (count >= self.length_max || bytes >= self.bytes_max || (count >= DELTAS_MIN && bytes > full.bytes))
    }

    /// The chain has outrun its compaction: no checkpoint should make it longer.
    #[must_use]
    pub fn is_over(&self, chain: &[ObjectRef]) -> bool {
        chain.len() as u64 > u64::from(self.length_max) * u64::from(SLACK) + u64::from(DELTAS_MIN)
    }
}

/// What tells cells apart, with its hash. State may have many millions of cells: each is hashed once, by a fast function with a seed that
/// no operator knows.
struct Name<'a> {
    hash: u64,
    slot: u32,
    key: &'a [u8],
    item: &'a [u8],
}

impl<'a> Name<'a> {
    fn new(slot: u32, cell: &Cell<'a>, seed: u64) -> Self {
        let mut hash = xxh3_64_with_seed(cell.key, seed.wrapping_add(u64::from(slot)));
        if !cell.item.is_empty() {
            hash = hash.rotate_left(32) ^ xxh3_64_with_seed(cell.item, seed);
        }
        Self { hash, slot, key: cell.key, item: cell.item }
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.slot == other.slot && self.key == other.key && self.item == other.item
    }
}

impl Eq for Name<'_> {}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a hash as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The cells that the chunks of a chain, in their order, come to: of every cell the last value, and none that was removed.
///
/// Memory: the chunks themselves, and some 60 bytes a cell beside them.
///
/// # Errors
/// A chunk over the limits of columns; chunks of [`CHUNK_BYTES`] are far from them, unless one cell has gigabytes.
pub fn fold<C: Borrow<Chunk>>(chunks: &[C]) -> Result<Vec<Chunk>, ColumnError> {
    fold_cells(chunks, false)
}

/// As [`fold`], of the deltas of a chain alone: what was removed is a removal still.
///
/// # Errors
/// As [`fold`].
pub fn fold_changes<C: Borrow<Chunk>>(deltas: &[C]) -> Result<Vec<Chunk>, ColumnError> {
    fold_cells(deltas, true)
}

#[expect(clippy::disallowed_methods, reason = "keys come from guests; a seed that they cannot know keeps them from colliding on purpose")]
fn fold_cells<C: Borrow<Chunk>>(chunks: &[C], keeps_removals: bool) -> Result<Vec<Chunk>, ColumnError> {
    let seed = RandomState::new().hash_one(0);
    let room = chunks.iter().map(|chunk| chunk.borrow().len()).max().unwrap_or(0);
    let mut seen: HashSet<Name<'_>, BuildHasherDefault<Hashed>> = HashSet::with_capacity_and_hasher(room, BuildHasherDefault::default());
    let mut open: Vec<(u32, Chunk)> = Vec::new();
    let mut folded = Vec::new();
    // From the newest to the oldest: what is seen first is what counts.
    for chunk in chunks.iter().rev() {
        let chunk = chunk.borrow();
        let slot = chunk.slot();
        let cells: Vec<Cell<'_>> = chunk.cells().collect();
        for cell in cells.into_iter().rev() {
            if !seen.insert(Name::new(slot, &cell, seed)) {
                continue;
            }
            if cell.value.is_none() && !keeps_removals {
                continue;
            }
            let at = match open.iter().position(|(of, _)| *of == slot) {
                Some(at) => at,
                None => {
                    open.push((slot, Chunk::new(slot)));
                    open.len() - 1
                }
            };
            let target = &mut open[at].1;
            target.push(cell)?;
            if target.size_bytes() >= CHUNK_BYTES {
                folded.push(std::mem::replace(target, Chunk::new(slot)));
            }
        }
    }
    folded.extend(open.into_iter().map(|(_, chunk)| chunk).filter(|chunk| !chunk.is_empty()));
    Ok(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::snapshot::SnapshotScope;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn chain(sizes: &[u64]) -> Vec<ObjectRef> {
        let scope = |at| if at == 0 { SnapshotScope::Full } else { SnapshotScope::Delta };
        let object = |(at, &bytes): (usize, &u64)| ObjectRef { path: format!("o{at}"), scope: scope(at), bytes, checksum: 0, entries: 1 };
        sizes.iter().enumerate().map(object).collect()
    }

    #[test]
    fn a_chain_is_due_by_length_by_bytes_and_by_proportion() {
        let limits = ChainLimits { length_max: 8, bytes_max: 1000 };
        assert!(!limits.is_due(&[]));
        assert!(!limits.is_due(&chain(&[5_000])), "a full snapshot alone cannot be shortened");
        assert!(!limits.is_due(&chain(&[5_000, 1, 1, 1, 1, 1, 1, 1])));
        assert!(limits.is_due(&chain(&[5_000, 1, 1, 1, 1, 1, 1, 1, 1])), "8 deltas");
        assert!(limits.is_due(&chain(&[5_000, 999, 1])), "1000 bytes");
        assert!(!limits.is_due(&chain(&[10, 9, 9, 9])), "so few deltas are left alone");
        assert!(limits.is_due(&chain(&[10, 9, 1, 1, 1])), "as large as the full snapshot");
        assert!(!limits.is_over(&chain(&[1; 36])));
        assert!(limits.is_over(&chain(&[1; 37])));
    }

    proptest! {
        #[test]
        fn folding_is_the_same_as_replaying(
            writes in prop::collection::vec(prop::collection::vec((0u32..3, 0u8..6, 0u8..3, prop::option::of(0u8..200)), 0..20), 0..8),
            cut in 0usize..24,
        ) {
            let mut model = BTreeMap::new();
            let mut chunks = Vec::new();
            for write in &writes {
                for slot in 0..3 {
                    let mut chunk = Chunk::new(slot);
                    // A cell occurs once in a chunk.
                    let cells: BTreeMap<(u8, u8), Option<u8>> =
                        write.iter().filter(|(of, ..)| *of == slot).map(|&(_, key, item, value)| ((key, item), value)).collect();
                    for ((key, item), value) in cells {
                        let bytes = value.map(|v| vec![v; 3]);
                        chunk.push(Cell { key: &[key], item: &[item], value: bytes.as_deref() }).unwrap();
                        match bytes {
                            Some(bytes) => drop(model.insert((slot, vec![key], vec![item]), bytes)),
                            None => drop(model.remove(&(slot, vec![key], vec![item]))),
                        }
                    }
                    chunks.push(chunk);
                }
            }
            let mut folded = BTreeMap::new();
            for chunk in fold(&chunks).unwrap() {
                for cell in chunk.cells() {
                    let value = cell.value.expect("a full snapshot removes nothing").to_vec();
                    let twice = folded.insert((chunk.slot(), cell.key.to_vec(), cell.item.to_vec()), value);
                    prop_assert!(twice.is_none());
                }
            }
            prop_assert_eq!(&folded, &model);
            // The deltas may be folded alone, too.
            let (full, deltas) = chunks.split_at(cut.min(chunks.len()));
            let changes = fold_changes(deltas).unwrap();
            let names = changes.iter().flat_map(|chunk| chunk.cells().map(|cell| (chunk.slot(), cell.key, cell.item)));
            let names: Vec<_> = names.collect();
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
            let chain: Vec<&Chunk> = full.iter().chain(&changes).collect();
            let again = fold(&chain).unwrap();
            let cells = again.iter().flat_map(|chunk| chunk.cells().map(|cell| (chunk.slot(), cell)));
            let again: BTreeMap<_, _> =
                cells.map(|(slot, cell)| ((slot, cell.key.to_vec(), cell.item.to_vec()), cell.value.unwrap().to_vec())).collect();
            prop_assert_eq!(again, model);
        }
    }
}
