//! What an operator may ask of its host. In native tests a stand-in answers: see [`harness`](crate::harness).

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the author, every step.
    Trace,
    /// For the author.
    Debug,
    /// For whoever runs the job.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line to the host's log, under the operator's name. The host cuts long lines and drops the many.
pub fn log(level: Level, message: &str) {
    host::log(level, message);
}

/// Processing time, in milliseconds since 1970-01-01T00:00:00Z. Constant within one call, and the same on a replay.
#[must_use]
pub fn now() -> i64 {
    host::now()
}

/// The next number of a generator that gives the same on a replay. Not for secrets.
#[must_use]
pub fn random() -> u64 {
    host::random()
}

/// Adds to a counter on the host's metrics page. Names are at most 64 bytes of `[a-z0-9_]`.
pub fn count(metric: &str, add: u64) {
    host::count(metric, add);
}

#[cfg(target_arch = "wasm32")]
mod host {
    use crate::bindings::reprise::operator::runtime;
    pub use runtime::{count, now, random};

    pub fn log(level: super::Level, message: &str) {
        let level = match level {
            super::Level::Trace => runtime::Level::Trace,
            super::Level::Debug => runtime::Level::Debug,
            super::Level::Info => runtime::Level::Info,
            super::Level::Warn => runtime::Level::Warn,
            super::Level::Error => runtime::Level::Error,
        };
        runtime::log(level, message);
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod host {
    //! The stand-in of native tests: one a thread, as every test has a thread of its own.

    use super::Level;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// What the stand-in was told, and what it will answer.
    #[derive(Debug, Default)]
    pub(crate) struct StandIn {
        pub(crate) lines: Vec<(Level, String)>,
        pub(crate) counters: BTreeMap<String, u64>,
        pub(crate) now: i64,
        pub(crate) seed: u64,
    }

    thread_local! {
        pub(crate) static STAND_IN: RefCell<StandIn> = RefCell::default();
    }

    pub fn log(level: Level, message: &str) {
        STAND_IN.with_borrow_mut(|host| host.lines.push((level, message.to_owned())));
    }

    pub fn now() -> i64 {
        STAND_IN.with_borrow(|host| host.now)
    }

    /// SplitMix64 (Steele, Lea and Flood 2014).
    pub fn random() -> u64 {
        STAND_IN.with_borrow_mut(|host| {
            host.seed = host.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = host.seed;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
    }

    pub fn count(metric: &str, add: u64) {
        STAND_IN.with_borrow_mut(|host| *host.counters.entry(metric.to_owned()).or_default() += add);
    }
}
