//! One running copy of a component.
//!
//! | after | the instance is |
//! |---|---|
//! | a call that succeeded, its answer checked | ready for the next |
//! | a trap, a limit, a returned error, a broken contract | dead: nothing of the call stands, and no further call reaches the guest |
//!
//! The order of calls (`open`, `restore`, then the rest) is the caller's business. Calls never overlap: they take `&mut self`.

use super::allowance::Allowance;
use super::component::{Component, DESCRIPTION_BYTES_MAX};
use super::contract::{self, lend, lend_chunk, operator, state};
use super::deadline::Elapsed;
use super::fault::{Fault, GuestError, Reached, cut};
use super::guest::{Call, Guest, LogLine};
use super::limits::{CELL_BYTES_MAX, CELL_ENDS_BYTES, CHUNKS_PER_PART_MAX, Limits, OUTPUTS_PER_PIECE_MAX, TEXT_BYTES_MAX};
use super::usage::{self, Usage};
use reprise_core::batch::Batch;
use reprise_core::cells::Chunk;
use reprise_core::description::Description;
use reprise_core::operator::{Outcome, Rejection};
use std::collections::BTreeMap;
use wasmtime::Store;

/// Bytes that a call without rows or cells to return (`open`, `restore`) may hand over: its error text, and lines to log.
const TEXT_HANDOVER_BYTES_MAX: usize = 1 << 20;
/// Handed over beside the rows themselves: the list of outputs.
const OUTPUTS_HANDOVER_BYTES: usize = OUTPUTS_PER_PIECE_MAX * size_of::<operator::Output>() + TEXT_HANDOVER_BYTES_MAX;
/// Handed over for each row of a batch that may be rejected: the entry in the list. Its text counts as output.
const REJECTION_HANDOVER_BYTES: usize = 32;

/// The functions that an instance exports.
pub(super) struct Exports {
    pub(super) operator: operator::Guest,
    pub(super) state: Option<state::Guest>,
}

/// How a call stands to the one before it.
enum Begin<'a> {
    /// A call of its own.
    Call(Call),
    /// A call that gets no rows, at the time of the one before.
    Aside,
    /// Likewise, and one of several that share their time.
    Among(&'a mut Allowance),
    /// The next piece of the one before: its time goes on.
    Resumed,
}

/// A piece of what a call emitted, checked.
pub(super) struct Piece {
    /// Rows by output port; none is empty.
    pub(super) outputs: Vec<(u32, Batch)>,
    /// There is more.
    pub(super) more: bool,
}

/// Which cells a snapshot is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every cell.
    Full,
    /// Those that were set or removed since the last snapshot that was read to its end.
    Changes,
}

/// A piece of a snapshot, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Cells; no chunk is empty.
    pub chunks: Vec<Chunk>,
    /// This snapshot was read to its end.
    pub done: bool,
}

/// Deadlines that a call has which is repeated: it came to its end within one of them the first time, and no two runs take the same time.
const REPEATED_DEADLINES: u32 = 2;

/// One running copy of a component.
pub struct Instance {
    store: Store<Guest>,
    exports: Exports,
    description: Description,
    limits: Limits,
    /// The time that the pieces of the last call have together.
    allowance: Allowance,
    /// How far the last call has come.
    reached: Reached,
    index: u32,
    /// The call that killed it.
    dead: Option<&'static str>,
    /// The calls that it gets were made before.
    is_repeating: bool,
    /// Keeps the runtime, and with it the ticks, alive.
    component: Component,
}

impl Instance {
    pub(super) fn new(
        component: Component,
        index: u32,
        store: Store<Guest>,
        exports: Exports,
        description: Description,
        limits: Limits,
    ) -> Self {
        let allowance = Allowance::new(limits.deadline, limits.output_bytes_max);
        Self {
            store,
            exports,
            description,
            limits,
            allowance,
            reached: Reached::default(),
            index,
            dead: None,
            is_repeating: false,
            component,
        }
    }

    /// The component it is a copy of.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// Says whether the calls from here on were made before, by an instance like this: they have more time, in case it was just enough.
    pub fn set_repeating(&mut self, is_repeating: bool) {
        self.is_repeating = is_repeating;
    }

    /// What the component says it is.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// True after a call that failed: it will not be called again.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Asks the instance what it is, at any time. The answer is not checked beyond its types: it should be [`Instance::description`].
    ///
    /// # Errors
    /// A fault.
    pub fn describe(&mut self) -> Result<Description, GuestError> {
        self.call(
            "describe",
            Begin::Aside,
            DESCRIPTION_BYTES_MAX,
            |store, exports| exports.operator.call_describe(store).map(Ok),
            |said, _, _| Ok(contract::description(said)),
        )
    }

    /// Makes the instance ready. `config` is JSON; `parallelism` is the number of instances of the operator.
    ///
    /// # Errors
    /// [`Fault::Returned`] where the operator refuses its configuration; else a fault.
    pub fn open(&mut self, config: &str, parallelism: u32, call: Call) -> Result<(), GuestError> {
        let instance = self.index;
        let output_max_bytes = u32::try_from(self.limits.output_bytes_max).unwrap_or(u32::MAX);
        self.call(
            "open",
            Begin::Call(call),
            TEXT_HANDOVER_BYTES_MAX,
            |store, exports| exports.operator.call_open(store, operator::Context { config, instance, parallelism, output_max_bytes }),
            |(), _, _| Ok(()),
        )
    }

    /// Gives rows of one input to the operator. Takes all pieces of its output before it returns: what is returned stands.
    ///
    /// # Errors
    /// A fault; nothing of the call stands then.
    pub fn process(&mut self, input: u32, rows: &Batch, call: Call) -> Result<Outcome, GuestError> {
        let inputs = self.description.inputs.len();
        if input as usize >= inputs {
            return Err(GuestError::early("process", format!("input {input} does not exist; the description has {inputs}")));
        }
        self.store.data_mut().usage.bytes_in += rows.size_bytes() as u64;
        let handover = self.handover_of_outputs().saturating_add(rows.len().saturating_mul(REJECTION_HANDOVER_BYTES));
        let (rejected, first) = self.call(
            "process",
            Begin::Call(call),
            handover,
            |store, exports| exports.operator.call_process(store, input, lend(rows)),
            |outcome, description, limits| check_outcome(outcome, rows.len(), description, limits),
        )?;
        Ok(Outcome { outputs: self.take_output("process", first)?, rejected })
    }

    /// Tells the operator that no row with a time at or below `watermark` will follow. Takes all pieces of its output before it returns.
    ///
    /// # Errors
    /// A fault; nothing of the call stands then.
    pub fn advance(&mut self, watermark: i64, call: Call) -> Result<Vec<(u32, Batch)>, GuestError> {
        let first = self.call(
            "advance",
            Begin::Call(call),
            self.handover_of_outputs(),
            |store, exports| exports.operator.call_advance(store, watermark),
            check_emitted,
        )?;
        self.take_output("advance", first)
    }

    /// Reads the next piece of what the last call emitted.
    pub(super) fn resume(&mut self) -> Result<Piece, GuestError> {
        self.call("resume", Begin::Resumed, self.handover_of_outputs(), |store, exports| exports.operator.call_resume(store), check_emitted)
    }

    /// Reads one piece of a snapshot. A component without state has none, and is done at once. To read a whole snapshot, use
    /// [`Instance::read_snapshot`].
    ///
    /// `part_bytes_max` is what the guest is asked to keep to; twice as much is let pass, and a single cell up to
    /// [`CELL_BYTES_MAX`](super::CELL_BYTES_MAX).
    ///
    /// # Errors
    /// A fault; what was read of this snapshot before is void then.
    pub fn snapshot(&mut self, scope: Scope, part_bytes_max: u32) -> Result<Part, GuestError> {
        self.part(scope, part_bytes_max, Begin::Aside)
    }

    /// As [`Instance::snapshot`], one of several parts.
    pub(super) fn part_among(&mut self, scope: Scope, part_bytes_max: u32, allowance: &mut Allowance) -> Result<Part, GuestError> {
        self.part(scope, part_bytes_max, Begin::Among(allowance))
    }

    fn part(&mut self, scope: Scope, part_bytes_max: u32, begin: Begin<'_>) -> Result<Part, GuestError> {
        if self.exports.state.is_none() {
            return Ok(Part { chunks: Vec::new(), done: true });
        }
        // Twice what is asked for, half as much again for the list of removed cells, and one large cell.
        let bytes = u64::from(part_bytes_max).saturating_mul(3).saturating_add(CELL_BYTES_MAX);
        let handover = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(TEXT_HANDOVER_BYTES_MAX);
        let wit_scope = match scope {
            Scope::Full => state::Scope::Full,
            Scope::Changes => state::Scope::Changes,
        };
        self.call(
            "snapshot",
            begin,
            handover,
            |store, exports| match &exports.state {
                Some(state) => state.call_snapshot(store, wit_scope, part_bytes_max),
                None => Ok(Ok(state::Part { chunks: Vec::new(), done: true })),
            },
            |part, description, _| check_part(part, scope, part_bytes_max, description),
        )
    }

    /// Gives a chunk to the operator: one of several.
    pub(super) fn restore_among(&mut self, version: u32, chunk: &Chunk, allowance: &mut Allowance) -> Result<(), GuestError> {
        if self.exports.state.is_none() {
            return Err(GuestError::early("restore", "the component keeps no state"));
        }
        if let Err(error) = chunk.check_slot(self.description.slots.len()) {
            return Err(GuestError::early("restore", error.to_string()));
        }
        self.call(
            "restore",
            Begin::Among(allowance),
            TEXT_HANDOVER_BYTES_MAX,
            |store, exports| match &exports.state {
                Some(state) => state.call_restore(store, version, lend_chunk(chunk)),
                None => Ok(Ok(())),
            },
            |(), _, _| Ok(()),
        )
    }

    /// The circumstances of the last call that had some. A snapshot is read under them.
    #[must_use]
    pub fn circumstances(&self) -> Call {
        self.store.data().circumstances()
    }

    /// What its monotonic clock shows next at least; 0 where its guest never looked at it. For the circumstances of the next call.
    #[must_use]
    pub fn instant_ns(&self) -> u64 {
        self.store.data().wasi.next_ns()
    }

    /// Lets it stand where another instance stood after a call.
    pub fn set_circumstances(&mut self, call: Call) {
        self.store.data_mut().set_circumstances(call);
    }

    /// What the operator counted, by name.
    #[must_use]
    pub fn counters(&self) -> &BTreeMap<String, u64> {
        self.store.data().counters()
    }

    /// Linear memory that the instance has now, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().meter.used_bytes()
    }

    /// The most linear memory that the instance ever had, in bytes. Memory never shrinks, so that this differs from
    /// [`Instance::memory_bytes`] only where a component drops a memory.
    #[must_use]
    pub fn memory_peak_bytes(&self) -> u64 {
        self.store.data().meter.peak_bytes()
    }

    /// What the instance used since the last time.
    pub fn take_usage(&mut self) -> Usage {
        let guest = self.store.data_mut();
        Usage { memory_peak_bytes: guest.meter.peak_bytes(), ..std::mem::take(&mut guest.usage) }
    }

    /// The lines logged since the last time, oldest first; at most [`LOG_LINES_MAX`](super::LOG_LINES_MAX), the newest.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.store.data_mut().take_log()
    }

    fn handover_of_outputs(&self) -> usize {
        usize::try_from(self.limits.output_bytes_max).unwrap_or(usize::MAX).saturating_add(OUTPUTS_HANDOVER_BYTES)
    }

    /// Makes one call with its limits, and checks what it returned. Kills the instance where any of it fails.
    fn call<T, U>(
        &mut self,
        name: &'static str,
        mut begin: Begin<'_>,
        handover_bytes_max: usize,
        run: impl FnOnce(&mut Store<Guest>, &Exports) -> wasmtime::Result<Result<T, String>>,
        check: impl FnOnce(T, &Description, &Limits) -> Result<U, String>,
    ) -> Result<U, GuestError> {
        if let Some(killer) = self.dead {
            return Err(GuestError::early(name, format!("the instance is dead since `{killer}` failed; a new one must take its place")));
        }
        self.store.set_hostcall_fuel(handover_bytes_max);
        if !matches!(begin, Begin::Resumed) {
            let deadlines = if self.is_repeating { REPEATED_DEADLINES } else { 1 };
            let deadline = self.limits.deadline.saturating_mul(deadlines);
            (self.allowance, self.reached) = (Allowance::new(deadline, self.limits.output_bytes_max), Reached::default());
        }
        let allowance = if let Begin::Among(allowance) = &begin { allowance } else { &self.allowance };
        let deadline = allowance.limit();
        let Some(left) = allowance.next() else {
            let missed = self.kill(name, Fault::Deadline { limit: deadline });
            return Err(GuestError { reached: Some(self.reached), ..missed });
        };
        match &begin {
            Begin::Call(call) => self.store.data_mut().begin(Some(*call)),
            Begin::Aside | Begin::Among(_) => self.store.data_mut().begin(None),
            Begin::Resumed => self.store.data_mut().resume(),
        }
        let counts_fuel = self.component.counts_fuel();
        usage::fill(&mut self.store, counts_fuel);
        self.component.start_timer(&mut self.store, left);
        let returned = run(&mut self.store, &self.exports);
        let guest = self.store.data();
        let (elapsed, fuel) = (guest.timer.elapsed(), usage::burnt(&self.store, counts_fuel));
        if let Begin::Among(allowance) = &mut begin { allowance } else { &mut self.allowance }.spend(elapsed.charged());
        self.reached.elapsed.add(elapsed);
        let Elapsed { wall, processor } = elapsed;
        let guest = self.store.data_mut();
        guest.end();
        guest.usage.calls += 1;
        guest.usage.busy += wall;
        guest.usage.processor += processor;
        guest.usage.fuel = guest.usage.fuel.saturating_add(fuel);
        let checked = match returned {
            Ok(Ok(answer)) => check(answer, &self.description, &self.limits).map_err(|lie| GuestError::said(name, Fault::Lie(lie), guest)),
            Ok(Err(text)) => Err(GuestError::said(name, Fault::Returned(cut(&text, TEXT_BYTES_MAX)), guest)),
            Err(error) => Err(GuestError::ended(name, &error, guest, deadline, handover_bytes_max)),
        };
        checked.map_err(|mut error| {
            self.dead = Some(name);
            if let Fault::Deadline { .. } = error.fault {
                error.reached = Some(self.reached);
            }
            error
        })
    }

    /// A piece of output was handed out, with so many bytes of rows: they buy time for those that follow.
    pub(super) fn hand_out(&mut self, bytes: u64) {
        self.store.data_mut().usage.bytes_out += bytes;
        self.allowance.earn(bytes);
        self.reached.pieces += 1;
        self.reached.bytes += bytes;
    }

    /// Kills the instance for what it did over several calls.
    pub(super) fn condemn(&mut self, call: &'static str, lie: String) -> GuestError {
        self.kill(call, Fault::Lie(lie))
    }

    pub(super) fn kill(&mut self, call: &'static str, fault: Fault) -> GuestError {
        self.dead = Some(call);
        GuestError::said(call, fault, self.store.data())
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("component", &self.component).field("dead", &self.dead).finish_non_exhaustive()
    }
}

/// Workers make and call instances on their own threads.
const _: fn() = || {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<Instance>();
    shared::<Component>();
};

type RejectedAndFirst = (Vec<Rejection>, Piece);

fn check_outcome(outcome: operator::Outcome, rows: usize, description: &Description, limits: &Limits) -> Result<RejectedAndFirst, String> {
    let rejected = check_rejected(outcome.rejected, rows)?;
    let reasons: u64 = rejected.iter().map(|rejection| rejection.reason.len() as u64).sum();
    let outputs = check_outputs(outcome.outputs, reasons, description, limits)?;
    Ok((rejected, Piece { outputs, more: outcome.more }))
}

fn check_emitted(emitted: operator::Emitted, description: &Description, limits: &Limits) -> Result<Piece, String> {
    Ok(Piece { outputs: check_outputs(emitted.outputs, 0, description, limits)?, more: emitted.more })
}

fn check_rejected(rejected: Vec<operator::Rejection>, rows: usize) -> Result<Vec<Rejection>, String> {
    if rejected.is_empty() {
        return Ok(Vec::new());
    }
    if rejected.len() > rows {
        return Err(format!("{} rows are rejected of {rows}", rejected.len()));
    }
    let mut seen = vec![false; rows];
    let mut checked = Vec::with_capacity(rejected.len());
    for rejection in rejected {
        let row = rejection.row;
        let Some(seen) = seen.get_mut(row as usize) else {
            return Err(format!("row {row} is rejected, but the batch has {rows} rows"));
        };
        if std::mem::replace(seen, true) {
            return Err(format!("row {row} is rejected twice"));
        }
        checked.push(Rejection { row, reason: cut(&rejection.reason, TEXT_BYTES_MAX) });
    }
    Ok(checked)
}

/// `bytes` have been returned already, beside the rows.
fn check_outputs(
    outputs: Vec<operator::Output>,
    mut bytes: u64,
    description: &Description,
    limits: &Limits,
) -> Result<Vec<(u32, Batch)>, String> {
    if outputs.len() > OUTPUTS_PER_PIECE_MAX {
        return Err(format!("{} batches in one piece; at most {OUTPUTS_PER_PIECE_MAX} are allowed", outputs.len()));
    }
    let ports = description.outputs.len();
    let mut checked = Vec::with_capacity(outputs.len());
    for operator::Output { port, rows } in outputs {
        if port as usize >= ports {
            return Err(format!("output port {port} does not exist; the description has {ports}"));
        }
        let rows = contract::batch(rows).map_err(|error| format!("batch for output port {port}: {error}"))?;
        bytes = bytes.saturating_add(rows.size_bytes() as u64);
        if bytes > limits.output_bytes_max {
            return Err(format!("output over the limit of {} bytes (`output-max` of the operator)", limits.output_bytes_max));
        }
        if !rows.is_empty() {
            checked.push((port, rows));
        }
    }
    Ok(checked)
}

fn check_part(part: state::Part, scope: Scope, part_bytes_max: u32, description: &Description) -> Result<Part, String> {
    if part.chunks.len() > CHUNKS_PER_PART_MAX {
        return Err(format!("{} chunks in one part of a snapshot; at most {CHUNKS_PER_PART_MAX} are allowed", part.chunks.len()));
    }
    let mut chunks = Vec::with_capacity(part.chunks.len());
    let (mut cells, mut bytes) = (0, 0u64);
    for chunk in part.chunks {
        let chunk = contract::chunk(chunk).map_err(|error| format!("snapshot chunk: {error}"))?;
        chunk.check_slot(description.slots.len()).map_err(|error| format!("snapshot chunk: {error}"))?;
        if scope == Scope::Full {
            chunk.check_full().map_err(|error| format!("snapshot chunk: {error}"))?;
        }
        cells += chunk.len();
        bytes = bytes.saturating_add(chunk.size_bytes() as u64 + chunk.len() as u64 * CELL_ENDS_BYTES);
        if !chunk.is_empty() {
            chunks.push(chunk);
        }
    }
    let limit = if cells <= 1 { CELL_BYTES_MAX + CELL_ENDS_BYTES } else { u64::from(part_bytes_max).saturating_mul(2) };
    if bytes > limit {
        return Err(format!("a part of the snapshot has {bytes} bytes in {cells} cells; {part_bytes_max} were asked for"));
    }
    Ok(Part { chunks, done: part.done })
}
