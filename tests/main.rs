//! The tests that cross crates and run the real binary: one test binary, so that it links once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod golden;
mod guests;
mod processes;
mod support;
mod topology;
