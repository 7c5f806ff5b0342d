//! Imports between the files of a crate, and the circles that they make.
//!
//! An import is a path to an item of another file, in a `use` or where the item is named; a re-export (`pub use`) is a sign on the door and none.
//! A path ends at the file that defines its item, however many re-exports lie between. A parent and a child that name each other's items are a
//! circle as well. Code of tests does not count.

use std::collections::{BTreeMap, BTreeSet};

use super::source;

/// Re-exports that are followed from one path.
const HOPS_MAX: usize = 8;
/// Names that a complaint gives for one import.
const NAMES_TOLD_MAX: usize = 4;

/// Folders whose circles are still to be cut; a circle that leaves them counts.
const UNCUT: [&str; 1] = ["tests/sim/"];

/// Files that import each other, and what the first of each pair takes from the second.
#[derive(Debug, PartialEq, Eq)]
pub struct Circle {
    /// The first file in the order of names.
    pub path: String,
    /// `from -> to: names`, one import a line.
    pub imports: Vec<String>,
}

/// Path of a module within its crate.
type Name = Vec<String>;

struct Module<'a> {
    path: &'a str,
    code: String,
    /// What a `use` brings under a name: its path.
    uses: BTreeMap<String, Vec<Name>>,
}

/// All modules of one crate.
struct Crate<'a> {
    modules: BTreeMap<Name, Module<'a>>,
}

/// The circles of every crate that these files (path and text) hold.
pub fn circles(files: &[(String, String)]) -> Vec<Circle> {
    crates(files).iter().flat_map(Crate::circles).collect()
}

/// The files that are compiled into a product, in the order of their paths, without comments, literals and tests.
pub fn product(files: &[(String, String)]) -> BTreeMap<&str, String> {
    let modules = crates(files).into_iter().flat_map(|one| one.modules.into_values());
    modules.map(|module| (module.path, module.code)).collect()
}

fn crates(files: &[(String, String)]) -> Vec<Crate<'_>> {
    let texts: BTreeMap<&str, &str> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let is_root = |path: &str| {
        path.ends_with("src/lib.rs")
            || path
                .strip_suffix("main.rs")
                .is_some_and(|folder| folder.ends_with("src/") && !texts.contains_key(format!("{folder}lib.rs").as_str()))
    };
    let mut found = Vec::new();
    for root in texts.keys().copied().filter(|path| is_root(path)) {
        let mut modules = BTreeMap::new();
        load(&texts, root, Vec::new(), &mut modules);
        found.push(Crate { modules });
    }
    found
}

/// Reads a module and those that it declares.
fn load<'a>(texts: &BTreeMap<&'a str, &str>, path: &'a str, name: Name, modules: &mut BTreeMap<Name, Module<'a>>) {
    let Some(text) = texts.get(path) else { return };
    let code = source::without_tests(&source::scrub(text));
    let folder = match path.rsplit_once('/') {
        Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    for offset in source::words(&code, "mod") {
        let rest = code[offset + 3..].trim_start();
        let child = word(rest);
        if child.is_empty() || !rest[child.len()..].trim_start().starts_with(';') {
            continue;
        }
        let places = [format!("{folder}/{child}.rs"), format!("{folder}/{child}/mod.rs")];
        if let Some((place, _)) = places.iter().find_map(|place| texts.get_key_value(place.as_str())) {
            load(texts, place, [name.clone(), vec![child.to_owned()]].concat(), modules);
        }
    }
    let uses = imports(&code).filter_map(|(path, alias)| Some((alias?, path)));
    let uses = uses.fold(BTreeMap::new(), |mut all: BTreeMap<String, Vec<Name>>, (alias, path)| {
        all.entry(alias).or_default().push(path);
        all
    });
    modules.insert(name, Module { path, code, uses });
}

/// The letters, digits and underscores that a text begins with.
fn word(text: &str) -> &str {
    &text[..text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len())]
}

/// The statements of `use`: where the word stands, and what follows it.
fn statements(code: &str) -> impl Iterator<Item = (usize, &str)> {
    source::words(code, "use").filter_map(|offset| Some((offset, code[offset + 3..].split_once(';')?.0)))
}

/// Every path that a `use` names, with the name that it gets here.
fn imports(code: &str) -> impl Iterator<Item = (Name, Option<String>)> {
    statements(code).flat_map(|(_, tree)| paths(tree))
}

/// The paths of a tree such as `a::{b, c::{d as e}}`.
fn paths(tree: &str) -> Vec<(Name, Option<String>)> {
    let tree = tree.trim();
    if let Some((stem, inner)) = tree.split_once('{') {
        let stem: Name = segments(stem);
        let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
        return branches(inner).into_iter().flat_map(paths).map(|(path, alias)| ([stem.clone(), path].concat(), alias)).collect();
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim().to_owned())));
    let mut path = segments(path);
    path.pop_if(|last| last == "self");
    let alias = alias.or_else(|| path.last().cloned());
    vec![(path, alias)]
}

fn segments(path: &str) -> Name {
    path.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

/// The parts between commas that stand in no braces.
fn branches(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

impl Crate<'_> {
    /// The module where a path begins, and the rest of it; `None` for a path out of the crate.
    fn begin<'p>(&self, at: &Name, path: &'p [String]) -> Option<(Name, &'p [String])> {
        let mut rest = path;
        let mut module = match rest.first()?.as_str() {
            "crate" => Vec::new(),
            "self" => at.clone(),
            "super" => at[..at.len().checked_sub(1)?].to_vec(),
            first => {
                let child = [at.clone(), vec![first.to_owned()]].concat();
                return self.modules.contains_key(&child).then(|| (at.clone(), rest));
            }
        };
        rest = &rest[1..];
        while rest.first().is_some_and(|first| first == "super") {
            module.pop()?;
            rest = &rest[1..];
        }
        Some((module, rest))
    }

    /// The module that defines what a path names.
    fn resolve(&self, at: &Name, path: &[String], hops: usize) -> Option<Name> {
        let (mut module, mut rest) = self.begin(at, path)?;
        while let Some((first, more)) = rest.split_first() {
            let child = [module.clone(), vec![first.clone()]].concat();
            if !self.modules.contains_key(&child) {
                break;
            }
            (module, rest) = (child, more);
        }
        let brought = rest.first().and_then(|first| self.modules.get(&module)?.uses.get(first));
        for path in brought.into_iter().flatten().filter(|_| hops > 0) {
            let whole = [path.as_slice(), &rest[1..]].concat();
            if let Some(other) = self.resolve(&module, &whole, hops - 1).filter(|other| *other != module) {
                return Some(other);
            }
        }
        Some(module)
    }

    /// Paths that a module names.
    fn named(&self, name: &Name, module: &Module<'_>) -> Vec<Name> {
        let (mut named, mut rest) = (Vec::new(), module.code.clone());
        for (offset, tree) in statements(&module.code) {
            let before = module.code[..offset].trim_end();
            let is_export =
                before.ends_with("pub") || (before.ends_with(')') && before.rsplit("pub").next().is_some_and(|tail| tail.starts_with('(')));
            if !is_export {
                named.extend(paths(tree).into_iter().map(|(path, _)| path));
            }
            rest.replace_range(offset..offset + 3 + tree.len(), &" ".repeat(3 + tree.len()));
        }
        for (offset, _) in rest.match_indices("::") {
            // The whole path, from its first word on; one that begins within another has been taken with it.
            let head = rest[..offset].rsplit(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default();
            if head.is_empty() || rest[..offset - head.len()].ends_with("::") {
                continue;
            }
            let mut path = vec![head.to_owned()];
            let mut tail = &rest[offset..];
            while let Some(next) = tail.strip_prefix("::").map(word).filter(|next| !next.is_empty()) {
                path.push(next.to_owned());
                tail = &tail[2 + next.len()..];
            }
            let is_local =
                matches!(head, "crate" | "self" | "super") || self.modules.contains_key(&[name.clone(), vec![path[0].clone()]].concat());
            match module.uses.get(head) {
                Some(brought) if !is_local => named.extend(brought.iter().map(|stem| [stem.as_slice(), &path[1..]].concat())),
                _ => named.push(path),
            }
        }
        named
    }

    /// What each file takes from others.
    fn imports(&self) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> {
        let mut all: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
        for (name, module) in &self.modules {
            for path in self.named(name, module) {
                let other = self.resolve(name, &path, HOPS_MAX).and_then(|other| self.modules.get(&other));
                if let (Some(other), Some(item)) = (other.filter(|other| other.path != module.path), path.last()) {
                    all.entry(module.path).or_default().entry(other.path).or_default().insert(item.clone());
                }
            }
        }
        all
    }

    fn circles(&self) -> Vec<Circle> {
        let imports = self.imports();
        let reached: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|file| (*file, reach(&imports, file))).collect();
        let meets = |one: &str, other: &str| reached.get(one).is_some_and(|files| files.contains(other));
        let mut circles = Vec::new();
        let mut told = BTreeSet::new();
        for file in imports.keys().copied().filter(|file| meets(file, file)) {
            if told.contains(file) {
                continue;
            }
            let members: BTreeSet<&str> = reached[file].iter().copied().filter(|other| meets(other, file)).collect();
            let mut lines = Vec::new();
            for member in &members {
                for (to, names) in imports[member].iter().filter(|(to, _)| members.contains(*to)) {
                    let names: Vec<&str> = names.iter().map(String::as_str).take(NAMES_TOLD_MAX).collect();
                    lines.push(format!("{member} -> {to}: {}", names.join(", ")));
                }
            }
            let is_uncut = UNCUT.iter().any(|folder| members.iter().all(|member| member.starts_with(folder)));
            told.extend(members);
            if is_uncut {
                continue;
            }
            circles.push(Circle { path: file.to_owned(), imports: lines });
        }
        circles
    }
}

/// Files that a file imports, and those that they import.
fn reach<'a>(imports: &BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(file) = open.pop() {
        open.extend(imports.get(file).into_iter().flat_map(BTreeMap::keys).copied().filter(|next| reached.insert(*next)));
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<Circle> {
        let files: Vec<(String, String)> = files.iter().map(|(path, text)| (format!("a/src/{path}"), (*text).to_owned())).collect();
        circles(&files)
    }

    #[test]
    fn files_that_name_each_other_are_a_circle_however_they_do_it() {
        let root = ("lib.rs", "mod b;\nmod c;\n");
        for (b, c) in [
            ("use crate::c::C;\npub struct B;", "use super::b::B;\npub struct C;"),
            ("use crate::{c::{self, C}};\npub struct B;", "fn f(b: crate::b::B) {}\npub struct C;"),
            ("pub struct B;\nfn f() { crate::c::f() }", "use super::b;\npub fn f() -> b::B {}"),
        ] {
            let circles = found(&[root, ("b.rs", b), ("c.rs", c)]);
            assert_eq!(circles.len(), 1, "{b} {c}");
            assert_eq!(circles[0].imports.len(), 2, "{circles:?}");
        }
    }

    #[test]
    fn a_path_through_a_re_export_leads_to_the_file_of_the_item() {
        let files = [
            ("lib.rs", "mod b;"),
            ("b/mod.rs", "mod c;\nmod d;\npub use c::C;\npub use d::D;\n"),
            ("b/c.rs", "use super::D;\npub struct C(D);"),
            ("b/d.rs", "pub struct D;"),
        ];
        assert_eq!(found(&files), []);
        let files = [files[0], files[1], files[2], ("b/d.rs", "use crate::b::C;\npub struct D(C);")];
        assert_eq!(found(&files)[0].imports, ["a/src/b/c.rs -> a/src/b/d.rs: D", "a/src/b/d.rs -> a/src/b/c.rs: C"]);
    }

    #[test]
    fn a_parent_and_a_child_are_files_like_others_and_tests_do_not_count() {
        let child = ("b/c.rs", "use super::B;\npub struct C;");
        assert_eq!(found(&[("lib.rs", "mod b;"), ("b.rs", "mod c;\npub struct B;"), child]), []);
        assert_eq!(found(&[("lib.rs", "mod b;"), ("b.rs", "mod c;\nuse c::C;\npub struct B(C);"), child]).len(), 1);
        let tests = "mod c;\npub struct B;\n#[cfg(test)]\nmod tests {\n    use super::c::C;\n}\n";
        assert_eq!(found(&[("lib.rs", "mod b;"), ("b.rs", tests), child]), []);
    }
}
