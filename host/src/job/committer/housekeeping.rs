//! What a run deletes in the background: manifests and snapshots that are not retained, and now and then what is kept for people and has become
//! too old or too much. One deletion is under way at a time; it ends with the run.

use super::context::CommitterContext;
use crate::job::notice::Notice;
use crate::job::sweep::{self, Halt};
use crate::job::tidy::{self, Tidy};
use crate::store::Store;
use reprise_core::checkpoint::committer::Committer;
use reprise_core::ids::Epoch;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long the end of a run waits for a sweep.
const SWEEP_END_MAX: Duration = Duration::from_secs(5);

/// The deletions of a run.
pub(in crate::job) struct Housekeeping {
    /// What is kept for people.
    rules: tidy::Rules,
    /// When that was last looked at.
    tidied: Arc<tidy::Last>,
    context: CommitterContext,
    /// The deletion under way, if any; it gives the manifests that are gone.
    under_way: JoinSet<Vec<Epoch>>,
}

impl Housekeeping {
    pub fn new(rules: tidy::Rules, tidied: Arc<tidy::Last>, context: CommitterContext) -> Self {
        Self { rules, tidied, context, under_way: JoinSet::new() }
    }

    /// Begins to delete these manifests and what only they needed. False where there is nothing to delete.
    pub fn begin(&mut self, store: &Store, committer: &Committer, retired: Vec<Epoch>) -> bool {
        let is_tidy = !self.tidied.is_due();
        if retired.is_empty() && is_tidy {
            return false;
        }
        let generation = committer.generation();
        let tidy = (!is_tidy).then(|| {
            self.tidied.begins();
            Tidy {
                store: store.clone(),
                rules: self.rules.clone(),
                reach: committer.retention().reach(generation),
                generation,
                now_ms: self.context.clock.now_ms(),
                things_max: tidy::THINGS_MAX,
                watch: Arc::clone(&self.context.watch),
            }
        });
        let sweep = (!retired.is_empty()).then(|| committer.sweep(retired));
        let (store, watch) = (store.clone(), Arc::clone(&self.context.watch));
        self.under_way.spawn(async move {
            let mut gone = Vec::new();
            if let Some(sweep) = sweep {
                let (swept, ended) = sweep::run(&store, sweep).await;
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
        true
    }

    /// The manifests that the deletion under way has deleted, once it has ended; `None` where none is under way. One that panicked tells of none.
    pub async fn next(&mut self) -> Option<Vec<Epoch>> {
        Some(self.under_way.join_next().await?.unwrap_or_default())
    }

    /// As [`Self::next`], but cuts a deletion short that takes too long: one may end anywhere, and a run must end.
    pub async fn end(&mut self) -> Vec<Epoch> {
        match tokio::time::timeout(SWEEP_END_MAX, self.next()).await {
            Ok(gone) => gone.unwrap_or_default(),
            Err(_) => {
                self.under_way = JoinSet::new();
                tracing::info!("a sweep is cut short, since the run ends; the next run goes on with it");
                Vec::new()
            }
        }
    }
}
