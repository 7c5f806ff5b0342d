//! What can go wrong in a call of a guest, told apart: a trap, a limit, a returned error, a broken contract, no instance at all.
//!
//! A [`GuestError`] is never our own fault and never storage's. Texts that came from the guest are cut, and made plain where an error is
//! displayed.

use super::deadline::Elapsed;
use super::guest::{GuestState, TooManyHostCalls};
use super::limits::{RefusedGrowth, TEXT_BYTES_MAX, cut};
use super::wasi::Ended;
use reprise_core::plain::plain;
use std::fmt;
use std::time::Duration;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// Frames of a guest's backtrace that are kept.
pub const FRAMES_MAX: usize = 32;
/// The reason why a guest got no memory that it may have.
const NO_MEMORY: &str = "the host has no memory or address space for it, though `memory` of the operator allows it; look for `ulimit -v` and limits of a container";
/// Bytes of a function's name that are kept.
const FRAME_BYTES_MAX: usize = 200;

/// A call of a guest that did not succeed. Nothing of the call stands, and the instance is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestError {
    /// The call that failed: `instantiate`, `describe`, `open`, `process`, `advance`, `resume`, `snapshot` or `restore`.
    pub call: &'static str,
    /// The fault of the guest.
    pub fault: Fault,
    /// Names of the guest's functions at the trap, innermost first; at most [`FRAMES_MAX`].
    pub backtrace: Vec<String>,
    /// The last lines that the instance logged, oldest first; at most [`LOG_TAIL_LINES`](super::LOG_TAIL_LINES).
    pub log_tail: Vec<String>,
    /// The progress of a call that missed its deadline.
    pub reached: Option<Reached>,
}

/// The progress of a call until it was ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Time that it took, all pieces of its output included.
    pub elapsed: Elapsed,
    /// Pieces of output that were handed out.
    pub pieces: u32,
    /// Bytes of rows in them.
    pub bytes: u64,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Elapsed { wall, processor } = self.elapsed;
        write!(f, "after {} ms of a processor, {} ms in all", processor.as_millis(), wall.as_millis())?;
        match self.pieces {
            0 => Ok(()),
            1 => write!(f, ", with 1 piece of output of {} bytes", self.bytes),
            pieces => write!(f, ", with {pieces} pieces of output of {} bytes", self.bytes),
        }
    }
}

/// A fault of a guest, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The guest trapped: why.
    Trap(String),
    /// The call took longer than it may.
    Deadline {
        /// The limit.
        limit: Duration,
    },
    /// The guest was refused memory and trapped.
    Memory {
        /// The limit, in bytes.
        limit: u64,
        /// What it would have had after growing, in bytes.
        asked: u64,
    },
    /// The guest was refused elements of a table and trapped.
    Table {
        /// The limit, in elements.
        limit: u64,
        /// What the table would have had after growing.
        asked: u64,
    },
    /// The guest asked its host for more than one call may.
    HostCalls {
        /// The limit, in calls.
        limit: u64,
    },
    /// The guest overflowed its stack.
    Stack,
    /// The guest returned an error: its text.
    Returned(String),
    /// What the guest returned breaks the contract: how.
    Lie(String),
    /// There is no live instance to call: why.
    Instance(String),
}

impl Fault {
    /// The setting that bounds what ran out, where there is one: as a topology writes it.
    #[must_use]
    pub fn setting(&self) -> Option<&'static str> {
        match self {
            Self::Deadline { .. } => Some("deadline"),
            Self::Memory { .. } => Some("memory"),
            Self::Table { .. } => Some("limits.table-elements"),
            Self::HostCalls { .. } => Some("limits.host-calls"),
            Self::Stack => Some("limits.stack"),
            Self::Trap(_) | Self::Returned(_) | Self::Lie(_) | Self::Instance(_) => None,
        }
    }

    /// The kind of the fault in one word, for metrics and logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Trap(_) => "trap",
            Self::Deadline { .. } => "deadline",
            Self::Memory { .. } => "memory",
            Self::Table { .. } => "table",
            Self::HostCalls { .. } => "host-calls",
            Self::Stack => "stack",
            Self::Returned(_) => "returned",
            Self::Lie(_) => "lie",
            Self::Instance(_) => "instance",
        }
    }
}

impl fmt::Display for GuestError {
    /// Writes one line, whatever a guest has to say; where a limit was reached, with the setting that is the limit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.call;
        match &self.fault {
            Fault::Trap(why) => write!(f, "trapped in `{call}`: {}", plain(why)),
            Fault::Deadline { limit } => {
                write!(f, "stopped in `{call}`: over its deadline of {limit:?} (`deadline` of the operator)")?;
                self.reached.map_or(Ok(()), |reached| write!(f, ", {reached}"))
            }
            Fault::Memory { limit, asked } => {
                write!(f, "out of memory in `{call}`: asked for {asked} bytes, the limit is {limit} (`memory` of the operator)")
            }
            Fault::Table { limit, asked } => {
                write!(
                    f,
                    "out of table elements in `{call}`: asked for {asked}, the limit is {limit} (`limits.table-elements` of the operator)"
                )
            }
            Fault::HostCalls { limit } => {
                write!(f, "stopped in `{call}`: over its limit of {limit} calls of the host (`limits.host-calls` of the operator)")
            }
            Fault::Stack => write!(f, "trapped in `{call}`: stack overflow (`stack` in `limits` of the topology)"),
            Fault::Returned(text) => write!(f, "`{call}` returned an error: {}", plain(text)),
            Fault::Lie(how) => write!(f, "`{call}` broke the contract: {}", plain(how)),
            Fault::Instance(why) if call == "instantiate" => write!(f, "cannot be instantiated: {}", plain(why)),
            Fault::Instance(why) => write!(f, "`{call}` was not called: {}", plain(why)),
        }
    }
}

impl std::error::Error for GuestError {}

impl GuestError {
    /// An error from what the guest said, not from how it ended.
    pub(super) fn said(call: &'static str, fault: Fault, guest: &GuestState) -> Self {
        Self { call, fault, backtrace: Vec::new(), log_tail: guest.log.tail(), reached: None }
    }

    /// A call for which there is no instance.
    pub(crate) fn missing() -> Self {
        Self::early("process", "there is no instance")
    }

    /// An error before any guest ran.
    pub(super) fn early(call: &'static str, why: impl Into<String>) -> Self {
        Self { call, fault: Fault::Instance(why.into()), backtrace: Vec::new(), log_tail: Vec::new(), reached: None }
    }

    /// Tells why wasmtime ended a call. `deadline` and `handover_bytes_max` are the limits that held for it.
    pub(super) fn ended(
        call: &'static str,
        error: &wasmtime::Error,
        guest: &GuestState,
        deadline: Duration,
        handover_bytes_max: usize,
    ) -> Self {
        let starting = call == "instantiate";
        let refused = guest.meter.refused.map(|refused| match refused {
            RefusedGrowth::Memory(asked) => Fault::Memory { limit: guest.meter.memory_bytes_max, asked },
            RefusedGrowth::Table(asked) => Fault::Table { limit: guest.meter.table_elements_max as u64, asked },
            RefusedGrowth::Host => Fault::Trap(NO_MEMORY.to_owned()),
        });
        let is_output = matches!(call, "process" | "advance" | "resume");
        let setting = if is_output { " (`output-max` of the operator, and what goes with it)" } else { "" };
        let fault = match (fault_of(error, deadline, handover_bytes_max, setting), refused) {
            (Fault::Trap(_), Some(refused)) => refused,
            // The host found no room for what it passes, or the first memory is too large: no trap, but the same fault.
            (Fault::Lie(how), Some(refused)) if starting || how.contains("realloc") => refused,
            (Fault::Lie(why), _) if starting => Fault::Instance(why),
            (fault, _) => fault,
        };
        Self { call, fault, backtrace: frames(error), log_tail: guest.log.tail(), reached: None }
    }
}

/// `setting`: which one bounds what a call hands over.
fn fault_of(error: &wasmtime::Error, deadline: Duration, handover_bytes_max: usize, setting: &str) -> Fault {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return match trap {
            Trap::Interrupt => Fault::Deadline { limit: deadline },
            Trap::StackOverflow => Fault::Stack,
            Trap::UnreachableCodeReached => Fault::Trap("unreachable executed".into()),
            Trap::StringOutOfBounds | Trap::ListOutOfBounds | Trap::InvalidDiscriminant | Trap::UnalignedPointer | Trap::InvalidChar => {
                Fault::Lie(trap_text(*trap))
            }
            trap => Fault::Trap(trap_text(*trap)),
        };
    }
    if let Some(TooManyHostCalls { limit }) = error.downcast_ref() {
        return Fault::HostCalls { limit: *limit };
    }
    if let Some(ended) = error.downcast_ref::<Ended>() {
        return Fault::Trap(ended.to_string());
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Instance(chain(error));
    }
    let why = chain(error);
    // wasmtime keeps the type of this error to itself; a test holds its wording.
    if why.contains("fuel allocated for hostcalls") {
        return Fault::Lie(format!("output over the limit of {handover_bytes_max} bytes{setting}"));
    }
    Fault::Lie(why)
}

fn trap_text(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
}

/// The causes of an error in one line, without the backtrace that wasmtime puts on top.
pub(super) fn chain(error: &wasmtime::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !text.starts_with("error while executing at wasm backtrace") && texts.last() != Some(&text) {
            texts.push(text);
        }
    }
    cut(&texts.join(": "), TEXT_BYTES_MAX)
}

fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => cut(name, FRAME_BYTES_MAX),
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().take(FRAMES_MAX).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_call_and_the_cause() {
        let error = |call, fault| GuestError { call, fault, backtrace: Vec::new(), log_tail: Vec::new(), reached: None };
        let show = |call, fault| error(call, fault).to_string();
        let elapsed = Elapsed { wall: Duration::from_millis(70), processor: Duration::from_micros(51_900) };
        let missed = |pieces, bytes| {
            let reached = Some(Reached { elapsed, pieces, bytes });
            GuestError { reached, ..error("resume", Fault::Deadline { limit: Duration::from_millis(50) }) }.to_string()
        };
        assert_eq!(
            missed(0, 0),
            "stopped in `resume`: over its deadline of 50ms (`deadline` of the operator), after 51 ms of a processor, 70 ms in all"
        );
        assert!(missed(2, 99).ends_with("70 ms in all, with 2 pieces of output of 99 bytes"));
        assert_eq!(show("process", Fault::Trap("unreachable executed".into())), "trapped in `process`: unreachable executed");
        assert_eq!(show("open", Fault::Returned("no `n`".into())), "`open` returned an error: no `n`");
        assert_eq!(
            show("advance", Fault::Deadline { limit: Duration::from_millis(50) }),
            "stopped in `advance`: over its deadline of 50ms (`deadline` of the operator)"
        );
        assert_eq!(
            show("process", Fault::Memory { limit: 10, asked: 11 }),
            "out of memory in `process`: asked for 11 bytes, the limit is 10 (`memory` of the operator)"
        );
        assert_eq!(
            show("process", Fault::Table { limit: 10, asked: 11 }),
            "out of table elements in `process`: asked for 11, the limit is 10 (`limits.table-elements` of the operator)"
        );
        assert_eq!(
            show("process", Fault::HostCalls { limit: 10 }),
            "stopped in `process`: over its limit of 10 calls of the host (`limits.host-calls` of the operator)"
        );
        assert_eq!(show("open", Fault::Returned("a\nerror: b\u{1b}".into())), "`open` returned an error: a\\u{a}error: b\\u{1b}");
        assert_eq!(show("instantiate", Fault::Instance("pool is full".into())), "cannot be instantiated: pool is full");
        assert_eq!(show("process", Fault::Instance("it is dead".into())), "`process` was not called: it is dead");
    }
}
