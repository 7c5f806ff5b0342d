//! Stores with foreign, damaged and old things in them, settings of S3, and retention.

mod expiry;
mod settings;
mod strays;
mod trouble;

use crate::support::{Counting, Place, Running};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A job that follows its input, with requests looked for often.
fn following() -> Counting {
    Counting {
        checkpoint: "interval = \"30ms\"\nsavepoint-poll = \"30ms\"",
        source: "follow = true\npoll = \"10ms\"",
        ..Counting::default()
    }
}

fn start(place: &Place) -> Running {
    place.start(&["run", "job.toml", "--workers", "2", "--log", "json"])
}

/// Names of what lies directly in a folder of the job's store, as text.
fn names(place: &Place, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(place.path("state/counting").join(folder)) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// How many generations were claimed and are not swept, the newest number of them.
fn newest_generation(place: &Place) -> u64 {
    let numbers = names(place, "generations").into_iter().filter_map(|name| name.strip_suffix(".claim")?.parse().ok());
    numbers.max().unwrap_or(0)
}

fn newest_epoch(place: &Place) -> u64 {
    let numbers = names(place, "checkpoints").into_iter().filter_map(|name| name.strip_suffix(".manifest")?.parse().ok());
    numbers.max().unwrap_or(0)
}

/// Adds rows to the input and waits until so many are out.
fn feed(place: &Place, running: &mut Running, rows: &str, all: usize) {
    append(place, rows);
    running.wait_until("the rows are out", |_| place.published().len() >= all);
}

fn append(place: &Place, rows: &str) {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(place.path("in/rows.txt")).unwrap();
    file.write_all(rows.as_bytes()).unwrap();
}

/// Feeds rows, one by one, until so many more checkpoints are there: a job without work makes none. Meanwhile sweeps are made, and requests looked
/// for.
fn pass(place: &Place, running: &mut Running, epochs: u64) {
    for _ in 0..epochs {
        let before = newest_epoch(place);
        append(place, "w,1,1\n");
        running.wait_until("a checkpoint is made", |_| newest_epoch(place) > before);
    }
}

/// Asks to stop, and expects a good end.
#[track_caller]
fn stop(running: Running) -> crate::support::Ended {
    running.signal("TERM");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    ended
}

/// A file system of its own for a test, which goes away with the value.
struct Mount(PathBuf);

impl Mount {
    /// Mounts with these arguments, where that is permitted: who may not says so, and has nothing to test.
    fn new(at: &Path, arguments: &[&str]) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(arguments).arg(at).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("not tried: this user may not mount: {mounted:?}");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A leftover is told by the test that cannot remove its folder.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
