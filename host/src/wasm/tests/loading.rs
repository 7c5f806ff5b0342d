//! What is loaded, what is refused, and what the cache gives back.

use super::build::{OPERATOR, Wat, call, embed, limits, process, rows, runtime, start};
use super::calls::ECHO;
use crate::wasm::load::componentise;
use crate::wasm::{BinaryKind, Inspection, LoadError, Runtime, Settings, World, inspect};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wit_parser::Resolve;

fn small() -> Runtime {
    runtime(&Settings { instances_max: 1, ..Settings::default() })
}

/// A component of one world of a package written out here, with this core module.
fn alien(wit: &str, module: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("alien.wit", wit).unwrap();
    componentise(&embed(wat::parse_str(module).unwrap(), &resolve, package, "it")).unwrap()
}

#[test]
fn a_core_module_and_the_component_made_of_it_both_load() {
    let module = process(ECHO).bytes();
    let component = componentise(&module).unwrap();
    for (bytes, kind) in [(&module, BinaryKind::Module), (&component, BinaryKind::Component)] {
        let inspection = inspect(bytes).unwrap();
        assert_eq!((inspection.kind, inspection.world), (kind, Some(World::Stateless)));
        assert_eq!(inspection.exports, [OPERATOR]);
        let loaded = small().load(bytes).unwrap();
        assert_eq!(loaded.digest().0, <[u8; 32]>::from(Sha256::digest(bytes)), "the digest is that of the bytes given");
        assert_eq!((loaded.imports(), loaded.exports()), (&inspection.imports[..], &inspection.exports[..]));
        assert!(!loaded.has_state());
        let outcome = start(&loaded, &limits()).unwrap().process(0, &rows(3), call(1)).unwrap();
        assert_eq!(outcome.outputs, [(0, rows(3))]);
    }
}

#[test]
fn a_component_with_state_says_so() {
    let bytes = Wat { world: "stateful", ..Wat::default() }.bytes();
    assert_eq!(inspect(&bytes).unwrap().world, Some(World::Stateful));
    let component = small().load(&bytes).unwrap();
    assert!(component.has_state());
    assert_eq!(component.describe().unwrap().slots.len(), 1);
}

#[test]
fn files_that_are_no_operators_are_refused_with_advice() {
    let refuse = |bytes: &[u8]| small().load(bytes).unwrap_err();
    assert!(matches!(refuse(b""), LoadError::Empty));
    assert!(matches!(refuse(b"#!/bin/sh"), LoadError::NotWasm));
    assert!(matches!(refuse(&process(ECHO).module()), LoadError::PlainModule));
    let component = componentise(&process(ECHO).bytes()).unwrap();
    assert!(matches!(refuse(&component[..component.len() / 2]), LoadError::Invalid(_)));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("x.wit", "package a:b; world it { export run: func(); }").unwrap();
    let lacking = embed(wat::parse_str("(module)").unwrap(), &resolve, package, "it");
    assert!(matches!(refuse(&lacking), LoadError::Componentise(_)));
}

#[test]
fn alien_imports_are_refused_by_name() {
    let bytes = alien(
        "package evil:net; interface socket { dial: func(to: u32); } interface fs { wipe: func(); }
        world it { import socket; import fs; }",
        r#"(module (import "evil:net/socket" "dial" (func (param i32))) (import "evil:net/fs" "wipe" (func)))"#,
    );
    assert_eq!(inspect(&bytes).unwrap().alien_imports(), ["evil:net/socket", "evil:net/fs"]);
    let error = small().load(&bytes).unwrap_err();
    let lines = ["`evil:net/socket`: no operator is given this", "`evil:net/fs`: no operator is given this"];
    assert!(error.to_string().starts_with("the component imports what no operator is given:\n"), "{error}");
    assert!(lines.iter().all(|line| error.to_string().contains(line)), "{error}");
}

#[test]
fn another_version_of_the_contract_is_refused() {
    let bytes = alien(
        "package reprise:operator@0.2.0; interface operator { describe: func(); } world it { export operator; }",
        r#"(module (func (export "reprise:operator/operator@0.2.0#describe")))"#,
    );
    let error = small().load(&bytes).unwrap_err();
    assert!(matches!(&error, LoadError::Exports { exports } if exports == &["reprise:operator/operator@0.2.0"]), "{error}");
    assert_eq!(inspect(&bytes).unwrap().world, None);
    let state = Inspection {
        kind: BinaryKind::Component,
        imports: Vec::new(),
        exports: vec![OPERATOR.to_owned(), "reprise:operator/state@0.2.0".to_owned()],
        world: Some(World::Stateless),
    };
    assert!(matches!(state.check(), Err(LoadError::Exports { .. })), "its state would be lost");
}

#[test]
fn an_export_of_another_type_is_refused_when_loading() {
    let bytes = alien(
        "package reprise:operator@0.1.0; interface operator { describe: func() -> u32; } world it { export operator; }",
        &format!("(module (func (export \"{OPERATOR}#describe\") (result i32) (i32.const 0)))"),
    );
    let error = small().load(&bytes).unwrap_err();
    assert!(matches!(&error, LoadError::Types { export, .. } if export == &format!("{OPERATOR}#describe")), "{error}");
}

#[test]
fn a_memory_that_is_too_large_is_refused_when_loading() {
    let refuse = |memory: &str, settings: &Settings| {
        let guest = Wat { memory: memory.to_owned(), ..Wat::default() };
        match runtime(settings).load(&guest.bytes()) {
            Err(LoadError::Invalid(why) | LoadError::Componentise(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    };
    let settings = Settings { instances_max: 1, memory_bytes_max: 1 << 20, ..Settings::default() };
    refuse("(memory (export \"memory\") 17)", &settings);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_cache_gives_back_what_was_compiled_and_replaces_what_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { cache_dir: Some(dir.path().join("cache")), instances_max: 1, ..Settings::default() };
    let path = dir.path().join("cache");
    let bytes = process(ECHO).bytes();
    let works = || {
        let loaded = runtime(&settings).load(&bytes).unwrap();
        assert_eq!(start(&loaded, &limits()).unwrap().process(0, &rows(3), call(1)).unwrap().outputs, [(0, rows(3))]);
        let files = files(&path);
        assert_eq!(files.len(), 1);
        (files[0].clone(), fs::read(&files[0]).unwrap())
    };
    let (file, first) = works();
    let written = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(works(), (file.clone(), first.clone()));
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written, "nothing was compiled again");
    let mut flipped = first.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for damaged in [flipped, first[..middle].to_vec(), Vec::new()] {
        fs::write(&file, &damaged).unwrap();
        let (again, now) = works();
        assert_eq!(again, file);
        assert_ne!(now, damaged, "the damaged file was replaced");
    }
}

#[test]
fn a_cache_that_cannot_be_used_is_done_without() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"x").unwrap();
    for cache in [file.clone(), file.join("below"), PathBuf::from("/proc/nobody/may/write/here"), PathBuf::from("")] {
        let settings = Settings { cache_dir: Some(cache.clone()), instances_max: 1, ..Settings::default() };
        let loaded = runtime(&settings).load(&process(ECHO).bytes()).unwrap();
        assert!(start(&loaded, &limits()).is_ok(), "{}", cache.display());
    }
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn what_is_refused_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime(&Settings { cache_dir: Some(dir.path().join("cache")), instances_max: 1, ..Settings::default() });
    runtime.load(&process(ECHO).module()).unwrap_err();
    assert!(files(&dir.path().join("cache")).is_empty());
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refuse = |settings: Settings| match Runtime::new(&settings) {
        Err(LoadError::Setting { name, .. }) => name,
        _ => panic!("not refused"),
    };
    assert_eq!(refuse(Settings { tick: Duration::from_millis(11), ..Settings::default() }), "tick");
    assert_eq!(refuse(Settings { instances_max: 0, ..Settings::default() }), "instances_max");
    assert_eq!(refuse(Settings { memory_bytes_max: 5 << 30, ..Settings::default() }), "memory_bytes_max");
    assert_eq!(refuse(Settings { stack_bytes_max: 8 << 20, ..Settings::default() }), "stack_bytes_max");
}

#[test]
fn deadlines_hold_when_the_runtime_itself_is_gone() {
    let component = process("(loop $again (br $again)) unreachable").load();
    let limits = crate::wasm::Limits { deadline: Duration::from_millis(20), ..limits() };
    let mut instance = start(&component, &limits).unwrap();
    drop(component);
    assert_eq!(instance.process(0, &rows(1), call(1)).unwrap_err().fault.kind(), "deadline");
}
