//! Whether a path or a glob can mean what a job writes itself: its output, what is staged beside that, its store.
//!
//! Pure: paths come in absolute and with links resolved, and nothing is looked up. Where it is not certain that a glob cannot match, it can.

use std::collections::BTreeSet;

/// A folder into which a sink or the store of a job writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFolder {
    /// Absolute, its parts joined by `/`.
    pub folder: String,
    /// What is there.
    pub what: WrittenContents,
}

/// The objects of a job that a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenContents {
    /// Output of a sink, and below `.reprise` what belongs to it.
    Output {
        /// Name of the sink.
        sink: String,
        /// How names of its files end.
        extension: &'static str,
    },
    /// Everything of the job that the store holds, in folders of its own.
    Store,
}

/// A character of a glob, or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glob {
    Is(char),
    One,
    Many,
}

/// A character of the names that a job gives, or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Is(char),
    /// A digit, a hyphen or a full stop.
    Number,
    Numbers,
    Any,
    Anys,
}

/// True where this part of a path is more than a name.
#[must_use]
pub fn is_wild(part: &str) -> bool {
    part.contains(['*', '?', '[', '{', '\\'])
}

fn globs(part: &str) -> Vec<Glob> {
    let (mut globs, mut rest) = (Vec::new(), part.chars());
    while let Some(letter) = rest.next() {
        globs.push(match letter {
            '*' => Glob::Many,
            '?' => Glob::One,
            '[' => {
                let class = rest.as_str().trim_start_matches(['!', '^']);
                // A `]` may be the first letter of a class.
                let first = class.chars().next().map_or(0, char::len_utf8);
                let end = class[first..].find(']');
                rest = end.map_or(rest.clone(), |end| class[first + end + 1..].chars());
                Glob::Many
            }
            '{' | '\\' => {
                globs.push(Glob::Many);
                return globs;
            }
            letter => Glob::Is(letter),
        });
    }
    globs
}

fn name(text: &str) -> Vec<Shape> {
    text.chars().map(Shape::Is).collect()
}

fn numbers(before: &str, after: &str) -> Vec<Shape> {
    [name(before), vec![Shape::Number, Shape::Numbers], name(after)].concat()
}

fn anything(before: &str, after: &str) -> Vec<Shape> {
    [name(before), vec![Shape::Any, Shape::Anys], name(after)].concat()
}

/// True where the glob and the shape have a name in common.
fn meets(globs: &[Glob], shape: &[Shape]) -> bool {
    if shape.first() == Some(&Shape::Is('.')) && globs.first() != Some(&Glob::Is('.')) {
        return false;
    }
    let (mut seen, mut open) = (BTreeSet::from([(0, 0)]), vec![(0, 0)]);
    while let Some((at, to)) = open.pop() {
        let (glob, part) = (globs.get(at).copied(), shape.get(to).copied());
        if glob.is_none() && part.is_none() {
            return true;
        }
        let mut next = Vec::new();
        if glob == Some(Glob::Many) {
            next.push((at + 1, to));
        }
        if matches!(part, Some(Shape::Numbers | Shape::Anys)) {
            next.push((at, to + 1));
        }
        if let (Some(glob), Some(part)) = (glob, part) {
            let is_number = |letter: char| letter.is_ascii_digit() || letter == '-' || letter == '.';
            let fits = match (glob, part) {
                (Glob::Is(letter), Shape::Is(other)) => letter == other,
                (Glob::Is(letter), Shape::Number | Shape::Numbers) => is_number(letter),
                _ => true,
            };
            if fits {
                let stays = (glob == Glob::Many, matches!(part, Shape::Numbers | Shape::Anys));
                next.push((at + usize::from(!stays.0), to + usize::from(!stays.1)));
            }
        }
        open.extend(next.into_iter().filter(|state| seen.insert(*state)));
    }
    false
}

/// True where a part of a glob matches a name. Names that start with a dot match no wildcard.
#[must_use]
pub fn part_matches(part: &str, other: &str) -> bool {
    if is_wild(part) { meets(&globs(part), &name(other)) } else { part == other }
}

/// What is left of a glob when its first parts have matched these folders; there may be several ways.
fn lefts<'a, 'b>(glob: &'b [&'a str], folders: &[&str]) -> Vec<&'b [&'a str]> {
    // `**` stands for any number of folders, so for none.
    let close = |mut set: BTreeSet<usize>| {
        for (at, part) in glob.iter().enumerate() {
            if set.contains(&at) && *part == "**" {
                set.insert(at + 1);
            }
        }
        set
    };
    let mut set = close(BTreeSet::from([0]));
    for folder in folders {
        let mut next = BTreeSet::new();
        for at in set {
            match glob.get(at) {
                Some(&"**") if !folder.starts_with('.') => drop(next.insert(at)),
                Some(part) if *part != "**" && part_matches(part, folder) => drop(next.insert(at + 1)),
                _ => {}
            }
        }
        set = close(next);
    }
    set.into_iter().map(|at| &glob[at..]).collect()
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

/// True where a path or a glob, absolute and with the links of its first parts resolved, can match a file that the job writes there.
#[must_use]
pub fn can_match(path: &str, written: &WrittenFolder) -> bool {
    let (glob, folder) = (parts(path), parts(&written.folder));
    let is_last = |left: &[&str], shapes: &[Vec<Shape>]| {
        let last = left.last().map_or_else(Vec::new, |last| globs(last));
        shapes.iter().any(|shape| meets(&last, shape))
    };
    match &written.what {
        WrittenContents::Output { sink, extension } => {
            let output = [numbers(&format!("{sink}-"), &format!(".{extension}"))];
            let direct = |left: &[&str]| left.split_last().is_some_and(|(_, before)| before.iter().all(|part| *part == "**"));
            let hidden = [folder.as_slice(), &[".reprise"]].concat();
            lefts(&glob, &folder).into_iter().any(|left| direct(left) && is_last(left, &output))
                || lefts(&glob, &hidden).into_iter().any(|left| !left.is_empty())
        }
        WrittenContents::Store => {
            let endings = [".claim", ".manifest", ".full", ".delta", ".savepoint", ".resume", ".not-paused", ".capsule", ".wasm"];
            let mut shapes: Vec<Vec<Shape>> = endings.iter().map(|ending| anything("", ending)).collect();
            shapes.extend([numbers("", ""), anything("", ".dropped-0"), name("identity")]);
            lefts(&glob, &folder).into_iter().any(|left| !left.is_empty() && is_last(left, &shapes))
        }
    }
}

/// True where a folder is this one or lies below it. Both are absolute, with links resolved.
#[must_use]
pub fn is_within(folder: &str, outer: &str) -> bool {
    parts(folder).starts_with(&parts(outer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> WrittenFolder {
        WrittenFolder { folder: "/home/data".into(), what: WrittenContents::Output { sink: "out".into(), extension: "json" } }
    }

    #[test]
    fn a_glob_that_can_match_output_is_told_from_one_that_cannot() {
        for path in [
            "/home/data/*.json",
            "/home/data/*",
            "/home/*/*.json",
            "/home/**/*.json",
            "/**/out-*",
            "/home/data/**",
            "/home/./data//out-0*",
            "/home/data/o?t-[0-9]*.js*",
            "/home/data/{out,in}-*.json",
            "/home/data/out-000000000007-0.json",
            "/home/data/.reprise/out/staged/*.json",
            "/home/data/.reprise/**/x",
            "/home/[cd]ata/*.json",
        ] {
            assert!(can_match(path, &output()), "{path}");
        }
        for path in [
            "/home/data/*.csv",
            "/home/data/in-*.json",
            "/home/data/out.json",
            "/home/data/out-x*.json",
            "/home/data/*/*.json",
            "/home/other/*.json",
            "/home/*.json",
            "/home/data",
            "/home/data/.hidden/*.json",
            "/home/data/a.json",
        ] {
            assert!(!can_match(path, &output()), "{path}");
        }
    }

    #[test]
    fn a_glob_that_can_match_objects_of_the_store_is_told_from_one_that_cannot() {
        let store = WrittenFolder { folder: "/home/state/job".into(), what: WrittenContents::Store };
        for path in ["/home/**/*", "/home/state/**/*.manifest", "/home/state/job/checkpoints/*", "/home/*/*/*/*", "/home/**/0*", "/**"] {
            assert!(can_match(path, &store), "{path}");
        }
        for path in ["/home/**/*.csv", "/home/*.manifest", "/home/state/*", "/home/state/other/**/*", "/home/**/*.json"] {
            assert!(!can_match(path, &store), "{path}");
        }
    }

    #[test]
    fn one_folder_lies_in_another_by_whole_names() {
        assert!(is_within("/a/b/c", "/a/b") && is_within("/a/b", "/a/b/") && is_within("/a", "/"));
        assert!(!is_within("/a/bc", "/a/b") && !is_within("/a", "/a/b"));
    }

    proptest::proptest! {
        /// What the glob matches by the plain rules, it can match.
        #[test]
        fn no_match_is_missed(glob in "[a-c*?]{0,6}", text in "[a-c]{0,6}") {
            fn plain(glob: &[u8], text: &[u8]) -> bool {
                match (glob.first(), text.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) if plain(&glob[1..], text) => true,
                    (Some(b'*'), Some(_)) => plain(glob, &text[1..]),
                    (Some(b'?'), Some(_)) => plain(&glob[1..], &text[1..]),
                    (Some(a), Some(b)) if a == b => plain(&glob[1..], &text[1..]),
                    _ => false,
                }
            }
            proptest::prop_assert_eq!(part_matches(&glob, &text), plain(glob.as_bytes(), text.as_bytes()));
        }
    }
}
