//! Text that anybody may have written, on a terminal, in a log and in JSON: it steers nothing, hides nothing, and passes for no line of ours.

use super::{BOUNDED, topology};
use crate::support::{Ended, Place, guest};
use serde_json::Value;

/// Texts that would do something to a terminal, or forge what the host says.
const EVIL: [&str; 8] = [
    "\u{1b}[2J\u{1b}[1;31mred",
    "\u{1b}]0;title\u{7}",
    "\u{9b}31m\u{85}\u{90}",
    "\rerror: all is lost",
    "first\nerror: all is lost\n{\"event\":\"end\"}\n  help: run `rm`",
    "abc\u{202e}fdp.exe\u{2066}\u{200b}\u{feff}",
    "tab\tand\u{2028}separator\u{2029}\u{8}\u{7f}\u{0}",
    "\u{e0041}\u{fff9}\u{ad}\u{61c}",
];

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn assert_plain(text: &str, what: &str) {
    let steers = |c: &char| reprise_core::plain::is_steering(*c) && *c != '\n' && *c != '\t';
    if let Some(c) = text.chars().find(steers) {
        panic!("{what}: {c:?} in {text:?}");
    }
}

/// Nothing that steers, and no line that a guest made.
#[track_caller]
fn assert_harmless(ended: &Ended, what: &str) {
    for text in [&ended.stdout, &ended.stderr] {
        assert_plain(text, what);
        for line in text.lines() {
            assert!(!line.starts_with("error: all is lost") && !line.starts_with("{\"event\":\"end\"}"), "{what}: a forged line: {text}");
            assert!(!line.starts_with("  help: run `rm`"), "{what}: a forged help: {text}");
        }
    }
}

/// A job in whose rows an operator finds what to say, and how.
fn loud(rows: &[(&str, &str)]) -> Place {
    let place = Place::with(&format!(
        "name = \"rim\"\n[checkpoint]\nstore = \"file:state\"\ninterval = \"20ms\"\n\
         [[source]]\nname = \"in\"\nfile = {{ {BOUNDED} }}\n\
         [[operator]]\nname = \"parse\"\ncomponent = {:?}\ninput = \"in\"\n\
         [[operator]]\nname = \"op\"\ncomponent = {:?}\ninput = \"parse\"\non-failure = {{ retries = 0 }}\n\
         [[sink]]\nname = \"out\"\ninput = \"op\"\nfile = {{ path = \"out\", format = \"lines\" }}\n",
        guest("parse-text"),
        guest("loud"),
    ));
    place.write("in/rows.txt", rows.iter().map(|(how, what)| format!("{how},{},1\n", hex(what))).collect::<String>());
    place
}

fn all() -> Vec<(&'static str, &'static str)> {
    ["log", "reject", "fail", "count"].into_iter().flat_map(|how| EVIL.map(|what| (how, what))).collect()
}

#[test]
fn what_a_guest_says_steers_no_terminal_and_forges_no_line() {
    let place = loud(&all());
    let ended = place.run(&["run", "job.toml", "--workers", "1"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_harmless(&ended, "run");
    assert!(ended.stderr.contains("\\u{1b}[2J") && ended.stderr.contains("\\u{202e}"), "what was said can still be seen: {ended}");
    let listed = place.run(&["quarantine", "list", "job.toml", "--json"]);
    assert_harmless(&listed, "quarantine list --json");
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed["rows"].as_array().unwrap().len(), 2 * EVIL.len());
    assert_harmless(&place.run(&["quarantine", "list", "job.toml"]), "quarantine list");
    for row in listed["rows"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        assert_harmless(&place.run(&["quarantine", "show", "job.toml", id]), "quarantine show");
    }
}

#[test]
fn json_has_what_a_guest_said_to_the_letter_and_nothing_raw() {
    let place = loud(&all());
    let ended = place.run(&["run", "job.toml", "--workers", "1", "--log", "json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_harmless(&ended, "run --log json");
    let events = ended.events();
    let logged: Vec<&str> = events.iter().filter_map(|event| event["fields"]["message"].as_str()).collect();
    for said in EVIL {
        assert!(logged.contains(&said), "{said:?} is not in the log as it was said");
    }
}

#[test]
fn names_on_the_command_line_and_in_files_are_shown_plain() {
    let evil = "a\u{1b}[2J\u{202e}\nerror: all is lost";
    let place = Place::with(&topology("", BOUNDED, None));
    for arguments in [
        &["run", evil][..],
        &["check", evil],
        &["inspect", evil],
        &["inspect", "job.toml", "--topology", "job.toml", "--operator", evil],
        &["inspect", "job.toml", "--topology", evil, "--operator", "op"],
        &["verify", evil],
        &["replay", evil],
        &["checkpoint", "list", evil],
        &["checkpoint", "show", "job.toml", evil],
        &["quarantine", "list", evil],
        &["state", "show", "job.toml", evil],
        &["savepoint", evil, "name"],
        &["savepoint", "job.toml", evil, "--wait", "1"],
        &["resume", "job.toml", evil],
        &["parked", "list", evil],
        &["parked", "list", "job.toml", "--at", evil],
        &["parked", "drop", "job.toml", evil],
    ] {
        let ended = place.run(arguments);
        assert!(ended.code().is_some_and(|code| code > 0), "{arguments:?}: {ended}");
        assert_harmless(&ended, &format!("{arguments:?}"));
    }
    let help = "a\n  help: run `rm`";
    for arguments in [
        &["run", help][..],
        &["check", help],
        &["inspect", help],
        &["inspect", "job.toml", "--topology", help, "--operator", "op"],
        &["inspect", "job.toml", "--topology", "job.toml", "--operator", help],
        &["verify", help],
        &["checkpoint", "list", help],
    ] {
        let ended = place.run(arguments);
        assert!(ended.code().is_some_and(|code| code > 0), "{arguments:?}: {ended}");
        assert_harmless(&ended, &format!("{arguments:?}"));
    }
    // The text of a topology, and what it names.
    for text in [
        topology("", BOUNDED, None).replace("\"rim\"", "\"r\\u001b[2J\\u202e\""),
        topology("", BOUNDED, None).replace("[[sink]]", "# \u{1b}[2J\u{202e}\nnonsense\u{1b} = 1\n[[sink]]"),
        topology("", "path = \"in/\\u001b[2J\\u202e*\", format = \"lines\"", None),
        topology("", "path = \"in/*\", format = \"\\u001b[2J\\nerror: all is lost\"", None),
    ] {
        place.write("job.toml", text);
        for arguments in [&["check", "job.toml"][..], &["run", "job.toml"], &["check", "job.toml", "--json"]] {
            let ended = place.run(arguments);
            assert_harmless(&ended, &format!("{arguments:?}"));
        }
    }
}
