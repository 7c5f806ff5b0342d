//! `reprise quarantine`: rows that were refused, or taken out because operators failed at them: list, show, replay, drop.

use super::outlet;
use super::site::{self, CommandFailure, OpenedJob, Where};
use super::text::{self, count, plain};
use crate::clock::Clock;
use crate::job::survey::{self, RowEntry, RowFilter, RowList, RowState, decode};
use crate::job::{self, ChosenRows, Requester, RowCounts};
use reprise_core::checkpoint::quarantine::RowId;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

const LIST: &str = "reprise quarantine list (FILE | --store URL --job NAME) [OPTIONS]";
const SHOW: &str = "reprise quarantine show (FILE | --store URL --job NAME) ROW [OPTIONS]";
const REPLAY: &str = "reprise quarantine replay (FILE | --store URL --job NAME) (ROW... | --all | --node NODE) [OPTIONS]";
const DROP: &str = "reprise quarantine drop (FILE | --store URL --job NAME) (ROW... | --all | --node NODE) [OPTIONS]";
/// Rows that one command takes by name.
const ROWS_MAX: usize = 10_000;
/// Characters of a reason that a line of the list shows.
const REASON_CHARS_MAX: usize = 120;

#[derive(Debug, clap::Subcommand)]
pub(super) enum QuarantineCommand {
    /// List the rows in quarantine, oldest first.
    #[command(
        override_usage = LIST,
        after_help = "Examples:\n  reprise quarantine list topology.toml\n  reprise quarantine list topology.toml --node parse --reason comma --json"
    )]
    List {
        /// FILE: a topology file. Its components are not loaded and may be missing.
        #[arg(value_name = "FILE")]
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
        /// Rows of this operator or source alone.
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// Rows alone whose reasons have this text in them.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Rows to show at most.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
    },
    /// Show everything that is known of a row in quarantine.
    #[command(
        override_usage = SHOW,
        after_help = "Examples:\n  reprise quarantine show topology.toml parse/41-7-1-0/3\n  reprise quarantine show topology.toml parse/41-7-1-0/3 --raw > value"
    )]
    Show {
        /// FILE: a topology file. ROW: what the list calls the row.
        #[arg(value_name = "FILE ROW")]
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
        /// Write the bytes of the value, and nothing else.
        #[arg(long, conflicts_with = "json")]
        raw: bool,
    },
    /// Send rows again: the run that is under way does it, or the next one.
    #[command(
        override_usage = REPLAY,
        after_help = "Each row goes to the operator and the input that it was taken from, and is worked on in exactly one completed checkpoint.\n\
            It is on the list until then, and again if it is refused again.\n\n\
            Examples:\n  reprise quarantine replay topology.toml parse/41-7-1-0/3\n  reprise quarantine replay topology.toml --node parse"
    )]
    Replay(Deciding),
    /// Drop rows: nobody wants to see them any more.
    #[command(
        override_usage = DROP,
        after_help = "A row that a run is just sending again may be worked on all the same.\n\n\
            Examples:\n  reprise quarantine drop topology.toml parse/41-7-1-0/3\n  reprise quarantine drop topology.toml --all"
    )]
    Drop(Deciding),
}

#[derive(Debug, clap::Args)]
pub(super) struct Deciding {
    /// FILE: a topology file. ROW: what the list calls a row.
    #[arg(value_name = "FILE ROW")]
    words: Vec<String>,
    #[command(flatten)]
    place: Where,
    /// All rows on the list.
    #[arg(long, conflicts_with = "node")]
    all: bool,
    /// All rows on the list that are of this operator or source.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

pub(super) fn quarantine(command: QuarantineCommand) -> ExitCode {
    match command {
        QuarantineCommand::List { words, place, node, reason, limit } => {
            site::end(list(&words, &place, &RowFilter { node, reason }, limit as usize), LIST, place.json)
        }
        QuarantineCommand::Show { words, place, raw } => site::end(show(&words, &place, raw), SHOW, place.json),
        QuarantineCommand::Replay(deciding) => site::end(decide(&deciding, true), REPLAY, deciding.place.json),
        QuarantineCommand::Drop(deciding) => site::end(decide(&deciding, false), DROP, deciding.place.json),
    }
}

fn list(words: &[String], place: &Where, filter: &RowFilter, limit: usize) -> Result<ExitCode, CommandFailure> {
    place.rest(words, 0, 0)?;
    let opened = place.open(words)?;
    let listed = opened.wait(survey::rows(&opened.store, &opened.job, filter, limit))?;
    for (path, reason) in &listed.unreadable {
        outlet::say(&format!("{} cannot be read and is passed over: {}", plain(path), plain(reason)));
    }
    text::put_as(place.json, || list_json(&opened, &listed), || picture(&opened, &listed));
    Ok(ExitCode::SUCCESS)
}

fn list_json(opened: &OpenedJob, listed: &RowList) -> String {
    let row = |kept: &RowEntry| {
        let object = &kept.id.object;
        let json = json!({
            "id": kept.id.to_string(), "node": object.node, "input": kept.row.input, "instance": object.instance, "epoch": object.epoch,
            "generation": object.generation, "time_ms": kept.row.time, "state": kept.state.word(), "kind": kept.kind(), "reason": kept.row.reason,
        });
        text::with_members(&json, [("key", decode::bytes(&kept.row.key))])
    };
    let unreadable: Vec<Value> = listed.unreadable.iter().map(|(path, reason)| json!({ "path": path, "reason": reason })).collect();
    let json = json!({ "job": opened.job, "store": opened.store.root(), "more": listed.more, "unreadable": unreadable });
    text::with_members(&json, [("rows", text::array(listed.rows.iter().map(row)))])
}

fn picture(opened: &OpenedJob, listed: &RowList) -> String {
    let mut out = format!("quarantine of job `{}` in {}\n", opened.job, opened.store.root());
    if listed.rows.is_empty() {
        out.push_str("  no rows\n");
        return out;
    }
    let heads = ["row", "event time (UTC)", "key", "kind", "state", "reason"];
    let rows = listed.rows.iter().map(|kept| {
        let reason: String = kept.row.reason.lines().next().unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        let (id, time, key) = (kept.id.to_string(), text::time(kept.row.time), text::bytes(&kept.row.key));
        vec![id, time, key, plain(kept.kind()), kept.state.word().to_owned(), plain(&reason)]
    });
    out.push_str(&text::table_below(heads, rows, &[]));
    if listed.more {
        out.push_str("  there are more; `--limit` shows more\n");
    }
    out
}

fn id(word: &str) -> Result<RowId, CommandFailure> {
    word.parse().map_err(CommandFailure::Usage)
}

fn show(words: &[String], place: &Where, raw: bool) -> Result<ExitCode, CommandFailure> {
    let id = id(&place.rest(words, 1, 1)?[0])?;
    let opened = place.open(words)?;
    let kept = opened.wait(survey::row(&opened.store, &opened.job, &id))?;
    if raw {
        text::put_raw(&kept.row.value);
    } else {
        text::put_as(place.json, || row_json(&opened, &kept), || row_picture(&opened, &kept));
    }
    Ok(ExitCode::SUCCESS)
}

fn row_json(opened: &OpenedJob, kept: &RowEntry) -> String {
    let (object, fault) = (&kept.id.object, kept.fault.as_ref());
    let json = json!({
        "job": opened.job, "store": opened.store.root(), "id": kept.id.to_string(), "state": kept.state.word(), "node": object.node,
        "input": kept.row.input, "instance": object.instance, "epoch": object.epoch, "generation": object.generation,
        "written_ms": kept.written_ms, "origin": kept.row.origin, "time_ms": kept.row.time, "kind": kept.kind(), "reason": kept.row.reason,
        "call": fault.map(|fault| &fault.call), "backtrace": fault.map(|fault| &fault.backtrace), "log_tail": fault.map(|fault| &fault.log_tail),
        "capsule": fault.and_then(|fault| fault.capsule.as_ref()), "component": kept.component.map(|digest| digest.to_string()),
        "line": kept.line,
    });
    text::with_members(&json, [("key", decode::bytes(&kept.row.key)), ("value", decode::bytes(&kept.row.value))])
}

fn row_picture(opened: &OpenedJob, kept: &RowEntry) -> String {
    let (object, row, fault) = (&kept.id.object, &kept.row, kept.fault.as_ref());
    let mut out = format!("row `{}` of job `{}`\n", kept.id, opened.job);
    let mut line = |name: &str, text: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {name:<10} {text}");
    };
    line(
        "state",
        match kept.state {
            RowState::Held => "in quarantine",
            RowState::Asked => "in quarantine; a run is asked to send it again",
            RowState::Replayed => "was sent again",
            RowState::Dropped => "was dropped",
        },
    );
    line("from", &format!("`{}`, instance {}, input {}", plain(&object.node), object.instance, row.input));
    if !row.origin.is_empty() {
        line("origin", &plain(&row.origin));
    }
    let written = kept.written_ms.map(|ms| format!(", whose checkpoint was written at {}", text::time(ms)));
    line("since", &format!("epoch {}, run {}{}", object.epoch, object.generation, written.unwrap_or_default()));
    line("event time", &text::time(row.time));
    line("key", &plain(&decode::bytes(&row.key)));
    line("value", &plain(&decode::bytes(&row.value)));
    let call = fault.map(|fault| format!(" in `{}`", plain(&fault.call)));
    line("kind", &format!("{}{}", plain(kept.kind()), call.unwrap_or_default()));
    line("reason", &row.reason.lines().map(plain).collect::<Vec<_>>().join("\n             "));
    if let Some(component) = kept.component {
        line("component", &component.to_string());
    }
    if let Some(number) = kept.line {
        line("topology", &format!("line {number}"));
    }
    if let Some(capsule) = fault.and_then(|fault| fault.capsule.as_ref()) {
        line("capsule", &plain(capsule));
    }
    for (name, entries) in fault.iter().flat_map(|fault| [("backtrace", &fault.backtrace), ("log", &fault.log_tail)]) {
        for (place, entry) in entries.iter().enumerate() {
            line(if place == 0 { name } else { "" }, &plain(entry));
        }
    }
    out
}

fn decide(deciding: &Deciding, sends: bool) -> Result<ExitCode, CommandFailure> {
    let Deciding { words, place, all, node } = deciding;
    let is_by_name = !all && node.is_none();
    let rest = place.rest(words, usize::from(is_by_name), if is_by_name { ROWS_MAX } else { 0 })?;
    let chosen = match node {
        Some(node) => ChosenRows::Node(node.clone()),
        None if *all => ChosenRows::All,
        None => ChosenRows::Rows(rest.iter().map(|word| id(word)).collect::<Result<_, _>>()?),
    };
    let opened = place.open(words)?;
    let by = Requester { writer: Clock::unlikely_number(), now_ms: Clock::System.now_ms() };
    let asked = match sends {
        true => opened.wait(job::ask_for_rows(&opened.store, &opened.job, &chosen, by))?,
        false => opened.wait(job::drop_rows(&opened.store, &opened.job, &chosen, by))?,
    };
    let what = if sends { "asked" } else { "dropped" };
    text::put_as(place.json, || asked_json(&opened, what, &asked), || told(sends, &asked));
    Ok(ExitCode::SUCCESS)
}

fn asked_json(opened: &OpenedJob, what: &str, asked: &RowCounts) -> Value {
    let RowCounts { rows, before, of_sources, of_gone, unreadable } = asked;
    json!({
        "job": opened.job, "store": opened.store.root(), what: rows, "before": before, "of_sources": of_sources, "of_gone": of_gone,
        "unreadable_objects": unreadable,
    })
}

fn told(sends: bool, asked: &RowCounts) -> String {
    let rows = count(asked.rows, "row");
    let is = if asked.rows == 1 { "is" } else { "are" };
    let mut out = match sends {
        true => format!("{rows} {is} to be sent again, by the run that is under way or by the next one\n"),
        false => format!("{rows} {is} dropped\n"),
    };
    let notes = [
        (
            asked.before,
            "row",
            if sends { "had been asked for, sent again or dropped before" } else { "had been sent again or dropped before" },
        ),
        (asked.of_sources, "row", "passed over: a source refused them, and only a mended input brings them back"),
        (asked.of_gone, "row", "passed over: the newest checkpoint has no operator of that name"),
        (asked.unreadable, "object", "passed over, which cannot be read"),
    ];
    for (number, one, note) in notes.into_iter().filter(|(number, ..)| *number > 0) {
        let _ = writeln!(out, "{} {note}", count(number, one));
    }
    out
}
