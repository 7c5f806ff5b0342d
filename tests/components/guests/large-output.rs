//! Emits a mebibyte of rows for each row it was given: at a value `now` at once, else when the input ends. Their keys count up from 0.

use reprise_guest::{Description, END_OF_INPUT, Encoding::Bytes, Operator, Output, Record, Value, export};

/// Key of 8 bytes, value, and 16 bytes for time and ends: 1 KiB.
const VALUE: [u8; 1000] = [b'v'; 1000];
const ROWS_PER_MEBIBYTE: u64 = 1024;

#[derive(Default)]
struct LargeOutput {
    mebibytes: Value<u64>,
}

fn emit(mebibytes: u64, out: &mut Output) {
    for key in 0..mebibytes * ROWS_PER_MEBIBYTE {
        out.emit(0, key.to_le_bytes(), VALUE);
    }
}

impl Operator for LargeOutput {
    fn describe() -> Description {
        Description::new("large-output").input("rows").output("rows", Bytes, Bytes)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        *self.mebibytes.entry() += 1;
        if row.value == b"now" {
            emit(self.mebibytes.remove(), out);
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        if watermark == END_OF_INPUT {
            emit(*self.mebibytes.get(), out);
        }
        Ok(())
    }
}

export!(LargeOutput { mebibytes });
