//! Wrong: emits how often each key comes in a batch, so that what it emits depends on where batches end.

use reprise_guest::{Description, Encoding::Utf8, Int, Operator, Output, Rows, export};
use std::collections::BTreeMap;

#[derive(Default)]
struct BatchDependent;

impl Operator for BatchDependent {
    fn describe() -> Description {
        Description::new("wrong-batch-dependent").input("rows").output("counts", Utf8, Utf8)
    }

    fn process(&mut self, _: u32, rows: Rows<'_>, out: &mut Output) -> Result<(), String> {
        let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
        rows.into_iter().for_each(|row| *counts.entry(row.key).or_default() += 1);
        counts.into_iter().for_each(|(key, count)| out.emit(0, key, Int(count)));
        Ok(())
    }
}

export!(BatchDependent);
