//! Running other programs. Every command line is printed before it runs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;

/// Between two looks at a child that has a time limit.
const POLL: Duration = Duration::from_millis(50);

/// A cargo of the host's toolchain, in the root of the repository.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// A command that knows nothing of the cargo that runs us: no variables of cargo, rustc or rustup except where crates come from.
pub fn clean(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(paths::root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_toolchain_variable) {
            command.env_remove(name);
        }
    }
    command
}

fn is_toolchain_variable(name: &str) -> bool {
    const KEPT: [&str; 5] = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];
    const CLEARED: [&str; 9] = [
        "RUSTUP_TOOLCHAIN",
        "RUST_RECURSION_COUNT",
        "CARGO",
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "LD_LIBRARY_PATH",
    ];
    CLEARED.contains(&name) || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// Prints the command and runs it to its end.
///
/// # Errors
/// It cannot be started, or ends with another status than 0.
pub fn run(command: &mut Command) -> Result<()> {
    print(command);
    let status = command.status().with_context(|| format!("`{}` cannot be started", line(command)))?;
    expect_success(command, status)
}

/// As [`run`], but kills the command when `limit` has passed.
///
/// # Errors
/// As [`run`], and when the limit passed.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    print(command);
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("`{}` cannot be started", line(command)))?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return expect_success(command, status);
        }
        if start.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            bail!("`{}` did not end within {} s", line(command), limit.as_secs());
        }
        sleep(POLL);
    }
}

/// Runs a command, without printing it, and hands out what it wrote to its standard output: for questions that change nothing.
///
/// # Errors
/// As [`run`]; what it wrote to its standard error is in the message.
pub fn quiet(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("`{}` cannot be started", line(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}: {}", line(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` wrote something that is not UTF-8", line(command)))
}

/// Whether a program of this name lies in `PATH`.
pub fn is_in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|folders| std::env::split_paths(&folders).any(|folder| folder.join(program).is_file()))
}

/// Prints the command as a line that could be typed.
pub fn print(command: &Command) {
    println!("$ {}", line(command));
}

fn line(command: &Command) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir().filter(|folder| *folder != paths::root()) {
        words.push(format!("cd {} &&", paths::shown(folder)));
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", name.to_string_lossy(), quoted(value)));
        }
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = paths::shown(Path::new(word));
    if word.is_empty() || word.contains([' ', '"', '\'', '$', '*', '?']) { format!("'{word}'") } else { word }
}

fn expect_success(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn toolchain_variables_are_cleared_and_registry_settings_kept() {
        for name in ["CARGO", "CARGO_TARGET_DIR", "CARGO_PKG_NAME", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO_ENCODED_RUSTFLAGS"] {
            assert!(is_toolchain_variable(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_PROXY", "CARGO_REGISTRIES_CRATES_IO_PROTOCOL", "RUSTUP_HOME", "PATH", "HOME"] {
            assert!(!is_toolchain_variable(name), "{name}");
        }
    }

    #[test]
    fn a_command_over_its_limit_is_killed_and_named() {
        let error = run_within(Command::new("sleep").arg("600"), Duration::from_millis(1)).expect_err("600 s are more than 1 ms");
        assert!(error.to_string().contains("sleep 600"), "{error}");
    }

    #[test]
    fn a_failing_command_is_an_error() {
        assert!(run(&mut Command::new("false")).is_err());
        assert!(quiet(&mut Command::new("false")).is_err());
        assert_eq!(quiet(Command::new("echo").arg("a b")).expect("echo works"), "a b\n");
    }
}
