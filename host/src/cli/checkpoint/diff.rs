//! `reprise checkpoint diff`: what changed from one checkpoint to another.

use crate::cli::figures::{bytes, parked_json};
use crate::cli::site::{CommandFailure, Where, which_json};
use crate::cli::text::thousands;
use crate::cli::text::{self, plain, word};
use crate::job::survey::decode;
use crate::job::survey::{
    self, CellChange, CellValue, ChosenCheckpoint, OperatorDiff, Pair, ParkedSummary, SlotDiff, StateDiff, Tally, moved_splits, paired,
};
use reprise_core::checkpoint::manifest::{OperatorState, SinkState, SourceState, SplitPosition};
use reprise_core::description::{Encoding, Slot};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

pub(super) fn diff(words: &[String], place: &Where, cells_max: usize, bytes_max: u64) -> Result<ExitCode, CommandFailure> {
    let rest = place.rest(words, 2, 2)?;
    let opened = place.open(words)?;
    let (before, after) = (opened.choose(&rest[0])?, opened.choose(&rest[1])?);
    let state = opened.wait(survey::diff(&opened.store, &before.manifest, &after.manifest, cells_max, bytes_max))?;
    text::put_as(place.json, || diff_json(&opened.store.root(), &before, &after, &state), || picture(&before, &after, &state));
    Ok(ExitCode::SUCCESS)
}

fn diff_json(root: &str, before: &ChosenCheckpoint, after: &ChosenCheckpoint, state: &StateDiff) -> String {
    let (old, new) = (&before.manifest, &after.manifest);
    let position = |split: Option<&SplitPosition>| split.map(|s| json!({ "position": s.position, "instance": s.instance }));
    let source = |(old, new): Pair<SourceState>| {
        let splits: Vec<Value> = moved_splits(old, new)
            .into_iter()
            .map(|(old, new)| json!({ "split": new.or(old).map(|s| &s.split), "before": position(old), "after": position(new) }))
            .collect();
        let numbers = |source: Option<&SourceState>| source.map(|s| json!({ "rows": s.rows, "rejected": s.rejected }));
        json!({ "name": new.or(old).map(|s| &s.name), "before": numbers(old), "after": numbers(new), "splits": splits })
    };
    let sink = |(old, new): Pair<SinkState>| {
        let numbers = |sink: Option<&SinkState>| sink.map(|s| json!({ "rows": s.rows, "staged": s.staged }));
        json!({ "name": new.or(old).map(|s| &s.name), "before": numbers(old), "after": numbers(new) })
    };
    let side = |chosen: &ChosenCheckpoint| {
        let mut json = which_json(&chosen.which, Some(chosen.manifest.epoch.0));
        let manifest = &chosen.manifest;
        json["written_ms"] = manifest.written_ms.into();
        json["workers"] = manifest.workers.into();
        json["topology"] = manifest.topology.to_string().into();
        json["finished"] = manifest.finished.into();
        json
    };
    let json = json!({
        "job": new.job, "store": root, "before": side(before), "after": side(after),
        "sources": paired(&old.sources, &new.sources, |s| s.name.as_str()).into_iter().map(source).collect::<Vec<_>>(),
        "sinks": paired(&old.sinks, &new.sinks, |s| s.name.as_str()).into_iter().map(sink).collect::<Vec<_>>(),
    });
    let operators = paired(&old.operators, &new.operators, |o| o.name.as_str()).into_iter().zip(&state.operators);
    text::with_members(&json, [("operators", text::array(operators.map(|(pair, diff)| operator_json(pair, diff))))])
}

fn operator_json((old, new): Pair<OperatorState>, diff: &OperatorDiff) -> String {
    let side = |operator: Option<&OperatorState>| {
        operator.map(|o| {
            let (rows, rejected) = totals(o);
            let parked = parked_json(&ParkedSummary::of_operator(o));
            json!({ "component": o.component.to_string(), "rows": rows, "rejected": rejected, "parked": parked })
        })
    };
    let json = json!({ "name": diff.name, "before": side(old), "after": side(new), "same_snapshots": diff.same_snapshots });
    text::with_members(&json, [("slots", text::array(diff.slots.iter().map(slot_json)))])
}

fn slot_json(slot: &SlotDiff) -> String {
    let tally = |tally: Tally| json!({ "cells": tally.cells, "bytes": tally.bytes });
    let json = json!({
        "name": slot.after.as_ref().or(slot.before.as_ref()).map(|s| &s.name), "before": slot.before, "after": slot.after,
        "added": tally(slot.added), "removed": tally(slot.removed), "same": tally(slot.same),
        "changed_before": tally(slot.changed_before), "changed_after": tally(slot.changed_after),
    });
    let cell = |change: &CellChange| {
        let place = &change.place;
        let side = |slot: Option<&Slot>, held: Option<&CellValue>| match (slot, held) {
            (Some(slot), Some(held)) => {
                let decoded = decode::value(slot.encoding, &held.value);
                text::with_members(&json!({ "as_declared": decoded.as_declared }), [("value", decoded.json)])
            }
            _ => "null".to_owned(),
        };
        let members = [
            ("key", decode::bytes(&place.key)),
            ("item", decode::bytes(&place.item)),
            ("before", side(slot.before.as_ref(), change.before.as_ref())),
            ("after", side(slot.after.as_ref(), change.after.as_ref())),
        ];
        text::with_members(&json!({ "instance": place.instance }), members)
    };
    text::with_members(&json, [("cells", text::array(slot.cells.iter().map(cell)))])
}

fn totals(operator: &OperatorState) -> (u64, u64) {
    let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
    (sum(&mut operator.instances.iter().map(|i| i.rows)), sum(&mut operator.instances.iter().map(|i| i.rejected)))
}

/// Lines with what they stand below, which is left out where nothing stands below it.
#[derive(Default)]
struct Lines {
    out: String,
    heading: Option<String>,
}

impl Lines {
    /// Begins with a node: what follows stands below its heading. Of one that is in one of the two checkpoints only it says so.
    fn begin<T>(&mut self, heading: String, old: Option<&T>, new: Option<&T>) {
        self.heading = None;
        match (old, new) {
            (None, Some(_)) => self.line(&format!("{heading}: new")),
            (Some(_), None) => self.line(&format!("{heading}: gone")),
            _ => self.heading = Some(heading),
        }
    }

    fn line(&mut self, text: &str) {
        if let Some(heading) = self.heading.take() {
            let _ = writeln!(self.out, "{heading}");
        }
        let _ = writeln!(self.out, "{text}");
    }

    fn change<T: PartialEq>(&mut self, name: &str, before: &T, after: &T, show: impl Fn(&T) -> String) {
        if before != after {
            self.line(&format!("  {name} {} -> {}", show(before), show(after)));
        }
    }
}

fn picture(before: &ChosenCheckpoint, after: &ChosenCheckpoint, state: &StateDiff) -> String {
    let (old, new) = (&before.manifest, &after.manifest);
    let name = |chosen: &ChosenCheckpoint| text::heading(&chosen.which, chosen.manifest.epoch);
    let title = format!("from {} to {} of job `{}`", name(before), name(after), new.job);
    let mut lines = Lines::default();
    lines.change("workers", &old.workers, &new.workers, u32::to_string);
    lines.change("topology", &old.topology, &new.topology, ToString::to_string);
    lines.change("finished", &old.finished, &new.finished, |finished| if *finished { "yes" } else { "no" }.to_owned());
    for (old, new) in paired(&old.sources, &new.sources, |s| s.name.as_str()) {
        source(&mut lines, old, new);
    }
    let operators = paired(&old.operators, &new.operators, |o| o.name.as_str());
    for ((old, new), diff) in operators.into_iter().zip(&state.operators) {
        operator(&mut lines, old, new, diff);
    }
    for (old, new) in paired(&old.sinks, &new.sinks, |s| s.name.as_str()) {
        sink(&mut lines, old, new);
    }
    if lines.out.is_empty() { format!("{title}: no difference\n") } else { format!("{title}\n{}", lines.out) }
}

fn source(lines: &mut Lines, old: Option<&SourceState>, new: Option<&SourceState>) {
    lines.begin(format!("source `{}`", plain(new.or(old).map_or("", |s| &s.name))), old, new);
    if let (Some(old), Some(new)) = (old, new) {
        lines.change("rows", &old.rows, &new.rows, |rows| thousands(*rows));
        lines.change("refused rows", &old.rejected, &new.rejected, |rows| thousands(*rows));
    }
    for (old, new) in moved_splits(old, new) {
        let split = plain(new.or(old).map_or("", |s| &s.split));
        let place = |s: &SplitPosition| format!("{} of instance {}", plain(&s.position), s.instance);
        match (old, new) {
            (Some(old), Some(new)) if old.instance == new.instance => {
                lines.line(&format!("  split {split}: {} -> {}", plain(&old.position), plain(&new.position)));
            }
            (Some(old), Some(new)) => lines.line(&format!("  split {split}: {} -> {}", place(old), place(new))),
            (None, Some(new)) => lines.line(&format!("  split {split}: new, {}", place(new))),
            (Some(old), None) => lines.line(&format!("  split {split}: gone, was {}", place(old))),
            (None, None) => {}
        }
    }
}

fn operator(lines: &mut Lines, old: Option<&OperatorState>, new: Option<&OperatorState>, diff: &OperatorDiff) {
    lines.begin(format!("operator `{}`", plain(&diff.name)), old, new);
    if let (Some(old), Some(new)) = (old, new) {
        let ((rows, rejected), (rows_now, rejected_now)) = (totals(old), totals(new));
        lines.change("component", &old.component, &new.component, ToString::to_string);
        lines.change("rows", &rows, &rows_now, |rows| thousands(*rows));
        lines.change("refused rows", &rejected, &rejected_now, |rows| thousands(*rows));
        let [parked, parked_now] = [old, new].map(|operator| ParkedSummary::of_operator(operator).rows);
        lines.change("parked rows", &parked, &parked_now, |rows| thousands(*rows));
    }
    for slot in diff.slots.iter().filter(|slot| slot.differs()) {
        slot_lines(lines, slot);
    }
}

fn slot_lines(lines: &mut Lines, slot: &SlotDiff) {
    let name = plain(slot.after.as_ref().or(slot.before.as_ref()).map_or("", |s| &s.name));
    let kind = |slot: &Slot| format!("{}, version {}, {}", word(slot.kind), slot.version, word(slot.encoding));
    match (&slot.before, &slot.after) {
        (Some(old), Some(new)) if old != new => lines.line(&format!("  slot `{name}`: {} -> {}", kind(old), kind(new))),
        (None, Some(new)) => lines.line(&format!("  slot `{name}`: new, {}", kind(new))),
        (Some(old), None) => lines.line(&format!("  slot `{name}`: gone, was {}", kind(old))),
        _ => {}
    }
    let tally = |tally: Tally| format!("{} ({})", thousands(tally.cells), bytes(tally.bytes));
    let changed =
        format!("{} ({} -> {})", thousands(slot.changed_after.cells), bytes(slot.changed_before.bytes), bytes(slot.changed_after.bytes));
    let (added, removed, same) = (tally(slot.added), tally(slot.removed), tally(slot.same));
    lines.line(&format!("  slot `{name}`: cells added {added}, removed {removed}, changed {changed}, the same {same}"));
    for change in &slot.cells {
        let encoding = |slot: &Option<Slot>| slot.as_ref().map_or(Encoding::Bytes, |s| s.encoding);
        let old = change.before.as_ref().map(|held| text::value(encoding(&slot.before), &held.value));
        let new = change.after.as_ref().map(|held| text::value(encoding(&slot.after), &held.value));
        let place = text::place(&change.place);
        lines.line(&match (old, new) {
            (Some(old), Some(new)) => format!("    ~ {place} = {old} -> {new}"),
            (Some(old), None) => format!("    - {place} = {old}"),
            (None, new) => format!("    + {place} = {}", new.unwrap_or_default()),
        });
    }
    let differing = slot.added.cells + slot.removed.cells + slot.changed_after.cells;
    let more = differing - slot.cells.len() as u64;
    if more > 0 && !slot.cells.is_empty() {
        lines.line(&format!("    {} more; `--cells` shows more", thousands(more)));
    }
}

fn sink(lines: &mut Lines, old: Option<&SinkState>, new: Option<&SinkState>) {
    lines.begin(format!("sink `{}`", plain(new.or(old).map_or("", |s| &s.name))), old, new);
    if let (Some(old), Some(new)) = (old, new) {
        lines.change("rows", &old.rows, &new.rows, |rows| thousands(*rows));
        lines.change("outputs not known to be published", &old.staged.len(), &new.staged.len(), usize::to_string);
    }
}
