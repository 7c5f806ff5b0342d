//! Names of objects below `<store>/<job>/`. Frozen: other hosts and later versions look for these names.

use crate::description;
use crate::ids::{Digest, Epoch, Generation, Instance};

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
/// Folder, among those of the capsules, of components that are too large to be in each of them.
pub const COMPONENTS: &str = "components";
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

/// Parked input of one instance; `number` counts its objects in a run.
#[must_use]
pub fn parked(operator: &str, instance: Instance, epoch: Epoch, generation: Generation, number: u64) -> String {
    format!("{SNAPSHOTS}/{operator}/{:04}/{:012}-{:06}.{number}.parked", instance.0, epoch.0, generation.0)
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

/// True for what [`capsule`] names.
#[must_use]
pub fn is_capsule(path: &str) -> bool {
    let read = || {
        let (operator, name) = path.strip_prefix(CAPSULES)?.strip_prefix('/')?.split_once('/')?;
        let mut numbers = name.strip_suffix(".capsule")?.split('-').map(|digits| digits.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let (epoch, generation) = (Epoch(next()?), Generation(next()?));
        let (instance, number) = (Instance(u32::try_from(next()?).ok()?), usize::try_from(next()?).ok()?);
        Some(capsule(operator, instance, epoch, generation, number) == path && !operator.contains('/'))
    };
    read().unwrap_or(false)
}

/// A component that capsules name and do not hold, by its digest.
#[must_use]
pub fn component(digest: Digest) -> String {
    format!("{CAPSULES}/{COMPONENTS}/{digest}.wasm")
}

/// The digest that such a name tells, as hexadecimal digits, or `None` for a foreign name.
#[must_use]
pub fn component_digest(path: &str) -> Option<&str> {
    let name = path.strip_prefix(CAPSULES)?.strip_prefix('/')?.strip_prefix(COMPONENTS)?.strip_prefix('/')?.strip_suffix(".wasm")?;
    (name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))).then_some(name)
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

/// The request to give up the parked input of an operator, or `None` where that is no name of an operator.
#[must_use]
pub fn unpark(operator: &str) -> Option<String> {
    description::is_name(operator).then(|| format!("{REQUESTS}/{operator}.unpark"))
}

/// The answer to a request to give up the parked input of an operator that has none, or `None` where that is no name of an operator.
#[must_use]
pub fn not_parked(operator: &str) -> Option<String> {
    description::is_name(operator).then(|| format!("{REQUESTS}/{operator}.not-parked"))
}

/// What lies in the folder of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// A request for a savepoint.
    Savepoint,
    /// A request to end the pause of an operator.
    Resume,
    /// The answer to one where there was no pause.
    NotPaused,
    /// A request to give up the parked input of an operator.
    Unpark,
    /// The answer to one where there was no parked input.
    NotParked,
}

/// What an object in the folder of the requests is, by its name alone; `None` for what this version does not know.
#[must_use]
pub fn request_kind(path: &str) -> Option<RequestKind> {
    let (_, ending) = path.strip_prefix(REQUESTS)?.strip_prefix('/')?.rsplit_once('.')?;
    match ending {
        "savepoint" => Some(RequestKind::Savepoint),
        "resume" => Some(RequestKind::Resume),
        "not-paused" => Some(RequestKind::NotPaused),
        "unpark" => Some(RequestKind::Unpark),
        "not-parked" => Some(RequestKind::NotParked),
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

/// Epoch and generation that the name of a snapshot or of parked input tells, or `None` for a foreign name.
#[must_use]
pub fn snapshot_origin(path: &str) -> Option<(Epoch, Generation)> {
    let (operator, rest) = path.strip_prefix(SNAPSHOTS)?.strip_prefix('/')?.split_once('/')?;
    let (instance, name) = rest.split_once('/')?;
    let (numbers, ending) = name.split_once('.')?;
    let (epoch, generation) = numbers.split_once('-')?;
    let (epoch, generation) = (Epoch(epoch.parse().ok()?), Generation(generation.parse().ok()?));
    let instance = Instance(instance.parse().ok()?);
    let is_own = match ending.strip_suffix(".parked") {
        Some(number) => parked(operator, instance, epoch, generation, number.parse().ok()?) == path,
        None => snapshot(operator, instance, epoch, generation, ending == "full") == path,
    };
    (is_own && description::is_name(operator)).then_some((epoch, generation))
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
        assert_eq!(replayed_origin(&replayed(Epoch(9), Generation(1))), Some((Epoch(9), Generation(1))));
        assert_eq!(replayed_origin("replayed/9-1"), None);
        assert_eq!(manifest_epoch("checkpoints/42.manifest.tmp"), None);
        assert_eq!(manifest_epoch("checkpoints/0000000000042.manifest"), None, "padded otherwise than we do");
        let path = snapshot("count", Instance(1), Epoch(5), Generation(2), false);
        assert_eq!(path, "snapshots/count/0001/000000000005-000002.delta");
        assert_eq!(snapshot_origin(&path), Some((Epoch(5), Generation(2))));
        let path = parked("count", Instance(1), Epoch(5), Generation(2), 17);
        assert_eq!(path, "snapshots/count/0001/000000000005-000002.17.parked");
        assert_eq!(snapshot_origin(&path), Some((Epoch(5), Generation(2))));
        assert_eq!(snapshot_origin("snapshots/count/0001/000000000005-000002.017.parked"), None);
        let others = [
            "snapshots/old/count/0001/000000000005-000002.delta",
            "snapshots/count.old/0001/000000000005-000002.delta",
            "snapshots/count/0001/5-2.full",
        ];
        for foreign in others.into_iter().chain(["snapshots/count/0001/000000000005-000002.full.bak", "snapshots/000000000005-000002.full"])
        {
            assert_eq!(snapshot_origin(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn capsules_and_their_components_are_told_from_what_lies_beside_them() {
        let path = capsule("count", Instance(1), Epoch(41), Generation(7), 0);
        assert!(is_capsule(&path), "{path}");
        for foreign in [
            "capsules/notes.txt",
            "capsules/count/1-2-3-4.capsule",
            "capsules/a/b/000000000041-000007-0001-0.capsule",
            &format!("{path}.gz"),
        ] {
            assert!(!is_capsule(foreign), "{foreign}");
        }
        let path = component(Digest([0xab; 32]));
        assert_eq!(path, format!("capsules/components/{}.wasm", "ab".repeat(32)));
        assert_eq!(component_digest(&path), Some("ab".repeat(32).as_str()));
        for foreign in ["capsules/components/x.wasm", "capsules/components/README", &path.to_uppercase(), &path[..path.len() - 1]] {
            assert_eq!(component_digest(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn requests_are_told_apart_by_their_endings() {
        // A savepoint may be called like a request of another kind.
        assert_eq!(request("a.resume").as_deref().map(request_kind), Some(Some(RequestKind::Savepoint)));
        assert_eq!(resume("count").as_deref().map(request_kind), Some(Some(RequestKind::Resume)));
        assert_eq!(not_paused("count").as_deref().map(request_kind), Some(Some(RequestKind::NotPaused)));
        for unknown in ["requests/count.later", "requests/resume", "requests.resume", "replays/count.resume", "requests"] {
            assert_eq!(request_kind(unknown), None, "{unknown}");
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
