//! What must hold: at every moment for those who look from outside and for what is stored, and at the end.
//!
//! | when | what |
//! |---|---|
//! | a file becomes visible | all visible output is a beginning of what a run without faults makes, each record once, counts 1, 2, 3 ... a key |
//! | a file is taken back | only after damage, or where somebody went back to an older checkpoint |
//! | a fenced host publishes | only what somebody else found in a checkpoint too |
//! | a manifest is created | its objects are there, and are the state of exactly the records before its positions |
//! | | each cell is with the instance that owns its key |
//! | a manifest counts | its number had not been used before by somebody newer |
//! | an object is deleted | no retained manifest and no savepoint reaches it |
//! | a run is done | of its manifests there are no more than are to be kept |
//! | a run begins | from the newest checkpoint there was |
//! | an instance of the operator is made | it is the first one of its run, or the one before it has failed |
//! | the end | the output, the state and the refused rows of a run without faults and without poison; in quarantine is all poison, each row once |

use crate::clockwork::HostId;
use crate::input::{self, CellName, Cells, MARKS, Record};
use crate::outbox::Token;
use crate::plan::Fault;
use crate::shape;
use crate::snapshot;
use crate::store::Bytes;
use crate::take_up::positions;
use crate::world::Sim;
use reprise_core::checkpoint::faulted::FaultedRows;
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, Quarantine};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::recovery::RecoveredJob;
use reprise_core::codec::parked::ParkedItem;
use reprise_core::codec::record;
use reprise_core::ids::{Epoch, Generation};
use std::collections::{BTreeMap, BTreeSet};

/// What it has seen.
#[derive(Default)]
pub struct Oracle {
    claims: BTreeMap<Generation, HostId>,
    /// The manifests in the store, as they were written.
    stored: BTreeMap<Epoch, Manifest>,
    /// The manifest that was the first of its number.
    history: BTreeMap<Epoch, Manifest>,
    /// Numbers at which a manifest was created when a later one existed, and by which other generations than the first.
    reused: BTreeSet<(Epoch, Generation)>,
    /// Those of them that are in the store.
    stale: BTreeSet<Epoch>,
    /// The newest run that has put the outbox in order.
    newest_run: Option<Generation>,
    /// Output that the checkpoints name from which runs began.
    found: BTreeSet<Token>,
    /// Savepoints that count.
    savepoints: BTreeMap<String, Manifest>,
    /// No checkpoint could be used.
    refused: bool,
}

impl Oracle {
    /// The newest generation that anybody holds.
    #[must_use]
    pub fn newest_claim(&self) -> Generation {
        self.claims.keys().next_back().copied().unwrap_or(Generation(0))
    }

    /// The newest manifest in the store and those that it came from, as far as they are there, newest first. What a request that came late
    /// put at a number that had been used before is not one of them.
    pub fn line(&self) -> impl Iterator<Item = &Manifest> {
        let newest = self.stored.values().next_back();
        let is_first = |manifest: &&Manifest| !self.stale.contains(&manifest.epoch);
        std::iter::successors(newest, move |manifest| self.stored.get(&manifest.parent?).filter(is_first))
    }

    /// The epochs of all manifests in the store.
    pub fn stored(&self) -> impl Iterator<Item = Epoch> {
        self.stored.keys().copied()
    }

    /// All that the newest manifest came from, deleted or not.
    fn ancestors(&self) -> impl Iterator<Item = &Manifest> {
        let newest = self.stored.values().next_back();
        std::iter::successors(newest, |manifest| self.history.get(&manifest.parent?))
    }

    /// Savepoints of the present line of history: the output up to them is visible.
    #[must_use]
    pub fn usable_savepoints(&self) -> Vec<String> {
        let is_in_line = |saved: &Manifest| self.ancestors().any(|m| m.epoch == saved.epoch && m.generation == saved.generation);
        self.savepoints.iter().filter(|(_, manifest)| is_in_line(manifest)).map(|(name, _)| name.clone()).collect()
    }

    /// The newest manifest says that all input has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stored.values().next_back().is_some_and(|manifest| manifest.finished)
    }

    /// No checkpoint could be used: the job cannot go on.
    pub fn refuse(&mut self) {
        self.refused = true;
    }

    /// An object was damaged or lost, as no request can.
    pub fn damaged(&mut self, path: &str, lost: bool) {
        if let (true, Some(epoch)) = (lost, paths::manifest_epoch(path)) {
            self.stored.remove(&epoch);
        }
        // Nobody can tell any more what it reaches.
        if let Some(name) = paths::savepoint_name(path) {
            self.savepoints.remove(name);
        }
    }

    /// There is a savepoint that counts.
    #[must_use]
    pub fn has_savepoint(&self) -> bool {
        !self.savepoints.is_empty()
    }
}

impl Sim {
    /// A generation was claimed; `before` is the one of the run that the host restarts.
    pub fn check_claimed(&self, host: HostId, generation: Generation, before: Option<Generation>) {
        let mut oracle = self.oracle.borrow_mut();
        // A claim that was deleted and is made again is behind a newer one, and its host finds that out.
        let is_newest = generation >= oracle.newest_claim();
        if let Some(other) = oracle.claims.insert(generation, host).filter(|_| is_newest) {
            return self.fail(format!("hosts {other} and {host} both hold generation {generation}"));
        }
        if before.is_some_and(|before| generation.0 != before.0 + 1) {
            self.fail(format!("host {host} restarts its run and takes the job from a successor with generation {generation}"));
        }
    }

    /// An object was created.
    pub(crate) fn check_created(&self, path: &str, bytes: &Bytes) {
        let Some(epoch) = paths::manifest_epoch(path) else { return };
        let manifest: Manifest = match record::decode(bytes) {
            Ok(manifest) => manifest,
            Err(error) => return self.fail(format!("{path} cannot be read: {error}")),
        };
        let mut oracle = self.oracle.borrow_mut();
        if oracle.history.contains_key(&epoch) {
            self.count(Fault::ReusedNumber);
        }
        if oracle.stored.keys().next_back().is_some_and(|newest| *newest > epoch) {
            oracle.stale.insert(epoch);
            // The run that was the first there may put the same once more, by a request that comes late.
            if oracle.history.get(&epoch).is_none_or(|first| first.generation != manifest.generation) {
                oracle.reused.insert((epoch, manifest.generation));
            }
        }
        oracle.history.entry(epoch).or_insert_with(|| manifest.clone());
        oracle.stored.insert(epoch, manifest.clone());
        // What a fenced host writes is nobody's checkpoint.
        let is_fenced = oracle.newest_run.is_some_and(|newest| newest > manifest.generation);
        let is_stale = oracle.stale.contains(&epoch);
        drop(oracle);
        if is_fenced || is_stale {
            return;
        }
        if let Err(reason) = self.check_cut(&manifest) {
            self.fail(format!("manifest {epoch} of generation {}: {reason}", manifest.generation));
        }
        let instances = manifest.operators.iter().flat_map(|operator| &operator.instances);
        let mut refused = manifest.sources.iter().flat_map(|source| &source.quarantine).chain(instances.flat_map(|at| &at.quarantine));
        if let Some(object) = refused.find(|object| self.store.borrow().peek(&object.path).is_none()) {
            self.fail(format!("manifest {epoch} of generation {}: {} is missing", manifest.generation, object.path));
        }
    }

    /// The manifest is one consistent cut: the state is the one of exactly the records before its positions.
    fn check_cut(&self, manifest: &Manifest) -> Result<(), String> {
        let store = self.store.borrow();
        if manifest.objects().any(|object| store.damaged.contains(&object.path)) {
            return Ok(());
        }
        let (mut cells, mut parked) = (Cells::new(), Vec::new());
        for operator in &manifest.operators {
            for (instance, state) in (0..).zip(&operator.instances) {
                let mut own = snapshot::cells_of(operator, (state, instance), |path| store.peek(path))?;
                let is_strange = |name: &&CellName| shape::owner(&name.1, operator.instances.len() as u32) != instance;
                if let Some((_, key, _)) = own.keys().find(is_strange) {
                    return Err(format!("instance {instance} has a cell of the key {key:?}, which is another one's"));
                }
                for of in &state.parked {
                    let waiting = snapshot::waiting(store.peek(&of.object.path).as_deref(), of)?;
                    self.work_off(
                        &mut own,
                        &waiting,
                        |key| shape::owner(&[key], operator.instances.len() as u32) == instance,
                        &mut parked,
                    )?;
                }
                cells.extend(own);
            }
        }
        let at = positions(self, Some(manifest));
        if cells != self.input.cells(&at) {
            return Err(format!("its state is not the one of the records before {at:?}"));
        }
        let taken = self.input.taken(&at);
        let refused = self.input.refused(&at).len() as u64;
        let source: (u64, u64) = manifest.sources.iter().fold((0, 0), |(rows, rejected), s| (rows + s.rows, rejected + s.rejected));
        let instances = manifest.operators.iter().flat_map(|operator| &operator.instances);
        let operator = instances.fold((0, 0), |(rows, rejected), instance| (rows + instance.rows, rejected + instance.rejected));
        let sink: u64 = manifest.sinks.iter().map(|sink| sink.rows).sum();
        let poison = self.input.poison(&at).len() as u64;
        let (waits, waits_poison) = (parked.len() as u64, parked.iter().filter(|record| self.input.is_poison(record)).count() as u64);
        let (operator, sink) = ((operator.0 + waits, operator.1 + waits_poison), sink + waits - waits_poison);
        if (source, operator, sink) != ((taken, refused), (taken, poison), taken - poison) {
            let counts = format!("{source:?}, {operator:?}, {sink} rows");
            return Err(format!("it counts {counts}; {taken} were read, {refused} refused, and {poison} are poison"));
        }
        Ok(())
    }

    /// Does to the cells of an instance what it will do when it works parked input off, and adds the records of that.
    fn work_off(
        &self,
        cells: &mut Cells,
        waiting: &[ParkedItem],
        is_own: impl Fn(u8) -> bool,
        parked: &mut Vec<Record>,
    ) -> Result<(), String> {
        for item in waiting {
            match item {
                ParkedItem::Rows { rows, .. } => {
                    for record in rows.rows().map(Record::of_row) {
                        if !is_own(record.key) {
                            return Err(format!("{record:?} is parked at another instance than its own"));
                        }
                        if !self.input.is_poison(&record) {
                            input::apply(cells, record, |_| {});
                        }
                        parked.push(record);
                    }
                }
                ParkedItem::Watermark(watermark) => {
                    for key in self.input.keys().filter(|key| is_own(*key)) {
                        let name = (MARKS, vec![key], vec![]);
                        let told = cells.get(&name).and_then(|bytes| bytes[..].try_into().ok()).map_or(i64::MIN, i64::from_le_bytes);
                        cells.insert(name, told.max(*watermark).to_le_bytes().to_vec());
                    }
                }
            }
        }
        Ok(())
    }

    /// A manifest counts as a checkpoint for the host that wrote it.
    pub fn check_completed(&self, host: HostId, manifest: &Manifest) {
        if self.oracle.borrow().reused.contains(&(manifest.epoch, manifest.generation)) {
            self.fail(format!("host {host} counts on manifest {}, whose number had been used before", manifest.epoch));
        }
    }

    /// A run is done, has swept for the last time, and was not replaced.
    pub fn check_retained(&self, host: HostId, generation: Generation) {
        let oracle = self.oracle.borrow();
        let own = |manifest: &&Manifest| manifest.generation == generation && !manifest.taken_over;
        let left = oracle.stored.values().filter(|manifest| !oracle.stale.contains(&manifest.epoch)).filter(own).count();
        if left > self.plan.keep {
            self.fail(format!("host {host} is done, and {left} of its manifests are left, where {} are to be kept", self.plan.keep));
        }
    }

    /// An opening is through.
    pub fn check_taken_up(&self, host: HostId, up: &RecoveredJob) {
        let mut oracle = self.oracle.borrow_mut();
        let staged = up.base.iter().flat_map(|base| &base.sinks).flat_map(|sink| &sink.staged);
        oracle.found.extend(staged.filter_map(|staged| Token::parse(&staged.token)));
        if up.taken.as_ref().is_some_and(|taken| oracle.reused.contains(&(taken.epoch, taken.generation))) {
            self.fail(format!("host {host} begins from a checkpoint that was not the newest one"));
        }
    }

    /// A run has put the outbox in order, and begins.
    pub fn check_begun(&self, up: &RecoveredJob) {
        let mut oracle = self.oracle.borrow_mut();
        oracle.newest_run = oracle.newest_run.max(Some(up.generation));
    }

    /// A savepoint counts.
    pub fn check_saved(&self, name: &str, manifest: &Manifest) {
        if let Err(reason) = self.check_cut(manifest) {
            self.fail(format!("savepoint {name}: {reason}"));
        }
        // One that was damaged meanwhile: nobody can tell what it reaches.
        if paths::savepoint(name).is_some_and(|path| self.store.borrow().damaged.contains(&path)) {
            return;
        }
        self.oracle.borrow_mut().savepoints.insert(name.to_owned(), manifest.clone());
    }

    /// An object was deleted.
    pub(crate) fn check_deleted(&self, path: &str) {
        if let Some(epoch) = paths::manifest_epoch(path) {
            let mut oracle = self.oracle.borrow_mut();
            oracle.stored.remove(&epoch);
            oracle.stale.remove(&epoch);
            return;
        }
        let oracle = self.oracle.borrow();
        let reaches = |manifest: &&Manifest| manifest.objects().any(|object| object.path == path);
        if let Some(manifest) = oracle.line().find(reaches) {
            return self.fail(format!("{path} was deleted, and manifest {} needs it", manifest.epoch));
        }
        // Refused rows are not needed for taking up again.
        let mut saved = oracle.savepoints.iter().filter(|_| paths::snapshot_origin(path).is_some());
        if let Some((name, _)) = saved.find(|(_, manifest)| reaches(manifest)) {
            self.fail(format!("{path} was deleted, and savepoint {name} needs it"));
        }
    }

    /// A file became visible.
    pub(crate) fn check_visible(&self, by: Generation, token: Token) {
        let oracle = self.oracle.borrow();
        if oracle.newest_run.is_some_and(|newest| newest > by) && !oracle.found.contains(&token) {
            return self.fail(format!("generation {by} is fenced, and makes {} visible", token.text()));
        }
        drop(oracle);
        if let Err(reason) = self.check_output() {
            self.fail(format!("with {} visible: {reason}", token.text()));
        }
    }

    /// A file was taken back.
    pub(crate) fn check_taken_back(&self) {
        if !self.plan.damage && self.plan.rewinds == 0 {
            self.fail("visible output was taken back, and nothing was damaged");
        }
    }

    /// Everything visible is a beginning of the output without faults. Gives the number of rows.
    fn check_output(&self) -> Result<u64, String> {
        let outbox = self.outbox.borrow();
        let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
        let mut next: BTreeMap<(u8, u8), u32> = BTreeMap::new();
        let mut all = 0;
        for ((epoch, _), rows) in outbox.seen() {
            for row in rows.iter() {
                let record = row.record;
                if self.input.is_poison(&record) {
                    return Err(format!("epoch {epoch} has a row of {record:?}, which is poison"));
                }
                let count = counts.entry(record.key).or_insert(0);
                *count += 1;
                if row.count != *count {
                    return Err(format!("epoch {epoch} has count {} of key {}, {count} was next", row.count, record.key));
                }
                let offset = next.entry((record.key, record.split)).or_insert(0);
                if record.offset < *offset {
                    return Err(format!("epoch {epoch} has record {record:?} again, or too late"));
                }
                *offset = record.offset + 1;
                if row.last != self.input.last_before(record) {
                    return Err(format!("epoch {epoch} remembers {:?} at record {record:?}", row.last));
                }
                all += 1;
            }
        }
        Ok(all)
    }

    /// Nothing moves any more.
    pub(crate) fn check_end(&self) {
        let checked = match self.check_output() {
            Ok(_) if self.oracle.borrow().refused => Ok(()),
            Ok(rows) => self.check_finished(rows),
            Err(reason) => Err(reason),
        };
        if let Err(reason) = checked {
            self.fail(format!("at the end: {reason}"));
        }
    }

    fn check_finished(&self, rows: u64) -> Result<(), String> {
        let oracle = self.oracle.borrow();
        let ends = self.input.ends();
        let due = self.input.taken(&ends) - self.input.poison(&ends).len() as u64;
        if rows != due {
            return Err(format!("{rows} rows are visible, {due} were to come"));
        }
        let last = oracle.line().next().filter(|last| last.finished).ok_or("the newest manifest is not of a finished job")?;
        if positions(self, Some(last)) != ends {
            return Err("the last manifest does not stand at the end of all splits".into());
        }
        self.check_cut(last)?;
        for manifest in oracle.line() {
            let store = self.store.borrow();
            let missing = |path: &&str| store.peek(path).is_none() && !store.damaged.contains(*path);
            if let Some(path) = manifest.objects().map(|object| object.path.as_str()).find(missing) {
                return Err(format!("manifest {} is retained, and {path} is missing", manifest.epoch));
            }
        }
        drop(oracle);
        self.check_quarantine(&ends)
    }

    /// In quarantine is what the source refuses and what the operator fails on, each row once.
    fn check_quarantine(&self, ends: &[u32]) -> Result<(), String> {
        let oracle = self.oracle.borrow();
        let read = |object: &ObjectRef| self.store.borrow().peek(&object.path).ok_or_else(|| format!("{} is missing", object.path));
        let (mut refused, mut poison) = (Vec::new(), Vec::new());
        for manifest in oracle.ancestors() {
            for object in manifest.sources.iter().flat_map(|source| &source.quarantine) {
                let quarantine: Quarantine = record::decode(&read(object)?).map_err(|error| format!("{}: {error}", object.path))?;
                refused.extend(quarantine.rows.into_iter().map(|row| row.origin));
            }
            for object in manifest.operators.iter().flat_map(|operator| &operator.instances).flat_map(|instance| &instance.quarantine) {
                let faulted: FaultedRows = record::decode(&read(object)?).map_err(|error| format!("{}: {error}", object.path))?;
                faulted.check().map_err(|reason| format!("{}: {reason}", object.path))?;
                poison.extend(faulted.rows.into_iter().map(|faulted| faulted.row.origin));
            }
        }
        for (kind, mut found, expected) in
            [("refused rows", refused, self.input.refused(ends)), ("poisonous rows", poison, self.input.poison(ends))]
        {
            found.sort();
            let mut expected: Vec<String> = expected.iter().map(|record| format!("{}:{}", record.split, record.offset)).collect();
            expected.sort();
            if found != expected {
                return Err(format!("the {kind} in quarantine are {found:?}, not {expected:?}"));
            }
        }
        Ok(())
    }
}
