//! `cargo xtask tidy`: rules of the source tree that no compiler checks.
//!
//! | rule | where |
//! |---|---|
//! | at most [`rules::FILE_LINES_MAX`] lines a file, [`rules::FUNCTION_LINES_MAX`] lines a function | every `.rs` |
//! | opens with `//!` | every `.rs` |
//! | words that name nothing | names of files, modules and types |
//! | one layer a library; imports point left; the core has no I/O, clock or threads | the host |
//! | `unsafe` in one file only | all but the bad guests |
//! | no two files import each other, nor does a longer circle | every crate's product code |
//! | no test is switched off; every bad guest is used by a test | tests |

mod circles;
mod rules;
mod source;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::paths;
use rules::Complaint;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];
/// A tree deeper than this has a loop in it.
const DEPTH_MAX: usize = 16;

/// Checks the repository and prints every complaint.
///
/// # Errors
/// There is at least one complaint, or a file cannot be read.
pub fn check_repository() -> Result<()> {
    let mut files = Vec::new();
    collect(&paths::root(), Path::new(""), 0, &mut files)?;
    files.sort();
    let complaints = check(&files);
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("tidy has {} complaints", complaints.len());
    }
    println!("tidy: {} source files hold to the rules", files.len());
    Ok(())
}

/// Paths (with `/`, from the root of the repository) and texts.
type Files = Vec<(String, String)>;

fn check(files: &Files) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> = files.iter().flat_map(|(path, text)| rules::file(path, text)).collect();
    complaints.extend(rules::unused_guests(files));
    complaints.extend(circles::circles(files).into_iter().map(rules::circle));
    complaints
}

/// Gathers the `.rs` files and the manifests.
fn collect(root: &Path, folder: &Path, depth: usize, files: &mut Files) -> Result<()> {
    if depth > DEPTH_MAX {
        bail!("{} is more than {DEPTH_MAX} folders deep", folder.display());
    }
    let absolute = root.join(folder);
    for entry in fs::read_dir(&absolute).with_context(|| format!("{} cannot be read", absolute.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = folder.join(&name);
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            collect(root, &path, depth + 1, files)?;
        } else if kind.is_file() && (name.ends_with(".rs") || name == "Cargo.toml") {
            let text = fs::read_to_string(root.join(&path)).with_context(|| format!("{} cannot be read", path.display()))?;
            files.push((path.to_string_lossy().replace('\\', "/"), text));
        }
    }
    Ok(())
}
