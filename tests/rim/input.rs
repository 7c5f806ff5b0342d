//! Input that is not what it seems: half rows, open quotes, compressed files, settings that changed, odd names.

mod packed;
mod rows;
mod settings;
mod times;

use crate::support::{Ended, Place, Running, files_below};
use std::process::Stdio;

/// Without an error in its settings or input a job ends so.
const GOOD: i32 = 0;
/// A source or sink refused to go on.
const REFUSED: i32 = 7;

/// A topology that writes what its only source reads. `source`: what is in its `file` table.
fn copying(source: &str) -> String {
    format!(
        "name = \"copying\"\n[checkpoint]\nstore = \"file:state\"\ninterval = \"20ms\"\n[[source]]\nname = \"in\"\nfile = {{ {source} }}\n\
         [[sink]]\nname = \"out\"\ninput = \"in\"\nfile = {{ path = \"out\" }}\n"
    )
}

/// A place with that topology.
fn place(source: &str) -> Place {
    Place::with(&copying(source))
}

/// The visible values, sorted, as JSON text.
fn values(place: &Place) -> Vec<String> {
    let mut values = Vec::new();
    for file in files_below(&place.path("out")) {
        let text = std::fs::read_to_string(&file).expect("visible output can be read");
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row is JSON");
            values.push(match &row["value"] {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            });
        }
    }
    values.sort();
    values
}

/// What `reprise quarantine list` says.
fn quarantine(place: &Place) -> String {
    place.run(&["quarantine", "list", "job.toml"]).stdout
}

/// Runs the job with this text as its standard input.
fn run_with_input(place: &Place, input: &[u8]) -> Ended {
    use std::io::Write;
    let mut command = place.command();
    command.args(["run", "job.toml"]).stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.stdin();
    // It may refuse to read.
    let _ = stdin.write_all(input);
    drop(stdin);
    running.wait()
}

#[track_caller]
fn assert_ends(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code(), Some(code), "{ended}");
    for part in parts {
        assert!(ended.stderr.contains(part), "`{part}` is not said: {ended}");
    }
}
