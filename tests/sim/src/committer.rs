//! The driver of a committer, over the store and the sinks of the simulation: it carries out what the committer of a real job decides, as
//! `host/src/job/committer/` does.

use crate::client::Created;
use crate::clockwork::{Queue, Scope, WHOLE};
use crate::host;
use crate::mutation::Mutation;
use crate::outbox::SinkFault;
use crate::plan::{Drill, Fault, Point};
use crate::run::Run;
use crate::store::Bytes;
use crate::sweep;
use crate::world::Sim;
use reprise_core::cells::{Cell, Chunk};
use reprise_core::checkpoint::committer::{Committer, CommitterAction, CommitterEvent};
use reprise_core::checkpoint::compaction::Compaction;
use reprise_core::checkpoint::fenced_committer::CommitterError;
use reprise_core::checkpoint::manifest::{Manifest, StagedRef};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::publishing::LaneOutput;
use reprise_core::codec::record;
use reprise_core::ids::Epoch;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// How often the end of a run looks whether its sweep has ended, before that is cut short.
const SWEEP_LOOKS_MAX: u64 = 50;
/// Time between two looks, in milliseconds.
const SWEEP_LOOK_MS: u64 = 100;

/// Longest time in milliseconds before a publisher beside the driver begins with an output.
const PUBLISH_MS_MAX: u64 = 150;
/// The same where savepoints are drilled: they are to find checkpoints that are ahead of their output.
const PUBLISH_MS_DRILLED: u64 = 500;
/// Longest time in milliseconds for which a driver that works beside it lets a savepoint wait.
const SAVEPOINT_MS_MAX: u64 = 1_000;

/// How a run ended.
#[derive(Debug)]
pub enum RunEnd {
    /// Its last checkpoint is complete; true: all input had ended.
    Done(bool),
    /// An operator could not come back alone.
    Failed,
    /// Another host has the job.
    Ended(CommitterError),
    /// A sink gave up.
    Sink(SinkFault),
}

impl From<CommitterError> for RunEnd {
    fn from(error: CommitterError) -> Self {
        Self::Ended(error)
    }
}

impl From<SinkFault> for RunEnd {
    fn from(fault: SinkFault) -> Self {
        Self::Sink(fault)
    }
}

struct Driver {
    sim: Sim,
    run: Rc<Run>,
    committer: Committer,
    /// Events that actions have brought about.
    due: VecDeque<CommitterEvent>,
    /// What the publisher beside the driver has to do.
    aside: Option<Queue<LaneOutput>>,
    /// Manifests of this run that do not count as complete.
    created: BTreeMap<Epoch, Manifest>,
    /// The last thing was to create a manifest: the next look is the one after it.
    has_created: bool,
    /// Compactions and sweeps, which end with the run.
    background: Scope,
    /// What the sweep under way has deleted, once it has ended.
    swept: Rc<RefCell<Option<Vec<Epoch>>>>,
    is_sweeping: bool,
}

/// Drives the committer of a run until its end.
pub async fn commit(sim: &Sim, run: &Rc<Run>, committer: Committer) -> RunEnd {
    let aside = sim.plan.publish_aside.then(Queue::default);
    if let Some(outputs) = aside.clone() {
        sim.spawn(run.host, WHOLE, publisher(sim.clone(), Rc::clone(run), outputs));
    }
    let mut driver = Driver {
        sim: sim.clone(),
        run: Rc::clone(run),
        committer,
        due: VecDeque::new(),
        aside,
        created: BTreeMap::new(),
        has_created: false,
        background: sim.scope(),
        swept: Rc::default(),
        is_sweeping: false,
    };
    let (Ok(end) | Err(end)) = driver.work().await;
    sim.kill_scope(driver.background);
    end
}

/// Publishes beside the driver, in the order of epochs.
async fn publisher(sim: Sim, run: Rc<Run>, outputs: Queue<LaneOutput>) {
    let longest = if sim.plan.drill == Drill::Savepoint { PUBLISH_MS_DRILLED } else { PUBLISH_MS_MAX };
    while let Some(LaneOutput { lane, epoch, staged }) = outputs.pop(&sim).await {
        sim.pause(0, longest).await;
        match publish(&sim, &run, &staged).await {
            Ok(()) => run.tell(&sim, CommitterEvent::LaneThrough { lane, epoch }),
            Err(fault) => {
                // The process ends; its end is told like that of its driver.
                host::sink_failed(&sim, run.host, run.generation, fault);
                return;
            }
        }
    }
}

async fn publish(sim: &Sim, run: &Run, staged: &[StagedRef]) -> Result<(), SinkFault> {
    for output in staged {
        sim.publish(run.host, run.generation, output).await?;
    }
    Ok(())
}

impl Driver {
    async fn work(&mut self) -> Result<RunEnd, RunEnd> {
        let mut actions = self.committer.begin()?;
        loop {
            for action in actions {
                if let CommitterAction::Done { finished } = action {
                    self.clear_up().await;
                    return Ok(RunEnd::Done(finished));
                }
                let event = self.carry_out(action).await?;
                self.due.extend(event);
            }
            let event = match self.due.pop_front() {
                Some(event) => event,
                None => match self.run.event(&self.sim).await {
                    Some(event) => event,
                    None => return Ok(RunEnd::Failed),
                },
            };
            self.is_sweeping &= !matches!(event, CommitterEvent::Swept(_));
            actions = self.committer.step(event)?;
        }
    }

    /// Does what an action says; gives what came of it, where that is known at once.
    async fn carry_out(&mut self, action: CommitterAction) -> Result<Option<CommitterEvent>, SinkFault> {
        let (sim, run) = (&self.sim, &self.run);
        Ok(Some(match action {
            CommitterAction::Look => {
                let after = std::mem::take(&mut self.has_created);
                let blind = sim.is_broken(Mutation::NoFence) || (after && sim.is_broken(Mutation::NoLookAfterManifest));
                CommitterEvent::Newest(if blind { run.generation } else { run.client.newest_claim().await })
            }
            CommitterAction::LookAfterSavepoint => {
                let blind = sim.is_broken(Mutation::SavepointWithoutLook);
                CommitterEvent::NewestAfterSavepoint(if blind { run.generation } else { run.client.newest_claim().await })
            }
            CommitterAction::Create(manifest) => {
                let created = self.create((*manifest).clone()).await?;
                self.created.insert(manifest.epoch, *manifest);
                self.has_created = true;
                CommitterEvent::Created(created == Created::New)
            }
            CommitterAction::CreateSavepoint { path, manifest } => {
                // A driver may tell what comes meanwhile first.
                let (sim, run, is_aside) = (sim.clone(), Rc::clone(run), self.aside.is_some());
                let create = async move {
                    sim.point(run.host, Point::BeforeSavepoint).await;
                    if is_aside {
                        sim.pause(0, SAVEPOINT_MS_MAX).await;
                    }
                    let is_new = run.client.create(&path, encoded(&manifest)).await == Created::New;
                    run.tell(&sim, CommitterEvent::SavepointCreated(is_new));
                };
                match is_aside {
                    true => self.sim.spawn(self.run.host, self.background, create),
                    false => create.await,
                }
                return Ok(None);
            }
            CommitterAction::Publish(output) => match &self.aside {
                Some(aside) => {
                    aside.push(sim, output);
                    return Ok(None);
                }
                None => {
                    publish(sim, run, &output.staged).await?;
                    CommitterEvent::LaneThrough { lane: output.lane, epoch: output.epoch }
                }
            },
            CommitterAction::Sweep(retired) if retired.is_empty() => CommitterEvent::Swept(retired),
            other => {
                self.begin(other).await;
                return Ok(None);
            }
        }))
    }

    /// Does what needs no answer, or begins what has its answer later.
    async fn begin(&mut self, action: CommitterAction) {
        let (sim, run) = (&self.sim, &self.run);
        match action {
            CommitterAction::Completed(epoch) => {
                if let Some(manifest) = self.created.remove(&epoch) {
                    sim.check_completed(run.host, &manifest);
                }
                run.flow.borrow_mut().completed = epoch;
                run.changed.notify(sim);
            }
            CommitterAction::Compact(compaction) => {
                sim.spawn(run.host, self.background, compact(sim.clone(), Rc::clone(run), *compaction));
            }
            CommitterAction::AskFull(at) => {
                sim.tell(run.host, format_args!("asks instance {} for a full snapshot", at.instance));
                sim.count(Fault::AskedFull);
                run.flow.borrow_mut().ask_full.insert(at.instance);
            }
            CommitterAction::Saved { name, manifest, is_new: true } => {
                sim.tell(run.host, format_args!("savepoint {name} of epoch {} is kept", manifest.epoch));
                sim.count(Fault::Savepoint);
                sim.check_saved(&name, &manifest);
            }
            CommitterAction::Remove(path) => run.client.delete(&path).await,
            CommitterAction::Sweep(retired) => {
                self.is_sweeping = true;
                let (sweep, swept) = (self.committer.sweep(retired.clone()), Rc::clone(&self.swept));
                let (sim, run) = (sim.clone(), Rc::clone(run));
                sim.clone().spawn(run.host, self.background, async move {
                    let gone = sweep::run(&sim, &run, sweep, &retired).await.0.manifests;
                    *swept.borrow_mut() = Some(gone.clone());
                    run.tell(&sim, CommitterEvent::Swept(gone));
                });
            }
            _ => {}
        }
    }

    /// Ends the work of a run that is done, as a real job does: what no manifest will name is removed, and a last sweep follows.
    async fn clear_up(&mut self) {
        for _ in 0..SWEEP_LOOKS_MAX {
            if !self.is_sweeping || self.swept.borrow().is_some() {
                break;
            }
            self.sim.sleep(SWEEP_LOOK_MS).await;
        }
        self.sim.kill_scope(self.background);
        let gone = self.swept.take().unwrap_or_default();
        let (needless, retired) = self.committer.end(&gone);
        for path in needless {
            self.run.client.delete(&path).await;
        }
        let is_replaced = match retired.is_empty() {
            true => self.run.client.newest_claim().await > self.run.generation,
            false => sweep::run(&self.sim, &self.run, self.committer.sweep(retired.clone()), &retired).await.1.is_err(),
        };
        if !is_replaced {
            self.sim.check_retained(self.run.host, self.run.generation);
        }
    }

    async fn create(&self, mut manifest: Manifest) -> Result<Created, SinkFault> {
        let (sim, run) = (&self.sim, &self.run);
        manifest.written_ms = sim.now() as i64;
        if sim.is_broken(Mutation::PublishBeforeManifest) {
            for output in manifest.sinks.iter().flat_map(|sink| &sink.staged) {
                sim.publish(run.host, run.generation, output).await?;
            }
        }
        if sim.is_broken(Mutation::UnpublishedForgotten) {
            let epoch = manifest.epoch;
            manifest.sinks.iter_mut().for_each(|sink| sink.staged.retain(|staged| staged.epoch == epoch));
        }
        sim.point(run.host, Point::BeforeManifest).await;
        let created = run.client.create(&paths::manifest(manifest.epoch), encoded(&manifest)).await;
        sim.tell(run.host, format_args!("manifest {} of generation {}: {created:?}", manifest.epoch, run.generation));
        sim.point(run.host, Point::AfterManifest).await;
        if created == Created::Exists {
            sim.count(Fault::Overtaken);
        }
        Ok(created)
    }
}

/// The bytes of a manifest.
#[must_use]
pub fn encoded(manifest: &Manifest) -> Bytes {
    record::encode(manifest).expect("the manifests of a simulation are small").into()
}

/// Carries out a compaction.
async fn compact(sim: Sim, run: Rc<Run>, compaction: Compaction) {
    let (at, chain) = (compaction.at, &compaction.chain);
    let short = sim.is_broken(Mutation::CompactionLosesLast);
    let mut chunks: Vec<Chunk> = Vec::new();
    for object in &chain[..chain.len() - usize::from(short)] {
        let bytes = run.client.get(&object.path).await;
        match compaction.read(object, bytes.as_deref()) {
            Ok(read) => chunks.extend(read),
            Err(reason) => {
                sim.tell(run.host, format_args!("cannot compact the chain of instance {}: {reason}", at.instance));
                return run.tell(&sim, CommitterEvent::ChainDamaged(at));
            }
        }
    }
    if sim.is_broken(Mutation::CompactionDropsRemovals) {
        chunks = chunks.iter().map(without_removals).collect();
    }
    let (compacted, bytes) = match compaction.fold(chunks) {
        Ok(folded) => folded,
        Err(error) => return sim.fail(format!("a folded chain cannot be encoded: {error}")),
    };
    let path = &compacted.object.path;
    sim.pause(0, 200).await;
    if run.client.create(path, bytes.into()).await == Created::Exists {
        return host::object_exists(&sim, run.host, path);
    }
    sim.pause(0, 50).await;
    sim.tell(run.host, format_args!("has compacted {} objects to {path}", chain.len()));
    sim.count(Fault::Compaction);
    run.tell(&sim, CommitterEvent::Compacted(compacted));
}

fn without_removals(chunk: &Chunk) -> Chunk {
    let mut kept = Chunk::new(chunk.slot());
    for cell in chunk.cells().filter(|cell| cell.value.is_some()) {
        kept.push(Cell { ..cell }).expect("no more than there were");
    }
    kept
}
