//! What operators may use beside memory, time and output: the tables `[operator.limits]` and `[limits]`, from text to plan.
//!
//! The defaults let through what any tool chain makes.

use super::limits;
use super::problem::Problems;
use super::quantity::show_size;
use super::table::{Given, Reader, Section, below};

/// The limits of one instance of an operator, beside memory, time of a call and bytes of a piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorLimits {
    /// Elements of each table of its component.
    pub table_elements_max: u32,
    /// Core instances that its component may consist of.
    pub core_instances_max: u32,
    /// Bytes that one call may return, all pieces together.
    pub call_output_bytes_max: u64,
    /// Bytes of one snapshot.
    pub snapshot_bytes_max: u64,
    /// Calls of its host that one call may make.
    pub host_calls_max: u32,
    /// Lines that one call may log.
    pub log_lines_per_call_max: u32,
    /// Lines that an instance may log in a second.
    pub log_lines_per_second_max: u32,
}

/// The limits that hold for all guests of a job alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Stack of a guest.
    pub stack_bytes_max: u64,
}

/// `[operator.limits]` as it was written.
#[derive(Debug, Default)]
pub(super) struct DraftOperatorLimits {
    table_elements: Given<i64>,
    core_instances: Given<i64>,
    call_output: Given<String>,
    snapshot: Given<String>,
    host_calls: Given<i64>,
    log_lines: Given<i64>,
    log_lines_per_second: Given<i64>,
}

/// `[limits]` as it was written.
#[derive(Debug, Default)]
pub(super) struct DraftJobLimits {
    stack: Given<String>,
}

pub(super) fn read_operator_limits(section: &mut Section<'_>, reader: &mut Reader<'_>) -> DraftOperatorLimits {
    let table = section.table(reader, "limits", "the `limits` of an operator", "{ host-calls = 1000000 }");
    let given = below(table, reader, |section, reader| DraftOperatorLimits {
        table_elements: section.integer(reader, "table-elements", "65536"),
        core_instances: section.integer(reader, "core-instances", "64"),
        call_output: section.text(reader, "call-output", "\"4GiB\""),
        snapshot: section.text(reader, "snapshot", "\"4GiB\""),
        host_calls: section.integer(reader, "host-calls", "1000000"),
        log_lines: section.integer(reader, "log-lines", "1000"),
        log_lines_per_second: section.integer(reader, "log-lines-per-second", "1000"),
    });
    if let Given::Is(limits) = given { limits.value } else { DraftOperatorLimits::default() }
}

pub(super) fn read_job_limits(root: &mut Section<'_>, reader: &mut Reader<'_>) -> DraftJobLimits {
    let table = root.table(reader, "limits", "`limits`", "{ stack = \"512KiB\" }");
    let given = below(table, reader, |section, reader| DraftJobLimits { stack: section.text(reader, "stack", "\"512KiB\"") });
    if let Given::Is(limits) = given { limits.value } else { DraftJobLimits::default() }
}

pub(super) fn check_operator_limits(draft: &DraftOperatorLimits, problems: &mut Problems<'_>) -> OperatorLimits {
    OperatorLimits {
        table_elements_max: limits::TABLE_ELEMENTS.take(&draft.table_elements, problems),
        core_instances_max: limits::CORE_INSTANCES.take(&draft.core_instances, problems),
        call_output_bytes_max: limits::CALL_OUTPUT.take(&draft.call_output, problems).0,
        snapshot_bytes_max: limits::SNAPSHOT.take(&draft.snapshot, problems).0,
        host_calls_max: limits::HOST_CALLS.take(&draft.host_calls, problems),
        log_lines_per_call_max: limits::LOG_LINES.take(&draft.log_lines, problems),
        log_lines_per_second_max: limits::LOG_LINES_PER_SECOND.take(&draft.log_lines_per_second, problems),
    }
}

pub(super) fn check_job_limits(draft: &DraftJobLimits, problems: &mut Problems<'_>) -> JobLimits {
    JobLimits { stack_bytes_max: limits::STACK.take(&draft.stack, problems).0 }
}

impl Default for OperatorLimits {
    fn default() -> Self {
        Self {
            table_elements_max: limits::TABLE_ELEMENTS.default,
            core_instances_max: limits::CORE_INSTANCES.default,
            call_output_bytes_max: limits::CALL_OUTPUT.default.0,
            snapshot_bytes_max: limits::SNAPSHOT.default.0,
            host_calls_max: limits::HOST_CALLS.default,
            log_lines_per_call_max: limits::LOG_LINES.default,
            log_lines_per_second_max: limits::LOG_LINES_PER_SECOND.default,
        }
    }
}

impl Default for JobLimits {
    fn default() -> Self {
        Self { stack_bytes_max: limits::STACK.default.0 }
    }
}

impl OperatorLimits {
    /// The limits that differ from their defaults, for the picture of a plan.
    pub(super) fn shown(&self) -> Vec<String> {
        let usual = Self::default();
        let rows = [
            (self.table_elements_max != usual.table_elements_max, format!("{} elements a table", self.table_elements_max)),
            (self.core_instances_max != usual.core_instances_max, format!("{} core instances", self.core_instances_max)),
            (
                self.call_output_bytes_max != usual.call_output_bytes_max,
                format!("{} of output a call", show_size(self.call_output_bytes_max)),
            ),
            (self.snapshot_bytes_max != usual.snapshot_bytes_max, format!("snapshots of {}", show_size(self.snapshot_bytes_max))),
            (self.host_calls_max != usual.host_calls_max, format!("{} calls of the host a call", self.host_calls_max)),
            (self.log_lines_per_call_max != usual.log_lines_per_call_max, format!("{} lines a call", self.log_lines_per_call_max)),
            (self.log_lines_per_second_max != usual.log_lines_per_second_max, format!("{} lines a second", self.log_lines_per_second_max)),
        ];
        rows.into_iter().filter_map(|(differs, text)| differs.then_some(text)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_shows_what_was_set_and_nothing_else() {
        assert!(OperatorLimits::default().shown().is_empty());
        let limits = OperatorLimits { snapshot_bytes_max: 1 << 20, host_calls_max: 7, ..OperatorLimits::default() };
        assert_eq!(limits.shown(), ["snapshots of 1MiB", "7 calls of the host a call"]);
    }
}
