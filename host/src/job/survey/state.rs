//! The state of a checkpoint, cell by cell: the chains of all instances of an operator, folded.
//!
//! A full snapshot sets cells, each delta after it sets or removes some; instances are folded one by one and put together:
//!
//! | slot | over the instances |
//! |---|---|
//! | keyed | a cell is in one instance; in two it is damage |
//! | broadcast | the same everywhere: the copy of the first instance is taken |
//! | instance | each has its own, told apart by [`Place::instance`] |

use super::CELL_BYTES;
use super::error::SurveyError;
use super::which::Which;
use crate::job::error::failed;
use crate::store::Store;
use futures::{StreamExt, TryStreamExt};
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::manifest::{InstanceState, Manifest, OperatorState};
use reprise_core::checkpoint::objects::read_snapshot;
use reprise_core::description::{Slot, SlotKind};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Objects of a chain that are read ahead. Each may be as long as the store allows.
const CHAIN_READS_AT_ONCE: usize = 2;

/// Cells as a plain map, to compare: (slot, key, item) and value. A slot that is kept by instance stands there as `NAME@INSTANCE`.
pub type StateCells = BTreeMap<(String, Vec<u8>, Vec<u8>), Vec<u8>>;

/// Which cells to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this slot alone.
    pub slot: Option<String>,
    /// Those whose keys begin so.
    pub key_prefix: Vec<u8>,
    /// Those of this instance alone.
    pub instance: Option<u32>,
}

/// Where a cell is in its slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellPlace {
    /// The record key; empty in slots that are not keyed.
    pub key: Vec<u8>,
    /// The sub-key; empty where there is one value a key.
    pub item: Vec<u8>,
    /// The instance, for slots that are kept by instance.
    pub instance: Option<u32>,
}

/// What a cell holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellValue {
    /// The instance whose snapshot it comes from.
    pub instance: u32,
    /// The value.
    pub value: Vec<u8>,
}

/// The cells of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedSlot {
    /// The slot.
    pub slot: Slot,
    /// Its cells, by key, item and instance.
    pub cells: BTreeMap<CellPlace, CellValue>,
}

/// The cells of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Its slots, in the order of the manifest, without those that the filter leaves out.
    pub slots: Vec<FoldedSlot>,
}

/// Bytes that may still be kept.
pub(super) struct Budget {
    used: u64,
    bytes_max: u64,
}

impl Budget {
    pub fn new(bytes_max: u64) -> Self {
        Self { used: 0, bytes_max }
    }

    fn take(&mut self, bytes: usize, operator: &str) -> Result<(), SurveyError> {
        self.used = self.used.saturating_add(bytes as u64 + CELL_BYTES);
        if self.used <= self.bytes_max {
            return Ok(());
        }
        Err(SurveyError::Size {
            operator: operator.to_owned(),
            bytes_max: self.bytes_max,
            help: "narrow it down by `--slot`, `--key` or `--instance` where the command has them, or allow more with `--memory`",
        })
    }

    fn give_back(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes as u64 + CELL_BYTES);
    }
}

/// All cells of an operator, of at most `bytes_max` bytes; [`STATE_BYTES_MAX`](super::STATE_BYTES_MAX) serves most.
///
/// # Errors
/// As [`fold`].
pub async fn cells(objects: &Store, manifest: &Manifest, operator: &str, bytes_max: u64) -> Result<StateCells, SurveyError> {
    let folded = fold(objects, manifest, operator, &Filter::default(), bytes_max).await?;
    let of_slot = |slot: FoldedSlot| {
        let name = slot.slot.name;
        slot.cells.into_iter().map(move |(place, held)| {
            let slot = place.instance.map_or_else(|| name.clone(), |instance| format!("{name}@{instance}"));
            ((slot, place.key, place.item), held.value)
        })
    };
    Ok(folded.slots.into_iter().flat_map(of_slot).collect())
}

/// The cells of an operator that a filter lets through. Every object of the chains is verified before it is used.
///
/// # Errors
/// [`SurveyError::NotThere`] for an operator, slot or instance that the checkpoint does not have; [`SurveyError::Damaged`] for an object that
/// is missing or not what was written, or a keyed cell in two instances; [`SurveyError::Size`]; failures of the store.
pub async fn fold(objects: &Store, manifest: &Manifest, operator: &str, filter: &Filter, bytes_max: u64) -> Result<Folded, SurveyError> {
    let names = || manifest.operators.iter().map(|o| o.name.as_str());
    let found = manifest.operators.iter().find(|o| o.name == operator);
    let found = found.ok_or_else(|| not_there(manifest, &format!("operator `{}`", operator.escape_debug()), "operator", names()))?;
    fold_operator(objects, manifest, found, filter, &mut Budget::new(bytes_max)).await
}

/// As [`fold`], within a budget that several share.
pub(super) async fn fold_operator(
    objects: &Store,
    manifest: &Manifest,
    operator: &OperatorState,
    filter: &Filter,
    budget: &mut Budget,
) -> Result<Folded, SurveyError> {
    let what = |what: String| format!("{what} in operator `{}`", operator.name);
    if let Some(slot) = filter.slot.as_deref().filter(|slot| operator.slots.iter().all(|s| s.name != *slot)) {
        let names = operator.slots.iter().map(|s| s.name.as_str());
        return Err(not_there(manifest, &what(format!("slot `{}`", slot.escape_debug())), "slot", names));
    }
    if let Some(instance) = filter.instance.filter(|instance| *instance as usize >= operator.instances.len()) {
        let names: Vec<String> = (0..operator.instances.len()).map(|index| index.to_string()).collect();
        return Err(not_there(manifest, &what(format!("instance {instance}")), "instance", names.iter().map(String::as_str)));
    }
    let mut slots: Vec<FoldedSlot> = operator.slots.iter().map(|slot| FoldedSlot { slot: slot.clone(), cells: BTreeMap::new() }).collect();
    for (instance, index) in operator.instances.iter().zip(0..) {
        if filter.instance.is_some_and(|only| only != index) {
            continue;
        }
        let mut own = vec![BTreeMap::new(); slots.len()];
        fold_chain(objects, manifest, (operator, instance, index), filter, budget, &mut own).await?;
        for (slot, cells) in slots.iter_mut().zip(own) {
            merge(slot, cells, index, budget).map_err(|reason| damaged(manifest, &format!("operator `{}`: {reason}", operator.name)))?;
        }
    }
    slots.retain(|slot| filter.slot.as_ref().is_none_or(|only| *only == slot.slot.name));
    Ok(Folded { slots })
}

/// Cells of one instance, by key and item.
type Own = BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>;

async fn fold_chain(
    objects: &Store,
    manifest: &Manifest,
    (operator, instance, index): (&OperatorState, &InstanceState, u32),
    filter: &Filter,
    budget: &mut Budget,
    own: &mut [Own],
) -> Result<(), SurveyError> {
    let reads = futures::stream::iter(&instance.chain).map(|object| async move {
        let bytes = objects.get(&object.path).await.map_err(failed("read a snapshot"))?;
        Ok::<_, SurveyError>(read_snapshot(bytes.as_deref(), object, &manifest.job, (operator, index)))
    });
    let mut reads = reads.buffered(CHAIN_READS_AT_ONCE);
    while let Some(chunks) = reads.try_next().await? {
        for chunk in &chunks.map_err(|reason| damaged(manifest, &reason))? {
            let place = chunk.slot() as usize;
            let wanted = filter.slot.as_ref().is_none_or(|only| *only == operator.slots[place].name);
            if wanted {
                apply(&mut own[place], chunk, &filter.key_prefix, budget, &operator.name)?;
            }
        }
    }
    Ok(())
}

fn apply(own: &mut Own, chunk: &Chunk, key_prefix: &[u8], budget: &mut Budget, operator: &str) -> Result<(), SurveyError> {
    for cell in chunk.cells().filter(|cell| cell.key.starts_with(key_prefix)) {
        let size = cell.key.len() + cell.item.len();
        let place = (cell.key.to_vec(), cell.item.to_vec());
        let before = match cell.value {
            Some(value) => {
                budget.take(size + value.len(), operator)?;
                own.insert(place, value.to_vec())
            }
            None => own.remove(&place),
        };
        if let Some(before) = before {
            budget.give_back(size + before.len());
        }
    }
    Ok(())
}

fn merge(slot: &mut FoldedSlot, own: Own, instance: u32, budget: &mut Budget) -> Result<(), String> {
    let kind = slot.slot.kind;
    for ((key, item), value) in own {
        let size = key.len() + item.len() + value.len();
        let place = CellPlace { key, item, instance: (kind == SlotKind::Instance).then_some(instance) };
        match slot.cells.entry(place) {
            Entry::Vacant(vacant) => drop(vacant.insert(CellValue { instance, value })),
            Entry::Occupied(_) if kind == SlotKind::Broadcast => budget.give_back(size),
            Entry::Occupied(other) => {
                let (name, key) = (&slot.slot.name, other.key().key.escape_ascii());
                return Err(format!(
                    "the cell \"{key}\" of slot `{name}` is in instance {} and in instance {instance}",
                    other.get().instance
                ));
            }
        }
    }
    Ok(())
}

fn damaged(manifest: &Manifest, reason: &str) -> SurveyError {
    SurveyError::Damaged { checkpoint: Which::Epoch(manifest.epoch).to_string(), reason: reason.to_owned() }
}

fn not_there<'a>(manifest: &Manifest, what: &str, kind: &str, names: impl Iterator<Item = &'a str>) -> SurveyError {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let there = if names.is_empty() { format!("there is no {kind}") } else { format!("there is {}", names.join(", ")) };
    SurveyError::NotThere { checkpoint: Which::Epoch(manifest.epoch).to_string(), what: what.to_owned(), there }
}
