//! `cargo xtask sim`: the simulation of the checkpoint protocol, built for speed.

use anyhow::Result;

use crate::run;

/// Builds the simulation and hands it the arguments.
///
/// # Errors
/// It does not build, an argument is wrong, or a seed fails.
pub fn sim(arguments: &[String]) -> Result<()> {
    let mut command = run::cargo();
    command.args(["run", "--quiet", "--release", "--package", "reprise-sim", "--bin", "reprise-sim", "--"]);
    run::run(command.args(arguments))
}
