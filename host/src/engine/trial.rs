//! Calls that find out who is to blame for a call that failed on a single row, before that row goes to quarantine. The decisions are
//! [`reprise_core::failure::blame`]; the calls are made on instances of their own, which are dropped with all that they return.

use super::control::Control;
use super::image::Versioned;
use super::replay::{Entry, Input};
use super::rest::Rest;
use super::revive::{Maker, repeat};
use crate::wasm::{Call, GuestError, Instance};
use reprise_core::batch::Batch;
use reprise_core::failure::blame::{Blame, Compared, after_another, after_blank, after_itself};
use std::sync::Arc;

/// Rows after the one in question among which another one is looked for. Each costs a call on a blank instance.
const OTHERS_MAX: usize = 4;

/// A row on which calls fail, and what is needed to try others.
pub(super) struct Trial {
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

impl Trial {
    /// Of the first of these rows of an input, on which `call` failed so. `behind`: further rows of that input. `again`: the call as it would be
    /// made now, where it is asked whether the fault has passed.
    pub fn new<'a>(
        (input, rest): (u32, &Rest),
        behind: impl Iterator<Item = &'a Batch>,
        call: Call,
        again: Option<Call>,
        error: &GuestError,
    ) -> Self {
        let rows = first_rows(rest, behind);
        Self { input, rows, call, again, kind: error.fault.kind(), is_limit: error.fault.setting().is_some() }
    }

    /// Makes the calls, each on an instance of its own, of which there is one at a time.
    pub fn decide(&self, maker: &Maker, image: &[Arc<Versioned>], log: &[Arc<Entry>], control: &Control) -> Blame {
        let alike = |row, call| self.on_alike(maker, (image, log), row, call, control);
        if let Some(blame) = self.again.and_then(|again| after_itself(alike(Some(0), again))) {
            return blame;
        }
        if let Some(blame) = after_blank(self.is_limit, self.on_blank(maker, 0)) {
            return blame;
        }
        let wanted = || !maker.crew.is_dismissed();
        let other = (1..self.rows.len()).filter(|row| self.is_of_another_key(*row));
        let other = other.take_while(|_| wanted()).find(|row| self.on_blank(maker, *row) == Compared::Succeeded);
        after_another(alike(other, self.call))
    }

    /// Rows without a key have nothing in common.
    fn is_of_another_key(&self, row: usize) -> bool {
        let key = self.rows.key(row);
        key.is_empty() || key != self.rows.key(0)
    }

    /// Tries one of the rows on an instance without state.
    fn on_blank(&self, maker: &Maker, row: usize) -> Compared {
        let wanted = || !maker.crew.is_dismissed();
        maker.make(&[], &wanted).map_or(Compared::Otherwise, |mut instance| self.compare(&mut instance, Some(row), self.call))
    }

    /// Tries one of the rows, or none, on an instance like the one that failed; `None` where there is no such instance to be had.
    fn on_alike(
        &self,
        maker: &Maker,
        (image, log): (&[Arc<Versioned>], &[Arc<Entry>]),
        row: Option<usize>,
        call: Call,
        control: &Control,
    ) -> Option<Compared> {
        let mut instance = maker.make(image, &|| !maker.crew.is_dismissed()).ok()?;
        repeat(&mut instance, log, 0, &maker.blueprint.description, control, None).ok()?;
        Some(self.compare(&mut instance, row, call))
    }

    /// Tries a row, or a call without rows.
    fn compare(&self, instance: &mut Instance, row: Option<usize>, call: Call) -> Compared {
        let rows = row.map_or_else(Batch::new, |row| self.rows.slice(row..row + 1));
        match (Input::Rows { input: self.input, rows }).make(instance, call) {
            Ok(_) => Compared::Succeeded,
            Err(error) if error.fault.kind() == self.kind => Compared::Same,
            Err(_) => Compared::Otherwise,
        }
    }
}

/// The row in question, and others to compare it with.
fn first_rows<'a>(rest: &Rest, behind: impl Iterator<Item = &'a Batch>) -> Batch {
    let mut rows = rest.front(1 + OTHERS_MAX);
    for more in behind {
        let wanted = (1 + OTHERS_MAX - rows.len()).min(more.len());
        if wanted == 0 || rows.append(&more.slice(0..wanted)).is_err() {
            break;
        }
    }
    rows
}

/// What somebody can do where an instance is to blame and no row is.
pub(super) fn remedy(error: &GuestError) -> String {
    match error.fault.setting() {
        Some(setting) => format!("the row alone is fine, the state of the instance leaves too little for it: {}", raise(setting)),
        None => "other rows, or none at all, fail in the same way: mend the component, or go back to a savepoint".to_owned(),
    }
}

/// What the call was working on, with the setting to change where a limit was reached and there is no row to ask about.
pub(super) fn with_remedy(context: String, error: &GuestError) -> String {
    match error.fault.setting() {
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
    use reprise_core::batch::Row;

    fn rows(times: std::ops::Range<i64>, key: &[u8]) -> Batch {
        let mut rows = Batch::new();
        times.for_each(|time| rows.push(Row { time, key, value: b"" }).unwrap());
        rows
    }

    #[test]
    fn others_are_looked_for_among_the_rows_that_wait_too() {
        let (rest, waiting) = (Rest::new(rows(0..9, b"")).after(7), [rows(9..10, b""), rows(10..99, b""), rows(99..100, b"")]);
        assert_eq!(first_rows(&rest, waiting.iter()).times(), [7, 8, 9, 10, 11]);
        assert_eq!(first_rows(&rest, [].into_iter()).times(), [7, 8]);
        assert_eq!(first_rows(&Rest::new(rows(0..9, b"")), waiting.iter()).times(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn rows_without_a_key_are_of_different_ones() {
        let error = GuestError::missing();
        let is_another = |first: &[u8], second: &[u8]| {
            let (first, second) = (Rest::new(rows(0..1, first)), rows(1..2, second));
            Trial::new((0, &first), [&second].into_iter(), Call::default(), None, &error).is_of_another_key(1)
        };
        assert!(is_another(b"", b"") && is_another(b"a", b"b") && is_another(b"a", b"") && is_another(b"", b"a"));
        assert!(!is_another(b"a", b"a"));
    }
}
