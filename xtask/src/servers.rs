//! S3 servers for the tests: ours, which is built beside the host, and real ones, which the Go tool chain installs.
//!
//! Ours is always needed. A real one is another opinion on what S3 is; a machine without Go, or without a way to the Go module proxy, does
//! without, and says so.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{paths, run};

/// Compiling a server takes some minutes of one core; fetching it comes before.
const INSTALL_LIMIT: Duration = Duration::from_secs(480);

/// A server that others wrote, at the one version that was tried. It runs as a process of its own; nothing of it is linked.
pub struct Real {
    /// Of the program.
    pub name: &'static str,
    package: &'static str,
    version: &'static str,
    licence: &'static str,
}

/// Keeps objects as files; the one that `cargo xtask test` installs.
pub const VERSITYGW: Real =
    Real { name: "versitygw", package: "github.com/versity/versitygw/cmd/versitygw", version: "v1.8.0", licence: "Apache-2.0" };
/// The best known one; it takes three times as long to compile.
pub const MINIO: Real =
    Real { name: "minio", package: "github.com/minio/minio", version: "v0.0.0-20260212201848-7aac2a2c5b7c", licence: "AGPL-3.0" };

impl Real {
    fn path(&self) -> PathBuf {
        paths::servers().join(self.name)
    }

    /// Beside the program: its version.
    fn stamp(&self) -> PathBuf {
        paths::servers().join(format!("{}.version", self.name))
    }

    /// Whether it lies there in its version.
    pub fn is_installed(&self) -> bool {
        self.path().is_file() && fs::read_to_string(self.stamp()).is_ok_and(|version| version.trim() == self.version)
    }

    /// For people.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Installs it unless it is there.
    ///
    /// # Errors
    /// It cannot be had on this machine, or not now.
    pub fn install(&self) -> Result<()> {
        if self.is_installed() {
            println!("{} is in {}", self.title(), paths::shown(&self.path()));
            return Ok(());
        }
        if !run::is_in_path("go") {
            bail!("there is no `go` to install {} with", self.title());
        }
        fs::create_dir_all(paths::servers())?;
        run::run_within(&mut self.command(), INSTALL_LIMIT).with_context(|| format!("{} cannot be installed here", self.title()))?;
        let stamp = self.stamp();
        fs::write(&stamp, format!("{}\n", self.version)).with_context(|| format!("{} cannot be written", paths::shown(&stamp)))?;
        println!("{} ({}) was installed to {}", self.title(), self.licence, paths::shown(&self.path()));
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = run::clean("go");
        // One package at a time: several at once take more memory than small machines have.
        command.env("GOFLAGS", "-buildvcs=false -p=1").env("GOBIN", paths::servers());
        command.args(["install", &format!("{}@{}", self.package, self.version)]);
        command
    }
}

/// `cargo xtask servers`: ours and a real one, or two. That a real one cannot be had is said, and is no error.
///
/// # Errors
/// Ours does not build.
pub fn servers(with_minio: bool) -> Result<()> {
    build()?;
    let wanted: &[Real] = if with_minio { &[VERSITYGW, MINIO] } else { &[VERSITYGW] };
    for real in wanted {
        if let Err(error) = real.install() {
            println!("no {} here: {error:#}; the tests run without it", real.name);
        }
    }
    Ok(())
}

/// Builds ours beside the host's binary.
///
/// # Errors
/// It does not compile.
pub fn build() -> Result<()> {
    run::run(&mut ours(&["build", "--release"]))
}

/// Runs the tests of ours.
///
/// # Errors
/// One fails.
pub fn test() -> Result<()> {
    run::run(&mut ours(&["test", "--release"]))
}

fn ours(arguments: &[&str]) -> Command {
    let mut command = run::cargo();
    command.current_dir(paths::root().join("tests/s3-server")).args(arguments).arg("--target-dir").arg(paths::built());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_package_version_and_folder() {
        let command = VERSITYGW.command();
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments, ["install", "github.com/versity/versitygw/cmd/versitygw@v1.8.0"]);
        let folder = command.get_envs().find(|(name, _)| *name == "GOBIN").and_then(|(_, value)| value);
        assert_eq!(folder, Some(paths::servers().as_os_str()));
    }
}
