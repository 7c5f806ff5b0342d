//! What a checkpoint has, on its way to the instances of a run: the state of an operator, and its parked input. As long as there are as many
//! instances, each has its own again; else cells and rows go to the instances that own their keys now.

use super::layout::parked_for;
use super::manifest::{HOPS_MAX, ObjectRef, OperatorState, ParkedRef};
use crate::cells::Chunk;
use crate::codec::parked::ParkedItem;
use crate::description::{Slot, SlotKind};
use crate::keying;
use std::collections::BTreeMap;

/// The state that an instance begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DealtState {
    /// Cells in the order in which they are to be restored, with the slot numbers of the checkpoint.
    pub chunks: Vec<Chunk>,
    /// The watermark that the instance had been told; `i64::MIN` for none.
    pub watermark: i64,
    /// Deltas may follow on its chain; else the next snapshot must be full.
    pub continues: bool,
}

/// Deals the state of an operator out to so many instances of a component that has these slots. `read` gives the chunks of an object, by path.
///
/// # Errors
/// A slot that is kept by instance, of which there was another number.
pub fn deal_state<'a>(
    old: &'a OperatorState,
    slots: &[Slot],
    instances: u32,
    mut read: impl FnMut(&str) -> Vec<Chunk>,
) -> Result<Vec<DealtState>, &'a Slot> {
    let chains = old.instances.iter().map(|instance| {
        let chunks: Vec<Chunk> = instance.chain.iter().flat_map(|object| read(&object.path)).collect();
        (instance, chunks)
    });
    if old.instances.len() == instances as usize {
        let is_same = old.slots == slots;
        let own = chains.map(|(instance, chunks)| {
            let continues = is_same && !instance.chain.is_empty();
            DealtState { chunks, watermark: instance.watermark, continues }
        });
        return Ok(own.collect());
    }
    let watermark = old.instances.iter().map(|instance| instance.watermark).min().unwrap_or(i64::MIN);
    let none = DealtState { chunks: Vec::new(), watermark, continues: false };
    let mut dealt = vec![none; instances as usize];
    let owners = keying::owners(instances);
    for (old_instance, (_, chunks)) in chains.enumerate() {
        for chunk in chunks {
            let slot = &old.slots[chunk.slot() as usize];
            match slot.kind {
                SlotKind::Instance if chunk.is_empty() => {}
                SlotKind::Instance => return Err(slot),
                // The same everywhere: the first instance's copy serves all.
                SlotKind::Broadcast if old_instance > 0 => {}
                SlotKind::Broadcast => dealt.iter_mut().for_each(|to| to.chunks.push(chunk.clone())),
                SlotKind::Keyed => {
                    let mut parts = vec![Chunk::new(chunk.slot()); instances as usize];
                    for cell in chunk.cells() {
                        let part = &mut parts[owners[keying::group(cell.key).0 as usize] as usize];
                        part.push(cell).expect("a part is no larger than the chunk it comes from");
                    }
                    for (to, part) in dealt.iter_mut().zip(parts).filter(|(_, part)| !part.is_empty()) {
                        to.chunks.push(part);
                    }
                }
            }
        }
    }
    Ok(dealt)
}

/// The parked input of an operator on its way to the instances of a run. Its objects are looked into one after another; with another number of
/// instances that tells what of each is whose.
#[derive(Debug)]
pub struct ParkedDeal {
    parked: Vec<Vec<ParkedRef>>,
    moves: bool,
}

impl ParkedDeal {
    /// Begins with the parked input of an operator, for so many instances. `None`: it would move there, and has moved [`HOPS_MAX`] times already.
    #[must_use]
    pub fn new(old: &OperatorState, instances: u32) -> Option<Self> {
        let parked = parked_for(old, instances);
        let may_move = parked.iter().flatten().all(|of| of.hops.len() <= HOPS_MAX);
        may_move.then_some(Self { parked, moves: old.instances.len() != instances as usize })
    }

    /// Other instances than before get it.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.moves
    }

    /// The objects to look into, each once.
    #[must_use]
    pub fn objects(&self) -> Vec<ObjectRef> {
        let by_path: BTreeMap<&str, &ObjectRef> =
            self.parked.iter().flatten().map(|parked| (parked.object.path.as_str(), &parked.object)).collect();
        by_path.into_values().cloned().collect()
    }

    /// Takes what of an object waits for each instance that names it, as `waiting` has it.
    ///
    /// # Errors
    /// Those of `waiting`.
    pub fn look<E>(&mut self, path: &str, waiting: impl Fn(u32, &ParkedRef) -> Result<Vec<ParkedItem>, E>) -> Result<(), E> {
        for (instance, parked) in (0..).zip(&mut self.parked) {
            for of in parked.iter_mut().filter(|of| of.object.path == path) {
                let waiting = waiting(instance, of)?;
                if self.moves {
                    (of.rows, of.bytes) = ParkedItem::size_of(&waiting);
                }
            }
        }
        Ok(())
    }

    /// What each instance has of it. Objects of which no row waits for an instance are left out where they move.
    #[must_use]
    pub fn dealt(mut self) -> Vec<Vec<ParkedRef>> {
        if self.moves {
            self.parked.iter_mut().for_each(|parked| parked.retain(|of| of.rows > 0));
        }
        self.parked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Cell;
    use crate::checkpoint::manifest::{Hop, InstanceState};
    use crate::codec::snapshot::SnapshotScope;
    use crate::description::Encoding;
    use crate::ids::Digest;

    fn keyed(keys: std::ops::Range<u32>) -> Chunk {
        let mut chunk = Chunk::new(0);
        for key in keys {
            chunk.push(Cell { key: &key.to_le_bytes(), item: b"", value: Some(b"v") }).unwrap();
        }
        chunk
    }

    /// An operator with one slot, and an instance for each of these watermarks; the object of each is named after its index.
    fn operator(kind: SlotKind, watermarks: &[i64]) -> OperatorState {
        let slots = vec![Slot { name: "s".into(), kind, version: 2, encoding: Encoding::Bytes }];
        let instance = |(index, watermark): (usize, &i64)| {
            let object = ObjectRef::new(index.to_string(), SnapshotScope::Full, b"", 0);
            InstanceState { chain: vec![object], watermark: *watermark, ..InstanceState::default() }
        };
        let instances = watermarks.iter().enumerate().map(instance).collect();
        OperatorState { name: "o".into(), component: Digest([0; 32]), slots, instances }
    }

    #[test]
    fn keyed_cells_move_to_the_owners_of_their_keys() {
        let old = operator(SlotKind::Keyed, &[9, 7]);
        let read = |path: &str| vec![if path == "0" { keyed(0..100) } else { keyed(100..200) }];
        let dealt = deal_state(&old, &old.slots, 3, read).unwrap();
        let mut cells = 0;
        for (instance, state) in dealt.iter().enumerate() {
            assert_eq!((state.watermark, state.continues), (7, false));
            for chunk in &state.chunks {
                assert!(chunk.cells().all(|c| keying::owner(keying::group(c.key), 3) == instance as u32));
                cells += chunk.len();
            }
        }
        assert_eq!(cells, 200);
    }

    #[test]
    fn broadcast_cells_are_copied_and_instance_cells_cannot_move() {
        let read = |_: &str| vec![keyed(0..2)];
        let old = operator(SlotKind::Broadcast, &[0, 0]);
        let dealt = deal_state(&old, &old.slots, 3, read).unwrap();
        assert!(dealt.iter().all(|state| state.chunks == [keyed(0..2)]));
        let old = operator(SlotKind::Instance, &[0]);
        assert_eq!(deal_state(&old, &old.slots, 2, read).unwrap_err().name, "s");
    }

    #[test]
    fn parked_input_that_has_moved_too_often_stays_with_as_many_instances() {
        let mut old = operator(SlotKind::Keyed, &[0]);
        let (object, hop) = (ObjectRef::new("p".into(), SnapshotScope::Full, b"", 1), Hop { done: 0, from: 0, to: 0, of: 1 });
        let parked = |moves| vec![ParkedRef { object: object.clone(), hops: vec![hop; moves], done: 0, rows: 1, bytes: 1, since_ms: 0 }];
        old.instances[0].parked = parked(HOPS_MAX);
        assert_eq!(ParkedDeal::new(&old, 1).unwrap().dealt(), [parked(HOPS_MAX)]);
        assert!(ParkedDeal::new(&old, 2).is_none());
        old.instances[0].parked = parked(HOPS_MAX - 1);
        assert_eq!(ParkedDeal::new(&old, 2).unwrap().objects(), [object]);
    }

    #[test]
    fn instances_that_stay_as_many_have_their_own_again_and_go_on_where_slots_are_the_same() {
        let old = operator(SlotKind::Instance, &[5, 6]);
        let read = |path: &str| vec![keyed(0..path.parse::<u32>().unwrap() + 1)];
        let dealt = deal_state(&old, &old.slots, 2, read).unwrap();
        let state = |cells, watermark, continues| DealtState { chunks: vec![keyed(0..cells)], watermark, continues };
        assert_eq!(dealt, [state(1, 5, true), state(2, 6, true)]);
        assert_eq!(deal_state(&old, &[], 2, read).unwrap(), [state(1, 5, false), state(2, 6, false)]);
    }
}
