//! One checkpoint or savepoint, as a user names it.

use super::catalog::{self, CatalogNames};
use super::error::SurveyError;
use super::which::Which;
use crate::job::objects::read_manifest_at;
use crate::store::Store;
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::ids::Epoch;

/// Savepoints that a message names.
const NAMES_SHOWN_MAX: usize = 10;

/// What a user asks for.
///
/// | text | meaning |
/// |---|---|
/// | `latest` | the newest checkpoint whose manifest can be read |
/// | digits | the checkpoint of that epoch; the savepoint of that name where there is none |
/// | `savepoint:NAME` | the savepoint |
/// | anything else | the savepoint of that name |
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The newest checkpoint whose manifest can be read.
    Latest,
    /// The checkpoint of an epoch, or else the savepoint that is named like the text.
    Epoch(Epoch, String),
    /// A savepoint.
    Savepoint(String),
}

impl Choice {
    /// Reads a choice.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let savepoint = |name: &str| match paths::savepoint(name) {
            Some(_) => Ok(Self::Savepoint(name.to_owned())),
            None => Err(format!(
                "`{}` is neither an epoch nor a name of a savepoint: 1 to {} of a-z, A-Z, 0-9, `-`, `_` and `.`",
                name.escape_debug(),
                paths::SAVEPOINT_NAME_BYTES_MAX
            )),
        };
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(name) = text.strip_prefix("savepoint:") {
            return savepoint(name);
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // More digits than an epoch can have may still be a name.
            return text.parse().map_or_else(|_| savepoint(text), |epoch| Ok(Self::Epoch(Epoch(epoch), text.to_owned())));
        }
        savepoint(text)
    }
}

/// A checkpoint that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChosenCheckpoint {
    /// Its epoch or name.
    pub which: Which,
    /// Its manifest.
    pub manifest: Manifest,
    /// With [`Choice::Latest`]: newer ones whose manifests cannot be read, newest first, with the reason.
    pub passed_over: Vec<(Epoch, String)>,
}

/// Reads the manifest of one checkpoint or savepoint.
///
/// # Errors
/// [`SurveyError::NoJob`], [`SurveyError::NoCheckpoint`], [`SurveyError::Damaged`]; [`Error::Newer`](crate::job::Error::Newer) where a newer
/// host wrote it; failures of the store.
pub async fn choose(objects: &Store, job: &str, choice: &Choice) -> Result<ChosenCheckpoint, SurveyError> {
    let names = catalog::names(objects, job).await?;
    let which = match choice {
        Choice::Latest => return latest(objects, job, &names).await,
        Choice::Epoch(epoch, text) if !names.epochs.contains(epoch) && names.savepoints.contains(text) => Which::Savepoint(text.clone()),
        Choice::Epoch(epoch, _) => Which::Epoch(*epoch),
        Choice::Savepoint(name) => Which::Savepoint(name.clone()),
    };
    match read_manifest_at(objects, job, &which.path(), which.epoch()).await? {
        Some(Ok(manifest)) => Ok(ChosenCheckpoint { which, manifest, passed_over: Vec::new() }),
        Some(Err(reason)) => Err(SurveyError::Damaged { checkpoint: which.to_string(), reason }),
        None => Err(SurveyError::NoCheckpoint { root: objects.root(), wanted: which.to_string(), there: there(&names) }),
    }
}

async fn latest(objects: &Store, job: &str, names: &CatalogNames) -> Result<ChosenCheckpoint, SurveyError> {
    let mut passed_over = Vec::new();
    for &epoch in names.epochs.iter().rev() {
        let which = Which::Epoch(epoch);
        match read_manifest_at(objects, job, &which.path(), which.epoch()).await? {
            Some(Ok(manifest)) => return Ok(ChosenCheckpoint { which, manifest, passed_over }),
            Some(Err(reason)) => passed_over.push((epoch, reason)),
            // A sweep was faster.
            None => {}
        }
    }
    match passed_over.into_iter().next() {
        Some((epoch, reason)) => {
            Err(SurveyError::Damaged { checkpoint: Which::Epoch(epoch).to_string(), reason: format!("{reason}; nor can any older one") })
        }
        None => Err(SurveyError::NoCheckpoint { root: objects.root(), wanted: "checkpoint yet".into(), there: there(names) }),
    }
}

/// What is there, for people.
fn there(names: &CatalogNames) -> String {
    let epochs = match (names.epochs.first(), names.epochs.last()) {
        (Some(first), Some(last)) if first == last => format!("there is checkpoint {first}"),
        (Some(first), Some(last)) => format!("there are {} checkpoints, from {first} to {last}", names.epochs.len()),
        _ => "there are no checkpoints".to_owned(),
    };
    let shown: Vec<String> = names.savepoints.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more =
        if names.savepoints.len() > shown.len() { format!(" and {} more", names.savepoints.len() - shown.len()) } else { String::new() };
    let savepoints = if shown.is_empty() {
        "no savepoints".to_owned()
    } else {
        let plural = if names.savepoints.len() == 1 { "" } else { "s" };
        format!("the savepoint{plural} {}{more}", shown.join(", "))
    };
    format!("{epochs}, and {savepoints}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_may_write() {
        assert_eq!(Choice::parse("latest"), Ok(Choice::Latest));
        assert_eq!(Choice::parse("041"), Ok(Choice::Epoch(Epoch(41), "041".into())));
        assert_eq!(Choice::parse("before-upgrade"), Ok(Choice::Savepoint("before-upgrade".into())));
        assert_eq!(Choice::parse("savepoint:41"), Ok(Choice::Savepoint("41".into())));
        assert_eq!(Choice::parse("savepoint:latest"), Ok(Choice::Savepoint("latest".into())));
        let long = "9".repeat(30);
        assert_eq!(Choice::parse(&long), Ok(Choice::Savepoint(long.clone())));
        for text in ["", "a/b", ".a", "savepoint:", "savepoint:a:b", "-1\u{1b}", &"9".repeat(65)] {
            assert!(Choice::parse(text).is_err(), "{text:?}");
        }
    }
}
