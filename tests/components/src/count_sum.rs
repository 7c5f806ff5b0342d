//! Count and sum of 64-bit integers, as the benchmark's counters keep them.

use reprise_guest::{Cell, Encoding, Keyed, Output, Record};

/// Both numbers in one cell: 8 bytes each, least significant first. Sums wrap around.
#[derive(Default)]
pub struct CountSum {
    pub count: u64,
    pub sum: i64,
}

impl Cell for CountSum {
    const ENCODING: Encoding = Encoding::Bytes;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        self.count.encode(bytes)?;
        self.sum.encode(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (count, sum) = bytes.split_at_checked(8).ok_or("expected 16 bytes")?;
        Ok(Self { count: u64::decode(count)?, sum: i64::decode(sum)? })
    }
}

/// Adds the value of a row to the cell of its key; refuses one that is no integer of 8 bytes.
#[inline]
pub fn add<'a>(sums: &'a mut Keyed<CountSum>, row: Record<'_>, out: &mut Output) -> Option<&'a CountSum> {
    let Ok(value) = row.value.try_into() else {
        out.reject(row.row, "expected an integer of 8 bytes");
        return None;
    };
    let cell = sums.entry(row.key);
    cell.count += 1;
    cell.sum = cell.sum.wrapping_add(i64::from_le_bytes(value));
    Some(cell)
}

/// Emits `count,sum` of each key.
pub fn emit_totals(sums: &Keyed<CountSum>, port: u32, time: i64, out: &mut Output) {
    for (key, CountSum { count, sum }) in sums.iter() {
        out.row_to(port, time, key).int(*count).text(",").int(*sum);
    }
}
