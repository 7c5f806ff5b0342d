//! Parked input at rest: its objects, manifests that name them, and the request to give it up.

use super::{ByHand, frozen, manifest, manifest_by_hand};
use reprise_core::batch::{Batch, Row};
use reprise_core::checkpoint::invariants;
use reprise_core::checkpoint::manifest::{Hop, ParkedRef};
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, Unpark};
use reprise_core::checkpoint::paths;
use reprise_core::codec::parked::{self, ParkedEdge, ParkedItem};
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::codec::{checksum, frame, record};
use reprise_core::ids::{Epoch, Generation, Instance};

fn unpark() -> Unpark {
    Unpark { operator: "count".into(), to_quarantine: true, writer: 0x0123_4567_89ab_cdef, asked_ms: 1_700_000_000_123 }
}

fn parked_head() -> parked::ParkedHead {
    let edge = |from: &str, port, input: &str| ParkedEdge { from: from.into(), port, input: input.into() };
    let edges = vec![edge("text", 0, "words"), edge("split", 1, "words")];
    let (instance, epoch, generation) = (Instance(1), Epoch(41), Generation(7));
    parked::ParkedHead { job: "word-count".into(), operator: "count".into(), instance, epoch, generation, edges }
}

fn parked_items() -> Vec<ParkedItem> {
    let batch = |rows: &[(i64, &[u8], &[u8])]| {
        let mut batch = Batch::new();
        rows.iter().for_each(|&(time, key, value)| batch.push(Row { time, key, value }).unwrap());
        batch
    };
    vec![
        ParkedItem::Rows { edge: 0, rows: batch(&[(7, b"be", b"\x00\xff"), (-5, b"", b"")]) },
        ParkedItem::Watermark(6),
        ParkedItem::Rows { edge: 1, rows: batch(&[(8, b"be", b"or")]) },
    ]
}

/// A manifest with parked input: an object of the instance's own, and one of before two moves.
fn parked_manifest() -> Manifest {
    let bytes = parked::encode(&parked_head(), &parked_items()).unwrap();
    let object = |epoch, generation, number| ObjectRef {
        path: paths::parked("count", Instance(1), Epoch(epoch), Generation(generation), number),
        scope: SnapshotScope::Full,
        bytes: bytes.len() as u64,
        checksum: checksum(&bytes),
        entries: 4,
    };
    let hops = vec![Hop { done: 1, from: 0, to: 2, of: 4 }, Hop { done: 0, from: 2, to: 1, of: 2 }];
    let moved = ParkedRef { object: object(40, 6, 0), hops, done: 1, rows: 1, bytes: 20, since_ms: 1_700_000_000_000 };
    let own = ParkedRef { object: object(41, 7, 17), hops: vec![], done: 2, rows: 1, bytes: 20, since_ms: 1_700_000_000_400 };
    let mut manifest = manifest();
    manifest.operators[0].instances[1].parked = vec![moved, own];
    manifest
}

fn parked_by_hand(head: &parked::ParkedHead, items: &[ParkedItem]) -> Vec<u8> {
    let out = ByHand::default().text(&head.job).text(&head.operator).u32(head.instance.0).u64(head.epoch.0).u64(head.generation.0);
    let mut bytes = out.list(&head.edges, |out, edge| out.text(&edge.from).u32(edge.port).text(&edge.input)).framed(15);
    let mut entries = 0;
    for item in items {
        let out = match item {
            ParkedItem::Watermark(watermark) => [1, 0, 0, 0, 0, 0].iter().fold(ByHand::default(), |out, n| out.u32(*n)).i64(*watermark),
            ParkedItem::Rows { edge, rows } => {
                let head = [0, *edge, rows.len() as u32, rows.keys().len() as u32, rows.values().len() as u32, 0];
                let out = head.iter().fold(ByHand::default(), |out, n| out.u32(*n)).i64(0);
                let out = rows.times().iter().fold(out, |out, time| out.i64(*time));
                let out = rows.key_ends().iter().chain(rows.value_ends()).fold(out, |out, end| out.u32(*end));
                out.raw(rows.keys()).raw(rows.values())
            }
        };
        bytes.extend(out.framed(16));
        entries += item.entries();
    }
    bytes.extend(ByHand::default().u64(items.len() as u64).u64(entries).framed(17));
    bytes
}

#[test]
fn parked_input_is_written_and_read_as_its_golden_files_have_it() {
    let bytes = frozen("parked-v1.bin", &parked::encode(&parked_head(), &parked_items()).unwrap());
    assert_eq!(parked::read(&bytes).unwrap(), (parked_head(), parked_items()));
    let manifest = parked_manifest();
    invariants::check_read(&manifest, &manifest.job, manifest.epoch).unwrap();
    let bytes = frozen("manifest-v2.bin", &record::encode(&manifest).unwrap());
    assert_eq!(record::decode::<Manifest>(&bytes).unwrap(), manifest);
    assert_eq!(frame::read(&bytes).unwrap().0.version, frame::VERSION_PARKED);
    let bytes = frozen("unpark-v1.bin", &record::encode(&unpark()).unwrap());
    assert_eq!(record::decode::<Unpark>(&bytes).unwrap(), unpark());
}

#[test]
fn a_writer_of_parked_input_made_from_the_reference_writes_the_same_bytes() {
    assert_eq!(parked_by_hand(&parked_head(), &parked_items()), parked::encode(&parked_head(), &parked_items()).unwrap());
    assert_eq!(manifest_by_hand(&parked_manifest()), record::encode(&parked_manifest()).unwrap());
    let u = unpark();
    let by_hand = ByHand::default().text(&u.operator).u8(u8::from(u.to_quarantine)).u64(u.writer).i64(u.asked_ms).framed(18);
    assert_eq!(by_hand, record::encode(&u).unwrap());
}
