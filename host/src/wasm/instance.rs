//! One running copy of a component.
//!
//! | after | the instance is |
//! |---|---|
//! | a call that succeeded, its answer checked | ready for the next |
//! | a trap, a limit, a returned error, a broken contract | dead: nothing of the call stands, and no further call reaches the guest |
//!
//! The order of calls (`open`, `restore`, then the rest) is the caller's business. Calls never overlap: they take `&mut self`.

use super::checks::{OutputPiece, Part, Scope, check_emitted, check_outcome, check_part};
use super::contract::{self, lend, lend_chunk, operator, state};
use super::deadline::Elapsed;
use super::engine::SharedEngine;
use super::fault::{Fault, GuestError, Reached};
use super::guest::{Call, GuestState};
use super::limits::{CELL_BYTES_MAX, DESCRIPTION_BYTES_MAX, Limits, OUTPUTS_PER_PIECE_MAX, TEXT_BYTES_MAX, cut};
use super::log::LogLine;
use super::time_budget::TimeBudget;
use super::usage::Usage;
use reprise_core::batch::Batch;
use reprise_core::cells::Chunk;
use reprise_core::description::Description;
use reprise_core::operator::Outcome;
use std::collections::BTreeMap;
use std::sync::Arc;
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

/// The relation of a call to the one before it.
pub(super) enum Begin<'a> {
    /// A call of its own.
    Call(Call),
    /// A call that gets no rows, at the time of the one before.
    Aside,
    /// A call at the time of the one before, and one of several that share their time.
    Among(&'a mut TimeBudget),
    /// The next piece of the one before: its time goes on.
    Resumed,
}

/// Deadlines that a call has which is repeated: it came to its end within one of them the first time, and no two runs take the same time.
const REPEATED_DEADLINES: u32 = 2;

/// An instance of a component: its store, its exports and its limits.
pub struct Instance {
    store: Store<GuestState>,
    exports: Exports,
    description: Description,
    limits: Limits,
    /// The time that the pieces of the last call have together.
    budget: TimeBudget,
    /// The progress of the last call.
    reached: Reached,
    index: u32,
    /// The call that killed it.
    dead: Option<&'static str>,
    /// The calls that it gets were made before.
    is_repeating: bool,
    /// Keeps the ticks alive.
    engine: Arc<SharedEngine>,
}

impl Instance {
    pub(super) fn new(
        engine: Arc<SharedEngine>,
        index: u32,
        store: Store<GuestState>,
        exports: Exports,
        description: Description,
        limits: Limits,
    ) -> Self {
        let budget = TimeBudget::new(limits.deadline, limits.output_bytes_max);
        Self { store, exports, description, limits, budget, reached: Reached::default(), index, dead: None, is_repeating: false, engine }
    }

    /// Says whether the calls from here on were made before, by an instance like this: they have more time, in case it was just enough.
    pub fn set_repeating(&mut self, is_repeating: bool) {
        self.is_repeating = is_repeating;
    }

    /// The description of the component.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The limits of the instance.
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
    pub(super) fn resume(&mut self) -> Result<OutputPiece, GuestError> {
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

    pub(super) fn part(&mut self, scope: Scope, part_bytes_max: u32, begin: Begin<'_>) -> Result<Part, GuestError> {
        let Some(state) = self.exports.state.clone() else { return Ok(Part { chunks: Vec::new(), done: true }) };
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
            |store, _| state.call_snapshot(store, wit_scope, part_bytes_max),
            |part, description, _| check_part(part, scope, part_bytes_max, description),
        )
    }

    /// Gives a chunk to the operator: one of several.
    pub(super) fn restore_among(&mut self, version: u32, chunk: &Chunk, budget: &mut TimeBudget) -> Result<(), GuestError> {
        let Some(state) = self.exports.state.clone() else {
            return Err(GuestError::early("restore", "the component keeps no state"));
        };
        if let Err(error) = chunk.check_slot(self.description.slots.len()) {
            return Err(GuestError::early("restore", error.to_string()));
        }
        self.call(
            "restore",
            Begin::Among(budget),
            TEXT_HANDOVER_BYTES_MAX,
            |store, _| state.call_restore(store, version, lend_chunk(chunk)),
            |(), _, _| Ok(()),
        )
    }

    /// The circumstances of the last call that had some. A snapshot is read under them.
    #[must_use]
    pub fn circumstances(&self) -> Call {
        self.store.data().call
    }

    /// The least that the monotonic clock of the instance shows next; 0 where the guest never looked at it. For the circumstances of the next call.
    #[must_use]
    pub fn instant_ns(&self) -> u64 {
        self.store.data().wasi.next_ns
    }

    /// Lets the instance stand where another instance stood after a call.
    pub fn set_circumstances(&mut self, call: Call) {
        self.store.data_mut().call = call;
    }

    /// The counters of the operator, by name.
    #[must_use]
    pub fn counters(&self) -> &BTreeMap<String, u64> {
        &self.store.data().counters
    }

    /// Linear memory that the instance has now, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().meter.used_bytes
    }

    /// The most linear memory that the instance ever had, in bytes. Memory never shrinks, so that this differs from
    /// [`Instance::memory_bytes`] only where a component drops a memory.
    #[must_use]
    pub fn memory_peak_bytes(&self) -> u64 {
        self.store.data().meter.peak_bytes
    }

    /// The usage of the instance since the last time.
    pub fn take_usage(&mut self) -> Usage {
        let guest = self.store.data_mut();
        Usage { memory_peak_bytes: guest.meter.peak_bytes, ..std::mem::take(&mut guest.usage) }
    }

    /// The lines logged since the last time, oldest first; at most [`LOG_LINES_MAX`](super::LOG_LINES_MAX), the newest.
    pub fn take_log(&mut self) -> Vec<LogLine> {
        self.store.data_mut().log.take()
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
        run: impl FnOnce(&mut Store<GuestState>, &Exports) -> wasmtime::Result<Result<T, String>>,
        check: impl FnOnce(T, &Description, &Limits) -> Result<U, String>,
    ) -> Result<U, GuestError> {
        if let Some(killer) = self.dead {
            return Err(GuestError::early(name, format!("the instance is dead since `{killer}` failed; a new one must take its place")));
        }
        self.store.set_hostcall_fuel(handover_bytes_max);
        if !matches!(begin, Begin::Resumed) {
            let deadlines = if self.is_repeating { REPEATED_DEADLINES } else { 1 };
            let deadline = self.limits.deadline.saturating_mul(deadlines);
            (self.budget, self.reached) = (TimeBudget::new(deadline, self.limits.output_bytes_max), Reached::default());
        }
        let budget = if let Begin::Among(budget) = &begin { budget } else { &self.budget };
        let deadline = budget.limit();
        let Some(left) = budget.next() else {
            let missed = self.kill(name, Fault::Deadline { limit: deadline });
            return Err(GuestError { reached: Some(self.reached), ..missed });
        };
        match &begin {
            Begin::Call(call) => self.store.data_mut().begin(Some(*call)),
            Begin::Aside | Begin::Among(_) => self.store.data_mut().begin(None),
            Begin::Resumed => self.store.data_mut().resume(),
        }
        self.engine.start_call(&mut self.store, left);
        let returned = run(&mut self.store, &self.exports);
        let guest = self.store.data();
        let (elapsed, fuel) = (guest.timer.elapsed(), self.engine.burnt(&self.store));
        if let Begin::Among(budget) = &mut begin { budget } else { &mut self.budget }.spend(elapsed.charged());
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
        self.budget.earn(bytes);
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
        f.debug_struct("Instance").field("index", &self.index).field("dead", &self.dead).finish_non_exhaustive()
    }
}
