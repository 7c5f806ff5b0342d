//! Where and of what results are: the machine, the commit, the command.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{paths, run};

/// Where and of what results are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub processor: String,
    pub processors: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// What the machine had to do at the start, beside the benchmark: processes that wanted to run, over a minute.
    pub load: String,
    pub commit: String,
    pub command: String,
}

impl Origin {
    /// That of this run.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn of(words: &[String]) -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("{path} cannot be read"));
        let git = |arguments: &[&str]| run::quiet(run::clean("git").args(arguments));
        // Someone who has only an archive of the sources can measure, too.
        let commit = git(&["rev-parse", "HEAD"]).map_or_else(|_| "unknown".to_owned(), |commit| commit.trim().to_owned());
        let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_ok_and(|text| !text.trim().is_empty());
        Ok(Self {
            processor: field(&read("/proc/cpuinfo")?, "model name").unwrap_or("unknown").to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: field(&read("/proc/meminfo")?, "MemTotal").and_then(kilobytes).unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: read("/proc/loadavg")?.split_whitespace().next().unwrap_or_default().to_owned(),
            commit: if is_changed { format!("{commit}, with changes") } else { commit },
            command: shown(words, &paths::root().display().to_string()),
        })
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "processor": self.processor, "processors": self.processors, "memory_mib": self.memory_mib, "kernel": self.kernel,
            "load_at_start": self.load, "commit": self.commit, "command": self.command,
        })
    }

    /// For people, in two lines.
    pub fn lines(&self) -> [String; 2] {
        let Self { processor, processors, memory_mib, kernel, load, commit, command } = self;
        [
            format!("{processor}, {processors} processors, {memory_mib} MiB, Linux {kernel}; load {load} at the start"),
            format!("commit {commit}: {command}"),
        ]
    }
}

/// The command, with paths as names: where a binary lies says nothing to others.
fn shown(words: &[String], root: &str) -> String {
    let name = |word: &str| {
        let path = word.rsplit('=').next().unwrap_or(word);
        if !path.starts_with('/') || path.starts_with(root) {
            return word.replace(&format!("{root}/"), "");
        }
        let file = path.rsplit('/').next().unwrap_or(path);
        word.replace(path, file)
    };
    std::iter::once("cargo xtask bench".to_owned()).chain(words.iter().map(|word| name(word))).collect::<Vec<_>>().join(" ")
}

/// What stands behind the colon of the first line with this name.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim() == name)?;
    Some(value.trim())
}

fn kilobytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_system_are_read() {
        let text = "processor\t: 0\nmodel name\t: A Processor\nMemTotal:       2048 kB\n";
        assert_eq!(field(text, "model name"), Some("A Processor"));
        assert_eq!(field(text, "MemTotal").and_then(kilobytes), Some(2048));
        assert_eq!(field(text, "none"), None);
    }

    #[test]
    fn the_command_has_no_paths_of_the_machine() {
        let words = ["--quick", "--binary", "old=/somewhere/reprise", "--guests", "/root/target/guests"].map(str::to_owned);
        assert_eq!(shown(&words, "/root"), "cargo xtask bench --quick --binary old=reprise --guests target/guests");
    }
}
