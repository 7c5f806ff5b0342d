//! `cargo xtask test`: everything that has to hold, in phases, with a summary at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::deny::{self, Checked};
use crate::servers::{self, VERSITYGW};
use crate::{guests, paths, run, tidy, toolchain};

/// In the names of tests that need an S3 server which others wrote.
const REAL_SERVER: &str = "on_a_real_server";
/// In the names of tests that need guests which import WASI.
const WASIP2: &str = "of_wasip2";

enum Outcome {
    Passed,
    /// Says with what.
    PassedWith(String),
    Failed(String),
    /// Not run; says why.
    Skipped(String),
}

struct Phase {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// Runs every phase, cheap ones first. A failed phase does not stop the others, save those that need what it should have built.
///
/// # Errors
/// A phase failed; the summary was printed.
pub fn test() -> Result<()> {
    let mut phases = Vec::new();
    phase(&mut phases, "format", format);
    phase(&mut phases, "tidy", || tidy::check_repository(false).map(passed));
    let guests = phase(&mut phases, "guests", || guests::build().map(|_| Outcome::Passed));
    // With the tests: without them some packages have other features, and everything is compiled once more.
    let binary = phase(&mut phases, "binary and tests", || cargo(&["build", "--release", "--workspace", "--bins", "--tests"]));
    let server = phase(&mut phases, "S3 server of the tests", || servers::build().and_then(|()| servers::test()).map(passed));
    if guests && binary && server {
        let arguments = ["test", "--release", "--workspace", "--no-fail-fast", "--", "--skip", REAL_SERVER, "--skip", WASIP2];
        phase(&mut phases, "tests", || cargo(&arguments));
        phase(&mut phases, "S3 on a real server", real_server);
        phase(&mut phases, "guests of wasip2", wasip2_guests);
    } else {
        skip(&mut phases, "tests", "they need the guests, the binary and the S3 server");
    }
    phase(&mut phases, "native tests of operators", native_operators);
    phase(&mut phases, "libraries", libraries);
    if binary {
        phase(&mut phases, "lints", lints);
    } else {
        skip(&mut phases, "lints", "the workspace does not compile");
    }
    summary(&phases)
}

/// Accepts the present output of the tests as the golden files.
///
/// # Errors
/// The guests do not build, or a test fails for another reason than its golden file.
pub fn golden() -> Result<()> {
    guests::build()?;
    servers::build()?;
    let mut command = run::cargo();
    run::run(command.env("UPDATE_GOLDEN", "1").args(["test", "--release", "--workspace"]))?;
    println!("golden files are up to date; `git diff` shows what changed");
    Ok(())
}

fn passed((): ()) -> Outcome {
    Outcome::Passed
}

fn cargo(arguments: &[&str]) -> Result<Outcome> {
    run::run(run::cargo().args(arguments)).map(passed)
}

fn has_subcommand(program: &str) -> bool {
    run::quiet(run::cargo().args([program, "--version"])).is_ok()
}

fn format() -> Result<Outcome> {
    if !has_subcommand("fmt") {
        return Ok(Outcome::Skipped("rustfmt is not installed".to_owned()));
    }
    cargo(&["fmt", "--all", "--check"])?;
    for workspace in ["examples", "tests/components", "tests/components/wasip2", "tests/fuzz", "tests/s3-server"] {
        let folder = paths::root().join(workspace);
        if folder.join("Cargo.toml").is_file() {
            run::run(run::cargo().current_dir(folder).args(["fmt", "--all", "--check"]))?;
        }
    }
    Ok(Outcome::Passed)
}

fn lints() -> Result<Outcome> {
    if !has_subcommand("clippy") {
        return Ok(Outcome::Skipped("clippy is not installed".to_owned()));
    }
    cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// The tests that need a server which others wrote. A machine that cannot have one says so.
fn real_server() -> Result<Outcome> {
    if let Err(error) = VERSITYGW.install() {
        println!("{error:#}");
        return Ok(Outcome::Skipped(format!("no real S3 server here: `cargo xtask servers` installs one ({error})")));
    }
    // The same packages as in the phase before, so that nothing is built with other features.
    cargo(&["test", "--release", "--workspace", "--test", "all", "--", REAL_SERVER])?;
    Ok(Outcome::PassedWith(VERSITYGW.title()))
}

/// The tests of guests that import WASI. A machine that cannot build them says so.
fn wasip2_guests() -> Result<Outcome> {
    if let Err(error) = toolchain::wasip2() {
        return Ok(Outcome::Skipped(format!("no guests that import WASI here: {error:#}")));
    }
    cargo(&["test", "--release", "--workspace", "--test", "all", "--", WASIP2])
}

/// What the libraries are allowed to be. A machine that cannot have cargo-deny, or the list of advisories, says so.
fn libraries() -> Result<Outcome> {
    Ok(match deny::deny(false)? {
        Checked::All => Outcome::Passed,
        Checked::WithoutAdvisories(reason) => Outcome::PassedWith(reason),
        Checked::ByHand(reason) => Outcome::PassedWith(reason),
    })
}

/// The operators' own tests, on this machine and without Wasm, as their authors run them.
fn native_operators() -> Result<Outcome> {
    let folder = paths::root().join("examples");
    if !folder.join("Cargo.toml").is_file() {
        return Ok(Outcome::Skipped("examples has no Cargo.toml".to_owned()));
    }
    let mut command = run::cargo();
    command.current_dir(folder).args(["test", "--workspace", "--target-dir"]).arg(paths::target().join("examples-native"));
    run::run(&mut command).map(passed)
}

fn phase(phases: &mut Vec<Phase>, name: &'static str, work: impl FnOnce() -> Result<Outcome>) -> bool {
    println!("\n== {name}");
    let start = Instant::now();
    let outcome = work().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    if let Outcome::Failed(reason) = &outcome {
        eprintln!("error: {reason}");
    }
    let stands = !matches!(outcome, Outcome::Failed(_));
    phases.push(Phase { name, outcome, took: start.elapsed() });
    stands
}

fn skip(phases: &mut Vec<Phase>, name: &'static str, reason: &str) {
    phases.push(Phase { name, outcome: Outcome::Skipped(reason.to_owned()), took: Duration::ZERO });
}

fn summary(phases: &[Phase]) -> Result<()> {
    println!("\n== summary");
    let mut failed = Vec::new();
    for phase in phases {
        let (mark, note) = match &phase.outcome {
            Outcome::Passed => ("passed", String::new()),
            Outcome::PassedWith(what) => ("passed", format!("  {}", what.lines().next().unwrap_or_default())),
            Outcome::Skipped(reason) => ("skipped", format!("  {reason}")),
            Outcome::Failed(reason) => {
                failed.push(phase.name);
                ("FAILED", format!("  {}", reason.lines().next().unwrap_or_default()))
            }
        };
        println!("{:<26} {mark:<8} {:>7.1} s{note}", phase.name, phase.took.as_secs_f64());
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
