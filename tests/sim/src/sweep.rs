//! Deletes what is not retained, in the background: manifests first, then the objects that only they needed.

use crate::client::Client;
use crate::mutation::Mutation;
use crate::plan::{Fault, Point};
use crate::run::Run;
use crate::world::Sim;
use reprise_core::checkpoint::committer::Committer;
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::codec::record;
use reprise_core::ids::Epoch;
use std::collections::BTreeSet;

/// A sweep: what it deletes, and what it must leave.
pub struct Sweep {
    retired: Vec<Epoch>,
    retention: Retention,
    spared: BTreeSet<String>,
}

impl Sweep {
    /// Of what the committer retains and spares now.
    #[must_use]
    pub fn new(committer: &Committer, retired: Vec<Epoch>) -> Self {
        Self { retired, retention: committer.retention().clone(), spared: committer.spared() }
    }

    /// Deletes; gives the manifests that are gone.
    pub async fn run(mut self, sim: &Sim, run: &Run) -> Vec<Epoch> {
        let mut gone = Vec::new();
        self.work(sim, run, &mut gone).await;
        gone
    }

    async fn work(&mut self, sim: &Sim, run: &Run, gone: &mut Vec<Epoch>) {
        if sim.is_broken(Mutation::SweepIgnoresCompactions) {
            self.spared.clear();
        }
        // Who was replaced deletes nothing more: the successor may have gone back to what this run retires.
        if run.client.newest_claim().await > run.generation {
            return;
        }
        sim.tell(run.host, format_args!("sweeps manifests {:?}", self.retired));
        for epoch in &self.retired {
            run.client.delete(&paths::manifest(*epoch)).await;
            gone.push(*epoch);
        }
        let stored = run.client.list(paths::SNAPSHOTS).await;
        for path in run.client.list(paths::GENERATIONS).await {
            match paths::claim_generation(&path) {
                Some(claimed) if claimed < run.generation => run.client.delete(&path).await,
                Some(claimed) if claimed > run.generation => return,
                _ => {}
            }
        }
        let saved = run.client.list(paths::SAVEPOINTS).await;
        let ignores = sim.is_broken(Mutation::SweepIgnoresSavepoints);
        let names = saved.iter().filter(|_| !ignores).filter_map(|path| paths::savepoint_name(path)).collect();
        self.retention.let_go_of_all_but(&names);
        sim.point(run.host, Point::MidSweep).await;
        let mut garbage: Vec<&str> = self.retention.garbage(&stored, run.generation);
        if sim.is_broken(Mutation::SweepIgnoresReachability) {
            let is_old = |(epoch, _): (Epoch, _)| self.retired.iter().any(|retired| epoch <= *retired);
            garbage = stored.iter().filter(|path| paths::snapshot_origin(path).is_some_and(is_old)).map(String::as_str).collect();
        }
        for path in garbage.into_iter().filter(|path| !self.spared.contains(*path)) {
            sim.count(Fault::Swept);
            run.client.delete(path).await;
        }
    }
}

/// Holds what the savepoints need.
pub async fn hold_savepoints(client: &Client, retention: &mut Retention) {
    for path in client.list(paths::SAVEPOINTS).await {
        let Some(name) = paths::savepoint_name(&path) else { continue };
        match client.get(&path).await.map(|bytes| record::decode::<Manifest>(&bytes)) {
            Some(Ok(manifest)) => retention.hold(name, &manifest),
            Some(Err(_)) => retention.hold_unread(name),
            None => {}
        }
    }
}
