//! The harness and the runner behind it, on an operator with every kind of state.

use crate::harness::{Chunk, Harness, Scope, counter, set_now, take_log};
use crate::runtime::{self, Level};
use crate::state::SlotKind;
use crate::{Context, Description, END_OF_INPUT, Encoding, Json, Keyed, KeyedItems, Operator, Output, Record, Text, Value, export};

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
    assert_eq!(harness.restore(&[chunk(1)]), Err("state `by-key`: expected 8 bytes, found 2, key \"k\"".to_owned()));
    assert!(harness.restore(&[chunk(2)]).unwrap_err().starts_with("state `by-value`: "));
    assert_eq!(harness.restore(&[chunk(3)]), Err("there is no state slot 3; the operator declares 3".to_owned()));
}
