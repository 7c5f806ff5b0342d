//! Runs an operator in `cargo test`, without Wasm and without a host.
//!
//! The harness drives the very code that drives the operator inside a component, snapshots and restores included. What it cannot show is
//! what only a sandbox has: limits of memory and time, and traps.

use crate::operator::{Context, Declared};
use crate::output::PIECE_BYTES_MAX;
use crate::rows::Batch;
use crate::runner::{Runner, SlotDescription};
use crate::runtime::Level;
use crate::runtime::host::STAND_IN;
pub use crate::state::{Chunk, Scope};
use crate::{Description, Emitted, Rejection};

/// Bytes of a piece of a snapshot where a test does not say.
const PART_BYTES_MAX: usize = 1 << 20;

/// A row that was emitted.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Event time.
    pub time: i64,
    /// Key.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} = {}", self.time, self.key.escape_ascii(), self.value.escape_ascii())
    }
}

/// What a call did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The rows that were emitted, by output.
    pub outputs: Vec<Vec<Row>>,
    /// The rows that were refused.
    pub rejected: Vec<Rejection>,
}

impl Answer {
    /// Key and value of each row of the first output as text, bytes that are not ASCII escaped.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        let rows = self.outputs.first().into_iter().flatten();
        rows.map(|row| (row.key.escape_ascii().to_string(), row.value.escape_ascii().to_string())).collect()
    }
}

/// One instance of an operator.
#[derive(Debug)]
pub struct Harness<O: Declared> {
    runner: Runner<O>,
    context: Context,
    ports: usize,
    /// Versions of the slots.
    versions: Vec<u32>,
}

impl<O: Declared> Harness<O> {
    /// Opens the operator with a config, which is JSON. It is the only instance.
    ///
    /// # Errors
    /// What `open` says.
    pub fn new(config: &str) -> Result<Self, String> {
        Self::with_context(Context { config: config.to_owned(), instance: 0, parallelism: 1 })
    }

    /// Opens the operator as one of several instances.
    ///
    /// # Errors
    /// What `open` says.
    pub fn with_context(context: Context) -> Result<Self, String> {
        let mut runner = Runner::default();
        runner.open(&context, PIECE_BYTES_MAX)?;
        let (description, slots) = Runner::<O>::describe();
        let versions = slots.iter().map(|slot| slot.version).collect();
        Ok(Self { runner, context, ports: description.outputs.len(), versions })
    }

    /// What the operator tells the host of itself.
    #[must_use]
    pub fn describe() -> (Description, Vec<SlotDescription>) {
        Runner::<O>::describe()
    }

    /// The operator, to look at its state.
    #[must_use]
    pub fn operator(&self) -> &O {
        self.runner.operator()
    }

    #[cfg(test)]
    pub(crate) fn runner_mut(&mut self) -> &mut Runner<O> {
        &mut self.runner
    }

    /// Hands rows (time, key, value) to the first input.
    ///
    /// # Errors
    /// What the operator says.
    pub fn process<K: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, rows: impl IntoIterator<Item = (i64, K, V)>) -> Result<Answer, String> {
        self.process_on(0, rows)
    }

    /// Hands rows to the input with this index.
    ///
    /// # Errors
    /// What the operator says.
    pub fn process_on<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        input: u32,
        rows: impl IntoIterator<Item = (i64, K, V)>,
    ) -> Result<Answer, String> {
        let mut batch = Batch::default();
        for (time, key, value) in rows {
            batch.times.push(time);
            batch.keys.extend_from_slice(key.as_ref());
            batch.key_ends.push(batch.keys.len() as u32);
            batch.values.extend_from_slice(value.as_ref());
            batch.value_ends.push(batch.values.len() as u32);
        }
        let outcome = self.runner.process(input, &batch)?;
        Ok(Answer { outputs: self.rows(outcome.emitted), rejected: outcome.rejected })
    }

    /// Tells a watermark; [`END_OF_INPUT`](crate::END_OF_INPUT) is the last one.
    ///
    /// # Errors
    /// What the operator says.
    pub fn advance(&mut self, watermark: i64) -> Result<Answer, String> {
        let emitted = self.runner.advance(watermark)?;
        Ok(Answer { outputs: self.rows(emitted), rejected: Vec::new() })
    }

    /// Takes a snapshot, read to its end.
    ///
    /// # Errors
    /// Where a value cannot be encoded.
    pub fn snapshot(&mut self, scope: Scope) -> Result<Vec<Chunk>, String> {
        self.snapshot_in_parts(scope, PART_BYTES_MAX)
    }

    /// Takes a snapshot in pieces of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Where a value cannot be encoded.
    pub fn snapshot_in_parts(&mut self, scope: Scope, bytes_max: usize) -> Result<Vec<Chunk>, String> {
        let mut chunks = Vec::new();
        loop {
            let part = self.runner.snapshot(scope, bytes_max)?;
            chunks.extend(part.chunks);
            if part.done {
                return Ok(chunks);
            }
        }
    }

    /// Sets the cells of chunks: those of a full snapshot, then those of the changes since.
    ///
    /// # Errors
    /// Where a chunk cannot be understood.
    pub fn restore(&mut self, chunks: &[Chunk]) -> Result<(), String> {
        let version = |chunk: &Chunk| self.versions.get(chunk.slot as usize).copied().unwrap_or_default();
        chunks.iter().try_for_each(|chunk| self.runner.restore(version(chunk), chunk))
    }

    /// Sets the cells of chunks that an older version of the operator wrote, whose slots had this version: what the host does when a job goes
    /// on with a new version of its component.
    ///
    /// # Errors
    /// Where a chunk cannot be understood.
    pub fn restore_version(&mut self, version: u32, chunks: &[Chunk]) -> Result<(), String> {
        chunks.iter().try_for_each(|chunk| self.runner.restore(version, chunk))
    }

    /// What the host does after a fault: takes a full snapshot, and goes on with a new instance that knows nothing else. A test that calls
    /// this at any place and sees another result has found state that was not declared.
    ///
    /// # Errors
    /// Where taking, opening or restoring fails.
    pub fn restarted(mut self) -> Result<Self, String> {
        let chunks = self.snapshot(Scope::Full)?;
        let mut fresh = Self::with_context(self.context)?;
        fresh.restore(&chunks)?;
        Ok(fresh)
    }

    /// All rows that a call emitted, by output; `emitted` is the first piece.
    fn rows(&mut self, mut emitted: Emitted) -> Vec<Vec<Row>> {
        let row = |record: crate::Record<'_>| Row { time: record.time, key: record.key.to_vec(), value: record.value.to_vec() };
        let mut ports = vec![Vec::new(); self.ports];
        loop {
            for (port, batch) in &emitted.outputs {
                ports[*port as usize].extend(batch.rows(0).into_iter().map(row));
            }
            if !emitted.more {
                return ports;
            }
            emitted = self.runner.resume();
        }
    }
}

/// What [`runtime::now`](crate::runtime::now) answers in this thread from now on.
pub fn set_now(time: i64) {
    STAND_IN.with_borrow_mut(|host| host.now = time);
}

/// The lines logged in this thread since the last call.
#[must_use]
pub fn take_log() -> Vec<(Level, String)> {
    STAND_IN.with_borrow_mut(|host| std::mem::take(&mut host.lines))
}

/// What a counter of this thread stands at.
#[must_use]
pub fn counter(metric: &str) -> u64 {
    STAND_IN.with_borrow(|host| host.counters.get(metric).copied().unwrap_or(0))
}

#[cfg(test)]
#[path = "harness_tests.rs"]
mod tests;
