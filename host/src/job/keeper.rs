//! Carries out what the tenure decides: writes manifests, publishes output, compacts chains, keeps savepoints, deletes what nothing needs
//! any more.

use super::compact::{self, Compaction};
use super::error::Error;
use super::notice::{CheckpointNotice, Notice, Watch};
use super::patience::Patience;
use super::publisher::{Calls, NamedSink, Publisher};
use super::recorder::Told;
use super::replay::Lookout;
use super::requests::Desk;
use super::resume::Resumer;
use super::sweep::{self, Halt};
use super::tidy::{self, Tidy};
use crate::clock::Clock;
use crate::engine::Control;
use crate::store::Store;
use reprise_core::checkpoint::coordinator::Participant;
use reprise_core::checkpoint::fenced_committer::{CommitterError, FencedAction, FencedCommitter, FencedEvent, SAVEPOINTS_WAITING_MAX};
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, OperatorState};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::is_replay_source;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::codec::record;
use reprise_core::ids::{Epoch, Generation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Facts of compactions that may wait for the keeper; there is one compaction at most for each instance.
const FACTS_WAITING: usize = 1024;

/// How long the end of a run waits for a sweep.
const SWEEP_END_MAX: Duration = Duration::from_secs(5);

/// Time between two looks whether sources wait for storage.
const FULL_LOOK: Duration = Duration::from_millis(500);

/// What a keeper is made of.
pub(super) struct Keeper {
    pub store: Store,
    pub patience: Arc<Patience>,
    pub generation: Generation,
    /// The epoch of the manifest with which this run took over.
    pub taken: Epoch,
    pub tenure: FencedCommitter,
    pub control: Arc<Control>,
    pub sinks: Vec<NamedSink>,
    /// What sinks are publishing, also when the run is over.
    pub calls: Calls,
    /// Ends pauses of operators that somebody asks it to end.
    pub resumer: Resumer,
    pub retention: Retention,
    pub keep: usize,
    /// What is kept for people.
    pub rules: tidy::Rules,
    /// When that was last looked at.
    pub tidied: Arc<tidy::Last>,
    pub clock: Clock,
    pub watch: Watch,
    /// How often requests are looked for.
    pub poll: Duration,
    /// A savepoint that the last checkpoint of this run becomes.
    pub savepoint: Option<String>,
    /// Tells when to end for rows that the next run sends again. `None`: this one does not end for any.
    pub lookout: Option<Lookout>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// All input had ended.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// There are rows to send again, which the next run does.
    Again,
    /// The instances went away without having closed: the engine has the reason.
    Abandoned,
}

impl Keeper {
    /// Works until the tenure says that the run is done, or until nobody reports any more. Also tells the newest checkpoint that this run
    /// has stored.
    pub async fn keep(mut self, events: mpsc::Receiver<Told>) -> Result<(RunEnd, Option<Epoch>), Error> {
        let (side, facts) = mpsc::channel(FACTS_WAITING);
        let publisher = Publisher::start(std::mem::take(&mut self.sinks), &self.calls, self.taken, &self.watch);
        let mut work = Work {
            keeper: self,
            side,
            turns: Arc::new(Semaphore::new(compact::TURNS as usize)),
            computes: Arc::new(Semaphore::new(1)),
            tasks: JoinSet::new(),
            newest: None,
            ahead: 0,
            publisher,
            sweep: JoinSet::new(),
            compactions: BTreeMap::new(),
            desk: Desk::default(),
            requests: BTreeSet::new(),
            again: false,
        };
        let teller = tokio::spawn(tell_full(Arc::clone(&work.keeper.control), Arc::clone(&work.keeper.watch)));
        let ended = work.run(events, facts).await;
        teller.abort();
        match ended {
            Ok(end) => Ok((end, work.newest)),
            Err(Error::Abandoned) => Ok((RunEnd::Abandoned, work.newest)),
            Err(error) => Err(error),
        }
    }
}

struct Work {
    keeper: Keeper,
    side: mpsc::Sender<Told>,
    turns: Arc<Semaphore>,
    computes: Arc<Semaphore>,
    /// The compactions under way. They end with the run.
    tasks: JoinSet<()>,
    /// The newest of all manifests that this run has stored.
    newest: Option<Epoch>,
    /// Manifests of this run that the tenure does not know to be published.
    ahead: usize,
    /// Makes output visible, beside all this.
    publisher: Publisher,
    /// The sweep under way, if any; it gives the manifests that are gone. It ends with the run.
    sweep: JoinSet<Vec<Epoch>>,
    /// Objects that compactions make or made; with the newest manifest that cannot name them yet, once they are made.
    compactions: BTreeMap<String, Option<Epoch>>,
    /// Where requests are read.
    desk: Desk,
    /// Requests that are being answered, by the name of the savepoint.
    requests: BTreeSet<String>,
    /// The run ends for rows that the next one sends again, and for nothing else.
    again: bool,
}

impl Work {
    async fn run(&mut self, mut events: mpsc::Receiver<Told>, mut facts: mpsc::Receiver<Told>) -> Result<RunEnd, Error> {
        let (mut due, mut reports_come) = (VecDeque::new(), true);
        if let Some(name) = self.keeper.savepoint.take() {
            due.push_back(FencedEvent::Asked { name, epoch: Epoch(u64::MAX) });
        }
        for action in self.keeper.tenure.begin() {
            due.extend(self.carry_out(action).await?);
        }
        self.sweep();
        let mut poll = tokio::time::interval(self.keeper.poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let fact = match due.pop_front() {
                Some(fact) => fact,
                None => tokio::select! {
                    biased;
                    told = events.recv(), if reports_come => match told {
                        Some(told) => told?,
                        None if self.keeper.control.aborted() => return Ok(RunEnd::Abandoned),
                        None => {
                            reports_come = false;
                            continue;
                        }
                    },
                    // The sender is ours: there is always another one.
                    Some(told) = facts.recv() => told?,
                    told = self.publisher.told() => {
                        let published = self.publisher.note(&told?);
                        due.extend(self.after_publishing(published));
                        continue;
                    }
                    // The last manifests may wait for compactions. What these had to tell was taken just before.
                    ended = self.tasks.join_next(), if !(reports_come || self.tasks.is_empty() && self.publisher.behind() > 0) => match ended {
                        Some(_) => continue,
                        None => return Ok(RunEnd::Abandoned),
                    },
                    _ = poll.tick() => {
                        due.extend(self.look_for_requests().await);
                        self.look_for_replays().await;
                        continue;
                    }
                },
            };
            while self.tasks.try_join_next().is_some() {}
            for action in self.step(fact)? {
                if let FencedAction::Done { finished } = action {
                    self.clear_up().await;
                    return Ok(match finished {
                        _ if self.again => RunEnd::Again,
                        true => RunEnd::Finished,
                        false => RunEnd::Stopped,
                    });
                }
                due.extend(self.carry_out(action).await?);
            }
        }
    }

    fn step(&mut self, fact: FencedEvent) -> Result<Vec<FencedAction>, Error> {
        if let FencedEvent::Compacted { object, .. } = &fact
            && let Some(made) = self.compactions.get_mut(&object.path)
        {
            // The manifest that is under way cannot name it yet; the one after it does.
            *made = Some(self.newest.unwrap_or(self.keeper.taken).next());
        }
        let (ours, is_published) = (self.keeper.generation, matches!(fact, FencedEvent::Published(_)));
        let actions = self.keeper.tenure.step(fact).map_err(|end| match end {
            CommitterError::Fenced { theirs } => Error::Fenced { ours, theirs },
            CommitterError::Overtaken { epoch } => Error::Overtaken { epoch },
            CommitterError::Violation(violation) => Error::Internal(violation.to_string()),
        })?;
        if is_published {
            self.ahead = self.ahead.saturating_sub(1);
            self.sweep();
        }
        Ok(actions)
    }

    async fn carry_out(&mut self, action: FencedAction) -> Result<Vec<FencedEvent>, Error> {
        let fact = match action {
            FencedAction::Look => Some(FencedEvent::Newest(compact::newest_generation(&self.keeper.store, &self.keeper.patience).await?)),
            FencedAction::Create(manifest) => Some(FencedEvent::Created(self.create(*manifest).await?)),
            FencedAction::Publish { manifest, staged } => {
                let epoch = manifest.epoch;
                let published = self.publisher.publish(*manifest, staged);
                self.compactions.retain(|_, made| made.is_none_or(|made| epoch <= made));
                self.sweep();
                return Ok(self.after_publishing(published));
            }
            FencedAction::Completed(epoch) => {
                self.keeper.control.set_completed(epoch);
                None
            }
            FencedAction::Compact { at, epoch, operator, chain } => {
                self.compact(at, epoch, operator, chain);
                None
            }
            FencedAction::AskFull(at) => {
                self.keeper.control.ask_full(at);
                None
            }
            FencedAction::Save { name, manifest } => {
                self.save(name, *manifest).await?;
                None
            }
            FencedAction::Done { .. } => None,
        };
        Ok(fact.into_iter().collect())
    }

    async fn create(&mut self, mut manifest: Manifest) -> Result<bool, Error> {
        manifest.written_ms = self.keeper.clock.now_ms();
        let bytes = record::encode(&manifest).map_err(|error| Error::Internal(format!("a manifest: {error}")))?;
        let path = paths::manifest(manifest.epoch);
        let ours = compact::create(&self.keeper.store, &self.keeper.patience, &path, bytes, true).await?;
        if ours {
            self.newest = Some(manifest.epoch);
            // From here on, and not only from when its output is published: a sweep may begin at any time.
            self.keeper.retention.note(&manifest);
            self.ahead += 1;
        }
        Ok(ours)
    }

    /// All output that these manifests name is published.
    fn after_publishing(&mut self, published: Vec<Manifest>) -> Vec<FencedEvent> {
        for manifest in &published {
            let is_time = self.keeper.lookout.as_ref().is_some_and(|lookout| lookout.is_time_for_the_rest(manifest));
            if is_time && !self.keeper.control.stopping() {
                self.end_for_the_next();
            }
            for (counters, operator) in self.keeper.control.operators.iter().zip(&manifest.operators) {
                let bytes: u64 = operator.instances.iter().flat_map(|i| &i.chain).map(|object| object.bytes).sum();
                counters.state_bytes.store(bytes as i64, std::sync::atomic::Ordering::Relaxed);
            }
            (self.keeper.watch)(Notice::Checkpoint(notice(manifest)));
        }
        published.into_iter().map(|manifest| FencedEvent::Published(manifest.epoch)).collect()
    }

    fn compact(&mut self, at: Participant, epoch: Epoch, operator: OperatorState, chain: Vec<ObjectRef>) {
        self.compactions.insert(compact::path(&operator.name, at, epoch, self.keeper.generation), None);
        let compaction = Compaction {
            store: self.keeper.store.clone(),
            patience: Arc::clone(&self.keeper.patience),
            job: self.keeper.tenure.job().to_owned(),
            generation: self.keeper.generation,
            turns: Arc::clone(&self.turns),
            computes: Arc::clone(&self.computes),
            operator,
            at,
            epoch,
            chain,
        };
        let side = self.side.clone();
        self.tasks.spawn(async move {
            let told = compaction.run().await;
            // Nobody listens any more where the run is over.
            let _ = side.send(told).await;
        });
    }

    async fn save(&mut self, name: String, mut manifest: Manifest) -> Result<(), Error> {
        manifest.written_ms = self.keeper.clock.now_ms();
        let bytes = record::encode(&manifest).map_err(|error| Error::Internal(format!("a savepoint: {error}")))?;
        let Some(path) = paths::savepoint(&name) else { return Ok(()) };
        // Held before it is written: no sweep that begins from now on may delete what it needs.
        let before = self.keeper.retention.hold_also(&name, &manifest);
        let is_new = compact::create(&self.keeper.store, &self.keeper.patience, &path, bytes, true).await?;
        match is_new {
            true => self.keeper.retention.hold(&name, &manifest),
            false => self.keeper.retention.hold_again(&name, before),
        }
        // Who has claimed the job before may not have seen it, and may delete what it needs. Who claims it from now on holds it.
        let (ours, theirs) = (self.keeper.generation, compact::newest_generation(&self.keeper.store, &self.keeper.patience).await?);
        if theirs > ours {
            if is_new {
                compact::remove(&self.keeper.store, &path).await;
            }
            return Err(Error::Fenced { ours, theirs });
        }
        // Another request of this name is answered like the first one.
        if let Some(request) = paths::request(&name).filter(|_| self.requests.remove(&name)) {
            compact::remove(&self.keeper.store, &request).await;
        }
        (self.keeper.watch)(Notice::Savepoint { name, epoch: manifest.epoch, is_new });
        Ok(())
    }

    /// Answers requests to end pauses, and gives those for savepoints that were not there before. A store that does not answer is asked again later.
    async fn look_for_requests(&mut self) -> Vec<FencedEvent> {
        let found = match self.desk.look(&self.keeper.store).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(cause = %error, "requests cannot be listed now");
                return Vec::new();
            }
        };
        self.keeper.resumer.answer(&self.keeper.store, found.resumes, &found.answers).await;
        let mut facts = Vec::new();
        for request in found.savepoints {
            // More than that may not wait: the others are looked at again later.
            if self.requests.len() >= SAVEPOINTS_WAITING_MAX || !self.requests.insert(request.name.clone()) {
                continue;
            }
            let epoch = if request.stop {
                // Nothing is to go on after this.
                (self.again, self.keeper.lookout) = (false, None);
                self.keeper.control.stop();
                Epoch(u64::MAX)
            } else {
                self.keeper.control.want_epoch()
            };
            facts.push(FencedEvent::Asked { name: request.name, epoch });
        }
        facts
    }

    fn end_for_the_next(&mut self) {
        self.again = true;
        self.keeper.control.stop();
    }

    /// Ends the run with a checkpoint where rows are to be sent again that this run knows nothing of.
    async fn look_for_replays(&mut self) {
        if self.keeper.control.stopping() {
            return;
        }
        let Some(lookout) = &mut self.keeper.lookout else { return };
        match lookout.sees_new(&self.keeper.store).await {
            Ok(false) => {}
            Ok(true) => self.end_for_the_next(),
            Err(error) => tracing::debug!(cause = %error, "requests to send rows again cannot be listed now"),
        }
    }

    /// At the end: compactions that no manifest will name are given up, and the last sweep may have begun before the last checkpoint.
    async fn clear_up(&mut self) {
        self.tasks.shutdown().await;
        self.end_sweep().await;
        let needless: Vec<String> =
            std::mem::take(&mut self.compactions).into_keys().filter(|path| !self.keeper.retention.needs(path)).collect();
        for path in needless {
            compact::remove(&self.keeper.store, &path).await;
        }
        self.sweep();
        self.end_sweep().await;
    }

    async fn end_sweep(&mut self) {
        // A sweep that failed has told the watch. One may be cut short anywhere, and a run must end.
        match tokio::time::timeout(SWEEP_END_MAX, self.sweep.join_next()).await {
            Ok(ended) => self.keeper.retention.gone(&ended.and_then(Result::ok).unwrap_or_default()),
            Err(_) => {
                self.sweep = JoinSet::new();
                tracing::info!("a sweep is cut short, since the run ends; the next run goes on with it");
            }
        }
    }

    /// Deletes in the background what is not retained, and now and then what is kept for people and has become too old or too much.
    fn sweep(&mut self) {
        while let Some(ended) = self.sweep.try_join_next() {
            self.keeper.retention.gone(&ended.unwrap_or_default());
        }
        if !self.sweep.is_empty() {
            return;
        }
        // Those that are ahead of their output come on top: what counts as the newest checkpoint until then, for savepoints too, must stay.
        let retired = self.keeper.retention.retire(self.keeper.keep + self.ahead);
        let is_tidy = !self.keeper.tidied.is_due();
        if retired.is_empty() && is_tidy {
            return;
        }
        let watch = Arc::clone(&self.keeper.watch);
        let sweep = sweep::Sweep {
            store: self.keeper.store.clone(),
            retention: self.keeper.retention.clone(),
            spared: self.compactions.keys().cloned().collect(),
            generation: self.keeper.generation,
        };
        let tidy = (!is_tidy).then(|| self.tidy());
        self.sweep.spawn(async move {
            let mut gone = Vec::new();
            if !retired.is_empty() {
                let (swept, ended) = sweep.run(&retired).await;
                gone = swept.manifests;
                match ended {
                    Ok(()) => watch(Notice::Swept { manifests: gone.len(), objects: swept.objects }),
                    Err(Halt::Replaced) => return gone,
                    Err(Halt::Store(error)) => watch(Notice::SweepFailed { reason: error.to_string() }),
                }
            }
            if let Some(tidy) = tidy
                && let Err(Halt::Store(error)) = tidy.run().await
            {
                watch(Notice::SweepFailed { reason: error.to_string() });
            }
            gone
        });
    }

    fn tidy(&self) -> Tidy {
        self.keeper.tidied.begins();
        Tidy {
            store: self.keeper.store.clone(),
            rules: self.keeper.rules.clone(),
            reach: self.keeper.retention.reach(self.keeper.generation),
            generation: self.keeper.generation,
            now_ms: self.keeper.clock.now_ms(),
            things_max: tidy::THINGS_MAX,
            watch: Arc::clone(&self.keeper.watch),
        }
    }
}

/// Says that sources wait for storage, and when they read again. A wait that is shorter than a look is not worth a word.
async fn tell_full(control: Arc<Control>, watch: Watch) {
    let (mut was_full, mut told) = (false, false);
    loop {
        tokio::time::sleep(FULL_LOOK).await;
        let is_full = control.is_full();
        if is_full && was_full && !told {
            told = true;
            watch(Notice::SourcesPaused { bytes: control.unstored_bytes() });
        }
        if !is_full && told {
            told = false;
            watch(Notice::SourcesResumed);
        }
        was_full = is_full;
    }
}

fn notice(manifest: &Manifest) -> CheckpointNotice {
    let instances = || manifest.operators.iter().flat_map(|o| &o.instances);
    let this_epoch = |path: &str| paths::snapshot_origin(path).is_some_and(|(epoch, _)| epoch == manifest.epoch);
    let written = instances().filter_map(|i| i.chain.last()).filter(|object| this_epoch(&object.path));
    let (bytes, cells) = written.fold((0, 0), |(bytes, cells), object| (bytes + object.bytes, cells + object.entries));
    CheckpointNotice {
        epoch: manifest.epoch,
        bytes,
        cells,
        state_bytes: instances().flat_map(|i| &i.chain).map(|object| object.bytes).sum(),
        rows: manifest.sources.iter().filter(|s| !is_replay_source(&s.name)).map(|s| s.rows).sum(),
        rejected: manifest.sources.iter().map(|s| s.rejected).sum::<u64>() + instances().map(|i| i.rejected).sum::<u64>(),
        finished: manifest.finished,
    }
}
