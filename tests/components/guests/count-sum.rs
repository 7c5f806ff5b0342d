//! Counts and sums 64-bit integers by key. Emits `count,sum` for each key when the input ends. The second half of the benchmark.

use components::count_sum::{CountSum, add, emit_totals};
use reprise_guest::{Description, END_OF_INPUT, Encoding, Keyed, Operator, Output, Record, export};

#[derive(Default)]
struct Guest {
    sums: Keyed<CountSum>,
}

impl Operator for Guest {
    fn describe() -> Description {
        Description::new("count-sum").input("rows").output("sums", Encoding::Utf8, Encoding::Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        add(&mut self.sums, row, out);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        if watermark == END_OF_INPUT {
            emit_totals(&self.sums, 0, watermark, out);
        }
        Ok(())
    }
}

export!(Guest { sums });
