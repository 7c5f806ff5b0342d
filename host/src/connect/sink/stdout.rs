//! The sink `stdout`: rows at once, at least once. Batches of different instances do not mix within a row.

use super::rows::RowWriter;
use crate::connect::{ConnectError, Recovered, Recovery, RowEncoding, Sink, SinkWriter, Staged};
use reprise_core::batch::Batch;
use reprise_core::topology::{self, SinkFormat};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The sink `stdout`. See the module.
pub struct StdoutSink {
    format: SinkFormat,
    encodings: Vec<RowEncoding>,
}

impl StdoutSink {
    /// A sink with an encoding for each input.
    #[must_use]
    pub fn new(settings: &topology::StdoutSink, encodings: Vec<RowEncoding>) -> Self {
        Self { format: settings.format, encodings }
    }
}

impl Sink for StdoutSink {
    fn writer(&self, _instance: u32, _generation: u64) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(StdoutWriter { rows: RowWriter::new(self.format, self.encodings.clone()) }))
    }

    fn publish(&self, _staged: &Staged) -> Result<(), ConnectError> {
        Ok(())
    }

    fn recover(&self, _: &Recovery, _staged: &[Staged]) -> Result<Recovered, ConnectError> {
        Ok(Recovered::default())
    }

    fn exactly_once(&self) -> bool {
        false
    }
}

struct StdoutWriter {
    rows: RowWriter,
}

impl SinkWriter for StdoutWriter {
    fn write(&mut self, _epoch: u64, input: u32, rows: &Batch) -> Result<(), ConnectError> {
        write_to(&mut self.rows, &mut io::stdout().lock(), input, rows)
    }

    fn seal(&mut self, _epoch: u64) -> Result<Option<Staged>, ConnectError> {
        Ok(None)
    }
}

/// Writes a batch to any output in the place of standard output.
pub(super) fn write_to(writer: &mut RowWriter, out: &mut impl Write, input: u32, rows: &Batch) -> Result<(), ConnectError> {
    writer.write(input, rows, out).and_then(|_| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => ConnectError::ClosedPipe { what: "standard output" },
        _ => ConnectError::io("write to", Path::new("standard output"))(error),
    })
}
