//! The real binary as a process among others: killed, asked to stop, fed through pipes, given operators that fail. The oracle is the
//! output of a run that nothing happened to.
//!
//! | file | what |
//! |---|---|
//! | `kills` | SIGKILL, Ctrl-C, another number of workers |
//! | `moments` | when a process is killed, and how far it was |
//! | `buckets` | the same on S3, where the server is killed too |
//! | `faults` | operators that trap, panic, loop, eat memory or overflow their stack |
//! | `sinks` | output to objects, and output that is visible at once, of runs that are killed |
//! | `streams` | files that grow, standard input and output |
//! | `commands` | `check`, `inspect`, the JSON log |
//! | `parked_survey` | what commands tell of parked input; `parked` |
//! | `pauses` | `resume` |
//! | `parked` | a branch whose operator is paused, beside one that goes on |
//! | `capsules` | `replay` |
//! | `quarantine` | `quarantine list`, `show`, `drop`, `replay` |
//! | `savepoints` | `savepoint`, and `run --from` |
//! | `survey` | `checkpoint list`, `show`, `diff`, `verify`, and `state show` |

mod buckets;
mod capsules;
mod commands;
mod faults;
mod kills;
mod moments;
mod parked;
mod parked_survey;
mod pauses;
mod quarantine;
mod savepoints;
mod sinks;
mod streams;
mod survey;

use serde_json::Value;

/// The events that a run with `--log json` has told so far. The last line may be half written, and is left out.
fn events(told: &str) -> Vec<Value> {
    let whole = told.rfind('\n').map_or("", |end| &told[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))).collect()
}

/// The events of one kind.
fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// Rows in the newest checkpoint that a run has told of, over the life of the job; 0 before its first one.
fn rows_checkpointed(told: &str) -> u64 {
    of_kind(&events(told), "checkpoint").last().map_or(0, |event| event["rows"].as_u64().unwrap())
}
