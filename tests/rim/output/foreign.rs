//! Things in the output folder, and beside what is staged there, that are nobody's: they are left alone, and the job goes on.

use super::{refused, slow, stopped_in_the_middle};
use crate::support::{Lines, Place, files_below};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

const FOLDERS: [&str; 5] =
    ["", ".reprise/counts/staged", ".reprise/counts/published", ".reprise/counts/lives", ".reprise/counts/taken-back"];

/// Puts strange things into all folders; gives their paths.
fn litter(place: &Place) -> Vec<std::path::PathBuf> {
    let mut strange = Vec::new();
    for folder in FOLDERS {
        let folder = place.path("out").join(folder);
        for name in ["lost+found", "000000000001-1-0.csv", "000000-folder", "7-000000000001"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            strange.push(folder.join(name));
        }
        for name in
            [".DS_Store", "README", "0-1", "-", "0-x", "999999999999999999999999", "00000000000a-1-0.csv", "counts-1-0.csv", "counts--.csv"]
        {
            fs::write(folder.join(name), "left alone").unwrap();
            strange.push(folder.join(name));
        }
        let odd = folder.join(std::ffi::OsStr::from_bytes(b"odd-\xff\xfe.csv"));
        fs::write(&odd, "left alone").unwrap();
        symlink("nowhere", folder.join("dangling")).unwrap();
        strange.extend([odd, folder.join("dangling")]);
    }
    strange
}

#[test]
fn what_is_nobodys_is_left_alone_and_stops_nothing() {
    for sink in ["file = { path = \"out\", format = \"csv\" }", "objects = { url = \"file:./out\", format = \"csv\" }"] {
        let (counting, input) = slow(sink);
        let place = counting.place(&input.text);
        stopped_in_the_middle(&place, &[]);
        let strange = litter(&place);
        // Once from a stop, and once from a kill.
        let mut running = place.start(&["run", "job.toml", "--workers", "2"]);
        let had = files_below(&place.path("out")).len();
        running.reaches("more output", |_| files_below(&place.path("out")).len() > had);
        running.kill();
        running.wait();
        place.finish(2);
        for path in strange {
            assert!(fs::symlink_metadata(&path).is_ok(), "{} is gone", path.display());
            match path.is_dir() {
                true => fs::remove_dir_all(&path).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
        }
        place.published().assert_equals(&input.counted, sink);
    }
}

#[test]
fn a_large_output_folder_is_not_looked_through_at_each_start() {
    let (counting, input) = slow("file = { path = \"out\", format = \"csv\" }");
    let place = counting.place(&input.text);
    stopped_in_the_middle(&place, &[]);
    let newest = files_below(&place.path("out")).pop().unwrap();
    let newest = newest.file_name().unwrap().to_str().unwrap().to_owned();
    let epoch: u64 = newest.split('-').nth(1).unwrap().parse().unwrap();
    // A file that would be taken back if anybody looked through the folder: its epoch does not count. No sink has so many instances.
    let planted = place.path(&format!("out/counts-{:012}-999.csv", epoch + 1));
    fs::write(&planted, "planted\n").unwrap();
    place.finish(2);
    assert_eq!(fs::read_to_string(&planted).unwrap(), "planted\n");
    fs::remove_file(&planted).unwrap();
    place.published().assert_equals(&input.counted, "the rest");
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    for (file, sink) in [
        ("out", "file = { path = \"out\", format = \"csv\" }"),
        ("out/.reprise", "file = { path = \"out\", format = \"csv\" }"),
        ("out/.reprise/counts/staged", "file = { path = \"out\", format = \"csv\" }"),
    ] {
        let (counting, input) = slow(sink);
        let place = counting.place(&input.text);
        place.write(file, "a file");
        refused(&place, &[file, "a file is where a folder should be", "move it away"]);
        assert_eq!(fs::read_to_string(place.path(file)).unwrap(), "a file");
        fs::remove_file(place.path(file)).unwrap();
        place.finish(2);
        Lines::of_folder(&place.path("out")).assert_equals(&input.counted, file);
    }
}
