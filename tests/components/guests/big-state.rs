//! Keeps the last value of each key, and emits them all when the input ends: state as large as one likes.

use reprise_guest::{Description, END_OF_INPUT, Encoding::Bytes, Keyed, Operator, Output, Record, export};

#[derive(Default)]
struct BigState {
    last: Keyed<Vec<u8>>,
}

impl Operator for BigState {
    fn describe() -> Description {
        Description::new("big-state").input("rows").output("rows", Bytes, Bytes)
    }

    fn record(&mut self, row: Record<'_>, _: &mut Output) -> Result<(), String> {
        let last = self.last.entry(row.key);
        last.clear();
        last.extend_from_slice(row.value);
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        if watermark == END_OF_INPUT {
            for (key, value) in self.last.iter() {
                out.emit(watermark, key, value);
            }
        }
        Ok(())
    }
}

export!(BigState { last });
