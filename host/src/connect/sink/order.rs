//! The order in which a writer must be called: no epoch that was sealed, or lies before one that was.

use crate::connect::ConnectError;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a writer has written of the epochs that are not sealed; mostly one. Remembers the last sealed epoch.
pub struct OpenEpochs<T> {
    sink: String,
    sealed: Option<u64>,
    open: BTreeMap<u64, T>,
}

impl<T> OpenEpochs<T> {
    /// Nothing is written or sealed yet.
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned(), sealed: None, open: BTreeMap::new() }
    }

    /// Before rows of an epoch are written.
    ///
    /// # Errors
    /// [`ConnectError::Order`].
    pub fn check_write(&self, epoch: u64) -> Result<(), ConnectError> {
        self.check("write to", epoch)
    }

    /// What is written of an epoch, begun where nothing is.
    ///
    /// # Errors
    /// Those of `begin`.
    pub fn of(&mut self, epoch: u64, begin: impl FnOnce() -> Result<T, ConnectError>) -> Result<&mut T, ConnectError> {
        match self.open.entry(epoch) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(begin()?)),
        }
    }

    /// Seals an epoch; gives what was written of it.
    ///
    /// # Errors
    /// [`ConnectError::Order`].
    pub fn seal(&mut self, epoch: u64) -> Result<Option<T>, ConnectError> {
        self.check("seal", epoch)?;
        self.sealed = Some(epoch);
        Ok(self.open.remove(&epoch))
    }

    fn check(&self, doing: &'static str, epoch: u64) -> Result<(), ConnectError> {
        match self.sealed {
            Some(sealed) if epoch <= sealed => Err(ConnectError::Order { sink: self.sink.clone(), doing, epoch, sealed }),
            _ => Ok(()),
        }
    }
}
