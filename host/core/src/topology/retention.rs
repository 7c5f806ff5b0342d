//! The retention of the quarantine and of capsules: the tables `[quarantine]` and `[capsules]`.

use super::limits::{Bytes, Limit};
use super::table::{Reader, Section, below_or_empty};
use std::time::Duration;

/// The retention of the quarantine or of capsules. Whichever limit is reached first holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Age after which they are deleted.
    pub age: Duration,
    /// Bytes of them beyond which the oldest are deleted.
    pub bytes_max: u64,
}

/// Reads the table `key`, such as `quarantine`.
pub(super) fn read(
    root: &mut Section<'_>,
    reader: &mut Reader<'_>,
    (key, title): (&'static str, &'static str),
    (age, bytes): (Limit<Duration>, Limit<Bytes>),
) -> RetentionLimits {
    let table = root.table(reader, key, title, "{ keep = \"720h\" }");
    below_or_empty(table, reader, |section, reader| RetentionLimits {
        age: age.read(section, reader),
        bytes_max: bytes.read(section, reader),
    })
}
