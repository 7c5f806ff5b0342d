//! Columns, descriptions and frames made of arbitrary bytes, without a guest: accepted exactly where the law is kept.

use crate::bytes::Bytes;
use crate::law;
use reprise::engine::{Payload, StreamElement};
use reprise_core::batch::{Batch, Columns};
use reprise_core::cells::{Chunk, ChunkColumns};
use reprise_core::codec::snapshot::{self, SnapshotHead, SnapshotScope};
use reprise_core::description::{Description, Encoding, Port, Slot, SlotKind};
use reprise_core::ids::{Epoch, Generation, Instance};

pub fn batch(bytes: &mut Bytes<'_>) {
    let times = (0..bytes.byte()).map(i64::from).collect();
    let (key_ends, value_ends) = (bytes.numbers(), bytes.numbers());
    let columns = Columns { times, key_ends, keys: bytes.list().to_vec(), value_ends, values: bytes.list().to_vec() };
    let is_legal = law::is_batch(&columns);
    match Batch::from_columns(columns.clone()) {
        Ok(batch) => {
            assert!(is_legal, "accepted: {columns:?}");
            let bytes: usize = batch.rows().map(|row| row.key.len() + row.value.len() + 16).sum();
            assert_eq!(bytes, batch.size_bytes());
            let mut twice = batch.clone();
            twice.append(&batch).expect("two small batches fit in one");
            assert!(law::is_batch(&twice.into_columns()));
            assert_eq!(batch.into_columns(), columns);
        }
        Err(error) => assert!(!is_legal, "refused: {columns:?}: {error}"),
    }
}

pub fn chunk(bytes: &mut Bytes<'_>) {
    let slot = u32::from(bytes.byte());
    let (key_ends, item_ends, value_ends, removed) = (bytes.numbers(), bytes.numbers(), bytes.numbers(), bytes.numbers());
    let (keys, items, values) = (bytes.list().to_vec(), bytes.list().to_vec(), bytes.list().to_vec());
    let columns = ChunkColumns { slot, key_ends, keys, item_ends, items, value_ends, values, removed };
    let is_legal = law::is_chunk(&columns);
    match Chunk::from_columns(columns.clone()) {
        Ok(chunk) => {
            assert!(is_legal, "accepted: {columns:?}");
            assert_eq!(chunk.check_full().is_ok(), columns.removed.is_empty());
            assert_eq!(chunk.cells().filter(|cell| cell.value.is_none()).count(), columns.removed.len());
            stored(&chunk);
        }
        Err(error) => assert!(!is_legal, "refused: {columns:?}: {error}"),
    }
}

/// A chunk comes back from storage as it went there.
fn stored(chunk: &Chunk) {
    let head = SnapshotHead {
        job: "job".to_owned(),
        operator: "operator".to_owned(),
        instance: Instance(0),
        epoch: Epoch(1),
        generation: Generation(1),
        scope: SnapshotScope::Delta,
    };
    let mut writer = snapshot::Writer::new(&head).expect("names are short");
    writer.chunk(chunk).expect("a chunk of a few bytes fits");
    let (read, chunks) = snapshot::read(&writer.finish().expect("it is small")).expect("it was just written");
    assert_eq!(read, head);
    assert_eq!(chunks.iter().map(Chunk::len).sum::<usize>(), chunk.len());
    assert!(chunks.iter().all(|read| read == chunk));
}

pub fn description(bytes: &mut Bytes<'_>) {
    let has_state = bytes.byte() % 2 == 1;
    let (inputs, outputs, slots) = (bytes.byte() % 20, bytes.byte() % 20, bytes.byte() % 70);
    let said = Description {
        name: bytes.text(),
        version: bytes.text(),
        inputs: (0..inputs).map(|_| bytes.text()).collect(),
        outputs: (0..outputs).map(|_| Port { name: bytes.text(), key: Encoding::Bytes, value: Encoding::Utf8 }).collect(),
        slots: (0..slots)
            .map(|_| Slot { name: bytes.text(), kind: SlotKind::Keyed, version: bytes.number(), encoding: Encoding::Json })
            .collect(),
    };
    let checked = said.check(has_state);
    assert_eq!(checked.is_ok(), law::is_description(&said, has_state), "{checked:?}: {said:?}");
    if let Err(error) = checked {
        let shown = error.to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}

pub fn frame(bytes: &[u8]) {
    let Some(frame) = StreamElement::from_wire(bytes) else { return };
    if let Payload::Rows(rows) = &frame.payload {
        assert!(law::is_batch(&rows.clone().into_columns()), "accepted: {rows:?}");
    }
    assert_eq!(StreamElement::from_wire(&frame.to_wire()), Some(frame));
}

/// A good one of each kind.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut rows = Batch::new();
    for (time, key, value) in [(1, &b"k"[..], &b"value"[..]), (2, b"", b"v")] {
        rows.push(reprise_core::batch::Row { time, key, value }).expect("two rows fit");
    }
    let framed = |frame: StreamElement| [b"f".to_vec(), frame.to_wire()].concat();
    vec![
        ("batch", b"b\x02\x02\x01\x03\x02\x00\x02\x03abc\x02de".to_vec()),
        ("chunk", b"c\x01\x02\x01\x02\x02\x00\x01\x02\x02\x02\x01\x01\x02ab\x01i\x02vw".to_vec()),
        ("description", b"n\x01\x01\x01\x01\x04name\x011\x02in\x03out\x05slots\x01\x00\x00\x00".to_vec()),
        ("frame-rows", framed(StreamElement::rows(rows))),
        ("frame-watermark", framed(StreamElement::watermark(3, -5, 2))),
    ]
}
