//! Calls that find out who is to blame for a call that failed on a single row, before that row goes to quarantine. The decisions are
//! [`crate::failure::blame`]; the calls are made on guests of their own, which are dropped with all that they return.

use super::call::CallInput;
use super::contract::{Guest, GuestFault, InstanceFactory};
use super::input_log::LoggedCall;
use super::pending_rows::PendingRows;
use super::repetition::repeat;
use super::state_backup::VersionedChunk;
use crate::batch::Batch;
use crate::failure::blame::{Blame, Compared, after_another, after_blank, after_itself};
use std::sync::Arc;

/// Rows after the one in question among which another one is looked for. Each costs a call on a blank guest.
const OTHERS_MAX: usize = 4;

/// A row on which calls fail, and what is needed to try others.
pub(super) struct BlameTrial<Call> {
    input: u32,
    /// The row in question, and those after it.
    rows: Batch,
    /// The number and time of the call that failed.
    call: Call,
    /// Those of the same call, made again now; `None` where it is not to be asked whether the fault has passed.
    again: Option<Call>,
    /// How it failed.
    kind: &'static str,
    is_limit: bool,
}

impl<Call: Copy> BlameTrial<Call> {
    /// The trial of the first of these rows of an input, on which `call` failed so. `behind`: further rows of that input. `again`: the call as it
    /// would be made now, where it is asked whether the fault has passed.
    pub fn new<'a>(
        (input, rest): (u32, &PendingRows),
        behind: impl Iterator<Item = &'a Batch>,
        call: Call,
        again: Option<Call>,
        fault: &impl GuestFault,
    ) -> Self {
        let rows = first_rows(rest, behind);
        Self { input, rows, call, again, kind: fault.kind(), is_limit: fault.setting().is_some() }
    }

    /// Makes the calls, each on a guest of its own, of which there is one at a time.
    pub fn decide<F>(&self, factory: &F, state: &[Arc<VersionedChunk>], log: &[Arc<LoggedCall<Call>>]) -> Blame
    where
        F: InstanceFactory<Guest: Guest<Call = Call>>,
    {
        let alike = |row, call| self.on_alike(factory, (state, log), row, call);
        if let Some(blame) = self.again.and_then(|again| after_itself(alike(Some(0), again))) {
            return blame;
        }
        if let Some(blame) = after_blank(self.is_limit, self.on_blank(factory, 0)) {
            return blame;
        }
        let other = (1..self.rows.len()).filter(|row| self.is_of_another_key(*row));
        let other = other.take_while(|_| factory.is_wanted()).find(|row| self.on_blank(factory, *row) == Compared::Succeeded);
        after_another(alike(other, self.call))
    }

    /// Rows without a key have nothing in common.
    fn is_of_another_key(&self, row: usize) -> bool {
        let key = self.rows.key(row);
        key.is_empty() || key != self.rows.key(0)
    }

    /// Tries one of the rows on a guest without state.
    fn on_blank<F: InstanceFactory<Guest: Guest<Call = Call>>>(&self, factory: &F, row: usize) -> Compared {
        factory.make(&[]).map_or(Compared::Otherwise, |mut guest| self.compare(&mut guest, Some(row), self.call))
    }

    /// Tries one of the rows, or none, on a guest like the one that failed; `None` where there is no such guest to be had.
    fn on_alike<F: InstanceFactory<Guest: Guest<Call = Call>>>(
        &self,
        factory: &F,
        (state, log): (&[Arc<VersionedChunk>], &[Arc<LoggedCall<Call>>]),
        row: Option<usize>,
        call: Call,
    ) -> Option<Compared> {
        let mut guest = factory.make(state).ok()?;
        repeat(&mut guest, log, 0, factory, &|| false).ok()?;
        Some(self.compare(&mut guest, row, call))
    }

    /// Tries a row, or a call without rows.
    fn compare<G: Guest<Call = Call>>(&self, guest: &mut G, row: Option<usize>, call: Call) -> Compared {
        let rows = row.map_or_else(Batch::new, |row| self.rows.slice(row..row + 1));
        match guest.call(&CallInput::Rows { input: self.input, rows }, call) {
            Ok(_) => Compared::Succeeded,
            Err(fault) if fault.kind() == self.kind => Compared::Same,
            Err(_) => Compared::Otherwise,
        }
    }
}

/// The row in question, and others to compare it with.
fn first_rows<'a>(rest: &PendingRows, behind: impl Iterator<Item = &'a Batch>) -> Batch {
    let mut rows = rest.front(1 + OTHERS_MAX);
    for more in behind {
        let wanted = (1 + OTHERS_MAX - rows.len()).min(more.len());
        if wanted == 0 || rows.append(&more.slice(0..wanted)).is_err() {
            break;
        }
    }
    rows
}

/// What a person can do where an instance is to blame and no row is.
pub(super) fn remedy(fault: &impl GuestFault) -> String {
    match fault.setting() {
        Some(setting) => format!("the row alone is fine, the state of the instance leaves too little for it: {}", raise(setting)),
        None => "other rows, or none at all, fail in the same way: mend the component, or go back to a savepoint".to_owned(),
    }
}

/// What the call was working on, with the setting to change where a limit was reached and there is no row to ask about.
#[must_use]
pub fn with_remedy(context: String, fault: &impl GuestFault) -> String {
    match fault.setting() {
        Some(setting) => format!("{context}\n  to go on, {}", raise(setting)),
        None => context,
    }
}

fn raise(setting: &str) -> String {
    format!("raise `{setting}`, or `parallelism`, which makes the share of each instance smaller")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Row;

    #[derive(Debug, Clone)]
    struct Nothing;

    impl std::fmt::Display for Nothing {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("nothing")
        }
    }

    impl GuestFault for Nothing {
        fn missing() -> Self {
            Self
        }

        fn call(&self) -> &str {
            "process"
        }

        fn kind(&self) -> &'static str {
            "trap"
        }

        fn setting(&self) -> Option<&'static str> {
            None
        }

        fn backtrace(&self) -> &[String] {
            &[]
        }

        fn log_tail(&self) -> &[String] {
            &[]
        }
    }

    fn rows(times: std::ops::Range<i64>, key: &[u8]) -> Batch {
        let mut rows = Batch::new();
        times.for_each(|time| rows.push(Row { time, key, value: b"" }).unwrap());
        rows
    }

    #[test]
    fn others_are_looked_for_among_the_rows_that_wait_too() {
        let (rest, waiting) = (PendingRows::new(rows(0..9, b"")).after(7), [rows(9..10, b""), rows(10..99, b""), rows(99..100, b"")]);
        assert_eq!(first_rows(&rest, waiting.iter()).times(), [7, 8, 9, 10, 11]);
        assert_eq!(first_rows(&rest, [].into_iter()).times(), [7, 8]);
        assert_eq!(first_rows(&PendingRows::new(rows(0..9, b"")), waiting.iter()).times(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn rows_without_a_key_are_of_different_ones() {
        let error = Nothing;
        let is_another = |first: &[u8], second: &[u8]| {
            let (first, second) = (PendingRows::new(rows(0..1, first)), rows(1..2, second));
            BlameTrial::new((0, &first), [&second].into_iter(), (), None, &error).is_of_another_key(1)
        };
        assert!(is_another(b"", b"") && is_another(b"a", b"b") && is_another(b"a", b"") && is_another(b"", b"a"));
        assert!(!is_another(b"a", b"a"));
    }
}
