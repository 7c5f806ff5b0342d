//! Wrong: declares the state in which it remembers the last value of each key, and hands out no cell of it.

use reprise_guest::state::{Declaration, PartWriter, Scope, Slot, SlotKind, Written};
use reprise_guest::{Declared, Description, Encoding, Encoding::Utf8, Keyed, Operator, Output, Record, Text};

#[derive(Default)]
struct Silent(Keyed<Vec<u8>>);

impl Slot for Silent {
    fn kind(&self) -> SlotKind {
        SlotKind::Keyed
    }

    fn encoding(&self) -> Encoding {
        Encoding::Bytes
    }

    fn is_empty(&self) -> bool {
        true
    }

    fn rewind(&mut self) {}

    fn read(&mut self, _: Scope, _: &mut PartWriter) -> Result<bool, String> {
        Ok(true)
    }

    fn forget_changes(&mut self) {}

    fn restore(&mut self, key: &[u8], item: &[u8], value: Option<Written<'_>>) -> Result<(), String> {
        self.0.restore(key, item, value)
    }
}

#[derive(Default)]
struct SilentSlot {
    counts: Keyed<u64>,
    last: Silent,
}

impl Operator for SilentSlot {
    fn describe() -> Description {
        Description::new("wrong-silent-slot").input("rows").output("counts", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let count = self.counts.entry(row.key);
        *count += 1;
        let last = self.last.0.entry(row.key);
        out.emit(row.time, row.key, Text(format_args!("{count} after {} bytes", last.len())));
        last.clear();
        last.extend_from_slice(row.value);
        Ok(())
    }
}

impl Declared for SilentSlot {
    const CRATE_VERSION: &'static str = env!("CARGO_PKG_VERSION");

    fn slots(&mut self) -> Vec<Declaration<'_>> {
        let counts = Declaration { name: "counts", version: 1, slot: &mut self.counts };
        vec![counts, Declaration { name: "last_value", version: 1, slot: &mut self.last }]
    }
}

reprise_guest::export!(@component SilentSlot);
