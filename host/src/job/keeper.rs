//! Carries out what the coordinator decides: writes manifests, publishes output, deletes what nothing needs any more.

use super::error::Error;
use super::notice::{CheckpointNotice, Notice, Watch};
use super::recorder::Told;
use super::take_up::{newest_generation, put_manifest};
use crate::clock::Clock;
use crate::connect::{ConnectError, Sink, Staged};
use crate::engine::Control;
use crate::store::Store;
use reprise_core::checkpoint::coordinator::{Action, Coordinator, Event};
use reprise_core::checkpoint::manifest::{Manifest, StagedRef};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::ids::{Epoch, Generation};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Deletions that one sweep makes; the rest is left to the next one.
const DELETIONS_MAX: usize = 10_000;

/// A sink of the job, with its name in the topology.
pub(super) struct NamedSink {
    pub name: String,
    pub sink: Arc<dyn Sink>,
}

/// See the module.
pub(super) struct Keeper {
    pub store: Store,
    pub generation: Generation,
    pub coordinator: Coordinator,
    pub control: Arc<Control>,
    pub sinks: Vec<NamedSink>,
    pub retention: Retention,
    pub keep: usize,
    pub clock: Clock,
    pub watch: Watch,
    /// Manifests that are stored and whose output is not yet published.
    pub stored: BTreeMap<Epoch, Manifest>,
    /// The newest of all manifests that this run has stored.
    pub newest: Option<Epoch>,
    /// The sweep under way.
    pub sweep: Option<tokio::task::JoinHandle<()>>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// All input had ended.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// The instances went away without having closed: the engine has the reason.
    Abandoned,
}

impl Keeper {
    /// Works until the coordinator says that the run is done, or until nobody reports any more. Also tells the newest checkpoint that
    /// this run has stored.
    pub async fn keep(mut self, events: mpsc::Receiver<Told>) -> Result<(RunEnd, Option<Epoch>), Error> {
        let end = self.work(events).await?;
        Ok((end, self.newest))
    }

    async fn work(&mut self, mut events: mpsc::Receiver<Told>) -> Result<RunEnd, Error> {
        let mut due = VecDeque::new();
        loop {
            let event = match due.pop_front() {
                Some(event) => event,
                None => match events.recv().await {
                    Some(told) => told?,
                    None => return Ok(RunEnd::Abandoned),
                },
            };
            let actions = self.coordinator.step(event).map_err(|violation| Error::Internal(violation.to_string()))?;
            for action in actions {
                match action {
                    Action::Write(manifest) => due.push_back(self.write(*manifest).await?),
                    Action::Publish { epoch, staged } => due.push_back(self.publish(epoch, staged).await?),
                    Action::Completed(epoch) => self.control.set_completed(epoch),
                    Action::Done { finished } => {
                        // The last sweep may have begun before the last checkpoint: once more.
                        self.end_sweep().await;
                        self.sweep();
                        self.end_sweep().await;
                        return Ok(if finished { RunEnd::Finished } else { RunEnd::Stopped });
                    }
                }
            }
        }
    }

    async fn end_sweep(&mut self) {
        if let Some(sweep) = self.sweep.take() {
            // A sweep that failed has told the watch.
            let _ = sweep.await;
        }
    }

    async fn write(&mut self, mut manifest: Manifest) -> Result<Event, Error> {
        let theirs = newest_generation(&self.store).await?;
        if theirs > self.generation {
            return Err(Error::Fenced { ours: self.generation, theirs });
        }
        let epoch = manifest.epoch;
        manifest.written_ms = self.clock.now_ms();
        if !put_manifest(&self.store, &manifest).await? {
            return Err(Error::Overtaken { epoch });
        }
        // Who was fenced off between the look and the create must not publish. Who claims from now on finds this manifest.
        let theirs = newest_generation(&self.store).await?;
        if theirs > self.generation {
            return Err(Error::Fenced { ours: self.generation, theirs });
        }
        self.newest = Some(epoch);
        self.stored.insert(epoch, manifest);
        Ok(Event::Stored(epoch))
    }

    async fn publish(&mut self, epoch: Epoch, staged: Vec<(usize, StagedRef)>) -> Result<Event, Error> {
        for (place, staged) in staged {
            let Some(NamedSink { name, sink }) = self.sinks.get(place) else { continue };
            publish_one(Arc::clone(sink), name, staged).await?;
        }
        if let Some(manifest) = self.stored.remove(&epoch) {
            self.retention.note(&manifest);
            (self.watch)(Notice::Checkpoint(notice(&manifest)));
            self.sweep();
        }
        Ok(Event::Published(epoch))
    }

    /// Deletes in the background what is not retained: manifests first, then the snapshots that only they needed. A crash in between
    /// leaves garbage, which the next sweep finds.
    fn sweep(&mut self) {
        if self.sweep.as_ref().is_some_and(|sweep| !sweep.is_finished()) {
            return;
        }
        let retired = self.retention.retire(self.keep);
        if retired.is_empty() {
            return;
        }
        let (store, watch, generation) = (self.store.clone(), Arc::clone(&self.watch), self.generation);
        let reached = self.retention.clone();
        self.sweep = Some(tokio::spawn(async move {
            match sweep(&store, &reached, &retired, generation).await {
                Ok(objects) => watch(Notice::Swept { manifests: retired.len(), objects }),
                Err(error) => watch(Notice::SweepFailed { reason: error.to_string() }),
            }
        }));
    }
}

async fn sweep(store: &Store, retention: &Retention, retired: &[Epoch], generation: Generation) -> Result<usize, crate::store::StoreError> {
    for &epoch in retired {
        store.delete(&paths::manifest(epoch)).await?;
    }
    let stored: Vec<String> = store.list(paths::SNAPSHOTS).await?.into_iter().map(|entry| entry.path).collect();
    for entry in store.list(paths::GENERATIONS).await? {
        // The fence only looks for newer claims than its own.
        if paths::claim_generation(&entry.path).is_some_and(|claimed| claimed < generation) {
            store.delete(&entry.path).await?;
        }
    }
    let garbage = retention.garbage(&stored, generation);
    let count = garbage.len().min(DELETIONS_MAX);
    for path in &garbage[..count] {
        store.delete(path).await?;
    }
    Ok(count)
}

/// Publishes one staged output, on a thread that may block.
pub(super) async fn publish_one(sink: Arc<dyn Sink>, name: &str, staged: StagedRef) -> Result<(), Error> {
    let staged = Staged { token: staged.token, rows: staged.rows, bytes: staged.bytes };
    let published: Result<(), ConnectError> = tokio::task::spawn_blocking(move || sink.publish(&staged))
        .await
        .map_err(|error| Error::Internal(format!("a task failed: {error}")))?;
    let failed = |error| crate::engine::Failure::Connect { kind: "sink", name: name.to_owned(), instance: 0, error };
    published.map_err(|error| Error::Engine(Box::new(failed(error))))
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
        rows: manifest.sources.iter().map(|s| s.rows).sum(),
        rejected: manifest.sources.iter().map(|s| s.rejected).sum::<u64>() + instances().map(|i| i.rejected).sum::<u64>(),
        finished: manifest.finished,
    }
}
