//! Counts and sums 64-bit integers by key. Emits the running count at each row, and on an output of its own `count,sum` for each key when the
//! input ends: the benchmark's counter where each row has a row of output.

use reprise_guest::{Cell, Description, END_OF_INPUT, Encoding, Int, Keyed, Operator, Output, Record, Text, export};

/// The output with the totals.
const TOTALS: u32 = 1;

/// Both numbers in one cell: 8 bytes each, least significant first. Sums wrap around.
#[derive(Default)]
struct RunningSum {
    count: u64,
    sum: i64,
}

impl Cell for RunningSum {
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
    sums: Keyed<RunningSum>,
}

impl Operator for Guest {
    fn describe() -> Description {
        let description = Description::new("running-sum").input("rows").output("counts", Encoding::Utf8, Encoding::Utf8);
        description.output("totals", Encoding::Utf8, Encoding::Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let Ok(value) = row.value.try_into() else {
            out.reject(row.row, "expected an integer of 8 bytes");
            return Ok(());
        };
        let cell = self.sums.entry(row.key);
        cell.count += 1;
        cell.sum = cell.sum.wrapping_add(i64::from_le_bytes(value));
        out.emit(row.time, row.key, Int(cell.count));
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        if watermark == END_OF_INPUT {
            for (key, RunningSum { count, sum }) in self.sums.iter() {
                out.emit_to(TOTALS, watermark, key, Text(format_args!("{count},{sum}")));
            }
        }
        Ok(())
    }
}

export!(Guest { sums });
