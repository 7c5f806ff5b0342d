//! Describes itself with an output whose name has a space.

use reprise_guest::{Description, Encoding::Bytes, Operator, Output, Record, export};

#[derive(Default)]
struct BadDescription;

impl Operator for BadDescription {
    fn describe() -> Description {
        Description::new("bad-description").input("rows").output("two words", Bytes, Bytes)
    }

    fn record(&mut self, _: Record<'_>, _: &mut Output) -> Result<(), String> {
        Ok(())
    }
}

export!(BadDescription);
