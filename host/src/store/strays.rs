//! What lies in a store and is not its own: passed over, named once each, and counted.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Things that are named; those beyond are counted alone.
const NAMED_MAX: usize = 1_000;

/// Things in a store that are none of its own and were passed over. Shared by the clones of the store.
#[derive(Debug, Default)]
pub struct Strays {
    named: Mutex<BTreeSet<String>>,
}

impl Strays {
    /// Names something, where it was not named before. True for what is new.
    pub fn note(&self, path: &str, why: &str) -> bool {
        // The set is whole even if a thread panicked beside it: an insert is its only change.
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= NAMED_MAX || !named.insert(path.to_owned()) {
            return false;
        }
        let (shown, passed_over) = (path.escape_debug().to_string(), named.len());
        tracing::warn!(path = shown, why, passed_over, "something in the store is none of the job's, and is passed over");
        if passed_over == NAMED_MAX {
            tracing::warn!(passed_over, "there is so much in the store that is none of the job's that the rest is not named");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_is_named_once_and_no_more_than_so_many() {
        let strays = Strays::default();
        assert!(strays.note("a", "why") && !strays.note("a", "why") && strays.note("b", "why"));
        for number in 0..2 * NAMED_MAX {
            strays.note(&number.to_string(), "why");
        }
        assert_eq!(strays.named.lock().expect("nobody panicked").len(), NAMED_MAX);
    }
}
