//! Runs a prepared job: one attempt after another, until it ends or gives up.

mod again;
mod inputs;
mod look;
mod outputs;

use super::capsule::{self, Origin};
use super::error::Error;
use super::keeper::{Keeper, RunEnd};
use super::notice::{Notice, Watch};
use super::opening::{self, Checkpoint, Opened, Opener, Start};
use super::patience::Patience;
use super::prepare::{self, Prepared};
use super::publisher::{Calls, NamedSink};
use super::recorder::{self, Recorded, Recorder};
use super::replay::{self, Replays};
use super::resume::Resumer;
use super::savepoint;
use super::take_up;
use super::tidy;
use crate::clock::Clock;
use crate::connect::{self, ConnectError, RowEncoding, SourceReader};
use crate::engine::{self, Accounts, Blueprint, Control, Failure, Guard, OperatorBlueprint, Seat, SinkSeat, SourceLimits, SourceSeat};
use crate::store::{Intercept, Store};
use crate::wasm;
use look::Look;
use reprise_core::checkpoint::chain::ChainLimits;
use reprise_core::checkpoint::coordinator::{self, Coordinator, Layout, OperatorLayout};
use reprise_core::checkpoint::fenced_committer::FencedCommitter;
use reprise_core::checkpoint::manifest::{self, Manifest};
use reprise_core::checkpoint::quarantine::is_replay_source;
use reprise_core::checkpoint::recovery::RecoveredJob;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::failure::window::Window;
use reprise_core::failure::{Decision, Failures, Policy};
use reprise_core::ids::{Digest, Epoch, Generation};
use reprise_core::keying;
use reprise_core::topology::{Node, OnFailure, Operator, Plan, SourceKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How to run a job.
pub struct Options {
    /// Worker threads: so many instances of sources and sinks run, and at least so many of operators.
    pub workers: u32,
    /// Set to true to end with a last checkpoint.
    pub stop: watch::Receiver<bool>,
    /// Takes notices.
    pub watch: Watch,
    /// Processing time.
    pub clock: Clock,
    /// The checkpoint to begin with; `None`: the newest one that can be used.
    pub start: Option<Start>,
    /// Sinks take their places over whatever these hold: output that the store does not know is taken back.
    pub adopt: bool,
    /// Name of a savepoint that the last checkpoint of the run becomes.
    pub savepoint: Option<String>,
    /// May interfere with every storage call of the job and of its sinks: to see what the job makes of faults.
    pub intercept: Option<Arc<dyn Intercept>>,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All input had ended and everything is published.
    Finished,
    /// It had finished in an earlier run; nothing was done.
    AlreadyFinished,
    /// It was asked to stop; the last checkpoint is complete.
    Stopped,
}

/// Runs a job to its end.
///
/// # Errors
/// See [`Error`]. Whatever the error, the state is that of the last complete checkpoint.
pub async fn run(prepared: Prepared, options: Options) -> Result<Ending, Error> {
    let store = prepare::store(&prepared.plan.topology, &prepared.base_dir, options.intercept.clone()).await?;
    store.probe().await.map_err(|error| Error::Store { doing: "use the store", error })?;
    let job = Job { prepared, options, store, own: AtomicU64::new(0), idle: AtomicU32::new(0), tidied: Arc::default() };
    let mut failures = Failures::default();
    let (mut first, mut first_gave_up) = (true, None);
    loop {
        let began = Instant::now();
        let attempt = job.attempt(std::mem::take(&mut first)).await?;
        let (mut failure, index, completed, progress) = match attempt {
            Attempt::Ended(ending) => return Ok(ending),
            // There are rows to send again: their source is part of the next dataflow.
            Attempt::Again => {
                job.rest(began).await;
                continue;
            }
            Attempt::Failed { failure, operator, completed, progress } => (failure, operator, completed, progress),
        };
        capsule::keep(&job.store, job.origin(index), Generation(job.own.load(Ordering::Acquire)), &mut failure).await;
        // The operator was tried again and again by itself, or its topology says that the job is to stop.
        if let Failure::Guest { gave_up: Some(failures), .. } = failure {
            if first_gave_up.replace(failures).is_some() || !*job.options.stop.borrow() {
                return Err(Error::Gave { failure: Box::new(failure), failures, completed });
            }
            // Whoever asked to stop still gets a last checkpoint, by an attempt that reads nothing.
            (job.options.watch)(Notice::Failed { report: failure.to_string(), attempt: 1, retries: 1, wait: Duration::ZERO });
            continue;
        }
        let on_failure = &job.prepared.plan.topology.operators[index].on_failure;
        // What `open` and `restore` refuse in so many words, they will refuse again.
        let refused = matches!(&failure, Failure::Guest { error, .. } if matches!(error.call, "open" | "restore") && matches!(error.fault, wasm::Fault::Returned(_)));
        if refused {
            return Err(Error::Refused { failure: Box::new(failure) });
        }
        let policy = Policy { retries: on_failure.retries, backoff_min: on_failure.backoff_min, backoff_max: on_failure.backoff_max };
        match failures.decide(&policy, progress, Clock::unlikely_number()) {
            Decision::Stop { failures } => return Err(Error::Gave { failure: Box::new(failure), failures, completed }),
            Decision::Retry { attempt, wait } => {
                (job.options.watch)(Notice::Failed { report: failure.to_string(), attempt, retries: policy.retries, wait });
                let mut stop = job.options.stop.clone();
                // Whoever asks to stop meanwhile still gets a last checkpoint, by an attempt that reads nothing.
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = asked(&mut stop) => {}
                }
            }
        }
    }
}

/// Waits until somebody asks to stop; for ever where nobody can.
async fn asked(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

struct Job {
    prepared: Prepared,
    options: Options,
    store: Store,
    /// The generation of this host's last attempt; 0 before the first.
    own: AtomicU64,
    /// Attempts in a row that ended for rows to send again, and after which there were none.
    idle: AtomicU32,
    tidied: Arc<tidy::Last>,
}

/// Ends the engine where nobody waits for it any more.
struct AbortOnDrop(Arc<Control>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

enum Attempt {
    Ended(Ending),
    /// It ended with a checkpoint so that the next one sends rows of the quarantine again.
    Again,
    /// An operator failed.
    Failed {
        failure: Failure,
        /// Its place in the topology file.
        operator: usize,
        /// The newest checkpoint.
        completed: Option<Epoch>,
        /// The attempt stored a checkpoint of its own.
        progress: bool,
    },
}

type Readers = Vec<Vec<Box<dyn SourceReader>>>;
/// All splits of each source, in the order of the topology file.
type Splits = Vec<Vec<manifest::SplitPosition>>;

fn cannot_start(kind: &'static str, name: &str) -> impl FnOnce(ConnectError) -> Error {
    move |error| Error::Connect { kind, name: name.to_owned(), error }
}

impl Job {
    fn plan(&self) -> &Plan {
        &self.prepared.plan
    }

    fn tell(&self, notice: Notice) {
        (self.options.watch)(notice);
    }

    /// `first`: the attempt that the start of the host makes, as against a restart of its own.
    async fn attempt(&self, first: bool) -> Result<Attempt, Error> {
        let began = Instant::now();
        let start = self.options.start.as_ref().filter(|_| first);
        let has_new = start.is_none() && self.look_first().await?;
        let writer = Clock::unlikely_number();
        let (sinks, look) = self.look_at_sinks(writer, first).await?;
        let reopens = has_new || (!self.is_stopping() && replay::is_waited_for(&self.store, self.plan()).await?);
        let Opened { up, mut checkpoint } = self.open(start, writer, reopens, look.after).await?;
        for (epoch, reason) in &up.passed_over {
            self.tell(Notice::PassedOver { epoch: *epoch, reason: reason.clone() });
        }
        let base = up.base.as_ref();
        self.check_nodes(base, true)?;
        let Some(taken) = &up.taken else { return self.end_of_a_finished_job(sinks, &look, base, up.generation).await };
        self.recover_sinks(&sinks, base, &look, (taken.epoch, up.generation)).await?;
        let all_replay = self.tell_weaker(base)?;
        if all_replay {
            self.clear_quarantine(base, up.generation).await?;
        }
        let replays = replay::take_up(&self.store, &up, self.plan(), self.options.workers).await?;
        let (readers, splits) = self.all_readers(base, has_new, &replays)?;
        let seats = self.seats((readers, &replays), &sinks, up.generation, checkpoint.as_mut())?;
        let first_epoch = taken.epoch.next();
        let (topology, settings) = (&self.plan().topology, &self.plan().topology.checkpoint);
        let control = self.control(first_epoch, &replays);
        let _dropped = AbortOnDrop(Arc::clone(&control));
        let patience = Arc::new(Patience::new(settings.outage_max, Arc::clone(&control), Arc::clone(&self.options.watch)));
        self.tell(Notice::Started {
            generation: up.generation,
            from: base.map(|b| b.epoch),
            control: Arc::clone(&control),
            took: began.elapsed(),
        });
        self.tell_replays(&replays);
        let layout = self.layout(up.generation, writer, splits, &replays);
        let (reporter, recorded) = self.recorder(&layout, &patience, &replays);
        let blueprint = self.blueprint(first_epoch, &control, reporter, &replays);
        let mut published = taken.clone();
        // What it names was published just now.
        published.sinks.iter_mut().for_each(|sink| sink.staged.clear());
        let coordinator = Coordinator::new(layout, first_epoch, Some(taken));
        let keeper = Keeper {
            store: self.store.clone(),
            patience,
            generation: up.generation,
            taken: taken.epoch,
            tenure: FencedCommitter::new(coordinator, published),
            control: Arc::clone(&control),
            calls: Calls::new(sinks.len()),
            sinks,
            resumer: Resumer::new(topology, up.generation, Arc::clone(&control), Arc::clone(&self.options.watch)),
            retention: self.retention(&up).await?,
            keep: settings.keep as usize,
            rules: self.rules(),
            tidied: Arc::clone(&self.tidied),
            clock: self.options.clock.clone(),
            watch: Arc::clone(&self.options.watch),
            poll: settings.savepoint_poll,
            savepoint: self.options.savepoint.clone(),
            // Ending an attempt would lose what was read ahead of a source that cannot be read again.
            lookout: (all_replay && self.options.savepoint.is_none() && self.looks_for_replays(&replays)).then_some(replays.lookout),
        };
        self.drive(blueprint, seats, keeper, recorded, &control, base.map(|b| b.epoch)).await
    }

    /// Deletes refused rows of epochs that do not count: the same rows will be refused again.
    async fn clear_quarantine(&self, base: Option<&Manifest>, ours: Generation) -> Result<(), Error> {
        let topology = &self.plan().topology;
        let nodes = topology.sources.iter().map(|s| s.name.as_str()).chain(topology.operators.iter().map(|o| o.name.as_str()));
        opening::clear_quarantine(&self.store, &nodes.collect::<Vec<_>>(), base.and_then(Manifest::covered), ours).await
    }

    /// Claims the job and takes it up.
    async fn open(&self, start: Option<&Start>, writer: u64, reopens: bool, after: Epoch) -> Result<Opened, Error> {
        let opener = Opener {
            store: &self.store,
            job: &self.plan().topology.name,
            clock: &self.options.clock,
            host: format!("process {} on {}", std::process::id(), machine()),
            own: &self.own,
            epoch_max: Epoch(engine::EPOCH_MAX),
            reopens,
            after,
        };
        let layout = self.layout(Generation(0), writer, Vec::new(), &Replays::default());
        opener.open(start, coordinator::beginning(layout, Epoch(0))).await
    }

    /// What the checkpoints and savepoints there are need.
    async fn retention(&self, up: &RecoveredJob) -> Result<Retention, Error> {
        let mut retention = Retention::new(&up.listed, &up.readable, up.taken.as_ref().map(|taken| taken.epoch));
        for (name, read) in opening::savepoints(&self.store, &self.plan().topology.name).await? {
            match read {
                Ok(manifest) => retention.hold(&name, &manifest),
                Err(reason) => {
                    tracing::warn!(savepoint = name, reason, "a savepoint cannot be read; no snapshot is deleted while it is there");
                    retention.hold_unread(&name);
                }
            }
        }
        Ok(retention)
    }

    /// There is nothing to run, but there may be output to publish and a savepoint to keep.
    async fn end_of_a_finished_job(
        &self,
        sinks: Vec<NamedSink>,
        look: &Look,
        base: Option<&Manifest>,
        generation: Generation,
    ) -> Result<Attempt, Error> {
        let Some(base) = base else { return Err(Error::Internal("a job without a checkpoint counts as finished".into())) };
        let taken = base.epoch.next().max(look.after.next());
        self.recover_sinks(&sinks, Some(base), look, (taken, generation)).await?;
        if let Some(name) = &self.options.savepoint {
            savepoint::keep(&self.store, name, base, &self.options.clock).await?;
        } else {
            self.check_nothing_waits()?;
        }
        Ok(Attempt::Ended(Ending::AlreadyFinished))
    }

    /// Lets engine and keeper work side by side; when one fails, the other is stopped.
    async fn drive(
        &self,
        blueprint: Blueprint,
        seats: Vec<Seat>,
        keeper: Keeper,
        Recorded { events, lanes }: Recorded,
        control: &Arc<Control>,
        from: Option<Epoch>,
    ) -> Result<Attempt, Error> {
        if self.is_stopping() {
            // Before the first reader looks: such an attempt reads nothing.
            control.stop();
        }
        let engine = tokio::task::spawn_blocking(move || engine::run(blueprint, seats));
        let mut stop = self.options.stop.clone();
        let stopper = Arc::clone(control);
        let listener = tokio::spawn(async move {
            asked(&mut stop).await;
            stopper.stop();
        });
        let calls = keeper.calls.clone();
        let kept = keeper.keep(events).await;
        if kept.is_err() {
            control.abort();
        }
        let ran = engine.await.map_err(|error| Error::Internal(format!("the engine: {error}")))?;
        listener.abort();
        // A failed store makes instances fail to report: its error is the cause, theirs the consequence.
        let (end, newest) = kept?;
        let is_guest = matches!(ran, Err(Failure::Guest { .. } | Failure::Diverged { .. }));
        if is_guest || end == RunEnd::Again {
            // Another attempt may follow, and deletes what no manifest names, and publishes what is not known to be published.
            lanes.settle().await;
            calls.settle().await?;
        }
        match (ran, end) {
            (Err(failure), _) => match failure {
                // Only a checkpoint of this run is progress; the manifest that it took over with is none.
                Failure::Guest { index, .. } | Failure::Diverged { index, .. } => {
                    Ok(Attempt::Failed { failure, operator: index, completed: newest.or(from), progress: newest.is_some() })
                }
                other => Err(Error::Engine(Box::new(other))),
            },
            (Ok(()), RunEnd::Finished) => Ok(Attempt::Ended(Ending::Finished)),
            (Ok(()), RunEnd::Again) if !self.is_stopping() => Ok(Attempt::Again),
            (Ok(()), RunEnd::Stopped | RunEnd::Again) => Ok(Attempt::Ended(Ending::Stopped)),
            // A writing thread may fail on its last work, after the workers have ended.
            (Ok(()), RunEnd::Abandoned) => Err(match control.take_failure() {
                Some(failure) => Error::Engine(Box::new(failure)),
                None => Error::Internal("the engine ended without closing its instances".into()),
            }),
        }
    }

    /// Refuses a checkpoint that has state for nodes that the topology no longer has.
    fn check_nodes(&self, base: Option<&Manifest>, tell: bool) -> Result<(), Error> {
        let Some(base) = base else { return Ok(()) };
        if tell && base.topology != digest(&self.plan().topology.digest_text()) {
            self.tell(Notice::OtherTopology);
        }
        let topology = &self.plan().topology;
        let misfit = |kind: &str, name: &str| Error::Misfit {
            epoch: base.epoch,
            what: format!("it has state of the {kind} `{name}`, which the topology does not have"),
            help: "give the node its old name back, or start a new job under another `name`".into(),
        };
        for source in base.sources.iter().filter(|s| !s.splits.is_empty() && !is_replay_source(&s.name)) {
            if !topology.sources.iter().any(|now| now.name == source.name) {
                return Err(misfit("source", &source.name));
            }
        }
        for operator in &base.operators {
            let Some(at) = topology.operators.iter().position(|now| now.name == operator.name) else {
                if operator.instances.iter().all(|i| i.chain.is_empty()) {
                    continue;
                }
                return Err(misfit("operator", &operator.name));
            };
            if take_up::has_state(operator) {
                take_up::moves(operator, &self.plan().descriptions[at], base.epoch)?;
            }
            if tell && self.prepared.components[at].digest() != operator.component {
                self.tell(Notice::OtherComponent { operator: operator.name.clone() });
            }
        }
        for sink in base.sinks.iter().filter(|s| !s.staged.is_empty()) {
            if !topology.sinks.iter().any(|now| now.name == sink.name) {
                return Err(misfit("sink", &sink.name));
            }
        }
        Ok(())
    }

    fn encoding(&self, from: Node, port: u32) -> RowEncoding {
        let plan = self.plan();
        match from {
            Node::Source(index) => connect::source_encoding(&plan.topology.sources[index].kind),
            Node::Operator(index) => {
                let port = &plan.descriptions[index].outputs[port as usize];
                RowEncoding { key: port.key, value: port.value }
            }
            Node::Sink(_) => unreachable!("a plan has no edge out of a sink"),
        }
    }

    /// Somebody has asked to stop.
    fn is_stopping(&self) -> bool {
        *self.options.stop.borrow()
    }

    fn seats(
        &self,
        (readers, replays): (Readers, &Replays),
        sinks: &[NamedSink],
        generation: Generation,
        mut checkpoint: Option<&mut Checkpoint>,
    ) -> Result<Vec<Seat>, Error> {
        let (topology, workers) = (&self.plan().topology, self.options.workers);
        let mut seats: Vec<Seat> = (0..workers).map(|_| Seat::default()).collect();
        for (index, (name, readers)) in self.sources(replays).zip(readers).enumerate() {
            for (seat, reader) in seats.iter_mut().zip(readers) {
                let idle_after = topology.sources.get(index).and_then(|source| match &source.kind {
                    SourceKind::File(file) => file.idle_after,
                });
                seat.sources.push(SourceSeat { name: name.clone(), index, reader, idle_after });
            }
        }
        for (index, NamedSink { name, sink }) in sinks.iter().enumerate() {
            for (instance, seat) in seats.iter_mut().enumerate() {
                let writer = sink.writer(instance as u32, generation.0).map_err(cannot_start("sink", name))?;
                seat.sinks.push(SinkSeat { name: name.clone(), index, writer });
            }
        }
        if let Some(checkpoint) = checkpoint.as_mut() {
            for (operator, description) in topology.operators.iter().zip(&self.plan().descriptions) {
                let instances = operator.instances(workers);
                let mut states = checkpoint.state_of(&operator.name, description, instances)?.into_iter();
                for (seat, index) in seats.iter_mut().zip(0..) {
                    let local = keying::of_worker(index, instances, workers);
                    seat.restored.push(states.by_ref().take(local.len()).collect());
                }
            }
        }
        Ok(seats)
    }

    fn control(&self, first_epoch: Epoch, replays: &Replays) -> Arc<Control> {
        let (topology, workers) = (&self.plan().topology, self.options.workers);
        let nodes = (topology.sources.len() + replays.len(), topology.sinks.len());
        let guard = |operator: &Operator| Guard::new(window(&operator.on_failure), operator.instances(workers) as usize);
        let guards = topology.operators.iter().map(|operator| Arc::new(guard(operator))).collect();
        Arc::new(Control::new(first_epoch, workers as usize, topology.checkpoint.uncheckpointed_bytes_max, nodes, guards))
    }

    fn recorder(&self, layout: &Layout, patience: &Arc<Patience>, replays: &Replays) -> (engine::Reporter, Recorded) {
        let topology = &self.plan().topology;
        let recorder = Recorder {
            store: self.store.clone(),
            patience: Arc::clone(patience),
            job: topology.name.clone(),
            generation: layout.generation,
            sources: self.sources(replays).collect(),
            operators: topology.operators.iter().map(|o| o.name.clone()).collect(),
            origins: (0..topology.operators.len()).map(|place| Arc::new(self.origin(place))).collect(),
            components: topology.operators.iter().map(|_| tokio::sync::OnceCell::new()).collect(),
        };
        // One more for the epoch that begins while the last one is still under way, and one for the closing report.
        let waiting = topology.checkpoint.epochs_in_flight_max as usize + 2;
        recorder::start(recorder, layout.participants().collect(), waiting)
    }

    /// What the capsules of an operator, given by its place, have in common.
    fn origin(&self, place: usize) -> Origin {
        let topology = &self.plan().topology;
        let operator = &topology.operators[place];
        Origin {
            job: topology.name.clone(),
            operator: operator.name.clone(),
            line: operator.line as u32,
            config: operator.config.clone(),
            digest: self.prepared.components[place].digest(),
            component: Arc::clone(&self.prepared.component_bytes[place]),
            limits: prepare::limits_of(operator),
            stack_bytes_max: topology.limits.stack_bytes_max,
            fuel: operator.fuel,
            grants: (
                operator.grant.variables.iter().map(|(name, _)| name.clone()).collect(),
                operator.grant.folders.iter().map(|folder| folder.guest.clone()).collect(),
            ),
            bytes_max: operator.on_failure.capsule_bytes_max,
        }
    }

    fn blueprint(&self, first_epoch: Epoch, control: &Arc<Control>, reporter: engine::Reporter, replays: &Replays) -> Blueprint {
        let topology = &self.plan().topology;
        let watch = Arc::clone(&self.options.watch);
        let events: engine::Events = Arc::new(move |event| watch(Notice::Operator(event)));
        let operators = topology.operators.iter().enumerate().map(|(index, operator)| {
            Arc::new(OperatorBlueprint {
                job: topology.name.clone(),
                settings: operator.clone(),
                component: self.prepared.components[index].clone(),
                description: self.plan().descriptions[index].clone(),
                limits: prepare::limits_of(operator),
                part_bytes_max: u32::try_from(topology.checkpoint.part_bytes_max).unwrap_or(u32::MAX),
                chain_length_max: topology.checkpoint.chain_length_max,
                guard: Arc::clone(&control.guards[index]),
                events: Arc::clone(&events),
            })
        });
        Blueprint {
            plan: replays.extend(self.plan().clone()),
            first_epoch,
            operators: operators.collect(),
            source_limits: SourceLimits {
                interval: topology.checkpoint.interval.max(Duration::from_millis(1)),
                epochs_in_flight_max: topology.checkpoint.epochs_in_flight_max,
                steps_ahead_max: topology.flow.steps_ahead_max,
                bytes_ahead_max: topology.flow.bytes_ahead_max,
            },
            accounts: Arc::new(Accounts::new(topology.operators.len(), self.options.workers, topology.flow.emitted_ahead_bytes_max)),
            control: Arc::clone(control),
            reporter,
            clock: self.options.clock.clone(),
        }
    }

    fn layout(&self, generation: Generation, writer: u64, splits: Splits, replays: &Replays) -> Layout {
        let plan = self.plan();
        let operators = plan.topology.operators.iter().enumerate().map(|(index, operator)| {
            let (component, slots) = (self.prepared.components[index].digest(), plan.descriptions[index].slots.clone());
            OperatorLayout { name: operator.name.clone(), component, slots, instances: operator.instances(self.options.workers) }
        });
        Layout {
            job: plan.topology.name.clone(),
            generation,
            writer,
            topology: digest(&plan.topology.digest_text()),
            workers: self.options.workers,
            operators: operators.collect(),
            sources: self.sources(replays).zip(splits.into_iter().chain(std::iter::repeat(Vec::new()))).collect(),
            sinks: plan.topology.sinks.iter().map(|s| s.name.clone()).collect(),
            chain: ChainLimits {
                length_max: plan.topology.checkpoint.chain_length_max,
                bytes_max: plan.topology.checkpoint.chain_bytes_max,
            },
        }
    }
}

/// When the breaker of an operator opens.
fn window(on_failure: &OnFailure) -> Window {
    let OnFailure { faults_max, rejections_max, window, pause, .. } = *on_failure;
    Window { faults_max, rejections_max, window, pause }
}

/// The name of this machine, for people.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "an unnamed machine".into() } else { name.trim().into() }
}

fn digest(text: &str) -> Digest {
    use sha2::Digest as _;
    Digest(sha2::Sha256::digest(text.as_bytes()).into())
}
