//! `reprise checkpoint show`: everything that a manifest says.

use crate::cli::figures::{bytes, parked_text};
use crate::cli::site::{CommandFailure, Where, which_json};
use crate::cli::text::thousands;
use crate::cli::text::{self, count, plain, time, watermark, word};
use crate::job::survey::{ChosenCheckpoint, Summary};
use reprise_core::checkpoint::manifest::{Hop, ParkedRef};
use reprise_core::checkpoint::manifest::{ObjectRef, OperatorState, SinkState, SourceState};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

pub(super) fn show(words: &[String], place: &Where) -> Result<ExitCode, CommandFailure> {
    let rest = place.rest(words, 1, 1)?;
    let opened = place.open(words)?;
    let chosen = opened.choose(&rest[0])?;
    let root = opened.store.root();
    text::put_as(place.json, || manifest_json(&chosen, &root), || picture(&chosen, &root));
    Ok(ExitCode::SUCCESS)
}

fn manifest_json(chosen: &ChosenCheckpoint, root: &str) -> Value {
    let manifest = &chosen.manifest;
    let mut json = json!({
        "job": manifest.job, "store": root, "path": chosen.which.path(),
        "generation": manifest.generation, "writer": format!("{:016x}", manifest.writer), "parent": manifest.parent,
        "written_ms": manifest.written_ms, "topology": manifest.topology.to_string(), "workers": manifest.workers,
        "finished": manifest.finished, "taken_over": manifest.taken_over,
        "sources": manifest.sources.iter().map(source_json).collect::<Vec<_>>(),
        "operators": manifest.operators.iter().map(operator_json).collect::<Vec<_>>(),
        "sinks": manifest.sinks.iter().map(|s| json!({ "name": s.name, "rows": s.rows, "staged": s.staged })).collect::<Vec<_>>(),
    });
    text::extend(&mut json, which_json(&chosen.which, Some(manifest.epoch.0)));
    json
}

fn source_json(source: &SourceState) -> Value {
    json!({
        "name": source.name, "rows": source.rows, "rejected": source.rejected, "splits": source.splits,
        "quarantine": objects_json(&source.quarantine),
    })
}

fn operator_json(operator: &OperatorState) -> Value {
    let instances = operator.instances.iter().map(|instance| {
        json!({
            "watermark": (instance.watermark != i64::MIN).then_some(instance.watermark),
            "rows": instance.rows, "rejected": instance.rejected,
            "chain": objects_json(&instance.chain), "quarantine": objects_json(&instance.quarantine),
            "parked": instance.parked.iter().map(parked_ref_json).collect::<Vec<_>>(),
        })
    });
    json!({
        "name": operator.name, "component": operator.component.to_string(), "slots": operator.slots,
        "instances": instances.collect::<Vec<_>>(),
    })
}

fn objects_json(objects: &[ObjectRef]) -> Vec<Value> {
    let object = |object: &ObjectRef| {
        let ObjectRef { path, scope, bytes, checksum, entries } = object;
        json!({ "path": path, "scope": scope, "bytes": bytes, "checksum": format!("{checksum:016x}"), "entries": entries })
    };
    objects.iter().map(object).collect()
}

fn parked_ref_json(parked: &ParkedRef) -> Value {
    let ParkedRef { object, hops, done, rows, bytes, since_ms } = parked;
    let hop = |hop: &Hop| json!({ "done": hop.done, "from": hop.from, "to": hop.to, "of": hop.of });
    json!({
        "path": object.path, "bytes": object.bytes, "checksum": format!("{:016x}", object.checksum), "entries": object.entries,
        "done": done, "rows": rows, "rows_bytes": bytes, "since_ms": since_ms, "hops": hops.iter().map(hop).collect::<Vec<_>>(),
    })
}

fn picture(chosen: &ChosenCheckpoint, root: &str) -> String {
    let manifest = &chosen.manifest;
    let mut out = format!("{} of job `{}`\n", text::heading(&chosen.which, manifest.epoch), manifest.job);
    let mut line = |name: &str, text: String| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "  {name:<9} {text}");
    };
    line("object", format!("{root}/{}", chosen.which.path()));
    line("written", format!("{}, by run {}, writer {:016x}", time(manifest.written_ms), manifest.generation, manifest.writer));
    line("parent", manifest.parent.map_or("none".to_owned(), |parent| format!("checkpoint {parent}")));
    line("topology", manifest.topology.to_string());
    line("workers", manifest.workers.to_string());
    let summary = Summary::of(manifest);
    line("state", format!("{} in {}", bytes(summary.state_bytes), count(summary.objects as u64, "snapshot")));
    if summary.parked.objects > 0 {
        line("parked", parked_text(&summary.parked));
    }
    if manifest.finished {
        line("finished", "the input had ended and everything was worked off".to_owned());
    }
    if manifest.taken_over {
        line("taken over", "written at the start of a run, with the state of its parent".to_owned());
    }
    manifest.sources.iter().for_each(|source| write_source(&mut out, source));
    manifest.operators.iter().for_each(|operator| write_operator(&mut out, operator));
    manifest.sinks.iter().for_each(|sink| write_sink(&mut out, sink));
    out
}

fn write_source(out: &mut String, source: &SourceState) {
    let _ = writeln!(out, "source `{}`: {} read, {} refused", plain(&source.name), count(source.rows, "row"), thousands(source.rejected));
    for split in &source.splits {
        let _ = writeln!(out, "  split {} of instance {}: {}", plain(&split.split), split.instance, plain(&split.position));
    }
    write_quarantine(out, "  ", &source.quarantine);
}

fn write_operator(out: &mut String, operator: &OperatorState) {
    let _ = writeln!(out, "operator `{}`: component {}", plain(&operator.name), operator.component);
    for slot in &operator.slots {
        let _ = writeln!(out, "  slot `{}`: {}, version {}, {}", plain(&slot.name), word(slot.kind), slot.version, word(slot.encoding));
    }
    for (index, instance) in operator.instances.iter().enumerate() {
        let (rows, rejected) = (count(instance.rows, "row"), thousands(instance.rejected));
        let _ = writeln!(out, "  instance {index}: {rows}, {rejected} refused, watermark {}", watermark(instance.watermark));
        for object in &instance.chain {
            let cells = count(object.entries, "cell");
            let (scope, size) = (word(object.scope), bytes(object.bytes));
            let _ = writeln!(out, "    {} ({scope}, {size}, {cells}, checksum {:016x})", plain(&object.path), object.checksum);
        }
        for ParkedRef { object, done, rows, bytes: size, since_ms, .. } in &instance.parked {
            let (path, rows, size, since) = (plain(&object.path), count(*rows, "row"), bytes(*size), time(*since_ms));
            let (done, checksum) = (thousands(*done), object.checksum);
            let _ = writeln!(out, "    parked: {path} ({rows}, {size}, since {since}, done {done}, checksum {checksum:016x})");
        }
        write_quarantine(out, "    ", &instance.quarantine);
    }
}

fn write_sink(out: &mut String, sink: &SinkState) {
    let _ = writeln!(out, "sink `{}`: {} written", plain(&sink.name), count(sink.rows, "row"));
    for staged in &sink.staged {
        let (rows, size) = (count(staged.rows, "row"), bytes(staged.bytes));
        let _ = writeln!(out, "  not known to be published: {} of epoch {} ({rows}, {size})", plain(&staged.token), staged.epoch);
    }
}

fn write_quarantine(out: &mut String, indent: &str, objects: &[ObjectRef]) {
    for object in objects {
        let (rows, size) = (count(object.entries, "row"), bytes(object.bytes));
        let _ = writeln!(out, "{indent}refused rows: {} ({rows}, {size}, checksum {:016x})", plain(&object.path), object.checksum);
    }
}
