//! The check of what happens where memory is short.

use super::bench::{FindingOr, InstanceCircumstances, failed, place};
use super::outputs::same;
use super::trial::OperatorTrial;
use crate::wasm::{Fault, GuestError, Limits};
use reprise_core::random::Random;
use reprise_core::verify::{Cause, Finding};

/// Memory beyond what the reference had at its most, with which everything must go as before.
const ROOM_BYTES: u64 = 1 << 20;
/// A page of WebAssembly memory.
const PAGE_BYTES: u64 = 64 << 10;

/// Runs an operator with a limit just above what it used, then with one below that.
pub(super) fn memory(trial: &OperatorTrial, random: &mut Random) -> FindingOr<()> {
    let (opened, peak) = trial.memory;
    let most = trial.bench.limits.memory_bytes_max;
    let roomy = (peak + ROOM_BYTES).min(most);
    run(trial, roomy)?.map_err(|(finding, _)| finding.note(format!("the reference used {peak} bytes of memory, the limit was {roomy}")))?;
    let least = opened.saturating_sub(PAGE_BYTES);
    let tight = random.between(least as i64, peak.saturating_sub(PAGE_BYTES).max(least) as i64) as u64;
    match run(trial, tight)? {
        // Every other fault says what happened, and nothing of the call stands; for a deadline a machine that is busy may be to blame.
        Err((finding, Fault::Lie(_))) => {
            Err(finding.note(format!("the memory was limited to {tight} bytes: a trap or an error is wanted then")))
        }
        _ => Ok(()),
    }
}

/// The end of a run within a limit: well, or with the fault of a call.
type Ended = Result<(), (Box<Finding>, Fault)>;

/// All calls within this limit. What comes before a fault must be what the reference gives.
fn run(trial: &OperatorTrial, memory_bytes_max: u64) -> FindingOr<Ended> {
    let limits = Limits { memory_bytes_max, ..trial.bench.limits.clone() };
    let ended = |error: GuestError, at| Ok(Err((failed(&error, at), error.fault)));
    let mut live = match trial.bench.open_within(InstanceCircumstances::default(), &limits) {
        Ok(live) => live,
        Err(error) => return ended(error, None),
    };
    for (at, step) in trial.script.steps.iter().enumerate() {
        let came = match live.try_play(at, step) {
            Ok(came) => came,
            Err(error) => return ended(error, Some(place(at, step))),
        };
        same(Cause::Memory, &trial.reference[at], &came, at, step)
            .map_err(|finding: Box<Finding>| finding.note(format!("the memory was limited to {memory_bytes_max} bytes")))?;
    }
    Ok(Ok(()))
}
