//! Disks that are full, read-only or of the wrong kind, below a store.

use super::{Mount, append, feed, following, start, stop};
use crate::support::{Counting, Place};
use std::fs;
use std::process::Command;

/// A job whose store lies on a file system of its own.
fn on_disk() -> Place {
    let text = Counting { store: "file:./mnt/state", checkpoint: "interval = \"30ms\"\nkeep = 1000\nretries = 1", ..following() }.text();
    let place = Place::with(&text);
    place.write("in/rows.txt", "a,1,1\n");
    place
}

#[test]
fn a_job_over_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let place = on_disk();
    let Some(mount) = Mount::new(&place.path("mnt"), &["-t", "tmpfs", "-o", "size=300k", "tmpfs"]) else { return };
    let mut running = start(&place);
    let mut rows = 1;
    while !running.told().contains("storage-out") {
        append(&place, "w,1,1\n");
        rows += 1;
        assert!(rows < 3_000, "the disk is not full after {rows} checkpoints");
        running.wait_until("a checkpoint is made, or none can be", |running| {
            place.published().len() >= rows || running.told().contains("storage-out")
        });
    }
    assert!(running.told().to_lowercase().contains("no space left"), "{}", running.told());
    mount.remount("size=64m");
    feed(&place, &mut running, "a,1,1\nb,1,1\n", rows + 2);
    let ended = stop(running);
    assert!(ended.stderr.contains("storage-back"), "{ended}");
    place.assert_counts_in_order();
    assert_eq!(place.published().len(), rows + 2);
}

#[test]
fn a_file_system_that_is_read_only_is_told_and_has_nothing_to_do_with_credentials() {
    let place = on_disk();
    let Some(mount) = Mount::new(&place.path("mnt"), &["-t", "tmpfs", "tmpfs"]) else { return };
    let mut running = start(&place);
    running.wait_until("a row is out", |_| place.published().len() == 1);
    stop(running);
    mount.remount("ro");
    let ended = place.run(&["run", "job.toml"]);
    assert_eq!(ended.code(), Some(4), "{ended}");
    assert!(ended.stderr.contains("read-only") && !ended.stderr.contains("credentials"), "{ended}");
    mount.remount("rw");
    let mut running = start(&place);
    feed(&place, &mut running, "a,1,1\n", 2);
    stop(running);
    place.assert_counts_in_order();
}

#[test]
fn names_that_are_too_long_are_told_as_such() {
    let store = format!("file:./{}", "x".repeat(300));
    let place = Place::with(&Counting::default().text().replace("file:./state", &store));
    place.write("in/rows.txt", "a,1,1\n");
    let ended = place.run(&["run", "job.toml"]);
    assert_eq!(ended.code(), Some(4), "{ended}");
    assert!(ended.stderr.contains("too long") && ended.stderr.contains("help: ") | ended.stderr.contains("shorter"), "{ended}");
}

#[test]
fn a_file_in_the_place_of_the_store_is_told() {
    let place = Counting::default().place("a,1,1\n");
    place.write("state", "no folder");
    let ended = place.run(&["run", "job.toml"]);
    assert_eq!(ended.code(), Some(4), "{ended}");
    assert!(ended.stderr.contains("move it away"), "{ended}");
}

#[test]
fn a_file_system_without_hard_links_is_refused_with_the_reason() {
    let place = on_disk();
    let disk = place.path("disk");
    fs::File::create(&disk).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("mkfs.vfat").arg(&disk).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        println!("not tried: there is no mkfs.vfat: {made:?}");
        return;
    }
    let Some(_mount) = Mount::new(&place.path("mnt"), &["-o", "loop", disk.to_str().unwrap()]) else { return };
    let ended = place.run(&["run", "job.toml"]);
    assert_eq!(ended.code(), Some(4), "{ended}");
    assert!(ended.stderr.contains("hard links"), "{ended}");
}
