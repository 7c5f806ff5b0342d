//! Emits many rows for each one: as many as the first word of its value says, with the other words as their value.

use reprise_guest::{Description, Encoding::Utf8, Operator, Output, Record, export};

#[derive(Default)]
struct Amplify;

impl Operator for Amplify {
    fn describe() -> Description {
        Description::new("amplify").input("rows").output("rows", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let text = std::str::from_utf8(row.value).map_err(|error| error.to_string())?;
        let (factor, rest) = text.split_once(' ').unwrap_or((text, ""));
        let factor: u32 = factor.parse().map_err(|_| format!("`{factor}` is no number"))?;
        (0..factor).for_each(|_| out.emit(row.time, row.key, rest));
        Ok(())
    }
}

export!(Amplify);
