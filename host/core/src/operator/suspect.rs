//! A suspect: a single row on which calls fail, until it is known whether the row is to blame.

use crate::failure::blame::Blame;

/// A suspect.
pub(super) struct Suspect<Fault> {
    /// Its unit had not failed before, and is not counted yet.
    pub is_first: bool,
    pub fault: Fault,
    pub context: String,
    pub blame: Option<Blame>,
}
