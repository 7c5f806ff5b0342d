//! The one place that reads the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Processing time. Tests may hold it still.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// Always this, milliseconds since 1970-01-01T00:00:00Z.
    Fixed(i64),
    /// A millisecond later at each look, from this on.
    Stepping(Arc<AtomicI64>),
}

impl Clock {
    /// Milliseconds since 1970-01-01T00:00:00Z; 0 where the machine's clock stands before that.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::System => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
            }
            Self::Fixed(at) => *at,
            Self::Stepping(next) => next.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A number that no other run of a host is likely to have. Not for secrets.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "chance of the system is what makes the number unlikely")]
    pub fn unlikely_number() -> u64 {
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        hasher.write_i64(Self::System.now_ms());
        hasher.finish()
    }
}
