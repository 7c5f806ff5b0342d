//! Outputs that take no more: full and read-only disks, names that are too long, standard output that is closed or whose reader has gone.

use super::{ROWS, refused, slow};
use crate::support::{Counting, Lines, Place, Running};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small file system in memory, where this machine lets one be mounted.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).output().ok()?;
        if !mounted.status.success() {
            println!("not tried: no file system can be mounted here: {}", String::from_utf8_lossy(&mounted.stderr));
            return None;
        }
        Some(Self(at.to_path_buf()))
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "{options}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // An error means that it is not mounted.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_named_and_each_row_comes_out_once_when_there_is_room() {
    for sink in [
        "file = { path = \"disk/out\", format = \"csv\" }",
        "objects = { url = \"file:./disk/out\", format = \"csv\", part-bytes = \"64KiB\" }",
    ] {
        let (counting, input) = slow("file = { path = \"out\", format = \"csv\" }");
        let counting = Counting { sink, checkpoint: "interval = \"20ms\"\nretries = 1\nbackoff = \"1ms..2ms\"", ..counting };
        let place = counting.place(&input.text);
        let Some(disk) = Disk::mount(&place.path("disk"), "400k") else { return };
        let ended = refused(&place, &["disk/out", "space"]);
        assert!(sink.starts_with("objects") || ended.stderr.contains("free space there, and run again"), "{ended}");
        disk.remount("size=64m");
        place.finish(2);
        Lines::of_folder(&place.path("disk/out")).assert_equals(&input.counted, sink);
    }
}

#[test]
fn a_read_only_disk_and_a_name_that_is_too_long_have_words_of_their_own() {
    let (counting, input) = slow("file = { path = \"disk/out\", format = \"csv\" }");
    let place = counting.place(&input.text);
    if let Some(disk) = Disk::mount(&place.path("disk"), "64m") {
        disk.remount("ro");
        let ended = refused(&place, &["disk/out", "read-only"]);
        assert!(!ended.stderr.contains("credentials"), "{ended}");
        disk.remount("rw");
        place.finish(2);
        Lines::of_folder(&place.path("disk/out")).assert_equals(&input.counted, "once it can be written");
    }
    let long = "x".repeat(300);
    let place = Place::with(&counting.text().replace("disk/out", &long));
    place.write("in/rows.txt", &input.text);
    refused(&place, &["too long", "shorter"]);
}

/// A job that writes the lines of `in.txt` to standard output.
fn printing(rows: usize) -> Place {
    let place = Place::with(
        "name = \"print\"\ncheckpoint = { store = \"file:state\", interval = \"20ms\" }\nflow = { batch-rows = 64, steps-ahead = 1 }\n\
         [[source]]\nname = \"in\"\nfile = { path = \"in.txt\", format = \"lines\" }\n\
         [[sink]]\nname = \"out\"\ninput = \"in\"\nstdout = { format = \"lines\" }\n",
    );
    let text: String = (0..rows).map(|row| format!("row {row:07}\n")).collect();
    place.write("in.txt", text);
    place
}

/// Runs with standard output as a shell makes it.
fn with_output(place: &Place, output: &str) -> crate::support::Ended {
    let binary = crate::support::binary();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {} run job.toml --workers 1 {output}", binary.display()));
    shell.current_dir(place.path("")).stdin(Stdio::null());
    Running::start(shell).wait()
}

#[test]
fn standard_output_that_takes_nothing_loses_no_row() {
    let place = printing(2_000);
    for (output, text) in [(">&-", "standard output is closed"), (">/dev/full", "space")] {
        let ended = with_output(&place, output);
        assert_eq!(ended.code(), Some(7), "{output}: {ended}");
        assert!(ended.stderr.contains(text) && ended.stderr.contains("standard output"), "{output}: {ended}");
    }
    let ended = with_output(&place, "");
    assert_eq!((ended.code(), ended.stdout.lines().count()), (Some(0), 2_000), "{ended}");
}

#[test]
fn output_may_be_dropped_on_purpose() {
    let place = printing(2_000);
    assert_eq!(with_output(&place, ">/dev/null").code(), Some(0));
}

#[test]
fn rows_that_the_reader_of_a_pipe_did_not_take_do_not_count_as_written() {
    let place = printing(ROWS);
    let mut command = place.command();
    command.args(["run", "job.toml", "--workers", "1", "--log", "json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for _ in 0..1_000 {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    drop(reader);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(7), "{}", String::from_utf8_lossy(&ended.stderr));
    // What a pipe and our reader hold between them was written, but never read: that much may be missing and no more.
    let buffered = (64 << 10) + (8 << 10);
    let rest = with_output(&place, "");
    assert_eq!(rest.code(), Some(0), "{rest}");
    let first: usize = rest.stdout.lines().next().expect("something is left").trim_start_matches("row ").parse().unwrap();
    assert!(first <= 1_000 + buffered / "row 0000000\n".len() + 64, "the next run begins with row {first}");
    assert_eq!(rest.stdout.lines().count(), ROWS - first, "and goes on to the end");
}
