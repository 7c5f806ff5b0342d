//! The harness and the runner behind it, on an operator with every kind of state.

use crate::harness::{Chunk, Harness, Scope, counter, set_now, take_log};
use crate::runtime::{self, Level};
use crate::state::SlotKind;
use crate::{Cell, Context, Description, END_OF_INPUT, Encoding, Json, Keyed, KeyedItems, Operator, Output, Record, Text, Value, export};

/// Counts by key, by key and value, and in all; keeps the last reasons.
#[derive(Debug, Default)]
struct Everything {
    prefix: String,
    seen: Value<u64>,
    by_key: Keyed<u64>,
    by_value: KeyedItems<Json<Vec<i64>>>,
}

impl Operator for Everything {
    fn describe() -> Description {
        Description::new("everything").input("rows").input("more").output("counts", Encoding::Utf8, Encoding::Utf8).output(
            "late",
            Encoding::Bytes,
            Encoding::U64Le,
        )
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        self.prefix = context.config()?;
        if self.prefix == "write" {
            self.by_key.set(b"early", 1);
        }
        Ok(())
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        match row.value {
            b"bad" => out.reject(row.row, "it is bad"),
            b"fail" => return Err("told to fail".to_owned()),
            b"port" => out.emit_to(9, 0, "", ""),
            b"drop" => drop(self.by_key.remove(row.key)),
            _ => {
                *self.seen.entry() += 1;
                self.by_value.entry(row.key, row.value).0.push(row.time);
                let count = self.by_key.entry(row.key);
                *count += 1;
                out.emit_to(row.input, row.time, row.key, Text(format_args!("{}{count}", self.prefix)));
            }
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        runtime::log(Level::Info, "advance");
        runtime::count("advanced", 1);
        if watermark == END_OF_INPUT {
            out.emit(runtime::now(), "seen", Text(self.seen.get()));
        }
        Ok(())
    }
}

export!(Everything { seen, by_key: 3, by_value });

fn opened() -> Harness<Everything> {
    Harness::new(r#""n=""#).unwrap()
}

#[test]
fn the_description_names_slots_with_hyphens_and_their_versions() {
    let (description, slots) = Harness::<Everything>::describe();
    assert_eq!(description.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    let slots: Vec<_> = slots.iter().map(|slot| (slot.name.as_str(), slot.kind, slot.version, slot.encoding)).collect();
    assert_eq!(
        slots,
        [
            ("seen", SlotKind::Instance, 1, Encoding::U64Le),
            ("by-key", SlotKind::Keyed, 3, Encoding::U64Le),
            ("by-value", SlotKind::Keyed, 1, Encoding::Json),
        ]
    );
}

#[test]
fn rows_go_in_and_come_out() {
    let mut harness = opened();
    let answer = harness.process([(1, "a", "x"), (2, "b", "bad"), (3, "a", "x")]).unwrap();
    assert_eq!(answer.pairs(), [("a".to_owned(), "n=1".to_owned()), ("a".to_owned(), "n=2".to_owned())]);
    assert_eq!(answer.rejected.iter().map(|rejection| (rejection.row, rejection.reason.as_str())).collect::<Vec<_>>(), [(1, "it is bad")]);
    let answer = harness.process_on(1, [(4, "a", "x")]).unwrap();
    assert_eq!(format!("{:?}", answer.outputs), "[[], [4: a = n=3]]");
}

#[test]
fn no_rows_are_no_trouble() {
    assert_eq!(opened().process::<&str, &str>([]).unwrap().pairs(), []);
}

#[test]
fn faults_carry_the_text_of_the_operator() {
    assert!(Harness::<Everything>::new("{").unwrap_err().starts_with("config: "));
    assert_eq!(Harness::<Everything>::new(r#""write""#).unwrap_err(), "`open` wrote to the state `by-key`; state is restored after `open`");
    let mut harness = opened();
    assert_eq!(harness.process([(0, "a", "fail")]), Err("told to fail".to_owned()));
    assert_eq!(harness.process([(0, "a", "port")]), Err("a row was emitted on output 9, but 2 are declared".to_owned()));
    assert_eq!(harness.process([(0, "a", "x")]).unwrap().pairs().len(), 1);
}

#[test]
fn the_stand_in_answers_for_the_host() {
    set_now(77);
    let mut harness = opened();
    harness.process([(1, "a", "x")]).unwrap();
    let answer = harness.advance(END_OF_INPUT).unwrap();
    assert_eq!(format!("{:?}", answer.outputs[0]), "[77: seen = 1]");
    assert_eq!(take_log(), [(Level::Info, "advance".to_owned())]);
    assert_eq!(counter("advanced"), 1);
    assert_ne!(runtime::random(), runtime::random());
}

#[test]
fn rows_that_are_looked_up_in_groups_come_to_the_same_as_one_by_one() {
    let row = |i: i64| {
        (
            i,
            format!("key-{}", i * 7 % 500),
            if i % 11 == 3 {
                "drop"
            } else if i % 13 == 5 {
                "bad"
            } else {
                "x"
            }
            .to_owned(),
        )
    };
    let (mut grouped, mut single) = (opened(), opened());
    for from in (0..2_000).step_by(400) {
        let answer = grouped.process((from..from + 400).map(row)).unwrap();
        let one_by_one: Vec<_> = (from..from + 400).flat_map(|i| single.process([row(i)]).unwrap().pairs()).collect();
        assert_eq!(answer.pairs(), one_by_one, "from row {from}");
        assert_eq!(answer.rejected.len(), (from..from + 400).filter(|i| i % 11 != 3 && i % 13 == 5).count());
    }
    // A failure in the middle of a group ends the call where it is.
    let fails = |i: i64| if i == 40 { (i, "k".to_owned(), "fail".to_owned()) } else { row(i) };
    assert_eq!(grouped.process((0..100).map(fails)), Err("told to fail".to_owned()));
    assert_eq!((0..40).map(|i| single.process([row(i)])).filter(Result::is_err).count(), 0);
    assert_eq!(grouped.advance(END_OF_INPUT), single.advance(END_OF_INPUT), "40 rows were counted before it");
}

#[test]
fn a_restart_anywhere_changes_nothing() {
    let rows = |from: i64| (from..from + 20).map(|i| (i, format!("k{}", i * 7 % 5), format!("{}", i % 3)));
    let mut straight = opened();
    let mut bumpy = opened();
    for from in [0, 20, 40] {
        assert_eq!(straight.process(rows(from)), bumpy.process(rows(from)));
        bumpy = bumpy.restarted().unwrap();
    }
    assert_eq!(straight.advance(END_OF_INPUT), bumpy.advance(END_OF_INPUT));
}

#[test]
fn a_full_snapshot_and_the_changes_restore_the_state_in_parts_of_any_size() {
    for bytes_max in [0, 1, 10, 100, 10_000] {
        let mut harness = opened();
        harness.process([(1, "a", "x"), (2, "b", "y"), (3, "c", "z")]).unwrap();
        let mut chunks = harness.snapshot_in_parts(Scope::Full, bytes_max).unwrap();
        harness.process([(4, "b", "y"), (5, "a", "drop"), (6, "d", "x")]).unwrap();
        let changes = harness.snapshot_in_parts(Scope::Changes, bytes_max).unwrap();
        assert_eq!(changes.iter().map(|chunk| chunk.key_ends.len()).sum::<usize>(), 1 + 3 + 2);
        chunks.extend(changes);
        let mut fresh = opened();
        fresh.restore(&chunks).unwrap();
        assert_eq!(fresh.snapshot(Scope::Changes).unwrap(), []);
        assert_eq!(fresh.operator().by_key.iter().collect::<Vec<_>>(), harness.operator().by_key.iter().collect::<Vec<_>>());
        assert_eq!(fresh.operator().by_value.iter().collect::<Vec<_>>(), harness.operator().by_value.iter().collect::<Vec<_>>());
        assert_eq!(fresh.operator().seen.get(), &5);
    }
}

#[test]
fn a_snapshot_that_was_not_read_to_its_end_forgets_no_changes() {
    let mut harness = opened();
    harness.process([(1, "a", "x"), (2, "b", "y")]).unwrap();
    let part = harness.runner_mut().snapshot(Scope::Changes, 1).unwrap();
    assert!(!part.done);
    harness.process([(3, "c", "z")]).unwrap();
    assert_eq!(harness.snapshot(Scope::Changes).unwrap().iter().map(|chunk| chunk.key_ends.len()).sum::<usize>(), 1 + 3 + 3);
    assert_eq!(harness.snapshot(Scope::Changes).unwrap(), []);
}

#[test]
fn chunks_that_cannot_be_understood_are_refused_with_the_name_of_the_slot() {
    let mut harness = opened();
    let chunk = |slot| Chunk {
        slot,
        key_ends: vec![1],
        keys: b"k".to_vec(),
        item_ends: vec![0],
        value_ends: vec![2],
        values: b"no".to_vec(),
        ..Chunk::default()
    };
    assert_eq!(harness.restore(&[chunk(1)]), Err("state `by-key`, key \"k\": expected 8 bytes, found 2".to_owned()));
    assert!(harness.restore(&[chunk(2)]).unwrap_err().starts_with("state `by-value`, key \"k\": "));
    assert_eq!(harness.restore(&[chunk(3)]), Err("there is no state slot 3; the operator declares 3".to_owned()));
}

#[test]
fn much_output_comes_whole() {
    const ROWS: i64 = 5000;
    let mut harness = opened();
    let long = "v".repeat(2000);
    let answer = harness.process((0..ROWS).map(|i| (i, "a", &long))).unwrap();
    assert_eq!(answer.outputs[0].len() as i64, ROWS);
    let prefix = "p".repeat(4000);
    let mut harness = Harness::<Everything>::new(&format!("\"{prefix}\"")).unwrap();
    let pairs = harness.process((0..ROWS).map(|i| (i, "a", "x"))).unwrap().pairs();
    assert!(pairs.iter().zip(1..).all(|((_, value), count)| *value == format!("{prefix}{count}")));
    assert_eq!(pairs.len() as i64, ROWS);
}

/// Sums by key. Its state was a count of 64 bits, once, and is a sum with a count now.
#[derive(Debug, Default)]
struct Sums {
    by_key: Keyed<Sum>,
    plain: Keyed<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    sum: i64,
}

impl Cell for Sum {
    const ENCODING: Encoding = Encoding::Bytes;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        self.count.encode(bytes)?;
        self.sum.encode(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (count, sum) = bytes.split_at_checked(8).ok_or("a sum has 16 bytes")?;
        Ok(Self { count: u64::decode(count)?, sum: i64::decode(sum)? })
    }

    fn migrate(version: u32, bytes: &[u8]) -> Result<Self, String> {
        match version {
            1 => Ok(Self { count: u64::decode(bytes)?, sum: 0 }),
            _ => Err("nobody knows what it meant".to_owned()),
        }
    }
}

impl Operator for Sums {
    fn describe() -> Description {
        Description::new("sums").input("rows")
    }
}

export!(Sums { by_key: 3, plain: 2 });

fn one_cell(slot: u32, value: &[u8]) -> Chunk {
    Chunk {
        slot,
        key_ends: vec![1],
        keys: b"k".to_vec(),
        item_ends: vec![0],
        value_ends: vec![value.len() as u32],
        values: value.to_vec(),
        ..Chunk::default()
    }
}

#[test]
fn cells_of_an_older_version_are_migrated() {
    let mut sums = Harness::<Sums>::new("{}").unwrap();
    sums.restore_version(1, &[one_cell(0, &7u64.to_le_bytes())]).unwrap();
    assert_eq!(sums.operator().by_key.get(b"k"), Some(&Sum { count: 7, sum: 0 }));
    assert_eq!(sums.snapshot(Scope::Changes).unwrap(), []);
    let bytes = [8u64.to_le_bytes(), 9u64.to_le_bytes()].concat();
    sums.restore(&[one_cell(0, &bytes)]).unwrap();
    assert_eq!(sums.operator().by_key.get(b"k"), Some(&Sum { count: 8, sum: 9 }));
}

#[test]
fn cells_of_another_version_are_refused_with_slot_versions_and_advice() {
    let mut sums = Harness::<Sums>::new("{}").unwrap();
    let mut refuse = |version, slot| sums.restore_version(version, &[one_cell(slot, &7u64.to_le_bytes())]).unwrap_err();
    assert_eq!(refuse(2, 0), "state `by-key`, key \"k\": of version 2, this is version 3; nobody knows what it meant");
    assert_eq!(
        refuse(1, 1),
        "state `plain`, key \"k\": of version 1, this is version 2; write `Cell::migrate` for the type of its cells, or run the version of \
         the operator that wrote them"
    );
    assert_eq!(
        refuse(4, 0),
        "state `by-key`: its cells are of version 4, and this operator knows no version after 3; run the version of the operator that wrote \
         them"
    );
}
