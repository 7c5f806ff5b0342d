//! Splits lines into words: the longest runs of ASCII letters. Emits each word as a key, with an empty value, at the time of its line.
//!
//! Config: `lowercase = false` keeps capitals (default: true).

use reprise_guest::{Context, Description, Encoding::Utf8, Operator, Output, Record, export};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Split {
    lowercase: bool,
    #[serde(skip)]
    line: Vec<u8>,
}

impl Default for Split {
    fn default() -> Self {
        Self { lowercase: true, line: Vec::new() }
    }
}

impl Operator for Split {
    fn describe() -> Description {
        Description::new("split").input("lines").output("words", Utf8, Utf8)
    }

    fn open(&mut self, context: &Context) -> Result<(), String> {
        *self = context.config()?;
        Ok(())
    }

    fn record(&mut self, line: Record<'_>, out: &mut Output) -> Result<(), String> {
        self.line.clear();
        self.line.extend_from_slice(line.value);
        if self.lowercase {
            self.line.make_ascii_lowercase();
        }
        for word in self.line.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty()) {
            out.emit(line.time, word, "");
        }
        Ok(())
    }
}

export!(Split);

#[cfg(test)]
mod tests;
