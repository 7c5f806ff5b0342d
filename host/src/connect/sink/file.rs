//! The sink `file`: rows of an epoch become one visible file for each instance, once the epoch's manifest exists. Exactly once.
//!
//! Many epochs make many small files; a longer `checkpoint.interval` makes fewer and larger ones. What is where: `staging.rs`.
//!
//! ```text
//! write ──> staged file ──seal: fsync──> durable ──manifest──> publish: rename ──> visible
//!                │                          │                                        │
//!                └── run dies: removed ─────┴── manifest never written: removed      └── older checkpoint taken up: moved aside
//! ```
//! With `delivery = "immediate"` rows go to visible files as they come, at least once. A file holds the rows of one epoch of one instance of
//! one run. It is durable when its epoch is sealed, before the manifest: so what a checkpoint counts as written is there. A run that dies
//! leaves its last files as they are, perhaps with a part of a row at the end, and the next one shows the rows after the checkpoint again, in
//! files of its own.

use super::disk::sync_folder;
use super::foreign::{Foreign, look_through};
use super::order::OpenEpochs;
use super::output_name::OutputName;
use super::rows::RowWriter;
use super::staging::{Folders, Sealed};
use crate::connect::holding::Holding;
use crate::connect::{ConnectError, Recovered, Recovery, RowEncoding, SinkConnector, SinkContext, SinkWriter, Staged};
use reprise_core::batch::Batch;
use reprise_core::codec::Checksum;
use reprise_core::topology::{self, Delivery, FileSink, SinkFormat, TakenBack};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

/// The sink that writes a file for each epoch and instance.
pub struct FileSinkConnector {
    folders: Folders,
    job: String,
    name: String,
    format: SinkFormat,
    delivery: Delivery,
    aside: TakenBack,
    encodings: Vec<RowEncoding>,
}

impl FileSinkConnector {
    /// A sink into the folder of the settings; nothing is made yet.
    #[must_use]
    pub fn new(settings: &FileSink, sink: &topology::Sink, around: &SinkContext, encodings: Vec<RowEncoding>) -> Self {
        let folders = Folders::new(around.base_dir.join(&settings.path), &around.sink);
        Self {
            folders,
            job: around.job.clone(),
            name: around.sink.clone(),
            format: settings.format,
            delivery: sink.delivery,
            aside: sink.taken_back,
            encodings,
        }
    }
}

impl SinkConnector for FileSinkConnector {
    fn writer(&self, instance: u32, generation: u64) -> Result<Box<dyn SinkWriter>, ConnectError> {
        self.folders.prepare(&self.job)?;
        Ok(Box::new(FilesWriter {
            folders: self.folders.clone(),
            delivery: self.delivery,
            rows: RowWriter::new(self.format, self.encodings.clone()),
            of: OutputName { epoch: 0, generation, instance, extension: super::extension(self.format) },
            epochs: OpenEpochs::new(&self.name),
        }))
    }

    fn holding(&self) -> Result<Holding, ConnectError> {
        self.folders.holding(&self.job)
    }

    fn publish(&self, staged: &[Staged]) -> Result<(), ConnectError> {
        self.folders.publish(staged).map(|_| ())
    }

    fn recover(&self, recovery: &Recovery, staged: &[Staged]) -> Result<Recovered, ConnectError> {
        for output in staged {
            let token = self.folders.token(output)?;
            super::check_epoch(&self.name, output, token.file.epoch, recovery)?;
        }
        self.folders.take(&self.job, recovery, staged)?;
        let mut done = Recovered { published: self.folders.publish(staged)?, ..Recovered::default() };
        // In this order: from here on no earlier run can make anything visible.
        done.removed = self.folders.remove_staged(recovery.generation)?;
        // Before anything is taken back: what goes aside now stays until a later start.
        done.expired = self.folders.expire(&self.aside, recovery.now_ms)?;
        if self.delivery == Delivery::ExactlyOnce {
            done.taken_back = self.folders.take_back(recovery)?;
        }
        Ok(done)
    }

    fn foreign(&self) -> Result<Foreign, ConnectError> {
        look_through(&self.folders.visible, &self.name)
    }

    fn exactly_once(&self) -> bool {
        self.delivery == Delivery::ExactlyOnce
    }
}

struct FilesWriter {
    folders: Folders,
    delivery: Delivery,
    rows: RowWriter,
    /// The name of all output, but for the epoch.
    of: OutputName,
    epochs: OpenEpochs<OpenFile>,
}

struct OpenFile {
    name: OutputName,
    path: PathBuf,
    file: File,
    rows: u64,
    bytes: u64,
    checksum: Checksum,
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.checksum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl OpenFile {
    fn new(folders: &Folders, delivery: Delivery, name: OutputName) -> Result<Self, ConnectError> {
        let (path, file) = match delivery {
            Delivery::Immediate => folders.create_immediate(&name)?,
            Delivery::ExactlyOnce => {
                let path = folders.staged_file(&name);
                // A file of this name is the leftover of a writer of this very run that failed before it sealed.
                let file = File::create(&path).map_err(ConnectError::io("make", &path))?;
                (path, file)
            }
        };
        Ok(Self { name, path, file, rows: 0, bytes: 0, checksum: Checksum::default() })
    }
}

impl SinkWriter for FilesWriter {
    fn write(&mut self, epoch: u64, input: u32, rows: &Batch) -> Result<(), ConnectError> {
        self.epochs.check_write(epoch)?;
        if rows.is_empty() {
            return Ok(());
        }
        let open = || OpenFile::new(&self.folders, self.delivery, OutputName { epoch, ..self.of.clone() });
        let target = self.epochs.of(epoch, open)?;
        // Nothing is held back in this process: with immediate delivery a reader sees the rows when this returns.
        let written = self.rows.write(input, rows, target);
        target.bytes += written.map_err(ConnectError::io("write", &target.path))?;
        target.rows += rows.len() as u64;
        Ok(())
    }

    fn seal(&mut self, epoch: u64) -> Result<Option<Staged>, ConnectError> {
        let Some(OpenFile { name, path, file, rows, bytes, checksum }) = self.epochs.seal(epoch)? else { return Ok(None) };
        file.sync_all().map_err(ConnectError::io("make durable", &path))?;
        if self.delivery == Delivery::Immediate {
            return sync_folder(&self.folders.visible).map(|()| None);
        }
        sync_folder(&self.folders.staged)?;
        let sealed = Sealed { file: name, checksum: Some(checksum.digest()) };
        Ok(Some(Staged { token: sealed.text(), rows, bytes }))
    }
}
