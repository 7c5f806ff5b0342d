//! Limits that a system sets: address space, open files, a cache that cannot be written. A job runs within them or says which one it lacks.

use super::{BOUNDED, FOLLOWED, numbers, rows, topology};
use crate::support::{Ended, Place, Running, assert_no_panic, binary, build_folder};
use std::fs;
use std::process::{Command, Stdio};

/// A job under the limits that a shell sets before.
fn limited(place: &Place, limits: &str, arguments: &str) -> Running {
    let mut shell = Command::new("sh");
    shell.current_dir(place.path("")).stdin(Stdio::null()).env("REPRISE_CACHE", build_folder().join("test-cache"));
    shell.arg("-c").arg(format!("{limits}; exec \"$0\" {arguments}")).arg(binary());
    Running::start(shell)
}

#[track_caller]
fn assert_done_or_told(ended: &Ended, place: &Place, rows_all: usize, what: &str, words: &[&str]) {
    assert_no_panic(&ended.stderr);
    match ended.code() {
        Some(0) => assert_eq!(rows(place), rows_all, "{what}: {ended}"),
        // Those of a limit, and of a component that cannot even be looked at.
        Some(8 | 2) => assert!(words.iter().any(|word| ended.stderr.contains(word)), "{what}: no word of it: {ended}"),
        _ => panic!("{what}: {ended}"),
    }
}

#[test]
fn under_a_limit_on_address_space_a_job_runs_or_says_what_it_lacks() {
    for mib in [64_000, 20_000, 8_000, 4_000, 2_000, 1_000, 500, 400] {
        let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, Some(("chatter", ""))));
        place.write("in/rows.txt", numbers(0..100));
        let ended = limited(&place, &format!("ulimit -v {}", mib * 1_000), "run job.toml --workers 1").wait();
        assert_done_or_told(&ended, &place, 100, &format!("{mib} MB"), &["memory", "mmap", "address", "threads"]);
        // How much the allocator reserves depends on how many threads it serves at the same moment: 64 MiB for each.
        assert!(mib < 2_000 || ended.code() == Some(0), "{mib} MB are enough: {ended}");
    }
}

#[test]
fn where_nothing_limits_address_space_memories_have_their_whole_reservation() {
    let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, Some(("chatter", ""))));
    place.write("in/rows.txt", numbers(0..100));
    let ended = place.finish(1);
    assert!(!ended.stderr.contains("address space"), "{ended}");
}

#[test]
fn under_a_limit_on_threads_a_job_runs_or_says_what_it_lacks() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    /// Some user who owns nothing.
    const NOBODY: u32 = 65_534;
    for threads in [1, 2, 3, 5, 8, 12, 16, 20, 24, 28, 32] {
        let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, Some(("chatter", ""))));
        place.write("in/rows.txt", numbers(0..100));
        // Not every `sh` sets this limit.
        let mut shell = Command::new("bash");
        shell.current_dir(place.path("")).stdin(Stdio::null()).env("REPRISE_CACHE", place.path("cache"));
        shell.arg("-c").arg(format!("ulimit -u {threads}; exec \"$0\" run job.toml --workers 2")).arg(binary());
        // The limit does not hold for root.
        if is_root() {
            fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o777)).unwrap();
            shell.uid(NOBODY).gid(NOBODY);
        }
        let ended = Running::start(shell).wait();
        assert_done_or_told(&ended, &place, 100, &format!("{threads} threads"), &["threads", "thread", "fork"]);
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t"))
}

#[test]
fn a_job_may_open_as_many_files_as_it_is_allowed_to() {
    let place = Place::with(&topology("interval = \"20ms\"", FOLLOWED, None));
    place.write("in/rows.txt", numbers(0..10));
    let mut running = limited(&place, "ulimit -Sn 256; ulimit -Hn 3000", "run job.toml --workers 1");
    running.wait_until("rows come out", |_| rows(&place) == 10);
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
    let open_files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open_files.split_whitespace().nth(3), Some("3000"), "{open_files}");
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(0));
}

#[test]
fn a_cache_that_cannot_be_used_stops_nothing() {
    let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, Some(("chatter", ""))));
    place.write("in/rows.txt", numbers(0..10));
    place.write("file", "x");
    let caches = ["file", "file/below", "/proc/1/nowhere", "/dev/full"];
    for cache in caches.map(Some).into_iter().chain([None]) {
        let _ = fs::remove_dir_all(place.path("state"));
        let _ = fs::remove_dir_all(place.path("out"));
        let mut command = place.command();
        command.args(["run", "job.toml", "--workers", "1"]).stdin(Stdio::null()).env_remove("REPRISE_CACHE");
        match cache {
            Some(cache) => command.env("REPRISE_CACHE", cache),
            None => command.env_remove("HOME").env_remove("XDG_CACHE_HOME"),
        };
        let ended = Running::start(command).wait();
        assert_eq!((ended.code(), rows(&place)), (Some(0), 10), "{cache:?}: {ended}");
        assert!(cache.is_none() || ended.stderr.contains("cannot be kept there"), "{cache:?}: {ended}");
    }
}

#[test]
fn a_damaged_cache_is_compiled_anew() {
    let place = Place::with(&topology("interval = \"20ms\"", BOUNDED, Some(("chatter", ""))));
    place.write("in/rows.txt", numbers(0..10));
    let check = || {
        let mut command = place.command();
        command.args(["check", "job.toml"]).stdin(Stdio::null()).env("REPRISE_CACHE", place.path("cache"));
        let ended = Running::start(command).wait();
        assert_eq!(ended.code(), Some(0), "{ended}");
    };
    check();
    for damage in [&b""[..], b"x", &[0; 100_000]] {
        for file in crate::support::files_below(&place.path("cache")) {
            fs::write(file, damage).unwrap();
        }
        check();
    }
}
