//! When the snapshots of an operator's instance are read, and where they go.
//!
//! ```text
//!                                       ┌──> image, from which a successor is made
//!  end of epoch, or due ──> snapshot ───┼──> standby, where there is one
//!                                       └──> report of the epoch
//! ```
//!
//! A snapshot that takes longer than a turn goes on in the next one. The unit of work that it belongs to stays until then, so that the
//! guest is called for nothing else meanwhile.

use super::control::Failure;
use super::event::Event;
use super::image::{Image, Versioned};
use super::inbox::Risen;
use super::operator::{OperatorInstance, Unit, Work};
use super::replay::ENTRY_BYTES;
use super::revive::Standby;
use crate::wasm::{GuestError, Instance, Reading, Scope};
use reprise_core::codec::snapshot;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What comes of a turn with a snapshot.
pub(super) enum Turned<T> {
    /// It goes on in the next one.
    Unfinished,
    /// It is done.
    Done(T),
}

/// A snapshot to be reported; `None` where there is nothing to say.
type Snapshot = Option<(snapshot::SnapshotScope, Vec<Arc<Versioned>>)>;

/// A snapshot that is being read, or is at its end.
pub(super) struct UnderWay {
    reading: Reading,
    chunks: Vec<Arc<Versioned>>,
    /// How long it took so far, without pauses.
    took: Duration,
    /// A full one that was asked for.
    is_asked: bool,
}

impl OperatorInstance {
    /// Reads a snapshot, or goes on with it.
    fn read_snapshot(&mut self, scope: Scope, is_asked: bool) -> Result<Turned<UnderWay>, GuestError> {
        let Some(instance) = &mut self.instance else { return Err(GuestError::missing()) };
        let started = Instant::now();
        self.scope = scope;
        let mut under_way = self.under_way.take().unwrap_or_else(|| {
            let reading = instance.begin_snapshot(scope, self.blueprint.part_bytes_max);
            UnderWay { reading, chunks: Vec::new(), took: Duration::ZERO, is_asked }
        });
        let UnderWay { reading, chunks, .. } = &mut under_way;
        let (slots, control, turn_ends) = (&self.blueprint.description.slots, &self.control, self.turn_ends);
        let version = |slot: u32| slots.get(slot as usize).map_or(0, |slot| slot.version);
        let pauses = || control.aborted() || Instant::now() >= turn_ends;
        let is_done = instance.read_on(reading, &pauses, &mut |chunk| {
            chunks.push(Arc::new(Versioned { version: version(chunk.slot()), chunk }));
        });
        self.pass_log();
        let is_done = is_done?;
        under_way.took += started.elapsed();
        if is_done {
            return Ok(Turned::Done(under_way));
        }
        self.under_way = Some(under_way);
        Ok(Turned::Unfinished)
    }

    /// The snapshot of an epoch.
    pub(super) fn snapshot(&mut self) -> Result<Turned<Snapshot>, GuestError> {
        if !self.blueprint.has_state() {
            return Ok(Turned::Done(None));
        }
        let under_way = self.under_way.as_ref().map(|under_way| (under_way.reading.scope(), under_way.is_asked));
        // The host compacts chains: it needs no full snapshot from the guest, unless it may not keep deltas, or an object was lost.
        let (is_full, is_asked) = match under_way {
            Some((scope, is_asked)) => (scope == Scope::Full, is_asked),
            None => {
                let is_asked = self.control.takes_full(self.at);
                (is_asked || !self.continues, is_asked)
            }
        };
        if !is_full {
            if let Turned::Unfinished = self.save_changes()? {
                return Ok(Turned::Unfinished);
            }
            if self.unreported.is_empty() {
                return Ok(Turned::Done(None));
            }
            if self.blueprint.chain_length_max > 0 {
                return Ok(Turned::Done(Some((snapshot::SnapshotScope::Delta, self.unreported.take()))));
            }
        }
        // This may fail. Until it has not, changes are unreported and the full snapshot is due: a successor would have nothing to say.
        let read = self.read_snapshot(Scope::Full, is_asked).inspect_err(|_| {
            if is_asked {
                self.control.ask_full(self.at);
            }
        })?;
        let Turned::Done(UnderWay { chunks: full, .. }) = read else { return Ok(Turned::Unfinished) };
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
            return Ok(Turned::Done(None));
        }
        self.continues = true;
        Ok(Turned::Done(Some((snapshot::SnapshotScope::Full, full))))
    }

    /// Reads what has changed since the last snapshot into the image.
    fn save_changes(&mut self) -> Result<Turned<()>, GuestError> {
        let read = self.read_snapshot(Scope::Changes, false)?;
        let Turned::Done(UnderWay { chunks: changes, took, .. }) = read else { return Ok(Turned::Unfinished) };
        self.pace.note_snapshot(took);
        self.log.clear();
        let state_bytes = self.image.as_ref().map_or(u64::MAX, Image::bytes);
        self.unreported.append(changes.iter().cloned(), state_bytes);
        let Some(image) = &mut self.image else { return Ok(Turned::Done(())) };
        image.append(changes.iter().cloned());
        image.tend();
        if !changes.is_empty() && self.standby.as_ref().is_some_and(|standby| !standby.apply(changes, image.bytes())) {
            self.standby = None;
        }
        self.hold_image_to_its_limit();
        self.start_standby(Vec::new());
        Ok(Turned::Done(()))
    }

    /// Reads a snapshot where one is due before a unit. Gives the unit back where it can be worked on.
    pub(super) fn save_before(&mut self, unit: Unit) -> Result<Option<Unit>, Failure> {
        let more = match &unit.work {
            Work::Rows { rows, .. } => rows.size_bytes() as u64,
            Work::Watermark(Risen { is_new: true, .. }) => ENTRY_BYTES,
            Work::Watermark(_) | Work::EndOfEpoch { .. } => return Ok(Some(unit)),
        };
        match self.snapshot_if_due(more) {
            // Its last part may have taken long.
            Ok(Turned::Done(was_due)) if !was_due || Instant::now() < self.turn_ends => Ok(Some(unit)),
            Ok(_) => {
                self.unit = Some(unit);
                Ok(None)
            }
            Err(error) => self.snapshot_failed(unit, error, "a snapshot between two checkpoints").map(|()| None),
        }
    }

    /// Reads a snapshot where repeating the calls since the last one would take too long, or too much memory. Says whether it was.
    fn snapshot_if_due(&mut self, more: u64) -> Result<Turned<bool>, GuestError> {
        let Some(image) = self.image.as_ref().filter(|_| self.blueprint.has_state()) else { return Ok(Turned::Done(false)) };
        let is_due = || self.pace.is_due(image.bytes(), self.log.logged(), more, self.standby.is_some());
        if self.under_way.is_none() && !is_due() {
            return Ok(Turned::Done(false));
        }
        let Turned::Done(()) = self.save_changes()? else { return Ok(Turned::Unfinished) };
        self.snapshot_search.succeeded(0);
        Ok(Turned::Done(true))
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
