//! Names of objects below `<store>/<job>/`. Frozen: other hosts and later versions look for these names.

use crate::description;
use crate::ids::{Epoch, Generation, Instance};

/// Folder of the claims.
pub const GENERATIONS: &str = "generations";
/// Folder of the manifests.
pub const CHECKPOINTS: &str = "checkpoints";
/// Folder of the refused rows.
pub const QUARANTINE: &str = "quarantine";
/// Folder of the snapshots.
pub const SNAPSHOTS: &str = "snapshots";
/// Folder of the capsules.
pub const CAPSULES: &str = "capsules";
/// Folder of the savepoints: manifests that are kept until a user deletes them.
pub const SAVEPOINTS: &str = "savepoints";
/// Folder of the requests to a running host.
pub const REQUESTS: &str = "requests";
/// Folder of the requests to send refused rows again.
pub const REPLAYS: &str = "replays";
/// Folder of the notes which rows were sent again.
pub const REPLAYED: &str = "replayed";
/// The identity of the job's life in its store.
pub const IDENTITY: &str = "identity";
/// Longest name of a savepoint.
pub const SAVEPOINT_NAME_BYTES_MAX: usize = 64;

/// The claim of a generation. Numbers are padded so that names sort as numbers do.
#[must_use]
pub fn claim(generation: Generation) -> String {
    format!("{GENERATIONS}/{:012}.claim", generation.0)
}

/// The manifest of an epoch.
#[must_use]
pub fn manifest(epoch: Epoch) -> String {
    format!("{CHECKPOINTS}/{:012}.manifest", epoch.0)
}

/// A snapshot of one instance.
#[must_use]
pub fn snapshot(operator: &str, instance: Instance, epoch: Epoch, generation: Generation, full: bool) -> String {
    let ending = if full { "full" } else { "delta" };
    format!("{SNAPSHOTS}/{operator}/{:04}/{:012}-{:06}.{ending}", instance.0, epoch.0, generation.0)
}

/// Refused rows of one instance of a source or operator in one epoch; `part` counts the objects from 0.
#[must_use]
pub fn quarantine(node: &str, instance: Instance, epoch: Epoch, generation: Generation, part: usize) -> String {
    format!("{QUARANTINE}/{node}/{:012}-{:06}-{:04}-{part}", epoch.0, generation.0, instance.0)
}

/// A capsule of one instance of an operator; `number` counts those of an epoch from 0.
#[must_use]
pub fn capsule(operator: &str, instance: Instance, epoch: Epoch, generation: Generation, number: usize) -> String {
    format!("{CAPSULES}/{operator}/{:012}-{:06}-{:04}-{number}.capsule", epoch.0, generation.0, instance.0)
}

/// Epoch and generation that a quarantine object's name tells, or `None` for a foreign name.
#[must_use]
pub fn quarantine_origin(path: &str) -> Option<(Epoch, Generation)> {
    let name = path.strip_prefix(QUARANTINE)?.rsplit('/').next()?;
    let mut parts = name.split('-');
    Some((Epoch(parts.next()?.parse().ok()?), Generation(parts.next()?.parse().ok()?)))
}

/// The name before which all quarantine objects of a node sort that are of epochs up to and with `epoch`.
#[must_use]
pub fn quarantine_after(node: &str, epoch: Option<Epoch>) -> String {
    format!("{QUARANTINE}/{node}/{:012}", epoch.map_or(Epoch(0), Epoch::next).0)
}

/// The note of a run which rows the checkpoint that it took up, of this epoch, has sent again.
#[must_use]
pub fn replayed(epoch: Epoch, generation: Generation) -> String {
    format!("{REPLAYED}/{:012}-{:06}", epoch.0, generation.0)
}

/// Epoch and generation that the name of such a note tells, or `None` for a foreign name.
#[must_use]
pub fn replayed_origin(path: &str) -> Option<(Epoch, Generation)> {
    let (epoch, generation) = path.strip_prefix(REPLAYED)?.strip_prefix('/')?.split_once('-')?;
    let found = (Epoch(epoch.parse().ok()?), Generation(generation.parse().ok()?));
    (replayed(found.0, found.1) == path).then_some(found)
}

/// The request for a savepoint of that name, or `None` where the name is not allowed.
#[must_use]
pub fn request(name: &str) -> Option<String> {
    savepoint(name).map(|_| format!("{REQUESTS}/{name}.savepoint"))
}

/// The request to end the pause of an operator, or `None` where that is no name of an operator.
#[must_use]
pub fn resume(operator: &str) -> Option<String> {
    description::is_name(operator).then(|| format!("{REQUESTS}/{operator}.resume"))
}

/// The answer to a request to end the pause of an operator that is not paused, or `None` where that is no name of an operator.
#[must_use]
pub fn not_paused(operator: &str) -> Option<String> {
    description::is_name(operator).then(|| format!("{REQUESTS}/{operator}.not-paused"))
}

/// What lies in the folder of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A request for a savepoint.
    Savepoint,
    /// A request to end the pause of an operator.
    Resume,
    /// The answer to one where there was no pause.
    NotPaused,
}

/// What an object in the folder of the requests is, by its name alone; `None` for what this version does not know.
#[must_use]
pub fn asked(path: &str) -> Option<Asked> {
    let (_, ending) = path.strip_prefix(REQUESTS)?.strip_prefix('/')?.rsplit_once('.')?;
    match ending {
        "savepoint" => Some(Asked::Savepoint),
        "resume" => Some(Asked::Resume),
        "not-paused" => Some(Asked::NotPaused),
        _ => None,
    }
}

/// The epoch that a manifest's name tells, or `None` for a foreign name.
#[must_use]
pub fn manifest_epoch(path: &str) -> Option<Epoch> {
    number(path, CHECKPOINTS, ".manifest").map(Epoch).filter(|&epoch| manifest(epoch) == path)
}

/// The generation that a claim's name tells, or `None` for a foreign name.
#[must_use]
pub fn claim_generation(path: &str) -> Option<Generation> {
    number(path, GENERATIONS, ".claim").map(Generation).filter(|&generation| claim(generation) == path)
}

/// Epoch and generation that a snapshot's name tells, or `None` for a foreign name.
#[must_use]
pub fn snapshot_origin(path: &str) -> Option<(Epoch, Generation)> {
    let name = path.strip_prefix(SNAPSHOTS)?.rsplit('/').next()?;
    let (epoch, generation) = name.strip_suffix(".full").or_else(|| name.strip_suffix(".delta"))?.split_once('-')?;
    Some((Epoch(epoch.parse().ok()?), Generation(generation.parse().ok()?)))
}

/// The manifest of a savepoint, or `None` where the name is not allowed: 1 to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`, the
/// first of which is no `.`.
#[must_use]
pub fn savepoint(name: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = (1..=SAVEPOINT_NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed);
    fits.then(|| format!("{SAVEPOINTS}/{name}.manifest"))
}

/// The name of the savepoint whose manifest this is, or `None` for a foreign name.
#[must_use]
pub fn savepoint_name(path: &str) -> Option<&str> {
    let name = path.strip_prefix(SAVEPOINTS)?.strip_prefix('/')?.strip_suffix(".manifest")?;
    savepoint(name).is_some_and(|own| own == path).then_some(name)
}

fn number(path: &str, folder: &str, ending: &str) -> Option<u64> {
    let digits = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(ending)?;
    (digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_they_were_made_of() {
        assert_eq!(manifest_epoch(&manifest(Epoch(42))), Some(Epoch(42)));
        assert_eq!(claim_generation(&claim(Generation(7))), Some(Generation(7)));
        assert_eq!(claim_generation("generations/x.claim"), None);
        assert_eq!(quarantine_origin(&quarantine("parse", Instance(0), Epoch(9), Generation(1), 2)), Some((Epoch(9), Generation(1))));
        assert_eq!(replayed_origin(&replayed(Epoch(9), Generation(1))), Some((Epoch(9), Generation(1))));
        assert_eq!(replayed_origin("replayed/9-1"), None);
        assert_eq!(manifest_epoch("checkpoints/42.manifest.tmp"), None);
        assert_eq!(manifest_epoch("checkpoints/0000000000042.manifest"), None, "padded otherwise than we do");
        let path = snapshot("count", Instance(1), Epoch(5), Generation(2), false);
        assert_eq!(path, "snapshots/count/0001/000000000005-000002.delta");
        assert_eq!(snapshot_origin(&path), Some((Epoch(5), Generation(2))));
    }

    #[test]
    fn requests_are_told_apart_by_their_endings() {
        // A savepoint may be called like a request of another kind.
        assert_eq!(request("a.resume").as_deref().map(asked), Some(Some(Asked::Savepoint)));
        assert_eq!(resume("count").as_deref().map(asked), Some(Some(Asked::Resume)));
        assert_eq!(not_paused("count").as_deref().map(asked), Some(Some(Asked::NotPaused)));
        for unknown in ["requests/count.later", "requests/resume", "requests.resume", "replays/count.resume", "requests"] {
            assert_eq!(asked(unknown), None, "{unknown}");
        }
        for name in ["", "A", "a/b", "..", "a.b", "-"] {
            assert_eq!((resume(name), not_paused(name)), (None, None), "{name}");
        }
    }

    #[test]
    fn savepoints_have_names_that_every_store_takes() {
        for name in ["a", "before-upgrade", "v1.2_3", &"n".repeat(64)] {
            let path = savepoint(name).unwrap();
            assert_eq!(path, format!("savepoints/{name}.manifest"));
            assert_eq!(savepoint_name(&path), Some(name));
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "ä", "a%b", &"n".repeat(65)] {
            assert_eq!(savepoint(name), None, "{name}");
            assert_eq!(savepoint_name(&format!("savepoints/{name}.manifest")), None, "{name}");
        }
        assert_eq!(savepoint_name("savepoints/a.manifest.tmp"), None);
        assert_eq!(savepoint_name("checkpoints/a.manifest"), None);
    }
}
