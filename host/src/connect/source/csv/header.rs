//! The first record of a CSV file: names of columns, and where key and time stand.

use super::{CsvScan, Shape};
use crate::connect::ConnectError;
use reprise_core::topology::Field;
use std::collections::HashSet;

impl CsvScan {
    /// Takes the record as the first one of the file.
    pub(super) fn learn(&mut self) -> Result<(), ConnectError> {
        let count = self.ends_len;
        let mut names: Vec<&str> = Vec::new();
        let mut known = HashSet::new();
        if self.settings.header {
            for index in 0..count {
                let name = std::str::from_utf8(self.field(index)).map_err(|_| self.bad_header("is not UTF-8"))?;
                if !known.insert(name) {
                    return Err(self.bad_header(&format!("names column `{}` twice", name.escape_debug())));
                }
                names.push(name);
            }
        }
        let place = |what: &str, field: &Field| match field {
            Field::Index(index) if (*index as usize) < count => Ok(*index as usize),
            Field::Index(index) => Err(self.bad_header(&format!("has {count} columns, but {what} is column {index}, counted from 0"))),
            Field::Column(column) => names
                .iter()
                .position(|name| name == column)
                .ok_or_else(|| self.bad_header(&format!("has no column `{column}` for the {what}; it has `{}`", names.join("`, `")))),
            Field::Pointer(pointer) => Err(self.bad_header(&format!("cannot be searched with the JSON pointer `{pointer}`"))),
        };
        let key = self.settings.key.as_ref().map(|field| place("key", field)).transpose()?;
        let time = self.settings.time.as_ref().map(|time| place("time", &time.field)).transpose()?;
        let prefixes = (0..count).map(|index| match names.get(index) {
            Some(name) => format!("{}{}:", if index == 0 { '{' } else { ',' }, serde_json::Value::from(*name)),
            None => (if index == 0 { "[" } else { "," }).to_owned(),
        });
        self.shape = Some(Shape { prefixes: prefixes.collect(), key, time });
        Ok(())
    }

    pub(super) fn bad_header(&self, what: &str) -> ConnectError {
        let what = format!("the first record of `{}` {what}", self.path.display());
        ConnectError::config(what, "correct the file, or `key`, `time` and `header` of the source")
    }

    pub(super) fn long_header(&self) -> ConnectError {
        self.bad_header(&format!("is longer than `row-max` ({} bytes)", self.settings.row_bytes_max))
    }
}
