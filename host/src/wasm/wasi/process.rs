//! What a process has: clocks, random numbers, an environment, an end.

use super::bindings::cli::{environment, exit, terminal_input, terminal_output, terminal_stderr, terminal_stdin, terminal_stdout};
use super::bindings::clocks::{monotonic_clock, wall_clock};
use super::bindings::random::{insecure, insecure_seed, random};
use super::fixed::fixed;
use super::resources::Pollable;
use super::state::{Ended, RANDOM_BYTES_MAX};
use crate::wasm::guest::GuestState;
use wasmtime::Result;
use wasmtime::component::Resource;

/// Nanoseconds by which the monotonic clock goes on at each look.
const LOOK_NS: u64 = 1_000;
const MS_NS: u64 = 1_000_000;

impl GuestState {
    fn now_ms(&self) -> u64 {
        // Some languages take a clock at 0 for a broken one; the first calls of an instance have no time.
        u64::try_from(self.time_ms()).unwrap_or(0).max(1)
    }

    /// The monotonic clock, without a look at it.
    pub(super) fn instant_ns(&self) -> u64 {
        self.now_ms().saturating_mul(MS_NS).max(self.instant_min_ns()).max(self.wasi.next_ns)
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
    fixed! { resolution() -> u64 = LOOK_NS; }

    fn now(&mut self) -> Result<u64> {
        self.check_asked()?;
        let now = self.instant_ns();
        self.wasi.next_ns = now.saturating_add(LOOK_NS);
        Ok(now)
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<Pollable>> {
        self.check_asked()?;
        self.wasi.push(Pollable::At(when))
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<Pollable>> {
        self.check_asked()?;
        let at = self.instant_ns().saturating_add(when);
        self.wasi.push(Pollable::At(at))
    }
}

impl wall_clock::Host for GuestState {
    fixed! { resolution() -> wall_clock::Datetime = wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 }; }

    fn now(&mut self) -> Result<wall_clock::Datetime> {
        self.check_asked()?;
        let ms = self.now_ms();
        let nanoseconds = u32::try_from(ms % 1_000 * MS_NS).expect("it is below 10^9");
        Ok(wall_clock::Datetime { seconds: ms / 1_000, nanoseconds })
    }
}

impl random::Host for GuestState {
    fn get_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        self.check_asked()?;
        self.random_bytes(len)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        self.check_asked()?;
        Ok(self.draw())
    }
}

impl insecure::Host for GuestState {
    fn get_insecure_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        self.check_asked()?;
        self.random_bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        self.check_asked()?;
        Ok(self.draw())
    }
}

impl insecure_seed::Host for GuestState {
    /// Not of the call: languages ask once, when they make their first hash table, and a restored instance may do so in another call.
    /// Its tables would have another order then.
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        self.check_asked()?;
        Ok(self.table_seed())
    }
}

impl environment::Host for GuestState {
    fixed! {
        get_arguments() -> Vec<String> = Vec::new();
        initial_cwd() -> Option<String> = None;
    }

    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        self.check_asked()?;
        Ok(self.wasi.grants.environment.clone())
    }
}

impl exit::Host for GuestState {
    fn exit(&mut self, status: Result<(), ()>) -> Result<()> {
        self.check_asked()?;
        Err(Ended::Exit { success: status.is_ok() }.into())
    }

    fn exit_with_code(&mut self, status_code: u8) -> Result<()> {
        self.check_asked()?;
        Err(Ended::Code(status_code).into())
    }
}

// No terminal is ever given.
impl terminal_input::Host for GuestState {}

impl terminal_input::HostTerminalInput for GuestState {
    fixed! { drop(Resource<terminal_input::TerminalInput>) -> () = (); }
}

impl terminal_output::Host for GuestState {}

impl terminal_output::HostTerminalOutput for GuestState {
    fixed! { drop(Resource<terminal_output::TerminalOutput>) -> () = (); }
}

impl terminal_stdin::Host for GuestState {
    fixed! { get_terminal_stdin() -> Option<Resource<terminal_input::TerminalInput>> = None; }
}

impl terminal_stdout::Host for GuestState {
    fixed! { get_terminal_stdout() -> Option<Resource<terminal_output::TerminalOutput>> = None; }
}

impl terminal_stderr::Host for GuestState {
    fixed! { get_terminal_stderr() -> Option<Resource<terminal_output::TerminalOutput>> = None; }
}
