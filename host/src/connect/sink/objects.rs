//! The sink `objects`: rows of an epoch become new objects in a bucket, a folder or memory, each complete or absent.
//!
//! ```text
//! write ──> buffer ──part-bytes are full, or seal──> staged object ──manifest──> publish: copy ──> visible
//!             │                                          │                                            │
//!             └── run dies: gone ────────────────────────┴── no manifest names it: removed            └── older checkpoint taken up: set aside
//! ```
//! With `delivery = "immediate"` a full part, and what is left at the end of an epoch, goes to a visible name right away.
//!
//! Names and laws: `place.rs`. Storage is asynchronous and connectors block, so calls are handed to the runtime and waited for.

mod place;
#[cfg(test)]
mod tests;
mod token;

use super::foreign::{Foreign, look_through};
use super::order::OpenEpochs;
use super::output_name::OutputName;
use super::rows::RowWriter;
use crate::connect::holding::Holding;
use crate::connect::{ConnectError, Recovered, Recovery, RowEncoding, SinkConnector, SinkContext, SinkWriter, Staged};
use crate::store::Store;
use bytes::Bytes;
use place::{ObjectsPlace, Trust};
use reprise_core::batch::Batch;
use reprise_core::codec::checksum;
use reprise_core::topology::{self, Delivery, SinkFormat};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc;
use token::{ObjectPart, ObjectsToken, PARTS_MAX};
use tokio::runtime::Handle;

/// The sink that writes objects for each epoch and instance.
pub struct ObjectsSinkConnector {
    to: Target,
    name: String,
    format: SinkFormat,
    aside_bytes_max: u64,
    encodings: Vec<RowEncoding>,
}

/// The place where a sink writes objects, and how it does.
#[derive(Clone)]
struct Target {
    place: ObjectsPlace,
    runtime: Handle,
    part_bytes_max: usize,
    delivery: Delivery,
}

/// Waits on this thread for work that the runtime does.
fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T, ConnectError>> + Send + 'static,
) -> Result<T, ConnectError> {
    let (tell, told) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody listens any more only where the waiting thread is gone.
        let _ = tell.send(work.await);
    });
    told.recv().unwrap_or_else(|_| {
        let ends = io::Error::other("the host is ending");
        Err(ConnectError::Io { doing: "use", path: PathBuf::from("object storage"), source: ends })
    })
}

impl ObjectsSinkConnector {
    /// Opens the place at the url of the settings; nothing is written yet. Blocks, as all calls of this sink do.
    ///
    /// # Errors
    /// [`ConnectError::Storage`] where the url cannot be used.
    pub fn open(
        settings: &topology::ObjectsSink,
        sink: &topology::Sink,
        around: &SinkContext,
        encodings: Vec<RowEncoding>,
    ) -> Result<Self, ConnectError> {
        let (url, around_it) = (settings.url.clone(), around.clone());
        let opening = async move {
            let opened = Store::open_place_with(&url, &around_it.base_dir, around_it.storage, around_it.intercept).await;
            opened.map_err(ConnectError::storage("open the output"))
        };
        let store = wait(&around.runtime, opening)?;
        Ok(Self::with(store, settings, sink, around, encodings))
    }

    /// One whose place is open.
    fn with(
        store: Store,
        settings: &topology::ObjectsSink,
        sink: &topology::Sink,
        around: &SinkContext,
        encodings: Vec<RowEncoding>,
    ) -> Self {
        let to = Target {
            place: ObjectsPlace::new(store, &around.job, &around.sink),
            runtime: around.runtime.clone(),
            part_bytes_max: usize::try_from(settings.part_bytes_max).unwrap_or(usize::MAX),
            delivery: sink.delivery,
        };
        Self { to, name: around.sink.clone(), format: settings.format, aside_bytes_max: sink.taken_back.bytes_max, encodings }
    }
}

impl SinkConnector for ObjectsSinkConnector {
    fn writer(&self, instance: u32, generation: u64) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(ObjectsWriter {
            to: self.to.clone(),
            rows: RowWriter::new(self.format, self.encodings.clone()),
            of: OutputName { epoch: 0, generation, instance, extension: super::extension(self.format) },
            epochs: OpenEpochs::new(&self.name),
        }))
    }

    fn holding(&self) -> Result<Holding, ConnectError> {
        let place = self.to.place.clone();
        wait(&self.to.runtime, async move { place.holding().await })
    }

    fn publish(&self, staged: &[Staged]) -> Result<(), ConnectError> {
        let tokens = staged.iter().map(|output| self.to.place.token(output)).collect::<Result<Vec<ObjectsToken>, ConnectError>>()?;
        let place = self.to.place.clone();
        wait(&self.to.runtime, async move { place.publish_all(&tokens, Trust::Ours).await.map(|_| ()) })
    }

    fn recover(&self, recovery: &Recovery, staged: &[Staged]) -> Result<Recovered, ConnectError> {
        let tokens = staged.iter().map(|output| {
            let token = self.to.place.token(output)?;
            super::check_epoch(&self.name, output, token.name.epoch, recovery)?;
            Ok(token)
        });
        let tokens = tokens.collect::<Result<Vec<ObjectsToken>, ConnectError>>()?;
        let (place, delivery, recovery, bytes_max) = (self.to.place.clone(), self.to.delivery, *recovery, self.aside_bytes_max);
        wait(&self.to.runtime, async move {
            place.take(&recovery, &tokens).await?;
            let mut done = Recovered { published: place.publish_all(&tokens, Trust::Nobody).await?, ..Recovered::default() };
            // In this order: from here on no earlier run can make anything visible.
            done.removed = place.remove_staged(recovery.generation).await?;
            // Before anything is taken back: what goes aside now stays until a later start.
            done.expired = place.expire(bytes_max).await?;
            if delivery == Delivery::ExactlyOnce {
                done.taken_back = place.take_back(&recovery).await?;
            }
            Ok(done)
        })
    }

    fn foreign(&self) -> Result<Foreign, ConnectError> {
        let place = self.to.place.clone();
        match place.folder() {
            Some(folder) => look_through(&folder, &self.name),
            None => wait(&self.to.runtime, async move { place.foreign().await }),
        }
    }

    fn exactly_once(&self) -> bool {
        self.to.delivery == Delivery::ExactlyOnce
    }
}

struct ObjectsWriter {
    to: Target,
    rows: RowWriter,
    /// The name of all output, but for the epoch.
    of: OutputName,
    epochs: OpenEpochs<OpenEpoch>,
}

/// Rows of one epoch. As a writer it takes whole rows only, many or one at a time.
struct OpenEpoch {
    to: Target,
    /// The parts that are stored.
    token: ObjectsToken,
    /// The number of the next part.
    next: usize,
    /// Rows that are not stored yet.
    buffer: Vec<u8>,
    rows: u64,
    /// Why a part could not be stored.
    failed: Option<ConnectError>,
}

impl OpenEpoch {
    fn new(to: Target, name: OutputName) -> Self {
        let token = ObjectsToken { name, parts: Vec::new() };
        Self { to, token, next: 0, buffer: Vec::new(), rows: 0, failed: None }
    }

    /// Stores what is in the buffer as a part of its own.
    fn store(&mut self) -> Result<(), ConnectError> {
        if self.token.parts.len() >= PARTS_MAX {
            let what = format!("an instance would write more than {PARTS_MAX} objects in epoch {}", self.token.name.epoch);
            return Err(ConnectError::config(what, "raise `part-bytes`, or lower `checkpoint.interval`"));
        }
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let stored = ObjectPart { bytes: bytes.len() as u64, checksum: Some(checksum(&bytes)) };
        let (place, output, part) = (self.to.place.clone(), self.token.name.clone(), self.next);
        let used = match self.to.delivery {
            Delivery::ExactlyOnce => wait(&self.to.runtime, async move { place.stage(&output, part, bytes).await.map(|()| part) })?,
            Delivery::Immediate => wait(&self.to.runtime, async move { place.show(&output, part, bytes).await })?,
        };
        self.next = used + 1;
        self.token.parts.push(stored);
        Ok(())
    }
}

impl Write for OpenEpoch {
    fn write(&mut self, whole_rows: &[u8]) -> io::Result<usize> {
        if !self.buffer.is_empty() && self.buffer.len() + whole_rows.len() > self.to.part_bytes_max {
            self.store().map_err(|error| {
                self.failed = Some(error);
                io::Error::other("a part was not stored")
            })?;
        }
        self.buffer.extend_from_slice(whole_rows);
        Ok(whole_rows.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SinkWriter for ObjectsWriter {
    fn write(&mut self, epoch: u64, input: u32, rows: &Batch) -> Result<(), ConnectError> {
        self.epochs.check_write(epoch)?;
        if rows.is_empty() {
            return Ok(());
        }
        let open = || Ok(OpenEpoch::new(self.to.clone(), OutputName { epoch, ..self.of.clone() }));
        let target = self.epochs.of(epoch, open)?;
        target.rows += rows.len() as u64;
        match self.rows.write(input, rows, target) {
            Ok(_) => Ok(()),
            Err(error) => Err(target.failed.take().unwrap_or_else(|| {
                // Nothing else fails in a buffer.
                ConnectError::Io { doing: "write to", path: PathBuf::from("a buffer"), source: error }
            })),
        }
    }

    fn seal(&mut self, epoch: u64) -> Result<Option<Staged>, ConnectError> {
        let Some(mut sealed) = self.epochs.seal(epoch)? else { return Ok(None) };
        if !sealed.buffer.is_empty() {
            sealed.store()?;
        }
        match self.to.delivery {
            Delivery::Immediate => Ok(None),
            Delivery::ExactlyOnce => {
                let bytes = sealed.token.bytes().unwrap_or(u64::MAX);
                Ok(Some(Staged { token: sealed.token.text(), rows: sealed.rows, bytes }))
            }
        }
    }
}
