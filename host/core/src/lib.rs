//! The decisions of Reprise: what a legal batch, topology, manifest or recovery is.
//!
//! There is no I/O, no clock, no randomness and no thread in this crate; time and random numbers are arguments. Whoever calls it reads
//! the facts, asks for a decision, and acts on the answer. Map of the modules: `ARCHITECTURE.md`.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod cells;
pub mod checkpoint;
pub mod codec;
pub mod columns;
pub mod description;
pub mod failure;
pub mod ids;
pub mod keying;
pub mod operator;
pub mod plain;
pub mod portion;
pub mod random;
pub mod topology;
pub mod verify;
