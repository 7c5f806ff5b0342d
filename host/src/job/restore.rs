//! Taking up again: the state of a checkpoint, instance by instance, for components that may describe themselves otherwise by now.

use super::error::Error;
use super::recovery::LoadedCheckpoint;
use reprise_core::checkpoint::manifest::OperatorState;
use reprise_core::checkpoint::restore::deal_state;
use reprise_core::description::{Description, Slot};
use reprise_core::ids::Epoch;
use reprise_core::operator::{Restored, VersionedChunk};

impl LoadedCheckpoint {
    /// The state of every instance of one operator, for so many instances of a component that describes itself so. Takes the chunks
    /// out of the checkpoint.
    pub fn state_of(&mut self, operator: &str, description: &Description, instances: u32) -> Result<Vec<Restored>, Error> {
        let epoch = self.manifest.epoch;
        let Some(old) = self.manifest.operators.iter().find(|o| o.name == operator) else {
            return Ok((0..instances).map(|_| Restored { watermark: i64::MIN, ..Restored::default() }).collect());
        };
        let slots = if has_state(old) { moves(old, description, epoch)? } else { Vec::new() };
        let read = |path: &str| self.chunks.remove(path).unwrap_or_default();
        let dealt = deal_state(old, &description.slots, instances, read).map_err(|slot| Error::Misfit {
            epoch,
            what: format!("operator `{operator}` keeps the slot `{}` per instance, of which there were {}", slot.name, old.instances.len()),
            help: format!("let it have {} again, by `--workers` and `parallelism`", old.instances.len()),
        })?;
        let restored = dealt.into_iter().map(|state| {
            let moved = state.chunks.into_iter().map(|chunk| {
                let slot = chunk.slot() as usize;
                VersionedChunk { version: old.slots[slot].version, chunk: chunk.with_slot(slots[slot]) }
            });
            Restored { chunks: moved.collect(), watermark: state.watermark, continues: state.continues, ..Restored::default() }
        });
        Ok(restored.collect())
    }
}

/// Some instance of the operator has cells.
pub(super) fn has_state(operator: &OperatorState) -> bool {
    operator.instances.iter().any(|instance| !instance.chain.is_empty())
}

/// The number that each slot of a checkpoint has in a component that describes itself so.
///
/// # Errors
/// A slot that the component does not have.
pub(super) fn moves(old: &OperatorState, description: &Description, epoch: Epoch) -> Result<Vec<u32>, Error> {
    let operator = &old.name;
    let to = |slot: &Slot| {
        let now = description.slots.iter().position(|now| now.name == slot.name && now.kind == slot.kind);
        now.map(|now| now as u32).ok_or_else(|| Error::Misfit {
            epoch,
            what: format!("operator `{operator}` has state in the {:?} slot `{}`, which its component no longer has", slot.kind, slot.name),
            help: "give the component a slot of that name and kind, or the operator another name".into(),
        })
    };
    old.slots.iter().map(to).collect()
}
