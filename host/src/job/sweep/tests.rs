//! Sweeps over a store in memory: cut short after every call, replaced in the middle, and over more than a page.

use super::*;
use crate::store::{CallKind, Intercept, Interference, PAGE_OBJECTS, StorageCall, StoreLimits};
use bytes::Bytes;
use reprise_core::checkpoint::manifest::{InstanceState, Manifest, ObjectRef, OperatorState};
use reprise_core::checkpoint::retention::Retention;
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::ids::{Digest, Epoch, Instance};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

fn object(epoch: u64) -> String {
    paths::snapshot("o", Instance(0), Epoch(epoch), Generation(1), true)
}

fn manifest(epoch: u64) -> Manifest {
    let object = ObjectRef { scope: SnapshotScope::Full, bytes: 1, checksum: 1, entries: 1, path: object(epoch) };
    let instances = vec![InstanceState { chain: vec![object], ..InstanceState::default() }];
    Manifest {
        job: "j".into(),
        epoch: Epoch(epoch),
        generation: Generation(1),
        parent: Some(Epoch(epoch - 1)).filter(|parent| parent.0 > 0),
        workers: 1,
        operators: vec![OperatorState { name: "o".into(), component: Digest([0; 32]), slots: vec![], instances }],
        ..Manifest::default()
    }
}

/// Fails every delete from the one of this number on.
#[derive(Debug)]
struct Cut {
    deletes: AtomicU64,
    from: u64,
}

impl Intercept for Cut {
    fn before(&self, call: &StorageCall) -> Interference {
        let is_delete = call.kind == CallKind::Delete;
        match is_delete && self.deletes.fetch_add(1, Ordering::Relaxed) >= self.from {
            true => Interference::FailBefore,
            false => Interference::Pass,
        }
    }

    fn limits(&self, limits: StoreLimits) -> StoreLimits {
        StoreLimits { retries: 0, ..limits }
    }
}

async fn store(name: &str, from: u64) -> Store {
    let cut = Arc::new(Cut { deletes: AtomicU64::new(0), from });
    Store::open_with(&format!("memory:{name}"), Path::new("."), "j", StoreLimits::default(), Some(cut)).await.expect("memory is there")
}

async fn fill(store: &Store, epochs: u64) -> Retention {
    let mut retention = Retention::default();
    for epoch in 1..=epochs {
        retention.note(&manifest(epoch));
        for path in [paths::manifest(Epoch(epoch)), object(epoch)] {
            store.create(&path, Bytes::from_static(b"x")).await.expect("memory takes it");
        }
    }
    for generation in 1..=2 {
        store.create(&paths::claim(Generation(generation)), Bytes::new()).await.expect("memory takes it");
    }
    retention
}

async fn left(store: &Store, folder: &str) -> Vec<String> {
    store.list(folder).await.expect("memory can be listed").into_iter().map(|entry| entry.path).collect()
}

async fn sweep(store: &Store, retention: &Retention, retired: &[Epoch]) -> (Swept, Result<(), Halt>) {
    run(store, Sweep::new(retired.to_vec(), retention.clone(), BTreeSet::new(), Generation(2))).await
}

#[tokio::test]
async fn cut_short_anywhere_it_leaves_each_manifest_whole_and_the_next_one_finishes() {
    const EPOCHS: u64 = 8;
    for cut in 0..=2 * EPOCHS {
        let name = format!("sweep-cut-{cut}");
        let broken = store(&name, cut).await;
        let mut retention = fill(&broken, EPOCHS).await;
        broken.create("snapshots/lost+found/x", Bytes::new()).await.expect("memory takes it");
        let retired = retention.retire(3);
        assert_eq!(retired.len(), 5);
        let (swept, ended) = sweep(&broken, &retention, &retired).await;
        retention.gone(&swept.manifests);
        assert_eq!(ended.is_ok(), cut >= 5 + 1 + 5, "{cut}: {ended:?}");
        let snapshots = left(&broken, paths::SNAPSHOTS).await;
        let manifests = left(&broken, paths::CHECKPOINTS).await;
        for manifest in &manifests {
            let epoch = paths::manifest_epoch(manifest).expect("it is one").0;
            assert!(snapshots.contains(&object(epoch)), "{cut}: manifest {epoch} is there and its snapshot is not");
        }
        let epochs: Vec<u64> = manifests.iter().filter_map(|path| paths::manifest_epoch(path)).map(|epoch| epoch.0).collect();
        assert!(epochs.iter().zip(epochs.iter().skip(1)).all(|(one, next)| next - one == 1), "{cut}: there is a gap in {epochs:?}");

        let whole = store(&name, u64::MAX).await;
        let retired = retention.retire(3);
        assert_eq!(retired.len(), epochs.len() - 3, "{cut}: what is not gone is retired again");
        let (_, ended) = sweep(&whole, &retention, &retired).await;
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(left(&whole, paths::CHECKPOINTS).await.len(), 3, "{cut}");
        assert_eq!(left(&whole, paths::SNAPSHOTS).await, ["snapshots/lost+found/x", &object(6), &object(7), &object(8)], "{cut}");
        assert_eq!(left(&whole, paths::GENERATIONS).await, [paths::claim(Generation(2))], "{cut}");
    }
}

#[tokio::test]
async fn who_was_replaced_deletes_nothing_more() {
    let store = store("sweep-replaced", u64::MAX).await;
    let mut retention = fill(&store, 5).await;
    let retired = retention.retire(3);
    store.create(&paths::claim(Generation(3)), Bytes::new()).await.expect("memory takes it");
    let (swept, ended) = sweep(&store, &retention, &retired).await;
    assert!(matches!(ended, Err(Halt::Replaced)) && swept == Swept::default(), "{ended:?}");
    assert_eq!(left(&store, paths::CHECKPOINTS).await.len(), 5);

    let mut fence = Fence::new(&store, Generation(3));
    fence.delete(&[object(1)]).await.expect("it is the newest");
    store.create(&paths::claim(Generation(4)), Bytes::new()).await.expect("memory takes it");
    let many: Vec<String> = (0..2 * DELETIONS_UNSEEN_MAX).map(|number| format!("probe/{number}")).collect();
    assert!(matches!(fence.delete(&many).await, Err(Halt::Replaced)), "it looks again after so many");
}

/// Another host claims the job when so many objects have been deleted.
#[derive(Debug)]
struct Usurper {
    claim: PathBuf,
    deletes: AtomicU64,
    at: u64,
}

impl Intercept for Usurper {
    fn before(&self, call: &StorageCall) -> Interference {
        if call.kind == CallKind::Delete && self.deletes.fetch_add(1, Ordering::Relaxed) == self.at {
            std::fs::write(&self.claim, "").expect("the folder of claims is there");
        }
        Interference::Pass
    }
}

#[tokio::test]
async fn who_is_replaced_on_the_way_stops_after_so_many_deletions() {
    const AT: u64 = 20;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let claim = folder.path().join("j").join(paths::claim(Generation(3)));
    let usurper = Arc::new(Usurper { claim, deletes: AtomicU64::new(0), at: AT });
    let intercept = Some(Arc::clone(&usurper) as Arc<dyn Intercept>);
    let store = Store::open_with("file:.", folder.path(), "j", StoreLimits::default(), intercept).await.expect("a folder will do");
    let mut retention = fill(&store, 8).await;
    for epoch in 0..4 * DELETIONS_UNSEEN_MAX as u64 {
        let path = folder.path().join("j").join(paths::snapshot("gone", Instance(0), Epoch(epoch), Generation(1), false));
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
        std::fs::write(path, "").expect("it is new");
    }
    let retired = retention.retire(3);
    let (swept, ended) = sweep(&store, &retention, &retired).await;
    assert!(matches!(ended, Err(Halt::Replaced)), "{ended:?}");
    assert_eq!(swept.manifests, retired, "they went before");
    let deleted = usurper.deletes.load(Ordering::Relaxed);
    assert!(deleted > AT && deleted <= AT + DELETIONS_UNSEEN_MAX as u64 + 1, "{deleted}");
    assert_eq!(left(&store, paths::CHECKPOINTS).await.len(), 3);
}

#[tokio::test]
async fn garbage_of_many_pages_goes_in_one_sweep() {
    let store = store("sweep-pages", u64::MAX).await;
    let mut retention = fill(&store, 4).await;
    for epoch in 0..2 * PAGE_OBJECTS as u64 + 1 {
        let path = paths::snapshot("gone", Instance(0), Epoch(epoch), Generation(1), false);
        store.create(&path, Bytes::new()).await.expect("memory takes it");
    }
    let retired = retention.retire(3);
    let (swept, ended) = sweep(&store, &retention, &retired).await;
    assert!(ended.is_ok() && swept.objects == 2 * PAGE_OBJECTS + 2, "{swept:?} {ended:?}");
    assert_eq!(left(&store, paths::SNAPSHOTS).await, [object(2), object(3), object(4)]);
}
