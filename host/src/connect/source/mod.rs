//! Sources: bytes of files or of standard input become rows.
//!
//! ```text
//!  listing ──splits──> reader ──> decoder (lines | json | csv) ──rows──> gather ──> SourceBatch
//!  (glob, ranges)        │            ^
//!                        └── blocks ──┘   large reads, rows as slices of them
//! ```
//! A row is copied once, from the block into the batch. Nothing here allocates for a row, except where one is rejected or where JSON text
//! has escapes.

mod blocks;
mod content;
mod context;
mod csv;
mod decoder;
mod disk;
mod event_time;
mod fields;
pub mod file;
mod follow;
mod gather;
mod identity;
mod json;
mod lines;
mod listing;
mod marks;
mod position;
mod quotes;
mod reader;
mod split;
mod start;
pub mod stdin;
mod tail;
#[cfg(test)]
mod tests;
mod watermark;

/// The path that means standard input.
pub const STDIN_PATH: &str = "-";
/// A row may not be longer than this, whatever the settings say: 256 MiB. Ends of rows are 32 bits wide, and CSV grows when it becomes JSON.
pub const ROW_BYTES_MAX: u64 = 256 << 20;
/// A batch may not be larger than this before its last row: 1 GiB, for the same reason.
pub const BATCH_BYTES_MAX: usize = 1 << 30;
