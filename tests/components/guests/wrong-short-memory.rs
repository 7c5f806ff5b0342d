//! Wrong: where it gets no memory for a row, it leaves the row out and says nothing.

use reprise_guest::{Description, Encoding::Bytes, Operator, Output, Record, export};

const SCRATCH_BYTES: usize = 8 << 20;

#[derive(Default)]
struct ShortMemory {
    scratch: Vec<u8>,
}

impl Operator for ShortMemory {
    fn describe() -> Description {
        Description::new("wrong-short-memory").input("rows").output("rows", Bytes, Bytes)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        self.scratch.clear();
        if self.scratch.try_reserve_exact(SCRATCH_BYTES).is_ok() {
            self.scratch.extend_from_slice(row.value);
            out.emit(row.time, row.key, &self.scratch);
        }
        Ok(())
    }
}

export!(ShortMemory);
