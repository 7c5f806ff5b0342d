//! The graph of a draft: names, what reads from what, circles. Nothing here needs a component.

use super::model::{Exchange, Input};
use super::problem::{Problems, quote};
use super::suggest::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeKind {
    Source,
    Operator,
    Sink,
}

/// A node of the draft, as far as it could be read.
#[derive(Debug)]
pub(super) struct Vertex {
    pub kind: NodeKind,
    /// `None`: missing or unreadable.
    pub name: Option<String>,
    /// Where its name stands, or else the node.
    pub at: usize,
    /// The inputs, with the places of their `from` and their `by`.
    pub inputs: Vec<(Input, usize, usize)>,
    /// Some inputs are missing from the list, since they could not be read.
    pub inputs_broken: bool,
    /// A source without `key`.
    pub keyless: bool,
}

/// Checks names and wiring. `complete`: every node of the file is in the list.
pub(super) fn check_wiring(vertices: &[Vertex], complete: bool, problems: &mut Problems<'_>) {
    if complete {
        check_ends(vertices, problems);
    }
    let index = index_names(vertices, problems);
    let all_named = complete && vertices.iter().all(|vertex| vertex.name.is_some());
    let reads = resolve(vertices, &index, all_named, problems);
    check_unread(vertices, &reads, complete, problems);
    check_circles(vertices, &reads.edges, problems);
}

fn check_ends(vertices: &[Vertex], problems: &mut Problems<'_>) {
    let count = |kind| vertices.iter().filter(|vertex| vertex.kind == kind).count();
    if count(NodeKind::Source) == 0 {
        problems.add(0, "the topology has no source", Some("add a `[[source]]`: a job reads something".to_owned()));
    }
    if count(NodeKind::Sink) == 0 {
        problems.add(0, "the topology has no sink", Some("add a `[[sink]]`: a job writes something".to_owned()));
    }
}

fn index_names<'v>(vertices: &'v [Vertex], problems: &mut Problems<'_>) -> BTreeMap<&'v str, usize> {
    let mut index = BTreeMap::new();
    for (number, vertex) in vertices.iter().enumerate() {
        let Some(name) = vertex.name.as_deref() else { continue };
        match index.get(name).and_then(|first: &usize| vertices.get(*first)) {
            Some(first) => {
                let line = problems.places().find(first.at).0;
                let help = Some("sources, operators and sinks share one set of names".to_owned());
                problems.add(vertex.at, format!("the name `{}` is taken by line {line}", quote(name)), help);
            }
            None => _ = index.insert(name, number),
        }
    }
    index
}

/// Who reads whom, as far as it could be found out.
struct Reads {
    /// For each vertex, what it reads: the number of a vertex and the place of the `from`.
    edges: Vec<Vec<(usize, usize)>>,
    /// Vertices that something reads, or seems to mean.
    read: BTreeSet<usize>,
    /// Some `from` may mean any vertex.
    unclear: bool,
}

fn resolve(vertices: &[Vertex], index: &BTreeMap<&str, usize>, all_named: bool, problems: &mut Problems<'_>) -> Reads {
    let mut reads = Reads { edges: vec![Vec::new(); vertices.len()], read: BTreeSet::new(), unclear: false };
    let readable =
        || index.iter().filter(|(_, number)| vertices.get(**number).is_some_and(|v| v.kind != NodeKind::Sink)).map(|(name, _)| *name);
    for (reader, vertex) in vertices.iter().enumerate() {
        reads.unclear |= vertex.inputs_broken;
        for (input, from_at, by_at) in &vertex.inputs {
            let Some(&number) = index.get(input.from.as_str()) else {
                let near = if problems.is_full() { None } else { nearest(&input.from, readable()) };
                if let Some(near) = near {
                    reads.read.extend(index.get(near));
                } else {
                    reads.unclear = true;
                }
                // Without a near name, a node whose own name is missing may well be the one that is meant.
                if near.is_some() || all_named {
                    add_unknown(&input.from, *from_at, near, readable(), problems);
                }
                continue;
            };
            reads.read.insert(number);
            if let (Some(edges), Some(from)) = (reads.edges.get_mut(reader), vertices.get(number)) {
                edges.push((number, *from_at));
                check_read(input, from, (*from_at, *by_at), problems);
            }
        }
    }
    reads
}

fn add_unknown<'n>(from: &str, at: usize, near: Option<&str>, names: impl Iterator<Item = &'n str>, problems: &mut Problems<'_>) {
    const NAMES_SHOWN: usize = 12;
    let help = match near {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => {
            let names: Vec<&str> = names.take(NAMES_SHOWN + 1).collect();
            let more = if names.len() > NAMES_SHOWN { ", ..." } else { "" };
            let shown = names.iter().take(NAMES_SHOWN).map(|name| quote(name)).collect::<Vec<_>>().join(", ");
            (!names.is_empty()).then(|| format!("what can be read: {shown}{more}"))
        }
    };
    problems.add(at, format!("nothing is named `{}`", quote(from)), help);
}

/// Checks one input against the node that it reads.
fn check_read(input: &Input, from: &Vertex, (from_at, by_at): (usize, usize), problems: &mut Problems<'_>) {
    let name = quote(&input.from);
    match from.kind {
        NodeKind::Sink => {
            let help = Some("read what the sink reads".to_owned());
            problems.add(from_at, format!("`{name}` is a sink: nothing comes out of it"), help);
        }
        NodeKind::Source if input.port.is_some() => {
            problems.add(
                from_at,
                format!("`{name}` is a source: it has a single output, without a name"),
                Some(format!("write \"{name}\"")),
            );
        }
        NodeKind::Source if from.keyless && input.by == Exchange::Key => {
            let help = format!("give `{name}` a `key`, or put an operator between that sets keys");
            let message = format!("rows of `{name}` have no key, so `by = \"key\"` would send them all to one instance");
            problems.add(by_at, message, Some(help));
        }
        NodeKind::Source | NodeKind::Operator => {}
    }
}

/// Sources that no node reads. An operator may have no outputs, so operators wait for the plan.
fn check_unread(vertices: &[Vertex], reads: &Reads, complete: bool, problems: &mut Problems<'_>) {
    if reads.unclear || !complete {
        return;
    }
    for (number, vertex) in vertices.iter().enumerate() {
        if let (NodeKind::Source, Some(name), false) = (vertex.kind, &vertex.name, reads.read.contains(&number)) {
            let help = Some(format!("read it with `input = \"{}\"`, or remove it", quote(name)));
            problems.add(vertex.at, format!("nothing reads source `{}`", quote(name)), help);
        }
    }
}

/// Names of a circle that a message shows.
const CIRCLE_NAMES_MAX: usize = 16;

/// Reports a circle for every edge that closes one: a depth-first search along what is read, without recursion.
fn check_circles(vertices: &[Vertex], edges: &[Vec<(usize, usize)>], problems: &mut Problems<'_>) {
    let mut seen = vec![false; vertices.len()];
    // Where a vertex is on the path from the start of the search to here.
    let mut depth: Vec<Option<usize>> = vec![None; vertices.len()];
    for start in 0..vertices.len() {
        let mut path: Vec<(usize, std::slice::Iter<'_, (usize, usize)>)> = Vec::new();
        let mut enter = (!seen[start]).then_some(start);
        loop {
            if let Some(vertex) = enter.take() {
                seen[vertex] = true;
                depth[vertex] = Some(path.len());
                path.push((vertex, edges[vertex].iter()));
            }
            let Some((vertex, rest)) = path.last_mut() else { break };
            let vertex = *vertex;
            match rest.next() {
                None => {
                    depth[vertex] = None;
                    path.pop();
                }
                Some((from, at)) => match depth[*from] {
                    Some(first) => {
                        let circle = path[first..].iter().map(|(number, _)| *number);
                        add_circle(vertices, circle.collect(), *at, problems);
                    }
                    None => enter = (!seen[*from]).then_some(*from),
                },
            }
        }
    }
}

/// `circle` goes from readers to what they read, and its last vertex reads its first at `at`.
fn add_circle(vertices: &[Vertex], circle: Vec<usize>, at: usize, problems: &mut Problems<'_>) {
    let name = |number: &usize| vertices.get(*number).and_then(|v| v.name.as_deref()).map_or_else(|| "?".to_owned(), quote);
    // Rows go against the direction of the search.
    let mut path: Vec<String> = circle.iter().take(1).chain(circle.iter().rev()).take(CIRCLE_NAMES_MAX).map(name).collect();
    if circle.len() >= CIRCLE_NAMES_MAX {
        path.push("...".to_owned());
    }
    let help = Some("rows can only move forward: break the circle".to_owned());
    problems.add(at, format!("rows would go round in a circle: {}", path.join(" -> ")), help);
}
