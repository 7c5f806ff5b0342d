//! Output belongs to one life of a store: stores that were deleted, lost their manifests, or were brought back from a copy.

use super::{refused, slow, stopped_in_the_middle};
use crate::support::{Counting, Place, files_below};
use std::fs;
use std::path::Path;

/// Both ways out, and what is wrong.
const WAYS_OUT: [&str; 4] = ["does not know", "another folder", "`reprise run --adopt`", "help: "];

const SINKS: [&str; 2] =
    ["file = { path = \"out\", format = \"csv\" }", "objects = { url = \"file:./out\", format = \"csv\", part-bytes = \"64KiB\" }"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &target),
            false => assert!(fs::copy(&path, &target).is_ok()),
        }
    }
}

/// A refusal, again and again, that changes nothing; then an adoption, after which each row is there once.
fn refused_then_adopted(place: &Place, input: &crate::support::Input, texts: &[&str]) {
    let before = files_below(&place.path("out"));
    for _ in 0..3 {
        refused(place, &WAYS_OUT);
        refused(place, texts);
        assert_eq!(files_below(&place.path("out")), before, "a refusal touches nothing");
    }
    let ended = place.run(&["run", "job.toml", "--workers", "2", "--adopt"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stderr.contains("takes its place over"), "{ended}");
    place.published().assert_equals(&input.counted, "after the adoption");
    let ended = place.finish(1);
    assert!(ended.stderr.contains("finished already"), "{ended}");
    place.published().assert_equals(&input.counted, "after one more run");
}

#[test]
fn a_store_that_was_deleted_does_not_know_the_output_of_its_life_before() {
    for sink in SINKS {
        let (counting, input) = slow(sink);
        let place = counting.place(&input.text);
        place.finish(2);
        let rows = place.published().len();
        fs::remove_dir_all(place.path("state")).unwrap();
        refused_then_adopted(&place, &input, &["belongs to another store", "output up to epoch"]);
        let aside = place.path("out/.reprise/counts/taken-back");
        let kept: usize = files_below(&aside).iter().map(|file| fs::read_to_string(file).unwrap().lines().count()).sum();
        assert_eq!(kept, rows, "{sink}: what was visible before is set aside, all of it");
    }
}

#[test]
fn a_store_that_lost_only_its_manifests_does_not_begin_anew_beside_its_output() {
    for sink in SINKS {
        let (counting, input) = slow(sink);
        let place = counting.place(&input.text);
        place.finish(2);
        fs::remove_dir_all(place.path("state/counting/checkpoints")).unwrap();
        refused_then_adopted(&place, &input, &["the newest checkpoint in the store is of epoch 0"]);
    }
}

#[test]
fn a_store_from_an_older_copy_does_not_know_what_came_out_since() {
    for sink in SINKS {
        let (counting, input) = slow(sink);
        let place = counting.place(&input.text);
        stopped_in_the_middle(&place, &[]);
        copy(&place.path("state"), &place.path("backup"));
        place.finish(2);
        fs::remove_dir_all(place.path("state")).unwrap();
        copy(&place.path("backup"), &place.path("state"));
        refused_then_adopted(&place, &input, &["an older copy"]);
    }
}

#[test]
fn two_checkouts_do_not_share_an_output_folder() {
    let shared = tempfile::tempdir().unwrap();
    let out = shared.path().join("out");
    let (counting, input) = slow(SINKS[0]);
    let text = counting.text().replace("path = \"out\"", &format!("path = {out:?}"));
    let places = [Place::with(&text), Place::with(&text)];
    for place in &places {
        place.write("in/rows.txt", &input.text);
    }
    // While the first one runs, and when it has ended.
    let mut first = places[0].start(&["run", "job.toml", "--workers", "2"]);
    first.wait_until("some output", |_| !files_below(&out).is_empty());
    refused(&places[1], &WAYS_OUT);
    let ended = first.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    refused(&places[1], &["belongs to another store"]);
    crate::support::Lines::of_folder(&out).assert_equals(&input.counted, "the output of the first");
    // The other way out.
    places[1].write("job.toml", counting.text());
    places[1].finish(2);
    places[1].published().assert_equals(&input.counted, "the output of the second");
}

#[test]
fn output_of_a_copy_of_the_same_store_is_told_apart_by_its_run() {
    let shared = tempfile::tempdir().unwrap();
    let (counting, input) = slow(SINKS[0]);
    let text = counting.text().replace("path = \"out\"", &format!("path = {:?}", shared.path().join("out")));
    let place = Place::with(&text);
    place.write("in/rows.txt", &input.text);
    let mut running = place.start(&["run", "job.toml", "--workers", "2"]);
    running.wait_until("some output", |_| !files_below(&shared.path().join("out")).is_empty());
    running.kill();
    running.wait();
    let twin = Place::with(&text);
    twin.write("in/rows.txt", &input.text);
    copy(&place.path("state"), &twin.path("state"));
    place.finish(2);
    refused(&twin, &WAYS_OUT);
    crate::support::Lines::of_folder(&shared.path().join("out")).assert_equals(&input.counted, "the output of one of the two");
}

/// Makes of a folder and a store what the first hosts left of them.
fn as_the_first_hosts_left_it(place: &Place) {
    let hidden = place.path("out/.reprise/counts");
    fs::remove_dir_all(hidden.join("lives")).unwrap();
    for note in files_below(&hidden.join("published")) {
        let name = note.file_name().unwrap().to_str().unwrap().to_owned();
        let (instance, epoch) = name.split_once('-').unwrap();
        fs::write(hidden.join("published").join(instance), epoch.trim_start_matches('0')).unwrap();
        fs::remove_file(note).unwrap();
    }
    fs::remove_file(place.path("state/counting/identity")).unwrap();
}

#[test]
fn a_folder_and_a_store_of_the_first_hosts_go_on_and_are_marked_from_then_on() {
    let (counting, input) = slow(SINKS[0]);
    let place = counting.place(&input.text);
    stopped_in_the_middle(&place, &[]);
    as_the_first_hosts_left_it(&place);
    place.finish(2);
    place.published().assert_equals(&input.counted, "after the upgrade");
    assert_eq!(files_below(&place.path("out/.reprise/counts/lives")).len(), 1);
    fs::remove_dir_all(place.path("state")).unwrap();
    refused(&place, &["belongs to another store"]);
}

#[test]
fn a_folder_of_the_first_hosts_is_refused_where_the_store_is_new() {
    for notes in [true, false] {
        let (counting, input) = slow(SINKS[0]);
        let place = counting.place(&input.text);
        place.finish(2);
        as_the_first_hosts_left_it(&place);
        fs::remove_dir_all(place.path("state")).unwrap();
        if !notes {
            // All that is left is visible output.
            fs::remove_dir_all(place.path("out/.reprise")).unwrap();
        }
        refused_then_adopted(&place, &input, &["was published there"]);
    }
}

#[test]
fn output_that_is_visible_at_once_belongs_to_one_life_too() {
    let sink = "delivery = \"immediate\"\nfile = { path = \"out\", format = \"csv\" }";
    let place = Counting { sink, ..Counting::default() }.place("a,1,1\nb,1,1\n");
    place.finish(1);
    fs::remove_dir_all(place.path("state")).unwrap();
    refused(&place, &WAYS_OUT);
    fs::remove_dir_all(place.path("out/.reprise")).unwrap();
    refused(&place, &WAYS_OUT);
}

#[test]
fn an_adoption_that_is_killed_at_any_moment_is_made_good_by_the_next_one() {
    let (counting, input) = slow(SINKS[0]);
    let place = counting.place(&input.text);
    place.finish(2);
    fs::remove_dir_all(place.path("state")).unwrap();
    // Signs of how far it has come: nothing, the claim, the note, output of the life before that is set aside, output of its own.
    let signs: [(&str, &str); 4] = [
        ("state/counting/generations", "the claim"),
        ("state/counting/checkpoints", "the manifest"),
        ("out/.reprise/counts/taken-back", "output set aside"),
        ("out", "output of its own"),
    ];
    for (folder, what) in signs {
        let had = files_below(&place.path(folder)).len();
        let mut running = place.start(&["run", "job.toml", "--workers", "2", "--adopt"]);
        running.reaches(what, |_| files_below(&place.path(folder)).len() != had);
        running.kill();
        running.wait();
    }
    let ended = place.run(&["run", "job.toml", "--workers", "2", "--adopt"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    place.published().assert_equals(&input.counted, "after adoptions that were killed");
}

#[test]
fn a_damaged_identity_is_an_error_with_a_way_out() {
    let (counting, input) = slow(SINKS[0]);
    let place = counting.place(&input.text);
    stopped_in_the_middle(&place, &[]);
    place.write("state/counting/identity", "damaged");
    let ended = place.run(&["run", "job.toml", "--workers", "2"]);
    assert_eq!(ended.code(), Some(6), "{ended}");
    assert!(ended.stderr.contains("identity of the job") && ended.stderr.contains("--adopt"), "{ended}");
    fs::remove_file(place.path("state/counting/identity")).unwrap();
    refused_then_adopted(&place, &input, &["belongs to another store"]);
}
