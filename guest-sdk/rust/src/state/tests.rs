//! Fields of state against an obvious model: whatever was done to them, a full snapshot and the changes since restore the same cells.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Key and item.
type Name = (Vec<u8>, Vec<u8>);
type Model = BTreeMap<Name, u64>;

/// What the tests do to a field of state.
trait Field: Slot + Default {
    fn add(&mut self, key: &[u8], item: &[u8], number: u64);
    fn remove(&mut self, key: &[u8], item: &[u8]) -> Option<u64>;
    fn keep_even(&mut self);
    fn cells(&self) -> Model;
    fn len(&self) -> usize;
}

impl Field for Keyed<u64> {
    fn add(&mut self, key: &[u8], _: &[u8], number: u64) {
        *self.entry(key) += number;
    }
    fn remove(&mut self, key: &[u8], _: &[u8]) -> Option<u64> {
        Keyed::remove(self, key)
    }
    fn keep_even(&mut self) {
        self.retain(|_, number| number % 2 == 0);
    }
    fn cells(&self) -> Model {
        self.iter().map(|(key, &number)| ((key.to_vec(), Vec::new()), number)).collect()
    }
    fn len(&self) -> usize {
        Keyed::len(self)
    }
}

impl Field for KeyedItems<u64> {
    fn add(&mut self, key: &[u8], item: &[u8], number: u64) {
        *self.entry(key, item) += number;
    }
    fn remove(&mut self, key: &[u8], item: &[u8]) -> Option<u64> {
        KeyedItems::remove(self, key, item)
    }
    fn keep_even(&mut self) {
        self.retain(|_, _, number| number % 2 == 0);
    }
    fn cells(&self) -> Model {
        self.iter().map(|(key, item, &number)| ((key.to_vec(), item.to_vec()), number)).collect()
    }
    fn len(&self) -> usize {
        KeyedItems::len(self)
    }
}

impl Field for Value<u64> {
    fn add(&mut self, _: &[u8], _: &[u8], number: u64) {
        *self.entry() += number;
    }
    fn remove(&mut self, _: &[u8], _: &[u8]) -> Option<u64> {
        let present = !self.is_empty();
        let number = Value::remove(self);
        present.then_some(number)
    }
    fn keep_even(&mut self) {
        if self.get() % 2 == 1 {
            Value::remove(self);
        }
    }
    fn cells(&self) -> Model {
        (!self.is_empty()).then(|| ((Vec::new(), Vec::new()), *self.get())).into_iter().collect()
    }
    fn len(&self) -> usize {
        usize::from(!self.is_empty())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<u8>, Vec<u8>, u64),
    Remove(Vec<u8>, Vec<u8>),
    KeepEven,
    /// Reads the snapshot in parts of at most so many bytes.
    Snapshot(Scope, usize),
    /// Reads one part of a snapshot and then goes on as if it had not.
    Abandon(Scope),
    /// Goes on with what the snapshots so far and the changes since restore.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few keys, so that they are met again; short, long, and of the same bytes where the border lies elsewhere.
    let boxed = "a key of more than thirty-nine bytes is kept in a box";
    let keys = ["", "a", "ab", "b", "twelve bytes", "sixteen bytes ok", "sixteen bytes okk", "one of some thirty bytes in all", boxed];
    let key = proptest::sample::select(keys.map(|key| key.as_bytes().to_vec()).to_vec());
    let item = proptest::sample::select(["", "b", "x"].map(|item| item.as_bytes().to_vec()).to_vec());
    let scope = prop_oneof![Just(Scope::Full), Just(Scope::Changes)];
    let step = prop_oneof![
        8 => (key.clone(), item.clone(), 0..4u64).prop_map(|(key, item, number)| Step::Add(key, item, number)),
        5 => (key, item).prop_map(|(key, item)| Step::Remove(key, item)),
        1 => Just(Step::KeepEven),
        3 => (scope.clone(), 0..200usize).prop_map(|(scope, bytes_max)| Step::Snapshot(scope, bytes_max)),
        1 => scope.prop_map(Step::Abandon),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..120)
}

/// Reads a snapshot to its end, and checks the size of its parts.
fn read(field: &mut dyn Slot, scope: Scope, bytes_max: usize) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    field.rewind();
    loop {
        let mut part = PartWriter::new(bytes_max);
        part.start_slot(0);
        let done = field.read(scope, &mut part).unwrap();
        for chunk in part.finish(done).chunks {
            let bytes = chunk.keys.len() + chunk.items.len() + chunk.values.len() + 12 * chunk.key_ends.len();
            assert!(bytes <= bytes_max || chunk.key_ends.len() == 1);
            assert!(scope == Scope::Changes || chunk.removed.is_empty());
            chunks.push(chunk);
        }
        if done {
            field.forget_changes();
            return chunks;
        }
    }
}

fn restore<F: Field>(chunks: &[Chunk]) -> F {
    let mut field = F::default();
    for chunk in chunks {
        chunk.check().unwrap();
        field.restore_all(chunk, None).unwrap();
    }
    field
}

fn check<F: Field>(steps: &[Step], model_key: fn(&[u8], &[u8]) -> Name) {
    let mut model = Model::new();
    let mut field = F::default();
    let mut chain = Vec::new();
    for step in steps {
        match step {
            Step::Add(key, item, number) => {
                field.add(key, item, *number);
                *model.entry(model_key(key, item)).or_default() += number;
            }
            Step::Remove(key, item) => assert_eq!(field.remove(key, item), model.remove(&model_key(key, item))),
            Step::KeepEven => {
                field.keep_even();
                model.retain(|_, number| *number % 2 == 0);
            }
            Step::Snapshot(Scope::Full, bytes_max) => chain = read(&mut field, Scope::Full, *bytes_max),
            Step::Snapshot(Scope::Changes, bytes_max) => chain.extend(read(&mut field, Scope::Changes, *bytes_max)),
            Step::Abandon(scope) => {
                field.rewind();
                field.read(*scope, &mut PartWriter::new(30)).unwrap();
            }
            Step::Restart => {
                chain.extend(read(&mut field, Scope::Changes, 60));
                field = restore(&chain);
                assert!(read(&mut field, Scope::Changes, 60).is_empty(), "restored cells are not changed");
            }
        }
        assert_eq!(field.cells(), model);
        assert_eq!(field.len(), model.len());
    }
    chain.extend(read(&mut field, Scope::Changes, 60));
    assert_eq!(restore::<F>(&chain).cells(), model);
    assert_eq!(restore::<F>(&read(&mut field, Scope::Full, 60)).cells(), model);
}

proptest! {
    #[test]
    fn keyed_state_comes_back(steps in steps()) {
        check::<Keyed<u64>>(&steps, |key, _| (key.to_vec(), Vec::new()));
    }

    #[test]
    fn keyed_items_come_back(steps in steps()) {
        check::<KeyedItems<u64>>(&steps, |key, item| (key.to_vec(), item.to_vec()));
    }

    #[test]
    fn a_value_comes_back(steps in steps()) {
        check::<Value<u64>>(&steps, |_, _| (Vec::new(), Vec::new()));
    }
}

#[test]
fn a_snapshot_of_changes_holds_the_changed_cells_only() {
    let mut field = Keyed::<u64>::default();
    for number in 0..1000u64 {
        field.set(&number.to_be_bytes(), number);
    }
    read(&mut field, Scope::Full, 1 << 20);
    *field.entry(&5u64.to_be_bytes()) += 1;
    field.remove(&6u64.to_be_bytes());
    field.set(b"new", 1);
    field.remove(b"new");
    let chunks = read(&mut field, Scope::Changes, 1 << 20);
    let cells = (0..3).map(|at| chunks[0].cell(at)).collect::<Vec<_>>();
    let six = 6u64.to_le_bytes();
    assert_eq!(
        cells,
        [
            (5u64.to_be_bytes().as_slice(), b"".as_slice(), Some(six.as_slice())),
            (6u64.to_be_bytes().as_slice(), b"".as_slice(), None),
            (b"new".as_slice(), b"".as_slice(), None),
        ]
    );
    assert_eq!(chunks[0].removed, [1, 2]);
}

#[test]
fn places_of_removed_keys_are_used_again() {
    let mut field = Keyed::<String>::default();
    for round in 0..100u32 {
        for key in 0..10u32 {
            field.set(&(round * 10 + key).to_be_bytes(), "x".to_owned());
        }
        field.retain(|_, _| false);
        read(&mut field, Scope::Changes, 1 << 20);
    }
    assert!(field.is_empty());
    assert_eq!(field.places(), 10);
}

#[test]
fn a_chunk_with_lying_ends_is_refused() {
    let chunk = Chunk { key_ends: vec![1], keys: b"a".to_vec(), item_ends: vec![0], value_ends: vec![9], ..Chunk::default() };
    assert_eq!(chunk.check(), Err("its ends do not fit its bytes".to_owned()));
    assert_eq!(Chunk { item_ends: vec![], ..chunk }.check(), Err("its columns differ in length".to_owned()));
}

/// A chunk of these cells, removed where there is no value.
fn chunk(cells: impl IntoIterator<Item = (u64, Option<u64>)>) -> Chunk {
    let mut part = PartWriter::new(usize::MAX);
    for (key, value) in cells {
        assert!(part.push(&key.to_be_bytes(), b"", value.as_ref()).unwrap());
    }
    part.finish(true).chunks.pop().unwrap_or_default()
}

#[test]
fn a_large_state_comes_back_whatever_the_order_of_its_cells_and_of_equal_keys_the_last_counts() {
    let mut field = Keyed::<u64>::default();
    for key in 0..300_000u64 {
        field.set(&key.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(), key);
    }
    let mut chain = read(&mut field, Scope::Full, 1 << 20);
    // Of the second round every cell but the first is removed.
    let rounds = (0..5_000).map(|key| (key, Some(7))).chain((0..5_000).map(|key| (key, (key == 0).then_some(8))));
    chain.push(chunk(rounds));
    let restored = restore::<Keyed<u64>>(&chain);
    field.set(&0u64.to_be_bytes(), 8);
    assert_eq!(restored.len(), field.len());
    assert!(restored.iter().eq(field.iter()));
}

#[test]
fn changes_restored_again_and_again_take_no_more_places() {
    let all = chunk((0..20_000).map(|key| (key, Some(1))));
    let changes = |round| chunk((0..5_000).map(|key| (key, Some(round))));
    let mut field = restore::<Keyed<u64>>(&[all, changes(0)]);
    let places = field.places();
    for round in 1..50 {
        field.restore_all(&changes(round), None).unwrap();
        assert_eq!(field.get(&7u64.to_be_bytes()), Some(&round));
    }
    assert_eq!((field.places(), field.len()), (places, 20_000));
    field.restore_all(&chunk((0..20_000).map(|key| (key, None))), None).unwrap();
    assert!(field.is_empty());
    assert!(read(&mut field, Scope::Full, 1 << 20).is_empty());
}

#[test]
fn a_cell_that_cannot_be_read_is_named_among_many() {
    let mut many = chunk((0..5_000).map(|key| (key, Some(1))));
    many.value_ends[3_000] -= 1;
    let Unreadable { at, error } = Keyed::<u64>::default().restore_all(&many, None).unwrap_err();
    assert_eq!((at, error.as_str()), (3_000, "expected 8 bytes, found 7"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn many_cells_at_once_do_what_they_do_one_by_one(
        chain in proptest::collection::vec(proptest::collection::vec((0..6_000u64, proptest::option::weighted(0.7, 0..9u64)), 1_000..6_000), 1..5),
    ) {
        let mut one_by_one = Keyed::<u64>::default();
        let chunks: Vec<Chunk> = chain.into_iter().map(chunk).collect();
        for chunk in &chunks {
            restore_each(&mut one_by_one, chunk, None).unwrap();
        }
        let mut at_once = restore::<Keyed<u64>>(&chunks);
        prop_assert!(at_once.iter().eq(one_by_one.iter()));
        prop_assert_eq!(at_once.len(), one_by_one.len());
        prop_assert!(read(&mut at_once, Scope::Changes, 60).is_empty());
    }
}

/// A key of each kind of length, many times.
fn key_of(number: u64) -> Vec<u8> {
    const LENGTHS: [usize; 9] = [3, 7, 8, 15, 16, 23, 24, 39, 60];
    let mut key = number.to_be_bytes()[8 - 3..].to_vec();
    key.resize(LENGTHS[number as usize % LENGTHS.len()], b'.');
    key
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn many_keys_of_all_lengths_do_what_a_map_does(
        rounds in proptest::collection::vec((0..12_000u64, 1..6_000u64, 0..8u8, any::<bool>()), 1..8),
    ) {
        let (mut field, mut model, mut chain) = (Keyed::<u64>::default(), BTreeMap::<Vec<u8>, u64>::new(), Vec::new());
        for (from, count, what, is_full) in rounds {
            for key in (from..from + count).map(key_of) {
                match what {
                    0..4 => {
                        *field.entry(&key) += from + 1;
                        *model.entry(key).or_default() += from + 1;
                    }
                    4..6 => prop_assert_eq!(field.remove(&key), model.remove(&key)),
                    _ => prop_assert_eq!(field.get(&key), model.get(&key)),
                }
            }
            match (what, is_full) {
                (7, _) => {
                    chain.extend(read(&mut field, Scope::Changes, 1 << 16));
                    field = restore(&chain);
                }
                (_, true) => chain = read(&mut field, Scope::Full, 1 << 18),
                (_, false) => chain.extend(read(&mut field, Scope::Changes, 1 << 14)),
            }
            prop_assert_eq!(field.len(), model.len());
            prop_assert!(field.iter().eq(model.iter().map(|(key, number)| (key.as_slice(), number))));
        }
    }

    #[test]
    fn keys_looked_up_in_groups_do_what_they_do_one_by_one(
        keys in proptest::collection::vec(0..300u64, 0..400), stops in proptest::option::of(0..400u32), is_large in any::<bool>(),
    ) {
        let mut batch = crate::Batch::default();
        for key in keys.iter().copied().map(key_of) {
            batch.times.push(0);
            batch.keys.extend_from_slice(&key);
            batch.key_ends.push(batch.keys.len() as u32);
            batch.value_ends.push(0);
        }
        let mut one_by_one = Keyed::<u64>::default();
        let mut grouped = Keyed::<u64>::default();
        if is_large {
            for number in 1_000..3_000u64 {
                one_by_one.set(&key_of(number), number);
                grouped.set(&key_of(number), number);
            }
        }
        let work = |row: crate::Record<'_>, cell: &mut u64| {
            *cell = *cell * 31 + u64::from(row.row);
            if Some(row.row) == stops { Err(row.row) } else { Ok(()) }
        };
        let expected = batch.rows(0).into_iter().try_for_each(|row| work(row, one_by_one.entry(row.key)));
        prop_assert_eq!(grouped.entries_of(batch.rows(0), work), expected);
        prop_assert_eq!(read(&mut grouped, Scope::Changes, 1 << 20), read(&mut one_by_one, Scope::Changes, 1 << 20));
    }
}
