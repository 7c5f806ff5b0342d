//! `cargo xtask deny`: licences, sources, versions and advisories of the libraries, by cargo-deny and `deny.toml`.
//!
//! cargo-deny is installed to `target/tools` where the machine has none. A machine that cannot have it, or cannot have the list of advisories,
//! does without, and says so.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

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
    /// Nothing, since cargo-deny cannot be had; says why.
    Nothing(String),
}

/// Checks the libraries of the host's workspace.
///
/// # Errors
/// One of them is not allowed.
pub fn deny() -> Result<Checked> {
    if let Err(error) = install() {
        return Ok(Checked::Nothing(format!("cargo-deny cannot be installed here: {error:#}")));
    }
    run::run(&mut cargo_deny(&CHECKS))?;
    if let Err(error) = run::run_within(&mut cargo_deny(&["fetch", "db"]), FETCH_LIMIT) {
        return Ok(Checked::WithoutAdvisories(format!("the list of advisories cannot be had: {error:#}")));
    }
    run::run(&mut cargo_deny(&["check", "--disable-fetch", "advisories"]))?;
    Ok(Checked::All)
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
    if run::is_in_path("cargo-deny") || tools().join("bin/cargo-deny").is_file() {
        return Ok(());
    }
    let mut command = run::clean("cargo");
    command.args(["install", "cargo-deny", "--locked", "--no-default-features", "--version", VERSION, "--root"]).arg(tools());
    command.arg("--target-dir").arg(tools().join("build"));
    run::run_within(&mut command, INSTALL_LIMIT)?;
    std::fs::remove_dir_all(tools().join("build")).context("what cargo-deny was compiled in cannot be removed")
}
