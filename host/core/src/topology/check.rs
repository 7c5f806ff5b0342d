//! Draft -> topology: what the values mean, and whether they go together.
//!
//! After a problem a default stands in for the value, so that everything else is still looked at; nothing of it gets out, since any
//! problem at all refuses the file. A value that is broken already is not complained about twice.

use super::file::{Draft, DraftInputs, DraftOperator, DraftSink, DraftSource};
use super::model::{Checkpoint, Exchange, Input, NODES_MAX, Operator, Sink, Source, SourceKind, Topology};
use super::plan::written;
use super::problem::{Problems, quote};
use super::sink::{check_delivery, check_kind, check_shared_places, check_url};
use super::source::{STDIN, check_file, check_path};
use super::table::Given;
use super::wiring::{NodeKind, Vertex, check_wiring};
use super::word::check_word;
use crate::description::{NAME_BYTES_MAX, is_name};

/// Things that one node may read.
pub const READS_MAX: usize = 256;

/// Checks a draft. The result is good only where `problems` is still empty afterwards.
pub(super) fn check(draft: Draft, problems: &mut Problems<'_>) -> Option<Topology> {
    let nodes = draft.sources.len() + draft.operators.len() + draft.sinks.len();
    if nodes > NODES_MAX {
        problems.add(0, format!("the topology has {nodes} sources, operators and sinks; at most {NODES_MAX} are allowed"), None);
        return None;
    }
    let name = check_name(&draft.name, 0, ("the topology", "word-count"), problems).unwrap_or_default();
    let checkpoint = Checkpoint { store: check_store(&draft.store, problems), ..draft.checkpoint };
    let mut vertices = Vec::with_capacity(nodes);
    check_stdin(&draft, problems);
    check_shared_places(&draft, problems);
    let sources = draft.sources.iter().filter_map(|source| check_source(source, &mut vertices, problems)).collect();
    let operators = draft.operators.into_iter().map(|operator| check_operator(operator, &mut vertices, problems)).collect();
    let sinks = draft.sinks.iter().filter_map(|sink| check_sink(sink, &mut vertices, problems)).collect();
    check_wiring(&vertices, !draft.incomplete, problems);
    let Draft { flow, limits, quarantine, capsules, .. } = draft;
    Some(Topology { name, checkpoint, flow, limits, quarantine, capsules, sources, operators, sinks })
}

fn line_of(at: usize, problems: &Problems<'_>) -> usize {
    problems.places().find(at).0
}

/// A name, or `None` after a problem. `owner` says what bears it, and gives an example.
fn check_name(given: &Given<String>, owner_at: usize, owner: (&str, &str), problems: &mut Problems<'_>) -> Option<String> {
    match given {
        Given::Absent => {
            problems.add(owner_at, format!("{} has no `name`", owner.0), Some(format!("add `name = \"{}\"`", owner.1)));
            None
        }
        Given::Broken => None,
        Given::Is(name) => {
            if !is_name(&name.value) {
                let help = format!("lower-case letters, digits and hyphens, starting with a letter, at most {NAME_BYTES_MAX} bytes");
                problems.add(name.at, format!("\"{}\" is not a name", quote(&name.value)), Some(help));
            }
            // Kept even where it is refused: others may read from it by this very name.
            Some(name.value.clone())
        }
    }
}

fn check_store((given, owner_at): &(Given<String>, usize), problems: &mut Problems<'_>) -> String {
    let Some(store) = given.get() else {
        if given.is_absent() {
            let help = Some("add `store = \"file:./state\"` below `[checkpoint]`".to_owned());
            problems.add(*owner_at, "`checkpoint.store` is missing: there is nowhere to keep checkpoints", help);
        }
        return String::new();
    };
    let help = "write \"file:./state\", \"s3://bucket/prefix\", or \"memory:\" for a job that may forget";
    check_url(store, ("store", false), ("is not a store", help), problems);
    store.value.clone()
}

fn check_source(draft: &DraftSource, vertices: &mut Vec<Vertex>, problems: &mut Problems<'_>) -> Option<Source> {
    let name = check_name(&draft.name, draft.at, ("a source", "text"), problems);
    let kind = match &draft.file {
        Given::Absent => {
            let help = Some("add `file = { path = \"input/*.txt\", format = \"lines\" }`".to_owned());
            problems.add(draft.at, format!("{} does not say what to read", called("source", name.as_deref())), help);
            None
        }
        Given::Broken => None,
        Given::Is(file) => Some(check_file(&file.value, file.at, problems)),
    };
    let keyless = draft.file.get().is_some_and(|file| file.value.key.is_absent());
    let at = draft.name.get().map_or(draft.at, |name| name.at);
    vertices.push(Vertex { kind: NodeKind::Source, name: name.clone(), at, inputs: Vec::new(), inputs_broken: false, keyless });
    let line = line_of(draft.at, problems);
    kind.map(|file| Source { name: name.unwrap_or_default(), kind: SourceKind::File(file), line })
}

/// "operator `count`", or "an operator" where it has no name.
fn called(what: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{what} `{}`", quote(name)),
        None if what.starts_with('o') => format!("an {what}"),
        None => format!("a {what}"),
    }
}

fn check_operator(draft: DraftOperator, vertices: &mut Vec<Vertex>, problems: &mut Problems<'_>) -> Operator {
    let name = check_name(&draft.name, draft.at, ("an operator", "count"), problems);
    let owner = called("operator", name.as_deref());
    let absent = (draft.at, format!("{owner} has no `component`"));
    let component = check_path(&draft.component, ("component", "count.wasm"), absent, problems);
    let inputs = add_reader((NodeKind::Operator, &draft.name, draft.at), (name.clone(), &owner), &draft.inputs, vertices, problems);
    if draft.settings.parallelism > 1 {
        check_spread(vertices.last(), &owner, problems);
    }
    Operator { name: name.unwrap_or_default(), component, inputs, ..draft.settings }
}

/// Rows that stay on their worker belong to none of several instances there.
fn check_spread(operator: Option<&Vertex>, owner: &str, problems: &mut Problems<'_>) {
    for (input, _, by_at) in operator.into_iter().flat_map(|vertex| &vertex.inputs).filter(|(input, _, _)| input.by == Exchange::Stay) {
        let from = quote(&written(input));
        let message = format!(
            "{owner} has a `parallelism` over 1, so rows of `{from}` cannot stay on their worker, where it may have several instances"
        );
        let help = format!("write `{{ from = \"{from}\", by = \"key\" }}`, or `round-robin` or `all`");
        problems.add(*by_at, message, Some(help));
    }
}

/// Checks the inputs of an operator or a sink and adds it to the graph.
fn add_reader(
    (kind, given_name, node_at): (NodeKind, &Given<String>, usize),
    (name, owner): (Option<String>, &str),
    draft: &DraftInputs,
    vertices: &mut Vec<Vertex>,
    problems: &mut Problems<'_>,
) -> Vec<Input> {
    if draft.absent {
        problems.add(
            node_at,
            format!("{owner} reads nothing"),
            Some("add `input = \"NAME\"`, the name of a source or an operator".to_owned()),
        );
    }
    if draft.entries.len() > READS_MAX {
        problems.add(node_at, format!("{owner} reads {} things; at most {READS_MAX} are allowed", draft.entries.len()), None);
    }
    let mut inputs_broken = draft.absent || draft.broken || draft.entries.len() > READS_MAX;
    let mut inputs = Vec::new();
    for entry in draft.entries.iter().take(READS_MAX) {
        let by = check_word(&entry.by, "by", Exchange::Stay, problems);
        let (from, port) = match entry.from.value.split_once('.') {
            Some((from, port)) => (from, Some(port)),
            None => (entry.from.value.as_str(), None),
        };
        if from.is_empty() || port.is_some_and(|port| !is_name(port)) {
            let help = Some("write \"NAME\", or \"NAME.OUTPUT\" for a certain output of an operator".to_owned());
            problems.add(entry.from.at, format!("\"{}\" is nothing to read from", quote(&entry.from.value)), help);
            inputs_broken = true;
            continue;
        }
        let (line, column) = problems.places().find(entry.at);
        let input = Input { from: from.to_owned(), port: port.map(str::to_owned), by, line, column };
        inputs.push((input, entry.from.at, entry.by.get().map_or(entry.at, |by| by.at)));
    }
    let at = given_name.get().map_or(node_at, |name| name.at);
    vertices.push(Vertex { kind, name, at, inputs: inputs.clone(), inputs_broken, keyless: false });
    inputs.into_iter().map(|(input, _, _)| input).collect()
}

fn check_sink(draft: &DraftSink, vertices: &mut Vec<Vertex>, problems: &mut Problems<'_>) -> Option<Sink> {
    let name = check_name(&draft.name, draft.at, ("a sink", "counts"), problems);
    let owner = called("sink", name.as_deref());
    let inputs = add_reader((NodeKind::Sink, &draft.name, draft.at), (name.clone(), &owner), &draft.inputs, vertices, problems);
    let kind = check_kind(draft, &owner, problems);
    let delivery = check_delivery(draft, problems);
    let line = line_of(draft.at, problems);
    kind.map(|kind| Sink { name: name.unwrap_or_default(), inputs, kind, delivery, taken_back: draft.taken_back, line })
}

/// Standard input, which two sources cannot share.
fn check_stdin(draft: &Draft, problems: &mut Problems<'_>) {
    let stdin = draft.sources.iter().filter_map(|source| source.file.get()?.value.path.get()).filter(|path| path.value == STDIN);
    for path in stdin.skip(1) {
        let help = Some("let several operators read from the one source".to_owned());
        problems.add(path.at, "two sources read standard input", help);
    }
}
