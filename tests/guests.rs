//! Guests built from Rust, good and hostile, against the wasm layer: each hostile one ends in a report that names the call and the cause,
//! and a fresh instance that is restored from the snapshot before goes on as if nothing had been.
//!
//! The guests are those of `tests/components` and of the examples; `cargo xtask test` builds them.

use reprise::wasm::{
    BinaryKind, Call, Component, Fault, GuestError, Instance, InstanceIdentity, Limits, LoadError, Runtime, Scope, Settings, World, inspect,
};
use reprise_core::batch::{Batch, Row};
use reprise_core::cells::Chunk;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

/// Count by key, then poison: what a hostile guest must have behind it and before it.
pub(super) const BEFORE: [(&str, &str); 4] = [("a", "x"), ("b", "x"), ("a", "x"), ("c", "x")];
pub(super) const POISON: (&str, &str) = ("a", "poison");
pub(super) const AFTER: [(&str, &str); 3] = [("a", "x"), ("b", "x"), ("d", "x")];

pub(super) const MEMORY_BYTES_MAX: u64 = 16 << 20;
const DEADLINE: Duration = Duration::from_millis(200);
pub(super) const PART_BYTES_MAX: u32 = 64 << 10;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(&Settings { instances_max: 64, ..Settings::default() }).unwrap());

fn bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/guests").join(name).with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test` builds the guests", path.display()))
}

/// Each guest is compiled once for all tests.
pub(super) fn load(name: &str) -> Component {
    static LOADED: Mutex<BTreeMap<String, Component>> = Mutex::new(BTreeMap::new());
    let load = || RUNTIME.load(&bytes(name)).unwrap();
    LOADED.lock().unwrap().entry(name.to_owned()).or_insert_with(load).clone()
}

pub(super) fn limits() -> Limits {
    Limits { memory_bytes_max: MEMORY_BYTES_MAX, deadline: Duration::from_secs(60), ..Limits::default() }
}

pub(super) fn identity() -> InstanceIdentity {
    InstanceIdentity { job: "guests".into(), operator: "guest".into(), instance: 0, seed: 0 }
}

pub(super) fn call(number: u64) -> Call {
    Call { number, now_ms: 1_000, instant_ns: 0 }
}

pub(super) fn open(component: &Component, limits: &Limits) -> Instance {
    let mut instance = component.instantiate(limits, identity()).unwrap();
    instance.open("{}", 1, call(0)).unwrap();
    instance
}

pub(super) fn start(name: &str) -> Instance {
    open(&load(name), &limits())
}

pub(super) fn batch(rows: &[(&str, &str)]) -> Batch {
    let mut batch = Batch::new();
    for (time, (key, value)) in rows.iter().enumerate() {
        batch.push(Row { time: time as i64, key: key.as_bytes(), value: value.as_bytes() }).unwrap();
    }
    batch
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Keys and values that an instance emits for rows.
pub(super) fn emitted(instance: &mut Instance, rows: &[(&str, &str)]) -> Vec<(String, String)> {
    let outcome = instance.process(0, &batch(rows), call(1)).unwrap();
    outcome.outputs.iter().flat_map(|(_, rows)| rows.rows()).map(|row| (text(row.key), text(row.value))).collect()
}

pub(super) fn counts(pairs: &[(&str, u32)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, count)| ((*key).to_owned(), count.to_string())).collect()
}

pub(super) fn snapshot(instance: &mut Instance, scope: Scope) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    instance.read_snapshot(scope, PART_BYTES_MAX, &mut |chunk| chunks.push(chunk)).unwrap();
    chunks
}

pub(super) fn restored(component: &Component, chunks: &[Chunk]) -> Instance {
    let mut instance = open(component, &limits());
    chunks.iter().for_each(|chunk| instance.restore(1, chunk).unwrap());
    instance
}

/// The cells of a snapshot, whatever their order. `None`: removed.
fn cells(chunks: &[Chunk]) -> BTreeMap<(u32, String, Vec<u8>), Option<Vec<u8>>> {
    let cell = |slot, cell: reprise_core::cells::Cell<'_>| ((slot, text(cell.key), cell.item.to_vec()), cell.value.map(<[u8]>::to_vec));
    chunks.iter().flat_map(|chunk| chunk.cells().map(move |c| cell(chunk.slot(), c))).collect()
}

/// Lets a guest count, snapshots it, and poisons it. Gives the error, and the dead instance.
fn poison(component: &Component) -> (GuestError, Instance, Vec<Chunk>) {
    let mut instance = open(component, &Limits { deadline: DEADLINE, ..limits() });
    assert_eq!(emitted(&mut instance, &BEFORE), counts(&[("a", 1), ("b", 1), ("a", 2), ("c", 1)]));
    let chunks = snapshot(&mut instance, Scope::Full);
    let error = instance.process(0, &batch(&[("b", "x"), POISON]), call(2)).unwrap_err();
    (error, instance, chunks)
}

/// A guest, and whether a fault is the one that it must end in.
type Hostile = (&'static str, fn(&Fault) -> bool);

/// The hostile guests.
fn hostile() -> [Hostile; 6] {
    [
        ("trap-unreachable", |fault| *fault == Fault::Trap("unreachable executed".into())),
        ("panic", |fault| *fault == Fault::Trap("unreachable executed".into())),
        ("endless-loop", |fault| *fault == Fault::Deadline { limit: DEADLINE }),
        ("memory-bomb", |fault| matches!(fault, Fault::Memory { limit: MEMORY_BYTES_MAX, asked } if *asked > MEMORY_BYTES_MAX)),
        ("stack-overflow", |fault| *fault == Fault::Stack),
        ("process-error", |fault| matches!(fault, Fault::Returned(text) if text.contains("the value was poison"))),
    ]
}

#[test]
fn every_hostile_guest_ends_in_its_fault_and_a_restored_one_goes_on() {
    for (name, expected) in hostile() {
        let component = load(name);
        let (error, instance, chunks) = poison(&component);
        assert_eq!(error.call, "process", "{name}");
        assert!(expected(&error.fault), "{name}: {error}");
        assert!(instance.is_dead(), "{name}");
        let mut next = restored(&component, &chunks);
        assert_eq!(emitted(&mut next, &AFTER), counts(&[("a", 3), ("b", 2), ("d", 1)]), "{name}: nothing of the failed call stands");
    }
}

#[test]
fn a_dead_instance_stays_dead() {
    for (name, _) in hostile() {
        let (_, mut instance, _) = poison(&load(name));
        for _ in 0..2 {
            let error = instance.process(0, &batch(&AFTER), call(3)).unwrap_err();
            assert!(matches!(&error.fault, Fault::Instance(why) if why.contains("dead since `process` failed")), "{name}: {error}");
        }
        assert!(instance.advance(i64::MAX, call(4)).is_err(), "{name}");
        assert!(instance.snapshot(Scope::Full, PART_BYTES_MAX).is_err(), "{name}");
    }
}

#[test]
fn a_panic_brings_its_message_and_its_place() {
    let (error, mut instance, _) = poison(&load("panic"));
    assert!(error.log_tail.iter().any(|line| line.contains("the value was poison")), "{:?}", error.log_tail);
    assert!(instance.take_log().iter().any(|line| line.message.contains("the value was poison")));
    assert!(error.backtrace.iter().any(|frame| frame.contains("panic")), "{:?}", error.backtrace);
    let (error, _, _) = poison(&load("stack-overflow"));
    assert!(error.backtrace.iter().any(|frame| frame.contains("deeper")), "{:?}", error.backtrace);
}

#[test]
fn a_memory_bomb_does_not_grow_over_its_limit() {
    let (error, instance, _) = poison(&load("memory-bomb"));
    let Fault::Memory { limit, asked } = error.fault else { panic!("{error}") };
    assert!(asked > limit && instance.memory_peak_bytes() <= limit);
    assert!(instance.memory_peak_bytes() > limit / 2, "it did bomb");
    drop(instance);
    let fresh = start("memory-bomb");
    assert!(fresh.memory_bytes() < limit / 2, "the next one begins small");
}

#[test]
fn every_lie_about_rows_is_told() {
    let lies = [
        ("lie-short-ends", "ends for"),
        ("lie-decreasing-ends", "below the end before it"),
        ("lie-last-end", "the last end is"),
        ("lie-port", "does not exist; the description has 1"),
        ("lie-huge", "out of bounds"),
        ("lie-reject-row", "is rejected"),
    ];
    for (name, expected) in lies {
        let component = load(name);
        let (error, instance, chunks) = poison(&component);
        assert_eq!(error.call, "process", "{name}");
        assert!(matches!(&error.fault, Fault::Lie(how) if how.contains(expected)), "{name}: {error}");
        assert!(instance.is_dead(), "{name}");
        assert_eq!(emitted(&mut restored(&component, &chunks), &AFTER), counts(&[("a", 3), ("b", 2), ("d", 1)]), "{name}");
    }
}

#[test]
fn every_lie_about_state_is_told() {
    let lies = [
        ("lie-chunk-slot", "does not exist; the description has 1"),
        ("lie-chunk-ends", "snapshot chunk: column"),
        ("lie-chunk-removed", "`removed` names cell 5 of 1"),
        ("lie-snapshot-endless", "parts without a cell"),
    ];
    for (name, expected) in lies {
        for scope in [Scope::Full, Scope::Changes] {
            let mut instance = start(name);
            instance.process(0, &batch(&[POISON]), call(1)).unwrap();
            let error = instance.read_snapshot(scope, PART_BYTES_MAX, &mut drop).unwrap_err();
            assert_eq!(error.call, "snapshot", "{name}");
            assert!(matches!(&error.fault, Fault::Lie(how) if how.contains(expected)), "{name}: {error}");
            assert!(instance.is_dead(), "{name}");
        }
    }
}

#[test]
fn an_alien_import_is_refused_by_name_and_can_be_inspected() {
    let bytes = bytes("import-alien");
    assert!(matches!(RUNTIME.load(&bytes), Err(LoadError::Imports { alien }) if alien == ["evil:host/api@0.1.0"]));
    let inspection = inspect(&bytes).unwrap();
    assert!(inspection.imports.contains(&"evil:host/api@0.1.0".to_owned()), "{inspection:?}");
    assert_eq!(inspection.alien_imports(), ["evil:host/api@0.1.0"]);
}

#[test]
fn a_description_is_checked_before_anything_runs() {
    let component = load("bad-description");
    let error = component.describe().unwrap_err();
    assert!(matches!(&error.fault, Fault::Lie(how) if how.contains("`two words` is not a name")), "{error}");
    assert_eq!(error.call, "describe");
    assert_eq!(component.instantiate(&limits(), identity()).unwrap_err(), error);
}

#[test]
fn a_refused_config_is_told() {
    let mut instance = load("open-error").instantiate(&limits(), identity()).unwrap();
    let error = instance.open("{\"a\":1}", 1, call(0)).unwrap_err();
    assert_eq!(error.to_string(), "`open` returned an error: config {\"a\":1} is refused");
}

#[test]
fn core_modules_load_and_say_what_they_are() {
    for (name, world) in [("echo", World::Stateless), ("running-count", World::Stateful)] {
        let inspection = inspect(&bytes(name)).unwrap();
        assert_eq!((inspection.kind, inspection.world), (BinaryKind::Module, Some(world)));
        assert!(inspection.alien_imports().is_empty());
        let component = load(name);
        assert_eq!((component.imports(), component.exports()), (&inspection.imports[..], &inspection.exports[..]));
        assert_eq!(component.has_state(), world == World::Stateful);
        let description = component.describe().unwrap();
        assert_eq!((description.name.as_str(), description.slots.len()), (name, usize::from(component.has_state())));
    }
}

#[test]
fn rows_of_every_length_pass_unchanged_and_an_empty_batch_works() {
    let mut instance = start("echo");
    for rows in [&[][..], &[("", "")], &[("k", ""), ("", "v"), ("key", "value")]] {
        let outcome = instance.process(0, &batch(rows), call(1)).unwrap();
        let expected: Vec<(u32, Batch)> = if rows.is_empty() { Vec::new() } else { vec![(0, batch(rows))] };
        assert_eq!(outcome.outputs, expected);
    }
    let mut counting = start("running-count");
    assert_eq!(emitted(&mut counting, &[]), []);
    assert_eq!(counting.advance(i64::MAX, call(2)).unwrap(), []);
}

#[test]
fn full_and_changed_cells_make_up_the_state_again() {
    let component = load("running-count");
    let mut first = open(&component, &limits());
    emitted(&mut first, &BEFORE);
    let full = snapshot(&mut first, Scope::Full);
    assert_eq!(cells(&full).len(), 3);
    emitted(&mut first, &AFTER);
    let changes = snapshot(&mut first, Scope::Changes);
    let changed: Vec<_> = cells(&changes).into_keys().map(|(_, key, _)| key).collect();
    assert_eq!(changed, ["a", "b", "d"], "only what changed since");
    assert!(snapshot(&mut first, Scope::Changes).is_empty(), "and only once");
    let chain: Vec<Chunk> = full.into_iter().chain(changes).collect();
    let mut second = restored(&component, &chain);
    assert!(snapshot(&mut second, Scope::Changes).is_empty(), "restoring changes nothing");
    assert_eq!(cells(&snapshot(&mut second, Scope::Full)), cells(&snapshot(&mut first, Scope::Full)));
    let next = [("a", "x"), ("c", "x"), ("d", "x")];
    assert_eq!(emitted(&mut first, &next), counts(&[("a", 4), ("c", 2), ("d", 2)]));
    assert_eq!(emitted(&mut second, &next), counts(&[("a", 4), ("c", 2), ("d", 2)]));
}

#[test]
fn a_large_state_comes_out_in_parts_and_goes_in_again() {
    const KEYS: usize = 20_000;
    let component = load("big-state");
    let mut first = open(&component, &limits());
    for start in (0..KEYS).step_by(1000) {
        let rows: Vec<(String, String)> = (start..start + 1000).map(|i| (format!("key{i}"), format!("value{i}"))).collect();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        first.process(0, &batch(&rows), call(start as u64)).unwrap();
    }
    let mut chunks = Vec::new();
    let size = first.read_snapshot(Scope::Full, PART_BYTES_MAX, &mut |chunk| chunks.push(chunk)).unwrap();
    assert_eq!(size.cells, KEYS as u64);
    assert!(size.parts > 3, "{size:?}");
    assert_eq!(chunks.iter().map(|chunk| chunk.size_bytes() as u64).sum::<u64>(), size.bytes);
    let mut second = restored(&component, &chunks);
    assert_eq!(cells(&snapshot(&mut second, Scope::Full)), cells(&chunks));
}

#[test]
fn cells_of_another_version_are_refused_or_migrated() {
    let mut first = start("running-count");
    emitted(&mut first, &BEFORE);
    let chunks = snapshot(&mut first, Scope::Full);
    let error = start("running-count").restore(2, &chunks[0]).unwrap_err();
    assert_eq!(error.call, "restore");
    assert!(matches!(&error.fault, Fault::Returned(text) if text.starts_with("state `counts`: its cells are of version 2")), "{error}");
    let mut second = restored(&load("migrating-count"), &chunks);
    assert_eq!(emitted(&mut second, &AFTER), counts(&[("a", 3), ("b", 2), ("d", 1)]));
    let error = start("migrating-count").restore(2, &chunks[0]).unwrap_err();
    assert!(matches!(&error.fault, Fault::Returned(text) if text.contains("state `counts`, key ")), "{error}");
    let error = start("migrating-count").restore(0, &chunks[0]).unwrap_err();
    assert!(matches!(&error.fault, Fault::Returned(text) if text.contains("version 0 was never in use")), "{error}");
}

/// The keys of rows that count up from 0, and the largest batch.
fn keys_and_batch_bytes_max(outputs: &[(u32, Batch)]) -> (u64, usize) {
    let mut keys = 0u64;
    for row in outputs.iter().flat_map(|(_, rows)| rows.rows()) {
        assert_eq!(row.key, keys.to_le_bytes());
        keys += 1;
    }
    (keys, outputs.iter().map(|(_, rows)| rows.size_bytes()).max().unwrap_or(0))
}

#[test]
fn two_hundred_mebibytes_of_output_pass_a_limit_of_sixty_four_a_piece() {
    const MEBIBYTES: usize = 200;
    let component = load("large-output");
    let asked = vec![("k", "v"); MEBIBYTES - 1];
    let now: Vec<_> = asked.iter().copied().chain([("k", "now")]).collect();
    for output_bytes_max in [64 << 20, 100 << 10] {
        let limits = Limits { memory_bytes_max: 512 << 20, output_bytes_max, ..limits() };
        let mut instance = open(&component, &limits);
        let outcome = instance.process(0, &batch(&now), call(1)).unwrap();
        let (keys, batch_bytes_max) = keys_and_batch_bytes_max(&outcome.outputs);
        assert_eq!(keys, MEBIBYTES as u64 * 1024);
        assert!(batch_bytes_max as u64 <= output_bytes_max && batch_bytes_max <= 4 << 20, "{batch_bytes_max}");
        instance.process(0, &batch(&asked), call(2)).unwrap();
        assert_eq!(keys_and_batch_bytes_max(&instance.advance(i64::MAX, call(3)).unwrap()).0, (MEBIBYTES as u64 - 1) * 1024);
    }
    let mut instance = open(&component, &Limits { memory_bytes_max: 512 << 20, call_output_bytes_max: 100 << 20, ..limits() });
    let error = instance.process(0, &batch(&now), call(1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`resume` broke the contract: the output of `process` is over the limit of 104857600 bytes in all (`limits.call-output` of the operator)"
    );
}

#[test]
fn what_is_no_number_has_the_same_bits_on_every_machine() {
    let made = emitted(&mut start("nan-bits"), &[("k", "0")]);
    assert_eq!(made.len(), 10);
    for (operation, bits) in made {
        let canonical = if bits.len() == 16 { "7ff8000000000000" } else { "7fc00000" };
        assert_eq!(bits, canonical, "{operation}");
    }
}

#[test]
fn output_without_end_is_told() {
    let component = load("lie-more");
    let mut instance = open(&component, &limits());
    emitted(&mut instance, &BEFORE);
    let chunks = snapshot(&mut instance, Scope::Full);
    let error = instance.process(0, &batch(&[POISON]), call(2)).unwrap_err();
    assert_eq!(error.call, "resume");
    assert!(matches!(&error.fault, Fault::Lie(how) if how.contains("goes on after 17 pieces without a row")), "{error}");
    assert!(instance.is_dead());
    assert_eq!(emitted(&mut restored(&component, &chunks), &AFTER), counts(&[("a", 3), ("b", 2), ("d", 1)]), "nothing of the call stands");
}

#[test]
fn many_instances_with_large_memories_live_side_by_side() {
    let component = load("running-count");
    let limits = Limits { memory_bytes_max: 256 << 20, ..limits() };
    let mut instances: Vec<Instance> = (0..16).map(|_| open(&component, &limits)).collect();
    for instance in &mut instances {
        assert_eq!(emitted(instance, &[("a", "x")]), counts(&[("a", 1)]));
    }
}
