//! The host: runs operators compiled to WebAssembly components as a dataflow, keeps their state in checkpoints, and takes up again.
//!
//! Layers, each of which knows only what stands to its left: `core -> store | wasm -> connect -> verify | engine -> job -> cli`. See
//! `ARCHITECTURE.md`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::disallowed_methods))]

pub mod cli;
pub mod clock;
pub mod connect;
pub mod engine;
pub mod job;
pub mod panics;
pub mod store;
pub mod verify;
pub mod wasm;
