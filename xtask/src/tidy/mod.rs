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
//! | a struct of over [`types::FIELDS_MAX`] fields says why, `// Wide: reason` | every `.rs` |
//! | a public type's name belongs to one type | the host |
//! | a type that is public to all has a row in the glossary | engine, job, checkpoint, failure |
//! | no comment sends its reader to the module's | every `.rs` |
//! | no test is switched off; every bad guest is used by a test | tests |

mod circles;
mod rules;
mod source;
mod types;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::paths;
use rules::Complaint;

/// Folders that hold nothing of ours.
const SKIPPED: [&str; 3] = ["target", ".git", "node_modules"];
/// A tree deeper than this has a loop in it.
const DEPTH_MAX: usize = 16;

/// Rules that the tree does not hold to yet: their complaints are counted, and shown by `cargo xtask tidy --all`.
const NOT_YET: [&str; 0] = [];

/// Checks the repository and prints every complaint; with `is_all` those of the rules that do not hold yet too.
///
/// # Errors
/// There is at least one complaint, or a file cannot be read.
pub fn check_repository(is_all: bool) -> Result<()> {
    let files = read()?;
    let (later, complaints): (Vec<_>, Vec<_>) = check(&files).into_iter().partition(|one| !is_all && NOT_YET.contains(&one.rule));
    for rule in NOT_YET {
        let count = later.iter().filter(|complaint| complaint.rule == rule).count();
        if count > 0 {
            println!("tidy: the rule `{rule}` does not hold yet at {count} places");
        }
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("tidy has {} complaints", complaints.len());
    }
    println!("tidy: {} source files hold to the rules", files.len());
    Ok(())
}

/// Prints the rows that the glossary's table of types lacks, without the word.
///
/// # Errors
/// A file cannot be read.
pub fn print_missing_rows() -> Result<()> {
    for row in types::missing_rows(&read()?) {
        println!("{row}");
    }
    Ok(())
}

fn read() -> Result<Files> {
    let mut files = Vec::new();
    collect(&paths::root(), Path::new(""), 0, &mut files)?;
    files.sort();
    Ok(files)
}

/// Paths (with `/`, from the root of the repository) and texts.
type Files = Vec<(String, String)>;

fn check(files: &Files) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> = files.iter().flat_map(|(path, text)| rules::file(path, text)).collect();
    complaints.extend(rules::unused_guests(files));
    complaints.extend(files.iter().filter(|(path, _)| path.ends_with(".rs")).flat_map(|(path, text)| types::wide(path, text)));
    complaints.extend(types::twice(files));
    complaints.extend(types::unexplained(files));
    complaints.extend(circles::circles(files).into_iter().map(rules::circle));
    complaints
}

/// Gathers the `.rs` files, the manifests and the glossary.
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
        } else if kind.is_file() && (name.ends_with(".rs") || name == "Cargo.toml" || name == "glossary.md") {
            let text = fs::read_to_string(root.join(&path)).with_context(|| format!("{} cannot be read", path.display()))?;
            files.push((path.to_string_lossy().replace('\\', "/"), text));
        }
    }
    Ok(())
}
