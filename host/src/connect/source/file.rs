//! The source `file`: files that a path or a glob names.
//!
//! # Splits
//! Files of format `lines` and `json` are cut into ranges of `split` bytes; a CSV file is one split, and so is a followed file. The cut is
//! made once, when a file is first seen: a checkpoint keeps it, whatever the settings say later. A bounded file is read as long as it was
//! when it was listed; what is appended later is read by a later run. Empty files have no splits. A packed file (gzip, zstd) is one split, of
//! which only the end shows how long it is. Files that were read to their ends are folded ([`super::marks`]).
//!
//! A split that is under way is read with the settings that it was begun with ([`super::decoder::Format::reads`]); others are refused.
//!
//! # Follow
//! With `follow`, files never end, and a last row without a newline is left until it has one, or until `partial-after`. A file is what
//! [`super::identity`] says: it goes on under another name, and another file under its name is a new one. What changed in the folder is found
//! at every look ([`super::follow`]) by the first reader made in the process that listed the splits; it reads new files itself.
//!
//! # Watermark
//! The smallest, over the splits that are not finished, of: largest event time seen, less `lateness`, less 1 ms. A split that has not
//! given a time yet holds the watermark of its reader back, so that in bounded files it moves only in the last split. A followed one that has
//! had no rows for `idle-after` is left out ([`super::watermark`]).

use super::context::{SPLITS_MAX, SourceContext};
use super::marks::Marks;
use super::position::FilePosition;
use super::reader::FileReader;
use crate::clock::Clock;
use crate::connect::{BatchLimits, ConnectError, SourceConnector, SourceReader, SourceSplit};
use reprise_core::topology::FileSource;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The source of files that a path or a glob names.
pub struct FileSourceConnector {
    context: Arc<SourceContext>,
}

impl FileSourceConnector {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConnectError::Config`].
    pub fn new(settings: &FileSource, base_dir: &Path, limits: BatchLimits, clock: Clock) -> Result<Self, ConnectError> {
        if settings.split_bytes == 0 {
            return Err(ConnectError::config("`split` of the source is 0 bytes", "choose at least 1; some MiB are usual"));
        }
        Ok(Self { context: Arc::new(SourceContext::new(settings, base_dir, limits, clock)?) })
    }
}

impl SourceConnector for FileSourceConnector {
    fn splits(&self, known: &[SourceSplit]) -> Result<Vec<SourceSplit>, ConnectError> {
        let splits = if self.context.follow { self.context.begin_followed(known)? } else { self.context.begin_bounded(known)? };
        if splits.len() > SPLITS_MAX {
            let what = format!("the source has {} splits, more than {SPLITS_MAX}", splits.len());
            return Err(ConnectError::config(what, "raise `split`, or name fewer files"));
        }
        let mut shared = self.context.shared();
        shared.reserved = splits.iter().map(|split| split.split.clone()).collect();
        shared.listed = true;
        Ok(splits)
    }

    fn is_done(&self, split: &SourceSplit) -> bool {
        if Marks::is(&split.split) {
            // Files that are followed may grow.
            return !self.context.follow;
        }
        FilePosition::parse(split).is_ok_and(|position| position.is_done())
    }

    fn reader(&self, splits: Vec<SourceSplit>) -> Result<Box<dyn SourceReader>, ConnectError> {
        let index = self.context.seat();
        Ok(Box::new(FileReader::new(Arc::clone(&self.context), index, &splits)?))
    }

    fn replays(&self) -> bool {
        true
    }

    fn unread(&self, known: &[SourceSplit], splits: &[SourceSplit]) -> Option<String> {
        if self.context.follow {
            return Some("its files are followed".to_owned());
        }
        let before: BTreeSet<&str> = known.iter().map(|split| split.split.as_str()).collect();
        let open = splits.iter().filter(|split| !self.is_done(split)).filter_map(|split| FilePosition::parse(split).ok());
        let (mut new, mut grown) = (BTreeSet::new(), BTreeSet::new());
        for position in open {
            match position.start == 0 || before.contains(position.id().as_str()) {
                true => new.insert(position.path),
                false => grown.insert(position.path),
            };
        }
        grown.retain(|path| !new.contains(path));
        let say = |files: &BTreeSet<String>, what: &str| match (files.first(), files.len()) {
            (None, _) => None,
            (Some(name), 1) => Some(format!("`{name}` {}", if what == "new" { "is new" } else { "has grown" })),
            (Some(name), count) => {
                Some(format!("{count} files {}, the first is `{name}`", if what == "new" { "are new" } else { "have grown" }))
            }
        };
        let parts: Vec<String> = [say(&new, "new"), say(&grown, "grown")].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
