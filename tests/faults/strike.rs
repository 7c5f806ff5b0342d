//! Damage to single stored objects and files, drawn at random.

use super::reference::Image;
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use reprise_core::checkpoint::paths;
use std::collections::{BTreeMap, BTreeSet};

/// Where a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Objects of the job.
    State,
    /// Objects of the sink `objects`.
    Objects,
    /// Files of the sink `files`.
    Files,
}

/// What happens to the bytes of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// One bit of this byte is another.
    Flip {
        at: usize,
        bit: u8,
    },
    /// Only so many bytes are left.
    Cut(usize),
    /// So many bytes more at its end.
    Grown(usize),
    /// As many zeros in its place.
    Zeros,
    /// It and another one of its kind have changed places.
    Swapped(String),
    Gone,
}

/// One struck object or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stroke {
    pub place: Place,
    pub path: String,
    pub damage: Damage,
}

impl Stroke {
    /// Every path whose bytes are others now.
    pub fn paths(&self) -> Vec<&str> {
        let other = if let Damage::Swapped(other) = &self.damage { Some(other.as_str()) } else { None };
        [Some(self.path.as_str()), other].into_iter().flatten().collect()
    }
}

/// The kind of an object: what lies in the same folder, up to the instance.
fn kind(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn part(image: &mut Image, place: Place) -> &mut BTreeMap<String, Bytes> {
    match place {
        Place::State => &mut image.state,
        Place::Objects => &mut image.objects,
        Place::Files => &mut image.files,
    }
}

/// All that may be struck: everything but visible output, which is its readers'.
pub fn targets(image: &Image) -> Vec<(Place, String)> {
    let hidden = |path: &&String| path.starts_with('.');
    let state = image.state.keys().map(|path| (Place::State, path.clone()));
    let objects = image.objects.keys().filter(hidden).map(|path| (Place::Objects, path.clone()));
    let files = image.files.keys().filter(hidden).map(|path| (Place::Files, path.clone()));
    state.chain(objects).chain(files).collect()
}

/// Strikes one of them, if it is still there and there is a way to.
pub fn strike(image: &mut Image, (place, path): &(Place, String), random: &mut StdRng) -> Option<Stroke> {
    let objects = part(image, *place);
    let bytes = objects.get(path)?.clone();
    let others: Vec<&String> = objects
        .iter()
        .filter(|(other, has)| *other != path && kind(other) == kind(path) && **has != bytes)
        .map(|(other, _)| other)
        .collect();
    let length = bytes.len();
    let damage = match random.random_range(0..10) {
        0..4 if length > 0 => Damage::Flip { at: random.random_range(0..length), bit: random.random_range(0..8) },
        4..6 if length > 0 => Damage::Cut(random.random_range(0..length)),
        6 => Damage::Grown(random.random_range(1..100)),
        7 if bytes.iter().any(|byte| *byte != 0) => Damage::Zeros,
        8 if !others.is_empty() => Damage::Swapped(others[random.random_range(0..others.len())].clone()),
        _ => Damage::Gone,
    };
    let mut changed = bytes.to_vec();
    match &damage {
        Damage::Flip { at, bit } => changed[*at] ^= 1 << bit,
        Damage::Cut(left) => changed.truncate(*left),
        Damage::Grown(more) => changed.resize(length + more, random.random()),
        Damage::Zeros => changed.fill(0),
        Damage::Swapped(other) => {
            let theirs = objects.insert(other.clone(), bytes.clone())?;
            changed = theirs.to_vec();
        }
        Damage::Gone => {}
    }
    match damage {
        Damage::Gone => drop(objects.remove(path)),
        _ => drop(objects.insert(path.clone(), changed.into())),
    }
    Some(Stroke { place: *place, path: path.clone(), damage })
}

/// Strikes one to three of all targets.
pub fn strike_some(image: &mut Image, targets: &[(Place, String)], random: &mut StdRng) -> Vec<Stroke> {
    let mut struck = BTreeSet::new();
    let mut strokes = Vec::new();
    for _ in 0..random.random_range(1..=3) {
        let target = &targets[random.random_range(0..targets.len())];
        if struck.contains(&target.1) {
            continue;
        }
        if let Some(stroke) = strike(image, target, random) {
            struck.extend(stroke.paths().into_iter().map(str::to_owned));
            strokes.push(stroke);
        }
    }
    strokes
}

/// Strikes every manifest, so that no checkpoint is left; each stays in its place.
pub fn strike_all_manifests(image: &mut Image, random: &mut StdRng) -> Vec<Stroke> {
    let manifests: Vec<String> = image.state.keys().filter(|path| paths::manifest_epoch(path).is_some()).cloned().collect();
    let mut strokes = Vec::new();
    for path in manifests {
        let bytes = image.state[&path].clone();
        let damage = match random.random_range(0..3) {
            0 => Damage::Cut(random.random_range(0..bytes.len())),
            1 => Damage::Grown(random.random_range(1..100)),
            _ => Damage::Flip { at: random.random_range(0..bytes.len()), bit: random.random_range(0..8) },
        };
        let mut changed = bytes.to_vec();
        match &damage {
            Damage::Cut(left) => changed.truncate(*left),
            Damage::Grown(more) => changed.resize(bytes.len() + more, 0),
            Damage::Flip { at, bit } => changed[*at] ^= 1 << bit,
            _ => {}
        }
        image.state.insert(path.clone(), changed.into());
        strokes.push(Stroke { place: Place::State, path, damage });
    }
    strokes
}
