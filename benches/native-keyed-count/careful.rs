//! The careful loop: blocks of a mebibyte, fields found and read by words of 16 bytes, and lookups in groups, whose waits for memory overlap.

use std::io::{self, Read, Write};

use crate::table::{ShortKey, Table};
use crate::text::{self, WORD_BYTES};
use crate::{BLOCK_BYTES, wrong};

/// Lines that are looked up together.
const GROUP: usize = 64;

/// A line that was read and is not counted yet. A key, and the text of the time, are places in the block.
#[derive(Clone, Copy, Default)]
struct Pending {
    key: ShortKey,
    place: usize,
    value: i64,
    key_at: usize,
    key_bytes: usize,
    time_at: usize,
    time_bytes: usize,
}

/// Counts, and makes rows.
pub(crate) struct Counter {
    table: Table,
    group: [Pending; GROUP],
    pub(crate) rows: Vec<u8>,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), group: [Pending::default(); GROUP], rows: Vec::with_capacity(2 * BLOCK_BYTES) }
    }

    /// Counts the lines in the first `filled` bytes of a block, all of them whole.
    pub(crate) fn lines(&mut self, block: &[u8], filled: usize, has_rows: bool) -> io::Result<()> {
        let (mut at, mut waiting) = (0, 0);
        while at < filled {
            let pending = line(block, &mut at)?;
            self.group[waiting] = pending;
            waiting += 1;
            if waiting == GROUP || at >= filled {
                self.work(block, waiting, has_rows);
                waiting = 0;
            }
        }
        Ok(())
    }

    fn work(&mut self, block: &[u8], waiting: usize, has_rows: bool) {
        self.table.reserve(waiting);
        let mut touched = 0;
        for pending in &mut self.group[..waiting] {
            pending.place = self.table.place(pending.key);
            touched ^= self.table.touch(pending.place);
        }
        std::hint::black_box(touched);
        for pending in &self.group[..waiting] {
            let key = &block[pending.key_at..pending.key_at + pending.key_bytes];
            let cell = if pending.key_bytes <= WORD_BYTES { self.table.short(pending.place, pending.key) } else { self.table.long(key) };
            cell.count += 1;
            cell.sum = cell.sum.wrapping_add(pending.value);
            if has_rows {
                self.rows.extend_from_slice(key);
                self.rows.push(b',');
                text::append(&mut self.rows, cell.count);
                self.rows.push(b',');
                self.rows.extend_from_slice(&block[pending.time_at..pending.time_at + pending.time_bytes]);
                self.rows.push(b'\n');
            }
        }
    }

    fn totals(&self, totals: &mut impl Write) -> io::Result<()> {
        let (mut out, mut outcome) = (Vec::with_capacity(BLOCK_BYTES), Ok(()));
        self.table.each(|key, cell| {
            out.extend_from_slice(key);
            out.push(b',');
            text::append(&mut out, cell.count);
            out.extend_from_slice(if cell.sum < 0 { b",-" } else { b"," });
            text::append(&mut out, cell.sum.unsigned_abs());
            out.push(b'\n');
            if out.len() > BLOCK_BYTES - 100 && outcome.is_ok() {
                outcome = totals.write_all(&out);
                out.clear();
            }
        });
        outcome.and_then(|()| totals.write_all(&out))
    }
}

/// Reads the line at a place, and goes on to the next.
#[inline(always)]
fn line(block: &[u8], at: &mut usize) -> io::Result<Pending> {
    let key_at = *at;
    let first = text::word(block, key_at);
    let mut key_bytes = text::find(first, b',');
    let key = ShortKey::new(first, key_bytes);
    if key_bytes == WORD_BYTES {
        let rest = block[key_at..].iter().position(|byte| matches!(byte, b',' | b'\n'));
        key_bytes = rest.filter(|rest| block[key_at + rest] == b',').ok_or_else(|| wrong("a line has no comma"))?;
    }
    if key_bytes == 0 {
        return Err(wrong("a key is empty"));
    }
    let mut value_at = key_at + key_bytes + 1;
    let is_negative = block[value_at] == b'-';
    value_at += usize::from(is_negative);
    let word = text::word(block, value_at);
    let value_bytes = text::find(word, b',');
    let value = text::digits(word, value_bytes).ok_or_else(|| wrong("a value is no integer"))?.cast_signed();
    let time_at = value_at + value_bytes + 1;
    let word = text::word(block, time_at);
    let time_bytes = text::find(word, b'\n');
    // The time is checked, as every operator that emits it has to.
    text::digits(word, time_bytes).ok_or_else(|| wrong("a time is no integer"))?;
    *at = time_at + time_bytes + 1;
    Ok(Pending { key, place: 0, value: if is_negative { -value } else { value }, key_at, key_bytes, time_at, time_bytes })
}

/// Counts all lines; writes a row for each where `rows` is there, and the totals in no certain order.
pub fn count(input: impl Read, mut rows: Option<&mut dyn Write>, totals: &mut impl Write) -> io::Result<()> {
    let mut counter = Counter::new();
    let has_rows = rows.is_some();
    crate::blocks::each(input, |block, filled| {
        counter.lines(block, filled, has_rows)?;
        if let Some(rows) = &mut rows {
            rows.write_all(&counter.rows)?;
            counter.rows.clear();
        }
        Ok(())
    })?;
    counter.totals(totals)
}
