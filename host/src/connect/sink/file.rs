//! The sink `file`: rows of an epoch become one visible file for each instance, once the epoch's manifest exists. Exactly once.
//!
//! Many epochs make many small files; a longer `checkpoint.interval` makes fewer and larger ones. What is where: `staging.rs`.
//!
//! ```text
//! write ──> staged file ──seal: fsync──> durable ──manifest──> publish: rename ──> visible
//!                │                          │                                        │
//!                └── run dies: removed ─────┴── manifest never written: removed      └── older checkpoint taken up: moved aside
//! ```

use super::rows::RowWriter;
use super::staging::{Folders, Token};
use crate::connect::{ConnectError, Recovered, RowEncoding, Sink, SinkWriter, Staged};
use reprise_core::batch::Batch;
use reprise_core::topology::{FileSink, SinkFormat};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The sink `file`. See the module.
pub struct FilesSink {
    folders: Folders,
    job: String,
    name: String,
    format: SinkFormat,
    encodings: Vec<RowEncoding>,
}

impl FilesSink {
    /// A sink into the folder of the settings; nothing is made yet.
    pub fn new(settings: &FileSink, base_dir: &Path, job: &str, name: &str, encodings: Vec<RowEncoding>) -> Self {
        let folders = Folders::new(base_dir.join(&settings.path), name);
        Self { folders, job: job.to_owned(), name: name.to_owned(), format: settings.format, encodings }
    }
}

impl Sink for FilesSink {
    fn writer(&self, instance: u32, generation: u64) -> Result<Box<dyn SinkWriter>, ConnectError> {
        self.folders.prepare(&self.job)?;
        Ok(Box::new(FilesWriter {
            folders: self.folders.clone(),
            name: self.name.clone(),
            rows: RowWriter::new(self.format, self.encodings.clone()),
            extension: match self.format {
                SinkFormat::Json => "json",
                SinkFormat::Lines => "txt",
                SinkFormat::Csv => "csv",
            },
            instance,
            generation,
            open: BTreeMap::new(),
            sealed: None,
        }))
    }

    fn publish(&self, staged: &Staged) -> Result<(), ConnectError> {
        self.folders.publish(staged).map(|_| ())
    }

    fn recover(&self, recovered: Option<u64>, staged: &[Staged]) -> Result<Recovered, ConnectError> {
        self.folders.prepare(&self.job)?;
        let mut done = Recovered::default();
        for output in staged {
            let token = self.folders.token(output)?;
            if recovered.is_none_or(|recovered| token.epoch > recovered) {
                return Err(ConnectError::Corrupt {
                    what: format!(
                        "the checkpoint lists output `{}` of sink `{}`, which is of a later epoch than the checkpoint",
                        output.token, self.name
                    ),
                    help: "take up an older checkpoint".to_owned(),
                });
            }
            done.published += u64::from(self.folders.publish(output)?);
        }
        done.taken_back = self.folders.take_back(recovered)?;
        done.removed = self.folders.remove_staged()?;
        Ok(done)
    }

    fn exactly_once(&self) -> bool {
        true
    }
}

struct FilesWriter {
    folders: Folders,
    name: String,
    rows: RowWriter,
    extension: &'static str,
    instance: u32,
    generation: u64,
    /// Epochs that are not sealed; mostly one.
    open: BTreeMap<u64, OpenFile>,
    sealed: Option<u64>,
}

struct OpenFile {
    token: Token,
    path: PathBuf,
    file: File,
    rows: u64,
    bytes: u64,
}

impl FilesWriter {
    fn check_order(&self, doing: &'static str, epoch: u64) -> Result<(), ConnectError> {
        match self.sealed {
            Some(sealed) if epoch <= sealed => Err(ConnectError::Order { sink: self.name.clone(), doing, epoch, sealed }),
            _ => Ok(()),
        }
    }

    fn open(&self, epoch: u64) -> Result<OpenFile, ConnectError> {
        let token = Token { epoch, generation: self.generation, instance: self.instance, extension: self.extension };
        let path = self.folders.staged_file(&token);
        // A file of this name is the leftover of a writer of this very run that failed before it sealed.
        let file = File::create(&path).map_err(ConnectError::io("make", &path))?;
        Ok(OpenFile { token, path, file, rows: 0, bytes: 0 })
    }
}

impl SinkWriter for FilesWriter {
    fn write(&mut self, epoch: u64, input: u32, rows: &Batch) -> Result<(), ConnectError> {
        self.check_order("write to", epoch)?;
        if rows.is_empty() {
            return Ok(());
        }
        if !self.open.contains_key(&epoch) {
            let opened = self.open(epoch)?;
            self.open.insert(epoch, opened);
        }
        let Some(target) = self.open.get_mut(&epoch) else { return Ok(()) };
        target.bytes += self.rows.write(input, rows, &mut target.file).map_err(ConnectError::io("write", &target.path))?;
        target.rows += rows.len() as u64;
        Ok(())
    }

    fn seal(&mut self, epoch: u64) -> Result<Option<Staged>, ConnectError> {
        self.check_order("seal", epoch)?;
        self.sealed = Some(epoch);
        let Some(OpenFile { token, path, file, rows, bytes }) = self.open.remove(&epoch) else { return Ok(None) };
        file.sync_all().map_err(ConnectError::io("make durable", &path))?;
        self.folders.sync_staged()?;
        Ok(Some(Staged { token: token.text(), rows, bytes }))
    }
}
