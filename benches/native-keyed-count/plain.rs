//! The plain loop: as one would write it by hand at first, without looking at what a processor likes. Big reads, a byte after the other, a
//! `HashMap` with a fast hash, no allocation per row, `write!`.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, BufWriter, Read, Write};

use crate::wrong;

/// Word-wise multiply and rotate, after the hash in Firefox and rustc. Keys come from ourselves: no one attacks it.
#[derive(Default)]
pub struct FastHasher(u64);

impl FastHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its place from the low bits and its tag from the high ones; a multiplication mixes upwards only.
        self.0.rotate_left(26)
    }
}

/// What is known of a key.
#[derive(Clone, Copy, Default)]
pub struct Cell {
    pub count: u64,
    pub sum: i64,
}

/// Cells by key.
pub type Cells = HashMap<Box<[u8]>, Cell, BuildHasherDefault<FastHasher>>;

/// Works on whole lines, each byte looked at once; writes a row for each where `rows` is there. The last line may lack its end.
pub fn lines(mut rest: &[u8], cells: &mut Cells, mut rows: Option<&mut impl Write>) -> io::Result<()> {
    while !rest.is_empty() {
        let Some(comma) = rest.iter().position(|byte| *byte == b',').filter(|comma| *comma > 0) else {
            return Err(wrong("a line has no key before a comma"));
        };
        let key = &rest[..comma];
        let (value, behind_value) = integer(&rest[comma + 1..])?;
        let [b',', behind_comma @ ..] = behind_value else { return Err(wrong("a value is no integer, or no time follows")) };
        let (_, behind_time) = integer(behind_comma)?;
        let time = &behind_comma[..behind_comma.len() - behind_time.len()];
        rest = match behind_time {
            [] => behind_time,
            [b'\n', next @ ..] => next,
            _ => return Err(wrong("a time is no integer")),
        };
        let cell = match cells.get_mut(key) {
            Some(cell) => cell,
            None => cells.entry(key.into()).or_default(),
        };
        cell.count += 1;
        cell.sum = cell.sum.wrapping_add(value);
        if let Some(rows) = &mut rows {
            rows.write_all(key)?;
            write!(rows, ",{},", cell.count)?;
            rows.write_all(time)?;
            rows.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// The integer that a text begins with, and what follows it. 18 digits always fit; the benchmark needs no more.
fn integer(text: &[u8]) -> io::Result<(i64, &[u8])> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut number = 0_i64;
    let mut length = 0;
    while let Some(digit) = digits.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        if length == 18 {
            return Err(wrong("an integer is too long"));
        }
        number = number * 10 + i64::from(digit);
        length += 1;
    }
    if length == 0 {
        return Err(wrong("an integer is missing"));
    }
    Ok((if is_negative { -number } else { number }, &digits[length..]))
}

/// Counts all lines; writes a row for each where `rows` is there, and the totals in no certain order.
pub fn count(input: impl Read, rows: Option<&mut dyn Write>, totals: &mut impl Write) -> io::Result<()> {
    let mut rows = rows.map(|rows| BufWriter::with_capacity(crate::BLOCK_BYTES, rows));
    let mut cells = Cells::default();
    crate::blocks::each(input, |block, filled| lines(&block[..filled], &mut cells, rows.as_mut()))?;
    if let Some(rows) = &mut rows {
        rows.flush()?;
    }
    for (key, Cell { count, sum }) in &cells {
        totals.write_all(key)?;
        writeln!(totals, ",{count},{sum}")?;
    }
    Ok(())
}
