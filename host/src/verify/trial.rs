//! The trial of an operator, which every check needs: the calls to make, and what they give where nothing happens between them.

use super::bench::{Bench, FindingOr, InstanceCircumstances, PART_BYTES};
use super::settings::VerifySettings;
use crate::wasm::Scope;
use reprise_core::description::SlotKind;
use reprise_core::random::Random;
use reprise_core::verify::{Check, Effect, InstanceCells, Pairing, Script, Shape, compare, generate};

/// Rows of generated input, over all inputs.
pub(super) const GENERATED_ROWS: usize = 1_200;
/// Refused rows that make no difference between two shapes: one in thirty. Long rows are worth as much.
const FEW_REFUSED: usize = GENERATED_ROWS / 30;
/// Snapshots that are read to see what state there is.
const SIGHTINGS: usize = 8;

/// The coverage of the reference, which says how much the verdicts are worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rows given.
    pub rows: u64,
    /// Calls made.
    pub calls: u64,
    /// Rows emitted.
    pub emitted: u64,
    /// Rows refused.
    pub refused: u64,
    /// The most cells of each slot at a time.
    pub cells: Vec<u64>,
    /// The most memory that it had.
    pub memory_bytes: u64,
}

/// The trial of one operator: the calls that every check begins with, and what they give where nothing happens between them.
pub(super) struct OperatorTrial {
    pub bench: Bench,
    pub script: Script,
    /// The effect of each step.
    pub reference: Vec<Effect>,
    /// The effects where `now` stands still.
    pub steady: Vec<Effect>,
    /// The state at the end.
    pub last: InstanceCells,
    /// Memory when the instance was opened, and at its most.
    pub memory: (u64, u64),
    /// Output follows from numbers that the host draws.
    pub uses_random: bool,
    pub coverage: Coverage,
}

/// The outcome of a straight run.
struct Straight {
    effects: Vec<Effect>,
    last: InstanceCells,
    memory: (u64, u64),
}

fn straight(bench: &Bench, script: &Script, life: InstanceCircumstances) -> FindingOr<Straight> {
    let mut live = bench.open(life)?;
    let opened = live.instance.memory_bytes();
    let effects = live.play_all(&script.steps, 0..script.steps.len())?;
    let peak = live.instance.memory_peak_bytes();
    let last = if bench.is_stateful() { live.state()? } else { InstanceCells::default() };
    Ok(Straight { effects, last, memory: (opened, peak) })
}

/// The shape of rows that the operator takes best, and its script. Where it fails on all of them, the first.
pub(super) fn choose(bench: &Bench, settings: &VerifySettings) -> (Shape, Script) {
    let inputs = bench.description.inputs.len() as u32;
    let script = |shape| generate(shape, inputs, GENERATED_ROWS, &mut Random::new(settings.seed));
    // Fewest refused rows, where a few are as good as none, then whether anything came of it; of equals the first.
    let score = |shape: &Shape| {
        let Straight { effects, last, .. } = straight(bench, &script(*shape), InstanceCircumstances::default()).ok()?;
        let refused = effects.iter().map(|effect| effect.rejected.len()).sum::<usize>() / FEW_REFUSED;
        let gained = effects.iter().map(Effect::rows).sum::<u64>().min(1) + (last.len() as u64).min(1);
        Some((refused, std::cmp::Reverse(gained)))
    };
    let scored = Shape::ALL.into_iter().filter_map(|shape| score(&shape).map(|score| (score, shape)));
    let best = scored.min_by_key(|(score, _)| *score).map_or(Shape::Words, |(_, shape)| shape);
    (best, script(best))
}

impl OperatorTrial {
    /// Runs the script straight through.
    pub fn new(bench: Bench, script: Script) -> FindingOr<Self> {
        let life = InstanceCircumstances::default();
        let Straight { effects: reference, last, memory } = straight(&bench, &script, life)?;
        let steady = straight(&bench, &script, InstanceCircumstances { is_steady: true, ..life })?.effects;
        let other = straight(&bench, &script, InstanceCircumstances { seed: 1, ..life })?.effects;
        let uses_random = compare(&reference, &other, Pairing::Exact).is_some();
        let coverage = Coverage {
            rows: script.rows(),
            calls: script.steps.len() as u64,
            emitted: reference.iter().map(Effect::rows).sum(),
            refused: reference.iter().map(|effect| effect.rejected.len() as u64).sum(),
            cells: sightings(&bench, &script)?,
            memory_bytes: memory.1,
        };
        Ok(Self { bench, script, reference, steady, last, memory, uses_random, coverage })
    }

    /// True where a new instance may take over at any time with what cells say: there is state, all of it keyed.
    pub fn is_keyed(&self) -> bool {
        let slots = &self.bench.description.slots;
        !slots.is_empty() && slots.iter().all(|slot| slot.kind == SlotKind::Keyed)
    }

    /// The reason why a check says nothing about this operator.
    pub fn is_beside(&self, check: Check) -> Option<String> {
        let stateless = || (!self.bench.is_stateful()).then(|| "it declares no state".to_owned());
        let random = || {
            let why = "its output follows from `random`, which gives other numbers in other calls";
            self.uses_random.then(|| why.to_owned())
        };
        match check {
            Check::Changes | Check::Parts | Check::Chunks | Check::Chain => stateless(),
            Check::Batches => random(),
            Check::Rescale => {
                stateless().or_else(|| (!self.is_keyed()).then(|| "it has state that does not move with a key".to_owned())).or_else(random)
            }
            _ => None,
        }
    }

    /// Hints on a finding that says that some state is lost.
    pub fn hints(&self) -> Vec<String> {
        let slots = &self.bench.description.slots;
        if slots.is_empty() {
            return vec!["it declares no state at all".to_owned()];
        }
        let empty = slots.iter().zip(&self.coverage.cells).filter(|(_, cells)| **cells == 0);
        empty.map(|(slot, _)| format!("slot `{}` is declared, and no snapshot held a cell of it", slot.name)).collect()
    }
}

/// The most cells of each slot that were seen at a time.
fn sightings(bench: &Bench, script: &Script) -> FindingOr<Vec<u64>> {
    let mut most = vec![0; bench.description.slots.len()];
    if most.is_empty() {
        return Ok(most);
    }
    let mut live = bench.open(InstanceCircumstances::default())?;
    let every = script.steps.len().div_ceil(SIGHTINGS).max(1);
    for (at, step) in script.steps.iter().enumerate() {
        live.play(at, step)?;
        if at % every == every - 1 || at + 2 == script.steps.len() {
            let state = InstanceCells::of(&live.read(Scope::Full, PART_BYTES)?);
            for (slot, most) in most.iter_mut().enumerate() {
                *most = (*most).max(state.cells_of(slot as u32) as u64);
            }
        }
    }
    Ok(most)
}
