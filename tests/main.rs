//! The tests that cross crates and run the real binary: one test binary, so that it links once.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "what a test prints is shown where it fails")]
#![allow(clippy::disallowed_methods, reason = "tests wait for real processes and have no guests that are told the time")]

mod corpus;
mod faults;
mod formats;
mod golden;
mod guests;
mod hostile;
mod processes;
mod recovery;
mod rim;
mod s3;
mod support;
mod topology;
mod verify;
mod wasip2;
