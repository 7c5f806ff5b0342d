//! Which checkpoint or savepoint is meant, once that is known.

use reprise_core::checkpoint::paths;
use reprise_core::ids::Epoch;
use std::fmt;

/// A checkpoint or a savepoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// The checkpoint of an epoch.
    Epoch(Epoch),
    /// The savepoint of a name, which is allowed by [`paths::savepoint`].
    Savepoint(String),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch(epoch) => write!(f, "checkpoint {epoch}"),
            Self::Savepoint(name) => write!(f, "savepoint `{name}`"),
        }
    }
}

impl Which {
    /// Where its manifest is.
    #[must_use]
    pub fn path(&self) -> String {
        match self {
            Self::Epoch(epoch) => paths::manifest(*epoch),
            // A name that is not allowed gives a path where nothing is.
            Self::Savepoint(name) => paths::savepoint(name).unwrap_or_else(|| paths::SAVEPOINTS.to_owned()),
        }
    }

    /// The epoch that its manifest must be of; that of a savepoint may be of any.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Epoch(epoch) => Some(*epoch),
            Self::Savepoint(_) => None,
        }
    }
}
