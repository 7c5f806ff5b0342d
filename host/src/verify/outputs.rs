//! Checks of what comes out: again, with snapshots between, in other batches, without keys, in small pieces.

use super::bench::{Bench, FindingOr, InstanceCircumstances, Live, PART_BYTES, failed, place};
use super::trial::OperatorTrial;
use crate::wasm::{Limits, Scope};
use reprise_core::batch::Batch;
use reprise_core::random::Random;
use reprise_core::verify::{
    At, Cause, CellDifference, CheckedCall, Detail, Effect, Finding, InstanceCells, OutputDifference, Pairing, Script, Step, compare,
};

/// Rows of a batch where batches are to be long.
const LONG_BATCH_ROWS: usize = 4_096;
/// The least that a host lets a call return: that of `output-max` in a topology.
const OUTPUT_BYTES_MIN: u64 = 1 << 10;
/// Bytes that a row counts in the output beside its key and value.
const ROW_BYTES: u64 = 16;
/// Percent of the steps before which something is put in between.
const BETWEEN_PERCENT: u64 = 25;

/// The finding for outputs that differ in one call: `cause`, or that it is the order alone.
pub(super) fn differing(cause: Cause, difference: OutputDifference, at: At) -> Box<Finding> {
    let cause = if difference.is_order() { Cause::Order } else { cause };
    Finding::new(cause).at(at).with(Detail::Output(difference))
}

/// Compares one call with the reference.
pub(super) fn same(cause: Cause, expected: &Effect, came: &Effect, at: usize, step: &Step) -> FindingOr<()> {
    match compare(std::slice::from_ref(expected), std::slice::from_ref(came), Pairing::Exact) {
        Some((_, difference)) => Err(differing(cause, difference, place(at, step))),
        None => Ok(()),
    }
}

/// Compares the state at the end with that of the reference.
pub(super) fn same_end(trial: &OperatorTrial, live: &mut Live, cause: Cause) -> FindingOr<()> {
    if !trial.bench.is_stateful() {
        return Ok(());
    }
    let difference = trial.last.difference(&live.state()?);
    same_cells(cause, live, difference)
}

/// Makes a difference between the cells of an instance and those that it should have a finding.
pub(super) fn same_cells(cause: Cause, live: &Live, difference: Option<CellDifference>) -> FindingOr<()> {
    let Some(difference) = difference else { return Ok(()) };
    let mut finding = Finding::new(cause).with(Detail::Cell(difference));
    finding.at = live.aside(CheckedCall::Snapshot);
    Err(finding)
}

/// Checks that an operator describes itself the same before `open`, after it, and after calls, on every instance.
pub(super) fn describe(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let ask = |live: &mut Live| {
        let expected = live.instance.description().clone();
        let at = live.last();
        let came = live.instance.describe().map_err(|error| failed(&error, at))?;
        if came == expected {
            return Ok(());
        }
        let mut finding = Finding::new(Cause::Description);
        finding.at = at;
        Err(finding.with(Detail::Description { expected: Box::new(expected), came: Box::new(came) }))
    };
    let mut live = trial.bench.open(InstanceCircumstances { number: 1, seed: random.number(), ..InstanceCircumstances::default() })?;
    ask(&mut live)?;
    for (at, step) in trial.script.steps.iter().enumerate() {
        live.play(at, step)?;
        if random.chance(BETWEEN_PERCENT) || at + 1 == trial.script.steps.len() {
            ask(&mut live)?;
        }
    }
    if trial.bench.is_stateful() {
        live.read(Scope::Full, PART_BYTES)?;
        ask(&mut live)?;
    }
    Ok(())
}

/// Makes the same calls on another instance, beside one that is given something else.
pub(super) fn repeat(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let mut live = trial.bench.open(InstanceCircumstances::default().next())?;
    let other = trial.script.recut(random);
    let mut others = other.steps.iter().enumerate();
    let mut neighbour =
        trial.bench.open(InstanceCircumstances { seed: 1, index: 1, parallelism: 2, ..InstanceCircumstances::default() })?;
    for (at, step) in trial.script.steps.iter().enumerate() {
        if let Some((at, step)) = others.next() {
            neighbour.play(at, step)?;
        }
        let came = live.play(at, step)?;
        same(Cause::Nondeterminism, &trial.reference[at], &came, at, step)?;
    }
    same_end(trial, &mut live, Cause::Nondeterminism)
}

/// Reads snapshots here and there, on an instance that goes on.
pub(super) fn reading(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let mut live = trial.bench.open(InstanceCircumstances::default())?;
    let mut has_read = false;
    for (at, step) in trial.script.steps.iter().enumerate() {
        if random.chance(BETWEEN_PERCENT) {
            let scope = if has_read && random.chance(50) { Scope::Changes } else { Scope::Full };
            let part = if random.chance(50) { PART_BYTES } else { 1 + random.below(4096) as u32 };
            live.read(scope, part)?;
            has_read = true;
        }
        let came = live.play(at, step)?;
        same(Cause::SnapshotMutates, &trial.reference[at], &came, at, step)?;
    }
    let before = live.read(Scope::Full, PART_BYTES)?;
    let difference = InstanceCells::of(&before).difference(&live.state()?);
    same_cells(Cause::SnapshotMutates, &live, difference)?;
    same_end(trial, &mut live, Cause::SnapshotMutates)
}

fn all(bench: &Bench, script: &Script, life: InstanceCircumstances, limits: &Limits) -> FindingOr<Vec<Effect>> {
    let mut live = bench.open_within(life, limits).map_err(|error| failed(&error, None))?;
    live.play_all(&script.steps, 0..script.steps.len())
}

/// Gives the same rows in batches that are cut at other places.
pub(super) fn batches(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let recut = trial.script.recut(random);
    let came =
        all(&trial.bench, &recut, InstanceCircumstances { is_steady: true, ..InstanceCircumstances::default() }, &trial.bench.limits)?;
    let Some((_, difference)) = compare(&trial.steady, &came, Pairing::ByKey) else { return Ok(()) };
    let finding = Finding::new(Cause::Batches).with(Detail::Output(difference.clone()));
    let sizes = |script: &Script| {
        let rows: Vec<String> = script.batches().take(8).map(|rows| rows.len().to_string()).collect();
        rows.join(", ")
    };
    let cuts = format!("expected where the first batches have {} rows, came where they have {}", sizes(&trial.script), sizes(&recut));
    let order = "the rows of a key are the same, in another order";
    Err(if difference.is_order() { finding.note(order) } else { finding }.note(cuts))
}

/// Puts batches without rows in between; then takes all keys away.
pub(super) fn empty(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let mut live = trial.bench.open(InstanceCircumstances::default())?;
    let inputs = trial.bench.description.inputs.len();
    for (at, step) in trial.script.steps.iter().enumerate() {
        if random.chance(BETWEEN_PERCENT) {
            let nothing = Step::Rows { input: random.below(inputs) as u32, rows: Batch::new() };
            let came = live.interpose(at, &nothing)?;
            same(Cause::EmptyBatch, &Effect::default(), &came, at, &nothing)?;
        }
        let came = live.play(at, step)?;
        same(Cause::EmptyBatch, &trial.reference[at], &came, at, step)?;
    }
    same_end(trial, &mut live, Cause::EmptyBatch)?;

    let bare = trial.script.without_keys();
    let told = |finding: Box<Finding>| finding.note("all keys are empty");
    let mut live = trial.bench.open(InstanceCircumstances::default())?;
    for (at, step) in bare.steps.iter().enumerate() {
        live.play(at, step).map_err(told)?;
        if trial.bench.is_stateful() && at + 2 == bare.steps.len() {
            let chunks = live.read(Scope::Full, PART_BYTES).map_err(told)?;
            let mut restored = trial.bench.restored(InstanceCircumstances::default().next(), &chunks, live.last()).map_err(told)?;
            let difference = InstanceCells::of(&chunks).difference(&restored.state()?);
            same_cells(Cause::Restore, &restored, difference).map_err(told)?;
        }
    }
    Ok(())
}

/// Gives long batches, whose output is taken in pieces as small as its rows allow.
pub(super) fn pieces(trial: &OperatorTrial, _: &mut Random) -> FindingOr<()> {
    let joined = trial.script.joined(LONG_BATCH_ROWS);
    let expected = all(&trial.bench, &joined, InstanceCircumstances::default(), &trial.bench.limits)?;
    let reasons = |effect: &Effect| effect.rejected.values().map(|reason| reason.len() as u64).sum::<u64>();
    let longest = expected.iter().flat_map(|effect| effect.outputs.values()).flat_map(Batch::rows);
    let longest = longest.map(|row| (row.key.len() + row.value.len()) as u64 + ROW_BYTES).max().unwrap_or(0);
    let output_bytes_max = (expected.iter().map(reasons).max().unwrap_or(0) + longest).max(OUTPUT_BYTES_MIN);
    let limits = Limits { output_bytes_max, ..trial.bench.limits.clone() };
    let told = |finding: Box<Finding>| finding.note(format!("`open` was told that a call may return {output_bytes_max} bytes"));
    let mut live = trial.bench.open_within(InstanceCircumstances::default(), &limits).map_err(|error| failed(&error, None))?;
    for (at, step) in joined.steps.iter().enumerate() {
        let came = live.play(at, step).map_err(told)?;
        same(Cause::Pieces, &expected[at], &came, at, step).map_err(told)?;
    }
    Ok(())
}
