//! What crosses from a guest to its host, put to the test with arbitrary bytes: one function, [`check`], which the fuzz target of
//! `tests/fuzz` and the ordinary tests call.
//!
//! | first byte | the other bytes are | file |
//! |---|---|---|
//! | `b` | columns of a batch | `columns` |
//! | `c` | columns of a chunk of state, and a snapshot made of it | `columns` |
//! | `n` | names and counts of a description | `columns` |
//! | `f` | a frame of the engine | `columns` |
//! | `d` | the memory of a guest that is asked to describe itself | `guest`, `session` |
//! | any other | the memory of a guest that is called several times, and which calls | `guest`, `session` |
//!
//! Held to account:
//! - The host does not panic.
//! - What it accepts obeys the contract, judged by a second, plain reading of it (`law`); what it refuses breaks it.
//! - An instance that failed is dead: no call reaches it, and a fresh one in its place is well.
//! - The host holds at most [`HOST_BYTES_MAX`] for one input; the fuzz target measures that.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]

mod bytes;
mod columns;
mod guest;
mod law;
mod session;

use bytes::Bytes;
use session::Sessions;
use std::sync::LazyLock;

/// Bytes that the host may hold at a time for one input, beside the memory of guests. Nearly all of it is the largest cell that a
/// snapshot may have ([`CELL_BYTES_MAX`](reprise::wasm::CELL_BYTES_MAX)).
pub const HOST_BYTES_MAX: usize = 128 << 20;

static SESSIONS: LazyLock<Sessions> = LazyLock::new(Sessions::new);

/// Puts one input to the test.
///
/// # Panics
/// If the host breaks a promise.
pub fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let mut bytes = Bytes::new(rest);
    match kind {
        b'b' => columns::batch(&mut bytes),
        b'c' => columns::chunk(&mut bytes),
        b'n' => columns::description(&mut bytes),
        b'f' => columns::frame(rest),
        b'd' => SESSIONS.describe(rest),
        _ => SESSIONS.call(&mut bytes),
    }
}

/// Makes ready what all inputs share, so that the first one is no dearer than the others.
pub fn prepare() {
    LazyLock::force(&SESSIONS);
}

/// Inputs to begin with: an honest guest of each kind, from which a fuzzer goes on.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    session::seeds().into_iter().chain(columns::seeds()).collect()
}
