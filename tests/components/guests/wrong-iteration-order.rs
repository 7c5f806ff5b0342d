//! Wrong: goes through its counts in the order of a hash map, whose seed it draws when it is opened.

use reprise_guest::{Context, Description, Encoding::Utf8, Int, Keyed, Operator, Output, Record, export, runtime};
use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};

#[derive(Default)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

#[derive(Default)]
struct IterationOrder {
    seed: u64,
    counts: Keyed<u64>,
}

impl Operator for IterationOrder {
    fn describe() -> Description {
        Description::new("wrong-iteration-order").input("rows").output("counts", Utf8, Utf8)
    }

    fn open(&mut self, _: &Context) -> Result<(), String> {
        self.seed = runtime::random();
        Ok(())
    }

    fn record(&mut self, row: Record<'_>, _: &mut Output) -> Result<(), String> {
        *self.counts.entry(row.key) += 1;
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        let mut counts = HashMap::with_hasher(Seeded(self.seed));
        counts.extend(self.counts.iter());
        for (key, count) in counts {
            out.emit(watermark, key, Int(*count));
        }
        Ok(())
    }
}

export!(IterationOrder { counts });
