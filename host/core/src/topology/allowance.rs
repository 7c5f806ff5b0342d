//! What operators may use beside memory, time and output: the tables `[operator.limits]` and `[limits]`, from text to plan.
//!
//! The defaults let through what any tool chain makes.

use super::limits;
use super::quantity::show_size;
use super::table::{Reader, Section, below_or_empty};

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

pub(super) fn read_operator_limits(section: &mut Section<'_>, reader: &mut Reader<'_>) -> OperatorLimits {
    let table = section.table(reader, "limits", "the `limits` of an operator", "{ host-calls = 1000000 }");
    below_or_empty(table, reader, |section, reader| OperatorLimits {
        table_elements_max: limits::TABLE_ELEMENTS.read(section, reader),
        core_instances_max: limits::CORE_INSTANCES.read(section, reader),
        call_output_bytes_max: limits::CALL_OUTPUT.read(section, reader),
        snapshot_bytes_max: limits::SNAPSHOT.read(section, reader),
        host_calls_max: limits::HOST_CALLS.read(section, reader),
        log_lines_per_call_max: limits::LOG_LINES.read(section, reader),
        log_lines_per_second_max: limits::LOG_LINES_PER_SECOND.read(section, reader),
    })
}

pub(super) fn read_job_limits(root: &mut Section<'_>, reader: &mut Reader<'_>) -> JobLimits {
    let table = root.table(reader, "limits", "`limits`", "{ stack = \"512KiB\" }");
    below_or_empty(table, reader, |section, reader| JobLimits { stack_bytes_max: limits::STACK.read(section, reader) })
}

impl Default for OperatorLimits {
    fn default() -> Self {
        Self {
            table_elements_max: limits::TABLE_ELEMENTS.usual(),
            core_instances_max: limits::CORE_INSTANCES.usual(),
            call_output_bytes_max: limits::CALL_OUTPUT.usual(),
            snapshot_bytes_max: limits::SNAPSHOT.usual(),
            host_calls_max: limits::HOST_CALLS.usual(),
            log_lines_per_call_max: limits::LOG_LINES.usual(),
            log_lines_per_second_max: limits::LOG_LINES_PER_SECOND.usual(),
        }
    }
}

impl Default for JobLimits {
    fn default() -> Self {
        Self { stack_bytes_max: limits::STACK.usual() }
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
