#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[doc(hidden)]
pub mod bindings;
mod cell;
mod encoding;
mod export;
#[doc(hidden)]
pub mod glue;
#[cfg(not(target_arch = "wasm32"))]
pub mod harness;
mod operator;
mod output;
mod rows;
mod runner;
pub mod runtime;
mod short;
pub mod state;
pub mod text;
mod writers;

pub use cell::{Cell, Json};
pub use encoding::Encoding;
pub use operator::{Context, Declared, Description, END_OF_INPUT, Operator, Port};
pub use output::{Bytes, Emitted, Outcome, Output, Rejection, Text};
pub use rows::{Batch, Record, Rows, RowsIter};
pub use runner::{Runner, SlotDescription};
pub use state::{Keyed, KeyedItems, Value};
pub use writers::{Int, Object, Row};
