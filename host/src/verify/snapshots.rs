//! Checks of what snapshots hold, and of what changes and parts have to do with the whole.

use super::bench::{FindingOr, InstanceCircumstances, Live, PART_BYTES};
use super::outputs::same_cells;
use super::trial::OperatorTrial;
use crate::wasm::Scope;
use reprise_core::description::SlotKind;
use reprise_core::random::Random;
use reprise_core::verify::{Cause, CellDifference, Changes, InstanceCells, judge};

/// Sizes of parts to try. The smallest holds one cell: a cell alone may always pass.
const SMALL_PARTS_BYTES: [u32; 4] = [1, 64, 300, 4_096];
/// Percent of the steps after which a snapshot is read.
const READ_PERCENT: u64 = 20;

/// Judges the changes of an instance against its full snapshots. Gives the state.
pub(super) fn judged(live: &mut Live, before: &InstanceCells, changes: &Changes) -> FindingOr<InstanceCells> {
    let after = live.state()?;
    if let Some((fault, difference)) = judge(before, changes, &after) {
        same_cells(Cause::Changes(fault), live, Some(difference))?;
    }
    Ok(after)
}

/// Refuses changes where nothing was called since the last snapshot.
pub(super) fn no_changes(live: &mut Live, cause: Cause) -> FindingOr<()> {
    let left = Changes::of(&live.read(Scope::Changes, PART_BYTES)?);
    same_cells(cause, live, left.first())
}

/// Reads changes here and there, and everything right after them, on an instance that goes on. (Changes upon changes without a full
/// snapshot between are what chains are made of.)
pub(super) fn changes(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let mut live = trial.bench.open(InstanceCircumstances::default())?;
    let mut whole = live.state()?;
    let steps = &trial.script.steps;
    for (at, step) in steps.iter().enumerate() {
        live.play(at, step)?;
        if at + 1 == steps.len() || random.chance(READ_PERCENT) {
            let changes = Changes::of(&live.read(Scope::Changes, PART_BYTES)?);
            whole = judged(&mut live, &whole, &changes)?;
            keys_are_in_keyed_slots(trial, &live, &whole)?;
            no_changes(&mut live, Cause::ChangesLeft)?;
        }
    }
    Ok(())
}

fn keys_are_in_keyed_slots(trial: &OperatorTrial, live: &Live, state: &InstanceCells) -> FindingOr<()> {
    for (slot, declared) in trial.bench.description.slots.iter().enumerate() {
        let slot = slot as u32;
        if declared.kind != SlotKind::Keyed
            && let Some(key) = state.keys_of(slot).find(|key| !key.is_empty())
        {
            let difference = CellDifference { slot, key: key.to_vec(), item: Vec::new(), expected: None, came: Some(Vec::new()), cells: 1 };
            same_cells(Cause::KeyInUnkeyedSlot, live, Some(difference))?;
        }
    }
    Ok(())
}

/// Two instances get the same rows; of one the snapshots are read in large parts, of the other in small ones.
pub(super) fn parts(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let (mut large, mut small) = (trial.bench.open(InstanceCircumstances::default())?, trial.bench.open(InstanceCircumstances::default())?);
    let mut has_read = false;
    let steps = &trial.script.steps;
    for (at, step) in steps.iter().enumerate() {
        large.play(at, step)?;
        small.play(at, step)?;
        if at + 1 != steps.len() && !random.chance(READ_PERCENT) {
            continue;
        }
        let scope = if has_read && random.chance(50) { Scope::Changes } else { Scope::Full };
        has_read = true;
        let part_bytes_max = SMALL_PARTS_BYTES[random.below(SMALL_PARTS_BYTES.len())];
        let whole = Changes::of(&large.read(scope, PART_BYTES)?);
        let pieced = Changes::of(&small.read(scope, part_bytes_max)?);
        same_cells(Cause::Parts, &small, whole.difference(&pieced)).map_err(|finding| {
            let what = if scope == Scope::Full { "a full snapshot" } else { "a snapshot of changes" };
            finding.note(format!("{what} in parts of {part_bytes_max} bytes, against one in parts of {PART_BYTES}"))
        })?;
    }
    Ok(())
}
