//! The file system, as far as deciding about followed files asks for it: see [`Facts`].

use super::follow::Facts;
use super::identity::{is_beginning, print_of};
use super::listing::{FoundFile, Listing};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Answers of one look: folders are read once.
pub struct Disk<'a> {
    listing: &'a Listing,
    /// Paths of which nothing is known.
    blind: Vec<PathBuf>,
    folders: HashMap<PathBuf, BTreeMap<u64, String>>,
}

impl<'a> Disk<'a> {
    /// `blind`: files and folders that could not be looked at.
    pub fn new(listing: &'a Listing, blind: &[(String, String)]) -> Self {
        Self { listing, blind: blind.iter().map(|(path, _)| PathBuf::from(path)).collect(), folders: HashMap::new() }
    }

    /// Regular files beside a file, by inode.
    fn folder(&mut self, name: &str) -> &BTreeMap<u64, String> {
        let folder = self.listing.locate(name).parent().map(Path::to_path_buf).unwrap_or_default();
        let listing = self.listing;
        self.folders.entry(folder).or_insert_with(|| listing.beside(name))
    }
}

impl Facts for Disk<'_> {
    fn print(&mut self, name: &str, offset: u64) -> Option<u64> {
        print_of(&self.listing.locate(name), offset).ok().flatten()
    }

    fn again(&mut self, found: &FoundFile) -> Option<FoundFile> {
        self.listing.look(&found.name).filter(|now| now.look.id.key() == found.look.id.key())
    }

    fn is_beginning(&mut self, part: &str, whole: &str) -> bool {
        is_beginning(&self.listing.locate(part), &self.listing.locate(whole)).unwrap_or(false)
    }

    fn beside(&mut self, name: &str, ino: u64) -> Option<FoundFile> {
        let is_it = |found: &FoundFile| found.look.id.ino == ino;
        if let Some(found) = self.listing.look(name).filter(is_it) {
            return Some(found);
        }
        let other = self.folder(name).get(&ino)?.clone();
        self.listing.look(&other).filter(is_it)
    }

    fn copy_beside(&mut self, name: &str, offset: u64, print: u64) -> Option<FoundFile> {
        let begin = super::follow::stem(name).to_owned();
        let others: Vec<String> = self.folder(name).values().filter(|other| *other != name).cloned().collect();
        let is_like = |other: &String| super::follow::file_name(other).starts_with(&begin) && !self.listing.covers(other);
        let found = others.into_iter().filter(is_like).find(|other| {
            let path = self.listing.locate(other);
            print_of(&path, offset).ok().flatten() == Some(print)
        })?;
        self.listing.look(&found)
    }

    fn is_meant(&mut self, name: &str) -> bool {
        self.listing.covers(name)
    }

    fn is_blind(&mut self, name: Option<&str>) -> bool {
        match name {
            None => !self.blind.is_empty(),
            Some(name) => {
                let path = self.listing.locate(name);
                self.blind.iter().any(|blind| path.starts_with(blind))
            }
        }
    }
}
