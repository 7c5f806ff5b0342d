//! Guests of the operator: calls that change cells, snapshots of them, and death in the middle of either; and the factory that makes guests.
//!
//! A call that fails leaves its cells half changed. The driver must not look at them any more, nor call the guest again.

use crate::input::{self, Cells, MARKS, Record};
use crate::mutation::Mutation;
use crate::operator::Place;
use crate::plan::Fault;
use crate::shape;
use crate::snapshot;
use reprise_core::batch::Batch;
use reprise_core::cells::Chunk;
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::description::Description;
use reprise_core::failure::blame::PASSES_MAX;
use reprise_core::operator::{CallInput, Guest, GuestFault, InstanceFactory, Outcome, VersionedChunk};
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// Of 1000 calls that fail for want of memory, so many are followed by more of it.
const RAISED: u64 = 100;

/// The fault of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trapped {
    call: &'static str,
    /// For want of memory.
    is_limit: bool,
}

impl fmt::Display for Trapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trapped in `{}`", self.call)
    }
}

impl GuestFault for Trapped {
    fn missing() -> Self {
        Self { call: "missing", is_limit: false }
    }

    fn call(&self) -> &str {
        self.call
    }

    fn kind(&self) -> &'static str {
        if self.is_limit { "memory" } else { "trap" }
    }

    fn setting(&self) -> Option<&'static str> {
        self.is_limit.then_some("memory")
    }

    fn backtrace(&self) -> &[String] {
        &[]
    }

    fn log_tail(&self) -> &[String] {
        &[]
    }
}

/// The guest of an instance.
pub struct SimGuest {
    place: Rc<Place>,
    cells: Cells,
    /// Names of cells that changed since the last snapshot, or since the restore.
    changed: BTreeSet<input::CellName>,
    is_dead: bool,
    last_call: u64,
}

/// A snapshot that is being read: the parts that are left, last one first.
pub struct SimReading {
    scope: SnapshotScope,
    parts: Option<Vec<Chunk>>,
}

impl SimGuest {
    /// A fresh one, with the state of these chunks.
    pub fn restored(place: &Rc<Place>, chunks: &[Arc<VersionedChunk>]) -> Self {
        let mut guest = Self { place: Rc::clone(place), cells: Cells::new(), changed: BTreeSet::new(), is_dead: false, last_call: 0 };
        guest.restore(chunks);
        guest
    }

    /// Puts chunks into its cells, later ones winning.
    pub fn restore(&mut self, chunks: &[Arc<VersionedChunk>]) {
        chunks.iter().for_each(|held| snapshot::replay(&mut self.cells, std::slice::from_ref(&held.chunk)));
    }

    fn is_outgrown(&self) -> bool {
        self.place.sim.is_outgrown(self.cells.len())
    }

    fn die(&mut self, call: &'static str, is_limit: bool) -> Trapped {
        self.is_dead = true;
        if !self.place.fails_over.get() {
            self.place.run.fell(self.place.at);
        }
        Trapped { call, is_limit }
    }

    /// A call may fail by chance. Not so often that a sound row would go to quarantine: nobody could tell it from poison.
    fn is_struck(&self, input: &CallInput) -> bool {
        let (place, sim) = (&self.place, &self.place.sim);
        let CallInput::Rows { rows, .. } = input else { return sim.strikes_other_call() };
        let is_safe = rows.len() > 1 || place.passes.get() < PASSES_MAX;
        is_safe && (place.run.takes_doom(place.at) || sim.strikes_call())
    }

    fn make(&mut self, input: &CallInput, struck: bool) -> Result<Outcome, Trapped> {
        if self.is_dead {
            self.place.sim.fail("an instance that had failed was called again");
        }
        match input {
            CallInput::Rows { rows, .. } => self.process(rows, struck),
            CallInput::Watermark(watermark) => self.mark(*watermark, struck),
        }
    }

    /// Remembers the watermark for each of its keys, whether it came yet or not.
    fn mark(&mut self, watermark: i64, struck: bool) -> Result<Outcome, Trapped> {
        let (place, instances) = (Rc::clone(&self.place), self.place.run.shape.instances());
        for key in place.sim.input.keys().filter(|key| shape::owner(&[*key], instances) == place.at) {
            let name = (MARKS, vec![key], vec![]);
            if !struck || place.sim.chance(500) {
                self.cells.insert(name.clone(), watermark.to_le_bytes().to_vec());
                self.changed.insert(name);
            }
        }
        if struck { Err(self.die("advance", false)) } else { Ok(Outcome::default()) }
    }

    fn process(&mut self, rows: &Batch, struck: bool) -> Result<Outcome, Trapped> {
        if self.is_outgrown() {
            return Err(self.die("process", true));
        }
        let place = Rc::clone(&self.place);
        let records: Vec<Record> = rows.rows().map(Record::of_row).collect();
        let poison = records.iter().position(|record| place.sim.input.is_poison(record));
        let by_chance = struck.then(|| place.sim.between(0, records.len() as u64) as usize);
        let fails_at = poison.into_iter().chain(by_chance).min();
        // The row that it fails at may have done its work, too.
        let done = fails_at.map_or(records.len(), |at| (at + place.sim.between(0, 1) as usize).min(records.len()));
        let Self { cells, changed, .. } = self;
        let mut outputs = Batch::new();
        for record in &records[..done] {
            let mark = cells.get(&(MARKS, vec![record.key], vec![])).and_then(|bytes| bytes[..].try_into().ok()).map(i64::from_le_bytes);
            if mark.is_some_and(|mark| mark > i64::from(record.offset)) {
                place.sim.fail(format!("a watermark of {mark:?} came before {record:?}"));
            }
            let row = input::apply(cells, *record, |name| _ = changed.insert(name.clone()));
            row.push_to(&mut outputs);
        }
        if fails_at.is_some() {
            return Err(self.die("process", false));
        }
        let outputs = if outputs.is_empty() { Vec::new() } else { vec![(0, outputs)] };
        Ok(Outcome { outputs, rejected: Vec::new() })
    }
}

impl Guest for SimGuest {
    type Call = u64;
    type Fault = Trapped;
    type Reading = SimReading;

    fn call(&mut self, input: &CallInput, call: u64) -> Result<Outcome, Trapped> {
        let place = Rc::clone(&self.place);
        if place.fails_over.get() {
            // A trial: what it finds out is not left to chance.
            return self.make(input, false);
        }
        self.last_call = call;
        place.spend(0, 3);
        let (struck, is_outgrown) = (self.is_struck(input), self.is_outgrown());
        let made = self.make(input, struck);
        let is_rows = matches!(input, CallInput::Rows { .. });
        match &made {
            Ok(_) => place.passes.set(0),
            Err(_) if is_rows && is_outgrown => {
                place.fails(Fault::Outgrown);
                if place.sim.chance(RAISED) {
                    place.sim.raise();
                }
            }
            Err(_) => place.fails(if is_rows { Fault::Trap } else { Fault::TrapAtWatermark }),
        }
        made
    }

    fn repeat(&mut self, input: &CallInput, _: u64) -> Result<Outcome, Trapped> {
        let place = Rc::clone(&self.place);
        place.spend(0, 2);
        let was = place.fails_over.replace(true);
        let struck = place.sim.strikes_other_call();
        let made = self.make(input, struck);
        place.fails_over.set(was);
        let made = made.inspect_err(|_| place.sim.count(Fault::TrapAtReplay))?;
        if place.sim.is_broken(Mutation::ReplayedOutputsSent) {
            made.outputs.iter().for_each(|(_, rows)| place.send(place.epoch.get(), rows));
        }
        Ok(made)
    }

    fn begin_snapshot(&mut self, scope: SnapshotScope, _: u32) -> SimReading {
        SimReading { scope, parts: None }
    }

    fn read_on(&mut self, reading: &mut SimReading, pauses: &dyn Fn() -> bool, take: &mut dyn FnMut(Chunk)) -> Result<bool, Trapped> {
        let place = Rc::clone(&self.place);
        if self.is_dead {
            place.sim.fail("an instance that had failed was asked for a snapshot");
        }
        if reading.parts.is_none() {
            let changed = std::mem::take(&mut self.changed);
            let mut parts = match reading.scope {
                SnapshotScope::Full => snapshot::chunks(&self.cells, self.cells.keys()),
                SnapshotScope::Delta => snapshot::chunks(&self.cells, changed.iter()),
            };
            parts.reverse();
            reading.parts = Some(parts);
        }
        let parts = reading.parts.get_or_insert_default();
        loop {
            place.spend(0, 3);
            if place.sim.strikes_other_call() {
                place.fails(Fault::TrapAtSnapshot);
                return Err(self.die("snapshot", false));
            }
            let Some(part) = parts.pop() else { return Ok(true) };
            take(part);
            if pauses() {
                return Ok(false);
            }
        }
    }

    fn circumstances(&self) -> u64 {
        self.last_call
    }

    fn instant_ns(&self) -> u64 {
        0
    }
}

/// The factory of the guests of an instance.
#[derive(Clone)]
pub struct SimFactory {
    /// Where the instance is.
    pub place: Rc<Place>,
    /// What the operator says it is.
    pub description: Rc<Description>,
    /// The call of `open`.
    pub open: u64,
}

impl InstanceFactory for SimFactory {
    type Guest = SimGuest;

    fn make(&self, state: &[Arc<VersionedChunk>]) -> Result<SimGuest, (Trapped, &'static str)> {
        let (place, sim) = (&self.place, &self.place.sim);
        if place.fails_over.get() && !state.is_empty() {
            place.spend(0, 30);
            if sim.strikes_other_call() {
                sim.count(Fault::TrapAtRestore);
                return Err((Trapped { call: "restore", is_limit: false }, "while its state was restored"));
            }
        }
        Ok(SimGuest::restored(place, state))
    }

    fn is_wanted(&self) -> bool {
        true
    }

    fn is_aborted(&self) -> bool {
        false
    }

    fn open_call(&self) -> u64 {
        self.open
    }

    fn number(&self, call: u64) -> u64 {
        call
    }

    fn parallelism(&self) -> u32 {
        self.place.run.shape.instances()
    }

    fn description(&self) -> &Description {
        &self.description
    }
}
