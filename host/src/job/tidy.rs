//! Deletes what a job keeps for people and has not been needed for long: rows in quarantine, capsules and the components they name, and notes that
//! speak of nothing that is left. How much is kept is said by `[quarantine]` and `[capsules]` of the topology.
//!
//! Never deleted are rows that a retained manifest or a savepoint names, rows that are asked for again, and what may be on its way
//! into a manifest. Rows go before the notes about them: a row whose note is gone would be on the list again.

use super::notice::{Notice, Watch};
use super::sweep::{Fence, Halt};
use crate::store::{PageEntry, Store};
use reprise_core::checkpoint::capsule::Capsule;
use reprise_core::checkpoint::expiry::{KeptObject, expired};
use reprise_core::checkpoint::paths::{self, RequestKind};
use reprise_core::checkpoint::quarantine::{ObjectName, Replayed};
use reprise_core::checkpoint::retention::Reach;
use reprise_core::checkpoint::sweep::DELETIONS_UNSEEN_MAX;
use reprise_core::codec::record;
use reprise_core::ids::{Digest, Generation};
use reprise_core::topology::RetentionLimits;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two times that it is done in one run.
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// Things of one kind that are looked at in one go; the rest waits until these are fewer.
pub(super) const THINGS_MAX: usize = 1_000_000;
/// Notes that are read in one go.
const NOTES_READ_MAX: usize = 1_000;
/// An object that nothing names stays so long: what is to name it may be under way.
const GRACE_MS: i64 = 3_600_000;
/// An answer that was not taken away stays so long.
const ANSWER_KEEP_MS: i64 = 24 * 3_600_000;

/// When it was last done, in all attempts of a run.
#[derive(Debug, Default)]
pub(super) struct Last(Mutex<Option<Instant>>);

impl Last {
    fn at(&self) -> MutexGuard<'_, Option<Instant>> {
        // A time is whole even if a thread panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was not done for as long as [`TIDY_EVERY`].
    pub fn is_due(&self) -> bool {
        self.at().is_none_or(|at| at.elapsed() >= TIDY_EVERY)
    }

    /// It is done now.
    pub fn begins(&self) {
        *self.at() = Some(Instant::now());
    }
}

/// What is kept of what, and what is spared.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub quarantine: RetentionLimits,
    pub capsules: RetentionLimits,
    /// Components of the operators that run.
    pub components: BTreeSet<Digest>,
}

/// One go.
pub(super) struct Tidy {
    pub store: Store,
    pub rules: Rules,
    pub reach: Reach,
    pub generation: Generation,
    pub now_ms: i64,
    /// See [`THINGS_MAX`].
    pub things_max: usize,
    pub watch: Watch,
}

/// What was found of one kind.
struct Things {
    found: Vec<KeptObject>,
    /// There is more.
    is_cut: bool,
}

fn age_ms(keep: &RetentionLimits) -> i64 {
    i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX)
}

fn kept(found: PageEntry) -> KeptObject {
    KeptObject { written_ms: found.written_ms, path: found.path, size_bytes: found.size_bytes }
}

impl Tidy {
    /// Does all of it.
    pub async fn run(&self) -> Result<(), Halt> {
        let mut fence = Fence::new(&self.store, self.generation);
        let rows = self.quarantine(&mut fence).await?;
        self.replayed(&mut fence, &rows).await?;
        self.capsules(&mut fence).await?;
        self.answers(&mut fence).await
    }

    /// What lies in a folder and fits, as far as it is looked at in one go; what does not fit is named.
    async fn things(&self, folder: &str, why: &str, mut fits: impl FnMut(&str) -> bool) -> Result<Things, Halt> {
        let (mut things, mut is_cut) = (Vec::new(), false);
        let mut pages = self.store.pages(folder)?;
        while let Some(page) = pages.next().await? {
            for found in page {
                match fits(&found.path) {
                    true => things.push(kept(found)),
                    false => _ = self.store.pass_over(&found.path, why),
                }
            }
            if things.len() >= self.things_max {
                is_cut = true;
                tracing::warn!(
                    folder,
                    things = things.len(),
                    "there is more than is looked at in one go; the rest is looked at when this is less"
                );
                break;
            }
        }
        Ok(Things { found: things, is_cut })
    }

    fn tell(&self, what: &'static str, gone: &[KeptObject]) {
        if !gone.is_empty() {
            let bytes = gone.iter().map(|thing| thing.size_bytes).sum();
            (self.watch)(Notice::Expired { what, objects: gone.len(), bytes });
        }
    }

    fn is_old(&self, written_ms: i64, age_ms: i64) -> bool {
        written_ms < self.now_ms.saturating_sub(age_ms)
    }

    /// Rows that are too old or too many, then the notes about them. Gives the objects that stay.
    async fn quarantine(&self, fence: &mut Fence<'_>) -> Result<BTreeSet<String>, Halt> {
        let is_ours = |path: &str| ObjectName::of_path(path).is_some() || ObjectName::of_dropped(path).is_some();
        let Things { found, .. } =
            self.things(paths::QUARANTINE, "it is neither rows in quarantine nor a note about them", is_ours).await?;
        let (objects, notes): (Vec<KeptObject>, Vec<KeptObject>) =
            found.into_iter().partition(|thing| ObjectName::of_path(&thing.path).is_some());
        let asked = self.asked().await?;
        let is_free = |path: &str| {
            let origin = ObjectName::of_path(path).map(|name| (name.epoch, name.generation));
            !asked.contains(path) && origin.is_some_and(|origin| self.reach.is_free(path, origin))
        };
        let keep = &self.rules.quarantine;
        let mut stay: BTreeSet<String> = objects.iter().map(|thing| thing.path.clone()).collect();
        let mut gone = expired(objects, self.now_ms, (age_ms(keep), keep.bytes_max), |path| !is_free(path));
        self.delete_rows(fence, &mut gone).await?;
        self.tell("quarantine", &gone);
        gone.iter().for_each(|thing| _ = stay.remove(&thing.path));
        let mut orphans = Vec::new();
        for note in notes {
            let object = ObjectName::of_dropped(&note.path).map(|(object, _)| object.path()).unwrap_or_default();
            if !stay.contains(&object) && self.is_gone(&object, note.written_ms).await? {
                orphans.push(note.path);
            }
        }
        fence.delete(&orphans).await?;
        Ok(stay)
    }

    /// The objects whose rows are asked for again. A request that cannot be read counts, too: its name says of which object.
    async fn asked(&self) -> Result<BTreeSet<String>, Halt> {
        let asked = self.store.list(paths::REPLAYS).await?;
        Ok(asked.iter().filter_map(|entry| ObjectName::of_replay(&entry.path)).map(|(object, _)| object.path()).collect())
    }

    /// Deletes rows, save those that are asked for by then: this may take long. Leaves those that are deleted.
    async fn delete_rows(&self, fence: &mut Fence<'_>, gone: &mut Vec<KeptObject>) -> Result<(), Halt> {
        let mut asked = BTreeSet::new();
        for some in gone.chunks(DELETIONS_UNSEEN_MAX) {
            asked.extend(self.asked().await?);
            let free = some.iter().filter(|thing| !asked.contains(&thing.path));
            fence.delete(&free.map(|thing| thing.path.clone()).collect::<Vec<_>>()).await?;
        }
        gone.retain(|thing| !asked.contains(&thing.path));
        Ok(())
    }

    /// An object of which a note speaks is not there, and the note is not from just now.
    async fn is_gone(&self, object: &str, note_written_ms: i64) -> Result<bool, Halt> {
        Ok(self.is_old(note_written_ms, GRACE_MS) && self.store.size(object).await?.is_none())
    }

    /// Notes that speak of no rows that are left.
    async fn replayed(&self, fence: &mut Fence<'_>, rows: &BTreeSet<String>) -> Result<(), Halt> {
        let is_note = |path: &str| paths::replayed_origin(path).is_some();
        let Things { found: mut notes, .. } = self.things(paths::REPLAYED, "it is no note about the quarantine", is_note).await?;
        notes.sort_unstable();
        let mut over = Vec::new();
        for note in notes.into_iter().filter(|note| self.is_old(note.written_ms, GRACE_MS)).take(NOTES_READ_MAX) {
            let Some(bytes) = self.store.get(&note.path).await? else { continue };
            let Ok(read) = record::decode::<Replayed>(&bytes) else {
                self.store.pass_over(&note.path, "it cannot be read");
                continue;
            };
            let mut is_over = true;
            for of in &read.objects {
                is_over = is_over && !rows.contains(&of.object) && self.store.size(&of.object).await?.is_none();
            }
            if is_over {
                over.push(note.path);
            }
        }
        fence.delete(&over).await
    }

    /// Capsules that are too old or too many, then components that none of those left names.
    async fn capsules(&self, fence: &mut Fence<'_>) -> Result<(), Halt> {
        let is_ours = |path: &str| paths::is_capsule(path) || paths::component_digest(path).is_some();
        let Things { found, is_cut } = self.things(paths::CAPSULES, "it is no capsule", is_ours).await?;
        let (capsules, components): (Vec<KeptObject>, Vec<KeptObject>) =
            found.into_iter().partition(|thing| paths::is_capsule(&thing.path));
        let keep = &self.rules.capsules;
        let mut stay: BTreeSet<String> = capsules.iter().map(|thing| thing.path.clone()).collect();
        let gone = expired(capsules, self.now_ms, (age_ms(keep), keep.bytes_max), |_| false);
        fence.delete(&gone.iter().map(|thing| thing.path.clone()).collect::<Vec<_>>()).await?;
        self.tell("capsules", &gone);
        gone.iter().for_each(|thing| _ = stay.remove(&thing.path));
        let running: BTreeSet<String> = self.rules.components.iter().map(ToString::to_string).collect();
        let is_candidate = |thing: &KeptObject| {
            let is_running = paths::component_digest(&thing.path).is_some_and(|digest| running.contains(digest));
            !is_running && self.is_old(thing.written_ms, GRACE_MS)
        };
        let mut unnamed: Vec<KeptObject> = components.into_iter().filter(is_candidate).collect();
        // Those that were not looked at may name any.
        if unnamed.is_empty() || is_cut {
            return Ok(());
        }
        // Capsules are read only where a component may go, and one that cannot be read may name any.
        for path in stay {
            let Some(bytes) = self.store.get(&path).await? else { continue };
            let Ok(capsule) = record::decode::<Capsule>(&bytes) else {
                self.store.pass_over(&path, "it cannot be read");
                return Ok(());
            };
            let named = paths::component(capsule.component);
            unnamed.retain(|thing| thing.path != named);
        }
        fence.delete(&unnamed.iter().map(|thing| thing.path.clone()).collect::<Vec<_>>()).await?;
        self.tell("components", &unnamed);
        Ok(())
    }

    /// Answers that were not taken away.
    async fn answers(&self, fence: &mut Fence<'_>) -> Result<(), Halt> {
        let mut old = Vec::new();
        let mut pages = self.store.pages(paths::REQUESTS)?;
        while let Some(page) = pages.next().await? {
            let is_old = |found: &PageEntry| {
                paths::request_kind(&found.path) == Some(RequestKind::NotPaused) && self.is_old(found.written_ms, ANSWER_KEEP_MS)
            };
            old.extend(page.into_iter().filter(is_old).map(|found| found.path));
        }
        fence.delete(&old).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CallKind, Intercept, Interference, PAGE_OBJECTS, StorageCall, StoreLimits};
    use bytes::Bytes;
    use reprise_core::checkpoint::retention::Retention;
    use reprise_core::ids::{Epoch, Instance};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    fn rows(epoch: u64) -> ObjectName {
        ObjectName { epoch: Epoch(epoch), generation: Generation(1), node: "o".into(), instance: Instance(0), part: 0 }
    }

    /// One of generation 2, long after everything was written.
    fn tidy(store: &Store, things_max: usize) -> Tidy {
        let keep = RetentionLimits { age: Duration::from_secs(3_600), bytes_max: u64::MAX };
        Tidy {
            store: store.clone(),
            rules: Rules { quarantine: keep, capsules: keep, components: BTreeSet::new() },
            reach: Retention::default().reach(Generation(2)),
            generation: Generation(2),
            now_ms: i64::MAX,
            things_max,
            watch: Arc::new(|_| ()),
        }
    }

    /// Somebody who asks for the rows of the last epoch when the first rows are deleted.
    #[derive(Debug)]
    struct Asker(PathBuf, u64);

    impl Intercept for Asker {
        fn before(&self, call: &StorageCall) -> Interference {
            if call.kind == CallKind::Delete {
                let request = self.0.join(rows(self.1).replay(0));
                std::fs::create_dir_all(request.parent().expect("it is in a folder")).expect("it can be made");
                std::fs::write(request, "a request").expect("it can be written");
            }
            Interference::Pass
        }
    }

    #[tokio::test]
    async fn rows_that_are_asked_for_while_others_are_deleted_stay() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let last = DELETIONS_UNSEEN_MAX as u64 + 1;
        let asker: Arc<dyn Intercept> = Arc::new(Asker(folder.path().join("state/j"), last));
        let store =
            Store::open_with("file:state", folder.path(), "j", StoreLimits::default(), Some(asker)).await.expect("it can be opened");
        for epoch in 1..=last {
            store.create(&rows(epoch).path(), Bytes::new()).await.expect("it is new");
            let file =
                std::fs::File::options().append(true).open(folder.path().join("state/j").join(rows(epoch).path())).expect("it is there");
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(epoch)).expect("it is ours");
        }
        tidy(&store, THINGS_MAX).run().await.unwrap_or_else(|halt| panic!("{halt:?}"));
        let left: Vec<String> =
            store.list(paths::QUARANTINE).await.expect("it can be listed").into_iter().map(|entry| entry.path).collect();
        assert_eq!(left, [rows(last).path()]);
    }

    #[tokio::test]
    async fn a_component_goes_only_where_all_capsules_were_looked_at() {
        let store = Store::open("memory:tidy-capsules", Path::new("."), "j", StoreLimits::default()).await.expect("it can be opened");
        let component = paths::component(Digest([7; 32]));
        store.create(&component, Bytes::new()).await.expect("it is new");
        for epoch in 0..PAGE_OBJECTS as u64 + 1 {
            let path = paths::capsule("o", Instance(0), Epoch(epoch), Generation(1), 0);
            store.create(&path, Bytes::new()).await.expect("it is new");
        }
        let is_there = async || store.size(&component).await.expect("it can be looked at").is_some();
        tidy(&store, 1).run().await.unwrap_or_else(|halt| panic!("{halt:?}"));
        assert!(is_there().await, "a capsule that was not looked at may name it");
        tidy(&store, THINGS_MAX).run().await.unwrap_or_else(|halt| panic!("{halt:?}"));
        assert!(!is_there().await, "no capsule names it");
    }
}
