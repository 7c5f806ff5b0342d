//! The sink `file` with `delivery = "immediate"`: rows go to visible files as they come. At least once.
//!
//! A file holds the rows of one epoch of one instance of one run. It is durable when its epoch is sealed, before the manifest: so what a
//! checkpoint counts as written is there. A run that dies leaves its last files as they are, perhaps with a part of a row at the end, and
//! the next one shows the rows after the checkpoint again, in files of its own.

use super::order::Order;
use super::rows::RowWriter;
use super::staging::{Folders, Token};
use crate::connect::{ConnectError, SinkWriter, Staged};
use reprise_core::batch::Batch;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

/// Writes rows at once. See the module.
pub struct ImmediateWriter {
    folders: Folders,
    rows: RowWriter,
    /// What all files are of, but for the epoch.
    of: Token,
    /// Files of epochs that are not sealed; mostly one.
    open: BTreeMap<u64, (PathBuf, File)>,
    order: Order,
}

impl ImmediateWriter {
    /// One for the instance and generation of `of`.
    pub fn new(folders: Folders, rows: RowWriter, of: Token, order: Order) -> Self {
        Self { folders, rows, of, open: BTreeMap::new(), order }
    }
}

impl SinkWriter for ImmediateWriter {
    fn write(&mut self, epoch: u64, input: u32, rows: &Batch) -> Result<(), ConnectError> {
        self.order.check_write(epoch)?;
        if rows.is_empty() {
            return Ok(());
        }
        if !self.open.contains_key(&epoch) {
            let opened = self.folders.create_immediate(&Token { epoch, ..self.of.clone() })?;
            self.open.insert(epoch, opened);
        }
        let Some((path, file)) = self.open.get_mut(&epoch) else { return Ok(()) };
        // Nothing is held back in this process: a reader sees the rows when this returns.
        self.rows.write(input, rows, file).map(|_| ()).map_err(ConnectError::io("write", path))
    }

    fn seal(&mut self, epoch: u64) -> Result<Option<Staged>, ConnectError> {
        self.order.seal(epoch)?;
        if let Some((path, file)) = self.open.remove(&epoch) {
            file.sync_all().map_err(ConnectError::io("make durable", &path))?;
            self.folders.sync_visible()?;
        }
        Ok(None)
    }
}
