//! Finds a way to build Rust for `wasm32-unknown-unknown` on this machine, and remembers it. For `wasm32-wasip2` there are fewer ways.
//!
//! In this order: the target is installed; rustup can install it; Debian's toolchain builds the standard library from its sources.
//! The answer is kept in `target/guests/toolchain`, and looked for again when it no longer holds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{paths, run};

/// The target of the guests.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// The target of the guests that import WASI. Its standard library needs a C library, which no source has: it is installed or not there.
pub const WASIP2: &str = "wasm32-wasip2";
/// rustup may hang where its server cannot be reached.
const RUSTUP_LIMIT: Duration = Duration::from_secs(60);
/// Fetching and unpacking 500 MB of packages.
const APT_LIMIT: Duration = Duration::from_secs(900);
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-22"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Debian's rustc looks for `rust-lld`, which no package has; this is the same linker.
const DEBIAN_LINKER: &str = "/usr/lib/llvm-22/bin/wasm-ld";
/// Minor version of the oldest Rust 1 that compiles the guests.
const RUST_MINOR_MIN: u32 = 95;

/// A way to build guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The target's standard library lies in the toolchain's sysroot.
    Installed,
    /// rustup has just put it there.
    Rustup,
    /// Debian's rustc and cargo, with the standard library built from Debian's sources.
    Debian,
}

impl Way {
    const ALL: [Way; 3] = [Way::Installed, Way::Rustup, Way::Debian];

    fn name(self) -> &'static str {
        match self {
            Way::Installed => "installed",
            Way::Rustup => "rustup",
            Way::Debian => "debian",
        }
    }

    /// For people.
    pub fn description(self) -> &'static str {
        match self {
            Way::Installed => "the target installed in the toolchain",
            Way::Rustup => "the target that rustup installed",
            Way::Debian => "Debian's toolchain, which builds the standard library from its sources",
        }
    }

    /// Whether this way can be gone right now, without installing anything.
    fn is_ready(self) -> bool {
        match self {
            Way::Installed | Way::Rustup => is_installed(TARGET),
            Way::Debian => debian_is_ready(),
        }
    }

    /// A cargo that can build for [`TARGET`], without arguments yet.
    pub fn cargo(self) -> Command {
        match self {
            Way::Installed | Way::Rustup => run::clean("cargo"),
            Way::Debian => {
                let mut command = run::clean(DEBIAN_CARGO);
                command.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC);
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
                command
            }
        }
    }

    /// `cargo build` for [`TARGET`] in release.
    pub fn build(self) -> Command {
        let mut command = self.cargo();
        command.env("CARGO_PROFILE_RELEASE_PANIC", "abort").args(["build", "--release", "--target", TARGET]);
        if self == Way::Debian {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }
}

/// `cargo build` for [`WASIP2`] in release, where rustup has the target or can install it.
///
/// # Errors
/// It cannot be had here.
pub fn wasip2() -> Result<Command> {
    if !is_installed(WASIP2) {
        rustup_add(WASIP2)?;
    }
    if !is_installed(WASIP2) {
        bail!("rustup installed {WASIP2} for another toolchain than the one in use");
    }
    let mut command = run::clean("cargo");
    command.env("CARGO_PROFILE_RELEASE_PANIC", "abort").args(["build", "--release", "--target", WASIP2]);
    Ok(command)
}

/// The way to build guests here, from the cache or by looking (which may install something).
///
/// # Errors
/// There is no way; the message says what to install.
pub fn find() -> Result<Way> {
    let cache = paths::guests().join("toolchain");
    if let Some(way) = cached(&cache).filter(|way| way.is_ready()) {
        return Ok(way);
    }
    let way = look()?;
    fs::create_dir_all(paths::guests())?;
    fs::write(&cache, format!("{}\n", way.name())).with_context(|| format!("{} cannot be written", paths::shown(&cache)))?;
    Ok(way)
}

fn cached(cache: &Path) -> Option<Way> {
    let text = fs::read_to_string(cache).ok()?;
    Way::ALL.into_iter().find(|way| way.name() == text.trim())
}

fn look() -> Result<Way> {
    if is_installed(TARGET) {
        return Ok(Way::Installed);
    }
    let mut refusals = vec![format!("the toolchain has no {TARGET}")];
    match rustup_add(TARGET) {
        Ok(()) if is_installed(TARGET) => return Ok(Way::Rustup),
        Ok(()) => refusals.push("rustup installed the target for another toolchain than the one in use".to_owned()),
        Err(error) => refusals.push(format!("{error:#}")),
    }
    if debian_is_ready() {
        return Ok(Way::Debian);
    }
    match apt_install() {
        Ok(()) if debian_is_ready() => return Ok(Way::Debian),
        Ok(()) => {
            refusals.push(format!("Debian's packages are installed, but not {DEBIAN_RUSTC} 1.{RUST_MINOR_MIN} or newer with sources"))
        }
        Err(error) => refusals.push(format!("{error:#}")),
    }
    bail!(
        "there is no way to build Rust for {TARGET} here:\n  - {}\n  help: install it with `rustup target add {TARGET}`, or on Debian with\n        `apt-get install --no-install-recommends {}`",
        refusals.join("\n  - "),
        DEBIAN_PACKAGES.join(" ")
    )
}

fn is_installed(target: &str) -> bool {
    let Ok(sysroot) = run::quiet(run::clean("rustc").args(["--print", "sysroot"])) else { return false };
    let folder = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(target).join("lib");
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

fn rustup_add(target: &str) -> Result<()> {
    if !run::is_in_path("rustup") {
        bail!("there is no rustup");
    }
    run::run_within(run::clean("rustup").args(["target", "add", target]), RUSTUP_LIMIT)
}

fn debian_is_ready() -> bool {
    let Ok(version) = run::quiet(run::clean(DEBIAN_RUSTC).arg("--version")) else { return false };
    let Ok(sysroot) = run::quiet(run::clean(DEBIAN_RUSTC).args(["--print", "sysroot"])) else { return false };
    let sources = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/std/Cargo.toml");
    minor(&version).is_some_and(|minor| minor >= RUST_MINOR_MIN)
        && Path::new(DEBIAN_CARGO).is_file()
        && Path::new(DEBIAN_LINKER).exists()
        && sources.is_file()
}

/// The `95` of `rustc 1.95.0 (...)`.
fn minor(version: &str) -> Option<u32> {
    let mut numbers = version.strip_prefix("rustc ")?.split(['.', ' ']);
    (numbers.next()? == "1").then(|| numbers.next()?.parse().ok())?
}

fn apt_install() -> Result<()> {
    if !run::is_in_path("apt-get") {
        bail!("there is no apt-get");
    }
    if run::quiet(run::clean("id").arg("-u"))?.trim() != "0" {
        bail!("apt-get needs root, and this is another user");
    }
    let install = || {
        let mut command = run::clean("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "--no-install-recommends"]).args(DEBIAN_PACKAGES);
        run::run_within(&mut command, APT_LIMIT)
    };
    // The package lists of a fresh machine may be missing or too old: the first failure is worth an update.
    install().or_else(|_| {
        run::run_within(run::clean("apt-get").arg("update"), APT_LIMIT)?;
        install()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_version_is_read_from_what_rustc_prints() {
        assert_eq!(minor("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n"), Some(96));
        assert_eq!(minor("rustc 1.63.0"), Some(63));
        assert_eq!(minor("rustc 2.0.0"), None);
        assert_eq!(minor("gcc 12"), None);
    }

    #[test]
    fn a_cached_way_is_found_by_its_name_and_nonsense_is_not() {
        let file = std::env::temp_dir().join(format!("xtask-toolchain-{}", std::process::id()));
        for way in Way::ALL {
            fs::write(&file, format!("{}\n", way.name())).expect("the temporary folder can be written");
            assert_eq!(cached(&file), Some(way));
        }
        fs::write(&file, "by magic").expect("the temporary folder can be written");
        assert_eq!(cached(&file), None);
        fs::remove_file(&file).expect("the file was just written");
        assert_eq!(cached(&file), None);
    }
}
