//! What every store promises, asked through its public interface by two clients that know nothing of each other.

use bytes::Bytes;
use reprise::store::{Created, Store};
use tokio::task::JoinSet;

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Creators of one object at a time, and how often they race.
    pub racers: usize,
    pub races: usize,
    /// Length of what they create.
    pub racer_bytes: usize,
    /// Objects that are created and listed.
    pub listed: usize,
    /// Length of an object that goes up in parts; 0 for none.
    pub large_bytes: usize,
    /// An answer may be lost on the way. Then nobody can tell an object of one's own from an equal one of somebody else.
    pub loses_answers: bool,
}

impl Load {
    /// All of it: lists above a page of S3, an object above [`reprise::store::LARGE_BYTES`].
    pub const FULL: Self =
        Self { racers: 24, races: 6, racer_bytes: 1 << 20, listed: 1_100, large_bytes: (65 << 20) + 1, loses_answers: false };
}

/// Two clients of one store.
#[derive(Clone)]
pub struct Clients {
    pub one: Store,
    pub other: Store,
}

impl Clients {
    /// The one or the other.
    fn nth(&self, number: usize) -> &Store {
        if number.is_multiple_of(2) { &self.one } else { &self.other }
    }
}

/// Asks everything of a store that is empty, and leaves it empty.
pub async fn check(clients: &Clients, load: &Load) {
    for client in [&clients.one, &clients.other] {
        client.probe().await.expect("the store creates atomically");
    }
    assert_eq!(paths(&clients.one, "").await, [""; 0], "the probe leaves nothing");
    nothing_is_overwritten(clients, load).await;
    one_of_many_creators_wins_and_readers_see_a_whole_object_or_none(clients, load).await;
    what_was_created_is_listed(clients, load).await;
    what_was_deleted_is_gone(clients).await;
    if load.large_bytes > 0 {
        large_objects(clients, load.large_bytes).await;
    }
    clear(clients, load).await;
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

async fn nothing_is_overwritten(clients: &Clients, load: &Load) {
    let Clients { one, other } = clients;
    assert_eq!(create(one, "kept/a", "first").await, Created::New);
    assert_eq!(create(other, "kept/a", "second").await, Created::Exists);
    assert_eq!(create(one, "kept/a", "third, longer").await, Created::Exists);
    if !load.loses_answers {
        assert_eq!(create(one, "kept/a", "first").await, Created::Exists, "equal bytes alone make nothing ours");
    }
    for client in [one, other] {
        assert_eq!(read(client, "kept/a").await.as_deref(), Some(&b"first"[..]));
    }
    assert_eq!(create(other, "kept/empty", "").await, Created::New);
    assert_eq!(create(one, "kept/empty", "x").await, Created::Exists);
    assert_eq!(read(one, "kept/empty").await, Some(Bytes::new()));
    assert_eq!(read(one, "kept/nothing").await, None);
    assert_eq!(read(one, "nothing/at/all").await, None);
}

/// Bytes that tell their creator everywhere, so that a mixture of two is seen.
fn of_racer(racer: usize, length: usize) -> Bytes {
    let byte = u8::try_from(racer).expect("there are few racers");
    vec![byte; length].into()
}

async fn one_of_many_creators_wins_and_readers_see_a_whole_object_or_none(clients: &Clients, load: &Load) {
    let Load { racers, racer_bytes, .. } = *load;
    for race in 0..load.races {
        let path = format!("races/{race}/object");
        let mut creators = JoinSet::new();
        for racer in 0..racers {
            let (store, path) = (clients.nth(racer).clone(), path.clone());
            creators.spawn(async move { (racer, create(&store, &path, of_racer(racer, racer_bytes)).await) });
        }
        let mut readers = JoinSet::new();
        for reader in 0..2 {
            let (store, path) = (clients.nth(reader).clone(), path.clone());
            readers.spawn(async move {
                loop {
                    let found = read(&store, &path).await;
                    let listed = store.list(path.trim_end_matches("/object")).await.expect("it can be listed");
                    assert!(listed.iter().all(|entry| entry.size_bytes == racer_bytes as u64), "a part is listed: {listed:?}");
                    if let Some(found) = found {
                        return found;
                    }
                }
            });
        }
        let outcomes = creators.join_all().await;
        let winners: Vec<usize> = outcomes.iter().filter(|(_, created)| *created == Created::New).map(|(racer, _)| *racer).collect();
        let [winner] = winners[..] else { panic!("race {race}: {winners:?} believe that they created the object") };
        let whole = of_racer(winner, racer_bytes);
        for seen in readers.join_all().await {
            assert!(seen == whole, "race {race}: a reader saw {} bytes that nobody wrote", seen.len());
        }
        assert!(read(&clients.other, &path).await.as_ref() == Some(&whole), "race {race}: the object is not that of the winner");
    }
}

async fn what_was_created_is_listed(clients: &Clients, load: &Load) {
    const AT_A_TIME: usize = 8;
    let name = |number: usize| format!("many/{:02}/{number:05}", number % 7);
    let mut creators = JoinSet::new();
    for lane in 0..AT_A_TIME {
        let (clients, listed) = (clients.clone(), load.listed);
        creators.spawn(async move {
            for number in (lane..listed).step_by(AT_A_TIME) {
                let path = name(number);
                assert_eq!(create(clients.nth(number), &path, path.clone()).await, Created::New);
                if number % 25 == lane {
                    let found = paths(clients.nth(number + 1), path.rsplit_once('/').expect("it has folders").0).await;
                    assert!(found.contains(&path), "{path} was created, but is not listed");
                }
            }
        });
    }
    creators.join_all().await;
    let mut expected: Vec<String> = (0..load.listed).map(name).collect();
    expected.sort();
    assert_eq!(paths(&clients.one, "many").await, expected);
    assert_eq!(paths(&clients.other, "man").await, [""; 0], "a prefix is whole segments");
    expected.retain(|path| path.starts_with("many/03/"));
    assert_eq!(paths(&clients.other, "many/03").await, expected);
}

async fn what_was_deleted_is_gone(clients: &Clients) {
    let Clients { one, other } = clients;
    assert_eq!(create(one, "gone/a", "first").await, Created::New);
    other.delete("gone/a").await.expect("it is there");
    assert_eq!(read(one, "gone/a").await, None);
    assert_eq!(paths(one, "gone").await, [""; 0]);
    one.delete("gone/a").await.expect("what is not there can be deleted");
    assert_eq!(create(other, "gone/a", "second").await, Created::New, "a deleted path is free");
    assert_eq!(read(one, "gone/a").await.as_deref(), Some(&b"second"[..]));
}

async fn large_objects(clients: &Clients, length: usize) {
    let Clients { one, other } = clients;
    let large: Bytes = (0..length).map(|index| (index >> 10).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    assert_eq!(create(one, "large/a", large.clone()).await, Created::New);
    assert!(read(other, "large/a").await.as_ref() == Some(&large), "the large object has other bytes");
    assert_eq!(create(other, "large/a", Bytes::from(vec![0; length])).await, Created::Exists);
    assert_eq!(create(other, "large/a", "small").await, Created::Exists);
    assert!(read(one, "large/a").await == Some(large), "the large object has changed");
    assert_eq!(paths(other, "large").await, ["large/a"]);
}

async fn clear(clients: &Clients, load: &Load) {
    let found = paths(&clients.one, "").await;
    let expected = 3 + load.races + load.listed + usize::from(load.large_bytes > 0);
    assert_eq!(found.len(), expected, "objects that nobody created, or none where one was: {found:?}");
    for path in found {
        clients.other.delete(&path).await.expect("what was listed can be deleted");
    }
    assert_eq!(paths(&clients.one, "").await, [""; 0]);
}
