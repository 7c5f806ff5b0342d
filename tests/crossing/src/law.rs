//! A second reading of the contract, as plain as it can be: what the host accepts is judged by it, not by the host's own checks.

use reprise::wasm::{
    COUNTER_NAME_BYTES_MAX, COUNTERS_MAX, FRAMES_MAX, GuestError, LOG_LINES_MAX, LOG_TAIL_LINES, LogLine, Scope, TEXT_BYTES_MAX,
};
use reprise_core::batch::{Batch, Columns};
use reprise_core::cells::{Chunk, ChunkColumns};
use reprise_core::description::Description;
use reprise_core::plain::plain;
use std::collections::{BTreeMap, BTreeSet};

/// Whether these are `rows` ends of so many bytes.
fn is_column(rows: usize, ends: &[u32], bytes: usize) -> bool {
    let mut before = 0;
    for end in ends {
        if *end < before {
            return false;
        }
        before = *end;
    }
    ends.len() == rows && before as usize == bytes
}

pub fn is_batch(columns: &Columns) -> bool {
    let rows = columns.times.len();
    is_column(rows, &columns.key_ends, columns.keys.len()) && is_column(rows, &columns.value_ends, columns.values.len())
}

pub fn is_chunk(columns: &ChunkColumns) -> bool {
    let cells = columns.key_ends.len();
    let whole = is_column(cells, &columns.key_ends, columns.keys.len())
        && is_column(cells, &columns.item_ends, columns.items.len())
        && is_column(cells, &columns.value_ends, columns.values.len());
    let end = |cell: usize| columns.value_ends[cell];
    let is_empty = |cell: usize| end(cell) == if cell == 0 { 0 } else { end(cell - 1) };
    let mut seen = None;
    whole
        && columns.removed.iter().all(|&cell| {
            let rises = seen.is_none_or(|before| before < cell);
            seen = Some(cell);
            rises && (cell as usize) < cells && is_empty(cell as usize)
        })
}

pub fn is_description(said: &Description, has_state: bool) -> bool {
    let is_name = |name: &&str| {
        let letters = name.starts_with(|first: char| first.is_ascii_lowercase());
        letters && name.len() <= 64 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    let are_names = |names: Vec<&str>, least: usize, most: usize| {
        let distinct: BTreeSet<_> = names.iter().collect();
        (least..=most).contains(&names.len()) && distinct.len() == names.len() && names.iter().all(is_name)
    };
    said.name.len() <= 64
        && said.version.len() <= 64
        && are_names(said.inputs.iter().map(String::as_str).collect(), 1, 16)
        && are_names(said.outputs.iter().map(|port| port.name.as_str()).collect(), 0, 16)
        && are_names(said.slots.iter().map(|slot| slot.name.as_str()).collect(), 0, if has_state { 64 } else { 0 })
}

/// Rows that a call was said to have emitted.
pub fn outputs(outputs: &[(u32, Batch)], ports: usize, bytes_max: u64) {
    let mut bytes = 0;
    for (port, rows) in outputs {
        assert!((*port as usize) < ports, "port {port} of {ports} was accepted");
        assert!(!rows.is_empty(), "an empty batch was handed on");
        assert!(is_batch(&rows.clone().into_columns()), "a batch was accepted that breaks the law: {rows:?}");
        bytes += rows.size_bytes() as u64;
    }
    assert!(bytes <= bytes_max, "{bytes} bytes of output were accepted; {bytes_max} are allowed");
}

/// Cells that a snapshot was said to hold.
pub fn cells(chunks: &[Chunk], scope: Scope, slots: usize) {
    for chunk in chunks {
        assert!((chunk.slot() as usize) < slots, "slot {} of {slots} was accepted", chunk.slot());
        assert!(is_chunk(chunk.columns()), "a chunk was accepted that breaks the law: {chunk:?}");
        assert!(scope == Scope::Changes || chunk.columns().removed.is_empty(), "a full snapshot removed cells");
    }
}

pub fn rejected(rows: impl ExactSizeIterator<Item = (u32, usize)>, given: usize) {
    let mut seen = BTreeSet::new();
    for (row, reason_bytes) in rows {
        assert!((row as usize) < given, "row {row} of {given} was rejected");
        assert!(seen.insert(row), "row {row} was rejected twice");
        assert!(reason_bytes <= TEXT_BYTES_MAX, "a reason has {reason_bytes} bytes");
    }
}

pub fn log(lines: &[LogLine]) {
    assert!(lines.len() <= LOG_LINES_MAX, "{} lines were kept", lines.len());
    lines.iter().for_each(|line| text(&line.message));
}

pub fn counters(counters: &BTreeMap<String, u64>) {
    assert!(counters.len() <= COUNTERS_MAX, "{} counters", counters.len());
    for name in counters.keys() {
        let legal = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        assert!(legal && (1..=COUNTER_NAME_BYTES_MAX).contains(&name.len()), "a counter is called {name:?}");
    }
}

pub fn error(error: &GuestError) {
    assert!(error.backtrace.len() <= FRAMES_MAX && error.log_tail.len() <= LOG_TAIL_LINES, "{error:?}");
    error.log_tail.iter().for_each(|line| text(line));
    let shown = error.to_string();
    assert!(shown.len() <= 8 * TEXT_BYTES_MAX, "a message has {} bytes", shown.len());
    shown_text(&shown);
}

fn text(text: &str) {
    assert!(text.len() <= TEXT_BYTES_MAX, "a text has {} bytes", text.len());
    // It is kept as it was said, and made plain by all that show it.
    shown_text(&plain(text));
}

fn shown_text(shown: &str) {
    let steers = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!shown.chars().any(steers), "a character that steers a terminal got through: {shown:?}");
}
