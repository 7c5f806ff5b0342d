//! Makes small guests: a frame in WebAssembly text with the bodies of functions filled in, as a core module with metadata.

use crate::wasm::{Call, Component, GuestError, Instance, InstanceIdentity, Limits, Runtime, Settings};
use reprise_core::batch::{Batch, Row};
use std::time::Duration;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub const OPERATOR: &str = "reprise:operator/operator@0.1.0";
pub const STATE: &str = "reprise:operator/state@0.1.0";

/// Bodies of a guest's functions. The default does nothing, successfully.
///
/// Bodies see: `$zeros` (an address with 64 zero bytes: an empty success of any result), `$answer` (outputs and rejections as a result;
/// with 0 or 1 for the address of the rejections it is outputs and `more`), `$more` (a result of `process`, with `more` set),
/// `$failure` (an error text as a result), `$echo` (the parameters of `process` as one batch for port 0), and the imports.
pub struct Wat {
    pub world: &'static str,
    pub open: String,
    pub process: String,
    pub advance: String,
    pub resume: String,
    pub snapshot: String,
    pub restore: String,
    /// Further definitions.
    pub more: String,
    /// The memory.
    pub memory: String,
    /// Bytes of the description, over those of the good one: (address, text).
    pub description: Vec<(u32, Vec<u8>)>,
}

impl Default for Wat {
    fn default() -> Self {
        let zeros = || "(global.get $zeros)".to_owned();
        Self {
            world: "stateless",
            open: zeros(),
            process: zeros(),
            advance: zeros(),
            resume: zeros(),
            snapshot: zeros(),
            restore: zeros(),
            more: String::new(),
            memory: "(memory (export \"memory\") 4)".to_owned(),
            description: Vec::new(),
        }
    }
}

/// A guest whose `process` is this.
pub fn process(body: &str) -> Wat {
    Wat { process: body.to_owned(), ..Wat::default() }
}

/// A guest with state whose `snapshot` is this.
pub fn snapshot(body: &str) -> Wat {
    Wat { world: "stateful", snapshot: body.to_owned(), ..Wat::default() }
}

/// Numbers as the bytes of WebAssembly's memory.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn data(at: u32, bytes: &[u8]) -> String {
    let text: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("(data (i32.const {at}) \"{text}\")\n")
}

/// Address of the description.
pub const DESCRIPTION: u32 = 1024;
/// Address of its one output, and of its one slot.
const PORT: u32 = 1152;
const SLOT: u32 = 1184;
const NAMES: u32 = 1280;

impl Wat {
    /// The core module, without metadata.
    pub fn module(&self) -> Vec<u8> {
        let slots = u32::from(self.world == "stateful");
        let mut bytes = data(DESCRIPTION, &words(&[NAMES, 1, NAMES, 1, 1136, 1, PORT, 1, SLOT, slots]));
        bytes += &data(1136, &words(&[NAMES, 2]));
        bytes += &data(PORT, &words(&[NAMES + 2, 3, 0]));
        bytes += &data(SLOT, &words(&[NAMES, 2, 0, 1, 0]));
        bytes += &data(NAMES, b"inout");
        self.description.iter().for_each(|(at, text)| bytes += &data(*at, text));
        let state = if self.world == "stateful" { self.state() } else { String::new() };
        let Self { open, process, advance, resume, more, memory, .. } = self;
        let text = format!(
            r#"(module
            (import "reprise:operator/runtime@0.1.0" "log" (func $log (param i32 i32 i32)))
            (import "reprise:operator/runtime@0.1.0" "now" (func $now (result i64)))
            (import "reprise:operator/runtime@0.1.0" "random" (func $random (result i64)))
            (import "reprise:operator/runtime@0.1.0" "count" (func $count (param i32 i32 i64)))
            {memory}
            (global $zeros i32 (i32.const 64))
            (global $top (mut i32) (i32.const 65536))
            (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (block $fits
                    (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
                    (br_if $fits (i32.ne (memory.grow (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 1))) (i32.const -1)))
                    unreachable)
                (local.get $at))
            (func $answer (param i32 i32 i32 i32) (result i32)
                (i32.store (i32.const 2048) (i32.const 0))
                (i32.store (i32.const 2052) (local.get 0)) (i32.store (i32.const 2056) (local.get 1))
                (i32.store (i32.const 2060) (local.get 2)) (i32.store (i32.const 2064) (local.get 3))
                (i32.const 2048))
            (func $more (param i32) (result i32) (i32.store8 (i32.const 2068) (i32.const 1)) (local.get 0))
            (func $failure (param i32 i32) (result i32)
                (i32.store (i32.const 2048) (i32.const 1))
                (i32.store (i32.const 2052) (local.get 0)) (i32.store (i32.const 2056) (local.get 1))
                (i32.const 2048))
            (func $echo (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                (i32.store (i32.const 2112) (i32.const 0))
                {copy}
                (call $answer (i32.const 2112) (i32.const 1) (i32.const 0) (i32.const 0)))
            (func (export "{OPERATOR}#describe") (result i32) (i32.const {DESCRIPTION}))
            (func (export "{OPERATOR}#open") (param i32 i32 i32 i32 i32) (result i32) {open})
            (func (export "{OPERATOR}#process") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {process})
            (func (export "cabi_post_{OPERATOR}#process") (param i32) (global.set $top (i32.const 65536)))
            (func (export "{OPERATOR}#advance") (param i64) (result i32) {advance})
            (func (export "{OPERATOR}#resume") (result i32) {resume})
            {state}
            {more}
            {bytes})"#,
            copy = (1..11).map(|i| format!("(i32.store (i32.const {}) (local.get {i}))", 2112 + 4 * i)).collect::<Vec<_>>().join(" "),
        );
        wat::parse_str(text).unwrap()
    }

    fn state(&self) -> String {
        let Self { snapshot, restore, .. } = self;
        format!(
            r#"(func (export "{STATE}#snapshot") (param i32 i32) (result i32) {snapshot})
            (func (export "{STATE}#restore") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {restore})"#
        )
    }

    /// The core module with the metadata of its world.
    pub fn bytes(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
        embed(self.module(), &resolve, package, self.world)
    }

    pub fn load(&self) -> Component {
        runtime(&Settings { instances_max: 4, ..Settings::default() }).load(&self.bytes()).unwrap()
    }

    pub fn start(&self) -> Instance {
        start(&self.load(), &limits()).unwrap()
    }
}

/// A core module with the metadata of a world.
pub fn embed(mut module: Vec<u8>, resolve: &Resolve, package: wit_parser::PackageId, world: &str) -> Vec<u8> {
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
    module
}

pub fn runtime(settings: &Settings) -> Runtime {
    Runtime::new(settings).unwrap()
}

/// Limits under which every test of this folder ends soon.
pub fn limits() -> Limits {
    Limits { memory_bytes_max: 4 << 20, deadline: Duration::from_secs(30), output_bytes_max: 1 << 20, ..Limits::default() }
}

pub fn start(component: &Component, limits: &Limits) -> Result<Instance, GuestError> {
    component.instantiate(limits, InstanceIdentity { job: "job".into(), operator: "op".into(), instance: 0, seed: 0 })
}

pub fn call(number: u64) -> Call {
    Call { number, now_ms: 1000, instant_ns: 0 }
}

/// Rows with the keys `k0`, `k1`, ... and the values `v0`, `v1`, ...
pub fn rows(count: usize) -> Batch {
    let mut batch = Batch::new();
    for i in 0..count {
        let (key, value) = (format!("k{i}"), format!("v{i}"));
        batch.push(Row { time: i as i64, key: key.as_bytes(), value: value.as_bytes() }).unwrap();
    }
    batch
}
