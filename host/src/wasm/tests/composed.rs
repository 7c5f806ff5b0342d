//! Components of several parts: two memories, a component within the component, features that are not given, and bytes that are no component.

use super::build::{Wat, call, embed, limits, process, rows, runtime, start};
use super::calls::ECHO;
use super::wasi::packages;
use crate::wasm::load::componentise;
use crate::wasm::{Fault, LoadError, Settings, inspect, memories};
use reprise_core::random::Random;

/// The interface through which one component calls the other.
const LIBRARY_WIT: &str = "package test:library; interface text { same: func(text: list<u8>) -> list<u8>; }";

/// A component that gives back the bytes that it is given, through a memory of its own.
const LIBRARY: &str = r#"
    (core module $m
        (memory (export "memory") 1)
        (global $top (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (global.get $top))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "same") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16)))
    (core instance $i (instantiate $m))
    (func (export "same") (param "text" (list u8)) (result (list u8))
        (canon lift (core func $i "same") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))"#;

/// An operator put together from two components: one calls the other one in each call of `process`, and traps unless it gives back what it was
/// given.
fn composed() -> Vec<u8> {
    let mut guest = process(&format!(
        r#"(call $same (i32.const 3000) (i32.const 5) (i32.const 3064))
        (if (i32.ne (i32.load (i32.const 3068)) (i32.const 5)) (then unreachable))
        (if (i32.ne (i32.load8_u (i32.add (i32.load (i32.const 3064)) (i32.const 4))) (i32.const 0x6f)) (then unreachable))
        {ECHO}"#
    ));
    guest.more = r#"(data (i32.const 3000) "hello")"#.into();
    guest.memory = format!("(import \"test:library/text\" \"same\" (func $same (param i32 i32 i32))) {}", Wat::default().memory);
    let mut resolve = packages();
    resolve.push_str("library.wit", LIBRARY_WIT).unwrap();
    let world = "package it:it; world it { include reprise:operator/stateless@0.1.0; import test:library/text; }";
    let package = resolve.push_str("it.wit", world).unwrap();
    let outer = componentise(&embed(guest.module(), &resolve, package, "it")).unwrap();
    beside(&wasmprinter::print_bytes(&outer).unwrap())
}

/// Puts an operator, as text, beside the library in a component that has no code of its own: a component may not call one that lies within it.
fn beside(operator: &str) -> Vec<u8> {
    let lines: Vec<&str> = operator.lines().collect();
    let name = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let starts = |with: &'static str| lines.iter().enumerate().filter(move |(_, line)| line.starts_with(with));
    let (last, _) = starts("  (import \"").next_back().expect("it imports the library");
    // The library is an instance with the index that the import has in the operator.
    let library = format!("(component $library {LIBRARY})\n(instance (instantiate $library))");
    let is_library = |line: &str| line.starts_with("  (import \"test:library/text\"");
    let head: Vec<&str> = lines[1..=last].iter().map(|line| if is_library(line) { library.as_str() } else { line }).collect();
    let with = starts("  (import \"").enumerate().map(|(at, (_, line))| format!("(with \"{}\" (instance {at}))", name(line)));
    let with: Vec<String> = with.collect();
    let exports = starts("  (export ").map(|(_, line)| name(line)).map(|name| format!("(export \"{name}\" (instance $run \"{name}\"))"));
    let exports: Vec<String> = exports.collect();
    let run = format!("(instance $run (instantiate $operator {}))", with.join(" "));
    let parts = [head.join("\n"), format!("(component $operator\n{}", lines[1..].join("\n")), run, exports.join("\n")];
    wat::parse_str(format!("(component\n{}\n)", parts.join("\n"))).unwrap()
}

#[test]
fn an_operator_put_together_from_two_components_runs() {
    let bytes = composed();
    assert_eq!(memories(&bytes), 2);
    assert!(inspect(&bytes).unwrap().check().is_ok());
    let runtime = runtime(&Settings { instances_max: 3, ..Settings::default() }.with_memories(2));
    let component = runtime.load(&bytes).unwrap();
    let mut instances: Vec<_> = (0..3).map(|_| start(&component, &limits()).unwrap()).collect();
    for instance in &mut instances {
        for number in 0..3 {
            assert_eq!(instance.process(0, &rows(3), call(number)).unwrap().outputs, [(0, rows(3))]);
        }
        assert!(instance.memory_bytes() >= 5 << 16, "the memories of both count: {}", instance.memory_bytes());
    }
}

#[test]
fn an_operator_with_two_memories_runs_and_both_count() {
    let guest = Wat { memory: "(memory (export \"memory\") 4) (memory $other 8)".to_owned(), ..process(ECHO) };
    let bytes = guest.bytes();
    assert_eq!(memories(&bytes), 2);
    let runtime = runtime(&Settings { instances_max: 1, ..Settings::default() }.with_memories(2));
    let component = runtime.load(&bytes).unwrap();
    let mut instance = start(&component, &limits()).unwrap();
    assert_eq!(instance.process(0, &rows(3), call(1)).unwrap().outputs, [(0, rows(3))]);
    assert_eq!(instance.memory_bytes(), 12 << 16);
    drop(instance);
    let little = crate::wasm::Limits { memory_bytes_max: 11 << 16, ..limits() };
    let error = start(&component, &little).unwrap_err();
    assert!(matches!(error.fault, Fault::Memory { .. }), "{error}");
}

#[test]
fn what_is_not_given_is_refused_by_its_name_before_it_is_compiled() {
    let refused = |memory: &str, more: &str| {
        let guest = Wat { memory: memory.to_owned(), more: more.to_owned(), ..Wat::default() };
        runtime(&Settings { instances_max: 1, ..Settings::default() }).load(&guest.bytes()).unwrap_err().to_string()
    };
    let memory = Wat::default().memory;
    for (extra, more, name) in [
        ("(memory i64 1)", "", "memory64"),
        ("(memory 1 1 shared)", "", "threads"),
        ("", "(tag (param i32))", "exceptions"),
        ("", "(type (struct (field i32)))", "GC"),
    ] {
        let error = refused(&format!("{memory} {extra}"), more);
        assert!(error.contains(name) && error.contains("help: "), "{name}: {error}");
    }
    let many = "(memory 1)".repeat(16);
    let error = refused(&format!("{memory} {many}"), "");
    assert!(error.contains("17 linear memories") && error.contains("at most 16"), "{error}");
}

#[test]
fn a_guest_that_loops_while_the_host_hands_it_rows_has_its_deadline() {
    let guest = Wat {
        more: "(global $opened (mut i32) (i32.const 0))".into(),
        open: "(global.set $opened (i32.const 1)) (global.get $zeros)".into(),
        ..process(ECHO)
    };
    // Once it is opened, its allocator never returns.
    let module = wasmprinter::print_bytes(guest.module()).unwrap();
    let at = module.find("(func $alloc").expect("the frame has an allocator");
    let body = at + module[at..].find("(local $at").expect("it has a local");
    let body = body + module[body..].find('\n').expect("a line");
    let looping = format!("{}\n(block (br_if 0 (i32.eqz (global.get $opened))) (loop (br 0)))\n{}", &module[..body], &module[body..]);
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let bytes = embed(wat::parse_str(looping).unwrap(), &resolve, package, "stateless");
    let limits = crate::wasm::Limits { deadline: std::time::Duration::from_millis(50), ..limits() };
    let component = runtime(&Settings { instances_max: 2, ..Settings::default() }).load(&bytes).unwrap();
    let mut instance = start(&component, &limits).unwrap();
    instance.open("{}", 1, call(0)).unwrap();
    let error = instance.process(0, &rows(3), call(1)).unwrap_err();
    assert_eq!(error.fault.kind(), "deadline", "{error}");
}

#[test]
fn no_bytes_whatever_make_more_than_an_error_of_a_component() {
    let good = [process(ECHO).bytes(), componentise(&process(ECHO).bytes()).unwrap(), composed()];
    let runtime = runtime(&Settings { instances_max: 2, ..Settings::default() }.with_memories(2));
    let mut random = Random::new(11);
    let (mut refused, mut loaded) = (0, 0);
    for round in 0..300 {
        let mut bytes = good[round % good.len()].clone();
        match random.number() % 4 {
            0 => bytes.truncate(random.number() as usize % bytes.len()),
            1 => {
                let (from, to) = (random.number() as usize % bytes.len(), random.number() as usize % bytes.len());
                let piece: Vec<u8> = bytes[from..].iter().take(40).copied().collect();
                bytes.splice(to..to, piece);
            }
            _ => {
                for _ in 0..=random.number() % 4 {
                    let place = random.number() as usize % bytes.len();
                    bytes[place] = random.number() as u8;
                }
            }
        }
        let _ = inspect(&bytes);
        let _ = memories(&bytes);
        match runtime.load(&bytes) {
            Ok(component) => {
                loaded += 1;
                let limits = crate::wasm::Limits { deadline: std::time::Duration::from_millis(100), ..limits() };
                let _ = start(&component, &limits).and_then(|mut instance| instance.process(0, &rows(3), call(1)));
            }
            Err(LoadError::GaveUp(why)) => panic!("round {round}: a library panicked over it: {why}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 100 && loaded > 0, "{refused} refused, {loaded} loaded: the mutations are of no use");
}
