//! The order in which a writer must be called: no epoch that was sealed, or lies before one that was.

use crate::connect::ConnectError;

/// Remembers the last sealed epoch of a writer.
pub struct Order {
    sink: String,
    sealed: Option<u64>,
}

impl Order {
    /// Nothing is sealed yet.
    pub fn new(sink: &str) -> Self {
        Self { sink: sink.to_owned(), sealed: None }
    }

    /// Before rows of an epoch are written.
    ///
    /// # Errors
    /// [`ConnectError::Order`].
    pub fn check_write(&self, epoch: u64) -> Result<(), ConnectError> {
        self.check("write to", epoch)
    }

    /// Before an epoch is sealed.
    ///
    /// # Errors
    /// [`ConnectError::Order`].
    pub fn seal(&mut self, epoch: u64) -> Result<(), ConnectError> {
        self.check("seal", epoch)?;
        self.sealed = Some(epoch);
        Ok(())
    }

    fn check(&self, doing: &'static str, epoch: u64) -> Result<(), ConnectError> {
        match self.sealed {
            Some(sealed) if epoch <= sealed => Err(ConnectError::Order { sink: self.sink.clone(), doing, epoch, sealed }),
            _ => Ok(()),
        }
    }
}
