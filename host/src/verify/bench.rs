//! Instances to try: opened, fed with the steps of a script, read, restored. A call that fails becomes a finding.

use crate::wasm::{Call, Component, GuestError, Instance, InstanceIdentity, Limits, Scope};
use reprise_core::cells::{Cell, Chunk};
use reprise_core::description::Description;
use reprise_core::random::Random;
use reprise_core::verify::{self, At, Cause, Effect, Finding, InstanceCells, Step};
use std::ops::Range;

/// The value of a check or of a part of it, or a finding.
pub(super) type FindingOr<T> = Result<T, Box<Finding>>;

/// The time that `now` answers in the first call.
const NOW_MS: i64 = 1_750_000_000_000;
/// Milliseconds by which `now` is later in each call.
const NOW_STEP_MS: i64 = 1_009;
/// Numbers between the first calls of two lives of an instance. The engine counts so from epoch to epoch.
const CALLS_A_LIFE: u64 = 1 << 32;
/// Bytes of a part of a snapshot, where the size is not what is tried.
pub(super) const PART_BYTES: u32 = 4 << 20;
/// Bytes that one run may emit in all. A few runs are in memory at a time, to be compared.
pub const RUN_OUTPUT_BYTES_MAX: u64 = 512 << 20;
/// Lines of a backtrace, and of the log, that a finding tells.
const TOLD_LINES: usize = 6;

/// The operator under test.
pub(super) struct Bench {
    pub component: Component,
    pub description: Description,
    pub config: String,
    pub limits: Limits,
}

/// The circumstances of one instance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InstanceCircumstances {
    /// Which life of the instance it is: 0 at first, one more for each instance that takes its place. What `open` draws from the host
    /// follows from it.
    pub number: u64,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Index of the instance.
    pub index: u32,
    /// Number of instances; 0 counts as 1.
    pub parallelism: u32,
    /// `now` stands still, for runs whose calls are cut at other places.
    pub is_steady: bool,
}

impl InstanceCircumstances {
    /// The circumstances of the instance that takes this one's place.
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

/// An open instance.
pub(super) struct Live {
    pub instance: Instance,
    is_steady: bool,
    /// The call before, for findings.
    last: Option<At>,
    emitted_bytes: u64,
}

impl Bench {
    /// Makes an instance and opens it.
    pub fn open(&self, life: InstanceCircumstances) -> FindingOr<Live> {
        self.open_within(life, &self.limits).map_err(|error| failed(&error, None))
    }

    /// Makes an instance with other limits and opens it. The error is as it came.
    pub fn open_within(&self, life: InstanceCircumstances, limits: &Limits) -> Result<Live, GuestError> {
        let identity = InstanceIdentity { job: "verify".into(), operator: "operator".into(), instance: life.index, seed: life.seed };
        let mut instance = self.component.instantiate(limits, identity)?;
        let call = Call { number: life.number * CALLS_A_LIFE, now_ms: NOW_MS, instant_ns: 0 };
        instance.open(&self.config, life.parallelism.max(1), call)?;
        Ok(Live { instance, is_steady: life.is_steady, last: None, emitted_bytes: 0 })
    }

    /// Makes an instance with this state.
    pub fn restored(&self, life: InstanceCircumstances, chunks: &[Chunk], after: Option<At>) -> FindingOr<Live> {
        let mut live = self.open(life)?;
        live.last = after;
        live.restore(&self.description, chunks)?;
        Ok(live)
    }

    /// True where there is state to read.
    pub fn is_stateful(&self) -> bool {
        !self.description.slots.is_empty()
    }
}

impl Live {
    /// Makes the call of a step. `at` is its place in the script.
    pub fn play(&mut self, at: usize, step: &Step) -> FindingOr<Effect> {
        let effect = self.try_play(at, step).map_err(|error| failed(&error, self.last))?;
        self.emitted_bytes += effect.outputs.values().map(|rows| rows.size_bytes() as u64).sum::<u64>();
        if self.emitted_bytes > RUN_OUTPUT_BYTES_MAX {
            let note =
                format!("it has emitted over {RUN_OUTPUT_BYTES_MAX} bytes, more than can be compared: give it fewer rows with `--input`");
            return Err(Finding::new(Cause::Fault).at(place(at, step)).note(note));
        }
        Ok(effect)
    }

    /// Makes the calls of the steps of a script that have these places in it.
    pub fn play_all(&mut self, steps: &[Step], places: Range<usize>) -> FindingOr<Vec<Effect>> {
        steps.iter().enumerate().take(places.end).skip(places.start).map(|(at, step)| self.play(at, step)).collect()
    }

    /// Makes the call of a step as [`Live::play`] does. The error is as it came.
    pub fn try_play(&mut self, at: usize, step: &Step) -> Result<Effect, GuestError> {
        self.last = Some(place(at, step));
        let number = at as u64 + 1;
        let now_ms = if self.is_steady { NOW_MS } else { NOW_MS + number as i64 * NOW_STEP_MS };
        self.make(step, Call { number, now_ms, instant_ns: 0 })
    }

    /// Makes a call that is not in the script, and has a number of its own.
    pub fn interpose(&mut self, at: usize, step: &Step) -> FindingOr<Effect> {
        let call = Call { number: CALLS_A_LIFE / 2 + at as u64, now_ms: NOW_MS + at as i64 * NOW_STEP_MS, instant_ns: 0 };
        self.make(step, call).map_err(|error| failed(&error, Some(place(at, step))))
    }

    fn make(&mut self, step: &Step, call: Call) -> Result<Effect, GuestError> {
        let effect = match step {
            Step::Rows { input, rows } => {
                let outcome = self.instance.process(*input, rows, call)?;
                Effect::new(outcome.outputs, outcome.rejected.into_iter().map(|rejection| (rejection.row, rejection.reason)))
            }
            Step::Watermark(watermark) => Effect::new(self.instance.advance(*watermark, call)?, []),
        };
        // What it logs is of no use here, and must not gather.
        let _ = self.instance.take_log();
        Ok(effect)
    }

    /// Reads a snapshot to its end.
    pub fn read(&mut self, scope: Scope, part_bytes_max: u32) -> FindingOr<Vec<Chunk>> {
        let mut chunks = Vec::new();
        let read = self.instance.read_snapshot(scope, part_bytes_max, &mut |chunk| chunks.push(chunk));
        read.map_err(|error| failed(&error, self.aside(verify::CheckedCall::Snapshot)))?;
        Ok(chunks)
    }

    /// Every cell that it has.
    pub fn state(&mut self) -> FindingOr<InstanceCells> {
        self.read(Scope::Full, PART_BYTES).map(|chunks| InstanceCells::of(&chunks))
    }

    /// Gives it the chunks of a snapshot.
    pub fn restore(&mut self, description: &Description, chunks: &[Chunk]) -> FindingOr<()> {
        let version = |chunk: &Chunk| description.slots.get(chunk.slot() as usize).map_or(1, |slot| slot.version);
        let restored = self.instance.restore_all(chunks.iter().map(|chunk| (version(chunk), chunk)));
        restored.map_err(|error| failed(&error, self.aside(verify::CheckedCall::Restore)))
    }

    /// The call before, as the place of something that came after it.
    pub fn aside(&self, call: verify::CheckedCall) -> Option<At> {
        Some(At { number: self.last.map_or(0, |at| at.number), call })
    }

    /// The call before.
    pub fn last(&self) -> Option<At> {
        self.last
    }
}

/// The place of a step in findings.
pub(super) fn place(at: usize, step: &Step) -> At {
    let call = match step {
        Step::Rows { input, rows } => verify::CheckedCall::Process { input: *input, rows: rows.len() },
        Step::Watermark(watermark) => verify::CheckedCall::Advance(*watermark),
    };
    At { number: at as u64 + 1, call }
}

/// The finding for a call that failed.
pub(super) fn failed(error: &GuestError, at: Option<At>) -> Box<Finding> {
    let mut finding = Finding::new(Cause::Fault).note(error.to_string());
    finding.at = at;
    if !error.backtrace.is_empty() {
        let frames = &error.backtrace[..error.backtrace.len().min(TOLD_LINES)];
        finding = finding.note(format!("in {}", frames.join(" < ")));
    }
    let tail = &error.log_tail[error.log_tail.len().saturating_sub(TOLD_LINES)..];
    tail.iter().fold(finding, |finding, line| finding.note(format!("it logged: {line}")))
}

/// The cells of chunks, one a chunk or a few, in any order: a full snapshot means the same however it is cut.
pub(super) fn cut_chunks(chunks: &[Chunk], cells_max: usize, random: &mut Random) -> Vec<Chunk> {
    let mut cells: Vec<(u32, Cell<'_>)> = chunks.iter().flat_map(|chunk| chunk.cells().map(|cell| (chunk.slot(), cell))).collect();
    random.shuffle(&mut cells);
    let mut cut: Vec<Chunk> = Vec::new();
    for (slot, cell) in cells {
        let fits = cut.last().is_some_and(|last| last.slot() == slot && last.len() < cells_max);
        if !fits {
            cut.push(Chunk::new(slot));
        }
        if let Some(last) = cut.last_mut() {
            // A part of what a snapshot held, which has a limit far below that of columns.
            last.push(cell).expect("a cell of a snapshot fits into a chunk");
        }
    }
    cut
}
