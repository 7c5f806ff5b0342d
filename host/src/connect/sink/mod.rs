//! Sinks: rows become bytes of files, of objects or of standard output.

mod disk;
pub mod file;
pub mod foreign;
pub mod objects;
mod order;
mod output_name;
mod passage;
mod published;
mod rows;
mod staging;
pub mod stdout;
#[cfg(test)]
mod tests;

use super::{ConnectError, Recovery, Staged};
use reprise_core::topology::SinkFormat;
use std::fmt::Display;

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
    let what = format!("the checkpoint lists output `{}` of sink `{sink}`, which is of a later epoch than the checkpoint", output.token);
    Err(ConnectError::corrupt(what, "take up an older checkpoint"))
}

/// False where the place of a sink has no owner. `found`: the job that its note names. `thing`: what sinks have one each of.
///
/// # Errors
/// [`ConnectError::Config`] where it is another job's.
fn is_owned(found: Option<&[u8]>, job: &str, place: impl Display, sink: &str, thing: &str) -> Result<bool, ConnectError> {
    let Some(found) = found else { return Ok(false) };
    if found == job.as_bytes() {
        return Ok(true);
    }
    let what = format!("`{place}` holds output of sink `{sink}` of job `{}`", found.escape_ascii());
    Err(ConnectError::config(what, format!("give each job a {thing} of its own, or its sinks other names")))
}
