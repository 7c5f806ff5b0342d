//! Sinks: rows become bytes of files, of objects or of standard output.

mod disk;
pub mod file;
pub mod objects;
mod order;
mod output_name;
mod rows;
mod staging;
pub mod stdout;
#[cfg(test)]
mod tests;

use super::{ConnectError, Recovery, Staged};
use reprise_core::topology::SinkFormat;

/// How names of files and objects of a format end.
fn extension(format: SinkFormat) -> &'static str {
    match format {
        SinkFormat::Json => "json",
        SinkFormat::Lines => "txt",
        SinkFormat::Csv => "csv",
    }
}

/// Refuses output of a later epoch than that of the checkpoint which lists it.
fn check_epoch(sink: &str, output: &Staged, epoch: u64, recovery: &Recovery) -> Result<(), ConnectError> {
    if recovery.recovered.is_some_and(|recovered| epoch <= recovered) {
        return Ok(());
    }
    let token = &output.token;
    Err(ConnectError::Corrupt {
        what: format!("the checkpoint lists output `{token}` of sink `{sink}`, which is of a later epoch than the checkpoint"),
        help: "take up an older checkpoint".to_owned(),
    })
}
