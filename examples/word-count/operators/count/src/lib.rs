//! Counts rows by key. Emits the totals in the order of the keys when the input ends.
//!
//! Config: `emit = "updates"` emits the running count at every row instead (default: `"totals"`).

use reprise_guest::{Context, Description, END_OF_INPUT, Encoding::Utf8, Int, Keyed, Operator, Output, Record, export};
use serde::Deserialize;

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Emit {
    #[default]
    Totals,
    Updates,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Count {
    emit: Emit,
    #[serde(skip)]
    totals: Keyed<u64>,
}

impl Operator for Count {
    fn describe() -> Description {
        Description::new("count").input("words").output("counts", Utf8, Utf8)
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        *self = context.config()?;
        Ok(())
    }

    fn record(&mut self, word: Record<'_>, out: &mut Output) -> Result<(), String> {
        let total = self.totals.entry(word.key);
        *total += 1;
        if self.emit == Emit::Updates {
            out.emit(word.time, word.key, Int(*total));
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        if watermark == END_OF_INPUT && self.emit == Emit::Totals {
            for (word, total) in self.totals.iter() {
                out.emit(watermark, word, Int(*total));
            }
        }
        Ok(())
    }
}

export!(Count { totals });

#[cfg(test)]
mod tests;
