//! An instance of the operator as its host sees it: calls that change its cells, snapshots of them, and death in the middle of either.
//!
//! A call that fails leaves its cells half changed. Nobody may look at them any more, and nobody may call it again.

use crate::input::{self, Cells, MARKS, Record, Row};
use crate::shape;
use crate::snapshot;
use crate::world::Sim;
use reprise_core::cells::Chunk;
use reprise_core::codec::snapshot::SnapshotScope;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What a call is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Rows.
    Rows(Vec<Record>),
    /// A watermark.
    Watermark(i64),
}

/// Bytes that a record counts where the host holds it.
const RECORD_BYTES: u64 = 20;
/// Bytes that a call counts beside its rows.
const CALL_BYTES: u64 = 30;

impl Input {
    /// Bytes that the host holds to make the call again.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        CALL_BYTES + if let Self::Rows(rows) = self { rows.len() as u64 * RECORD_BYTES } else { 0 }
    }
}

/// A call failed, or the reading of a snapshot: the instance is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trapped;

/// See the module.
#[derive(Debug)]
pub struct Guest {
    /// Index of the instance of the operator, and how many there are.
    at: u32,
    instances: u32,
    cells: Cells,
    /// Names of cells that changed since the last snapshot, or since the restore.
    changed: BTreeSet<input::CellName>,
    is_dead: bool,
}

impl Guest {
    /// A fresh one, with the state of these chunks.
    #[must_use]
    pub fn restored(at: u32, instances: u32, chunks: &[Rc<Chunk>]) -> Self {
        let mut guest = Self { at, instances, cells: Cells::new(), changed: BTreeSet::new(), is_dead: false };
        guest.restore(chunks);
        guest
    }

    /// Puts chunks into its cells, later ones winning.
    pub fn restore(&mut self, chunks: &[Rc<Chunk>]) {
        chunks.iter().for_each(|chunk| snapshot::replay(&mut self.cells, std::slice::from_ref(chunk.as_ref())));
    }

    /// Makes a call. `struck`: it fails, wherever it has got to; on poison it fails at any rate.
    ///
    /// # Errors
    /// It is dead.
    pub fn call(&mut self, sim: &Sim, input: &Input, struck: bool) -> Result<Vec<Row>, Trapped> {
        if self.is_dead {
            sim.fail("an instance that had failed was called again");
        }
        match input {
            Input::Rows(rows) => self.process(sim, rows, struck),
            Input::Watermark(watermark) => self.mark(sim, *watermark, struck),
        }
    }

    /// Remembers the watermark for each of its keys, whether it came yet or not.
    fn mark(&mut self, sim: &Sim, watermark: i64, struck: bool) -> Result<Vec<Row>, Trapped> {
        for key in sim.input.keys().filter(|key| shape::owner(&[*key], self.instances) == self.at) {
            let name = (MARKS, vec![key], vec![]);
            if !struck || sim.chance(500) {
                self.cells.insert(name.clone(), watermark.to_le_bytes().to_vec());
                self.changed.insert(name);
            }
        }
        self.is_dead = struck;
        if struck { Err(Trapped) } else { Ok(Vec::new()) }
    }

    /// Whatever row comes, it fails.
    #[must_use]
    pub fn is_outgrown(&self, sim: &Sim) -> bool {
        sim.is_outgrown(self.cells.len())
    }

    fn process(&mut self, sim: &Sim, rows: &[Record], struck: bool) -> Result<Vec<Row>, Trapped> {
        if self.is_outgrown(sim) {
            self.is_dead = true;
            return Err(Trapped);
        }
        let poison = rows.iter().position(|record| sim.input.is_poison(record));
        let by_chance = struck.then(|| sim.between(0, rows.len() as u64) as usize);
        let fails_at = poison.into_iter().chain(by_chance).min();
        // The row that it fails at may have done its work, too.
        let done = fails_at.map_or(rows.len(), |at| (at + sim.between(0, 1) as usize).min(rows.len()));
        let Self { cells, changed, .. } = self;
        let outputs = rows[..done].iter().map(|record| input::apply(cells, *record, |name| _ = changed.insert(name.clone()))).collect();
        self.is_dead = fails_at.is_some();
        if self.is_dead { Err(Trapped) } else { Ok(outputs) }
    }

    /// Reads a snapshot to its end. `struck`: it fails in the middle.
    ///
    /// # Errors
    /// It is dead.
    pub fn read(&mut self, sim: &Sim, scope: SnapshotScope, struck: bool) -> Result<Vec<Rc<Chunk>>, Trapped> {
        if self.is_dead {
            sim.fail("an instance that had failed was asked for a snapshot");
        }
        let changed = std::mem::take(&mut self.changed);
        self.is_dead = struck;
        if struck {
            return Err(Trapped);
        }
        let chunks = match scope {
            SnapshotScope::Full => snapshot::chunks(&self.cells, self.cells.keys()),
            SnapshotScope::Delta => snapshot::chunks(&self.cells, changed.iter()),
        };
        Ok(chunks.into_iter().map(Rc::new).collect())
    }

    /// Lets a dead instance live on, which no host may do.
    pub fn raise(&mut self) {
        self.is_dead = false;
    }
}
