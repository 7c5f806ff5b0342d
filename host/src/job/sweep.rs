//! Carries out a sweep ([`reprise_core::checkpoint::sweep`]). Snapshots are listed a page at a time and deleted side by side, each time behind the
//! fence.

use crate::store::{Store, StoreError};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::sweep::{DELETIONS_UNSEEN_MAX, LookPace, Sweep, SweepStep, Swept};
use reprise_core::ids::Generation;
use std::time::Instant;

/// Why something was not deleted.
#[derive(Debug)]
pub(super) enum Halt {
    /// Another host runs the job.
    Replaced,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The right to delete: looks at the claims as often as it must.
pub(super) struct Fence<'a> {
    store: &'a Store,
    generation: Generation,
    began: Instant,
    pace: LookPace,
}

impl<'a> Fence<'a> {
    /// One that looks before the first deletion.
    pub fn new(store: &'a Store, generation: Generation) -> Self {
        Self { store, generation, began: Instant::now(), pace: LookPace::default() }
    }

    /// Deletes objects side by side.
    pub async fn delete(&mut self, paths: &[String]) -> Result<(), Halt> {
        for paths in paths.chunks(DELETIONS_UNSEEN_MAX) {
            let now = self.began.elapsed();
            if !self.pace.lets_through(now, paths.len()) {
                if super::recovery::newest_generation(self.store).await? > self.generation {
                    return Err(Halt::Replaced);
                }
                self.pace.looked(now, paths.len());
            }
            self.store.delete_all(paths.iter().cloned()).await?;
        }
        Ok(())
    }
}

/// Deletes the retired manifests and what nothing needs. Whatever ended it early, it says what is gone.
pub(super) async fn run(store: &Store, mut sweep: Sweep) -> (Swept, Result<(), Halt>) {
    let ended = work(store, &mut sweep).await;
    (sweep.into_swept(), ended)
}

async fn work(store: &Store, sweep: &mut Sweep) -> Result<(), Halt> {
    let mut fence = Fence::new(store, sweep.generation());
    let list = async |folder| Ok::<_, Halt>(store.list(folder).await?.into_iter().map(|entry| entry.path).collect());
    let mut pages = None;
    let mut listed = None;
    loop {
        listed = match sweep.step(listed) {
            SweepStep::Delete(paths) => {
                fence.delete(&paths).await?;
                None
            }
            SweepStep::Savepoints => Some(list(paths::SAVEPOINTS).await?),
            SweepStep::Claims => Some(list(paths::GENERATIONS).await?),
            SweepStep::Page => {
                let pages = match &mut pages {
                    Some(pages) => pages,
                    none => none.insert(store.pages(paths::SNAPSHOTS)?),
                };
                pages.next().await?.map(|page| {
                    let names: Vec<String> = page.into_iter().map(|found| found.path).collect();
                    for path in names.iter().filter(|path| paths::snapshot_origin(path).is_none()) {
                        store.pass_over(path, "it is no snapshot");
                    }
                    names
                })
            }
            SweepStep::Done => return Ok(()),
        };
    }
}

#[cfg(test)]
mod tests;
