//! `cargo xtask fuzz`: throws arbitrary bytes at everything that crosses from a guest, led by which branches they take.
//!
//! libFuzzer comes with the crate `libfuzzer-sys`, which needs a C++ compiler. Counting branches is an LLVM pass that the stable compiler
//! has. Only the crates in [`COUNTED`] get it: those whose branches are the point. So this program stands before the compiler, as
//! `RUSTC_WRAPPER`, and adds the flags for those. They have a target folder of their own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{paths, run};

/// Minutes of a run, unless another number is given.
pub const MINUTES_DEFAULT: u64 = 10;
/// Set for the compiler's sake: this program is called in its place.
const WRAPS: &str = "REPRISE_XTASK_WRAPS_RUSTC";
/// Crates whose branches are counted: ours, and the one that reads what guests return.
const COUNTED: [&str; 4] = ["reprise", "reprise_core", "reprise_crossing", "wasmtime"];
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Bytes of the longest input.
const INPUT_BYTES_MAX: u32 = 4096;
/// Memory of the whole process.
const MEMORY_MIB_MAX: u32 = 1024;
/// Seconds that one input may take.
const INPUT_SECONDS_MAX: u32 = 20;

/// Acts as the compiler where cargo calls this program in its place.
pub fn as_rustc() -> Option<ExitCode> {
    std::env::var_os(WRAPS)?;
    let mut arguments = std::env::args_os().skip(1);
    let rustc = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let mut command = Command::new(rustc);
    command.args(&arguments);
    if is_counted(&arguments) {
        command.args(FLAGS);
    }
    match command.status() {
        Ok(status) if status.success() => Some(ExitCode::SUCCESS),
        Ok(_) => Some(ExitCode::FAILURE),
        Err(error) => {
            eprintln!("error: the compiler cannot be started: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}

fn is_counted(arguments: &[OsString]) -> bool {
    let name = arguments.iter().skip_while(|argument| *argument != "--crate-name").nth(1);
    let is_library = arguments.windows(2).any(|pair| pair[0] == "--crate-type" && pair[1] == "lib");
    is_library && name.and_then(|name| name.to_str()).is_some_and(|name| COUNTED.contains(&name))
}

/// `cargo xtask fuzz`: fuzzes for so many minutes, or writes the smallest corpus that takes the branches which all runs have found.
///
/// # Errors
/// The target cannot be built, or an input was found that breaks a promise.
pub fn fuzz(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => search(MINUTES_DEFAULT),
        [name, minutes] if name == "--minutes" => match minutes.parse() {
            Ok(minutes @ 1..) => search(minutes),
            _ => bail!("`--minutes` needs a whole number above 0"),
        },
        [name] if name == "--minimise" => minimise(),
        _ => bail!("`cargo xtask fuzz` takes `--minutes N` or `--minimise`"),
    }
}

/// The corpus in the repository.
fn kept() -> PathBuf {
    paths::root().join("tests/fuzz/corpus")
}

/// What runs on this machine have found: the corpus, and inputs that broke a promise.
fn found() -> PathBuf {
    paths::target().join("fuzz")
}

fn search(minutes: u64) -> Result<()> {
    let program = build()?;
    let corpus = found().join("corpus");
    fs::create_dir_all(&corpus)?;
    let mut command = target(&program);
    command.arg(format!("-max_total_time={}", minutes.saturating_mul(60))).arg("-print_final_stats=1").arg(&corpus).arg(kept());
    run::run(&mut command).with_context(|| {
        let folder = paths::shown(&found());
        format!(
            "it ended before its time: unless somebody stopped it, an input broke a promise, the newest file in {folder}/broken\n  \
             help: `PROGRAM FILE` runs it alone; put it into tests/fuzz/corpus once it holds"
        )
    })?;
    println!(
        "the corpus of this machine is {}; `cargo xtask fuzz --minimise` takes it over into {}",
        paths::shown(&corpus),
        paths::shown(&kept())
    );
    Ok(())
}

fn minimise() -> Result<()> {
    let program = build()?;
    let fresh = found().join("fresh");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    fs::create_dir_all(&fresh)?;
    let mut command = target(&program);
    // Branches taken or not, without how often: a corpus of that is small.
    command.args(["-merge=1", "-use_counters=0"]).arg(&fresh).arg(kept()).arg(found().join("corpus"));
    run::run(&mut command)?;
    let names = fs::read_dir(&fresh)?.collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        bail!("no input is left: is the target built with counters?");
    }
    fs::remove_dir_all(kept())?;
    fs::create_dir_all(kept())?;
    for entry in &names {
        fs::copy(entry.path(), kept().join(entry.file_name()))?;
    }
    println!("{} inputs in {}", names.len(), paths::shown(&kept()));
    Ok(())
}

fn target(program: &OsStr) -> Command {
    let broken = found().join("broken");
    let mut command = Command::new(program);
    command.current_dir(paths::root());
    command.arg(format!("-max_len={INPUT_BYTES_MAX}")).arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}")).arg(format!("-artifact_prefix={}/", broken.display()));
    command
}

fn build() -> Result<OsString> {
    if !run::is_in_path("c++") {
        bail!("there is no C++ compiler, which libFuzzer needs\n  help: `apt-get install g++`, or what your system calls it");
    }
    fs::create_dir_all(found().join("broken"))?;
    let folder = paths::target().join("fuzz-build");
    let wrapper = std::env::current_exe().context("this program does not know where it lies")?;
    let mut command = run::cargo();
    command.current_dir(paths::root().join("tests/fuzz")).env("RUSTC_WRAPPER", wrapper).env(WRAPS, "1");
    command.args(["build", "--release", "--target-dir"]).arg(&folder);
    run::run(&mut command)?;
    Ok(folder.join("release/crossing-fuzz").into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn branches_are_counted_in_the_libraries_that_matter_alone() {
        assert!(is_counted(&words("--crate-name reprise_core --edition=2024 host/core/src/lib.rs --crate-type lib -C opt-level=3")));
        for other in ["--crate-name timely --crate-type lib", "--crate-name reprise --crate-type bin", "-vV", "--crate-name"] {
            assert!(!is_counted(&words(other)), "{other}");
        }
    }

    #[test]
    fn arguments_that_mean_nothing_are_refused() {
        for text in ["--minutes", "--minutes 0", "--minutes many", "--colour", "5"] {
            let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            assert!(fuzz(&arguments).is_err(), "{text}");
        }
    }
}
