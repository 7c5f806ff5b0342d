//! State of one cell.

use super::{PartWriter, Scope, Slot, SlotKind, Written};
use crate::{Cell, Encoding};

/// One cell of state, kept by the instance. Until it is set it is the default of its type.
///
/// ```
/// # use reprise_guest::Value;
/// let mut rows = Value::<u64>::default();
/// *rows.entry() += 1;
/// assert_eq!(*rows.get(), 1);
/// ```
#[derive(Debug, Default)]
pub struct Value<T> {
    value: T,
    present: bool,
    changed: bool,
    read: bool,
}

impl<T: Cell> Value<T> {
    /// What it holds.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.value
    }

    /// What it holds, to be changed.
    pub fn entry(&mut self) -> &mut T {
        (self.present, self.changed) = (true, true);
        &mut self.value
    }

    /// Sets it.
    pub fn set(&mut self, value: T) {
        *self.entry() = value;
    }

    /// Empties it, and gives back what it held.
    pub fn remove(&mut self) -> T {
        (self.present, self.changed) = (false, true);
        std::mem::take(&mut self.value)
    }
}

impl<T: Cell> Slot for Value<T> {
    fn kind(&self) -> SlotKind {
        SlotKind::Instance
    }

    fn encoding(&self) -> Encoding {
        T::ENCODING
    }

    fn is_empty(&self) -> bool {
        !self.present
    }

    fn rewind(&mut self) {
        self.read = false;
    }

    fn read(&mut self, scope: Scope, part: &mut PartWriter) -> Result<bool, String> {
        let wanted = match scope {
            Scope::Full => self.present,
            Scope::Changes => self.changed,
        };
        if wanted && !self.read {
            self.read = part.push(b"", b"", self.present.then_some(&self.value))?;
            return Ok(self.read);
        }
        Ok(true)
    }

    fn forget_changes(&mut self) {
        self.changed = false;
    }

    fn restore(&mut self, key: &[u8], item: &[u8], value: Option<Written<'_>>) -> Result<(), String> {
        if !key.is_empty() || !item.is_empty() {
            return Err("a slot with one value has neither keys nor items".to_owned());
        }
        self.present = value.is_some();
        self.value = value.map(Written::read::<T>).transpose()?.unwrap_or_default();
        Ok(())
    }
}
