//! A guest that returns whatever its memory holds, as the raw records of the canonical ABI: pointers, lengths and discriminants of
//! anyone's choice. So the engine's own reading of them is met first, and our checks after it.
//!
//! It is honest until it is given its memory: as the values of the first batch, or as a data segment for the one that describes itself.
//! The memory begins with a script: the first [`CALLS`] calls of any function take an entry of 16 bytes each, those after them do nothing.
//!
//! | bytes of an entry | what the call does with them |
//! |---|---|
//! | 0..4 | the address of what it returns |
//! | 4 | logs so many times (low 4 bits) the text at `first`, `second` bytes long |
//! | 5 | at this level |
//! | 6 | counts so often (low 4 bits) under the name at `first`, `second` bytes long |
//! | 7 | bit 0: traps; bit 1: from then on gives `first` where the host asks for room; bit 2: grows its memory by `second` pages |
//! | 8..12, 12..16 | `first`, `second` |

use reprise_core::batch::{Batch, Row};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Calls that the script has room for.
pub const CALLS: usize = 16;
/// Bytes of an entry of the script.
pub const ENTRY_BYTES: usize = 16;
/// Memory that can be chosen. It lies at address 0.
pub const MEMORY_BYTES_MAX: usize = 4096;
/// Inputs, outputs and slots of the honest description.
pub const PORTS: usize = 1;
/// See [`PORTS`].
pub const SLOTS: usize = 1;

const OPERATOR: &str = "reprise:operator/operator@0.1.0";
const STATE: &str = "reprise:operator/state@0.1.0";
/// Stands where the memory of the guest that describes itself is to be.
const PLACE: [u8; MEMORY_BYTES_MAX] = [0xa7; MEMORY_BYTES_MAX];
/// Address of the honest description; past all memory that can be chosen.
const DESCRIPTION: u32 = 8192;

/// A component that is honest until it is given its memory with [`load`].
pub fn honest() -> Vec<u8> {
    let words = |words: &[u32]| words.iter().map(|word| word.to_le_bytes()).collect::<Vec<_>>().concat();
    let names = DESCRIPTION + 256;
    let data = [
        (DESCRIPTION, words(&[names, 1, names, 1, names - 96, 1, names - 64, 1, names - 32, 1])),
        (names - 96, words(&[names, 2])),
        (names - 64, words(&[names + 2, 3, 0])),
        (names - 32, words(&[names, 2, 0, 1, 0])),
        (names, b"inout".to_vec()),
    ];
    component(false, &format!("(i32.const {DESCRIPTION})"), &data)
}

/// The batch that gives the honest guest its memory.
pub fn load(memory: &[u8]) -> Batch {
    let mut batch = Batch::new();
    let value = &memory[..memory.len().min(MEMORY_BYTES_MAX)];
    batch.push(Row { time: 0, key: b"", value }).expect("one row fits");
    batch
}

/// A component that describes itself by its memory.
pub struct Describing {
    bytes: Vec<u8>,
    at: usize,
}

impl Describing {
    pub fn new() -> Self {
        let bytes = component(true, "(call $next)", &[(0, PLACE.to_vec())]);
        let at = bytes.windows(PLACE.len()).position(|window| window == PLACE).expect("a data segment is stored as it is");
        Self { bytes, at }
    }

    /// The component with this memory.
    pub fn with(&self, memory: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let place = &mut bytes[self.at..self.at + MEMORY_BYTES_MAX];
        place.fill(0);
        let count = memory.len().min(MEMORY_BYTES_MAX);
        place[..count].copy_from_slice(&memory[..count]);
        bytes
    }
}

fn component(is_loaded: bool, describe: &str, data: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).expect("the contract is well-formed");
    let world = resolve.select_world(&[package], Some("stateful")).expect("the contract has this world");
    let mut module = wat::parse_str(text(is_loaded, describe, data)).expect("the text is well-formed");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world can be embedded");
    let encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).and_then(|mut encoder| encoder.encode()).expect("the module fits its world")
}

fn text(is_loaded: bool, describe: &str, data: &[(u32, Vec<u8>)]) -> String {
    let segment = |(at, bytes): &(u32, Vec<u8>)| {
        let bytes: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data (i32.const {at}) \"{bytes}\")\n")
    };
    let data: String = data.iter().map(segment).collect();
    format!(
        r#"(module
        (import "reprise:operator/runtime@0.1.0" "log" (func $log (param i32 i32 i32)))
        (import "reprise:operator/runtime@0.1.0" "count" (func $count (param i32 i32 i64)))
        (memory (export "memory") 2)
        (global $loaded (mut i32) (i32.const {loaded}))
        (global $entry (mut i32) (i32.const 0))
        (global $zeros i32 (i32.const 16384))
        (global $top (mut i32) (i32.const 65536))
        (global $forges (mut i32) (i32.const 0))
        (global $forged (mut i32) (i32.const 0))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (if (global.get $forges) (then (return (global.get $forged))))
            (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
            (global.set $top (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func $next (result i32)
            (local $at i32) (local $times i32) (local $flags i32) (local $first i32) (local $second i32)
            (global.set $top (i32.const 65536))
            (if (i32.eqz (global.get $loaded)) (then (return (global.get $zeros))))
            (if (i32.ge_u (global.get $entry) (i32.const {CALLS})) (then (return (global.get $zeros))))
            (local.set $at (i32.mul (global.get $entry) (i32.const {ENTRY_BYTES})))
            (global.set $entry (i32.add (global.get $entry) (i32.const 1)))
            (local.set $first (i32.load (i32.add (local.get $at) (i32.const 8))))
            (local.set $second (i32.load (i32.add (local.get $at) (i32.const 12))))
            (local.set $times (i32.and (i32.load8_u (i32.add (local.get $at) (i32.const 4))) (i32.const 15)))
            (loop $logs
                (if (local.get $times) (then
                    (call $log (i32.load8_u (i32.add (local.get $at) (i32.const 5))) (local.get $first) (local.get $second))
                    (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                    (br $logs))))
            (local.set $times (i32.and (i32.load8_u (i32.add (local.get $at) (i32.const 6))) (i32.const 15)))
            (loop $counts
                (if (local.get $times) (then
                    (call $count (local.get $first) (local.get $second) (i64.load (local.get $at)))
                    (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                    (br $counts))))
            (local.set $flags (i32.load8_u (i32.add (local.get $at) (i32.const 7))))
            (if (i32.and (local.get $flags) (i32.const 1)) (then unreachable))
            (if (i32.and (local.get $flags) (i32.const 2))
                (then (global.set $forges (i32.const 1)) (global.set $forged (local.get $first))))
            (if (i32.and (local.get $flags) (i32.const 4)) (then (drop (memory.grow (local.get $second)))))
            (i32.load (local.get $at)))
        (func (export "{OPERATOR}#describe") (result i32) {describe})
        (func (export "{OPERATOR}#open") (param i32 i32 i32 i32 i32) (result i32) (call $next))
        (func (export "{OPERATOR}#process") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (if (i32.eqz (global.get $loaded)) (then
                (memory.copy (i32.const 0) (local.get 9) (local.get 10))
                (global.set $loaded (i32.const 1))
                (return (global.get $zeros))))
            (call $next))
        (func (export "{OPERATOR}#advance") (param i64) (result i32) (call $next))
        (func (export "{OPERATOR}#resume") (result i32) (call $next))
        (func (export "{STATE}#snapshot") (param i32 i32) (result i32) (call $next))
        (func (export "{STATE}#restore")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (call $next))
        {data})"#,
        loaded = u32::from(is_loaded),
    )
}
