//! Wasm instances as guests of the operator's driver.

use crate::wasm::{self, Call, GuestError, Instance, Reading};
use reprise_core::cells::Chunk;
use reprise_core::codec::snapshot::SnapshotScope;
use reprise_core::operator::{CallInput, CrashDump, Guest, GuestFault, LoggedCall, OperatorFailure, Outcome};

/// A crash dump of a Wasm instance.
pub type GuestDump = CrashDump<Call, GuestError>;
/// A call of a Wasm instance that succeeded.
pub type GuestCall = LoggedCall<Call>;
/// Why an instance of an operator ends its run.
pub(super) type GuestFailure = OperatorFailure<Call, GuestError>;

impl GuestFault for GuestError {
    fn missing() -> Self {
        Self::missing()
    }

    fn call(&self) -> &str {
        self.call
    }

    fn kind(&self) -> &'static str {
        self.fault.kind()
    }

    fn setting(&self) -> Option<&'static str> {
        self.fault.setting()
    }

    fn backtrace(&self) -> &[String] {
        &self.backtrace
    }

    fn log_tail(&self) -> &[String] {
        &self.log_tail
    }
}

/// The cells of a snapshot of this scope, in the words of the contract.
pub(super) fn scope(scope: SnapshotScope) -> wasm::Scope {
    match scope {
        SnapshotScope::Full => wasm::Scope::Full,
        SnapshotScope::Delta => wasm::Scope::Changes,
    }
}

impl Guest for Instance {
    type Call = Call;
    type Fault = GuestError;
    type Reading = Reading;

    fn call(&mut self, input: &CallInput, call: Call) -> Result<Outcome, GuestError> {
        match input {
            CallInput::Rows { input, rows } => self.process(*input, rows, call),
            CallInput::Watermark(watermark) => self.advance(*watermark, call).map(|outputs| Outcome { outputs, rejected: Vec::new() }),
        }
    }

    fn repeat(&mut self, input: &CallInput, call: Call) -> Result<Outcome, GuestError> {
        self.set_repeating(true);
        let outcome = self.call(input, call);
        self.set_repeating(false);
        let outcome = outcome?;
        drop(self.take_log());
        Ok(outcome)
    }

    fn begin_snapshot(&mut self, scope_wanted: SnapshotScope, part_bytes_max: u32) -> Reading {
        Self::begin_snapshot(self, scope(scope_wanted), part_bytes_max)
    }

    fn read_on(&mut self, reading: &mut Reading, pauses: &dyn Fn() -> bool, take: &mut dyn FnMut(Chunk)) -> Result<bool, GuestError> {
        Self::read_on(self, reading, pauses, take)
    }

    fn circumstances(&self) -> Call {
        Self::circumstances(self)
    }

    fn instant_ns(&self) -> u64 {
        Self::instant_ns(self)
    }
}
