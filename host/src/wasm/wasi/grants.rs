//! What the topology grants the instances of one operator beyond the virtual WASI.

use super::imports::Gift;
use std::path::{Path, PathBuf};

/// The grants of the instances of an operator. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Environment variables: names and values.
    pub environment: Vec<(String, String)>,
    /// Folders to read.
    pub folders: Vec<PreopenedFolder>,
}

/// A folder that a guest may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreopenedFolder {
    guest: String,
    host: PathBuf,
}

/// The error of a grant that cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no such folder.
    #[error("the folder `{}`, which is granted as `{guest}`, cannot be read", .host.display())]
    Folder {
        /// The path where the guest would see it.
        guest: String,
        /// The path where it should be.
        host: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The component would never see it.
    #[error("the component is granted `{}`, but does not import `{import}`: the grant would have no effect", .gift.key())]
    Unused {
        /// What is granted.
        gift: Gift,
        /// What it would have to import.
        import: &'static str,
    },
}

impl PreopenedFolder {
    /// A folder of this machine, and where a guest sees it: an absolute path. Symbolic links on the way to it are followed here, once.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub fn new(guest: &str, host: &Path) -> Result<Self, GrantError> {
        let refuse = |source| GrantError::Folder { guest: guest.to_owned(), host: host.to_owned(), source };
        let found = host.canonicalize().map_err(refuse)?;
        std::fs::read_dir(&found).map_err(refuse)?;
        Ok(Self { guest: guest.to_owned(), host: found })
    }

    /// The path where a guest sees the folder.
    #[must_use]
    pub fn guest(&self) -> &str {
        &self.guest
    }

    /// The path of the folder on this machine.
    #[must_use]
    pub fn host(&self) -> &Path {
        &self.host
    }
}

impl Grants {
    /// Refuses what a component with these imports would never see.
    ///
    /// # Errors
    /// [`GrantError::Unused`].
    pub fn check(&self, imports: &[String]) -> Result<(), GrantError> {
        let granted = [
            (Gift::Environment, "wasi:cli/environment", !self.environment.is_empty()),
            (Gift::Folders, "wasi:filesystem/preopens", !self.folders.is_empty()),
        ];
        let reads = |gift| imports.iter().any(|import| super::answer(import).gift() == Some(gift));
        match granted.into_iter().find(|(gift, _, given)| *given && !reads(*gift)) {
            Some((gift, import, _)) => Err(GrantError::Unused { gift, import }),
            None => Ok(()),
        }
    }
}
