//! Counts rows by key, and wears out the more keys it has: no row is to blame, and no row is taken any more. The value of its rows says how: with
//! `memory` each key holds a lot of it, with `time` each row takes as long as there are keys, with `trap` it traps from a dozen keys on, with `rows` from a dozen rows of a key on.

use reprise_guest::{Cell, Description, Encoding, Keyed, Operator, Output, Record, export};

/// Bytes that a key holds.
const HELD_BYTES: usize = 128 << 10;
/// In the bytes of a count: its key holds memory.
const HOLDS: u64 = 1 << 63;
/// Steps that each key costs each row: half a millisecond or more.
const STEPS: u32 = 2_000_000;
/// Keys, or rows of a key, with which it traps.
const KEYS_MAX: usize = 12;

#[derive(Default)]
struct Count {
    count: u64,
    held: Vec<u8>,
}

impl Count {
    fn hold(&mut self) {
        if self.held.is_empty() {
            self.held = vec![1; HELD_BYTES];
        }
    }
}

impl Cell for Count {
    const ENCODING: Encoding = u64::ENCODING;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        (self.count | if self.held.is_empty() { 0 } else { HOLDS }).encode(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let coded = u64::decode(bytes)?;
        let mut count = Self { count: coded & !HOLDS, held: Vec::new() };
        if coded & HOLDS != 0 {
            count.hold();
        }
        Ok(count)
    }
}

#[derive(Default)]
struct WornOut {
    counts: Keyed<Count>,
}

impl Operator for WornOut {
    fn describe() -> Description {
        components::counting("worn-out")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        components::fall_over_poison(row);
        let keys = self.counts.len();
        match row.value {
            b"memory" => self.counts.entry(row.key).hold(),
            b"time" => (0..keys).for_each(|_| components::keep_busy(STEPS)),
            b"trap" if keys >= KEYS_MAX => std::process::abort(),
            b"rows" if self.counts.entry(row.key).count >= KEYS_MAX as u64 => std::process::abort(),
            _ => {}
        }
        components::count_on(&mut self.counts.entry(row.key).count, row, out);
        Ok(())
    }
}

export!(WornOut { counts });
