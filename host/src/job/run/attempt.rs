//! One attempt at a job: claims it, takes up its newest checkpoint, and lets engine and committer work side by side until one of them ends.

use super::options::{Ending, Options};
use super::seen_sinks::SeenSinks;
use crate::clock::Clock;
use crate::connect::{ConnectError, SourceReader};
use crate::engine::{self, Control, DataflowSpec, Failure, WorkerAssignment};
use crate::job::committer::{CommitterDriver, NamedSink, PublishCalls, Publisher, RunEnd};
use crate::job::error::Error;
use crate::job::notice::Notice;
use crate::job::parked::ParkedInput;
use crate::job::prepare::Prepared;
use crate::job::recorder::Recorded;
use crate::job::recovery::{self, RecoveredRun, RecoveryDriver, StartFrom};
use crate::job::replay::{self, Replays};
use crate::job::savepoint;
use crate::job::store_retry::RetryingStore;
use crate::job::tidy;
use crate::store::Store;
use reprise_core::checkpoint::coordinator;
use reprise_core::checkpoint::manifest;
use reprise_core::checkpoint::recovery::RecoveredJob;
use reprise_core::ids::{Epoch, Generation};
use reprise_core::topology::Plan;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Instant;
use tokio::sync::watch;

/// Waits until the user asks to stop; for ever where none can.
pub(super) async fn asked(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

/// A job that this host runs, over all attempts.
pub(super) struct Job {
    pub prepared: Prepared,
    pub options: Options,
    pub store: Store,
    /// The generation of this host's last attempt; 0 before the first.
    pub own: AtomicU64,
    /// Attempts in a row that ended for rows to send again, and after which there were none.
    pub idle: AtomicU32,
    pub tidied: Arc<tidy::Last>,
}

/// Ends the engine of an attempt that is dropped.
struct AbortOnDrop(Arc<Control>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How an attempt ended.
pub(super) enum Attempt {
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

/// The readers of each source, one for each worker.
pub(super) type Readers = Vec<Vec<Box<dyn SourceReader>>>;
/// All splits of each source, in the order of the topology file.
pub(super) type Splits = Vec<Vec<manifest::SplitPosition>>;

pub(super) fn cannot_start(kind: &'static str, name: &str) -> impl FnOnce(ConnectError) -> Error {
    move |error| Error::Connect { kind, name: name.to_owned(), error }
}

impl Job {
    pub(super) fn plan(&self) -> &Plan {
        &self.prepared.plan
    }

    pub(super) fn tell(&self, notice: Notice) {
        (self.options.watch)(notice);
    }

    /// `first`: the attempt that the start of the host makes, as against a restart of its own.
    pub(super) async fn attempt(&self, first: bool) -> Result<Attempt, Error> {
        let began = Instant::now();
        let start = self.options.start.as_ref().filter(|_| first);
        let has_new = start.is_none() && self.look_first().await?;
        let writer = Clock::unlikely_number();
        let (sinks, look) = self.look_at_sinks(writer, first).await?;
        let reopens = has_new || (!self.is_stopping() && replay::is_waited_for(&self.store, self.plan()).await?);
        let RecoveredRun { up, mut checkpoint } = self.open(start, writer, reopens, look.after).await?;
        for (epoch, reason) in &up.passed_over {
            self.tell(Notice::PassedOver { epoch: *epoch, reason: reason.clone() });
        }
        let base = up.base.as_ref();
        self.check_nodes(base, true)?;
        let Some(taken) = &up.taken else { return self.end_of_a_finished_job(&sinks, (&look, first), &up).await };
        self.recover_sinks(&sinks, &look, &up).await?;
        let all_replay = self.tell_weaker(base)?;
        if all_replay {
            let topology = &self.plan().topology;
            let nodes = topology.sources.iter().map(|s| s.name.as_str()).chain(topology.operators.iter().map(|o| o.name.as_str()));
            recovery::clear_quarantine(&self.store, nodes, &up).await?;
        }
        let replays = replay::recover(&self.store, &up, self.plan(), self.options.workers).await?;
        let (readers, splits) = self.all_readers(base, has_new, &replays)?;
        let parked = Arc::new(ParkedInput::new(replays.extend(self.plan().clone()), self.options.workers));
        let waiting = match base {
            Some(base) => parked.restore(&self.store, base).await?,
            None => BTreeMap::new(),
        };
        let seats = self.seats((readers, &replays), &sinks, up.generation, (checkpoint.as_mut(), waiting))?;
        let first_epoch = taken.epoch.next();
        let control = self.control(first_epoch, &replays);
        let _dropped = AbortOnDrop(Arc::clone(&control));
        let outage_max = self.plan().topology.checkpoint.outage_max;
        let store = RetryingStore::new(self.store.clone(), outage_max, Arc::clone(&control), Arc::clone(&self.options.watch));
        self.tell(Notice::Started {
            generation: up.generation,
            from: base.map(|b| b.epoch),
            control: Arc::clone(&control),
            took: began.elapsed(),
        });
        let foreign = self.look_for_foreign(&sinks, first);
        self.tell_replays(&replays);
        let layout = self.layout(up.generation, writer, splits, &replays);
        let (reporter, recorded) = self.recorder(&layout, &store, &replays, &parked);
        let parked_reader = parked.reader(&store, tokio::runtime::Handle::current());
        let blueprint = self.blueprint(first_epoch, &control, (reporter, parked_reader), &replays);
        let calls = PublishCalls::new(sinks.len());
        // Ending an attempt would lose what was read ahead of a source that cannot be read again.
        let ends_for_replays = all_replay && self.options.savepoint.is_none() && self.looks_for_replays(&replays);
        let publisher = Publisher::start(sinks, &calls, &self.options.watch);
        let committer = self.committer(layout, &up, taken).await?;
        let driver = self.driver(committer, publisher, store, &control, ends_for_replays.then_some(replays.watcher));
        let ended = self.drive((blueprint, seats), (driver, calls), recorded, &control, base.map(|b| b.epoch)).await;
        if let Ok(Attempt::Ended(_)) = ended {
            foreign.told().await;
        }
        ended
    }

    /// Claims the job and takes it up.
    async fn open(&self, start: Option<&StartFrom>, writer: u64, reopens: bool, after: Epoch) -> Result<RecoveredRun, Error> {
        let opener = RecoveryDriver {
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

    /// There is nothing to run, but there may be output to publish and a savepoint to keep.
    async fn end_of_a_finished_job(
        &self,
        sinks: &[NamedSink],
        (look, first): (&SeenSinks, bool),
        up: &RecoveredJob,
    ) -> Result<Attempt, Error> {
        let Some(base) = &up.base else { return Err(Error::Internal("a job without a checkpoint counts as finished".into())) };
        self.recover_sinks(sinks, look, up).await?;
        self.look_for_foreign(sinks, first).told().await;
        if let Some(name) = &self.options.savepoint {
            savepoint::keep(&self.store, name, base, &self.options.clock).await?;
        } else {
            self.check_nothing_waits()?;
        }
        Ok(Attempt::Ended(Ending::AlreadyFinished))
    }

    /// Lets engine and committer work side by side; when one fails, the other is stopped.
    async fn drive(
        &self,
        (blueprint, seats): (DataflowSpec, Vec<WorkerAssignment>),
        (driver, calls): (CommitterDriver, PublishCalls),
        Recorded { reports, lanes }: Recorded,
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
        let committed = driver.run(reports).await;
        if committed.is_err() {
            control.abort();
        }
        let ran = engine.await.map_err(|error| Error::Internal(format!("the engine: {error}")))?;
        listener.abort();
        // A failed store makes instances fail to report: its error is the cause, theirs the consequence.
        let (end, newest) = committed?;
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

    /// The user has asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        *self.options.stop.borrow()
    }
}

/// The name of this machine, for people.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "an unnamed machine".into() } else { name.trim().into() }
}
