//! Many files: a source keeps few of them open, and its checkpoints stay small.

use super::{FOLLOW, append, copying, rows, start, stop, wait_for};
use crate::support::{Place, Running};
use std::fs;

/// Files of the input that the process has open.
fn open_inputs(running: &Running) -> usize {
    let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", running.id())) else { return 0 };
    let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().contains("/in/")).count()
}

fn manifest_bytes(place: &Place) -> u64 {
    place.manifests("job").iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).max().unwrap_or(0)
}

#[test]
fn a_spool_folder_through_which_many_files_pass() {
    let place = copying("in/*.txt", FOLLOW);
    fs::create_dir_all(place.path("in")).unwrap();
    let mut running = start(&place);
    let (total, batch) = (5_000, 500);
    let (mut most, mut largest) = (0, 0);
    for first in (0..total).step_by(batch) {
        for number in first..first + batch {
            fs::write(place.path("in/.next"), format!("{number}\n")).unwrap();
            fs::rename(place.path("in/.next"), place.path(&format!("in/{number:05}.txt"))).unwrap();
        }
        running.wait_until("the rows of a batch", |running| {
            most = most.max(open_inputs(running));
            largest = largest.max(manifest_bytes(&place));
            rows(&place).len() >= first + batch
        });
        for number in first..first + batch {
            fs::remove_file(place.path(&format!("in/{number:05}.txt"))).unwrap();
        }
    }
    stop(running);
    assert_eq!(rows(&place).len(), total);
    assert!(most <= 64, "{most} files of the input were open at once");
    assert!(largest < 100_000, "a manifest had {largest} bytes");
    // It starts again, and goes on.
    let mut running = start(&place);
    append(&place, "in/last.txt", "last\n");
    wait_for(&mut running, &place, total + 1);
    stop(running);
    assert_eq!(rows(&place).len(), total + 1);
}

#[test]
fn many_files_that_stay_need_few_handles_and_few_bytes() {
    let place = copying("in/*.log", FOLLOW);
    for number in 0..3_000 {
        append(&place, &format!("in/{number}.log"), &format!("{number}\n"));
    }
    let mut running = start(&place);
    let mut most = 0;
    running.wait_until("all rows", |running| {
        most = most.max(open_inputs(running));
        rows(&place).len() >= 3_000
    });
    assert!(most <= 64, "{most} files of the input were open at once");
    append(&place, "in/7.log", "more\n");
    wait_for(&mut running, &place, 3_001);
    stop(running);
    assert!(manifest_bytes(&place) < 250_000, "a manifest has {} bytes", manifest_bytes(&place));
    let mut running = start(&place);
    for number in [7, 70, 700] {
        append(&place, &format!("in/{number}.log"), "and more\n");
    }
    wait_for(&mut running, &place, 3_004);
    stop(running);
    assert_eq!(rows(&place).len(), 3_004);
}
