//! Stages that pass rows on: what a stateless operator in a chain costs without a host. Lines are read into batches, which each stage makes anew.

use std::hint::black_box;
use std::io::{self, Read};

use crate::blocks;

/// Lines of a batch.
const BATCH_ROWS: usize = 4096;

/// Rows behind each other, and where each ends.
#[derive(Default)]
struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// Hands all lines through so many stages; gives the bytes that came out. The plain stage copies each row to a vector of its own.
pub fn run(is_careful: bool, input: impl Read, stages: u32) -> io::Result<usize> {
    let (mut batch, mut fresh, mut passed) = (Rows::default(), Rows::default(), 0);
    blocks::each(input, |block, filled| {
        for line in block[..filled].split_inclusive(|byte| *byte == b'\n') {
            batch.push(line);
            if batch.ends.len() == BATCH_ROWS {
                passed += pass(is_careful, &mut batch, &mut fresh, stages);
            }
        }
        Ok(())
    })?;
    Ok(passed + pass(is_careful, &mut batch, &mut fresh, stages))
}

fn pass(is_careful: bool, batch: &mut Rows, fresh: &mut Rows, stages: u32) -> usize {
    let bytes = if is_careful {
        for _ in 0..stages {
            fresh.clear();
            black_box(&*batch).iter().for_each(|row| fresh.push(row));
            std::mem::swap(batch, fresh);
        }
        batch.bytes.len()
    } else {
        let mut rows: Vec<Vec<u8>> = batch.iter().map(<[u8]>::to_vec).collect();
        for _ in 0..stages {
            rows = black_box(&rows).iter().map(Clone::clone).collect();
        }
        rows.iter().map(Vec::len).sum()
    };
    batch.clear();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_through() {
        let text = "some line of the input\n".repeat(10_000);
        for (is_careful, stages) in [(false, 0), (false, 3), (true, 1), (true, 5)] {
            assert_eq!(run(is_careful, text.as_bytes(), stages).expect("memory can be read"), text.len());
        }
    }
}
