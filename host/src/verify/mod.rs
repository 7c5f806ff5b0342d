//! The conformance suite: whether an operator, in whatever language, keeps what a host relies on.
//!
//! An operator is run straight through, and then again and again with something done to it that a host may do at any time: its instance is
//! replaced, its batches are cut elsewhere, its snapshots are read in other pieces. The output must be what it was, and so must the state.
//!
//! ```text
//!  core::verify: generate, recut, compare, judge          (pure)
//!        ^
//!  trial ── the calls, and what they give straight through
//!    └──> outputs, snapshots, restores, memory ── checks, each in many rounds ──> VerifyReport
//! bench ── one instance: open, play, read, restore
//! ```
//! It knows guests and their rows, and no jobs, stores or dataflows. Everything follows from the seed; no clock is looked at.

mod bench;
mod input;
mod memory;
mod outputs;
mod restores;
mod settings;
mod snapshots;
mod trial;

pub use bench::RUN_OUTPUT_BYTES_MAX;
pub use input::{INPUT_BYTES_MAX, INPUT_ROWS_MAX, InputFormat, InputRows, read};
pub use settings::VerifySettings;
pub use trial::Coverage;

use crate::wasm::{Component, GuestError};
use bench::{Bench, FindingOr, InstanceCircumstances};
use reprise_core::description::{Description, SlotKind};
use reprise_core::random::Random;
use reprise_core::verify::{Cause, Check, Finding, Script, Verdict};
use trial::OperatorTrial;

/// Rounds of each check, unless more or fewer are asked for.
pub const ROUNDS: u32 = 24;
/// Rounds that may be asked for.
pub const ROUNDS_MAX: u32 = 100_000;
/// Instances that live at a time, at most; a runtime needs one more, for descriptions.
pub const INSTANCES_MAX: u32 = 8;

/// The progress of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// The check under way.
    pub check: Check,
    /// Its round, from 0.
    pub round: u32,
    /// Rounds of all checks that are behind it.
    pub done: u64,
    /// Rounds of all checks.
    pub all: u64,
}

/// The report on an operator: what came of all checks.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    /// The description that the operator gives of itself.
    pub description: Description,
    /// The rows that it was given, in words.
    pub rows: String,
    /// See [`Coverage`]; `None` where the reference did not end well.
    pub coverage: Option<Coverage>,
    /// Every check, in order.
    pub verdicts: Vec<(Check, Verdict)>,
    /// Reasons why the verdicts may be worth little.
    pub warnings: Vec<String>,
}

impl VerifyReport {
    /// Checks that failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).count()
    }
}

/// The reason why there is nothing to report on an operator.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The component cannot say what it is, or cannot be instantiated.
    #[error("{0}")]
    Guest(GuestError),
    /// The operator refuses its configuration.
    #[error("{0}\n  help: give it the `config` that it wants, as JSON, with `--config`")]
    Config(GuestError),
    /// The files do not fit the inputs.
    #[error(
        "{files} input files are given, and the operator has {inputs} inputs\n  help: give one file for all inputs, or one for each, in their order"
    )]
    Inputs {
        /// Files given.
        files: usize,
        /// Inputs that it has.
        inputs: usize,
    },
    /// There is no row.
    #[error("no row can be read from the input\n  help: see whether the file is empty, or of another format")]
    NoRows,
}

type Run = fn(&OperatorTrial, &mut Random) -> FindingOr<()>;

/// The checks behind the reference, and whether chance has a part in them.
const CHECKS: [(Check, Run, bool); 14] = [
    (Check::Describe, outputs::describe, false),
    (Check::Repeat, outputs::repeat, false),
    (Check::Reading, outputs::reading, true),
    (Check::Changes, snapshots::changes, true),
    (Check::Parts, snapshots::parts, true),
    (Check::Restore, restores::restore, true),
    (Check::Chunks, restores::chunks, true),
    (Check::Chain, restores::chain, true),
    (Check::Replay, restores::replay, true),
    (Check::Batches, outputs::batches, true),
    (Check::Empty, outputs::empty, true),
    (Check::Pieces, outputs::pieces, false),
    (Check::Memory, memory::memory, true),
    (Check::Rescale, restores::rescale, true),
];

/// Puts an operator through all checks. `given`: rows to use; without them rows are generated.
///
/// # Errors
/// Where the operator cannot be opened, or the rows do not fit it. What is wrong with it otherwise is in the report.
pub fn verify(
    component: &Component,
    given: Option<&InputRows>,
    settings: &VerifySettings,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<VerifyReport, VerifyError> {
    let description = component.describe().map_err(VerifyError::Guest)?;
    let bench = Bench { component: component.clone(), description, config: settings.config.clone(), limits: settings.limits.clone() };
    bench.open_within(InstanceCircumstances::default(), &bench.limits).map_err(|error| match error.call {
        "open" => VerifyError::Config(error),
        _ => VerifyError::Guest(error),
    })?;
    let (script, rows) = match given {
        Some(given) => of_files(&bench, given, settings)?,
        None => {
            let (shape, script) = trial::choose(&bench, settings);
            (script, format!("generated, {}", shape.text()))
        }
    };
    Ok(check_all(bench, script, rows, settings, progress))
}

fn of_files(bench: &Bench, given: &InputRows, settings: &VerifySettings) -> Result<(Script, String), VerifyError> {
    let (files, inputs) = (given.files.len(), bench.description.inputs.len());
    if files != 1 && files != inputs {
        return Err(VerifyError::Inputs { files, inputs });
    }
    let script = Script::of_rows(&given.files, inputs as u32, given.has_times, &mut Random::new(settings.seed));
    if script.rows() == 0 {
        return Err(VerifyError::NoRows);
    }
    let mut rows = "of the input".to_owned();
    if given.unreadable > 0 {
        rows.push_str(&format!("; {} that cannot be read are left out", given.unreadable));
    }
    if given.is_cut {
        rows.push_str(&format!("; only the first {INPUT_ROWS_MAX} rows, or {} MiB, of a file are taken", INPUT_BYTES_MAX >> 20));
    }
    Ok((script, rows))
}

fn check_all(
    bench: Bench,
    script: Script,
    rows: String,
    settings: &VerifySettings,
    progress: &mut dyn FnMut(VerifyProgress),
) -> VerifyReport {
    let rounds = |is_drawn: bool| if is_drawn { settings.rounds } else { 1 };
    let all = 1 + CHECKS.iter().map(|(.., is_drawn)| u64::from(rounds(*is_drawn))).sum::<u64>();
    progress(VerifyProgress { check: Check::Run, round: 0, done: 0, all });
    let description = bench.description.clone();
    let trial = match OperatorTrial::new(bench, script) {
        Ok(trial) => trial,
        Err(finding) => {
            let mut verdicts = vec![(Check::Run, Verdict::Failed(finding))];
            let skipped = || Verdict::NotApplicable("the straight run failed".to_owned());
            verdicts.extend(CHECKS.iter().map(|(check, ..)| (*check, skipped())));
            return VerifyReport { description, rows, coverage: None, verdicts, warnings: Vec::new() };
        }
    };
    let mut verdicts = vec![(Check::Run, Verdict::Passed { rounds: 1 })];
    let mut done = 1;
    for (check, run, is_drawn) in CHECKS {
        let rounds = rounds(is_drawn);
        let verdict = match trial.is_beside(check) {
            Some(why) => Verdict::NotApplicable(why),
            None => {
                let mut tell = |round| progress(VerifyProgress { check, round, done: done + u64::from(round), all });
                check_rounds(&trial, check, run, rounds, settings.seed, &mut tell)
            }
        };
        done += u64::from(rounds);
        verdicts.push((check, verdict));
    }
    connect_findings(&mut verdicts);
    let warnings = warnings(&trial);
    VerifyReport { description, rows, coverage: Some(trial.coverage), verdicts, warnings }
}

fn check_rounds(trial: &OperatorTrial, check: Check, run: Run, rounds: u32, seed: u64, tell: &mut dyn FnMut(u32)) -> Verdict {
    for round in 0..rounds {
        tell(round);
        let mut random = Random::of_round(seed, check as u64, u64::from(round));
        if let Err(mut finding) = run(trial, &mut random) {
            finding.round = round;
            return Verdict::Failed(finding);
        }
    }
    Verdict::Passed { rounds }
}

/// Checks whose findings explain those of later ones.
const ROOTS: [Check; 5] = [Check::Repeat, Check::Reading, Check::Changes, Check::Parts, Check::Restore];

/// Says at findings that know only that something differs which check failed before.
fn connect_findings(verdicts: &mut [(Check, Verdict)]) {
    let has_failed = |(check, verdict): &&(Check, Verdict)| ROOTS.contains(check) && matches!(verdict, Verdict::Failed(_));
    let Some(root) = verdicts.iter().find(has_failed).map(|(check, _)| *check) else { return };
    for (_, verdict) in verdicts.iter_mut().filter(|(check, _)| *check > root) {
        if let Verdict::Failed(finding) = verdict
            && matches!(finding.cause, Cause::Undeclared | Cause::StateDiverges | Cause::Rescale)
        {
            finding.notes.push(format!("`{}` failed too, and may be the reason", root.name()));
        }
    }
}

fn warnings(trial: &OperatorTrial) -> Vec<String> {
    let Coverage { rows, emitted, refused, cells, .. } = &trial.coverage;
    let slots = &trial.bench.description.slots;
    let mut warnings = Vec::new();
    if refused * 2 > *rows {
        warnings.push(format!("{refused} of {rows} rows were refused: give rows that it takes with `--input`"));
    }
    if *emitted == 0 && !trial.bench.description.outputs.is_empty() {
        warnings.push("no row came out, so that much of its work may not have been seen".to_owned());
    }
    for (slot, _) in slots.iter().zip(cells).filter(|(_, cells)| **cells == 0) {
        warnings.push(format!("no snapshot held a cell of slot `{}`: nothing is known of it", slot.name));
    }
    let has_keys = trial.script.batches().any(|rows| !rows.keys().is_empty());
    if !has_keys && slots.iter().any(|slot| slot.kind == SlotKind::Keyed) {
        warnings.push("it keeps state by key, and all keys are empty: say with `--key` where they are".to_owned());
    }
    if trial.uses_random {
        warnings.push("its output follows from `random`: it is the same again only where calls are made again".to_owned());
    }
    warnings
}

/// Findings cross no thread, reports may.
const _: fn() = || {
    fn sent<T: Send>() {}
    sent::<VerifyReport>();
    sent::<Box<Finding>>();
};
