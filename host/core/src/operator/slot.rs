//! The slot of a guest: one call in, an outcome or a fault out. It numbers the calls, whichever guest is in it.

use super::call::{CallInput, Outcome};
use super::contract::{Guest, GuestFault, InstanceFactory};
use super::environment::{CallOf, Environment, FaultOf};
use std::time::Duration;

/// The slot of a guest.
pub(super) struct GuestSlot<E: Environment> {
    /// `None` while a replacement is being made.
    guest: Option<E::Guest>,
    /// The last call, whatever came of it.
    last_call: CallOf<E>,
    /// Number of the last call that succeeded.
    calls: u64,
    /// How far the monotonic clock of any guest here has come: it never goes back, whichever takes over.
    instant_ns: u64,
}

impl<E: Environment> GuestSlot<E> {
    /// A slot with a guest that was opened.
    pub fn new(env: &E, guest: E::Guest) -> Self {
        let open = env.factory().open_call();
        Self { guest: Some(guest), last_call: open, calls: env.factory().number(open), instant_ns: 0 }
    }

    /// False while a replacement is being made.
    pub fn is_taken(&self) -> bool {
        self.guest.is_some()
    }

    /// The guest, to read a snapshot from.
    pub fn guest_mut(&mut self) -> Option<&mut E::Guest> {
        self.guest.as_mut()
    }

    /// The last call, whatever came of it.
    pub fn last_call(&self) -> CallOf<E> {
        self.last_call
    }

    /// Number and time of the call that the guest is in, or was in last.
    pub fn circumstances(&self) -> CallOf<E> {
        self.guest.as_ref().map_or(self.last_call, Guest::circumstances)
    }

    /// Number and time of the next call. One that is made again after a failure has the number of the first time.
    pub fn next_call(&self, env: &E) -> CallOf<E> {
        env.call(self.calls + 1, self.instant_ns)
    }

    fn note_instant(&mut self) {
        self.instant_ns = self.guest.as_ref().map_or(0, Guest::instant_ns).max(self.instant_ns);
    }

    /// Makes a call. How long it took comes with the outcome.
    pub fn call(&mut self, env: &E, input: &CallInput) -> Result<(Outcome, CallOf<E>, Duration), FaultOf<E>> {
        self.note_instant();
        let call = self.next_call(env);
        self.last_call = call;
        let Some(guest) = &mut self.guest else { return Err(GuestFault::missing()) };
        let started = env.now();
        let outcome = guest.call(input, call);
        let busy = env.now().saturating_sub(started);
        env.after_call(guest);
        let outcome = outcome?;
        self.calls = env.factory().number(call);
        Ok((outcome, call, busy))
    }

    /// Takes a guest that failed out.
    pub fn take_dead(&mut self) -> Option<E::Guest> {
        self.note_instant();
        self.guest.take()
    }

    /// Puts a replacement in.
    pub fn put(&mut self, guest: E::Guest) {
        self.guest = Some(guest);
    }
}
