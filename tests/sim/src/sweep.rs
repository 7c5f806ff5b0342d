//! Carries out a sweep in the background, as `host/src/job/sweep.rs` does.

use crate::client::Client;
use crate::mutation::Mutation;
use crate::plan::{Fault, Point};
use crate::run::Run;
use crate::snapshot::JOB;
use crate::world::Sim;
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::objects::read_manifest;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::sweep::{LookPace, Sweep, SweepStep, Swept};
use reprise_core::ids::Epoch;
use std::collections::BTreeMap;
use std::time::Duration;

/// A sweep that was ended since another host has the job.
pub struct Replaced;

/// Deletes what a sweep is to delete, these retired manifests first; says what is gone, also where it was ended early.
pub async fn run(sim: &Sim, run: &Run, mut sweep: Sweep, retired: &[Epoch]) -> (Swept, Result<(), Replaced>) {
    if sim.is_broken(Mutation::SweepIgnoresCompactions) {
        sweep.spared.clear();
    }
    sim.tell(run.host, format_args!("sweeps manifests {retired:?}"));
    let ended = work(sim, run, &mut sweep, retired).await;
    (sweep.into_swept(), ended)
}

async fn work(sim: &Sim, run: &Run, sweep: &mut Sweep, retired: &[Epoch]) -> Result<(), Replaced> {
    let mut pace = LookPace::default();
    let (mut after, mut more) = (None, true);
    let mut listed = None;
    loop {
        listed = match sweep.step(listed) {
            SweepStep::Delete(paths) => {
                delete(sim, run, &mut pace, paths).await?;
                None
            }
            SweepStep::Savepoints if sim.is_broken(Mutation::SweepIgnoresSavepoints) => Some(Vec::new()),
            SweepStep::Savepoints => Some(run.client.list(paths::SAVEPOINTS).await),
            SweepStep::Claims => Some(run.client.list(paths::GENERATIONS).await),
            SweepStep::Page if !more => None,
            SweepStep::Page => {
                let page;
                (page, more) = run.client.page(paths::SNAPSHOTS, after.take()).await;
                after = page.last().cloned();
                if sim.is_broken(Mutation::SweepIgnoresReachability) {
                    let is_old = |path: &&String| paths::snapshot_origin(path).is_some_and(|(epoch, _)| Some(&epoch) <= retired.last());
                    delete(sim, run, &mut pace, page.iter().filter(is_old).cloned().collect()).await?;
                }
                Some(page)
            }
            SweepStep::Done => return Ok(()),
        };
    }
}

async fn delete(sim: &Sim, run: &Run, pace: &mut LookPace, paths: Vec<String>) -> Result<(), Replaced> {
    let now = Duration::from_millis(sim.now());
    if paths.is_empty() {
        return Ok(());
    }
    if !pace.lets_through(now, paths.len()) {
        if run.client.newest_claim().await > run.generation {
            return Err(Replaced);
        }
        pace.looked(now, paths.len());
    }
    if paths.iter().any(|path| paths::snapshot_origin(path).is_some()) {
        sim.point(run.host, Point::MidSweep).await;
    }
    for path in paths {
        if paths::snapshot_origin(&path).is_some() {
            sim.count(Fault::Swept);
        }
        run.client.delete(&path).await;
    }
    Ok(())
}

/// The savepoints there are, by name; an error tells why one cannot be read.
pub async fn savepoints(client: &Client) -> BTreeMap<String, Result<Manifest, String>> {
    let mut found = BTreeMap::new();
    for path in client.list(paths::SAVEPOINTS).await {
        if let (Some(name), Some(bytes)) = (paths::savepoint_name(&path), client.get(&path).await) {
            let read = read_manifest(&bytes, &path, JOB, None).map_err(|error| error.to_string());
            found.insert(name.to_owned(), read.flatten());
        }
    }
    found
}
