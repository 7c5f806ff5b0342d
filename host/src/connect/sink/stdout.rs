//! The sink `stdout`: rows at once, at least once. Batches of different instances do not mix within a row.
//!
//! A process that is started with standard output closed is given `/dev/null` in its place by the runtime of the language, for reading and
//! writing. Rows would vanish there and count as written, so that is refused; who wants no rows opens `/dev/null` for writing, as shells do.

use super::rows::RowWriter;
use crate::connect::holding::Holding;
use crate::connect::{ConnectError, Recovered, Recovery, RowEncoding, SinkConnector, SinkWriter, Staged};
use reprise_core::batch::Batch;
use reprise_core::topology::{self, SinkFormat};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The sink that writes rows to standard output at once.
pub struct StdoutSinkConnector {
    format: SinkFormat,
    encodings: Vec<RowEncoding>,
}

impl StdoutSinkConnector {
    /// A sink with an encoding for each input.
    #[must_use]
    pub fn new(settings: &topology::StdoutSink, encodings: Vec<RowEncoding>) -> Self {
        Self { format: settings.format, encodings }
    }
}

impl SinkConnector for StdoutSinkConnector {
    fn writer(&self, _instance: u32, _generation: u64) -> Result<Box<dyn SinkWriter>, ConnectError> {
        let file = io::stdout().as_fd().try_clone_to_owned().map(File::from).ok();
        let file = file.filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
        Ok(Box::new(StdoutWriter { rows: RowWriter::new(self.format, self.encodings.clone()), file }))
    }

    fn holding(&self) -> Result<Holding, ConnectError> {
        if is_closed() {
            let help = "give the command an output, such as a file or a pipe; `> /dev/null` drops all rows on purpose";
            return Err(ConnectError::missing("standard output is closed: rows written there would be lost", help));
        }
        Ok(Holding::default())
    }

    fn publish(&self, _staged: &[Staged]) -> Result<(), ConnectError> {
        Ok(())
    }

    fn recover(&self, _: &Recovery, _staged: &[Staged]) -> Result<Recovered, ConnectError> {
        Ok(Recovered::default())
    }

    fn exactly_once(&self) -> bool {
        false
    }
}

/// Standard output was closed when the process began.
fn is_closed() -> bool {
    const DEV_NULL: u64 = 0x0103;
    const READ_AND_WRITE: u32 = 0o2;
    let is_null = fs::metadata("/proc/self/fd/1").is_ok_and(|metadata| metadata.rdev() == DEV_NULL);
    let flags = fs::read_to_string("/proc/self/fdinfo/1").unwrap_or_default();
    let flags = flags.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    is_null && flags.is_some_and(|flags| flags & 0o3 == READ_AND_WRITE)
}

struct StdoutWriter {
    rows: RowWriter,
    /// Standard output, where it is a file.
    file: Option<File>,
}

impl SinkWriter for StdoutWriter {
    fn write(&mut self, _epoch: u64, input: u32, rows: &Batch) -> Result<(), ConnectError> {
        write_to(&mut self.rows, &mut io::stdout().lock(), input, rows)
    }

    fn seal(&mut self, _epoch: u64) -> Result<Option<Staged>, ConnectError> {
        if let Some(file) = &self.file {
            file.sync_data().map_err(ConnectError::io("make durable", Path::new("standard output")))?;
        }
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
