//! Builds the Wasm guests: every library and every example of the guest workspaces that is a `cdylib`.
//!
//! The result is `target/guests/NAME.wasm`, a core module that carries its component's types; the host makes a component of it. NAME
//! is the package's name for a library and the example's name for an example. All workspaces share the folder `target/guests-build`,
//! so that the standard library and the guest SDK are compiled once.
//!
//! The guests that import WASI are built where the toolchain has the target `wasm32-wasip2` or can get it; elsewhere they are left out,
//! and that is said. They come as components.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::toolchain::{self, TARGET, WASIP2, Way};
use crate::{paths, run};

/// The workspaces that hold guests, that of the examples first.
const WORKSPACES: [&str; 2] = ["examples", "tests/components"];
/// The workspace of those that import WASI.
const WASIP2_WORKSPACE: &str = "tests/components/wasip2";

/// A guest, and the file that cargo builds for it, relative to the release folder of the target.
#[derive(Debug, PartialEq, Eq)]
struct Guest {
    name: String,
    built: PathBuf,
}

/// Builds all guests and returns how many there are.
///
/// # Errors
/// No toolchain can build them, one does not compile, or two have the same name.
pub fn build() -> Result<usize> {
    let mut made = BTreeMap::new();
    let way = build_workspaces(&WORKSPACES, &mut made)?;
    match toolchain::wasip2() {
        Ok(command) => {
            let folder = paths::root().join(WASIP2_WORKSPACE);
            let guests = list(way, &folder, WASIP2_WORKSPACE, &mut made)?;
            compile(command, &folder, &["--workspace", "--examples"])?;
            for guest in &guests {
                place(guest, WASIP2)?;
            }
        }
        Err(error) => println!("SKIPPED: the guests of {WASIP2_WORKSPACE} are not built: {error:#}"),
    }
    remove_others(&made)?;
    println!("{} guests in {}", made.len(), paths::shown(&paths::guests()));
    Ok(made.len())
}

/// Builds the operators of the examples, and no guest of a test.
///
/// # Errors
/// As [`build`].
pub fn build_examples() -> Result<()> {
    build_workspaces(&WORKSPACES[..1], &mut BTreeMap::new()).map(drop)
}

fn build_workspaces(workspaces: &[&'static str], made: &mut BTreeMap<String, &'static str>) -> Result<Way> {
    let way = toolchain::find()?;
    println!("guests are built with {}", way.description());
    for workspace in workspaces {
        let folder = paths::root().join(workspace);
        if !folder.join("Cargo.toml").is_file() {
            println!("{workspace} has no Cargo.toml: no guests there");
            continue;
        }
        let guests = list(way, &folder, workspace, made)?;
        compile(way.build(), &folder, &["--workspace", "--lib", "--examples"])?;
        for guest in &guests {
            place(guest, TARGET)?;
        }
    }
    Ok(way)
}

fn build_folder() -> PathBuf {
    paths::target().join("guests-build")
}

/// The guests of a workspace, which are added to those that were made.
fn list(way: Way, folder: &Path, workspace: &'static str, made: &mut BTreeMap<String, &'static str>) -> Result<Vec<Guest>> {
    let mut command = way.cargo();
    command.current_dir(folder).args(["metadata", "--format-version", "1", "--no-deps"]);
    let text = run::quiet(&mut command)?;
    let guests = guests_of(&text).with_context(|| format!("the metadata of {} cannot be understood", paths::shown(folder)))?;
    for guest in &guests {
        if let Some(other) = made.insert(guest.name.clone(), workspace) {
            bail!("two guests are called `{}`, in {other} and in {workspace}\n  help: rename one of them", guest.name);
        }
    }
    Ok(guests)
}

/// The guests in the output of `cargo metadata`.
fn guests_of(metadata: &str) -> Result<Vec<Guest>> {
    let metadata: Value = serde_json::from_str(metadata)?;
    let mut guests = Vec::new();
    for package in array(&metadata, "packages")? {
        let package_name = text(package, "name")?;
        for target in array(package, "targets")? {
            if !has(target, "crate_types", "cdylib")? {
                continue;
            }
            let name = text(target, "name")?;
            let file = format!("{}.wasm", name.replace('-', "_"));
            if has(target, "kind", "example")? {
                // Cargo keeps the hyphens of an example's file on some targets; both names are tried when the file is placed.
                guests.push(Guest { name: name.to_owned(), built: Path::new("examples").join(file) });
            } else {
                guests.push(Guest { name: package_name.to_owned(), built: PathBuf::from(file) });
            }
        }
    }
    Ok(guests)
}

fn array<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key].as_array().with_context(|| format!("`{key}` is not a list"))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("`{key}` is not text"))
}

fn has(value: &Value, key: &str, word: &str) -> Result<bool> {
    Ok(array(value, key)?.iter().any(|entry| entry.as_str() == Some(word)))
}

fn compile(mut command: Command, folder: &Path, what: &[&str]) -> Result<()> {
    command.current_dir(folder).arg("--target-dir").arg(build_folder()).args(what);
    run::run(&mut command)
}

/// Copies a built guest to its place, unless the same bytes are there already.
fn place(guest: &Guest, target: &str) -> Result<()> {
    let release = build_folder().join(target).join("release");
    let hyphenated = release.join(guest.built.with_file_name(format!("{}.wasm", guest.name)));
    let built = [release.join(&guest.built), hyphenated].into_iter().find(|file| file.is_file());
    let Some(built) = built else {
        bail!("the guest `{}` was built, but {} is not there", guest.name, paths::shown(&release.join(&guest.built)));
    };
    let bytes = fs::read(&built).with_context(|| format!("{} cannot be read", paths::shown(&built)))?;
    let placed = paths::guests().join(format!("{}.wasm", guest.name));
    if fs::read(&placed).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    // Written beside and renamed: a running host never sees half a file.
    let fresh = placed.with_extension("fresh");
    fs::create_dir_all(paths::guests())?;
    fs::write(&fresh, &bytes)
        .and_then(|()| fs::rename(&fresh, &placed))
        .with_context(|| format!("{} cannot be written", paths::shown(&placed)))
}

/// Removes modules of guests that are no more.
fn remove_others(made: &BTreeMap<String, &'static str>) -> Result<()> {
    let Ok(entries) = fs::read_dir(paths::guests()) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|extension| extension == "wasm") && !made.contains_key(stem.as_ref()) {
            println!("{} is of a guest that is no more: removed", paths::shown(&path));
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{"packages": [
        {"name": "parse-kv", "targets": [
            {"name": "parse_kv", "kind": ["cdylib"], "crate_types": ["cdylib"]},
            {"name": "unit", "kind": ["test"], "crate_types": ["bin"]}]},
        {"name": "bad", "targets": [
            {"name": "bad", "kind": ["lib"], "crate_types": ["lib"]},
            {"name": "stack-overflow", "kind": ["example"], "crate_types": ["cdylib"]},
            {"name": "plain", "kind": ["example"], "crate_types": ["bin"]}]}]}"#;

    #[test]
    fn libraries_and_examples_that_are_cdylibs_are_guests() {
        let guests = guests_of(METADATA).expect("the metadata is well-formed");
        let expected = [("parse-kv", "parse_kv.wasm"), ("stack-overflow", "examples/stack_overflow.wasm")];
        assert_eq!(guests, expected.map(|(name, built)| Guest { name: name.to_owned(), built: PathBuf::from(built) }));
    }

    #[test]
    fn metadata_of_another_shape_is_an_error() {
        for text in ["", "{}", r#"{"packages": [{"name": 1}]}"#] {
            assert!(guests_of(text).is_err(), "{text}");
        }
    }
}
