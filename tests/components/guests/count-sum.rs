//! Counts and sums 64-bit integers by key. Emits `count,sum` for each key when the input ends. The second half of the benchmark.

use reprise_guest::{Cell, Description, END_OF_INPUT, Encoding, Keyed, Operator, Output, Record, export};

/// Both numbers in one cell: 8 bytes each, least significant first. Sums wrap around.
#[derive(Default)]
struct CountSum {
    count: u64,
    sum: i64,
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

#[derive(Default)]
struct Guest {
    sums: Keyed<CountSum>,
}

impl Operator for Guest {
    fn describe() -> Description {
        Description::new("count-sum").input("rows").output("sums", Encoding::Utf8, Encoding::Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let Ok(value) = row.value.try_into() else {
            out.reject(row.row, "expected an integer of 8 bytes");
            return Ok(());
        };
        let cell = self.sums.entry(row.key);
        cell.count += 1;
        cell.sum = cell.sum.wrapping_add(i64::from_le_bytes(value));
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        if watermark == END_OF_INPUT {
            for (key, CountSum { count, sum }) in self.sums.iter() {
                out.row(watermark, key).int(*count).text(",").int(*sum);
            }
        }
        Ok(())
    }
}

export!(Guest { sums });
