//! A job never reads what it writes itself: its output, what is staged beside that, its store.

use crate::support::Place;
use std::os::unix::fs::symlink;

/// The line of the source in [`topology`], and that of the sink.
const LINES: [&str; 2] = ["job.toml:4:1", "line 7"];

fn topology(path: &str, sink: &str) -> String {
    format!(
        "name = \"loop\"\ncheckpoint = {{ store = \"file:state\", interval = \"50ms\" }}\n\
         \n[[source]]\nname = \"in\"\nfile = {{ path = {path:?}, format = \"lines\" }}\n\
         [[sink]]\nname = \"out\"\ninput = \"in\"\n{sink}\n"
    )
}

const FILES: &str = "file = { path = \"data\", format = \"lines\" }";
const OBJECTS: &str = "objects = { url = \"file:./data\", format = \"lines\" }";

#[track_caller]
fn refused(place: &Place, texts: &[&str]) {
    for arguments in [&["check", "job.toml"][..], &["run", "job.toml"]] {
        let ended = place.run(arguments);
        assert_eq!(ended.code(), Some(2), "{ended}");
        for text in texts {
            assert!(ended.stderr.contains(text), "{arguments:?}: the message lacks `{text}`: {ended}");
        }
    }
    assert!(!place.path("state").exists(), "nothing is begun");
}

#[test]
fn a_source_that_would_read_output_of_its_own_job_is_refused_however_it_is_spelled() {
    for sink in [FILES, OBJECTS] {
        for path in ["data/*.txt", "./data/*", "other/../data/*.txt", "**/*.txt", "d?ta/out-*", "[a-d]ata/*", "data/.reprise/out/staged/*"]
        {
            let place = Place::with(&topology(path, sink));
            place.write("data/rows.txt", "a\nb\n");
            place.write("other/x", "");
            refused(&place, &[LINES[0], LINES[1], "source `in` reads what the job itself writes", "output of sink `out`", "help: "]);
        }
    }
}

#[test]
fn absolute_paths_and_links_lead_to_the_same_folder() {
    let place = Place::new();
    place.write("data/rows.txt", "a\nb\n");
    place.write("spool/x", "");
    symlink(place.path("data"), place.path("alias")).unwrap();
    symlink("../data", place.path("spool/today")).unwrap();
    symlink("alias", place.path("again")).unwrap();
    let absolute = format!("{}/*.txt", place.path("data").display());
    for path in [absolute.as_str(), "alias/*.txt", "again/*.txt", "spool/*/*.txt", "spool/**/*.txt", "alias/../data/*.txt"] {
        place.write("job.toml", topology(path, FILES));
        refused(&place, &["output of sink `out`"]);
    }
    // And the sink behind a link.
    place.write("job.toml", topology("data/*.txt", "file = { path = \"spool/today\", format = \"lines\" }"));
    refused(&place, &["output of sink `out`"]);
    place.write("job.toml", topology("data/*.txt", "objects = { url = \"file:again\", format = \"lines\" }"));
    refused(&place, &["output of sink `out`"]);
}

#[test]
fn a_source_that_would_read_the_store_of_its_own_job_is_refused() {
    for path in ["state/loop/checkpoints/*", "**/*", "*/*/*/*.manifest", "state/**/0*"] {
        let place = Place::with(&topology(path, "file = { path = \"elsewhere/out\", format = \"csv\" }"));
        place.write("a/b/c/d.manifest", "row\n");
        refused(&place, &["job.toml:4:1", "objects of the store"]);
    }
}

#[test]
fn a_folder_may_hold_input_and_output_whose_names_cannot_meet() {
    for path in ["data/in-*.txt", "data/*.log", "data/rows.txt", "data/*/*.txt"] {
        let place = Place::with(&topology(path, FILES));
        for name in ["data/in-1.txt", "data/a.log", "data/rows.txt", "data/deep/a.txt"] {
            place.write(name, "a\nb\n");
        }
        let ended = place.run(&["run", "job.toml"]);
        assert_eq!(ended.code(), Some(0), "{path}: {ended}");
    }
}

#[test]
fn sinks_do_not_share_a_folder_under_two_names_and_do_not_write_into_the_store() {
    let place = Place::new();
    place.write("in.txt", "a\n");
    place.write("data/x", "");
    symlink("data", place.path("alias")).unwrap();
    for other in ["file = { path = \"./data/\" }", "file = { path = \"alias\" }", "objects = { url = \"file:data\" }"] {
        let text = topology("in.txt", FILES);
        place.write("job.toml", format!("{text}[[sink]]\nname = \"out-2\"\ninput = \"in\"\n{other}\n"));
        let ended = place.run(&["check", "job.toml"]);
        assert_eq!(ended.code(), Some(2), "{other}: {ended}");
        assert!(
            ended.stderr.contains("job.toml:1") && ended.stderr.contains("(line 7)") || ended.stderr.contains("the sink of line"),
            "{ended}"
        );
    }
    place.write("job.toml", topology("in.txt", "file = { path = \"state/loop/out\" }"));
    refused(&place, &["lies in the store of the job"]);
}
