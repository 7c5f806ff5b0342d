//! What a process has: clocks, random numbers, an environment, an end.

use super::asked::asked;
use super::bindings::cli::{environment, exit, terminal_input, terminal_output, terminal_stderr, terminal_stdin, terminal_stdout};
use super::bindings::clocks::{monotonic_clock, wall_clock};
use super::bindings::random::{insecure, insecure_seed, random};
use super::resources::Pollable;
use super::state::{Ended, RANDOM_BYTES_MAX};
use crate::wasm::guest::GuestState;
use terminal_input::TerminalInput;
use terminal_output::TerminalOutput;
use wall_clock::Datetime;
use wasmtime::Result;
use wasmtime::component::Resource;

/// Nanoseconds by which the monotonic clock goes on at each look.
const LOOK_NS: u64 = 1_000;
const MS_NS: u64 = 1_000_000;

impl GuestState {
    fn now_ms(&self) -> u64 {
        // Some languages take a clock at 0 for a broken one; the first calls of an instance have no time.
        u64::try_from(self.call.now_ms).unwrap_or(0).max(1)
    }

    /// The monotonic clock, without a look at it.
    pub(super) fn instant_ns(&self) -> u64 {
        self.now_ms().saturating_mul(MS_NS).max(self.call.instant_ns).max(self.wasi.next_ns)
    }

    /// Sets the monotonic clock forward to an instant.
    pub(super) fn sleep_until_ns(&mut self, instant_ns: u64) {
        self.wasi.next_ns = instant_ns.max(self.instant_ns());
    }

    fn random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        let wanted = usize::try_from(len).ok().filter(|_| len <= RANDOM_BYTES_MAX).ok_or(Ended::Random(len))?;
        let mut bytes = Vec::with_capacity(wanted.next_multiple_of(8));
        while bytes.len() < wanted {
            bytes.extend_from_slice(&self.draw().to_le_bytes());
        }
        bytes.truncate(wanted);
        Ok(bytes)
    }
}

impl monotonic_clock::Host for GuestState {
    asked! {
        resolution(self) -> u64 = Ok(LOOK_NS);
        now(self) -> u64 = {
            let now = self.instant_ns();
            self.wasi.next_ns = now.saturating_add(LOOK_NS);
            Ok(now)
        };
        subscribe_instant(self, when: u64) -> Resource<Pollable> = self.wasi.push(Pollable::At(when));
        subscribe_duration(self, when: u64) -> Resource<Pollable> = {
            let at = self.instant_ns().saturating_add(when);
            self.wasi.push(Pollable::At(at))
        };
    }
}

impl wall_clock::Host for GuestState {
    asked! {
        resolution(self) -> Datetime = Ok(Datetime { seconds: 0, nanoseconds: 1_000_000 });
        now(self) -> Datetime = {
            let ms = self.now_ms();
            let nanoseconds = u32::try_from(ms % 1_000 * MS_NS).expect("it is below 10^9");
            Ok(Datetime { seconds: ms / 1_000, nanoseconds })
        };
    }
}

impl random::Host for GuestState {
    asked! {
        get_random_bytes(self, len: u64) -> Vec<u8> = self.random_bytes(len);
        get_random_u64(self) -> u64 = Ok(self.draw());
    }
}

impl insecure::Host for GuestState {
    asked! {
        get_insecure_random_bytes(self, len: u64) -> Vec<u8> = self.random_bytes(len);
        get_insecure_random_u64(self) -> u64 = Ok(self.draw());
    }
}

impl insecure_seed::Host for GuestState {
    asked! {
        /// Not of the call: languages ask once, when they make their first hash table, and a restored instance may do so in another call.
        /// Its tables would have another order then.
        insecure_seed(self) -> (u64, u64) = Ok(self.table_seed());
    }
}

impl environment::Host for GuestState {
    asked! {
        get_arguments(self) -> Vec<String> = Ok(Vec::new());
        initial_cwd(self) -> Option<String> = Ok(None);
        get_environment(self) -> Vec<(String, String)> = Ok(self.wasi.grants.environment.clone());
    }
}

impl exit::Host for GuestState {
    asked! {
        exit(self, status: Result<(), ()>) -> () = Err(Ended::Exit { success: status.is_ok() }.into());
        exit_with_code(self, status_code: u8) -> () = Err(Ended::Code(status_code).into());
    }
}

// No terminal is ever given.
impl terminal_input::Host for GuestState {}

impl terminal_input::HostTerminalInput for GuestState {
    asked! { drop(self, _: Resource<TerminalInput>) -> () = Ok(()); }
}

impl terminal_output::Host for GuestState {}

impl terminal_output::HostTerminalOutput for GuestState {
    asked! { drop(self, _: Resource<TerminalOutput>) -> () = Ok(()); }
}

impl terminal_stdin::Host for GuestState {
    asked! { get_terminal_stdin(self) -> Option<Resource<TerminalInput>> = Ok(None); }
}

impl terminal_stdout::Host for GuestState {
    asked! { get_terminal_stdout(self) -> Option<Resource<TerminalOutput>> = Ok(None); }
}

impl terminal_stderr::Host for GuestState {
    asked! { get_terminal_stderr(self) -> Option<Resource<TerminalOutput>> = Ok(None); }
}
