//! Who is to blame for a call that fails on a single row: the row, or the instance that works on it.
//!
//! An instance that has outgrown its memory fails at whatever row comes next, and each of them is innocent: to put them into quarantine one by
//! one would empty the stream and mend nothing. So before a row goes to quarantine, the call is tried elsewhere.
//!
//! ```text
//!  the row fails ──> the row itself on another instance like the one that failed
//!                       │ succeeds: nobody is to blame, and the unit of work is tried again, PASSES_MAX times in a row
//!                       └ fails: the row alone on a blank instance, without any state
//!                            │ fails in the same way: the row is to blame
//!                            │ succeeds, and the fault is one of a limit: the state takes what the row needs. The instance is to blame
//!                            └ otherwise: another row, or no row at all, on an instance like the one that failed
//!                                            │ fails in the same way: the instance is to blame
//!                                            └ succeeds, or fails otherwise: the row is to blame
//! ```
//!
//! The other row has another key, since a key whose state is broken is a matter of its rows; rows without a key are of different ones. And it is
//! one that a blank instance takes, since poison may follow on poison. Where there is none, a call without rows takes its place. What these
//! calls return is dropped, and so are their instances.

/// So often in a row may a unit of work be tried again because its row succeeded elsewhere. Then somebody is to blame all the same.
pub const PASSES_MAX: u32 = 3;

/// What came of a call that was made to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// It failed in the same way as the call in question.
    Same,
    /// It failed, in another way.
    Otherwise,
    /// It succeeded.
    Succeeded,
}

/// Who is to blame for a call that failed on a single row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nobody: it has passed.
    Nobody,
    /// The row is to blame.
    Row,
    /// The instance is to blame: other rows would fail as well.
    Instance,
}

/// Decides after the row itself was tried on an instance like the one that failed. Without one nothing is known of the row: it is tried again,
/// and the successor tells what is wrong. `None`: it is not known before the row was tried elsewhere.
#[must_use]
pub fn after_itself(itself: Option<Compared>) -> Option<Blame> {
    match itself {
        Some(Compared::Succeeded) | None => Some(Blame::Nobody),
        Some(Compared::Same | Compared::Otherwise) => None,
    }
}

/// Decides after the row alone was tried on a blank instance. `is_limit`: the fault is that a limit was reached which state counts against.
/// `None`: it is not known before a call with another row, or with none, was made on an instance like the one that failed.
#[must_use]
pub fn after_blank(is_limit: bool, row_alone: Compared) -> Option<Blame> {
    match row_alone {
        Compared::Same => Some(Blame::Row),
        Compared::Succeeded if is_limit => Some(Blame::Instance),
        Compared::Otherwise | Compared::Succeeded => None,
    }
}

/// Decides after another row, or none, was tried on an instance like the one that failed, where there was one.
#[must_use]
pub fn after_another(another: Option<Compared>) -> Blame {
    match another {
        Some(Compared::Same) => Blame::Instance,
        Some(Compared::Otherwise | Compared::Succeeded) | None => Blame::Row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_what_passes_nobody_is_to_blame() {
        assert_eq!(after_itself(Some(Compared::Succeeded)), Some(Blame::Nobody));
        assert_eq!(after_itself(None), Some(Blame::Nobody), "that there is no instance says nothing about the row");
        assert_eq!((after_itself(Some(Compared::Same)), after_itself(Some(Compared::Otherwise))), (None, None));
    }

    #[test]
    fn a_row_that_a_blank_instance_cannot_take_either_is_to_blame() {
        for is_limit in [false, true] {
            assert_eq!(after_blank(is_limit, Compared::Same), Some(Blame::Row));
        }
    }

    #[test]
    fn a_limit_that_the_row_alone_does_not_reach_is_reached_by_the_state() {
        assert_eq!(after_blank(true, Compared::Succeeded), Some(Blame::Instance));
    }

    #[test]
    fn without_certainty_another_row_decides() {
        for (is_limit, row_alone) in [(false, Compared::Succeeded), (false, Compared::Otherwise), (true, Compared::Otherwise)] {
            assert_eq!(after_blank(is_limit, row_alone), None);
        }
        assert_eq!(after_another(Some(Compared::Same)), Blame::Instance);
        assert_eq!(after_another(Some(Compared::Succeeded)), Blame::Row);
        assert_eq!(after_another(Some(Compared::Otherwise)), Blame::Row, "what fails for another reason says nothing");
        assert_eq!(after_another(None), Blame::Row);
    }
}
