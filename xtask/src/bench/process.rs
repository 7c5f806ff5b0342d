//! A process from its start to its end, measured: wall time, processor time, the most memory.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Of the kernel's clock that processor times are given in, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// Between two looks at the memory of a process. What is read is the most so far, so only what comes in the last moment is missed.
const LOOK: Duration = Duration::from_millis(20);

/// What a process took.
#[derive(Debug, Clone)]
pub struct Ran {
    pub wall_s: f64,
    /// In user and system mode, of all its threads.
    pub processor_s: f64,
    pub memory_peak_bytes: u64,
    /// What it wrote to standard error.
    pub told: String,
}

/// Runs a command to its end. Nothing else may be started meanwhile, since processor time is that of all children.
///
/// # Errors
/// It cannot be started, or fails.
pub fn measured(command: &mut Command) -> Result<Ran> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let (before, start) = (children_processor_s()?, Instant::now());
    let child = command.spawn().with_context(|| format!("{command:?} cannot be started"))?;
    let (id, is_over) = (child.id(), AtomicBool::new(false));
    let (output, memory_peak_bytes) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(memory_peak_bytes(id).unwrap_or(0));
                std::thread::sleep(LOOK);
            }
            most
        });
        let output = child.wait_with_output();
        is_over.store(true, Ordering::Relaxed);
        (output, watch.join().unwrap_or(0))
    });
    let (output, wall_s) = (output?, start.elapsed().as_secs_f64());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, told.trim());
    }
    Ok(Ran { wall_s, processor_s: children_processor_s()? - before, memory_peak_bytes, told })
}

fn memory_peak_bytes(process: u32) -> Option<u64> {
    high_water_bytes(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// The line `VmHWM` of proc(5)'s `status`.
fn high_water_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Seconds of processor time of all children that have ended, in user and system mode.
fn children_processor_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("processor times are read from /proc, which only Linux has")?;
    children_ticks(&text).map(|ticks| ticks as f64 / TICKS_PER_SECOND).context("/proc/self/stat is not as proc(5) says")
}

/// Fields 16 and 17 of proc(5)'s `stat`. The second field is a name in parentheses, which may hold anything.
fn children_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(13);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_children_is_read_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 200 0 0 11 12 130 14 20 0 1 0 5 6 7";
        assert_eq!(children_ticks(stat), Some(144));
        assert_eq!(children_ticks("7 (x) S 1"), None);
        assert!(children_processor_s().expect("this is Linux") >= 0.0);
    }

    #[test]
    fn the_most_memory_is_read() {
        assert_eq!(high_water_bytes("Name:\tx\nVmPeak:\t   9 kB\nVmHWM:\t    12 kB\n"), Some(12 << 10));
        assert_eq!(high_water_bytes("Name:\tx\n"), None);
        assert!(memory_peak_bytes(std::process::id()).is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn a_process_that_fails_is_an_error() {
        assert!(measured(&mut Command::new("false")).is_err());
        assert!(measured(Command::new("sh").args(["-c", "echo told >&2"])).is_ok_and(|ran| ran.told == "told\n"));
    }
}
