//! `docs/formats.md` against the code: limits, numbers, names of objects, the bytes of a claim; and the key groups of sample keys.

use super::claim;
use crate::golden;
use reprise_core::checkpoint::faulted;
use reprise_core::checkpoint::manifest::HOPS_MAX;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::{ObjectName, replay_source};
use reprise_core::codec::{frame, parked, record, snapshot};
use reprise_core::ids::{Digest, Epoch, Generation, Instance};
use reprise_core::keying;
use std::fmt::Write as _;

const REFERENCE: &str = include_str!("../../docs/formats.md");

/// Sixteen bytes a line, as `docs/formats.md` shows them.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String = bytes.iter().map(|&byte| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }).collect();
        let line = format!("{:04x}  {:<47}  {shown}", line * 16, hex.join(" "));
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

#[test]
fn the_reference_shows_the_bytes_of_a_claim() {
    let shown = dump(&record::encode(&claim()).unwrap());
    assert!(REFERENCE.contains(&shown), "docs/formats.md does not have this:\n{shown}");
}

#[test]
fn the_reference_has_the_limits_and_numbers_of_the_code() {
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    for expected in [
        format!("largest payload of a frame: {}", mebibytes(frame::PAYLOAD_BYTES_MAX)),
        format!("largest record: {}", mebibytes(record::RECORD_BYTES_MAX as u64)),
        format!("chunks in a snapshot: {}", snapshot::CHUNKS_MAX),
        format!("a head of {} bytes", frame::HEADER_BYTES),
        format!("version {}", frame::VERSION),
        format!("of manifests up to version {}", frame::VERSION_PARKED),
        format!("items in an object of parked input: {}", parked::ITEMS_MAX),
        format!("and edges: {}", parked::EDGES_MAX),
        format!("moves of parked input: {HOPS_MAX}"),
        format!("{} key groups", keying::KEY_GROUPS),
        format!("faulted rows in an object: {}", faulted::ROWS_MAX),
        format!("bytes of a call or kind: {}", faulted::WORD_BYTES_MAX),
        format!("entries of a backtrace or log tail: {}", faulted::LINES_MAX),
        format!("bytes of an entry: {}", faulted::LINE_BYTES_MAX),
        format!("bytes of a capsule's name: {}", faulted::CAPSULE_BYTES_MAX),
    ] {
        assert!(REFERENCE.contains(&expected), "docs/formats.md does not say: {expected}");
    }
    use frame::FrameKind::{Chunk, Claim, Dropped, Fault, Identity, Manifest, Quarantine, Replay, Replayed, Request, Resume};
    use frame::FrameKind::{ParkedEnd, ParkedHead, ParkedItem, SnapshotEnd, SnapshotHead, Unpark};
    for (kind, name) in [
        (Manifest, "manifest"),
        (Claim, "claim"),
        (SnapshotHead, "snapshot head"),
        (Chunk, "chunk"),
        (SnapshotEnd, "snapshot end"),
        (Quarantine, "quarantine"),
        (Request, "request"),
        (Fault, "fault"),
        (Dropped, "dropped"),
        (Replay, "replay"),
        (Replayed, "replayed"),
        (Resume, "resume"),
        (Identity, "identity"),
        (ParkedHead, "parked head"),
        (ParkedItem, "parked item"),
        (ParkedEnd, "parked end"),
        (Unpark, "unpark"),
    ] {
        let row = format!("| {} | {name} |", kind as u16);
        assert!(REFERENCE.contains(&row), "docs/formats.md has no row {row}");
    }
}

#[test]
fn the_reference_has_the_names_of_the_objects() {
    let (instance, epoch, generation) = (Instance(1), Epoch(41), Generation(7));
    for name in [
        paths::claim(generation),
        paths::manifest(epoch),
        paths::snapshot("count", instance, epoch, generation, true),
        paths::snapshot("count", instance, epoch, generation, false),
        paths::quarantine("count", instance, epoch, generation, 0),
        paths::savepoint("before-upgrade").unwrap(),
        paths::request("before-upgrade").unwrap(),
        paths::resume("count").unwrap(),
        paths::not_paused("count").unwrap(),
        paths::unpark("count").unwrap(),
        paths::not_parked("count").unwrap(),
        paths::parked("count", instance, epoch, generation, 17),
        ObjectName::of_path(&paths::quarantine("count", instance, epoch, generation, 0)).unwrap().dropped(0),
        ObjectName::of_path(&paths::quarantine("count", instance, epoch, generation, 0)).unwrap().replay(0),
        paths::replayed(epoch, generation),
        paths::IDENTITY.to_owned(),
        // Of the text `test`.
        paths::component(Digest([
            0x9f, 0x86, 0xd0, 0x81, 0x88, 0x4c, 0x7d, 0x65, 0x9a, 0x2f, 0xea, 0xa0, 0xc5, 0x5a, 0xd0, 0x15, 0xa3, 0xbf, 0x4f, 0x1b, 0x2b,
            0x0b, 0x82, 0x2c, 0xd1, 0x5d, 0x6c, 0x15, 0xb0, 0xf0, 0x0a, 0x08,
        ])),
        replay_source("count", 0, None),
        replay_source("count", 0, Some(3)),
    ] {
        assert!(REFERENCE.contains(&format!("`{name}`")), "docs/formats.md has no example {name}");
    }
}

/// A key of a length at which the hash takes another way, made of bytes that all differ from their neighbours.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 + 7) as u8).collect()
}

#[test]
fn the_key_groups_of_sample_keys_are_frozen() {
    let mut text = String::from("# key group of each sample key; `pattern N`: N bytes, byte i is (31 i + 7) modulo 256\n");
    let mut line = |name: &str, key: &[u8]| writeln!(text, "{name} {}", keying::group(key).0).unwrap();
    line("empty", b"");
    for word in ["a", "b", "ab", "the", "key-0000000", "key-0000001", "caf\u{e9}", "\u{1f600}"] {
        line(&format!("text {word}"), word.as_bytes());
    }
    for byte in 0..=255 {
        line(&format!("byte {byte:02x}"), &[byte]);
    }
    for length in [2, 3, 4, 8, 9, 16, 17, 32, 33, 64, 65, 96, 97, 128, 129, 240, 241, 255, 256, 257, 512, 1024, 1025, 4096, 65536] {
        line(&format!("pattern {length}"), &pattern(length));
    }
    let relative = "keying/groups.txt";
    if golden::path(relative).exists() {
        let frozen = std::fs::read_to_string(golden::path(relative)).unwrap();
        let differs = frozen.lines().zip(text.lines()).find(|(frozen, now)| frozen != now);
        assert!(frozen == text, "keys would go to instances that do not hold their state: {differs:?}");
    } else {
        golden::check(relative, &text);
    }
}
