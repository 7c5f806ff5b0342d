//! Deletes what is not retained, in the background: manifests first, then the objects that only they needed.

use crate::clockwork::WHOLE;
use crate::mutation::Mutation;
use crate::plan::{Fault, Point};
use crate::run::Run;
use crate::world::Sim;
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use reprise_core::ids::Epoch;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Begins a sweep, unless one is under way or nothing is to go.
pub fn sweep(sim: &Sim, run: &Rc<Run>) {
    if run.sweeping.get() {
        return;
    }
    let retired = run.retention.borrow_mut().retire(sim.plan.keep);
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
    let retention = run.retention.borrow().clone();
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
    }
    let stored = run.client.list(paths::SNAPSHOTS).await;
    for path in run.client.list(paths::GENERATIONS).await {
        match paths::claim_generation(&path) {
            Some(claimed) if claimed < run.generation => run.client.delete(&path).await,
            Some(claimed) if claimed > run.generation => return,
            _ => {}
        }
    }
    if !sim.is_broken(Mutation::SweepIgnoresSavepoints) {
        spared.extend(reached_by_savepoints(run).await);
    }
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

/// What the savepoints reach. Those that cannot be read reach nothing: nobody can take them up.
async fn reached_by_savepoints(run: &Run) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for path in run.client.list(paths::SAVEPOINTS).await {
        let Some(bytes) = run.client.get(&path).await else { continue };
        if let Ok(manifest) = record::decode::<Manifest>(&bytes) {
            reached.extend(manifest.objects().map(|object| object.path.clone()));
        }
    }
    reached
}
