//! How long what a job does not need itself is kept: the tables `[quarantine]` and `[capsules]`, from text to plan.

use super::limits::{self, Bytes, Limit};
use super::problem::Problems;
use super::table::{Given, Reader, Section, below};
use std::time::Duration;

/// How much of something is kept. Whichever is reached first holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// For how long.
    pub age: Duration,
    /// How much of it, the newest first.
    pub bytes_max: u64,
}

/// One of the tables as it was written.
#[derive(Debug, Default)]
pub(super) struct DraftKeep {
    keep: Given<String>,
    bytes_max: Given<String>,
}

/// Reads the table `key`, such as `quarantine`.
pub(super) fn read(root: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str, title: &'static str) -> DraftKeep {
    let table = root.table(reader, key, title, "{ keep = \"720h\" }");
    let given = below(table, reader, |section, reader| DraftKeep {
        keep: section.text(reader, "keep", "\"720h\""),
        bytes_max: section.text(reader, "bytes-max", "\"10GiB\""),
    });
    if let Given::Is(keep) = given { keep.value } else { DraftKeep::default() }
}

fn check(draft: &DraftKeep, (age, bytes): (Limit<Duration>, Limit<Bytes>), problems: &mut Problems<'_>) -> Keep {
    Keep { age: age.take(&draft.keep, problems), bytes_max: bytes.take(&draft.bytes_max, problems).0 }
}

pub(super) fn check_quarantine(draft: &DraftKeep, problems: &mut Problems<'_>) -> Keep {
    check(draft, (limits::QUARANTINE_KEEP, limits::QUARANTINE_BYTES), problems)
}

pub(super) fn check_capsules(draft: &DraftKeep, problems: &mut Problems<'_>) -> Keep {
    check(draft, (limits::CAPSULES_KEEP, limits::CAPSULES_BYTES), problems)
}
