//! Settings of a topology that are one of a few words.

use super::problem::{Problems, quote};
use super::suggest::nearest;
use super::table::Given;

/// The words of a setting in a topology file.
pub(super) trait Word: Sized {
    /// All of them.
    const ALL: &'static [&'static str];

    fn read(word: &str) -> Option<Self>;
    fn show(&self) -> &'static str;
}

/// "did you mean" where a word is near, else the list of all.
pub(super) fn word_help(word: &str, words: &[&str]) -> String {
    match nearest(word, words.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("write one of {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")),
    }
}

/// One of the words of a setting; the default where there is none, or none of them.
pub(super) fn check_word<T: Word>(given: &Given<String>, key: &str, default: T, problems: &mut Problems<'_>) -> T {
    let Some(word) = given.get() else { return default };
    T::read(&word.value).unwrap_or_else(|| {
        problems.add(word.at, format!("`{key}`: \"{}\" is not known", quote(&word.value)), Some(word_help(&word.value, T::ALL)));
        default
    })
}
