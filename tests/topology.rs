//! Topology files against their golden texts: the plan of a good file, every problem of a bad one. And the reference in `docs/` against
//! the limits in the code.

use crate::golden;
use reprise_core::description::{Description, Encoding, Port, Slot, SlotKind};
use reprise_core::topology::{Exchange, Node, Plan, Problem, limits, parse, plan, render_quoted};
use std::collections::BTreeSet;

fn describe(name: &str, inputs: &[&str], outputs: &[&str], slots: &[(&str, SlotKind)]) -> Description {
    let port = |name: &&str| Port { name: (*name).to_owned(), key: Encoding::Utf8, value: Encoding::I64Le };
    let slot = |(name, kind): &(&str, SlotKind)| Slot { name: (*name).to_owned(), kind: *kind, version: 1, encoding: Encoding::I64Le };
    Description {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: outputs.iter().map(port).collect(),
        slots: slots.iter().map(slot).collect(),
    }
}

/// The components that the golden topologies may name. Any other cannot be loaded.
fn component(path: &str) -> Option<Description> {
    Some(match path {
        "split.wasm" => describe("Split", &["lines"], &["words"], &[]),
        "count.wasm" => describe("Count", &["words"], &["counts"], &[("count", SlotKind::Keyed)]),
        "join.wasm" => describe("Join", &["left", "right"], &["pairs"], &[("left", SlotKind::Keyed), ("right", SlotKind::Keyed)]),
        "route.wasm" => describe("Route", &["rows"], &["good", "bad"], &[("seen", SlotKind::Instance)]),
        "alert.wasm" => describe("Alert", &["rows"], &[], &[("rules", SlotKind::Broadcast)]),
        _ => return None,
    })
}

fn environment(name: &str) -> Option<String> {
    match name {
        "STORE" => Some("s3://bucket/jobs".to_owned()),
        "QUOTE" => Some("a\"\nname = \"b".to_owned()),
        _ => None,
    }
}

fn make(text: &str) -> Result<Plan, Vec<Problem>> {
    let topology = parse(text, &environment)?;
    let descriptions = topology.operators.iter().map(|operator| component(&operator.component)).collect();
    plan(topology, descriptions)
}

fn read(name: &str) -> String {
    let path = golden::path(&format!("topology/{name}.toml"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn names(extension: &str) -> BTreeSet<String> {
    let folder = golden::path("topology");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(extension).map(str::to_owned)).collect()
}

#[test]
fn every_golden_topology_gives_its_golden_text() {
    let files = names(".toml");
    assert!(files.len() >= 15, "only {} golden topologies were found", files.len());
    let mut differences = Vec::new();
    for name in &files {
        let text = read(name);
        let shown = match make(&text) {
            Ok(plan) => plan.render(2),
            Err(problems) => render_quoted(&problems, &format!("{name}.toml"), &text),
        };
        differences.extend(golden::compare(&format!("topology/{name}.expected"), &shown));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(names(".expected"), files, "golden texts without a topology, or the other way round");
}

#[test]
fn six_mistakes_are_all_reported_with_line_and_help() {
    let problems = make(&read("six-mistakes")).expect_err("it has mistakes");
    assert_eq!(problems.len(), 6, "{problems:#?}");
    let lines: BTreeSet<usize> = problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines.len(), 6, "each is on a line of its own");
    assert!(problems.iter().all(|problem| problem.line > 1 && problem.column > 0 && problem.help.is_some()));
}

#[test]
fn the_plan_of_the_word_count_is_wired_as_its_file_says() {
    let plan = make(&read("word-count")).expect("it is right");
    assert_eq!(plan.order, [Node::Source(0), Node::Operator(0), Node::Operator(1), Node::Sink(0)]);
    let wires: Vec<_> = plan.edges.iter().map(|edge| (edge.from, edge.port, edge.to, edge.input, edge.exchange)).collect();
    let expected = [
        (Node::Source(0), 0, Node::Operator(0), 0, Exchange::Stay),
        (Node::Operator(0), 0, Node::Operator(1), 0, Exchange::Key),
        (Node::Operator(1), 0, Node::Sink(0), 0, Exchange::Stay),
    ];
    assert_eq!(wires, expected);
    assert_eq!(plan.topology.operators[1].config, "{\"lowercase\":true}");
}

#[test]
fn the_example_of_the_reference_has_a_plan() {
    let reference = include_str!("../docs/topology.md");
    let example = reference.split("```").find_map(|block| block.strip_prefix("toml\n")).expect("the reference begins with an example");
    assert_eq!(make(example).expect("it is right").order.len(), 4);
}

#[test]
fn the_reference_names_every_limit_as_the_code_has_it() {
    let reference = include_str!("../docs/topology.md");
    let mut section = "";
    let mut rows = Vec::new();
    for line in reference.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title.trim();
        }
        if let Some(row) = line.strip_prefix("| `") {
            rows.push((section, row));
        }
    }
    for limit in limits() {
        let start = format!("{}` |", limit.key);
        let title = format!("`{}`", limit.table);
        let row = rows.iter().find(|(section, row)| section.starts_with(&title) && row.starts_with(&start));
        let (_, row) = row.unwrap_or_else(|| panic!("docs/topology.md has no row for {limit:?}"));
        for value in [&limit.default, &limit.min, &limit.max] {
            assert!(row.contains(value.as_str()), "docs/topology.md: `{}` in {title} does not say {value}: {row}", limit.key);
        }
    }
}
