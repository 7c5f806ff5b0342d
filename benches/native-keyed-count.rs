//! The keyed count as a native program: what the benchmark compares the host with.
//!
//! `native-keyed-count INPUT OUTPUT` reads lines `key,value,time`, counts and sums the values by key, and writes `key<TAB>count,sum` in the
//! order of the keys. One thread, big reads, no allocation per row, a fast hash: as one would write it by hand. It keeps no checkpoints.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, BufWriter, Error, ErrorKind, Read, Write};

const BLOCK_BYTES: usize = 1 << 20;
/// A line that is longer than this is refused.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Word-wise multiply and rotate, after the hash in Firefox and rustc. Keys come from ourselves: no one attacks it.
#[derive(Default)]
struct FastHasher(u64);

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

#[derive(Clone, Copy, Default)]
struct Cell {
    count: u64,
    sum: i64,
}

type Cells = HashMap<Box<[u8]>, Cell, BuildHasherDefault<FastHasher>>;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(input), Some(output), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(Error::new(ErrorKind::InvalidInput, "usage: native-keyed-count INPUT OUTPUT"));
    };
    let cells = count(File::open(input)?)?;
    let mut sorted: Vec<(&[u8], &Cell)> = cells.iter().map(|(key, cell)| (&**key, cell)).collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    let mut out = BufWriter::with_capacity(BLOCK_BYTES, File::create(output)?);
    for (key, cell) in sorted {
        out.write_all(key)?;
        writeln!(out, "\t{},{}", cell.count, cell.sum)?;
    }
    out.flush()
}

/// Reads all lines; the last one may lack its line break.
fn count(mut input: impl Read) -> io::Result<Cells> {
    let mut cells = Cells::default();
    let mut buffer = vec![0; BLOCK_BYTES + LINE_BYTES_MAX];
    let mut kept = 0;
    loop {
        let read = input.read(&mut buffer[kept..])?;
        let filled = kept + read;
        if read == 0 {
            add_lines(&buffer[..filled], &mut cells)?;
            return Ok(cells);
        }
        // Whole lines are worked on where they are; what follows the last break goes to the front.
        let whole = buffer[..filled].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        add_lines(&buffer[..whole], &mut cells)?;
        kept = filled - whole;
        if kept > LINE_BYTES_MAX {
            return Err(wrong("a line is too long"));
        }
        buffer.copy_within(whole..filled, 0);
    }
}

/// Adds lines, each byte looked at once. Times are read too, as the operator does.
fn add_lines(mut rest: &[u8], cells: &mut Cells) -> io::Result<()> {
    while !rest.is_empty() {
        let Some(comma) = rest.iter().position(|byte| *byte == b',') else { return Err(wrong("a line has no comma")) };
        let key = &rest[..comma];
        let (value, behind_value) = integer(&rest[comma + 1..])?;
        let [b',', behind_comma @ ..] = behind_value else { return Err(wrong("a value is no integer, or no time follows")) };
        let (_, behind_time) = integer(behind_comma)?;
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

fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &[u8]) -> io::Result<Vec<(String, u64, i64)>> {
        let cells = count(text)?;
        let mut rows: Vec<_> =
            cells.into_iter().map(|(key, cell)| (String::from_utf8_lossy(&key).into_owned(), cell.count, cell.sum)).collect();
        rows.sort();
        Ok(rows)
    }

    #[test]
    fn values_are_counted_and_summed_by_key() {
        let rows = counted(b"a,1,0\nb,-2,0\na,40,0").expect("all lines are well-formed");
        assert_eq!(rows, [("a".to_owned(), 2, 41), ("b".to_owned(), 1, -2)]);
    }

    #[test]
    fn lines_across_blocks_are_whole() {
        let text = "some-key,7,1700000000000\n".repeat(200_000);
        let rows = counted(text.as_bytes()).expect("all lines are well-formed");
        assert_eq!(rows, [("some-key".to_owned(), 200_000, 1_400_000)]);
    }

    #[test]
    fn other_lines_are_refused() {
        for text in ["a", "a,1", "a,x,1", "a,1,x", "a,1,\n", "\n"] {
            assert!(counted(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
