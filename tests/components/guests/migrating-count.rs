//! Counts rows by key as `running-count` does, with a state that is a version further: it takes over the counts of version 1. At
//! the key `forget` it removes all counts, and emits nothing.

use reprise_guest::{Cell, Description, Encoding, Int, Keyed, Operator, Output, Record, export};

/// A count in text, which was a number before.
#[derive(Default)]
struct Count(u64);

impl Cell for Count {
    const ENCODING: Encoding = Encoding::Utf8;

    fn encode(&self, bytes: &mut Vec<u8>) -> Result<(), String> {
        bytes.extend_from_slice(self.0.to_string().as_bytes());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = String::decode(bytes)?;
        text.parse().map(Self).map_err(|_| format!("expected a number, found `{text}`"))
    }

    fn migrate(version: u32, bytes: &[u8]) -> Result<Self, String> {
        match version {
            1 => u64::decode(bytes).map(Self),
            _ => Err(format!("version {version} was never in use")),
        }
    }
}

#[derive(Default)]
struct MigratingCount {
    counts: Keyed<Count>,
}

impl Operator for MigratingCount {
    fn describe() -> Description {
        components::counting("migrating-count")
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        if row.key == b"forget" {
            self.counts.retain(|_, _| false);
            return Ok(());
        }
        let count = self.counts.entry(row.key);
        count.0 += 1;
        out.emit(row.time, row.key, Int(count.0));
        Ok(())
    }
}

export!(MigratingCount { counts: 2 });
