//! What an instance logs: how many lines a call and a second keep, and how many are held until they are taken.

use super::limits::{Limits, TEXT_BYTES_MAX, cut};
use std::collections::VecDeque;

/// Log lines that an instance holds until they are taken; the oldest go first.
pub const LOG_LINES_MAX: usize = 2000;
/// Log lines that a [`GuestError`](super::GuestError) carries.
pub const LOG_TAIL_LINES: usize = 16;

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The finest.
    Trace,
    /// For the author.
    Debug,
    /// For the operator of the pipeline.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// A line that an instance logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The severity of the line.
    pub level: Level,
    /// The text, cut to 4 KiB. It may hold anything: it is made plain where it is shown.
    pub message: String,
    /// Number of the call that logged it.
    pub call: u64,
}

/// The log of one instance. Times are those of its calls.
#[derive(Default)]
pub(super) struct GuestLog {
    lines: VecDeque<LogLine>,
    tail: VecDeque<String>,
    /// Number of the call that is under way.
    call: u64,
    lines_in_call: u32,
    lines_per_call_max: u32,
    /// The second in which the last call was made, and lines that were logged in it.
    second: i64,
    lines_in_second: u32,
    lines_per_second_max: u32,
    /// Lines that were dropped and that no line has told of yet.
    dropped: u64,
    /// The second in which a line told of dropped ones.
    told_in: Option<i64>,
}

impl GuestLog {
    pub(super) fn new(limits: &Limits) -> Self {
        let (lines_per_call_max, lines_per_second_max) = (limits.log_lines_per_call_max, limits.log_lines_per_second_max);
        Self { lines_per_call_max, lines_per_second_max, ..Self::default() }
    }

    /// Begins a call.
    pub(super) fn begin(&mut self, call: u64, now_ms: i64) {
        (self.call, self.lines_in_call) = (call, 0);
        let second = now_ms.div_euclid(1000);
        if self.second != second {
            (self.second, self.lines_in_second) = (second, 0);
        }
    }

    /// Ends a call: says how many lines were dropped. A guest that drops some in every call is told of once a second, so that what is told is
    /// no flood itself.
    pub(super) fn end(&mut self) {
        if self.dropped == 0 || (self.lines_in_second >= self.lines_per_second_max && self.told_in == Some(self.second)) {
            return;
        }
        let dropped = std::mem::take(&mut self.dropped);
        self.told_in = Some(self.second);
        self.lines_in_second = self.lines_in_second.saturating_add(1);
        let (call, second) = (self.lines_per_call_max, self.lines_per_second_max);
        self.push(Level::Warn, format!("{dropped} more lines were dropped: {call} a call and {second} a second are kept"));
    }

    /// Adds a line of the guest. False where it was dropped, since it is over the limit of the call or the second.
    pub(super) fn write(&mut self, level: Level, message: &str) -> bool {
        if self.lines_in_call >= self.lines_per_call_max || self.lines_in_second >= self.lines_per_second_max {
            self.dropped += 1;
            return false;
        }
        self.lines_in_call += 1;
        self.lines_in_second += 1;
        self.push(level, cut(message, TEXT_BYTES_MAX));
        true
    }

    /// Adds a line, under no limit but that of all lines: the oldest goes.
    pub(super) fn push(&mut self, level: Level, message: String) {
        if self.tail.len() == LOG_TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(message.clone());
        if self.lines.len() == LOG_LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(LogLine { level, message, call: self.call });
    }

    /// The last [`LOG_TAIL_LINES`], oldest first.
    pub(super) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }

    /// The lines since the last time, oldest first.
    pub(super) fn take(&mut self) -> Vec<LogLine> {
        self.lines.drain(..).collect()
    }
}
