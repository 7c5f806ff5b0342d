//! The binaries that are measured: that of this working tree, or those that were given.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::options::GivenHost;
use crate::{guests, paths, run};

/// A binary, and the guests that it runs.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: String,
    pub binary: PathBuf,
    guests: PathBuf,
}

impl Host {
    /// A run of a topology.
    pub fn run(&self, topology: &Path, workers: u32) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(topology).args(["--log", "json", "--workers", &workers.to_string()]);
        command.env("REPRISE_LOG", "off").current_dir(paths::root());
        command
    }

    /// The path of a guest, as a topology names it.
    pub fn guest(&self, name: &str) -> String {
        self.guests.join(name).with_extension("wasm").display().to_string()
    }
}

/// The binaries, all of them there. Where none is given, this working tree is built, guests included.
///
/// # Errors
/// Something does not compile, or is not there.
pub fn hosts(given: &[GivenHost]) -> Result<Vec<Host>> {
    if given.iter().any(|host| host.guests.is_none()) || given.is_empty() {
        guests::build()?;
    }
    run::run(run::cargo().args(["build", "--release", "--package", "xtask"]))?;
    if given.is_empty() {
        run::run(run::cargo().args(["build", "--release", "--package", "reprise"]))?;
        return Ok(vec![Host { name: "reprise".to_owned(), binary: paths::release("reprise"), guests: paths::guests() }]);
    }
    given.iter().map(found).collect()
}

fn found(given: &GivenHost) -> Result<Host> {
    let binary = std::path::absolute(&given.binary)?;
    let guests = given.guests.as_deref().map_or_else(|| Ok(paths::guests()), std::path::absolute)?;
    ensure!(binary.is_file(), "{} is not there", binary.display());
    ensure!(guests.is_dir(), "{} is not there", guests.display());
    Ok(Host { name: given.name.clone(), binary, guests })
}
