//! Checks of instances that take the place of others: from full snapshots, from chains, with calls made again, with more instances.

use super::bench::{FindingOr, InstanceCircumstances, Live, PART_BYTES, cut_chunks};
use super::outputs::{differing, same, same_cells, same_end};
use super::snapshots::{judged, no_changes};
use super::trial::OperatorTrial;
use crate::wasm::Scope;
use reprise_core::cells::{Chunk, merge_neighbours};
use reprise_core::checkpoint::fold;
use reprise_core::random::Random;
use reprise_core::verify::{At, Cause, Changes, CheckedCall, Detail, Finding, InstanceCells, Pairing, compare};

/// Places at which an instance is replaced in one round.
const CUTS: usize = 4;
/// Percent of the steps after which a delta is read, between two replacements.
const DELTA_PERCENT: u64 = 15;

/// A new instance from these chunks, after another one of the same chunks has shown that it holds what it was given.
fn successor(trial: &OperatorTrial, life: InstanceCircumstances, chunks: &[Chunk], after: Option<At>, cause: Cause) -> FindingOr<Live> {
    let mut probe = trial.bench.restored(life, chunks, after)?;
    no_changes(&mut probe, Cause::RestoreCountsAsChange)?;
    let came = probe.state()?;
    if let Some(difference) = InstanceCells::of(chunks).difference(&came) {
        let mut finding = Finding::new(cause).with(Detail::Cell(difference));
        finding.at = probe.aside(CheckedCall::Restore);
        return Err(finding);
    }
    trial.bench.restored(life, chunks, after)
}

/// Makes a call after a restore, and compares it with the reference.
fn play_after(trial: &OperatorTrial, live: &mut Live, cut: usize, at: usize) -> FindingOr<()> {
    let step = &trial.script.steps[at];
    let came = live.play(at, step)?;
    same(Cause::Undeclared, &trial.reference[at], &came, at, step).map_err(|finding| lost(trial, finding, cut))
}

/// Adds what may explain that something is lost.
fn lost(trial: &OperatorTrial, finding: Box<Finding>, cut: usize) -> Box<Finding> {
    let finding = finding.note(format!("the instance was replaced after call {cut}"));
    if finding.cause != Cause::Undeclared {
        return finding;
    }
    trial.hints().into_iter().fold(finding, Finding::note)
}

/// Replaces the instance from full snapshots. Without declared state, by one that knows nothing.
pub(super) fn restore(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let steps = &trial.script.steps;
    let cuts = random.places(CUTS, steps.len());
    let (mut life, mut last_cut) = (InstanceCircumstances::default(), 0);
    let mut live = trial.bench.open(life)?;
    for at in 0..=steps.len() {
        if cuts.contains(&at) {
            life = life.next();
            live = if trial.bench.is_stateful() {
                let chunks = merge_neighbours(live.read(Scope::Full, PART_BYTES)?);
                successor(trial, life, &chunks, live.last(), Cause::Restore)?
            } else {
                trial.bench.open(life)?
            };
            last_cut = at;
        }
        if at < steps.len() {
            play_after(trial, &mut live, last_cut, at)?;
        }
    }
    same_end(trial, &mut live, Cause::StateDiverges)
}

/// Restores single cells, small chunks in any order, and everything twice.
pub(super) fn chunks(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let steps = &trial.script.steps;
    let cut = random.below(steps.len() + 1);
    let mut live = trial.bench.open(InstanceCircumstances::default())?;
    live.play_all(steps, 0..cut)?;
    let whole = live.read(Scope::Full, PART_BYTES)?;
    let life = InstanceCircumstances::default().next();
    let twice: Vec<Chunk> = whole.iter().chain(&whole).cloned().collect();
    successor(trial, life, &twice, live.last(), Cause::RestoreTwice)?;
    let few = 1 + random.below(9);
    let small = cut_chunks(&whole, few, random);
    successor(trial, life, &small, live.last(), Cause::RestoreChunks)?;
    let single = cut_chunks(&whole, 1, random);
    let mut live = successor(trial, life, &single, live.last(), Cause::RestoreChunks)?;
    for at in cut..steps.len() {
        play_after(trial, &mut live, cut, at)?;
    }
    same_end(trial, &mut live, Cause::StateDiverges)
}

/// Replaces the instance from a full snapshot and the changes after it, as they were read or folded into one.
pub(super) fn chain(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let steps = &trial.script.steps;
    let cuts = random.places(CUTS, steps.len());
    let begin = random.below(cuts[0] + 1);
    let (mut life, mut last_cut) = (InstanceCircumstances::default(), 0);
    let mut live = trial.bench.open(life)?;
    let mut links: Vec<Chunk> = Vec::new();
    for at in 0..=steps.len() {
        if at == begin {
            links = merge_neighbours(live.read(Scope::Full, PART_BYTES)?);
        } else if at > begin && (cuts.contains(&at) || random.chance(DELTA_PERCENT)) {
            links.extend(merge_neighbours(live.read(Scope::Changes, PART_BYTES)?));
        }
        if cuts.contains(&at) {
            // The instance is given up here, so that everything may be read of it.
            judged(&mut live, &InstanceCells::of(&links), &Changes::default())?;
            life = life.next();
            let folded = fold(&links)?;
            let (given, other) = if random.chance(50) { (&folded, &links) } else { (&links, &folded) };
            successor(trial, life, other, live.last(), Cause::Restore)?;
            live = successor(trial, life, given, live.last(), Cause::Restore)?;
            last_cut = at;
        }
        if at < steps.len() {
            play_after(trial, &mut live, last_cut, at)?;
        }
    }
    same_end(trial, &mut live, Cause::StateDiverges)
}

fn fold(links: &[Chunk]) -> FindingOr<Vec<Chunk>> {
    fold::fold(links).map_err(|error| Finding::new(Cause::Fault).note(format!("the chain cannot be folded: {error}")))
}

/// Drops the instance, restores its last snapshot, and makes the calls since then again: what a host does after a fault.
pub(super) fn replay(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let steps = &trial.script.steps;
    let cut = random.below(steps.len() + 1);
    let fault = cut + random.below(steps.len() + 1 - cut);
    let mut live = trial.bench.open(InstanceCircumstances::default())?;
    live.play_all(steps, 0..cut)?;
    let saved = if trial.bench.is_stateful() { live.read(Scope::Full, PART_BYTES)? } else { Vec::new() };
    let first = live.play_all(steps, cut..fault)?;
    let mut live = trial.bench.restored(
        InstanceCircumstances::default().next(),
        &saved,
        Some(At { number: cut as u64, call: CheckedCall::Restore }),
    )?;
    for (at, step) in steps.iter().enumerate().skip(cut) {
        let came = live.play(at, step)?;
        let expected = first.get(at - cut).unwrap_or(&trial.reference[at]);
        let replayed = same(Cause::Undeclared, expected, &came, at, step);
        replayed.map_err(|finding| lost(trial, finding, cut).note(format!("the calls from {} to {fault} were made again", cut + 1)))?;
    }
    same_end(trial, &mut live, Cause::StateDiverges)
}

/// Deals the cells out to two or three instances by their keys, and the rows too; later gathers them in one instance again.
pub(super) fn rescale(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let steps = &trial.script.steps;
    let parallelism = 2 + random.below(2) as u32;
    let apart = random.below(steps.len() + 1);
    let together = apart + random.below(steps.len() + 1 - apart);
    let life = InstanceCircumstances { is_steady: true, ..InstanceCircumstances::default() };
    let mut live = trial.bench.open(life)?;
    live.play_all(steps, 0..apart)?;
    let parts = deal(&live.read(Scope::Full, PART_BYTES)?, parallelism);
    let mut came = Vec::new();
    let mut gathered: Vec<Chunk> = Vec::new();
    for (index, (part, script)) in parts.iter().zip(trial.script.dealt(parallelism)).enumerate() {
        let life = InstanceCircumstances { index: index as u32, parallelism, ..life.next() };
        let mut instance = trial.bench.restored(life, part, live.last())?;
        came.extend(instance.play_all(&script.steps, apart..together)?);
        gathered.extend(instance.read(Scope::Full, PART_BYTES)?);
    }
    let mut live = trial.bench.restored(life.next().next(), &gathered, live.last())?;
    came.extend(live.play_all(steps, together..steps.len())?);
    let same = match compare(&trial.steady[apart..], &came, Pairing::Any) {
        Some((_, difference)) => Err(differing(Cause::Rescale, difference, At { number: apart as u64, call: CheckedCall::Restore })),
        None => {
            let difference = trial.last.difference(&live.state()?);
            same_cells(Cause::Rescale, &live, difference)
        }
    };
    same.map_err(|finding| explain_rescale(trial, finding, apart, together, parallelism))
}

fn explain_rescale(trial: &OperatorTrial, finding: Box<Finding>, apart: usize, together: usize, parallelism: u32) -> Box<Finding> {
    let finding = finding.note(format!("{parallelism} instances from call {} to {together}, one before and after", apart + 1));
    let keys: std::collections::HashSet<&[u8]> = trial.script.batches().flat_map(|rows| rows.rows().map(|row| row.key)).collect();
    let slots = trial.bench.description.slots.iter().enumerate();
    let foreign = slots.filter_map(|(slot, declared)| {
        let key = trial.last.keys_of(slot as u32).find(|key| !keys.contains(key))?;
        Some(format!("slot `{}` has a cell under the key \"{}\", which no row had", declared.name, key.escape_ascii()))
    });
    foreign.fold(finding, Finding::note)
}

/// The cells of each instance.
fn deal(chunks: &[Chunk], instances: u32) -> Vec<Vec<Chunk>> {
    let owners = reprise_core::keying::owners(instances);
    let mut dealt: Vec<Vec<Chunk>> = (0..instances).map(|_| Vec::new()).collect();
    for chunk in chunks {
        let mut parts: Vec<Chunk> = dealt.iter().map(|_| Chunk::new(chunk.slot())).collect();
        for cell in chunk.cells() {
            let owner = owners[reprise_core::keying::group(cell.key).0 as usize] as usize;
            parts[owner].push(cell).expect("a part is no larger than the chunk it comes from");
        }
        dealt.iter_mut().zip(parts).for_each(|(to, part)| to.extend(Some(part).filter(|part| !part.is_empty())));
    }
    dealt
}
