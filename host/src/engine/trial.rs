//! Calls that find out who is to blame for a call that failed on a single row, before that row goes to quarantine. The decisions are
//! [`reprise_core::failure::blame`]; the calls are made on instances of their own, which are dropped with all that they return.

use super::control::Control;
use super::image::Versioned;
use super::replay::{Entry, Input};
use super::rest::Rest;
use super::revive::{Maker, repeat};
use crate::wasm::{Call, GuestError, Instance};
use reprise_core::batch::Batch;
use reprise_core::failure::blame::{Blame, Compared, after_another, after_blank};
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
    /// How it failed.
    kind: &'static str,
    is_limit: bool,
}

impl Trial {
    /// Of the first of these rows, on which `call` failed so.
    pub fn new(input: u32, rest: &Rest, call: Call, error: &GuestError) -> Self {
        let rows = rest.front(1 + OTHERS_MAX);
        Self { input, rows, call, kind: error.fault.kind(), is_limit: error.fault.setting().is_some() }
    }

    /// Makes the calls, each on an instance of its own, of which there is one at a time.
    pub fn decide(&self, maker: &Maker, image: &[Arc<Versioned>], log: &[Arc<Entry>], control: &Control) -> Blame {
        match after_blank(self.is_limit, self.on_blank(maker, 0)) {
            Blame::Unknown => {}
            known => return known,
        }
        let wanted = || !maker.crew.is_dismissed();
        let other = (1..self.rows.len()).filter(|row| self.rows.key(*row) != self.rows.key(0));
        let other = other.take_while(|_| wanted()).find(|row| self.on_blank(maker, *row) == Compared::Succeeded);
        let another = maker.make(image, &wanted).ok().and_then(|mut instance| {
            repeat(&mut instance, log, 0, &maker.blueprint.description, control, None).ok()?;
            Some(self.compare(&mut instance, other))
        });
        // An instance that cannot be made says nothing about rows: its successor has the same trouble, and tells.
        after_another(another.unwrap_or(Compared::Otherwise))
    }

    /// Tries one of the rows on an instance without state.
    fn on_blank(&self, maker: &Maker, row: usize) -> Compared {
        let wanted = || !maker.crew.is_dismissed();
        maker.make(&[], &wanted).map_or(Compared::Otherwise, |mut instance| self.compare(&mut instance, Some(row)))
    }

    /// Tries a row, or a call without rows.
    fn compare(&self, instance: &mut Instance, row: Option<usize>) -> Compared {
        let rows = row.map_or_else(Batch::new, |row| self.rows.slice(row..row + 1));
        match (Input::Rows { input: self.input, rows }).make(instance, self.call) {
            Ok(_) => Compared::Succeeded,
            Err(error) if error.fault.kind() == self.kind => Compared::Same,
            Err(_) => Compared::Otherwise,
        }
    }
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
