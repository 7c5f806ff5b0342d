//! Parked input in a checkpoint: which objects hold what waits for an instance of an operator, how far each is worked off, and what moves where
//! when there is another number of instances.
//!
//! An object is written once and never again: a checkpoint says how many of its entries are done (`ParkedRef::done`). With another number of
//! instances no object is rewritten either. Each new instance reads the objects of all old ones, and takes what is its own (`Hop`): rows by key
//! belong to the owner of the key, rows that go to all are those of the first old instance, whose broadcast state serves all, and other rows stay
//! together.
//!
//! Watermarks are left out on the way to other instances. Those upstream say again in each run what they have said, and nothing that is parked is
//! late before they have.

use super::manifest::{Hop, ParkedRef};
use crate::batch::Batch;
use crate::codec::parked::ParkedItem;
use crate::keying;
use crate::topology::Exchange;

impl Hop {
    /// True where the new instance takes all rows of an edge, false where none; `None` where each row's key decides.
    fn takes(&self, exchange: Exchange) -> Option<bool> {
        match exchange {
            Exchange::Key => None,
            Exchange::All => Some(self.from == 0),
            Exchange::Stay | Exchange::RoundRobin => Some(self.from % self.of.max(1) == self.to),
        }
    }

    fn rows(&self, exchange: Exchange, rows: Batch) -> Batch {
        match self.takes(exchange) {
            Some(true) => rows,
            Some(false) => Batch::new(),
            None => {
                let mut own = Batch::new();
                let is_own = |key: &[u8]| keying::owner(keying::group(key), self.of) == self.to;
                for row in rows.rows().filter(|row| is_own(row.key)) {
                    own.push(row).expect("a part is no larger than the batch it comes from");
                }
                own
            }
        }
    }
}

/// What waits of the items of an object. `exchange`: how rows of an edge, given by its index, are spread over the instances.
#[must_use]
pub fn waiting(items: Vec<ParkedItem>, hops: &[Hop], done: u64, exchange: impl Fn(u32) -> Exchange) -> Vec<ParkedItem> {
    let moved = hops.iter().fold(items, |items, hop| {
        let rows = after(items, hop.done).into_iter().filter_map(|item| match item {
            ParkedItem::Rows { edge, rows } => Some(ParkedItem::Rows { edge, rows: hop.rows(exchange(edge), rows) }),
            ParkedItem::Watermark(_) => None,
        });
        rows.filter(|item| item.entries() > 0).collect()
    });
    after(moved, done)
}

/// The items without the first entries.
fn after(items: Vec<ParkedItem>, mut done: u64) -> Vec<ParkedItem> {
    let mut left = Vec::with_capacity(items.len());
    for item in items {
        let entries = item.entries();
        if done >= entries {
            done -= entries;
            continue;
        }
        left.push(match item {
            ParkedItem::Rows { edge, rows } if done > 0 => ParkedItem::Rows { edge, rows: rows.slice(done as usize..rows.len()) },
            item => item,
        });
        done = 0;
    }
    left
}

/// Deals the parked input of all old instances out to another number of them. What of each object is whose is not known yet: `rows` and `bytes` are
/// those of the whole.
#[must_use]
pub fn deal(old: &[Vec<ParkedRef>], instances: u32) -> Vec<Vec<ParkedRef>> {
    let share = |to| {
        let all = (0..).zip(old).flat_map(|(from, parked)| parked.iter().map(move |object| (from, object)));
        let moved = |(from, object): (u32, &ParkedRef)| {
            let mut object = object.clone();
            object.hops.push(Hop { done: std::mem::take(&mut object.done), from, to, of: instances });
            object
        };
        all.map(moved).collect()
    };
    (0..instances).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Row;
    use crate::checkpoint::manifest::ObjectRef;
    use crate::codec::snapshot::SnapshotScope;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn rows(edge: u32, keys: &[u8], first: i64) -> ParkedItem {
        let mut rows = Batch::new();
        (first..).zip(keys).for_each(|(time, key)| rows.push(Row { time, key: &[*key], value: b"v" }).unwrap());
        ParkedItem::Rows { edge, rows }
    }

    fn object(at: usize) -> ParkedRef {
        let object = ObjectRef { path: at.to_string(), scope: SnapshotScope::Full, bytes: 0, checksum: 0, entries: 0 };
        ParkedRef { object, hops: vec![], done: 0, rows: 0, bytes: 0, since_ms: 0 }
    }

    fn times(items: &[ParkedItem]) -> Vec<i64> {
        let rows = items.iter().filter_map(|item| if let ParkedItem::Rows { rows, .. } = item { Some(rows) } else { None });
        rows.flat_map(|rows| rows.times().to_vec()).collect()
    }

    proptest! {
        /// Whatever moves are made, each row by key ends with the owner of its key, once, and rows of one key stay in their order.
        #[test]
        fn each_row_is_worked_on_once_in_its_order_whatever_moves(
            batches in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 1..6),
            moves in prop::collection::vec((1u32..5, 0u64..4), 0..4),
        ) {
            let (mut next, mut stored, mut held) = (0, Vec::new(), vec![Vec::new()]);
            for keys in &batches {
                stored.push(vec![rows(0, keys, next), ParkedItem::Watermark(next)]);
                held[0].push(object(stored.len() - 1));
                next += keys.len() as i64;
            }
            let read = |object: &ParkedRef| {
                let at: usize = object.object.path.parse().unwrap();
                waiting(stored[at].clone(), &object.hops, object.done, |_| Exchange::Key)
            };
            let mut done: Vec<i64> = Vec::new();
            for (instances, work) in moves {
                // Each instance works some of its first object off.
                for object in held.iter_mut().filter_map(|parked| parked.first_mut()) {
                    let entries: u64 = read(object).iter().map(ParkedItem::entries).sum();
                    let before = times(&read(object));
                    object.done += work.min(entries);
                    let after = times(&read(object));
                    done.extend(before.iter().filter(|time| !after.contains(time)));
                }
                held = deal(&held, instances);
            }
            let of = held.len() as u32;
            let mut by_key: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
            for (instance, parked) in (0..).zip(&held) {
                for time in parked.iter().flat_map(|object| times(&read(object))) {
                    let key = batches.concat()[time as usize];
                    prop_assert!(of == 1 || keying::owner(keying::group(&[key]), of) == instance);
                    by_key.entry(key).or_default().push(time);
                    done.push(time);
                }
            }
            prop_assert!(by_key.values().all(|times| times.is_sorted()));
            done.sort_unstable();
            prop_assert_eq!(done, (0..next).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rows_for_all_are_those_of_the_first_and_others_stay_together() {
        let items = vec![rows(0, b"abc", 0), rows(1, b"de", 3), ParkedItem::Watermark(9)];
        let exchange = |edge| if edge == 0 { Exchange::All } else { Exchange::RoundRobin };
        let of = |from, to| times(&waiting(items.clone(), &[Hop { done: 1, from, to, of: 2 }], 0, exchange));
        assert_eq!(of(0, 0), [1, 2, 3, 4]);
        assert_eq!(of(0, 1), [1, 2]);
        assert_eq!(of(1, 0), [] as [i64; 0]);
        assert_eq!(of(3, 1), [3, 4]);
    }

    #[test]
    fn what_is_done_is_counted_in_rows_and_watermarks() {
        let items = vec![rows(0, b"ab", 0), ParkedItem::Watermark(5), rows(0, b"c", 2)];
        let left = |done| waiting(items.clone(), &[], done, |_| Exchange::Key);
        assert_eq!(left(0), items);
        assert_eq!(left(1), [rows(0, b"b", 1), ParkedItem::Watermark(5), rows(0, b"c", 2)]);
        assert_eq!(left(2), items[1..]);
        assert_eq!(left(3), items[2..]);
        assert_eq!(left(4), []);
    }
}
