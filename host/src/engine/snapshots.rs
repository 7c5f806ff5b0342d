//! When the snapshots of an operator's instance are read, and where they go.
//!
//! ```text
//!                                       ┌──> image, from which a successor is made
//!  end of epoch, or due ──> snapshot ───┼──> standby, where there is one
//!                                       └──> report of the epoch
//! ```

use super::event::Event;
use super::image::{Image, Versioned};
use super::operator::OperatorInstance;
use super::revive::Standby;
use crate::wasm::{GuestError, Instance, Scope};
use reprise_core::cells::Chunk;
use reprise_core::codec::snapshot;
use std::sync::Arc;
use std::time::Instant;

/// A snapshot to be reported.
type Snapshot = (snapshot::Scope, Vec<Arc<Versioned>>);

impl OperatorInstance {
    /// Reads a snapshot to its end.
    fn read_snapshot(&mut self, scope: Scope) -> Result<Vec<Arc<Versioned>>, GuestError> {
        let Some(instance) = &mut self.instance else { return Err(GuestError::missing()) };
        self.scope = scope;
        let mut chunks: Vec<Chunk> = Vec::new();
        let (part_bytes_max, control) = (self.blueprint.part_bytes_max, &self.control);
        let read = instance.read_snapshot_while(scope, part_bytes_max, &|| !control.aborted(), &mut |chunk| chunks.push(chunk));
        self.pass_log();
        read?;
        let slots = &self.blueprint.description.slots;
        let version = |chunk: &Chunk| slots.get(chunk.slot() as usize).map_or(0, |slot| slot.version);
        Ok(chunks.into_iter().map(|chunk| Arc::new(Versioned { version: version(&chunk), chunk })).collect())
    }

    /// The snapshot of an epoch.
    pub(super) fn snapshot(&mut self) -> Result<Option<Snapshot>, GuestError> {
        if !self.blueprint.has_state() {
            return Ok(None);
        }
        // The host compacts chains: it needs no full snapshot from the guest, unless it may not keep deltas, or an object was lost.
        let is_asked = self.control.takes_full(self.at);
        if self.continues && !is_asked {
            self.save_changes()?;
            if self.unreported.is_empty() {
                return Ok(None);
            }
            if self.blueprint.chain_length_max > 0 {
                return Ok(Some((snapshot::Scope::Delta, self.unreported.take())));
            }
        }
        // This may fail. Until it has not, changes are unreported and the full snapshot is due: a successor would have nothing to say.
        let full = self.read_snapshot(Scope::Full).inspect_err(|_| {
            if is_asked {
                self.control.ask_full(self.at);
            }
        })?;
        drop(self.unreported.take());
        self.log.clear();
        if let Some(image) = &mut self.image {
            image.replace(full.clone());
            // Cells that are gone are in no full snapshot: the standby would keep them.
            self.standby = None;
        }
        self.hold_image_to_its_limit();
        self.start_standby(Vec::new());
        if full.is_empty() && !self.continues {
            return Ok(None);
        }
        self.continues = true;
        Ok(Some((snapshot::Scope::Full, full)))
    }

    /// Reads what has changed since the last snapshot into the image.
    fn save_changes(&mut self) -> Result<(), GuestError> {
        let started = Instant::now();
        let changes = self.read_snapshot(Scope::Changes)?;
        self.pace.note_snapshot(started.elapsed());
        self.log.clear();
        let state_bytes = self.image.as_ref().map_or(u64::MAX, Image::bytes);
        self.unreported.append(changes.iter().cloned(), state_bytes);
        let Some(image) = &mut self.image else { return Ok(()) };
        image.append(changes.iter().cloned());
        image.tend();
        if !changes.is_empty() && self.standby.as_ref().is_some_and(|standby| !standby.apply(changes, image.bytes())) {
            self.standby = None;
        }
        self.hold_image_to_its_limit();
        self.start_standby(Vec::new());
        Ok(())
    }

    /// Reads a snapshot where repeating the calls since the last one would take too long, or too much memory.
    pub(super) fn snapshot_if_due(&mut self, more: u64) -> Result<(), GuestError> {
        let Some(image) = self.image.as_ref().filter(|_| self.blueprint.has_state()) else { return Ok(()) };
        if !self.pace.is_due(image.bytes(), self.log.logged(), more, self.standby.is_some()) {
            return Ok(());
        }
        self.save_changes()?;
        self.snapshot_search.succeeded(0);
        Ok(())
    }

    /// Says how long the instance would take to come back now.
    pub(super) fn predict(&self) {
        let predicted = self.pace.predicted(self.image.as_ref().map_or(0, Image::bytes), self.log.logged(), self.standby.is_some());
        self.blueprint.guard.predict(self.at.instance, predicted);
    }

    /// Tells once where the state has become too large to be back in time.
    pub(super) fn tell_if_too_slow(&self) {
        let Some(bytes) = self.image.as_ref().map(Image::bytes) else { return };
        let (guard, settings) = (&self.blueprint.guard, &self.blueprint.settings);
        if let Some(takes) = self.pace.restore_too_long(bytes).filter(|_| !settings.standby && guard.is_first_too_slow()) {
            let (operator, instance, within) = (settings.name.clone(), self.at.instance, settings.recover_within);
            (self.blueprint.events)(Event::TooSlow { operator, instance, instances: self.maker.parallelism, takes, within });
        }
    }

    /// Gives the image up where it is too large.
    pub(super) fn hold_image_to_its_limit(&mut self) {
        let Some(bytes) = self.image.as_ref().map(Image::bytes) else { return };
        if bytes > self.blueprint.settings.snapshot_copy_bytes_max {
            (self.image, self.standby) = (None, None);
            self.log.clear();
            let operator = self.blueprint.settings.name.clone();
            (self.blueprint.events)(Event::TooLarge { operator, instance: self.at.instance, bytes });
        }
    }

    /// Starts a standby where there should be one. `dead`: instances to be dropped before.
    pub(super) fn start_standby(&mut self, dead: Vec<Instance>) {
        if let Some(image) = self.image.as_ref().filter(|_| self.blueprint.settings.standby && self.standby.is_none()) {
            self.standby = Standby::start(self.maker.clone(), image.chunks().to_vec(), dead);
        }
    }
}
