//! Folding: of the cells of many chunks, each that is named more than once is kept once, with its last value.
//!
//! What was folded is in **storage order**: by slot, then by the hash of the key, the key and the item. Chunks in that order are merged from
//! front to end, without a table of names, and runs of cells that nothing changes are copied as they lie. Chunks in another order, as guests hand
//! them out, are sorted first: by the hash alone, and by the bytes of a name only where hashes are equal. So keys that were chosen to collide
//! cost comparisons and nothing else.
//!
//! ```text
//!  base    chunks at the front that are in order already    ──┐
//!  changes all others: names sorted, the last of each kept ──┴─merge──> chunks of 1 MiB in order
//! ```
//! Costs: some nanoseconds a cell of the base, some tens to hundreds a changed cell. Memory beside the chunks: what is made of them, up to 24 bytes a
//! changed cell, and of many changes in no order a copy.

use crate::cells::{Cell, Chunk};
use crate::columns::ColumnError;
use crate::keying;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

/// Bytes with which a chunk that a fold makes is full.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a part of changed cells: as many as are near a processor.
const PART_BYTES: usize = 128 << 10;
/// Bits of a hash that choose a part, at most: more parts than that cannot all be written to at the same time without waiting.
const PART_BITS_MAX: u32 = 7;
/// Bytes of changed cells that are dealt out, at most: a column has less than 4 GiB.
const DEALT_BYTES_MAX: usize = 1 << 30;
/// Bytes of cells that are copied as they lie: those of a full chunk, unless its last cell is large. More are copied one by one.
const COPY_BYTES_MAX: usize = CHUNK_BYTES + CHUNK_BYTES / 16;

/// The cells that the chunks of a chain, in their order, come to: of every cell the last value, and none that was removed. In storage order.
///
/// # Errors
/// A chunk over the limits of columns; those that are made here are far from them, unless one cell has gigabytes.
pub fn fold<C: Borrow<Chunk>>(chunks: &[C]) -> Result<Vec<Chunk>, ColumnError> {
    collect(chunks, false)
}

/// As [`fold`], of the deltas of a chain alone: what was removed is a removal still.
///
/// # Errors
/// As [`fold`].
pub fn fold_changes<C: Borrow<Chunk>>(deltas: &[C]) -> Result<Vec<Chunk>, ColumnError> {
    collect(deltas, true)
}

fn collect<C: Borrow<Chunk>>(chunks: &[C], keeps_removals: bool) -> Result<Vec<Chunk>, ColumnError> {
    let mut folded = Vec::new();
    let mut take = |chunk| -> Result<(), ColumnError> {
        folded.push(chunk);
        Ok(())
    };
    fold_cells(chunks.iter().map(Borrow::borrow).collect(), keeps_removals, &mut take)?;
    Ok(folded)
}

/// As [`fold`], where each chunk is given away as soon as it is whole, and chunks are dropped once they are done: those of the base one by one, and
/// changes that were dealt out as soon as they are.
///
/// # Errors
/// As [`fold`], and those of `give`.
pub fn fold_into<E: From<ColumnError>>(chunks: Vec<Chunk>, mut give: impl FnMut(Chunk) -> Result<(), E>) -> Result<(), E> {
    fold_cells(chunks, false, &mut give)
}

fn fold_cells<C: Borrow<Chunk>, E: From<ColumnError>>(
    chunks: Vec<C>,
    keeps_removals: bool,
    give: &mut dyn FnMut(Chunk) -> Result<(), E>,
) -> Result<(), E> {
    let mut slots: BTreeMap<u32, Vec<C>> = BTreeMap::new();
    for chunk in chunks.into_iter().filter(|chunk| !chunk.borrow().is_empty()) {
        slots.entry(chunk.borrow().slot()).or_default().push(chunk);
    }
    for (slot, mut chunks) in slots {
        let changed = chunks.split_off(ordered(&chunks));
        let merged = Merged { keeps_removals, open: Chunk::new(slot), give: &mut *give };
        merge(chunks, &Changes::new(changed)?, merged)?;
    }
    Ok(())
}

fn hashes(chunk: &Chunk, into: &mut Vec<u64>) {
    into.clear();
    into.extend((0..chunk.len()).map(|at| keying::hash(chunk.key(at))));
}

fn name_order(one: &Cell<'_>, other: &Cell<'_>) -> Ordering {
    one.key.cmp(other.key).then_with(|| one.item.cmp(other.item))
}

/// How many chunks at the front are in storage order, one after the other, with each name once.
fn ordered<C: Borrow<Chunk>>(chunks: &[C]) -> usize {
    let mut found: Vec<u64> = Vec::new();
    let mut last: Option<(u64, Cell<'_>)> = None;
    let rises = |before: (u64, &Chunk, usize), hash: u64, chunk: &Chunk, at: usize| match before.0.cmp(&hash) {
        Ordering::Equal => name_order(&before.1.cell(before.2), &chunk.cell(at)) == Ordering::Less,
        order => order == Ordering::Less,
    };
    for (place, chunk) in chunks.iter().enumerate() {
        let chunk = chunk.borrow();
        hashes(chunk, &mut found);
        let follows = last.is_none_or(|(hash, cell)| match hash.cmp(&found[0]) {
            Ordering::Equal => name_order(&cell, &chunk.cell(0)) == Ordering::Less,
            order => order == Ordering::Less,
        });
        if !follows || !(1..found.len()).all(|at| rises((found[at - 1], chunk, at - 1), found[at], chunk, at)) {
            return place;
        }
        let at = found.len() - 1;
        last = Some((found[at], chunk.cell(at)));
    }
    chunks.len()
}

/// Where a changed cell is.
#[derive(Debug, Clone, Copy)]
struct Change {
    hash: u64,
    chunk: u32,
    cell: u32,
}

/// The last change of each name, in storage order.
struct Changes<C> {
    cells: Held<C>,
    sorted: Vec<Change>,
}

/// Chunks of changed cells, as they came or dealt out.
enum Held<C> {
    Given(Vec<C>),
    DealtOut(Vec<Chunk>),
}

/// All cells of chunks with their hashes, as they lie.
fn list<C: Borrow<Chunk>>(chunks: &[C]) -> Vec<Change> {
    let mut all = Vec::with_capacity(chunks.iter().map(|chunk| chunk.borrow().len()).sum());
    for (place, chunk) in chunks.iter().map(Borrow::borrow).enumerate() {
        let change = |cell| Change { hash: keying::hash(chunk.key(cell)), chunk: place as u32, cell: cell as u32 };
        all.extend((0..chunk.len()).map(change));
    }
    all
}

/// Bits of a hash that choose a part, where cells of so many bytes in no order are dealt out before they are sorted: then each is near when its turn
/// comes. 0 where they are near already, or lie in a few runs; or where a single part could be too large: all items of a key go to one.
fn part_bits(all: &[Change], bytes: usize) -> u32 {
    if bytes > DEALT_BYTES_MAX {
        return 0;
    }
    let descents = all.windows(2).filter(|pair| pair[1].hash < pair[0].hash).count();
    match descents <= all.len() / 64 {
        true => 0,
        false => (bytes / PART_BYTES).checked_ilog2().map_or(0, |bits| bits + 1).min(PART_BITS_MAX),
    }
}

impl<C: Borrow<Chunk>> Changes<C> {
    fn new(chunks: Vec<C>) -> Result<Self, ColumnError> {
        let mut all = list(&chunks);
        let bits = part_bits(&all, chunks.iter().map(|chunk| chunk.borrow().size_bytes()).sum());
        let cells = if bits > 0 { Held::DealtOut(deal_out(&chunks, &mut all, bits)?) } else { Held::Given(chunks) };
        // Stable: of equal names the last one stays last. Chunks that are in order are runs, which it merges.
        all.sort_by_key(|change| change.hash);
        let mut changes = Self { cells, sorted: all };
        changes.keep_last();
        Ok(changes)
    }

    fn cell(&self, change: Change) -> Cell<'_> {
        let chunk = match &self.cells {
            Held::Given(chunks) => chunks[change.chunk as usize].borrow(),
            Held::DealtOut(parts) => &parts[change.chunk as usize],
        };
        chunk.cell(change.cell as usize)
    }

    /// Keeps the last change of each name, and sorts names of equal hashes.
    fn keep_last(&mut self) {
        let mut sorted = std::mem::take(&mut self.sorted);
        let (mut from, mut kept) = (0, 0);
        while from < sorted.len() {
            let hash = sorted[from].hash;
            let to = from + sorted[from..].iter().take_while(|change| change.hash == hash).count();
            let group = &mut sorted[from..to];
            if group.len() > 1 {
                let first = self.cell(group[0]);
                if !group.iter().all(|change| name_order(&self.cell(*change), &first).is_eq()) {
                    group.sort_by(|one, other| name_order(&self.cell(*one), &self.cell(*other)));
                }
            }
            for at in from..to {
                let is_last = at + 1 == to || name_order(&self.cell(sorted[at]), &self.cell(sorted[at + 1])).is_ne();
                if is_last {
                    sorted[kept] = sorted[at];
                    kept += 1;
                }
            }
            from = to;
        }
        sorted.truncate(kept);
        self.sorted = sorted;
    }
}

/// Deals cells out by the highest bits of their hashes, those of a part in the order in which they came. Where they are is theirs from then on.
fn deal_out<C: Borrow<Chunk>>(chunks: &[C], all: &mut [Change], bits: u32) -> Result<Vec<Chunk>, ColumnError> {
    let mut parts = vec![Chunk::new(0); 1 << bits];
    for change in all {
        let part = (change.hash >> (u64::BITS - bits)) as u32;
        let to = &mut parts[part as usize];
        let at = to.len() as u32;
        to.push(chunks[change.chunk as usize].borrow().cell(change.cell as usize))?;
        (change.chunk, change.cell) = (part, at);
    }
    Ok(parts)
}

/// Merges chunks that are in order with changes, which win.
fn merge<C: Borrow<Chunk>, E: From<ColumnError>>(base: Vec<C>, changes: &Changes<C>, mut merged: Merged<'_, E>) -> Result<(), E> {
    let mut rest = changes.sorted.iter().copied().peekable();
    let mut found = Vec::new();
    for chunk in base {
        let chunk = chunk.borrow();
        hashes(chunk, &mut found);
        // Cells from `from` on are not copied yet, and come before the next change up to `at`.
        let (mut from, mut at) = (0, 0);
        while let Some(change) = rest.peek().copied() {
            at += found[at..].iter().take_while(|hash| **hash < change.hash).count();
            let Some(hash) = found.get(at) else { break };
            let order = match hash.cmp(&change.hash) {
                Ordering::Equal => name_order(&chunk.cell(at), &changes.cell(change)),
                order => order,
            };
            if order == Ordering::Less {
                at += 1;
                continue;
            }
            merged.copy(chunk, from..at)?;
            merged.push(changes.cell(change))?;
            rest.next();
            at += usize::from(order == Ordering::Equal);
            from = at;
        }
        merged.copy(chunk, from..chunk.len())?;
    }
    rest.try_for_each(|change| merged.push(changes.cell(change)))?;
    merged.close()
}

/// What a merge makes.
struct Merged<'a, E> {
    keeps_removals: bool,
    open: Chunk,
    give: &'a mut dyn FnMut(Chunk) -> Result<(), E>,
}

impl<E: From<ColumnError>> Merged<'_, E> {
    fn push(&mut self, cell: Cell<'_>) -> Result<(), E> {
        if cell.value.is_none() && !self.keeps_removals {
            return Ok(());
        }
        self.open.push(cell)?;
        self.close_if_full()
    }

    /// Copies cells as they lie.
    fn copy(&mut self, chunk: &Chunk, cells: Range<usize>) -> Result<(), E> {
        if cells.is_empty() {
            return Ok(());
        }
        let has_removals = !self.keeps_removals && chunk.removes_any();
        let bytes = chunk.bytes_of(&cells);
        if has_removals || bytes > COPY_BYTES_MAX {
            return cells.into_iter().try_for_each(|at| self.push(chunk.cell(at)));
        }
        if self.open.size_bytes() + bytes > COPY_BYTES_MAX {
            self.close()?;
        }
        self.open.append(chunk, cells)?;
        self.close_if_full()
    }

    fn close_if_full(&mut self) -> Result<(), E> {
        if self.open.size_bytes() >= CHUNK_BYTES { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), E> {
        if self.open.is_empty() {
            return Ok(());
        }
        let next = Chunk::new(self.open.slot());
        let mut full = std::mem::replace(&mut self.open, next);
        full.shrink();
        (self.give)(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn removals_between_changes_stay_where_they_are() {
        let first = fold_changes(&[chunk((0..20_000).map(|key| (key, (key % 3 > 0).then_some(1))))]).unwrap();
        let second = [chunk((0..20_000).step_by(7).map(|key| (key, (key % 2 > 0).then_some(2))))];
        let all: Vec<&Chunk> = first.iter().chain(&second).collect();
        let (kept, left) = (fold_changes(&all).unwrap(), fold(&all).unwrap());
        let value = |key: u32| match key.is_multiple_of(7) {
            true => (!key.is_multiple_of(2)).then_some(2),
            false => (!key.is_multiple_of(3)).then_some(1),
        };
        let expected: BTreeMap<u32, Option<u8>> = (0..20_000).map(|key| (key, value(key))).collect();
        let read = |chunks: &[Chunk]| -> BTreeMap<u32, Option<u8>> {
            let cells = chunks.iter().flat_map(Chunk::cells);
            cells.map(|cell| (u32::from_le_bytes(cell.key.try_into().unwrap()), cell.value.map(|value| value[0]))).collect()
        };
        assert_eq!(read(&kept), expected);
        assert_eq!(read(&left), expected.into_iter().filter(|(_, value)| value.is_some()).collect());
    }

    fn chunk(cells: impl IntoIterator<Item = (u32, Option<u8>)>) -> Chunk {
        let mut chunk = Chunk::new(0);
        for (key, value) in cells {
            let bytes = value.map(|value| [value; 8]);
            chunk.push(Cell { key: &key.to_le_bytes(), item: b"", value: bytes.as_ref().map(<[u8; 8]>::as_slice) }).unwrap();
        }
        chunk
    }

    #[test]
    fn what_was_folded_is_a_base_and_changes_of_it_leave_it_one() {
        let first = fold(&[chunk((0..300_000).map(|key| (key, Some(1))))]).unwrap();
        assert!(first.len() > 2 && first.iter().all(|chunk| chunk.size_bytes() <= COPY_BYTES_MAX));
        assert_eq!(ordered(&first.iter().collect::<Vec<_>>()), first.len());
        let changes = [chunk((0..1000).map(|key| (key * 299, Some(2)))), chunk([(300_001, Some(3)), (5, None), (300_002, None)])];
        let mut all: Vec<&Chunk> = first.iter().chain(&changes).collect();
        assert_eq!(ordered(&all), first.len());
        let second = fold(&all).unwrap();
        assert_eq!(ordered(&second.iter().collect::<Vec<_>>()), second.len());
        assert_eq!(second.iter().map(Chunk::len).sum::<usize>(), 300_000);
        let sorted = fold_changes(&changes).unwrap();
        all.splice(first.len().., &sorted);
        assert_eq!(fold(&all).unwrap(), second, "changes that were folded before come to the same");
        // A chain that has lost its order in its middle is folded as any other.
        all.swap(0, 1);
        assert_eq!((ordered(&all), fold(&all).unwrap() == second), (1, true));
    }

    #[test]
    fn many_items_of_one_key_are_kept_apart_and_in_order() {
        let items = |numbers: &mut dyn Iterator<Item = u32>, value: u8| {
            let mut chunk = Chunk::new(7);
            numbers.for_each(|item| chunk.push(Cell { key: b"k", item: &item.to_be_bytes(), value: Some(&[value]) }).unwrap());
            chunk
        };
        let folded = fold(&[items(&mut (0..1000).rev(), 1), items(&mut (500..1500), 2)]).unwrap();
        let cells: Vec<Cell<'_>> = folded.iter().flat_map(Chunk::cells).collect();
        assert_eq!(cells.len(), 1500);
        for (item, cell) in (0u32..).zip(cells) {
            assert_eq!((cell.item, cell.value), (&item.to_be_bytes()[..], Some(&[1 + u8::from(item >= 500)][..])));
        }
    }

    #[test]
    fn a_cell_larger_than_a_chunk_is_one_alone() {
        let mut large = Chunk::new(0);
        large.push(Cell { key: b"a", item: b"", value: Some(&vec![1; 3 * CHUNK_BYTES]) }).unwrap();
        large.push(Cell { key: b"b", item: b"", value: Some(&vec![2; 3 * CHUNK_BYTES]) }).unwrap();
        let folded = fold(&[large]).unwrap();
        assert_eq!(folded.iter().map(Chunk::len).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(fold(&folded).unwrap(), folded);
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
