//! The corpus of the fuzz target, through the function that it fuzzes: each input of it, and neighbours of each that differ in a few bytes.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// Bytes of the whole corpus: it is read by people too.
const CORPUS_BYTES_MAX: u64 = 256 << 10;
/// Neighbours of each input. The fuzz target looks at more of them in a second.
const NEIGHBOURS: usize = 8;
/// Of the neighbours.
const SEED: u64 = 4;

/// Name and bytes of every input, in the order of names.
fn inputs() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs.extend(reprise_crossing::seeds().into_iter().map(|(name, seed)| (name.to_owned(), seed)));
    inputs
}

/// Prints the input before a panic of the check ends the test.
fn check(name: &str, input: &[u8]) {
    struct Shown<'a>(&'a str, &'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("the input `{}`: {:?}", self.0, self.1);
            }
        }
    }
    let _shown = Shown(name, input);
    reprise_crossing::check(input);
}

#[test]
fn whatever_the_corpus_hands_over_the_host_takes_only_what_is_lawful() {
    let inputs = inputs();
    inputs.iter().for_each(|(name, input)| check(name, input));
    let kinds: BTreeSet<u8> = inputs.iter().filter_map(|(_, input)| input.first().copied()).collect();
    assert!(b"bcnfds".iter().all(|kind| kinds.contains(kind)), "a kind of input is missing: {kinds:?}");
}

#[test]
fn neighbours_of_the_corpus_are_judged_alike() {
    let mut random = StdRng::seed_from_u64(SEED);
    for (name, mut input) in inputs() {
        // A component that describes itself is compiled each time.
        let count = if input.first() == Some(&b'd') { 1 } else { NEIGHBOURS };
        for _ in 0..count {
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(1..input.len().max(2));
                if let Some(byte) = input.get_mut(at) {
                    *byte = if random.random() { random.random() } else { byte.wrapping_add(random.random_range(0..3)).wrapping_sub(1) };
                }
            }
            check(&name, &input);
        }
    }
}

#[test]
fn the_corpus_stays_small() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let bytes: u64 = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpus has {bytes} bytes; `cargo xtask fuzz --minimise` makes it smaller");
}
