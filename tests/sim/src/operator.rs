//! One instance of the operator in the dataflow, as `host/src/engine/operator.rs` has it: a unit of work at a time, which stays until all of it
//! was done. What becomes of one that fails is in [`crate::heal`].

use crate::flow::Taken;
use crate::guest::{Guest, Input, Trapped};
use crate::image::{Entry, Image, InputLog, Standby};
use crate::input::{Record, Row};
use crate::mutation::Mutation;
use crate::plan::Fault;
use crate::run::{EpochContent, EpochReport, Run};
use crate::snapshot::{self, Restored};
use crate::trouble::Then;
use crate::world::Sim;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::failure::blame::PASSES_MAX;
use reprise_core::failure::pace::Pace;
use reprise_core::failure::search::Search;
use reprise_core::ids::Epoch;
use std::rc::Rc;
use std::time::Duration;

/// Work that has to be done before anything else.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// Rows of an epoch.
    Rows(Epoch, Vec<Record>),
    /// A watermark.
    Watermark(i64),
    /// The snapshot of the epoch.
    EndOfEpoch,
}

/// The run is over: the instance cannot come back alone.
pub(crate) struct RunOver;

/// See the module.
pub(crate) struct OperatorInstance {
    pub sim: Sim,
    pub run: Rc<Run>,
    pub at: u32,
    pub epoch: Epoch,
    /// `None` while a successor is being made.
    pub guest: Option<Guest>,
    /// The watermark of each sender, and the one that the guest was told.
    watermarks: Vec<i64>,
    told: i64,
    pub unit: Option<Work>,
    /// There is a chain that deltas may be added to.
    continues: bool,
    /// The state as of the last snapshot. `None` where it is too large to be kept.
    pub image: Option<Image>,
    pub log: InputLog,
    /// Changes that are in the image and in no report yet.
    unreported: Vec<Rc<Chunk>>,
    pub pace: Pace,
    pub standby: Option<Standby>,
    pub search: Search,
    pub snapshot_search: Search,
    /// Failures in a row of the unit as a whole.
    pub failures: u32,
    /// Faults in a row that nobody was to blame for.
    pub passes: u32,
    /// Successors in a row that failed themselves.
    pub revivals_failed: u32,
    pub not_before_ms: u64,
    pub faulted: Vec<Record>,
    pub rows: u64,
    closed: bool,
}

/// Runs an instance to its end, or to that of its run.
pub(crate) async fn operator(sim: Sim, run: Rc<Run>, at: u32, first: Epoch, restored: Restored) {
    let mut instance = OperatorInstance::open(sim, run, at, first, restored);
    while !instance.closed {
        if let Err(RunOver) = instance.work().await {
            instance.run.give_up(&instance.sim);
            return;
        }
    }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl OperatorInstance {
    fn open(sim: Sim, run: Rc<Run>, at: u32, first: Epoch, restored: Restored) -> Self {
        let Restored { cells, continues, watermark } = restored;
        let chunks: Vec<Rc<Chunk>> = snapshot::chunks(&cells, cells.keys()).into_iter().map(Rc::new).collect();
        run.born(&sim, at);
        let pace = Pace::new(millis(sim.plan.trouble.recover_within_ms), sim.plan.trouble.log_bytes_max);
        let mut opened = Self {
            at,
            epoch: first,
            guest: Some(Guest::restored(at, run.shape.instances(), &chunks)),
            watermarks: vec![i64::MIN; run.shape.workers as usize],
            told: watermark,
            unit: None,
            continues,
            image: Some(Image::new(chunks)),
            log: InputLog::default(),
            unreported: Vec::new(),
            pace,
            standby: None,
            search: Search::default(),
            snapshot_search: Search::default(),
            failures: 0,
            passes: 0,
            revivals_failed: 0,
            not_before_ms: 0,
            faulted: Vec::new(),
            rows: 0,
            closed: false,
            sim,
            run,
        };
        opened.hold_image_to_its_limit();
        opened.start_standby();
        opened
    }

    async fn work(&mut self) -> Result<(), RunOver> {
        self.wait().await;
        let Some(unit) = self.unit.take().or_else(|| self.next()) else {
            self.run.changed.wait(&self.sim).await;
            return Ok(());
        };
        match unit {
            Work::Rows(of, rows) => self.work_on_rows(of, rows).await?,
            Work::Watermark(watermark) => self.advance(watermark).await?,
            Work::EndOfEpoch => self.end_epoch().await?,
        }
        self.sim.pause(0, 2).await;
        Ok(())
    }

    /// What has to be done next.
    fn next(&mut self) -> Option<Work> {
        let horizon = if self.sim.is_broken(Mutation::NextEpochTouchesState) { Epoch(u64::MAX) } else { self.epoch };
        let mut flow = self.run.flow.borrow_mut();
        let inbox = &mut flow.to_operators[self.at as usize];
        loop {
            match inbox.take(&self.sim, horizon, self.sim.plan.trouble.unit_rows) {
                Some(Taken::Rows(of, rows)) => return Some(Work::Rows(of, rows)),
                Some(Taken::Watermark(sender, watermark)) => {
                    self.watermarks[sender] = self.watermarks[sender].max(watermark);
                    let all = self.watermarks.iter().copied().min().unwrap_or(i64::MIN);
                    if all > self.told {
                        return Some(Work::Watermark(all));
                    }
                }
                None => return inbox.is_past(self.epoch).then_some(Work::EndOfEpoch),
            }
        }
    }

    /// It may be asked whether a fault on a row has passed.
    pub fn may_pass(&self) -> bool {
        self.passes < PASSES_MAX
    }

    /// A call may fail by chance. Not so often that a sound row would go to quarantine: nobody could tell it from poison.
    fn is_struck(&self, input: &Input) -> bool {
        let Input::Rows(rows) = input else { return self.sim.strikes_other_call() };
        let is_safe = self.sim.plan.trouble.then != Then::Quarantine
            || rows.len() > 1
            || self.may_pass()
            || (!self.search.is_narrowing() && self.failures < self.sim.plan.trouble.retries);
        is_safe && (self.run.takes_doom(self.at) || self.sim.strikes_call())
    }

    /// Makes a call. Gives what it returned, and how long it took.
    async fn call(&mut self, input: &Input) -> Result<(Vec<Row>, Duration), Trapped> {
        let busy = self.sim.between(0, 3);
        self.sim.sleep(busy).await;
        let struck = self.is_struck(input);
        let outputs = match &mut self.guest {
            Some(guest) => guest.call(&self.sim, input, struck)?,
            None => return Err(Trapped),
        };
        self.passes = 0;
        if self.run.guard.borrow_mut().success() {
            self.sim.tell(self.run.host, "the operator goes on after its pause");
            self.sim.count(Fault::BreakerCloses);
        }
        Ok((outputs, millis(busy)))
    }

    fn log_call(&mut self, input: Input, outputs: Vec<Row>, busy: Duration) {
        let is_forgotten = self.sim.is_broken(Mutation::WatermarksNotLogged) && matches!(input, Input::Watermark(_));
        if self.image.is_some() && !is_forgotten {
            self.log.push(Entry { input, outputs: Some(outputs) }, busy);
        }
    }

    async fn work_on_rows(&mut self, of: Epoch, mut rows: Vec<Record>) -> Result<(), RunOver> {
        if self.snapshot_if_due(Input::Rows(rows.clone()).bytes()).await.is_err() {
            return self.snapshot_failed(Work::Rows(of, rows)).await;
        }
        let piece = self.search.piece(rows.len());
        let given = Input::Rows(rows[..piece].to_vec());
        match self.call(&given).await {
            Ok((outputs, busy)) => {
                self.search.succeeded(piece);
                if !self.search.is_narrowing() {
                    self.failures = 0;
                }
                self.rows += piece as u64;
                self.send(of, &outputs);
                self.log_call(given, outputs, busy);
                let left = rows.split_off(piece);
                self.unit = (!left.is_empty()).then_some(Work::Rows(of, left));
                Ok(())
            }
            Err(Trapped) => self.rows_failed(of, rows, given).await,
        }
    }

    /// Sends rows to the sinks.
    pub fn send(&self, of: Epoch, outputs: &[Row]) {
        let mut flow = self.run.flow.borrow_mut();
        for row in outputs {
            let to = row.record.sink(self.run.shape.workers) as usize;
            flow.to_sinks[to].push_row(self.at as usize, of, *row);
        }
        drop(flow);
        self.run.changed.notify(&self.sim);
    }

    async fn advance(&mut self, watermark: i64) -> Result<(), RunOver> {
        let given = Input::Watermark(watermark);
        match self.call(&given).await {
            Ok((outputs, busy)) => {
                self.search.succeeded(0);
                self.told = watermark;
                self.log_call(given, outputs, busy);
                Ok(())
            }
            Err(Trapped) => self.watermark_failed(watermark).await,
        }
    }

    async fn end_epoch(&mut self) -> Result<(), RunOver> {
        let Ok(snapshot) = self.snapshot().await else {
            return self.snapshot_failed(Work::EndOfEpoch).await;
        };
        self.snapshot_search.succeeded(0);
        let (sim, run) = (&self.sim, &self.run);
        let me = self.at as usize;
        let mut flow = run.flow.borrow_mut();
        self.closed = flow.to_operators[me].last().is_some_and(|last| self.epoch >= last);
        flow.end_operator_epoch(me, self.epoch, self.closed);
        drop(flow);
        let faulted = match sim.is_broken(Mutation::FaultedReportedAgain) {
            true => self.faulted.clone(),
            false => std::mem::take(&mut self.faulted),
        };
        let content = EpochContent::Operator { snapshot, watermark: self.told, rows: std::mem::take(&mut self.rows), faulted };
        let from = Participant { node: Node::Operator(0), instance: self.at };
        run.report(sim, EpochReport { from, epoch: self.epoch, closed: self.closed, content });
        run.changed.notify(sim);
        self.epoch = self.epoch.next();
        Ok(())
    }

    async fn read_snapshot(&mut self, scope: SnapshotScope) -> Result<Vec<Rc<Chunk>>, Trapped> {
        self.sim.pause(0, 2).await;
        let struck = self.sim.strikes_other_call();
        match &mut self.guest {
            Some(guest) => guest.read(&self.sim, scope, struck),
            None => Err(Trapped),
        }
    }

    /// The snapshot of an epoch.
    async fn snapshot(&mut self) -> Result<Option<(SnapshotScope, Vec<Rc<Chunk>>)>, Trapped> {
        let is_asked = self.run.flow.borrow().ask_full.contains(&self.at);
        if self.continues && !is_asked {
            self.save_changes().await?;
            if self.unreported.is_empty() {
                return Ok(None);
            }
            if self.sim.plan.chain_length_max > 0 {
                return Ok(Some((SnapshotScope::Delta, std::mem::take(&mut self.unreported))));
            }
            if self.sim.is_broken(Mutation::FullForgetsChanges) {
                self.unreported.clear();
            }
        }
        let full = self.read_snapshot(SnapshotScope::Full).await?;
        self.run.flow.borrow_mut().ask_full.remove(&self.at);
        self.unreported.clear();
        self.log.clear();
        if self.image.is_some() {
            self.image = Some(Image::new(full.clone()));
            // Cells that are gone are in no full snapshot: the standby would keep them.
            self.dismiss_standby();
        }
        self.hold_image_to_its_limit();
        self.start_standby();
        if full.is_empty() && !self.continues {
            return Ok(None);
        }
        self.continues = true;
        Ok(Some((SnapshotScope::Full, full)))
    }

    /// Reads what has changed since the last snapshot into the image.
    async fn save_changes(&mut self) -> Result<(), Trapped> {
        if self.sim.is_broken(Mutation::LogClearedTooSoon) {
            self.log.clear();
        }
        let began = self.sim.now();
        let changes = self.read_snapshot(SnapshotScope::Delta).await?;
        self.pace.note_snapshot(millis(self.sim.now() - began));
        if !self.sim.is_broken(Mutation::LogNotCleared) {
            self.log.clear();
        }
        self.unreported.extend(changes.iter().cloned());
        let Some(image) = &mut self.image else { return Ok(()) };
        image.append(&self.sim, &changes);
        let misses = self.sim.is_broken(Mutation::StandbyMissesSnapshot);
        if !changes.is_empty() && !misses && self.standby.as_ref().is_some_and(|standby| !standby.apply(&self.sim, changes)) {
            self.sim.count(Fault::StandbyBehind);
            self.dismiss_standby();
        }
        self.hold_image_to_its_limit();
        self.start_standby();
        Ok(())
    }

    /// Reads a snapshot where making the calls since the last one again would take too long, or too much memory.
    async fn snapshot_if_due(&mut self, more: u64) -> Result<(), Trapped> {
        let Some(image) = &self.image else { return Ok(()) };
        if !self.pace.is_due(image.bytes(), self.log.logged, more, self.standby.is_some()) {
            return Ok(());
        }
        let reported = self.unreported.len();
        self.save_changes().await?;
        if self.sim.is_broken(Mutation::LocalChangesNotReported) {
            self.unreported.truncate(reported);
        }
        self.sim.tell(self.run.host, format_args!("takes a snapshot of instance {} between two checkpoints", self.at));
        self.sim.count(Fault::LocalSnapshot);
        self.snapshot_search.succeeded(0);
        Ok(())
    }

    /// Gives the image up where it is too large.
    fn hold_image_to_its_limit(&mut self) {
        if self.image.as_ref().is_some_and(|image| image.bytes() > self.sim.plan.trouble.copy_bytes_max) {
            self.sim.count(Fault::ImageTooLarge);
            self.image = None;
            self.dismiss_standby();
            self.log.clear();
        }
    }

    /// Starts a standby where there should be one.
    pub fn start_standby(&mut self) {
        if let Some(image) = self.image.as_ref().filter(|_| self.sim.plan.trouble.standby && self.standby.is_none()) {
            self.standby = Some(Standby::start(&self.sim, &self.run, self.at, image.chunks().to_vec()));
        }
    }

    fn dismiss_standby(&mut self) {
        if let Some(standby) = self.standby.take() {
            standby.dismiss(&self.sim);
        }
    }
}
