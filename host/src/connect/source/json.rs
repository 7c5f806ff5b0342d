//! Rows of the format `json`: one JSON value a line; the value of the row is the line as it is.
//!
//! Lines of white space alone are no rows. Everything else that is not one JSON value in UTF-8, or lacks its key or time, is rejected.

use super::event_time;
use super::fields::{self, Pointer, scalar};
use super::gather::Gather;
use crate::connect::ConnectError;
use reprise_core::topology::{Field, FileSource, TimeUnit};
use std::borrow::Cow;

/// What to take out of each line.
pub struct JsonRows {
    key: Option<Pointer>,
    time: Option<(Pointer, TimeUnit)>,
}

impl JsonRows {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`ConnectError::Config`] where key or time is no JSON pointer.
    pub fn new(settings: &FileSource) -> Result<Self, ConnectError> {
        let key = settings.key.as_ref().map(|field| parse("key", field)).transpose()?;
        let time = settings.time.as_ref().map(|time| Ok::<_, ConnectError>((parse("time", &time.field)?, time.unit))).transpose()?;
        Ok(Self { key, time })
    }

    /// Takes one line.
    pub fn row(&self, gather: &mut Gather, offset: u64, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let fields = self.fields(line).and_then(|(key, time)| gather.check_time(time).map(|()| (key, time)));
        match fields {
            Ok((key, time)) => gather.push(offset, key.as_bytes(), line, time),
            Err(reason) => gather.reject(offset, line, reason),
        }
    }

    fn fields<'a>(&self, line: &'a [u8]) -> Result<(Cow<'a, str>, Option<i64>), String> {
        let json = std::str::from_utf8(line).map_err(|error| format!("the line is not UTF-8: {error}"))?;
        let pointers = [self.key.as_ref(), self.time.as_ref().map(|(pointer, _)| pointer)];
        let [key, time] = fields::find(pointers, json).map_err(|error| format!("the line is not JSON: {error}"))?;
        let key = match &self.key {
            Some(pointer) => field("key", pointer, key)?,
            None => Cow::Borrowed(""),
        };
        let time = match &self.time {
            Some((pointer, unit)) => {
                let text = field("time", pointer, time)?;
                Some(event_time::parse(&text, *unit).ok_or_else(|| bad_time(&text, *unit))?)
            }
            None => None,
        };
        Ok((key, time))
    }
}

fn field<'a>(what: &str, pointer: &Pointer, raw: Option<&'a str>) -> Result<Cow<'a, str>, String> {
    let raw = raw.ok_or_else(|| format!("there is no {what} at `{}`", pointer.as_str()))?;
    scalar(raw).map_err(|kind| format!("the {what} at `{}` is {kind}", pointer.as_str()))
}

/// Why a text is refused as a time.
pub fn bad_time(text: &str, unit: TimeUnit) -> String {
    /// Characters of the text that the reason quotes.
    const QUOTED_CHARS_MAX: usize = 40;
    let quoted: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    format!("`{}` is not a time in `{}`", quoted.escape_debug(), unit.word())
}

fn parse(what: &str, field: &Field) -> Result<Pointer, ConnectError> {
    let parsed = match field {
        Field::Pointer(text) => Pointer::parse(text),
        Field::Column(_) | Field::Index(_) => None,
    };
    parsed.ok_or_else(|| ConnectError::Config {
        what: format!("`{what}` of a source with format json is not a JSON pointer: {field:?}"),
        help: "write it as `/name` or `/outer/inner`".to_owned(),
    })
}
