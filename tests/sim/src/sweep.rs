//! Deletes what is not retained, in the background: manifests first, then the objects that only they needed.

use crate::client::Client;
use crate::clockwork::WHOLE;
use crate::mutation::Mutation;
use crate::plan::{Fault, Point};
use crate::run::Run;
use crate::world::Sim;
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::codec::record;
use reprise_core::ids::Epoch;
use std::rc::Rc;

/// Begins a sweep, unless one is under way or nothing is to go. `ahead`: manifests whose output is not known to be published.
pub fn sweep(sim: &Sim, run: &Rc<Run>, ahead: usize) {
    if run.sweeping.get() {
        return;
    }
    let retired = run.retention.borrow_mut().retire(sim.plan.keep + ahead);
    if retired.is_empty() {
        return;
    }
    run.sweeping.set(true);
    let (sim, run) = (sim.clone(), Rc::clone(run));
    sim.clone().spawn(run.host, WHOLE, async move {
        work(&sim, &run, &retired).await;
        run.sweeping.set(false);
    });
}

async fn work(sim: &Sim, run: &Run, retired: &[Epoch]) {
    let mut retention = run.retention.borrow().clone();
    let mut spared = run.spared.borrow().clone();
    if sim.is_broken(Mutation::SweepIgnoresCompactions) {
        spared.clear();
    }
    // Whoever was replaced deletes nothing more: the successor may have gone back to what this run retires.
    if run.client.newest_claim().await > run.generation {
        return;
    }
    sim.tell(run.host, format_args!("sweeps manifests {retired:?}"));
    for epoch in retired {
        run.client.delete(&paths::manifest(*epoch)).await;
        run.retention.borrow_mut().gone(&[*epoch]);
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
    retention.let_go_of_all_but(&saved.iter().filter(|_| !ignores).filter_map(|path| paths::savepoint_name(path)).collect());
    sim.point(run.host, Point::MidSweep).await;
    let mut garbage: Vec<&str> = retention.garbage(&stored, run.generation);
    if sim.is_broken(Mutation::SweepIgnoresReachability) {
        let old = |path: &&String| paths::snapshot_origin(path).is_some_and(|(epoch, _)| retired.iter().any(|retired| epoch <= *retired));
        garbage = stored.iter().filter(old).map(String::as_str).collect();
    }
    for path in garbage.into_iter().filter(|path| !spared.contains(*path)) {
        sim.count(Fault::Swept);
        run.client.delete(path).await;
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
