//! Tests with guests written as WebAssembly text: each is a few instructions in the frame that [`build`] puts around them.
//!
//! Guests built from Rust are tested by the test binary of the workspace.

mod build;
mod calls;
mod composed;
mod imports;
mod lies;
mod limits;
mod loading;
mod pieces;
mod snapshots;
mod storms;
mod wasi;
