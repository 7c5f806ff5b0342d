//! The bytes at rest, in every version: golden files, the values that they stand for, and a second writer made from `docs/formats.md` alone.
//!
//! The golden files of formats are only ever added: a version that was written once is read for ever, so nothing here overwrites one,
//! not even `UPDATE_GOLDEN=1`.

use crate::golden;
use reprise_core::batch::{Batch, Row};
use reprise_core::cells::{Cell, Chunk};
use reprise_core::checkpoint::capsule::{CallStamp, Capsule, CapsuleCall, CapsuleCells, CapsuleFault, CapsuleInput, CapsuleRows};
use reprise_core::checkpoint::faulted::{FaultedRow, FaultedRows};
use reprise_core::checkpoint::invariants;
use reprise_core::checkpoint::manifest::{
    Claim, Identity, InstanceState, Manifest, ObjectRef, OperatorState, Quarantine, QuarantinedRow, Request, Resume, SinkState,
    SourceState, SplitPosition, StagedRef,
};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::{Dropped, Replay, Replayed, RowsOf};
use reprise_core::codec::snapshot::{self, SnapshotHead, SnapshotScope, Writer};
use reprise_core::codec::{checksum, frame, record};
use reprise_core::description::{Encoding, Slot, SlotKind};
use reprise_core::ids::{Digest, Epoch, Generation, Instance, Life};

mod parked_input;
mod reference;

/// The golden bytes: those of the file where there is one; a new file is made with `UPDATE_GOLDEN=1`.
#[track_caller]
fn frozen(name: &str, written: &[u8]) -> Vec<u8> {
    let relative = format!("formats/{name}");
    if !golden::path(&relative).exists() {
        golden::check_bytes(&relative, written);
    }
    let bytes = std::fs::read(golden::path(&relative)).unwrap();
    let same = bytes.iter().zip(written).take_while(|(a, b)| a == b).count();
    assert!(bytes == written, "{relative}: what is written now differs at offset {same}; a new version needs a new number and a new file");
    bytes
}

fn claim() -> Claim {
    Claim { generation: Generation(7), writer: 0x0123_4567_89ab_cdef, host: "process 42".into(), claimed_ms: 1_700_000_000_123 }
}

fn identity() -> Identity {
    Identity { job: "word-count".into(), life: Life(std::array::from_fn(|place| place as u8)), made_ms: 1_700_000_000_123 }
}

fn request() -> Request {
    Request { name: "before-upgrade".into(), stop: true, writer: 0x0123_4567_89ab_cdef, asked_ms: 1_700_000_000_123 }
}

fn resume() -> Resume {
    Resume { operator: "count".into(), writer: 0x0123_4567_89ab_cdef, asked_ms: 1_700_000_000_123 }
}

fn capsule() -> Capsule {
    let call = |number| CallStamp { number, now_ms: 1_700_000_000_123 };
    let mut batch = Batch::new();
    batch.push(Row { time: 7, key: b"be", value: b"poison" }).unwrap();
    let rows = || CapsuleInput::Rows { input: 1, rows: CapsuleRows::new(&batch) };
    Capsule {
        job: "word-count".into(),
        operator: "count".into(),
        line: 12,
        instance: Instance(1),
        parallelism: 2,
        epoch: Epoch(41),
        config: "{}".into(),
        component: Digest([0xcc; 32]),
        component_bytes: Some(b"\0asm".to_vec()),
        limits: vec![("memory-bytes".into(), 1 << 28)],
        variables: vec!["LANG".into()],
        folders: vec!["/data".into()],
        open: call(1),
        state: full_chunks().iter().map(|chunk| CapsuleCells::new(3, chunk)).collect(),
        calls: vec![
            CapsuleCall { call: call(2), given: CapsuleInput::Watermark(-5), digest: 9 },
            CapsuleCall { call: call(3), given: rows(), digest: 8 },
        ],
        failed: call(4),
        given: rows(),
        fault: CapsuleFault {
            call: "process".into(),
            kind: "trap".into(),
            message: "trapped in `process`: unreachable executed".into(),
            backtrace: vec!["count".into()],
        },
    }
}

/// Of the reading of a snapshot, and of an instance that could not be made.
fn capsules_without_input() -> [(&'static str, Capsule); 2] {
    let limits = vec![("stack-bytes".into(), 1 << 20), ("fuel".into(), 1)];
    let calls = vec![CapsuleCall { call: CallStamp { number: 2, now_ms: 5 }, given: CapsuleInput::Watermark(-5), digest: 9 }];
    let fault = |call: &str| CapsuleFault {
        call: call.into(),
        kind: "stack".into(),
        message: "stack overflow".into(),
        backtrace: vec!["f".into()],
    };
    let given = CapsuleInput::Snapshot { scope: SnapshotScope::Delta, part_bytes_max: 4 << 20 };
    let snapshot = Capsule { limits, state: vec![], calls, given, fault: fault("snapshot"), ..capsule() };
    let start = Capsule { component_bytes: None, calls: vec![], given: CapsuleInput::Start, fault: fault("restore"), ..snapshot.clone() };
    [("capsule-snapshot-v1.bin", snapshot), ("capsule-start-v1.bin", start)]
}

fn head(scope: SnapshotScope) -> SnapshotHead {
    SnapshotHead {
        job: "word-count".into(),
        operator: "count".into(),
        instance: Instance(1),
        epoch: Epoch(41),
        generation: Generation(7),
        scope,
    }
}

/// Key, item and value; no value where the cell was removed.
type Triple<'a> = (&'a [u8], &'a [u8], Option<&'a [u8]>);

fn chunk(slot: u32, cells: &[Triple<'_>]) -> Chunk {
    let mut chunk = Chunk::new(slot);
    cells.iter().for_each(|&(key, item, value)| chunk.push(Cell { key, item, value }).unwrap());
    chunk
}

fn full_chunks() -> Vec<Chunk> {
    let counts = chunk(0, &[(b"be", b"", Some(&5u64.to_le_bytes())), (b"", b"", Some(&0u64.to_le_bytes()))]);
    vec![counts, chunk(2, &[(b"be", b"\x00\xff", Some(b"")), (b"be", b"item", Some(b"value"))])]
}

fn delta_chunks() -> Vec<Chunk> {
    vec![chunk(0, &[(b"be", b"", Some(&6u64.to_le_bytes())), (b"gone", b"", None), (b"not", b"", None)])]
}

fn object(head: &SnapshotHead, chunks: &[Chunk]) -> Vec<u8> {
    let mut writer = Writer::new(head).unwrap();
    chunks.iter().for_each(|chunk| writer.chunk(chunk).unwrap());
    writer.finish().unwrap()
}

fn reference(epoch: u64, full: bool, bytes: &[u8], entries: u64) -> ObjectRef {
    let scope = if full { SnapshotScope::Full } else { SnapshotScope::Delta };
    let path = paths::snapshot("count", Instance(1), Epoch(epoch), Generation(7), full);
    ObjectRef { path, scope, bytes: bytes.len() as u64, checksum: checksum(bytes), entries }
}

fn quarantine() -> Quarantine {
    let row = |input, origin: &str, time, key: &[u8], value: &[u8], reason: &str| QuarantinedRow {
        input,
        origin: origin.into(),
        time,
        key: key.to_vec(),
        value: value.to_vec(),
        reason: reason.into(),
    };
    let rows = vec![row(1, "", -5, b"k", b"\xff\x00", "not a number"), row(0, "in/a.txt@0 at 17", 0, b"", b"bad line", "\u{e9}")];
    Quarantine { node: "count".into(), instance: Instance(1), epoch: Epoch(41), rows }
}

fn faulted() -> FaultedRows {
    let [first, second] = <[QuarantinedRow; 2]>::try_from(quarantine().rows).unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let trapped = FaultedRow {
        row: first,
        call: "process".into(),
        kind: "trap".into(),
        backtrace: texts(&["core::panicking::panic", "count::process"]),
        log_tail: texts(&["near the end"]),
        capsule: Some("capsules/count-41-7.capsule".into()),
    };
    let late =
        FaultedRow { row: second, call: "process".into(), kind: "deadline".into(), backtrace: vec![], log_tail: vec![], capsule: None };
    let rows = vec![trapped, late];
    FaultedRows { node: "count".into(), instance: Instance(1), epoch: Epoch(41), component: Digest([0xcc; 32]), line: 12, rows }
}

fn rows_of() -> RowsOf {
    RowsOf { object: paths::quarantine("count", Instance(1), Epoch(41), Generation(7), 0), rows: vec![0, 1] }
}

fn dropped() -> Dropped {
    Dropped { rows: rows_of(), writer: 0x0123_4567_89ab_cdef, dropped_ms: 1_700_000_000_123 }
}

fn replay() -> Replay {
    Replay { rows: rows_of(), input: 1, writer: 0x0123_4567_89ab_cdef, asked_ms: 1_700_000_000_123 }
}

fn replayed() -> Replayed {
    Replayed { objects: vec![rows_of(), RowsOf { object: "quarantine/parse/000000000002-000001-0000-0".into(), rows: vec![5] }] }
}

fn slot(name: &str, kind: SlotKind, version: u32, encoding: Encoding) -> Slot {
    Slot { name: name.into(), kind, version, encoding }
}

fn manifest() -> Manifest {
    let slots = vec![
        slot("counts", SlotKind::Keyed, 1, Encoding::U64Le),
        slot("mode", SlotKind::Broadcast, 3, Encoding::Json),
        slot("seen", SlotKind::Instance, 2, Encoding::Bytes),
    ];
    let full = reference(40, true, &object(&SnapshotHead { epoch: Epoch(40), ..head(SnapshotScope::Full) }, &full_chunks()), 4);
    let delta = reference(41, false, &object(&head(SnapshotScope::Delta), &delta_chunks()), 3);
    let refused = record::encode(&quarantine()).unwrap();
    let path = paths::quarantine("count", Instance(1), Epoch(41), Generation(7), 0);
    let refused = ObjectRef { path, scope: SnapshotScope::Full, bytes: refused.len() as u64, checksum: checksum(&refused), entries: 2 };
    let fresh = InstanceState { watermark: i64::MIN, ..InstanceState::default() };
    let (chain, quarantine) = (vec![full, delta], vec![refused]);
    let worked = InstanceState { chain, watermark: 1_699_999_999_000, rows: 12, rejected: 2, quarantine, parked: vec![] };
    let split = |split: &str, position: &str| SplitPosition { split: split.into(), position: position.into(), instance: Instance(1) };
    let staged = StagedRef { epoch: Epoch(41), token: "000000000041-7-1.json".into(), rows: 3, bytes: 99 };
    Manifest {
        job: "word-count".into(),
        epoch: Epoch(41),
        generation: Generation(7),
        writer: 0x0123_4567_89ab_cdef,
        parent: Some(Epoch(40)),
        written_ms: 1_700_000_000_456,
        topology: Digest(std::array::from_fn(|place| place as u8)),
        workers: 2,
        finished: false,
        taken_over: true,
        operators: vec![OperatorState { name: "count".into(), component: Digest([0xcc; 32]), slots, instances: vec![fresh, worked] }],
        sources: vec![SourceState {
            name: "text".into(),
            splits: vec![split("a.txt@0", "{\"offset\":17}"), split("b.txt@0", "{}")],
            rows: 14,
            rejected: 0,
            quarantine: vec![],
        }],
        sinks: vec![SinkState { name: "counts".into(), staged: vec![staged], rows: 10 }],
    }
}

/// The first manifest of a job: no parent, nothing in it.
fn empty_manifest() -> Manifest {
    let none = Manifest { operators: vec![], sources: vec![], sinks: vec![], ..manifest() };
    Manifest { epoch: Epoch(1), parent: None, workers: 1, finished: true, taken_over: false, ..none }
}

#[test]
fn every_record_is_written_and_read_as_its_golden_file_has_it() {
    let bytes = frozen("claim-v1.bin", &record::encode(&claim()).unwrap());
    assert_eq!(record::decode::<Claim>(&bytes).unwrap(), claim());
    for (name, manifest) in [("manifest-v1.bin", manifest()), ("manifest-empty-v1.bin", empty_manifest())] {
        invariants::check_read(&manifest, &manifest.job, manifest.epoch).unwrap();
        let bytes = frozen(name, &record::encode(&manifest).unwrap());
        assert_eq!(record::decode::<Manifest>(&bytes).unwrap(), manifest);
    }
    let bytes = frozen("quarantine-v1.bin", &record::encode(&quarantine()).unwrap());
    assert_eq!(record::decode::<Quarantine>(&bytes).unwrap(), quarantine());
    let bytes = frozen("fault-v1.bin", &record::encode(&faulted()).unwrap());
    let read = record::decode::<FaultedRows>(&bytes).unwrap();
    read.check().unwrap();
    assert_eq!(read, faulted());
    let bytes = frozen("capsule-v1.bin", &record::encode(&capsule()).unwrap());
    assert_eq!(record::decode::<Capsule>(&bytes).unwrap(), capsule());
    for (name, capsule) in capsules_without_input() {
        let bytes = frozen(name, &record::encode(&capsule).unwrap());
        assert_eq!(record::decode::<Capsule>(&bytes).unwrap(), capsule);
    }
    let bytes = frozen("dropped-v1.bin", &record::encode(&dropped()).unwrap());
    assert_eq!(record::decode::<Dropped>(&bytes).unwrap(), dropped());
    let bytes = frozen("replay-v1.bin", &record::encode(&replay()).unwrap());
    assert_eq!(record::decode::<Replay>(&bytes).unwrap(), replay());
    let bytes = frozen("replayed-v1.bin", &record::encode(&replayed()).unwrap());
    assert_eq!(record::decode::<Replayed>(&bytes).unwrap(), replayed());
    let bytes = frozen("request-v1.bin", &record::encode(&request()).unwrap());
    assert_eq!(record::decode::<Request>(&bytes).unwrap(), request());
    let bytes = frozen("resume-v1.bin", &record::encode(&resume()).unwrap());
    assert_eq!(record::decode::<Resume>(&bytes).unwrap(), resume());
    let bytes = frozen("identity-v1.bin", &record::encode(&identity()).unwrap());
    assert_eq!(record::decode::<Identity>(&bytes).unwrap(), identity());
}

#[test]
fn every_snapshot_is_written_and_read_as_its_golden_file_has_it() {
    let cases = [
        ("snapshot-full-v1.bin", SnapshotScope::Full, full_chunks()),
        ("snapshot-delta-v1.bin", SnapshotScope::Delta, delta_chunks()),
        ("snapshot-empty-v1.bin", SnapshotScope::Full, vec![]),
    ];
    for (name, scope, chunks) in cases {
        let bytes = frozen(name, &object(&head(scope), &chunks));
        assert_eq!(snapshot::read(&bytes).unwrap(), (head(scope), chunks), "{name}");
    }
}

/// Writes what `docs/formats.md` says, without the codecs.
#[derive(Default)]
struct ByHand(Vec<u8>);

impl ByHand {
    fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn i64(self, number: i64) -> Self {
        self.u64(number as u64)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.u64(bytes.len() as u64).raw(bytes)
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn list<T>(self, items: &[T], write: impl FnMut(Self, &T) -> Self) -> Self {
        items.iter().fold(self.u64(items.len() as u64), write)
    }

    fn object(self, object: &ObjectRef) -> Self {
        let scope = u32::from(object.scope == SnapshotScope::Delta);
        self.text(&object.path).u32(scope).u64(object.bytes).u64(object.checksum).u64(object.entries)
    }

    /// A frame around the payload written so far.
    fn framed(self, kind: u16) -> Vec<u8> {
        self.framed_as(kind, 1)
    }

    fn framed_as(self, kind: u16, version: u16) -> Vec<u8> {
        let payload = self.0;
        let mut covered = Self::default().raw(&kind.to_le_bytes()).raw(&version.to_le_bytes()).u32(0).u64(payload.len() as u64).0;
        let header = covered.clone();
        covered.extend_from_slice(&payload);
        Self::default().raw(b"REPRISE\0").raw(&header).u64(checksum(&covered)).raw(&payload).0
    }
}

fn manifest_by_hand(m: &Manifest) -> Vec<u8> {
    let out = ByHand::default().text(&m.job).u64(m.epoch.0).u64(m.generation.0).u64(m.writer);
    let out = match m.parent {
        None => out.u8(0),
        Some(parent) => out.u8(1).u64(parent.0),
    };
    let out = out.i64(m.written_ms).raw(&m.topology.0).u32(m.workers).u8(u8::from(m.finished)).u8(u8::from(m.taken_over));
    let out = out.list(&m.operators, |out, operator| {
        let out = out.text(&operator.name).raw(&operator.component.0);
        let out =
            out.list(&operator.slots, |out, slot| out.text(&slot.name).u32(slot.kind as u32).u32(slot.version).u32(slot.encoding as u32));
        out.list(&operator.instances, |out, instance| {
            let out = out.list(&instance.chain, ByHand::object).i64(instance.watermark).u64(instance.rows).u64(instance.rejected);
            out.list(&instance.quarantine, ByHand::object)
        })
    });
    let out = out.list(&m.sources, |out, source| {
        let out =
            out.text(&source.name).list(&source.splits, |out, split| out.text(&split.split).text(&split.position).u32(split.instance.0));
        out.u64(source.rows).u64(source.rejected).list(&source.quarantine, ByHand::object)
    });
    let out = out.list(&m.sinks, |out, sink| {
        let out = out.text(&sink.name);
        let out = out.list(&sink.staged, |out, staged| out.u64(staged.epoch.0).text(&staged.token).u64(staged.rows).u64(staged.bytes));
        out.u64(sink.rows)
    });
    if !m.has_parked() {
        return out.framed(1);
    }
    let out = out.list(&m.operators, |out, operator| {
        out.list(&operator.instances, |out, instance| {
            out.list(&instance.parked, |out, parked| {
                let out = out.object(&parked.object);
                let out = out.list(&parked.hops, |out, hop| out.u64(hop.done).u32(hop.from).u32(hop.to).u32(hop.of));
                out.u64(parked.done).u64(parked.rows).u64(parked.bytes).i64(parked.since_ms)
            })
        })
    });
    out.framed_as(1, frame::VERSION_PARKED)
}

/// A capsule without state, whose calls are watermarks.
fn capsule_by_hand(c: &Capsule) -> Vec<u8> {
    let out = ByHand::default().text(&c.job).text(&c.operator).u32(c.line).u32(c.instance.0).u32(c.parallelism).u64(c.epoch.0);
    let out = out.text(&c.config).raw(&c.component.0);
    let out = match &c.component_bytes {
        None => out.u8(0),
        Some(bytes) => out.u8(1).bytes(bytes),
    };
    let out = out.list(&c.limits, |out, (name, value)| out.text(name).u64(*value));
    let out = out.list(&c.variables, |out, text| out.text(text)).list(&c.folders, |out, text| out.text(text));
    let call = |out: ByHand, call: &CallStamp| out.u64(call.number).i64(call.now_ms);
    let given = |out: ByHand, given: &CapsuleInput| match given {
        CapsuleInput::Rows { .. } => panic!("it has no rows"),
        CapsuleInput::Watermark(watermark) => out.u32(1).i64(*watermark),
        CapsuleInput::Snapshot { scope, part_bytes_max } => out.u32(2).u32(u32::from(*scope == SnapshotScope::Delta)).u32(*part_bytes_max),
        CapsuleInput::Start => out.u32(3),
    };
    let out = call(out, &c.open).u64(0);
    let out = out.list(&c.calls, |out, done| given(call(out, &done.call), &done.given).u64(done.digest));
    let out = given(call(out, &c.failed), &c.given);
    let fault = &c.fault;
    out.text(&fault.call).text(&fault.kind).text(&fault.message).list(&fault.backtrace, |out, text| out.text(text)).framed(9)
}

fn snapshot_by_hand(head: &SnapshotHead, chunks: &[Chunk]) -> Vec<u8> {
    let out = ByHand::default().text(&head.job).text(&head.operator).u32(head.instance.0).u64(head.epoch.0).u64(head.generation.0);
    let mut bytes = out.u32(u32::from(head.scope == SnapshotScope::Delta)).framed(3);
    let mut cells = 0;
    for chunk in chunks {
        let c = chunk.columns();
        let counts = [c.slot, c.key_ends.len() as u32, c.removed.len() as u32, 0];
        let sizes = [c.keys.len() as u32, c.items.len() as u32, c.values.len() as u32, 0];
        let columns = [&counts[..], &sizes, &c.key_ends, &c.item_ends, &c.value_ends, &c.removed];
        let out = columns.into_iter().flatten().fold(ByHand::default(), |out, number| out.u32(*number));
        bytes.extend(out.raw(&c.keys).raw(&c.items).raw(&c.values).framed(4));
        cells += chunk.len() as u64;
    }
    bytes.extend(ByHand::default().u64(chunks.len() as u64).u64(cells).framed(5));
    bytes
}

#[test]
fn a_writer_made_from_the_reference_writes_the_same_bytes() {
    let c = claim();
    let by_hand = ByHand::default().u64(c.generation.0).u64(c.writer).text(&c.host).i64(c.claimed_ms).framed(2);
    assert_eq!(by_hand, record::encode(&c).unwrap());
    for manifest in [manifest(), empty_manifest()] {
        assert_eq!(manifest_by_hand(&manifest), record::encode(&manifest).unwrap());
    }
    for (scope, chunks) in [(SnapshotScope::Full, full_chunks()), (SnapshotScope::Delta, delta_chunks()), (SnapshotScope::Full, vec![])] {
        assert_eq!(snapshot_by_hand(&head(scope), &chunks), object(&head(scope), &chunks));
    }
    for (name, capsule) in capsules_without_input() {
        assert_eq!(capsule_by_hand(&capsule), record::encode(&capsule).unwrap(), "{name}");
    }
    let r = request();
    let by_hand = ByHand::default().text(&r.name).u8(u8::from(r.stop)).u64(r.writer).i64(r.asked_ms).framed(7);
    assert_eq!(by_hand, record::encode(&r).unwrap());
    let r = resume();
    let by_hand = ByHand::default().text(&r.operator).u64(r.writer).i64(r.asked_ms).framed(13);
    assert_eq!(by_hand, record::encode(&r).unwrap());
    let i = identity();
    assert_eq!(ByHand::default().text(&i.job).raw(&i.life.0).i64(i.made_ms).framed(14), record::encode(&i).unwrap());
    let q = quarantine();
    let by_hand =
        ByHand::default().text(&q.node).u32(q.instance.0).u64(q.epoch.0).list(&q.rows, |out, row| {
            out.u32(row.input).text(&row.origin).i64(row.time).bytes(&row.key).bytes(&row.value).text(&row.reason)
        });
    assert_eq!(by_hand.framed(6), record::encode(&q).unwrap());
    let f = faulted();
    let out = ByHand::default().text(&f.node).u32(f.instance.0).u64(f.epoch.0).raw(&f.component.0).u32(f.line);
    let by_hand = out.list(&f.rows, |out, faulted| {
        let row = &faulted.row;
        let out = out.u32(row.input).text(&row.origin).i64(row.time).bytes(&row.key).bytes(&row.value).text(&row.reason);
        let out = out.text(&faulted.call).text(&faulted.kind);
        let out = out.list(&faulted.backtrace, |out, text| out.text(text)).list(&faulted.log_tail, |out, text| out.text(text));
        match &faulted.capsule {
            None => out.u8(0),
            Some(capsule) => out.u8(1).text(capsule),
        }
    });
    assert_eq!(by_hand.framed(8), record::encode(&f).unwrap());
    let rows = |out: ByHand, of: &RowsOf| out.text(&of.object).list(&of.rows, |out, row| out.u32(*row));
    let d = dropped();
    assert_eq!(rows(ByHand::default(), &d.rows).u64(d.writer).i64(d.dropped_ms).framed(10), record::encode(&d).unwrap());
    let r = replay();
    let by_hand = rows(ByHand::default(), &r.rows).u32(r.input).u64(r.writer).i64(r.asked_ms);
    assert_eq!(by_hand.framed(11), record::encode(&r).unwrap());
    assert_eq!(r.split("replays/x.0"), "replays/x.0@0123456789abcdef");
    let r = replayed();
    assert_eq!(ByHand::default().list(&r.objects, rows).framed(12), record::encode(&r).unwrap());
}
