//! What changed from one checkpoint to another: positions of sources, and the cells of operators.
//!
//! Nodes are matched by name, slots by name and kind, cells by key and item (and by instance, where a slot is kept so). With another
//! number of workers keyed cells are elsewhere and still the same.

use super::error::SurveyError;
use super::state::{Budget, CellPlace, CellValue, Filter, Folded, FoldedSlot, fold_operator};
use crate::store::Store;
use reprise_core::checkpoint::manifest::{Manifest, OperatorState, SourceState, SplitPosition};
use reprise_core::description::Slot;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;

/// What changed in the state of all operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDiff {
    /// The operators of either checkpoint: those of the second in its order, then those that only the first has.
    pub operators: Vec<OperatorDiff>,
}

/// What changed in the state of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorDiff {
    /// Its name.
    pub name: String,
    /// Both checkpoints name the same snapshots, so nothing was read and no slot is listed.
    pub same_snapshots: bool,
    /// Its slots, those of the second checkpoint first.
    pub slots: Vec<SlotDiff>,
}

/// What changed in one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotDiff {
    /// The slot in the first checkpoint.
    pub before: Option<Slot>,
    /// The slot in the second checkpoint.
    pub after: Option<Slot>,
    /// StateCells that only the second has.
    pub added: Tally,
    /// StateCells that only the first has.
    pub removed: Tally,
    /// StateCells with other values, as they were.
    pub changed_before: Tally,
    /// StateCells with other values, as they are.
    pub changed_after: Tally,
    /// StateCells that are the same.
    pub same: Tally,
    /// The first of the cells that differ, by key.
    pub cells: Vec<CellChange>,
}

/// StateCells and their bytes: keys, items and values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// StateCells.
    pub cells: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Tally {
    fn count(&mut self, place: &CellPlace, held: &CellValue) {
        self.cells += 1;
        self.bytes += (place.key.len() + place.item.len() + held.value.len()) as u64;
    }
}

/// One cell that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellChange {
    /// Where it is.
    pub place: CellPlace,
    /// What it held in the first checkpoint.
    pub before: Option<CellValue>,
    /// What it holds in the second.
    pub after: Option<CellValue>,
}

impl SlotDiff {
    /// True where any cell differs, or the slot itself does.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.before != self.after || self.added.cells + self.removed.cells + self.changed_after.cells > 0
    }
}

/// One thing of either checkpoint, or of both.
pub type Pair<'a, T> = (Option<&'a T>, Option<&'a T>);

/// Matches by name: those of the second in its order, then those that only the first has.
pub fn paired<'a, T, N: Ord>(before: &'a [T], after: &'a [T], name: impl Fn(&'a T) -> N) -> Vec<Pair<'a, T>> {
    let mut first: BTreeMap<N, &T> = before.iter().map(|one| (name(one), one)).collect();
    let mut pairs: Vec<Pair<T>> = after.iter().map(|one| (first.remove(&name(one)), Some(one))).collect();
    pairs.extend(before.iter().filter_map(|one| first.remove(&name(one))).map(|one| (Some(one), None)));
    pairs
}

/// The splits of a source that stand elsewhere, are new or are gone.
#[must_use]
pub fn moved_splits<'a>(before: Option<&'a SourceState>, after: Option<&'a SourceState>) -> Vec<Pair<'a, SplitPosition>> {
    let splits = |source: Option<&'a SourceState>| source.map_or(&[][..], |source| &source.splits);
    let mut pairs = paired(splits(before), splits(after), |split| split.split.as_str());
    pairs.retain(|(before, after)| before != after);
    pairs
}

/// Compares the states of two checkpoints of one job, and keeps up to `cells_max` differing cells of each slot. Both states of an
/// operator are in memory at a time, within `bytes_max`.
///
/// # Errors
/// As [`fold`](super::fold).
pub async fn diff(
    objects: &Store,
    before: &Manifest,
    after: &Manifest,
    cells_max: usize,
    bytes_max: u64,
) -> Result<StateDiff, SurveyError> {
    let mut operators = Vec::new();
    for (old, new) in paired(&before.operators, &after.operators, |o| o.name.as_str()) {
        let Some(name) = new.or(old).map(|o| o.name.clone()) else { continue };
        if let (Some(old), Some(new)) = (old, new)
            && same_snapshots(old, new)
        {
            operators.push(OperatorDiff { name, same_snapshots: true, slots: Vec::new() });
            continue;
        }
        let mut budget = Budget::new(bytes_max);
        let old = folded(objects, before, old, &mut budget).await?;
        let new = folded(objects, after, new, &mut budget).await?;
        let pairs = paired(&old.slots, &new.slots, |slot| (slot.slot.name.as_str(), slot.slot.kind as u8));
        let slots = pairs.into_iter().map(|(old, new)| compare(old, new, cells_max)).collect();
        operators.push(OperatorDiff { name, same_snapshots: false, slots });
    }
    Ok(StateDiff { operators })
}

fn same_snapshots(old: &OperatorState, new: &OperatorState) -> bool {
    let chains = |operator: &OperatorState| operator.instances.iter().map(|i| i.chain.clone()).collect::<Vec<_>>();
    old.slots == new.slots && chains(old) == chains(new)
}

async fn folded(
    objects: &Store,
    manifest: &Manifest,
    operator: Option<&OperatorState>,
    budget: &mut Budget,
) -> Result<Folded, SurveyError> {
    match operator {
        Some(operator) => fold_operator(objects, manifest, operator, &Filter::default(), budget).await,
        None => Ok(Folded { slots: Vec::new() }),
    }
}

fn compare(before: Option<&FoldedSlot>, after: Option<&FoldedSlot>, cells_max: usize) -> SlotDiff {
    let none = BTreeMap::new();
    let (old, new) = (before.map_or(&none, |slot| &slot.cells), after.map_or(&none, |slot| &slot.cells));
    let slot = |folded: Option<&FoldedSlot>| folded.map(|folded| folded.slot.clone());
    let mut diff = SlotDiff { before: slot(before), after: slot(after), ..SlotDiff::default() };
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    while let Some((place, before, after)) = next_pair(&mut old, &mut new) {
        match (before, after) {
            (Some(before), Some(after)) if before.value == after.value => {
                diff.same.count(place, after);
                continue;
            }
            (Some(before), Some(after)) => {
                diff.changed_before.count(place, before);
                diff.changed_after.count(place, after);
            }
            (Some(before), None) => diff.removed.count(place, before),
            (None, Some(after)) => diff.added.count(place, after),
            (None, None) => {}
        }
        if diff.cells.len() < cells_max {
            diff.cells.push(CellChange { place: place.clone(), before: before.cloned(), after: after.cloned() });
        }
    }
    diff
}

type Step<'a> = (&'a CellPlace, Option<&'a CellValue>, Option<&'a CellValue>);

/// The next place of either of two sorted sequences.
fn next_pair<'a>(
    old: &mut Peekable<impl Iterator<Item = (&'a CellPlace, &'a CellValue)>>,
    new: &mut Peekable<impl Iterator<Item = (&'a CellPlace, &'a CellValue)>>,
) -> Option<Step<'a>> {
    let order = match (old.peek(), new.peek()) {
        (Some((old, _)), Some((new, _))) => old.cmp(new),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => return None,
    };
    let before = if order.is_le() { old.next() } else { None };
    let after = if order.is_ge() { new.next() } else { None };
    let (place, _) = before.or(after)?;
    Some((place, before.map(|(_, held)| held), after.map(|(_, held)| held)))
}
