//! The retention of the quarantine and of capsules: the tables `[quarantine]` and `[capsules]`, from text to plan.

use super::limits::{self, Bytes, Limit};
use super::problem::Problems;
use super::table::{Given, Reader, Section, below};
use std::time::Duration;

/// The retention of the quarantine or of capsules. Whichever limit is reached first holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionLimits {
    /// Age after which they are deleted.
    pub age: Duration,
    /// Bytes of them beyond which the oldest are deleted.
    pub bytes_max: u64,
}

/// The retention in the draft.
#[derive(Debug, Default)]
pub(super) struct DraftRetention {
    keep: Given<String>,
    bytes_max: Given<String>,
}

/// Reads the table `key`, such as `quarantine`.
pub(super) fn read(root: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str, title: &'static str) -> DraftRetention {
    let table = root.table(reader, key, title, "{ keep = \"720h\" }");
    let given = below(table, reader, |section, reader| DraftRetention {
        keep: section.text(reader, "keep", "\"720h\""),
        bytes_max: section.text(reader, "bytes-max", "\"10GiB\""),
    });
    if let Given::Is(keep) = given { keep.value } else { DraftRetention::default() }
}

fn check(draft: &DraftRetention, (age, bytes): (Limit<Duration>, Limit<Bytes>), problems: &mut Problems<'_>) -> RetentionLimits {
    RetentionLimits { age: age.take(&draft.keep, problems), bytes_max: bytes.take(&draft.bytes_max, problems).0 }
}

pub(super) fn check_quarantine(draft: &DraftRetention, problems: &mut Problems<'_>) -> RetentionLimits {
    check(draft, (limits::QUARANTINE_KEEP, limits::QUARANTINE_BYTES), problems)
}

pub(super) fn check_capsules(draft: &DraftRetention, problems: &mut Problems<'_>) -> RetentionLimits {
    check(draft, (limits::CAPSULES_KEEP, limits::CAPSULES_BYTES), problems)
}
