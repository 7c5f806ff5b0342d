//! What every store has to do: one suite, run over each kind of store by `tests`.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Copied, Created, Creation, Entry, Store, StoreError};

/// Creators that race for one object.
const RACERS: usize = 50;
/// Long enough to take a connection more than one write.
const RACER_BYTES: usize = 64 << 10;

/// Runs the whole suite over an empty store.
pub async fn check(store: &Store) {
    check_under_faults(store).await;
    assert_eq!(create(store, "a/b", "equal").await, Created::New);
    assert_eq!(create(store, "a/b", "equal").await, Created::Exists, "equal bytes alone are no reason to call it ours");
    assert_eq!(store.copy("a/b", "copies/b", 5).await.expect("it can be copied"), Copied::New);
    assert_eq!(store.copy("a/b", "copies/b", 5).await.expect("it can be asked"), Copied::Exists);
    clear(store).await;
}

/// As [`check`], without what a lost answer makes unknowable.
pub async fn check_under_faults(store: &Store) {
    store.probe().await.expect("the store creates atomically");
    assert_eq!(store.list("").await.expect("an empty store can be listed"), [], "the probe removes its object");
    create_get_and_delete(store).await;
    absent_objects(store).await;
    copies(store).await;
    names(store).await;
    lists(store).await;
    lists_after(store).await;
    races(store).await;
    limits(store).await;
}

async fn create(store: &Store, path: &str, bytes: impl Into<Bytes>) -> Created {
    store.create(path, bytes.into()).await.unwrap_or_else(|error| panic!("create {path}: {error:?}"))
}

async fn read(store: &Store, path: &str) -> Option<Bytes> {
    store.get(path).await.unwrap_or_else(|error| panic!("get {path}: {error:?}"))
}

async fn paths(store: &Store, prefix: &str) -> Vec<String> {
    let entries = store.list(prefix).await.unwrap_or_else(|error| panic!("list {prefix}: {error:?}"));
    entries.into_iter().map(|entry| entry.path).collect()
}

async fn clear(store: &Store) {
    for path in paths(store, "").await {
        store.delete(&path).await.expect("what was listed can be deleted");
    }
    assert_eq!(paths(store, "").await, [""; 0]);
}

async fn create_get_and_delete(store: &Store) {
    assert_eq!(create(store, "a/b", "first").await, Created::New);
    assert_eq!(create(store, "a/b", "second").await, Created::Exists);
    assert_eq!(read(store, "a/b").await.as_deref(), Some(&b"first"[..]));
    store.delete("a/b").await.expect("it is there");
    assert_eq!(read(store, "a/b").await, None);
    assert_eq!(create(store, "a/b", "third").await, Created::New, "a deleted path is free");

    let again = Creation { again: true, whole: true };
    let twice = |bytes: &'static str| store.create_as("a/b", Bytes::from_static(bytes.as_bytes()), again);
    assert_eq!(twice("third").await.expect("it can be created"), Created::New, "our own bytes of an earlier try count as ours");
    assert_eq!(twice("fourth").await.expect("it can be created"), Created::Exists);

    assert_eq!(create(store, "empty", Bytes::new()).await, Created::New);
    assert_eq!(create(store, "empty", "x").await, Created::Exists);
    assert_eq!(read(store, "empty").await, Some(Bytes::new()));

    let long: Bytes = (0..3_000_000_u32).map(|index| index.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    assert_eq!(create(store, "long", long.clone()).await, Created::New);
    assert_eq!(read(store, "long").await, Some(long));
    clear(store).await;
}

async fn absent_objects(store: &Store) {
    assert_eq!(read(store, "nothing").await, None);
    assert_eq!(read(store, "nothing/at/all").await, None);
    store.delete("nothing").await.expect("deleting what is not there is fine");
    store.delete("nothing/at/all").await.expect("deleting what is not there is fine");
    assert_eq!(paths(store, "nothing").await, [""; 0]);
}

async fn copies(store: &Store) {
    let copy = async |from: &str, to: &str| store.copy(from, to, 5).await.unwrap_or_else(|error| panic!("copy {from} to {to}: {error:?}"));
    let size = async |path: &str| store.size(path).await.unwrap_or_else(|error| panic!("size of {path}: {error:?}"));
    assert_eq!(copy("from/a", "to/deep/er/b").await, Copied::Absent);
    assert_eq!(size("to/deep/er/b").await, None);
    create(store, "from/a", "bytes").await;
    // An answer that was lost makes the copy meet itself.
    assert_ne!(copy("from/a", "to/deep/er/b").await, Copied::Absent);
    assert_eq!((size("to/deep/er/b").await, read(store, "to/deep/er/b").await.as_deref()), (Some(5), Some(&b"bytes"[..])));
    create(store, "from/c", "other bytes").await;
    assert_eq!(copy("from/c", "to/deep/er/b").await, Copied::Exists);
    assert_eq!(read(store, "to/deep/er/b").await.as_deref(), Some(&b"bytes"[..]), "nothing is overwritten");
    store.delete("from/a").await.expect("it is there");
    assert_eq!(read(store, "to/deep/er/b").await.as_deref(), Some(&b"bytes"[..]), "a copy lives on");
    assert_eq!(copy("from/a", "to/c").await, Copied::Absent);
    for (from, to) in [("", "a"), ("a", "../b")] {
        assert!(matches!(store.copy(from, to, 0).await, Err(StoreError::Path { .. })), "{from:?} {to:?}");
    }
    clear(store).await;
}

async fn lists_after(store: &Store) {
    for path in ["n-1", "n-2/x", "n-3", "n", "m-9", "o-1"] {
        create(store, path, "x").await;
    }
    let names = async |stem: &str, after: &str| -> Vec<String> {
        let found = store.list_named_after(stem, after).await.unwrap_or_else(|error| panic!("list {stem:?} after {after:?}: {error:?}"));
        found.into_iter().map(|entry| entry.path).collect()
    };
    assert_eq!(names("n-", "n-").await, ["n-1", "n-3"]);
    assert_eq!(names("n-", "n-1").await, ["n-3"]);
    assert_eq!(names("n", "m").await, ["n", "n-1", "n-3"]);
    assert_eq!(names("n-", "n-3").await, [""; 0]);
    clear(store).await;
}

async fn names(store: &Store) {
    let odd = ["A", "a..b", "..a", "a.", "-", "_", "a=1,b@c+d!e", "(x)/y'z", "0", "deep/er/and/deep/er", &"n".repeat(200)];
    for name in odd {
        assert_eq!(create(store, name, name.to_owned()).await, Created::New, "{name}");
    }
    for name in odd {
        assert_eq!(read(store, name).await.as_deref(), Some(name.as_bytes()), "{name}");
    }
    let expected: BTreeSet<&str> = odd.into_iter().collect();
    assert_eq!(paths(store, "").await, expected.into_iter().collect::<Vec<_>>());
    clear(store).await;

    for name in ["", "/a", "a/", "../a", "a/../b", "a//b", "a b", "a#1", "a%2e", "ü"] {
        assert!(matches!(store.create(name, Bytes::new()).await, Err(StoreError::Path { .. })), "create {name:?}");
        assert!(matches!(store.get(name).await, Err(StoreError::Path { .. })), "get {name:?}");
        assert!(matches!(store.delete(name).await, Err(StoreError::Path { .. })), "delete {name:?}");
    }
    assert!(matches!(store.list("../a").await, Err(StoreError::Path { .. })));
}

async fn lists(store: &Store) {
    for path in ["s/10", "s/9", "s/a/2", "s/a/10", "s-1", "sa", "t"] {
        create(store, path, path.to_owned()).await;
    }
    assert_eq!(paths(store, "").await, ["s-1", "s/10", "s/9", "s/a/10", "s/a/2", "sa", "t"]);
    assert_eq!(paths(store, "s").await, ["s/10", "s/9", "s/a/10", "s/a/2"], "a prefix is whole segments");
    assert_eq!(paths(store, "s/").await, paths(store, "s").await);
    assert_eq!(paths(store, "t").await, [""; 0], "an object is not within itself");
    let after: Vec<String> = store.list_after("s", "s/a").await.expect("it can be listed").into_iter().map(|entry| entry.path).collect();
    assert_eq!(after, ["s/a/10", "s/a/2"], "what sorts before is left out");
    let entries = store.list("s/a").await.expect("it can be listed");
    assert_eq!(entries, [("s/a/10", 6), ("s/a/2", 5)].map(|(path, size_bytes)| Entry { path: path.to_owned(), size_bytes }));
    // More than one page or block of anything.
    for number in 0..1030 {
        create(store, &format!("many/{number:04}"), "x").await;
    }
    let expected: Vec<String> = (0..1030).map(|number| format!("many/{number:04}")).collect();
    assert_eq!(paths(store, "many").await, expected);
    clear(store).await;
}

async fn races(store: &Store) {
    for round in 0..4 {
        let path = format!("race/{round}");
        let bytes = |racer: usize| Bytes::from(vec![u8::try_from(racer).expect("there are few"); RACER_BYTES]);
        let racers = (0..RACERS).map(|racer| create(store, &path, bytes(racer)));
        let outcomes = futures::future::join_all(racers).await;
        let winners: Vec<usize> = (0..RACERS).filter(|racer| outcomes[*racer] == Created::New).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} all believe that they created it");
        assert_eq!(read(store, &path).await, Some(bytes(winners[0])), "round {round}");
    }
    clear(store).await;
}

async fn limits(store: &Store) {
    let mut narrow = store.clone();
    narrow.limits.object_bytes_max = 4;
    narrow.limits.list_max = 2;
    for (path, bytes) in [("l/1", "1234"), ("l/2", "12345"), ("l/3", "")] {
        create(store, path, bytes).await;
    }
    assert_eq!(read(&narrow, "l/1").await.as_deref(), Some(&b"1234"[..]));
    assert!(matches!(narrow.get("l/2").await, Err(StoreError::TooLarge { bytes: 5, bytes_max: 4, .. })));
    assert!(matches!(narrow.create("l/4", Bytes::from_static(b"12345")).await, Err(StoreError::TooLarge { bytes: 5, .. })));
    assert_eq!(read(store, "l/4").await, None);
    assert!(matches!(narrow.list("l").await, Err(StoreError::TooMany { objects_max: 2, .. })));
    store.delete("l/3").await.expect("it is there");
    assert_eq!(paths(&narrow, "l").await, ["l/1", "l/2"]);
    clear(store).await;
}
