//! The way of one output from where it is staged to where it is visible: how far it has come, and what is said where it is lost or another.

use crate::connect::ConnectError;

/// What to do where an output is not what was sealed.
const PRODUCE_AGAIN: &str = "move it away and take up an older checkpoint; its output is then produced again";

/// An output that is to become visible. Its places are as people see them.
pub struct Passage {
    pub epoch: u64,
    /// Bytes that were sealed.
    pub bytes: u64,
    /// The place where it is staged.
    pub from: String,
    /// The place where it becomes visible.
    pub to: String,
}

/// The places where an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    Staged,
    Visible,
    /// In both, with as many bytes.
    Both,
    Nowhere,
}

impl Passage {
    /// Tells how far an output has come by the length of what is staged, and of what is visible.
    ///
    /// # Errors
    /// [`ConnectError::Corrupt`] where there is something else than was sealed.
    pub fn judge(&self, staged: Option<u64>, visible: Option<u64>) -> Result<Whereabouts, ConnectError> {
        let has = |path: &str, found: u64| {
            let what = format!("`{path}` has {found} bytes, but {} were sealed as output of epoch {}", self.bytes, self.epoch);
            Err(ConnectError::corrupt(what, PRODUCE_AGAIN))
        };
        match (staged, visible) {
            (Some(found), _) if found != self.bytes => has(&self.from, found),
            (None, Some(found)) if found != self.bytes => has(&self.to, found),
            (Some(_), Some(found)) if found != self.bytes => Err(self.occupied()),
            (Some(_), Some(_)) => Ok(Whereabouts::Both),
            (Some(_), None) => Ok(Whereabouts::Staged),
            (None, Some(_)) => Ok(Whereabouts::Visible),
            (None, None) => Ok(Whereabouts::Nowhere),
        }
    }

    /// The error for something else in the place where the output becomes visible.
    pub fn occupied(&self) -> ConnectError {
        let what = format!("`{}` exists with other contents than the staged output of epoch {}", self.to, self.epoch);
        ConnectError::corrupt(what, "it is not overwritten: move it away if it is not needed, and start again")
    }

    /// The error for staged output with other bytes than those that were sealed.
    pub fn altered(&self) -> ConnectError {
        let what = format!("`{}` is not what was sealed as output of epoch {}: its checksum does not fit", self.from, self.epoch);
        ConnectError::corrupt(what, PRODUCE_AGAIN)
    }

    /// The error for output that is nowhere and never was visible. `thing`: a file or an object.
    pub fn missing(&self, thing: &str) -> ConnectError {
        let what = format!("staged output is missing: neither `{}` nor `{}` exists", self.from, self.to);
        let help = format!("put the {thing} back, or take up a checkpoint before this epoch; its output is then produced again");
        ConnectError::missing(what, help)
    }
}
