//! Calls of a guest whose memory is arbitrary bytes. See `guest` for what it makes of them.
//!
//! An input is: how many rows each batch has, eight calls, the memory.

use crate::bytes::Bytes;
use crate::guest::{self, CALLS, Describing, ENTRY_BYTES};
use crate::law;
use reprise::wasm::{Call, Component, Fault, GuestError, Instance, InstanceIdentity, Limits, Runtime, Scope, Settings};
use reprise_core::batch::{Batch, Row};
use reprise_core::cells::{Cell, Chunk};
use std::time::Duration;

/// Calls that an input chooses.
const STEPS: usize = 8;
/// Rows of one batch are at most so many.
const ROWS_MAX: u8 = 8;
/// Memory of the guest: twice what it begins with.
const MEMORY_BYTES_MAX: u64 = 4 << 16;
/// What a call may return, in a piece.
const OUTPUT_BYTES_MAX: u64 = 1 << 16;
/// What a call may return in all.
const CALL_OUTPUT_BYTES_MAX: u64 = 4 << 16;
/// What a snapshot may hold.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 20;
/// What a guest is asked to keep a part of a snapshot to.
const PART_BYTES_MAX: u32 = 1 << 16;
/// Lines that a call may log.
const LINES_MAX: u32 = 8;

/// One in so many memories of a component that describes itself is looked at: the others would slow down all the rest, since each needs
/// a component of its own, compiled, which takes as long as 30 sessions.
const DESCRIBED_ONE_IN: u32 = 16;

/// What all inputs share.
pub struct Sessions {
    runtime: Runtime,
    honest: Component,
    describing: Describing,
}

impl Sessions {
    pub fn new() -> Self {
        let runtime = Runtime::new(&Settings { instances_max: 8, ..Settings::default() }).expect("there is room for an engine");
        let honest = runtime.load(&guest::honest()).expect("the honest guest is well-formed");
        Self { runtime, honest, describing: Describing::new() }
    }

    /// A component describes itself by this memory, if the sum of its bytes says that it is one of those looked at.
    pub fn describe(&self, memory: &[u8]) {
        if !sum(memory).is_multiple_of(DESCRIBED_ONE_IN) {
            return;
        }
        let component = self.runtime.load(&self.describing.with(memory)).expect("only its data differs");
        match component.describe() {
            Ok(said) => assert!(law::is_description(&said, true), "accepted: {said:?}"),
            Err(error) => {
                law::error(&error);
                let instance = component.instantiate(&limits(), identity());
                assert!(instance.is_err(), "a component without a legal description was instantiated");
            }
        }
    }

    /// A guest with this memory is called several times.
    pub fn call(&self, bytes: &mut Bytes<'_>) {
        let rows = rows(bytes.byte() % (ROWS_MAX + 1));
        let steps = bytes.take(STEPS);
        let mut instance = self.start();
        let loaded = instance.process(0, &guest::load(bytes.rest()), call(1)).expect("the guest is still honest");
        assert!(loaded.outputs.is_empty() && loaded.rejected.is_empty());
        for (number, step) in steps.iter().enumerate() {
            let call = call(number as u64 + 2);
            if let Err(error) = take_step(*step, &mut instance, &rows, call) {
                law::error(&error);
                self.buried(&mut instance, &rows);
                break;
            }
        }
        law::log(&instance.take_log());
        law::counters(instance.counters());
        assert!(instance.memory_peak_bytes() <= MEMORY_BYTES_MAX);
    }

    fn start(&self) -> Instance {
        let mut instance = self.honest.instantiate(&limits(), identity()).expect("the pool has room");
        instance.open("{}", 1, call(0)).expect("the guest is still honest");
        instance
    }

    /// The instance is dead, and one that takes its place is well.
    fn buried(&self, instance: &mut Instance, rows: &Batch) {
        assert!(instance.is_dead(), "an instance that failed lives on");
        let refusals = [
            instance.process(0, rows, call(99)).err(),
            instance.advance(0, call(99)).err(),
            instance.snapshot(Scope::Full, PART_BYTES_MAX).err(),
            instance.restore(1, &chunk()).err(),
            instance.open("{}", 1, call(99)).err(),
        ];
        let refused = |error: &Option<GuestError>| matches!(error, Some(GuestError { fault: Fault::Instance(_), .. }));
        assert!(refusals.iter().all(refused), "a dead instance was called: {refusals:?}");
        let outcome = self.start().process(0, rows, call(1)).expect("a fresh guest is honest");
        assert!(outcome.outputs.is_empty() && outcome.rejected.is_empty());
    }
}

fn sum(memory: &[u8]) -> u32 {
    memory.iter().fold(0, |sum, byte| sum.wrapping_add(u32::from(*byte)))
}

fn take_step(step: u8, instance: &mut Instance, rows: &Batch, call: Call) -> Result<(), GuestError> {
    match step % 7 {
        0 | 1 => {
            let outcome = instance.process(0, rows, call)?;
            law::outputs(&outcome.outputs, guest::PORTS, CALL_OUTPUT_BYTES_MAX);
            law::rejected(outcome.rejected.iter().map(|rejection| (rejection.row, rejection.reason.len())), rows.len());
        }
        2 => law::outputs(&instance.advance(7, call)?, guest::PORTS, CALL_OUTPUT_BYTES_MAX),
        3 => snapshot(instance, Scope::Full)?,
        4 => snapshot(instance, Scope::Changes)?,
        5 => instance.restore(1, &chunk())?,
        _ => instance.open("{}", 1, call)?,
    }
    Ok(())
}

fn snapshot(instance: &mut Instance, scope: Scope) -> Result<(), GuestError> {
    let mut chunks = Vec::new();
    let size = instance.read_snapshot(scope, PART_BYTES_MAX, &mut |chunk| chunks.push(chunk))?;
    law::cells(&chunks, scope, guest::SLOTS);
    assert_eq!(size.cells, chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>());
    assert!(size.bytes + 12 * size.cells <= SNAPSHOT_BYTES_MAX, "{size:?} was accepted");
    Ok(())
}

fn limits() -> Limits {
    Limits {
        memory_bytes_max: MEMORY_BYTES_MAX,
        // The guest has no loops to speak of: whoever waits so long has found something.
        deadline: Duration::from_secs(60),
        output_bytes_max: OUTPUT_BYTES_MAX,
        call_output_bytes_max: CALL_OUTPUT_BYTES_MAX,
        log_lines_per_call_max: LINES_MAX,
        snapshot_bytes_max: SNAPSHOT_BYTES_MAX,
        ..Limits::default()
    }
}

fn identity() -> InstanceIdentity {
    InstanceIdentity { job: "job".to_owned(), operator: "operator".to_owned(), instance: 0, seed: 0 }
}

fn call(number: u64) -> Call {
    Call { number, now_ms: 1000, instant_ns: 0 }
}

fn rows(count: u8) -> Batch {
    let mut batch = Batch::new();
    for row in 0..count {
        batch.push(Row { time: i64::from(row), key: &[row], value: b"value" }).expect("a few rows fit");
    }
    batch
}

fn chunk() -> Chunk {
    let mut chunk = Chunk::new(0);
    chunk.push(Cell { key: b"key", item: b"", value: Some(b"value") }).expect("one cell fits");
    chunk
}

/// Address of the first thing behind the script.
const BEHIND: u32 = (CALLS * ENTRY_BYTES) as u32;

/// A memory whose first calls return what lies behind the script: `records` there, and `bytes` 128 further on.
/// Texts of imports are three bytes from 32 on in `bytes`.
fn memory(calls: usize, imports: [u8; 4], records: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut memory = vec![0; BEHIND as usize];
    for entry in memory.chunks_exact_mut(ENTRY_BYTES).take(calls) {
        entry[..4].copy_from_slice(&BEHIND.to_le_bytes());
        entry[4..8].copy_from_slice(&imports);
        entry[8..12].copy_from_slice(&(BEHIND + 160).to_le_bytes());
        entry[12..16].copy_from_slice(&3u32.to_le_bytes());
    }
    memory.extend(records.iter().flat_map(|word| word.to_le_bytes()));
    memory.resize(BEHIND as usize + 128, 0);
    memory.extend_from_slice(bytes);
    memory
}

fn steps(rows: u8, steps: [u8; STEPS], memory: Vec<u8>) -> Vec<u8> {
    [vec![b's', rows], steps.to_vec(), memory].concat()
}

/// Honest answers of each kind. `at` is where lists lie.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let at = BEHIND + 128;
    // Two rows: times, key ends, keys, value ends, values, as they lie in memory.
    let columns =
        [&[1u8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], &[1, 0, 0, 0, 3, 0, 0, 0], &[1, 0, 0, 0, 2, 0, 0, 0], b"abcde"].concat();
    let list = BEHIND + 64;
    let output = [0, at, 2, at + 16, 2, at + 32, 3, at + 24, 2, at + 35, 2];
    let record = |head: &[u32], list: &[u32]| {
        let mut words = head.to_vec();
        words.resize(16, 0);
        words.extend_from_slice(list);
        words
    };
    let outcome = record(&[0, list, 1, 0, 0, 0], &output);
    let rejected = record(&[0, 0, 0, list, 1, 0], &[0, at + 32, 3]);
    let more = record(&[0, list, 1, 1, 0, 0], &output);
    let failure = record(&[1, at + 32, 5], &[]);
    let cells = [0, at + 16, 2, at + 32, 3, at + 24, 2, at + 32, 2, at + 24, 2, at + 35, 2, 0, 0];
    let part = record(&[0, list, 1, 1], &cells);
    let names = record(&[at, 2, at, 2, list, 1, list, 0, list, 0], &[at, 1, 0]);
    let mut described = memory(1, [0; 4], &names, b"in");
    described.push((DESCRIBED_ONE_IN - sum(&described) % DESCRIBED_ONE_IN) as u8);
    vec![
        ("process", steps(3, [0; STEPS], memory(8, [0; 4], &outcome, &columns))),
        ("rejected", steps(3, [0; STEPS], memory(8, [0; 4], &rejected, &columns))),
        ("advance", steps(3, [2; STEPS], memory(8, [0; 4], &outcome, &columns))),
        ("pieces", steps(3, [2; STEPS], memory(4, [0; 4], &more, &columns))),
        ("failure", steps(3, [0; STEPS], memory(8, [0; 4], &failure, &columns))),
        ("snapshot", steps(3, [3, 4, 3, 4, 3, 4, 3, 4], memory(8, [0; 4], &part, &columns))),
        ("others", steps(3, [5, 6, 5, 6, 0, 0, 0, 0], memory(0, [0; 4], &[], b""))),
        ("imports", steps(1, [0; STEPS], memory(8, [3, 2, 3, 0], &outcome, &columns))),
        ("growth", steps(1, [0; STEPS], memory(8, [0, 0, 0, 4], &outcome, &columns))),
        ("forged-room", steps(1, [0; STEPS], memory(8, [0, 0, 0, 2], &outcome, &columns))),
        ("describe", [b"d".to_vec(), described].concat()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the seeds are for: they get through, so that a fuzzer begins with answers that are taken.
    #[test]
    fn honest_seeds_are_accepted_to_their_last_step() {
        let sessions = Sessions::new();
        for (name, seed) in seeds() {
            if !["process", "advance", "rejected", "snapshot", "others"].contains(&name) {
                continue;
            }
            let mut instance = sessions.start();
            instance.process(0, &guest::load(&seed[2 + STEPS..]), call(1)).unwrap();
            for step in &seed[2..2 + STEPS] {
                take_step(*step, &mut instance, &rows(seed[1]), call(2)).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }

    #[test]
    fn what_the_memory_says_comes_back_as_rows_and_cells() {
        let sessions = Sessions::new();
        let seed = |name| seeds().into_iter().find(|(other, _)| *other == name).map(|(_, seed)| seed[2 + STEPS..].to_vec()).unwrap();
        let loaded = |name| {
            let mut instance = sessions.start();
            instance.process(0, &guest::load(&seed(name)), call(1)).unwrap();
            instance
        };
        let outcome = loaded("process").process(0, &rows(1), call(2)).unwrap();
        let emitted: Vec<_> = outcome.outputs[0].1.rows().map(|row| (row.time, row.key.to_vec(), row.value.to_vec())).collect();
        assert_eq!(emitted, [(1, b"a".to_vec(), b"d".to_vec()), (2, b"bc".to_vec(), b"e".to_vec())]);
        assert_eq!(loaded("rejected").process(0, &rows(1), call(2)).unwrap().rejected[0].reason, "abc");
        let failed = loaded("failure").process(0, &rows(1), call(2)).unwrap_err();
        assert_eq!(failed.fault, Fault::Returned("abcde".to_owned()));
        let part = loaded("snapshot").snapshot(Scope::Full, PART_BYTES_MAX).unwrap();
        assert_eq!((part.done, part.chunks[0].len()), (true, 2));
        let mut logging = loaded("imports");
        logging.process(0, &rows(1), call(2)).unwrap();
        assert_eq!((logging.take_log().len(), logging.counters().len()), (3, 1));
    }

    #[test]
    fn a_component_says_of_itself_what_its_memory_says() {
        let sessions = Sessions::new();
        let (_, seed) = seeds().pop().unwrap();
        assert_eq!(sum(&seed[1..]) % DESCRIBED_ONE_IN, 0, "the seed is one of those looked at");
        let described = sessions.runtime.load(&sessions.describing.with(&seed[1..])).unwrap().describe().unwrap();
        assert_eq!((described.name.as_str(), described.inputs.len()), ("in", 1));
    }
}
