//! Taking up again: the state of a checkpoint, instance by instance.

use super::error::Error;
use super::recovery::LoadedCheckpoint;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::manifest::{InstanceState, OperatorState};
use reprise_core::description::{Description, Slot, SlotKind};
use reprise_core::ids::Epoch;
use reprise_core::keying;
use reprise_core::operator::{Restored, VersionedChunk};

impl LoadedCheckpoint {
    /// The state of every instance of one operator, for so many instances of a component that describes itself so. Takes the chunks
    /// out of the checkpoint.
    pub fn state_of(&mut self, operator: &str, description: &Description, instances: u32) -> Result<Vec<Restored>, Error> {
        let epoch = self.manifest.epoch;
        let Some(old) = self.manifest.operators.iter().find(|o| o.name == operator) else {
            return Ok((0..instances).map(|_| fresh()).collect());
        };
        let misfit = |what: String, help: &str| Error::Misfit { epoch, what, help: help.into() };
        if !has_state(old) {
            let watermark = |index: usize| match old.instances.len() == instances as usize {
                true => old.instances[index].watermark,
                false => old.instances.iter().map(|i| i.watermark).min().unwrap_or(i64::MIN),
            };
            return Ok((0..instances as usize).map(|index| Restored { watermark: watermark(index), ..Restored::default() }).collect());
        }
        let slots = moves(old, description, epoch)?;
        let mut chains: Vec<(Vec<Chunk>, &InstanceState)> = Vec::new();
        for instance in &old.instances {
            let mut chain = Vec::new();
            for object in &instance.chain {
                chain.extend(self.chunks.remove(&object.path).unwrap_or_default());
            }
            chains.push((chain, instance));
        }
        let same_slots = old.slots == description.slots;
        if old.instances.len() == instances as usize {
            let own = chains.into_iter().map(|(chunks, instance)| Restored {
                chunks: chunks.into_iter().map(|chunk| slots[chunk.slot() as usize].of(chunk)).collect(),
                watermark: instance.watermark,
                continues: same_slots && !instance.chain.is_empty(),
                ..Restored::default()
            });
            return Ok(own.collect());
        }
        let watermark = old.instances.iter().map(|i| i.watermark).min().unwrap_or(i64::MIN);
        spread(chains.into_iter().map(|(chunks, _)| chunks), &slots, watermark, instances).map_err(|slot| {
            let name = old.slots.get(slot as usize).map_or("?", |s| s.name.as_str());
            let what = format!("operator `{operator}` keeps the slot `{name}` per instance, of which there were {}", old.instances.len());
            misfit(what, &format!("let it have {} again, by `--workers` and `parallelism`", old.instances.len()))
        })
    }
}

/// Some instance of the operator has cells.
pub(super) fn has_state(operator: &OperatorState) -> bool {
    operator.instances.iter().any(|instance| !instance.chain.is_empty())
}

fn fresh() -> Restored {
    Restored { watermark: i64::MIN, ..Restored::default() }
}

/// Where the cells of each slot of a checkpoint go in a component that describes itself so.
///
/// # Errors
/// A slot that the component does not have.
pub(super) fn moves(old: &OperatorState, description: &Description, epoch: Epoch) -> Result<Vec<Moved>, Error> {
    let operator = &old.name;
    let to = |slot: &Slot| {
        let now = description.slots.iter().position(|now| now.name == slot.name && now.kind == slot.kind);
        let misfit = || Error::Misfit {
            epoch,
            what: format!("operator `{operator}` has state in the {:?} slot `{}`, which its component no longer has", slot.kind, slot.name),
            help: "give the component a slot of that name and kind, or the operator another name".into(),
        };
        Ok(Moved { to: now.ok_or_else(misfit)? as u32, kind: slot.kind, version: slot.version })
    };
    old.slots.iter().map(to).collect()
}

/// Where the cells of a slot of the checkpoint go.
pub(super) struct Moved {
    /// Number of the slot in the present component.
    to: u32,
    kind: SlotKind,
    /// The version that the slot had when its cells were written.
    version: u32,
}

impl Moved {
    /// A chunk as it is to be restored.
    fn of(&self, chunk: Chunk) -> VersionedChunk {
        VersionedChunk { version: self.version, chunk: chunk.with_slot(self.to) }
    }
}

/// Deals the cells of all old instances out to another number of new ones. The error is a slot that cannot be dealt out.
fn spread(chains: impl Iterator<Item = Vec<Chunk>>, slots: &[Moved], watermark: i64, instances: u32) -> Result<Vec<Restored>, u32> {
    let mut dealt: Vec<Restored> = (0..instances).map(|_| Restored { watermark, ..Restored::default() }).collect();
    let owners = keying::owners(instances);
    for (old_instance, chain) in chains.enumerate() {
        for chunk in chain {
            let slot = &slots[chunk.slot() as usize];
            match slot.kind {
                SlotKind::Instance if chunk.is_empty() => {}
                SlotKind::Instance => return Err(chunk.slot()),
                // The same everywhere: the first instance's copy serves all.
                SlotKind::Broadcast if old_instance > 0 => {}
                SlotKind::Broadcast => dealt.iter_mut().for_each(|to| to.chunks.push(slot.of(chunk.clone()))),
                SlotKind::Keyed => {
                    let mut parts: Vec<Chunk> = (0..instances).map(|_| Chunk::new(chunk.slot())).collect();
                    for cell in chunk.cells() {
                        let part = &mut parts[owners[keying::group(cell.key).0 as usize] as usize];
                        part.push(cell).expect("a part is no larger than the chunk it comes from");
                    }
                    for (to, part) in dealt.iter_mut().zip(parts) {
                        if !part.is_empty() {
                            to.chunks.push(slot.of(part));
                        }
                    }
                }
            }
        }
    }
    Ok(dealt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::cells::Cell;

    fn keyed(keys: std::ops::Range<u32>) -> Chunk {
        let mut chunk = Chunk::new(0);
        for key in keys {
            chunk.push(Cell { key: &key.to_le_bytes(), item: b"", value: Some(b"v") }).unwrap();
        }
        chunk
    }

    fn moved(to: u32, kind: SlotKind) -> [Moved; 1] {
        [Moved { to, kind, version: 2 }]
    }

    #[test]
    fn keyed_cells_move_to_the_owners_of_their_keys() {
        let dealt = spread([vec![keyed(0..100)], vec![keyed(100..200)]].into_iter(), &moved(3, SlotKind::Keyed), 7, 3).unwrap();
        let mut cells = 0;
        for (instance, restored) in dealt.iter().enumerate() {
            assert_eq!((restored.watermark, restored.continues), (7, false));
            for VersionedChunk { version, chunk } in &restored.chunks {
                assert_eq!((*version, chunk.slot()), (2, 3));
                assert!(chunk.cells().all(|c| keying::owner(keying::group(c.key), 3) == instance as u32));
                cells += chunk.len();
            }
        }
        assert_eq!(cells, 200);
    }

    #[test]
    fn broadcast_cells_are_copied_and_instance_cells_cannot_move() {
        let dealt = spread([vec![keyed(0..2)], vec![keyed(0..2)]].into_iter(), &moved(0, SlotKind::Broadcast), 0, 3).unwrap();
        assert!(dealt.iter().all(|restored| restored.chunks == [VersionedChunk { version: 2, chunk: keyed(0..2) }]));
        assert_eq!(spread([vec![keyed(0..2)]].into_iter(), &moved(0, SlotKind::Instance), 0, 2).unwrap_err(), 0);
    }
}
