//! Carries out the actions of a tenure, as the keeper of a real job does.

use crate::client::Created;
use crate::clockwork::{Queue, WHOLE};
use crate::host;
use crate::mutation::Mutation;
use crate::outbox::SinkFault;
use crate::plan::{Fault, Point};
use crate::run::Run;
use crate::snapshot;
use crate::store::Bytes;
use crate::sweep::sweep;
use crate::world::Sim;
use reprise_core::cells::{Cell, Chunk};
use reprise_core::checkpoint::chain;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::checkpoint::fenced_committer::{CommitterError, FencedAction, FencedCommitter, FencedEvent};
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, StagedRef};
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use reprise_core::codec::snapshot::Scope;
use reprise_core::ids::Epoch;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

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

/// A checkpoint, and the output to publish.
type Due = (Epoch, Vec<StagedRef>);

struct Keeper {
    sim: Sim,
    run: Rc<Run>,
    /// Facts that actions have brought about.
    due: VecDeque<FencedEvent>,
    /// What the publisher beside the keeper has to do.
    aside: Option<Queue<Due>>,
    /// Checkpoints whose output is being published.
    stored: BTreeMap<Epoch, Manifest>,
    /// Manifests of this run that the tenure does not know to be published.
    ahead: usize,
    /// The last thing was to create a manifest: the next look is the one after it.
    has_created: bool,
}

/// Keeps a run until it ends.
pub async fn keep(sim: &Sim, run: &Rc<Run>, mut tenure: FencedCommitter) -> RunEnd {
    let mut keeper = Keeper {
        sim: sim.clone(),
        run: Rc::clone(run),
        due: VecDeque::new(),
        aside: None,
        stored: BTreeMap::new(),
        ahead: 0,
        has_created: false,
    };
    if sim.plan.publish_aside {
        let due = Queue::default();
        keeper.aside = Some(due.clone());
        sim.spawn(run.host, WHOLE, publisher(sim.clone(), Rc::clone(run), due));
    }
    for action in tenure.begin() {
        if let Err(fault) = keeper.carry_out(action).await {
            return RunEnd::Sink(fault);
        }
    }
    loop {
        let fact = match keeper.due.pop_front() {
            Some(fact) => fact,
            None => match run.fact(sim).await {
                Some(fact) => fact,
                None => return RunEnd::Failed,
            },
        };
        let published = if let FencedEvent::Published(epoch) = fact { Some(epoch) } else { None };
        let actions = match tenure.step(fact) {
            Ok(actions) => actions,
            Err(end) => return RunEnd::Ended(end),
        };
        // Only now: what the tenure still takes for its newest checkpoint must not be retired.
        if let Some(epoch) = published {
            keeper.retain(epoch);
        }
        for action in actions {
            match keeper.carry_out(action).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(fault) => return RunEnd::Sink(fault),
            }
        }
    }
}

/// Publishes beside the keeper, in the order of epochs.
async fn publisher(sim: Sim, run: Rc<Run>, due: Queue<Due>) {
    while let Some((epoch, staged)) = due.pop(&sim).await {
        sim.pause(0, 150).await;
        match publish(&sim, &run, &staged).await {
            Ok(()) => run.tell(&sim, FencedEvent::Published(epoch)),
            Err(fault) => {
                // The process ends; its end is told like that of its keeper.
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

impl Keeper {
    /// The checkpoint of this epoch is published: it counts as kept, and older ones may go. Those that are ahead of their output come on top.
    fn retain(&mut self, epoch: Epoch) {
        self.ahead = self.ahead.saturating_sub(1);
        let Some(manifest) = self.stored.remove(&epoch) else { return };
        let named: Vec<&str> = manifest.objects().map(|object| object.path.as_str()).collect();
        self.run.spared.borrow_mut().retain(|path| !named.contains(&path.as_str()));
        sweep(&self.sim, &self.run, self.ahead);
    }

    async fn carry_out(&mut self, action: FencedAction) -> Result<Option<RunEnd>, SinkFault> {
        let (sim, run) = (&self.sim, &self.run);
        match action {
            FencedAction::Look => {
                let after = std::mem::take(&mut self.has_created);
                let blind = sim.is_broken(Mutation::NoFence) || (after && sim.is_broken(Mutation::NoLookAfterManifest));
                let newest = if blind { run.generation } else { run.client.newest_claim().await };
                self.due.push_back(FencedEvent::Newest(newest));
            }
            FencedAction::Create(manifest) => {
                let noted = (*manifest).clone();
                let created = self.create(*manifest).await?;
                self.has_created = true;
                if created == Created::New {
                    self.run.retention.borrow_mut().note(&noted);
                    self.ahead += 1;
                }
                self.due.push_back(FencedEvent::Created(created == Created::New));
            }
            FencedAction::Publish { manifest, staged } => {
                sim.check_completed(run.host, &manifest);
                let staged: Vec<StagedRef> = staged.into_iter().map(|(_, staged)| staged).collect();
                let epoch = manifest.epoch;
                self.stored.insert(epoch, *manifest);
                match &self.aside {
                    Some(aside) => aside.push(sim, (epoch, staged)),
                    None => {
                        publish(sim, run, &staged).await?;
                        self.due.push_back(FencedEvent::Published(epoch));
                    }
                }
            }
            FencedAction::Completed(epoch) => {
                run.flow.borrow_mut().completed = epoch;
                run.changed.notify(sim);
            }
            FencedAction::Compact { at, epoch, chain, .. } => {
                let path = paths::snapshot(snapshot::OPERATOR, reprise_core::ids::Instance(at.instance), epoch, run.generation, true);
                run.spared.borrow_mut().insert(path);
                sim.spawn(run.host, WHOLE, compact(sim.clone(), Rc::clone(run), at, epoch, chain));
            }
            FencedAction::AskFull(at) => {
                sim.tell(run.host, format_args!("asks instance {} for a full snapshot", at.instance));
                sim.count(Fault::AskedFull);
                run.flow.borrow_mut().ask_full.insert(at.instance);
            }
            FencedAction::Save { name, manifest } => self.save(&name, &manifest).await,
            FencedAction::Done { finished } => return Ok(Some(RunEnd::Done(finished))),
        }
        Ok(None)
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

    /// A savepoint counts once it is stored and nobody has claimed the job before: whoever claims it from then on finds it, and spares what it
    /// reaches.
    async fn save(&self, name: &str, manifest: &Manifest) {
        let (sim, run) = (&self.sim, &self.run);
        let Some(path) = paths::savepoint(name) else { return };
        run.retention.borrow_mut().hold(name, manifest);
        sim.point(run.host, Point::BeforeSavepoint).await;
        if run.client.create(&path, encoded(manifest)).await == Created::Exists {
            return;
        }
        if sim.is_broken(Mutation::SavepointWithoutLook) || run.client.newest_claim().await == run.generation {
            sim.tell(run.host, format_args!("savepoint {name} of epoch {} is kept", manifest.epoch));
            sim.count(Fault::Savepoint);
            sim.check_saved(name, manifest);
        }
    }
}

/// The bytes of a manifest.
#[must_use]
pub fn encoded(manifest: &Manifest) -> Bytes {
    record::encode(manifest).expect("the manifests of a simulation are small").into()
}

/// Folds a chain into one full snapshot.
async fn compact(sim: Sim, run: Rc<Run>, at: Participant, epoch: Epoch, chain: Vec<ObjectRef>) {
    let short = sim.is_broken(Mutation::CompactionLosesLast);
    let mut chunks: Vec<Chunk> = Vec::new();
    for object in &chain[..chain.len() - usize::from(short)] {
        let bytes = run.client.get(&object.path).await;
        match snapshot::verify(bytes.as_deref(), at.instance, object) {
            Ok(read) => chunks.extend(read),
            Err(reason) => {
                sim.tell(run.host, format_args!("cannot compact the chain of instance {}: {reason}", at.instance));
                return run.tell(&sim, FencedEvent::NotCompacted { at, damaged: true });
            }
        }
    }
    if sim.is_broken(Mutation::CompactionDropsRemovals) {
        chunks = chunks.iter().map(without_removals).collect();
    }
    let folded = chain::fold(&chunks).expect("the cells of a simulation are few");
    let (bytes, object) = match snapshot::encode(at.instance, epoch, run.generation, Scope::Full, &folded) {
        Ok(encoded) => encoded,
        Err(error) => return sim.fail(format!("a folded chain cannot be encoded: {error}")),
    };
    sim.pause(0, 200).await;
    if run.client.create(&object.path, bytes).await == Created::Exists {
        return host::object_exists(&sim, run.host, &object.path);
    }
    sim.pause(0, 50).await;
    sim.tell(run.host, format_args!("has compacted {} objects to {}", chain.len(), object.path));
    sim.count(Fault::Compaction);
    let last = chain.last().map(|object| object.path.clone()).unwrap_or_default();
    run.tell(&sim, FencedEvent::Compacted { at, last, object });
}

fn without_removals(chunk: &Chunk) -> Chunk {
    let mut kept = Chunk::new(chunk.slot());
    for cell in chunk.cells().filter(|cell| cell.value.is_some()) {
        kept.push(Cell { ..cell }).expect("no more than there were");
    }
    kept
}
