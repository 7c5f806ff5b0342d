//! What happened, event by event: a hash over all of it, and the last lines of it.

use std::collections::VecDeque;

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The trace of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    lines_max: usize,
}

impl Trace {
    /// An empty trace that keeps so many lines.
    #[must_use]
    pub fn new(lines_max: usize) -> Self {
        Self { hash: FNV_START, lines: VecDeque::new(), lines_max }
    }

    /// Notes an event.
    pub fn note(&mut self, line: String) {
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if self.lines.len() >= self.lines_max {
            self.lines.pop_front();
        }
        if self.lines_max > 0 {
            self.lines.push_back(line);
        }
    }

    /// FNV-1a of all lines, those that were not kept included.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines that were kept.
    #[must_use]
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
