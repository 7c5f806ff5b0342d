//! What `cargo xtask bench` was asked for. Pure: words in, options out.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::sizes::Sizes;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Names of rows. Empty: all.
    pub only: Vec<String>,
    pub sizes: Sizes,
    /// Binaries to measure. Empty: the one of this working tree, which is built.
    pub hosts: Vec<GivenHost>,
    /// Keep the results in `docs/benchmarks`.
    pub is_saved: bool,
}

/// A binary that is measured as it is.
#[derive(Debug, PartialEq, Eq)]
pub struct GivenHost {
    pub name: String,
    pub binary: PathBuf,
    /// The folder of its guests. `None`: those of this working tree.
    pub guests: Option<PathBuf>,
}

/// Reads `--only NAMES`, `--quick`, `--rows N`, `--rounds N`, `--binary [NAME=]PATH`, `--guests PATH` and `--save`.
///
/// # Errors
/// A word is none of these, or lacks what belongs to it.
pub fn parse(words: &[String]) -> Result<Options> {
    let mut sizes = if words.iter().any(|word| word == "--quick") { Sizes::quick() } else { Sizes::full() };
    let (mut only, mut hosts, mut is_saved) = (Vec::new(), Vec::<GivenHost>::new(), false);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--quick" => continue,
            "--save" => {
                is_saved = true;
                continue;
            }
            _ => {}
        }
        let value = rest.next().with_context(|| format!("`{word}` is unknown, or lacks its value"))?;
        match word.as_str() {
            "--only" => only.extend(value.split(',').map(str::to_owned)),
            "--rows" => sizes = sizes.with_rows(number(word, value)?),
            "--rounds" => sizes.rounds = number(word, value)?,
            "--binary" => hosts.push(host(value)),
            "--guests" => {
                let host = hosts.last_mut().context("`--guests` follows the `--binary` that it belongs to")?;
                host.guests = Some(value.into());
            }
            _ => bail!("`{word}` is unknown"),
        }
    }
    let mut names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
    names.sort_unstable();
    ensure!(names.windows(2).all(|pair| pair[0] != pair[1]), "two binaries have one name: say `--binary NAME=PATH`");
    Ok(Options { only, sizes, hosts, is_saved })
}

fn number(word: &str, value: &str) -> Result<u64> {
    value.replace('_', "").parse().ok().filter(|number| *number > 0).with_context(|| format!("`{word}` needs a whole number above 0"))
}

fn host(value: &str) -> GivenHost {
    let (name, binary) = value.split_once('=').unwrap_or(("reprise", value));
    GivenHost { name: name.to_owned(), binary: binary.into(), guests: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Options> {
        parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_is_the_full_run_of_this_tree() {
        let options = parsed("").expect("nothing is fine");
        assert_eq!(options, Options { only: vec![], sizes: Sizes::full(), hosts: vec![], is_saved: false });
    }

    #[test]
    fn two_binaries_stand_side_by_side() {
        let options =
            parsed("--binary old=/a --guests /g --only discard,file --binary new=/b --rounds 7 --quick --save").expect("all known");
        let host = |name: &str, binary: &str, guests: Option<&str>| GivenHost {
            name: name.into(),
            binary: binary.into(),
            guests: guests.map(PathBuf::from),
        };
        assert_eq!(options.hosts, [host("old", "/a", Some("/g")), host("new", "/b", None)]);
        assert_eq!(options.only, ["discard", "file"]);
        assert_eq!(options.sizes, Sizes { rounds: 7, ..Sizes::quick() });
        assert!(options.is_saved);
    }

    #[test]
    fn rows_scale_what_is_counted() {
        assert_eq!(parsed("--rows 1_000_000").expect("a number").sizes, Sizes::full().with_rows(1_000_000));
    }

    #[test]
    fn others_are_refused() {
        for text in ["--colour red", "--rows", "--rows 0", "--rows many", "--guests /g", "--binary /a --binary /b", "discard"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
