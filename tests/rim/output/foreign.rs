//! Things in the output folder, and beside what is staged there, that are nobody's: they are named and counted and left alone, and the job goes on.

use super::{refused, slow, stopped_in_the_middle};
use crate::support::{Counting, Ended, Lines, Place, files_below};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

const SINKS: [&str; 2] = ["file = { path = \"out\", format = \"csv\" }", "objects = { url = \"file:./out\", format = \"csv\" }"];

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
    for sink in SINKS {
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
        let ended = place.finish(2);
        // All but `.DS_Store`.
        let told = format!("{} things lie in", strange.len() - FOLDERS.len());
        assert!(ended.stderr.contains(&told), "not `{told}`: {ended}");
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

/// The events `foreign` of a run.
fn told(ended: &Ended) -> Vec<Value> {
    assert_eq!(ended.code(), Some(0), "{ended}");
    ended.events().into_iter().filter(|event| event["event"] == "foreign").collect()
}

/// A small job that has run once.
fn finished(sink: &'static str) -> Place {
    let place = Counting { sink, ..Counting::default() }.place("a,1,1\nb,1,1\n");
    place.finish(1);
    place
}

const JSON: [&str; 4] = ["run", "job.toml", "--log", "json"];

#[test]
fn what_no_sink_can_have_written_is_named_and_counted_once_a_run() {
    for sink in SINKS {
        let place = finished(sink);
        assert_eq!(told(&place.run(&JSON)), [] as [Value; 0], "nothing is foreign: {sink}");
        for name in ["README", "notes.txt", "zebra.csv", "counts-1-0.csv"] {
            place.write(&format!("out/{name}"), "left alone");
        }
        fs::create_dir(place.path("out/lost+found")).unwrap();
        let text = "sink `counts`: 5 things lie in `";
        let names = "that no sink has written: `README`, `counts-1-0.csv`, `lost+found/` and 2 more\n  help: left alone";
        // A job that has finished, and one that reads on.
        for input in ["", "c,1,1\n"] {
            place.write("in/more.txt", input);
            let ended = place.finish(1);
            assert!(ended.stderr.contains(text) && ended.stderr.contains(names), "{ended}");
            assert_eq!(ended.stderr.matches("no sink has written").count(), 1, "{ended}");
        }
        let events = told(&place.run(&JSON));
        let [event] = events.as_slice() else { panic!("{events:?}") };
        let named = json!(["README", "counts-1-0.csv", "lost+found/"]);
        assert_eq!(
            (&event["sink"], &event["named"], &event["count"], &event["is_part"]),
            (&json!("counts"), &named, &json!(5), &json!(false))
        );
        assert!(event["place"].as_str().unwrap().ends_with("out"), "{event}");
    }
}

#[test]
fn output_of_other_sinks_places_within_and_hidden_names_are_not_foreign() {
    for sink in SINKS {
        let place = finished(sink);
        // Of another job, of another kind of sink, of a sink that shows rows at once, and what they keep.
        for path in [
            "old-counts-000000000003-0.csv",
            "counts-000000000003-0-0.csv",
            "counts-000000000003-1-0-0.csv",
            ".reprise/other/owner",
            ".reprise/other/staged/000000000003-1-0.csv",
            ".reprise/counts/owner.new-17",
            ".reprise/counts/taken-back/counts-000000000003-0.csv",
            ".DS_Store",
            ".git/config",
            "counts-000000000003-0-1.csv#1",
            "daily/.reprise/counts/owner",
            "daily/notes.txt",
        ] {
            place.write(&format!("out/{path}"), "x");
        }
        assert_eq!(told(&place.run(&JSON)), [] as [Value; 0], "{sink}");
    }
}

#[test]
fn links_pipes_and_what_may_not_be_read_are_named_by_their_names_alone() {
    for sink in SINKS {
        let place = finished(sink);
        let out = place.path("out");
        fs::create_dir(place.path("elsewhere")).unwrap();
        symlink(place.path("elsewhere"), out.join("link")).unwrap();
        symlink("round", out.join("round")).unwrap();
        // A link is none of a sink, whatever it is called.
        let output = files_below(&out).into_iter().find(|path| path.is_file()).unwrap();
        symlink(&output, out.join("counts-000000000099-0.csv")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(out.join("pipe")).status();
        assert!(made.is_ok_and(|made| made.success()));
        fs::create_dir(out.join("shut")).unwrap();
        fs::write(out.join("unreadable"), "x").unwrap();
        for shut in ["shut", "unreadable"] {
            let rights = std::os::unix::fs::PermissionsExt::from_mode(0o000);
            fs::set_permissions(out.join(shut), rights).unwrap();
        }
        let events = told(&place.run(&JSON));
        assert_eq!(
            (&events[0]["count"], &events[0]["named"]),
            (&json!(6), &json!(["counts-000000000099-0.csv", "link", "pipe"])),
            "{sink}"
        );
    }
}

#[test]
fn names_of_foreign_things_steer_no_terminal() {
    for sink in SINKS {
        let place = finished(sink);
        let odd: [&[u8]; 3] = [b"a\x1b[2J", b"b\nerror: forged", b"c\xff"];
        for name in odd {
            fs::write(place.path("out").join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
        }
        let ended = place.finish(1);
        assert!(!ended.stderr.contains('\u{1b}') && !ended.stderr.contains("\nerror: forged"), "{ended}");
        assert!(ended.stderr.contains("`a\\u{1b}[2J`, `b\\u{a}error: forged`, `c\u{fffd}`\n"), "{ended}");
        let events = told(&place.run(&JSON));
        assert_eq!(events[0]["named"], json!(["a\u{1b}[2J", "b\nerror: forged", "c\u{fffd}"]), "{sink}");
    }
}
