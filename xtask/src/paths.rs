//! Where things are.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask/ lies in the root of the repository").to_path_buf()
}

/// The folder for everything that commands make. It does not follow `CARGO_TARGET_DIR`: topologies name components below it.
pub fn target() -> PathBuf {
    root().join("target")
}

/// The built guests.
pub fn guests() -> PathBuf {
    target().join("guests")
}

/// Servers that others wrote, for the tests.
pub fn servers() -> PathBuf {
    target().join("servers")
}

/// What cargo builds for this machine, which does follow `CARGO_TARGET_DIR`.
pub fn built() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(target, |folder| root().join(folder))
}

/// A program of the release build.
pub fn release(program: &str) -> PathBuf {
    built().join("release").join(program)
}

/// `path` as a person in the root of the repository would type it.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
