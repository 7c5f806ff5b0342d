//! Outputs compared without their order: how many lines, and the sum of their hashes. Pure, save for reading files.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};

/// A set of lines, each as often as it was there. Equal where the sets are, and else only by an unlikely chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub lines: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, parts: &[&str]) {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        self.lines += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }
}

/// The lines of a file, or of all visible files of a folder.
///
/// # Errors
/// One cannot be read, or has a line that is none of `form`.
pub fn tally(place: &Path, form: Form) -> Result<Tally> {
    let mut tally = Tally::default();
    if place.is_dir() {
        for entry in std::fs::read_dir(place)? {
            let path = entry?.path();
            if path.is_file() && !path.file_name().unwrap_or_default().to_string_lossy().starts_with('.') {
                add_file(&path, form, &mut tally)?;
            }
        }
    } else {
        add_file(place, form, &mut tally)?;
    }
    Ok(tally)
}

/// How a line is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it stands.
    Whole,
    /// `key,count,sum`, or the `key,"count,sum",time` of a sink.
    Totals,
}

fn add_file(file: &Path, form: Form, tally: &mut Tally) -> Result<()> {
    let mut lines = BufReader::with_capacity(1 << 20, File::open(file).with_context(|| format!("{} cannot be read", file.display()))?);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        add(line.trim_end_matches('\n'), form, tally)?;
        line.clear();
    }
    Ok(())
}

fn add(line: &str, form: Form, tally: &mut Tally) -> Result<()> {
    match form {
        Form::Whole => tally.add(&[line]),
        Form::Totals => {
            let (key, rest) = line.split_once(',').with_context(|| format!("`{line}` has no comma"))?;
            let quoted = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')).map(|(counts, _)| counts);
            tally.add(&[key, quoted.unwrap_or(rest)]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, form: Form) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| add(line, form, &mut tally).expect("the lines are well-formed"));
        tally
    }

    #[test]
    fn order_does_not_count_and_repetition_does() {
        assert_eq!(of("a\nb\nb", Form::Whole), of("b\na\nb", Form::Whole));
        assert_ne!(of("a\nb\nb", Form::Whole), of("b\na\na", Form::Whole));
        assert_ne!(of("a\nb", Form::Whole), of("b\na\na", Form::Whole));
    }

    #[test]
    fn totals_of_a_loop_and_of_a_sink_are_the_same() {
        assert_eq!(of("k,1,-2\nl,3,4", Form::Totals), of("l,\"3,4\",9223372036854775807\nk,\"1,-2\",9", Form::Totals));
        assert_ne!(of("k,1,2", Form::Totals), of("k,\"1,3\",9", Form::Totals));
    }
}
