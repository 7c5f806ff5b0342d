//! Wrong: remembers the last value of each key in a field that is not declared. After a restore it has forgotten them.

use reprise_guest::{Description, Encoding::Utf8, Keyed, Operator, Output, Record, Text, export};

#[derive(Default)]
struct ForgottenSlot {
    counts: Keyed<u64>,
    last: Keyed<Vec<u8>>,
}

impl Operator for ForgottenSlot {
    fn describe() -> Description {
        Description::new("wrong-forgotten-slot").input("rows").output("counts", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let count = self.counts.entry(row.key);
        *count += 1;
        let last = self.last.entry(row.key);
        out.emit(row.time, row.key, Text(format_args!("{count} after {} bytes", last.len())));
        last.clear();
        last.extend_from_slice(row.value);
        Ok(())
    }
}

export!(ForgottenSlot { counts });
