//! Who is to blame for a call that fails on a single row: the row, or the instance that works on it.
//!
//! An instance that has outgrown its memory fails at whatever row comes next, and each of them is innocent: to put them into quarantine one by
//! one would empty the stream and mend nothing. So before a row goes to quarantine, the call is tried elsewhere.
//!
//! ```text
//!  the row fails ──> the row alone on a blank instance, without any state
//!                       │ fails in the same way: the row is to blame
//!                       │ succeeds, and the fault is one of a limit: the state takes what the row needs. The instance is to blame
//!                       └ otherwise: another row, or no row at all, on an instance like the one that failed
//!                                       │ fails in the same way: the instance is to blame
//!                                       └ succeeds, or fails otherwise: the row is to blame
//! ```
//!
//! The other row has another key, since a key whose state is broken is a matter of its rows; and it is one that a blank instance takes, since
//! poison may follow on poison. Where there is none, a call without rows takes its place. What these calls return is dropped, and so are their
//! instances.

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

/// What to do next about a call that failed on a single row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The row is to blame.
    Row,
    /// The instance is to blame: other rows would fail as well.
    Instance,
    /// That is not known before a call with another row, or with none, was made on an instance like the one that failed.
    Unknown,
}

/// Decides after the row alone was tried on a blank instance. `is_limit`: the fault is that a limit was reached which state counts against.
#[must_use]
pub fn after_blank(is_limit: bool, row_alone: Compared) -> Blame {
    match row_alone {
        Compared::Same => Blame::Row,
        Compared::Succeeded if is_limit => Blame::Instance,
        Compared::Otherwise | Compared::Succeeded => Blame::Unknown,
    }
}

/// Decides after another row, or none, was tried on an instance like the one that failed.
#[must_use]
pub fn after_another(another: Compared) -> Blame {
    match another {
        Compared::Same => Blame::Instance,
        Compared::Otherwise | Compared::Succeeded => Blame::Row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_a_blank_instance_cannot_take_either_is_to_blame() {
        for is_limit in [false, true] {
            assert_eq!(after_blank(is_limit, Compared::Same), Blame::Row);
        }
    }

    #[test]
    fn a_limit_that_the_row_alone_does_not_reach_is_reached_by_the_state() {
        assert_eq!(after_blank(true, Compared::Succeeded), Blame::Instance);
    }

    #[test]
    fn without_certainty_another_row_decides() {
        for (is_limit, row_alone) in [(false, Compared::Succeeded), (false, Compared::Otherwise), (true, Compared::Otherwise)] {
            assert_eq!(after_blank(is_limit, row_alone), Blame::Unknown);
        }
        assert_eq!(after_another(Compared::Same), Blame::Instance);
        assert_eq!(after_another(Compared::Succeeded), Blame::Row);
        assert_eq!(after_another(Compared::Otherwise), Blame::Row, "what fails for another reason says nothing");
    }
}
