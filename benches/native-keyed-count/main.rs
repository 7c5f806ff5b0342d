//! The benchmark's pipelines as native programs: what the host is compared with. One thread, no checkpoints, nothing to recover.
//!
//! | arguments | what it does |
//! |---|---|
//! | `LOOP totals INPUT OUTPUT` | counts and sums the values of lines `key,value,time` by key, and writes `key,count,sum` of each key |
//! | `LOOP discard INPUT OUTPUT` | makes a row `key,count,time` of each line, too, and throws it away |
//! | `LOOP file INPUT OUTPUT` | writes these rows to `OUTPUT.rows` |
//! | `LOOP live` | reads standard input, and writes a row for each line to standard output at once |
//! | `LOOP chain INPUT STAGES` | hands the lines through so many stages, batch by batch, each of which makes a new batch of them |
//!
//! `LOOP` is `plain` (by hand, a byte after the other, with a fast hash and the standard library) or `careful` (what
//! the machine can do with one thread: words instead of bytes, a table that holds the keys, lookups in groups).

mod blocks;
mod careful;
mod chain;
mod live;
mod plain;
mod table;
mod text;

use std::fs::File;
use std::io::{self, BufWriter, Error, ErrorKind, Write};

/// Bytes of reads and writes.
const BLOCK_BYTES: usize = 1 << 20;
const USAGE: &str = "usage: native-keyed-count plain|careful totals|discard|file INPUT OUTPUT\n       native-keyed-count plain|careful live\n       native-keyed-count plain|careful chain INPUT STAGES";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let is_careful = match words.first() {
        Some(&"plain") => false,
        Some(&"careful") => true,
        _ => return Err(wrong(USAGE)),
    };
    match words[1..] {
        ["totals", input, output] => count(is_careful, input, output, None),
        ["discard", input, output] => count(is_careful, input, output, Some(&mut io::sink())),
        ["file", input, output] => {
            let mut rows = File::create(format!("{output}.rows"))?;
            count(is_careful, input, output, Some(&mut rows))
        }
        ["live"] => live::run(is_careful),
        ["chain", input, stages] => {
            let stages = stages.parse().map_err(|_| wrong("STAGES is a number"))?;
            chain::run(is_careful, File::open(input)?, stages).map(|bytes| println!("{bytes} bytes"))
        }
        _ => Err(wrong(USAGE)),
    }
}

fn count(is_careful: bool, input: &str, output: &str, rows: Option<&mut dyn Write>) -> io::Result<()> {
    let input = File::open(input)?;
    let mut totals = BufWriter::with_capacity(BLOCK_BYTES, File::create(output)?);
    if is_careful {
        careful::count(input, rows, &mut totals)?
    } else {
        plain::count(input, rows, &mut totals)?
    }
    totals.flush()
}

/// An error of what is put in.
pub(crate) fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows and totals, each sorted where the order says nothing.
    fn outputs(is_careful: bool, text: &str) -> io::Result<(String, Vec<String>)> {
        let (mut rows, mut totals) = (Vec::new(), Vec::new());
        if is_careful {
            careful::count(text.as_bytes(), Some(&mut rows), &mut totals)?;
        } else {
            plain::count(text.as_bytes(), Some(&mut rows), &mut totals)?;
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the input is text");
        let mut totals: Vec<String> = text(totals).lines().map(str::to_owned).collect();
        totals.sort();
        Ok((text(rows), totals))
    }

    #[test]
    fn values_are_counted_and_summed_by_key() {
        for is_careful in [false, true] {
            let (rows, totals) = outputs(is_careful, "a,1,10\nb,-2,1700000000000\na,40,30").expect("all lines are well-formed");
            assert_eq!(rows, "a,1,10\nb,1,1700000000000\na,2,30\n");
            assert_eq!(totals, ["a,2,41", "b,1,-2"]);
        }
    }

    #[test]
    fn both_loops_give_the_same_on_a_long_input() {
        // Short and long keys, over many blocks; so many that the table grows.
        let key = |row: u32| if row.is_multiple_of(7) { format!("a-long-key-of-{row:010}") } else { format!("k{}", row % 5_000) };
        let line = |row: u32| format!("{},{},{}\n", key(row), i64::from(row % 2001) - 1000, 1_700_000_000_000 + u64::from(row));
        let text: String = (0..200_000).map(line).collect();
        let plain = outputs(false, &text).expect("all lines are well-formed");
        assert_eq!(plain, outputs(true, &text).expect("all lines are well-formed"));
        assert!(plain.1.len() > 30_000);
    }

    #[test]
    fn other_lines_are_refused() {
        for text in ["a", "a,1", "a,x,1", "a,1,x", "a,1,\n", "\n", "a,1,1x\n", "a,1,2,3\n"] {
            for is_careful in [false, true] {
                assert!(outputs(is_careful, text).is_err(), "{text:?} {is_careful}");
            }
        }
    }
}
