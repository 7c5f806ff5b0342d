//! Sinks: rows become bytes of files or of standard output.

pub(crate) mod base64;
pub mod file;
mod rows;
mod staging;
pub mod stdout;
#[cfg(test)]
mod tests;
