//! Declared state as a map, and what is wrong where two readings of it do not agree.

use crate::cells::{Cell, Chunk};
use std::collections::{BTreeMap, BTreeSet};

/// Where a cell is: slot, key, item.
type Place = (u32, Vec<u8>, Vec<u8>);

/// Every cell of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceCells {
    cells: BTreeMap<Place, Vec<u8>>,
}

/// Cells that were set, and cells that were removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    cells: BTreeMap<Place, Option<Vec<u8>>>,
}

/// A cell that is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellDifference {
    /// Index of the slot.
    pub slot: u32,
    /// Key of the cell.
    pub key: Vec<u8>,
    /// Item of the cell.
    pub item: Vec<u8>,
    /// What had to be there.
    pub expected: Option<Vec<u8>>,
    /// What was there.
    pub came: Option<Vec<u8>>,
    /// Cells that differ in all.
    pub cells: usize,
}

/// How a snapshot of changes fails to lead from one full snapshot to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeFault {
    /// A cell was set and is not among the changes.
    SetMissing,
    /// A cell was removed and is not among the changes.
    RemovalMissing,
    /// A cell is among the changes and not in the full snapshot.
    FullMissing,
    /// The changes and the full snapshot hold different values.
    OtherValue,
    /// The changes remove a cell that the full snapshot has.
    RemovedButThere,
}

fn place(slot: u32, cell: &Cell<'_>) -> Place {
    (slot, cell.key.to_vec(), cell.item.to_vec())
}

impl InstanceCells {
    /// The cells that chunks come to, one after another: of a full snapshot, or of one with its deltas.
    #[must_use]
    pub fn of(chunks: &[Chunk]) -> Self {
        let mut state = Self::default();
        state.apply(&Changes::of(chunks));
        state
    }

    /// Sets and removes cells.
    pub fn apply(&mut self, changes: &Changes) {
        for (place, value) in &changes.cells {
            match value {
                Some(value) => drop(self.cells.insert(place.clone(), value.clone())),
                None => drop(self.cells.remove(place)),
            }
        }
    }

    /// Number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// True where there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Number of cells of a slot.
    #[must_use]
    pub fn cells_of(&self, slot: u32) -> usize {
        self.cells.keys().filter(|(of, ..)| *of == slot).count()
    }

    /// The keys of a slot's cells.
    pub fn keys_of(&self, slot: u32) -> impl Iterator<Item = &[u8]> {
        self.cells.keys().filter(move |(of, ..)| *of == slot).map(|(_, key, _)| key.as_slice())
    }

    /// The first cell that differs from `came`, where this is what is expected.
    #[must_use]
    pub fn difference(&self, came: &Self) -> Option<CellDifference> {
        let places: BTreeSet<&Place> = self.cells.keys().chain(came.cells.keys()).collect();
        let mut differing = places.into_iter().filter(|place| self.cells.get(*place) != came.cells.get(*place));
        let first = differing.next()?;
        let cells = 1 + differing.count();
        Some(difference(first, self.cells.get(first).cloned(), came.cells.get(first).cloned(), cells))
    }
}

impl Changes {
    /// The changes that chunks hold; of a cell that comes twice the last one counts.
    #[must_use]
    pub fn of(chunks: &[Chunk]) -> Self {
        let mut changes = Self::default();
        for chunk in chunks {
            for cell in chunk.cells() {
                changes.cells.insert(place(chunk.slot(), &cell), cell.value.map(<[u8]>::to_vec));
            }
        }
        changes
    }

    /// The first change.
    #[must_use]
    pub fn first(&self) -> Option<CellDifference> {
        let (place, value) = self.cells.first_key_value()?;
        Some(difference(place, None, value.clone(), self.cells.len()))
    }

    /// The first change that differs from `came`, where this is what is expected. Removed cells count as absent.
    #[must_use]
    pub fn difference(&self, came: &Self) -> Option<CellDifference> {
        let places: BTreeSet<&Place> = self.cells.keys().chain(came.cells.keys()).collect();
        let mut differing = places.into_iter().filter(|place| self.cells.get(*place) != came.cells.get(*place));
        let first = differing.next()?;
        let value = |changes: &Self| changes.cells.get(first).cloned().flatten();
        Some(difference(first, value(self), value(came), 1 + differing.count()))
    }
}

fn difference(place: &Place, expected: Option<Vec<u8>>, came: Option<Vec<u8>>, cells: usize) -> CellDifference {
    let (slot, key, item) = place.clone();
    CellDifference { slot, key, item, expected, came, cells }
}

/// Whether `changes` lead from one full snapshot to the next. In the difference, `expected` is what the full snapshot after them holds, `came`
/// what the changes lead to; the other way round where the full snapshot is to blame.
#[must_use]
pub fn judge(before: &InstanceCells, changes: &Changes, after: &InstanceCells) -> Option<(ChangeFault, CellDifference)> {
    let mut led = before.clone();
    led.apply(changes);
    let found = after.difference(&led)?;
    let place = (found.slot, found.key.clone(), found.item.clone());
    let fault = match (changes.cells.get(&place), &found.expected) {
        (None, Some(_)) => ChangeFault::SetMissing,
        (None, None) => ChangeFault::RemovalMissing,
        (Some(Some(_)), None) => ChangeFault::FullMissing,
        (Some(Some(_)), Some(_)) => ChangeFault::OtherValue,
        (Some(None), _) => ChangeFault::RemovedButThere,
    };
    if fault == ChangeFault::FullMissing {
        let CellDifference { expected, came, .. } = found.clone();
        return Some((fault, CellDifference { expected: came, came: expected, ..found }));
    }
    Some((fault, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(cells: &[(&str, Option<&str>)]) -> Vec<Chunk> {
        let mut chunk = Chunk::new(2);
        for (key, value) in cells {
            chunk.push(Cell { key: key.as_bytes(), item: b"", value: value.map(str::as_bytes) }).unwrap();
        }
        vec![chunk]
    }

    fn fault(before: &[(&str, &str)], changes: &[(&str, Option<&str>)], after: &[(&str, &str)]) -> Option<(ChangeFault, String)> {
        let full = |cells: &[(&str, &str)]| InstanceCells::of(&chunk(&cells.iter().map(|(k, v)| (*k, Some(*v))).collect::<Vec<_>>()));
        judge(&full(before), &Changes::of(&chunk(changes)), &full(after)).map(|(fault, found)| {
            assert_eq!(found.slot, 2);
            (fault, String::from_utf8(found.key).unwrap())
        })
    }

    #[test]
    fn changes_that_lead_to_the_next_full_snapshot_are_right() {
        let (before, after) = ([("a", "1"), ("b", "1")], [("a", "2"), ("c", "1")]);
        assert_eq!(fault(&before, &[("a", Some("2")), ("b", None), ("c", Some("1"))], &after), None);
        assert_eq!(fault(&[], &[], &[]), None);
        assert_eq!(fault(&[], &[("x", None)], &[]), None, "removing what is not there changes nothing");
    }

    #[test]
    fn every_way_to_fail_is_told_apart() {
        let named = |fault, key: &str| Some((fault, key.to_owned()));
        assert_eq!(fault(&[("a", "1")], &[], &[("a", "2")]), named(ChangeFault::SetMissing, "a"));
        assert_eq!(fault(&[], &[], &[("a", "2")]), named(ChangeFault::SetMissing, "a"));
        assert_eq!(fault(&[("a", "1")], &[], &[]), named(ChangeFault::RemovalMissing, "a"));
        assert_eq!(fault(&[], &[("a", Some("1"))], &[]), named(ChangeFault::FullMissing, "a"));
        assert_eq!(fault(&[], &[("a", Some("1"))], &[("a", "2")]), named(ChangeFault::OtherValue, "a"));
        assert_eq!(fault(&[("a", "1")], &[("a", None)], &[("a", "1")]), named(ChangeFault::RemovedButThere, "a"));
    }

    #[test]
    fn differences_name_the_first_cell_and_count_the_rest() {
        let full = |cells: &[(&str, &str)]| InstanceCells::of(&chunk(&cells.iter().map(|(k, v)| (*k, Some(*v))).collect::<Vec<_>>()));
        let (a, b) = (full(&[("a", "1"), ("b", "1"), ("c", "1")]), full(&[("a", "1"), ("b", "2")]));
        let found = a.difference(&b).unwrap();
        assert_eq!(
            (found.key.as_slice(), found.expected, found.came, found.cells),
            (&b"b"[..], Some(b"1".to_vec()), Some(b"2".to_vec()), 2)
        );
        assert_eq!((a.difference(&a), a.cells_of(2), a.cells_of(0)), (None, 3, 0));
        assert_eq!(a.keys_of(2).count(), 3);
    }
}
