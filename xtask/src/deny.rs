//! `cargo xtask deny`: licences, sources, versions and advisories of the libraries, by cargo-deny and `deny.toml`.
//!
//! `cargo xtask deny` installs cargo-deny to `target/tools` where the machine has none, which takes minutes. The tests use it where it is, and else
//! read the same lists by `cargo tree` and the lock file: [`by_hand`]. A machine that cannot have the list of advisories does without, and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{paths, run};

/// The version that is installed; any other one that is there serves as well.
const VERSION: &str = "0.20.2";
/// Compiling it takes some minutes of two cores.
const INSTALL_LIMIT: Duration = Duration::from_secs(1_200);
/// For the list of advisories.
const FETCH_LIMIT: Duration = Duration::from_secs(60);
/// All libraries in every check but that of advisories come from the registry's copies on this machine.
const CHECKS: [&str; 4] = ["check", "licenses", "sources", "bans"];

/// What was checked.
pub enum Checked {
    /// Everything.
    All,
    /// All but the advisories, whose list cannot be had; says why.
    WithoutAdvisories(String),
    /// Licences, sources and versions by hand, since cargo-deny is not there; says so.
    ByHand(String),
}

/// Checks the libraries of the host's workspace. `installs`: cargo-deny is installed where there is none.
///
/// # Errors
/// One of them is not allowed.
pub fn deny(installs: bool) -> Result<Checked> {
    if !is_installed() {
        let why = match installs.then(install) {
            None => Some("cargo-deny is not installed; `cargo xtask deny` installs it".to_owned()),
            Some(Err(error)) => Some(format!("cargo-deny cannot be installed here: {error:#}")),
            Some(Ok(())) => None,
        };
        if let Some(why) = why {
            return by_hand().map(|()| Checked::ByHand(why));
        }
    }
    run::run(&mut cargo_deny(&CHECKS))?;
    if let Err(error) = run::run_within(&mut cargo_deny(&["fetch", "db"]), FETCH_LIMIT) {
        return Ok(Checked::WithoutAdvisories(format!("the list of advisories cannot be had: {error:#}")));
    }
    run::run(&mut cargo_deny(&["check", "--disable-fetch", "advisories"]))?;
    Ok(Checked::All)
}

fn is_installed() -> bool {
    run::is_in_path("cargo-deny") || tools().join("bin/cargo-deny").is_file()
}

/// Licences, sources and versions of the libraries, held against the lists of `deny.toml`.
fn by_hand() -> Result<()> {
    let read = |name: &str| std::fs::read_to_string(paths::root().join(name)).with_context(|| format!("{name} cannot be read"));
    let (rules, lock) = (read("deny.toml")?, read("Cargo.lock")?);
    let mut tree = run::cargo();
    tree.args(["tree", "--workspace", "--edges", "normal,build", "--prefix", "none", "--format", "{p}|{l}"]);
    let faults = faults(&rules, &lock, &run::quiet(&mut tree)?);
    if faults.is_empty() { Ok(()) } else { bail!("{}", faults.join("\n")) }
}

/// What is not allowed. `tree`: a line for each library, `NAME vVERSION|LICENCE`; those of the workspace have a path.
fn faults(rules: &str, lock: &str, tree: &str) -> Vec<String> {
    let allowed: Vec<&str> =
        rules.lines().find(|line| line.starts_with("allow = [")).map(|line| quoted(line).collect()).unwrap_or_default();
    let skipped: Vec<&str> =
        rules.lines().filter(|line| line.trim_start().starts_with("{ crate = ")).filter_map(|line| quoted(line).next()).collect();
    let is_allowed = |licence: &str| {
        let licence = licence.replace(['(', ')'], "").replace('/', " OR ");
        licence.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(&one.trim())))
    };
    let mut faults = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines().filter(|line| !line.contains(" (/")) {
        let Some((package, licence)) = line.trim_end_matches(" (*)").split_once('|') else { continue };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        versions.entry(name).or_default().insert(version.trim_start_matches('v'));
        if !is_allowed(licence) {
            faults.push(format!("{package}: the licence `{licence}` is not one that deny.toml allows"));
        }
    }
    for (name, versions) in versions {
        let counted: Vec<&str> = versions.into_iter().filter(|version| !skipped.contains(&format!("{name}@{version}").as_str())).collect();
        if counted.len() > 1 {
            faults.push(format!("{name}: {} versions, {}: keep one, or give deny.toml the reason", counted.len(), counted.join(" and ")));
        }
    }
    let foreign = lock
        .lines()
        .filter(|line| line.starts_with("source = ") && !line.contains("registry+https://github.com/rust-lang/crates.io-index"));
    faults.extend(foreign.map(|line| format!("Cargo.lock: {line} is not the registry")));
    faults.sort();
    faults.dedup();
    faults
}

/// The texts in quotes of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

fn tools() -> PathBuf {
    paths::target().join("tools")
}

/// The program with these arguments: the machine's own, or the one in `target/tools`.
fn cargo_deny(arguments: &[&str]) -> Command {
    let ours = tools().join("bin/cargo-deny");
    let mut command = run::clean(if ours.is_file() { ours } else { PathBuf::from("cargo-deny") });
    command.args(arguments);
    command
}

fn install() -> Result<()> {
    let mut command = run::clean("cargo");
    command.args(["install", "cargo-deny", "--locked", "--no-default-features", "--version", VERSION, "--root"]).arg(tools());
    command.arg("--target-dir").arg(tools().join("build"));
    run::run_within(&mut command, INSTALL_LIMIT)?;
    std::fs::remove_dir_all(tools().join("build")).context("what cargo-deny was compiled in cannot be removed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "allow = [\"MIT\", \"Apache-2.0\"]\nskip = [\n  { crate = \"old@1.0.0\", reason = \"it is\" },\n]\n";

    #[test]
    fn what_the_lists_allow_is_allowed() {
        let tree = "a v1.0.0|GPL-3.0 OR MIT\nb v2.0.0|(MIT OR ISC) AND Apache-2.0 (*)\nc v1.0.0|MIT/ISC\nold v1.0.0|MIT\nold v2.0.0|MIT\nown v0.1.0 (/x)|\n";
        let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(faults(RULES, lock, tree), [""; 0]);
    }

    #[test]
    fn licences_versions_and_sources_that_are_not_are_told() {
        let tree = "a v1.0.0|GPL-3.0\nb v1.0.0|MIT AND GPL-3.0\nc v1.0.0|MIT\nc v2.0.0|MIT\n";
        let told = faults(RULES, "source = \"git+https://example.com/x\"\n", tree);
        assert_eq!(told.len(), 4, "{told:#?}");
    }
}
