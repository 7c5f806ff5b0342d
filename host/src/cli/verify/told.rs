//! The report on an operator, as text and as JSON.

use crate::cli::figures::bytes;
use crate::cli::text::thousands;
use crate::cli::text::{self, count, plain};
use crate::job::survey::decode;
use crate::verify::{Coverage, VerifyReport, VerifySettings};
use reprise_core::description::{Description, Encoding, Port, Slot};
use reprise_core::verify::{At, CellDifference, CheckedCall, Detail, Finding, OutputDifference, OwnedRow, Verdict};
use serde_json::{Value, json};

pub(super) fn picture(path: &str, report: &VerifyReport, settings: &VerifySettings) -> String {
    let VerifyReport { description, rows, coverage, verdicts, warnings } = report;
    let mut out = format!("{path}: operator `{}` {}\n", plain(&description.name), plain(&description.version));
    match coverage {
        Some(coverage) => out.push_str(&seen(rows, coverage, description)),
        None => out.push_str(&format!("  rows      {rows}\n")),
    }
    out.push_str(&format!("  seed      {}, {} a check\n", settings.seed, count(u64::from(settings.rounds), "round")));
    let line = |(check, verdict): &(reprise_core::verify::Check, Verdict)| {
        let (word, said) = match verdict {
            Verdict::Passed { .. } => ("passed", check.text().to_owned()),
            Verdict::Failed(_) => ("FAILED", check.text().to_owned()),
            Verdict::NotApplicable(why) => ("-", why.clone()),
        };
        vec![word.to_owned(), check.name().to_owned(), said]
    };
    out.push_str(&text::table(&verdicts.iter().map(line).collect::<Vec<_>>(), &[]));
    for (check, verdict) in verdicts {
        if let Verdict::Failed(finding) = verdict {
            out.push_str(&format!("\n{}: {}\n", check.name(), finding.cause.text()));
            out.push_str(&found(finding, description));
        }
    }
    warnings.iter().for_each(|warning| out.push_str(&format!("\nwarning: {warning}\n")));
    out
}

fn seen(rows: &str, coverage: &Coverage, description: &Description) -> String {
    let Coverage { rows: given, calls, emitted, refused, cells, memory_bytes } = coverage;
    let (given, calls, emitted) = (count(*given, "row"), count(*calls, "call"), count(*emitted, "row"));
    let mut out = format!("  rows      {rows}: {given} in {calls}; {emitted} came out, {} refused\n", thousands(*refused));
    for (slot, cells) in description.slots.iter().zip(cells) {
        out.push_str(&format!("  state     slot `{}`: up to {} at a time\n", plain(&slot.name), count(*cells, "cell")));
    }
    out.push_str(&format!("  memory    {}\n", bytes(*memory_bytes)));
    out
}

fn found(finding: &Finding, description: &Description) -> String {
    let at = finding.at.map_or_else(String::new, |at| format!("{}, ", call(at, description)));
    let mut out = format!("  {at}in round {}\n", finding.round + 1);
    for detail in &finding.details {
        let (what, expected, came) = evidence(detail, description);
        out.push_str(&format!("  {what}\n    expected  {expected}\n    came      {came}\n"));
    }
    finding.notes.iter().for_each(|note| out.push_str(&format!("  {}\n", note.lines().map(plain).collect::<Vec<_>>().join("\n  "))));
    out
}

/// The call at which a finding showed.
fn call(at: At, description: &Description) -> String {
    let number = thousands(at.number);
    match at.call {
        CheckedCall::Process { input, rows } => {
            let name = description.inputs.get(input as usize).map_or("?", String::as_str);
            format!("at call {number}, `process` of {} of input `{}`", count(rows as u64, "row"), plain(name))
        }
        CheckedCall::Advance(watermark) => format!("at call {number}, `advance` to {}", text::watermark(watermark)),
        CheckedCall::Snapshot => format!("in the snapshot after call {number}"),
        CheckedCall::Restore => format!("in the instance that was restored after call {number}"),
    }
}

/// The evidence of a finding: what differs, what was expected, what came.
fn evidence(detail: &Detail, description: &Description) -> (String, String, String) {
    match detail {
        Detail::Output(OutputDifference::Row { port, place, expected, came, .. }) => {
            let port = description.outputs.get(*port as usize);
            let name = port.map_or("?", |port| port.name.as_str());
            let show = |shown: &Option<OwnedRow>| shown.as_ref().map_or_else(|| "nothing".to_owned(), |shown| row(shown, port));
            (format!("row {} of output `{}`", place + 1, plain(name)), show(expected), show(came))
        }
        Detail::Output(OutputDifference::Rejected { row, expected, came }) => {
            let show = |why: &Option<String>| why.as_ref().map_or_else(|| "taken".to_owned(), |why| format!("refused: {}", plain(why)));
            (format!("row {} of those given", row + 1), show(expected), show(came))
        }
        Detail::Cell(cell) => {
            let slot = slot(cell, description);
            let show = |value: &Option<Vec<u8>>| match value {
                Some(value) => text::value(slot.map_or(Encoding::Bytes, |slot| slot.encoding), value),
                None => "no cell".to_owned(),
            };
            let item = if cell.item.is_empty() { String::new() } else { format!(" / {}", text::bytes(&cell.item)) };
            let name = slot.map_or("?", |slot| slot.name.as_str());
            let more = if cell.cells > 1 { format!("; {} more differ", thousands(cell.cells as u64 - 1)) } else { String::new() };
            (format!("slot `{}`, cell {}{item}{more}", plain(name), text::bytes(&cell.key)), show(&cell.expected), show(&cell.came))
        }
        Detail::Description { expected, came } => {
            let show = |description: &Description| plain(&serde_json::to_string(description).unwrap_or_default());
            ("the description".to_owned(), show(expected), show(came))
        }
    }
}

fn row(row: &OwnedRow, port: Option<&Port>) -> String {
    let encoding = |of: fn(&Port) -> Encoding| port.map_or(Encoding::Bytes, of);
    let (key, value) = (text::value(encoding(|port| port.key), &row.key), text::value(encoding(|port| port.value), &row.value));
    format!("{key} = {value} at {}", text::watermark(row.time))
}

fn slot<'a>(cell: &CellDifference, description: &'a Description) -> Option<&'a Slot> {
    description.slots.get(cell.slot as usize)
}

pub(super) fn json(path: &str, digest: &str, report: &VerifyReport, settings: &VerifySettings) -> Value {
    let VerifyReport { description, rows, coverage, verdicts, warnings } = report;
    let coverage = coverage.as_ref().map(|coverage| {
        let Coverage { rows, calls, emitted, refused, cells, memory_bytes } = coverage;
        json!({ "rows": rows, "calls": calls, "emitted": emitted, "refused": refused, "cells": cells, "memory_bytes": memory_bytes })
    });
    let checks = verdicts.iter().map(|(check, verdict)| {
        let (word, rounds, reason, finding) = match verdict {
            Verdict::Passed { rounds } => ("passed", Some(*rounds), None, None),
            Verdict::Failed(finding) => ("failed", Some(finding.round + 1), None, Some(finding_json(finding, description))),
            Verdict::NotApplicable(why) => ("not-applicable", None, Some(why), None),
        };
        json!({ "check": check.name(), "verdict": word, "rounds": rounds, "reason": reason, "finding": finding })
    });
    json!({
        "component": path, "digest": digest, "name": description.name, "version": description.version, "passed": report.failed() == 0,
        "seed": settings.seed, "rounds": settings.rounds, "rows": rows, "coverage": coverage, "warnings": warnings,
        "checks": checks.collect::<Vec<_>>(),
    })
}

fn finding_json(finding: &Finding, description: &Description) -> Value {
    let at = finding.at.map(|At { number, call }| match call {
        CheckedCall::Process { input, rows } => {
            json!({ "number": number, "call": "process", "input": description.inputs.get(input as usize), "rows": rows })
        }
        CheckedCall::Advance(watermark) => json!({ "number": number, "call": "advance", "watermark": watermark }),
        CheckedCall::Snapshot => json!({ "number": number, "call": "snapshot" }),
        CheckedCall::Restore => json!({ "number": number, "call": "restore" }),
    });
    let details: Vec<Value> = finding.details.iter().map(|detail| detail_json(detail, description)).collect();
    json!({
        "cause": finding.cause.name(), "text": finding.cause.text(), "round": finding.round, "at": at, "details": details,
        "notes": finding.notes,
    })
}

fn detail_json(detail: &Detail, description: &Description) -> Value {
    match detail {
        Detail::Output(OutputDifference::Row { port, place, expected, came, is_order }) => {
            let port = description.outputs.get(*port as usize);
            let of = |of: fn(&Port) -> Encoding| port.map_or(Encoding::Bytes, of);
            let (key, value) = (of(|port| port.key), of(|port| port.value));
            let show =
                |shown: &OwnedRow| json!({ "time": shown.time, "key": decoded(key, &shown.key), "value": decoded(value, &shown.value) });
            json!({
                "of": "row", "output": port.map(|port| &port.name), "place": place, "only_order": is_order,
                "expected": expected.as_ref().map(show), "came": came.as_ref().map(show),
            })
        }
        Detail::Output(OutputDifference::Rejected { row, expected, came }) => {
            json!({ "of": "refused", "row": row, "expected": expected, "came": came })
        }
        Detail::Cell(cell) => {
            let slot = slot(cell, description);
            let encoding = slot.map_or(Encoding::Bytes, |slot| slot.encoding);
            let show = |value: &Option<Vec<u8>>| value.as_ref().map(|value| decoded(encoding, value));
            json!({
                "of": "cell", "slot": slot.map(|slot| &slot.name), "key": decoded(Encoding::Bytes, &cell.key),
                "item": decoded(Encoding::Bytes, &cell.item), "expected": show(&cell.expected), "came": show(&cell.came), "cells": cell.cells,
            })
        }
        Detail::Description { expected, came } => json!({ "of": "description", "expected": expected, "came": came }),
    }
}

/// The JSON of bytes, by their encoding.
fn decoded(encoding: Encoding, bytes: &[u8]) -> Value {
    let json = decode::value(encoding, bytes).json;
    serde_json::from_str(&json).unwrap_or(Value::String(json))
}
