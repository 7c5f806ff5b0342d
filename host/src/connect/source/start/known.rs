//! What a checkpoint knows of the files of a source.

use crate::connect::source::marks::Marks;
use crate::connect::source::position::FilePosition;
use std::collections::BTreeMap;

/// What a checkpoint says of one file, over all its splits.
#[derive(Default)]
pub(super) struct Known {
    pub positions: Vec<FilePosition>,
}

impl Known {
    /// How long the file was: its last range says whether a row at the end was left out.
    pub fn size(&self) -> u64 {
        let last = self.positions.iter().max_by_key(|position| position.start);
        last.and_then(|last| last.packed.or(last.size)).unwrap_or(0)
    }

    pub fn is_packed(&self) -> bool {
        self.positions.iter().any(|position| position.packed.is_some())
    }

    pub fn is_done(&self) -> bool {
        self.positions.iter().all(FilePosition::is_done)
    }

    /// The digest at the end of the file, where one of the splits reached it.
    pub fn print(&self) -> Option<u64> {
        let size = self.size();
        self.positions.iter().find(|position| position.offset == size && position.packed.is_none()).and_then(FilePosition::print)
    }
}

/// What a checkpoint says: finished files, and the others by name.
pub(super) struct Before {
    pub marks: Marks,
    pub files: BTreeMap<String, Known>,
}
