//! `reprise checkpoint list`: a line for each checkpoint and savepoint.

use crate::cli::figures::bytes;
use crate::cli::site::{CommandFailure, Where, which_json};
use crate::cli::text;
use crate::cli::text::thousands;
use crate::job::survey::{self, Catalog, CatalogEntry, Summary, Which};
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn list(words: &[String], place: &Where, limit: usize) -> Result<ExitCode, CommandFailure> {
    place.rest(words, 0, 0)?;
    let opened = place.open(words)?;
    let catalog = opened.wait(survey::catalog(&opened.store, &opened.job, limit))?;
    let root = opened.store.root();
    let entries = |entries: &[CatalogEntry]| entries.iter().map(entry_json).collect::<Vec<_>>();
    let json = || {
        json!({
            "job": opened.job, "store": root,
            "checkpoints": entries(&catalog.checkpoints), "older_checkpoints": catalog.older,
            "savepoints": entries(&catalog.savepoints), "more_savepoints": catalog.more_savepoints,
        })
    };
    text::put_as(place.json, json, || picture(&opened.job, &root, &catalog));
    Ok(ExitCode::SUCCESS)
}

fn entry_json(entry: &CatalogEntry) -> Value {
    let summary = entry.summary.as_ref().ok();
    let mut json = which_json(&entry.which, summary.map(|s| s.epoch.0));
    json["path"] = entry.path.clone().into();
    json["unreadable"] = entry.summary.as_ref().err().cloned().into();
    let Some(summary) = summary else { return json };
    let Summary { generation, written_ms, parent, workers, rows, rejected, state_bytes, objects, finished, taken_over, .. } = summary;
    let members = json!({
        "generation": generation, "written_ms": written_ms, "parent": parent, "workers": workers, "rows": rows, "rejected": rejected,
        "state_bytes": state_bytes, "objects": objects, "finished": finished, "taken_over": taken_over,
    });
    text::extend(&mut json, members);
    json
}

const RIGHT: [bool; 9] = [true, true, false, true, true, true, true, true, false];

fn picture(job: &str, root: &str, catalog: &Catalog) -> String {
    let mut out = format!("job `{job}` in {root}\n");
    if catalog.checkpoints.is_empty() {
        out.push_str("  no checkpoint yet\n");
    } else {
        let heads = ["epoch", "run", "written (UTC)", "parent", "workers", "rows", "state", "objects", "notes"];
        out.push_str(&text::table_below(heads, catalog.checkpoints.iter().map(row), &RIGHT));
    }
    if catalog.older > 0 {
        out.push_str(&format!("  {} older; `--limit` shows more\n", thousands(catalog.older as u64)));
    }
    if !catalog.savepoints.is_empty() {
        out.push_str("savepoints\n");
        let heads = ["name", "epoch", "run", "written (UTC)", "parent", "workers", "rows", "state", "objects", "notes"];
        let right: Vec<bool> = std::iter::once(false).chain(RIGHT).collect();
        out.push_str(&text::table_below(heads, catalog.savepoints.iter().map(row), &right));
    }
    if catalog.more_savepoints > 0 {
        out.push_str(&format!("  {} more; `--limit` shows more\n", thousands(catalog.more_savepoints as u64)));
    }
    out
}

fn row(entry: &CatalogEntry) -> Vec<String> {
    let (name, columns) = match &entry.which {
        Which::Epoch(epoch) => (epoch.to_string(), RIGHT.len()),
        Which::Savepoint(name) => (name.clone(), RIGHT.len() + 1),
    };
    let mut row = vec![name];
    let summary = match &entry.summary {
        Ok(summary) => summary,
        Err(reason) => {
            row.resize(columns - 1, "-".to_owned());
            row.push(format!("unreadable: {}", text::plain(reason)));
            return row;
        }
    };
    if columns > RIGHT.len() {
        row.push(summary.epoch.to_string());
    }
    let notes = [(summary.finished, "finished"), (summary.taken_over, "taken over")];
    let mut notes: Vec<String> = notes.iter().filter(|(is, _)| *is).map(|(_, note)| (*note).to_owned()).collect();
    if summary.rejected > 0 {
        notes.push(format!("{} refused", text::count(summary.rejected, "row")));
    }
    row.extend([
        summary.generation.to_string(),
        text::time(summary.written_ms),
        summary.parent.map_or("-".to_owned(), |parent| parent.to_string()),
        summary.workers.to_string(),
        thousands(summary.rows),
        bytes(summary.state_bytes),
        summary.objects.to_string(),
        notes.join(", "),
    ]);
    row
}
