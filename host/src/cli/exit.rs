//! Exit codes: what a script may do about the end of a command.

use super::outlet;
use crate::job::survey::SurveyError;
use crate::job::{Error, Kind};
use crate::panics::{self, THREADS_HELP};
use reprise_core::plain::plain;
use std::process::ExitCode;

/// The table of exit codes, as `--help` shows it.
pub(super) const HELP: &str = "Exit codes:
  0  done: the input has ended, or the job was asked to stop and its last checkpoint is complete
  1  internal error: a fault of the host; or an answer that cannot be written
  2  the command line, the topology or a component is wrong
  3  an operator failed again and again, its state is intact; or `verify` found it wrong
  4  storage does not answer or refuses
  5  another host runs this job now
  6  no stored checkpoint can be used
  7  a source or sink cannot go on
  8  a limit was reached; or the job was asked to stop and did not within `stop-timeout`
  9  a capsule was not reproduced
After 3 to 8 `reprise run` takes the job up again once the cause is gone.";

/// The exit code where the call of a capsule did not fail, or failed otherwise.
pub(super) const NOT_REPRODUCED: u8 = 9;
/// The exit code of a job that was asked to end and did not in time.
pub(super) const OVERDUE: u8 = 8;

/// The exit code of a kind of error.
pub(super) fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => 1,
        Kind::Topology => 2,
        Kind::Guest => 3,
        Kind::Storage => 4,
        Kind::Fenced => 5,
        Kind::Corrupt => 6,
        Kind::Connect => 7,
        Kind::Limit => 8,
    }
}

/// The text of an error with its causes, each on a line of its own.
pub(super) fn text(error: &dyn std::error::Error) -> String {
    with_causes(error.to_string(), error)
}

fn with_causes(mut text: String, error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str("\n  because: ");
        text.push_str(&inner.to_string().replace('\n', "\n  "));
        cause = inner.source();
    }
    text
}

/// Prints an error and gives its exit code.
pub(super) fn fail(error: &Error, json: bool) -> ExitCode {
    if error.kind() == Kind::Internal
        && let Some(fault) = panics::fault().filter(|fault| fault.is_lack)
    {
        // A task that was waited for has ended by the panic of a library which was refused memory or threads.
        return tell(Kind::Limit, &fault.told, false, json);
    }
    let text = match error {
        // One line, with a name in it that was given on the command line.
        Error::Read { .. } => with_causes(plain(&error.to_string()), error),
        error => text(error),
    };
    // A list of mistakes begins with the place of the first one.
    tell(error.kind(), &text, matches!(error, Error::Topology(_)), json)
}

/// Prints the error of a command that looks at a store, and gives its exit code.
pub(super) fn fail_survey(error: &SurveyError, json: bool) -> ExitCode {
    match error {
        SurveyError::Job(error) => fail(error, json),
        error => tell(error.kind(), &text(error), false, json),
    }
}

/// Prints the text of an error that is none of a job's kinds.
pub(super) fn fail_text(code: u8, text: &str, json: bool) -> ExitCode {
    say(code, "other", text, false, json)
}

/// Ends a command that gave up half-way; the reason is told already.
pub(super) fn fail_after_panic() -> ExitCode {
    let kind = if panics::fault().is_some_and(|fault| fault.is_lack) { Kind::Limit } else { Kind::Internal };
    tell(kind, "the command gave up, the line above says why", false, outlet::is_json())
}

/// Ends a command to which the system gives no more threads.
pub(super) fn fail_threads(error: &std::io::Error, json: bool) -> ExitCode {
    tell(Kind::Limit, &format!("threads cannot be started: {error}\n  help: {THREADS_HELP}"), false, json)
}

/// Prints the text of an error and ends the process, whatever its threads do.
#[expect(clippy::disallowed_methods, reason = "the threads of a run may never come back, and the log is flushed")]
pub(super) fn end_now(code: u8, kind: &str, text: &str, json: bool) -> ! {
    say(code, kind, text, false, json);
    outlet::flush();
    std::process::exit(code.into())
}

/// Ends the process after a panic that nobody guarded.
pub(super) fn end_after_panic(json: bool) -> ! {
    let (kind, text) = match panics::fault() {
        Some(fault) => (if fault.is_lack { Kind::Limit } else { Kind::Internal }, fault.told),
        None => (Kind::Internal, String::new()),
    };
    end_now(code(kind), &name(kind), &text, json)
}

/// Says something that is neither an error nor an end.
pub(super) fn message(text: &str, json: bool) {
    match json {
        true => outlet::say_json(&serde_json::json!({ "event": "message", "text": text })),
        false => outlet::say(text),
    }
}

fn tell(kind: Kind, text: &str, is_list: bool, json: bool) -> ExitCode {
    say(code(kind), &name(kind), text, is_list, json)
}

fn name(kind: Kind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn say(code: u8, kind: &str, text: &str, is_list: bool, json: bool) -> ExitCode {
    if json {
        outlet::say_json(&serde_json::json!({ "event": "error", "kind": kind, "exit_code": code, "message": text }));
    } else if is_list {
        outlet::say_page(text);
    } else {
        outlet::say(&format!("error: {text}"));
    }
    ExitCode::from(code)
}
