//! The notes of a sink on what it has published: the newest epoch of each instance. All output of an instance up to it was visible once.

use super::output_name::{EPOCH_DIGITS, OutputName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Epochs by instance.
pub type Epochs = BTreeMap<u32, u64>;

/// The newest note of each instance, as far as it was looked up. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Published(Arc<Mutex<Epochs>>);

impl Published {
    /// The notes themselves.
    pub fn lock(&self) -> MutexGuard<'_, Epochs> {
        // The map is whole even if a thread panicked beside it: single inserts and removals are its only changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in notes that were found.
    pub fn learn(&self, found: impl IntoIterator<Item = (u32, u64)>) {
        raise(&mut self.lock(), found);
    }

    /// True where a note says that this output was visible.
    pub fn covers(&self, output: &OutputName) -> bool {
        self.lock().get(&output.instance).is_some_and(|&epoch| epoch >= output.epoch)
    }
}

/// The name of a note.
pub fn note_name(instance: u32, epoch: u64) -> String {
    format!("{instance}-{epoch:0EPOCH_DIGITS$}")
}

/// Reads the name of a note: instance and epoch; `None` for what cannot have been written here.
pub fn parse_note(name: &str) -> Option<(u32, u64)> {
    let (instance, epoch) = name.split_once('-')?;
    let (instance, epoch) = (instance.parse().ok()?, epoch.parse().ok()?);
    (note_name(instance, epoch) == name).then_some((instance, epoch))
}

/// The newest epoch of each instance.
pub fn newest_of(found: impl IntoIterator<Item = (u32, u64)>) -> Epochs {
    let mut newest = Epochs::new();
    raise(&mut newest, found);
    newest
}

fn raise(newest: &mut Epochs, found: impl IntoIterator<Item = (u32, u64)>) {
    for (instance, epoch) in found {
        let known = newest.entry(instance).or_insert(epoch);
        *known = epoch.max(*known);
    }
}

/// The notes that stand after a recovery, of those that were found of epochs before the run: of the epochs after the recovered one none is
/// published, and all up to it are.
pub fn standing(found: impl IntoIterator<Item = (u32, u64)>, recovered: Option<u64>) -> Epochs {
    let Some(recovered) = recovered else { return Epochs::new() };
    newest_of(found).into_iter().map(|(instance, newest)| (instance, newest.min(recovered))).collect()
}
