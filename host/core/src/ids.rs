//! Identities as types: an epoch is never a generation, and neither is a bare number.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, bincode::Encode, bincode::Decode,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The unit of checkpoints: counts up over the whole life of a job, across runs.
    Epoch(u64)
);
number!(
    /// Fencing number of one run of a host.
    Generation(u64)
);
number!(
    /// Index of an instance among the instances of its source, operator or sink.
    Instance(u32)
);
number!(
    /// Smallest unit of keyed state that moves between instances: 0 to 255.
    KeyGroup(u8)
);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Random name of one life of a job: of what a store holds from its first run on. A store that was deleted and made anew has another one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Life(pub [u8; 16]);

impl Life {
    /// One of two random numbers.
    #[must_use]
    pub fn of(numbers: (u64, u64)) -> Self {
        Self((u128::from(numbers.0) << 64 | u128::from(numbers.1)).to_be_bytes())
    }

    /// Reads what `Display` writes: 32 hexadecimal digits in lower case.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        let life = Self(u128::from_str_radix(digits, 16).ok()?.to_be_bytes());
        (life.to_string() == digits).then_some(life)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Life({self})")
    }
}

/// SHA-256 of a component, or of a topology.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}
