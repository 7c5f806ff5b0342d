//! Standard input, in any pieces.

use super::bounded::{check_lines, lines};
use super::csv::{CSV_BARE, csv_reference};
use super::{Given, LIMITS, Random, settings};
use crate::clock::Clock;
use crate::connect::source::stdin::StdinSourceConnector;
use crate::connect::{InputStatus, SourceConnector, SourceReader};
use reprise_core::topology::SourceFormat;
use std::io::Read;

/// A stream that gives a few bytes at a time.
struct Dribble {
    bytes: Vec<u8>,
    at: usize,
    random: Random,
}

impl Read for Dribble {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = (self.bytes.len() - self.at).min(buffer.len());
        let count = most.min(1 + self.random.below(200) as usize);
        buffer[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[test]
fn a_stream_in_any_pieces_gives_its_lines() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let bytes = lines(&mut random, 300);
        let mut settings = settings("-", SourceFormat::Lines);
        settings.row_bytes_max = if random.one_of(30) { 1 + random.below(100) } else { 1_000 };
        let source = StdinSourceConnector::new(&settings, LIMITS, Clock::System).unwrap();
        assert!(!source.replays());
        let splits = source.splits(&[]).unwrap();
        let mut given = Given::default();
        let mut reader = source.reader_of(&splits, Box::new(Dribble { bytes: bytes.clone(), at: 0, random })).unwrap();
        assert!(given.take(&mut reader, u64::MAX));
        check_lines(&given, &bytes, settings.row_bytes_max as usize, &format!("seed {seed}"));
        let rows = given.rows.len() + given.rejected.len();
        if rows > 0 {
            assert_eq!(given.positions["stdin"], format!("{{\"rows\":{rows}}}"));
        }
        let mut other = source.reader_of(&[], Box::new(std::io::empty())).unwrap();
        assert!(matches!(other.next().unwrap(), InputStatus::End));
    }
}

#[test]
fn a_stream_of_csv_in_any_pieces_gives_its_records() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut bytes = if random.one_of(30) { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
        for row in 0..random.below(200) {
            bytes.extend_from_slice(format!("{row},\"a\r\n{}\"\"\",{}\r\n", "x".repeat(random.below(50) as usize), row % 3).as_bytes());
        }
        let source = StdinSourceConnector::new(&settings("-", CSV_BARE), LIMITS, Clock::System).unwrap();
        let splits = source.splits(&[]).unwrap();
        let mut given = Given::default();
        let mut reader = source.reader_of(&splits, Box::new(Dribble { bytes: bytes.clone(), at: 0, random })).unwrap();
        assert!(given.take(&mut reader, u64::MAX));
        let rows: Vec<Vec<String>> = given.rows.iter().map(|(_, value, _)| serde_json::from_slice(value).unwrap()).collect();
        assert_eq!(rows, csv_reference(&bytes).0, "seed {seed}");
    }
}
