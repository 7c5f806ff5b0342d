//! Counts and sums 64-bit integers by key. Emits the running count at each row, and on an output of its own `count,sum` for each key when the
//! input ends: the benchmark's counter where each row has a row of output.

use components::count_sum::{CountSum, add, emit_totals};
use reprise_guest::{Description, END_OF_INPUT, Encoding, Int, Keyed, Operator, Output, Record, export};

/// The output with the totals.
const TOTALS: u32 = 1;

#[derive(Default)]
struct Guest {
    sums: Keyed<CountSum>,
}

impl Operator for Guest {
    fn describe() -> Description {
        let description = Description::new("running-sum").input("rows").output("counts", Encoding::Utf8, Encoding::Utf8);
        description.output("totals", Encoding::Utf8, Encoding::Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        if let Some(cell) = add(&mut self.sums, row, out) {
            out.emit(row.time, row.key, Int(cell.count));
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        if watermark == END_OF_INPUT {
            emit_totals(&self.sums, TOTALS, watermark, out);
        }
        Ok(())
    }
}

export!(Guest { sums });
