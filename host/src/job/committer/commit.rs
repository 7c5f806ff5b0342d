//! The events of a run, one after another: what the committer decides is carried out in its order, and what comes of it is told it first. Here a
//! manifest is written.

use super::context::CommitterContext;
use super::housekeeping::Housekeeping;
use super::publish::Publisher;
use super::requests::Requests;
use crate::job::compact::Compactor;
use crate::job::error::Error;
use crate::job::notice::{CheckpointNotice, Notice};
use crate::job::store_retry::RetryingStore;
use reprise_core::checkpoint::committer::{Committer, CommitterAction, CommitterEvent};
use reprise_core::checkpoint::coordinator::Report;
use reprise_core::checkpoint::fenced_committer::CommitterError;
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::is_replay_source;
use reprise_core::codec::record;
use reprise_core::ids::{Epoch, Generation};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

/// Time between two looks whether sources wait for storage.
const FULL_LOOK: Duration = Duration::from_millis(500);

/// The driver of the committer of a run.
pub(in crate::job) struct CommitterDriver {
    pub store: RetryingStore,
    pub committer: Committer,
    pub context: CommitterContext,
    pub publisher: Publisher,
    pub compactor: Compactor,
    pub requests: Requests,
    pub housekeeping: Housekeeping,
    /// Events that the committer is told before any other; at first those that are known before the run begins.
    pub due: VecDeque<CommitterEvent>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::job) enum RunEnd {
    /// All input had ended.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// There are rows to send again, which the next run does.
    Again,
    /// The instances went away without having closed: the engine has the reason.
    Abandoned,
}

/// What is waited for where nothing is due.
struct Waiting {
    /// Reports of the participants; `None` once no more will come.
    reports: Option<mpsc::Receiver<Result<Report, Error>>>,
    /// The next look for requests.
    poll: Interval,
}

impl CommitterDriver {
    /// Works until the run is done, or until no participant reports any more. Also tells the newest checkpoint that this run has stored.
    pub async fn run(mut self, reports: mpsc::Receiver<Result<Report, Error>>) -> Result<(RunEnd, Option<Epoch>), Error> {
        let teller = tokio::spawn(tell_full(self.context.clone()));
        let mut poll = tokio::time::interval(self.requests.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = self.work(Waiting { reports: Some(reports), poll }).await;
        teller.abort();
        match ended {
            Ok(end) => Ok((end, self.committer.newest())),
            Err(Error::Abandoned) => Ok((RunEnd::Abandoned, self.committer.newest())),
            Err(error) => Err(error),
        }
    }

    async fn work(&mut self, mut waiting: Waiting) -> Result<RunEnd, Error> {
        let ours = self.committer.generation();
        let mut actions = self.committer.begin().map_err(|error| failed(error, ours))?;
        loop {
            for action in actions {
                if let CommitterAction::Done { finished } = action {
                    self.clear_up().await;
                    return Ok(match finished {
                        _ if self.requests.ends_for_replays => RunEnd::Again,
                        true => RunEnd::Finished,
                        false => RunEnd::Stopped,
                    });
                }
                self.carry_out(action).await?;
            }
            let Some(event) = self.next(&mut waiting).await? else { return Ok(RunEnd::Abandoned) };
            actions = self.committer.step(event).map_err(|error| failed(error, ours))?;
        }
    }

    /// The next event; `None` where no more can come.
    async fn next(&mut self, waiting: &mut Waiting) -> Result<Option<CommitterEvent>, Error> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Ok(Some(event));
            }
            // The last manifests may wait for compactions, and for sinks.
            if waiting.reports.is_none() && self.compactor.is_idle() && self.committer.behind() == 0 {
                return Ok(None);
            }
            tokio::select! {
                biased;
                report = next_report(&mut waiting.reports) => match report {
                    Some(report) => return Ok(Some(CommitterEvent::Reported(report?))),
                    None if self.context.control.aborted() => return Ok(None),
                    None => waiting.reports = None,
                },
                Some(compacted) = self.compactor.next() => return Ok(Some(compacted?)),
                through = self.publisher.through() => {
                    let (lane, epoch) = through?;
                    return Ok(Some(CommitterEvent::LaneThrough { lane, epoch }));
                }
                Some(gone) = self.housekeeping.next() => return Ok(Some(CommitterEvent::Swept(gone))),
                _ = waiting.poll.tick() => self.due.extend(self.requests.look(&self.store.store, &self.context.control).await),
            }
        }
    }

    /// Does what an action says. What comes of it is due, where it is known at once.
    async fn carry_out(&mut self, action: CommitterAction) -> Result<(), Error> {
        self.due.push_back(match action {
            CommitterAction::Look => CommitterEvent::Newest(self.store.newest_generation().await?),
            CommitterAction::Create(manifest) => CommitterEvent::Created(self.create(&paths::manifest(manifest.epoch), *manifest).await?),
            CommitterAction::CreateSavepoint { path, manifest } => CommitterEvent::SavepointCreated(self.create(&path, *manifest).await?),
            CommitterAction::LookAfterSavepoint => CommitterEvent::NewestAfterSavepoint(self.store.newest_generation().await?),
            CommitterAction::Sweep(retired) => match self.housekeeping.begin(&self.store.store, &self.committer, retired) {
                true => return Ok(()),
                false => CommitterEvent::Swept(Vec::new()),
            },
            other => {
                self.begin(other).await;
                return Ok(());
            }
        });
        Ok(())
    }

    /// Does what needs no answer, or begins what has its answer later.
    async fn begin(&mut self, action: CommitterAction) {
        match action {
            CommitterAction::Publish(output) => self.publisher.publish(output),
            CommitterAction::Published(manifest) => self.published(&manifest),
            CommitterAction::Completed(epoch) => self.context.control.set_completed(epoch),
            CommitterAction::Compact(compaction) => self.compactor.compact(*compaction),
            CommitterAction::AskFull(at) => self.context.control.ask_full(at),
            CommitterAction::Saved { name, manifest, is_new } => {
                // Another request of this name is answered like the first one.
                if let Some(request) = self.requests.answered(&name) {
                    self.store.remove(&request).await;
                }
                (self.context.watch)(Notice::Savepoint { name, epoch: manifest.epoch, is_new });
            }
            CommitterAction::Remove(path) => self.store.remove(&path).await,
            _ => {}
        }
    }

    /// Writes a manifest. False where there is another one at that path.
    async fn create(&self, path: &str, mut manifest: Manifest) -> Result<bool, Error> {
        manifest.written_ms = self.context.clock.now_ms();
        let bytes = record::encode(&manifest).map_err(|error| Error::Internal(format!("a manifest: {error}")))?;
        self.store.create(path, bytes, true).await
    }

    /// All output of a checkpoint is published.
    fn published(&mut self, manifest: &Manifest) {
        let CommitterContext { control, watch, .. } = &self.context;
        self.requests.published(manifest, control);
        for (counters, operator) in control.operators.iter().zip(&manifest.operators) {
            let bytes: u64 = operator.instances.iter().flat_map(|i| &i.chain).map(|object| object.bytes).sum();
            counters.state_bytes.store(bytes as i64, Ordering::Relaxed);
        }
        watch(Notice::Checkpoint(notice(manifest)));
    }

    /// Gives up, at the end, the compactions that no manifest will name, and sweeps once more.
    async fn clear_up(&mut self) {
        self.compactor.give_up().await;
        let gone = self.housekeeping.end().await;
        let (needless, retired) = self.committer.end(&gone);
        for path in needless {
            self.store.remove(&path).await;
        }
        if self.housekeeping.begin(&self.store.store, &self.committer, retired) {
            self.housekeeping.end().await;
        }
    }
}

/// The next report; `None` after the last one. Waits for ever where that was told.
async fn next_report(reports: &mut Option<mpsc::Receiver<Result<Report, Error>>>) -> Option<Result<Report, Error>> {
    match reports {
        Some(reports) => reports.recv().await,
        None => std::future::pending().await,
    }
}

fn failed(error: CommitterError, ours: Generation) -> Error {
    match error {
        CommitterError::Fenced { theirs } => Error::Fenced { ours, theirs },
        CommitterError::Overtaken { epoch } => Error::Overtaken { epoch },
        CommitterError::Violation(_) | CommitterError::Broken(_) => Error::Internal(error.to_string()),
    }
}

/// Says that sources wait for storage, and when they read again. A wait that is shorter than a look is not worth a word.
async fn tell_full(CommitterContext { control, watch, .. }: CommitterContext) {
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
