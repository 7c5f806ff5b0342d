//! Topology + descriptions -> plan: names of outputs become port numbers, inputs find their places, keyed state gets its key exchange.
//!
//! A [`Plan`] is what the engine builds, edge by edge; it can be drawn (`Plan::render`) before anything runs.

use super::model::{Exchange, Input, Operator, Topology};
use super::problem::{Problem, quote, sorted};
use super::suggest::nearest;
use crate::codec::parked::ParkedEdge;
use crate::description::{Description, SlotKind};
use std::collections::{BTreeMap, BTreeSet};

/// A node, by its place in the list of its kind in the [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// Of `Topology::sources`.
    Source(usize),
    /// Of `Topology::operators`.
    Operator(usize),
    /// Of `Topology::sinks`.
    Sink(usize),
}

/// An edge: rows that go from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Where rows come from.
    pub from: Node,
    /// Which output of it; 0 for a source.
    pub port: u32,
    /// Where they go.
    pub to: Node,
    /// Which input of it; 0 for a sink. Several edges may lead to one input, which merges them.
    pub input: u32,
    /// How they get from instance to instance.
    pub exchange: Exchange,
    /// Where they stay on their worker and that has several instances: for which of these they are, counted from 0. `None`: there is one.
    pub place: Option<u32>,
}

/// The plan of a job: a topology that fits its components. It has no circles, and every node but sinks and operators without outputs is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The topology.
    pub topology: Topology,
    /// What each operator is, in the order of `topology.operators`.
    pub descriptions: Vec<Description>,
    /// Every node once, after all that it reads; sources first, and otherwise in the order of the file.
    pub order: Vec<Node>,
    /// In the order of the file: operators' inputs, then sinks' inputs.
    pub edges: Vec<Edge>,
}

impl Plan {
    /// The edges to the instances of a node at this place on their worker, counted from 0.
    pub fn edges_to(&self, node: Node, place: u32) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.to == node && edge.place.is_none_or(|of| of == place))
    }

    /// The name of a node.
    #[must_use]
    pub fn name(&self, node: Node) -> &str {
        let topology = &self.topology;
        let found = match node {
            Node::Source(number) => topology.sources.get(number).map(|source| &source.name),
            Node::Operator(number) => topology.operators.get(number).map(|operator| &operator.name),
            Node::Sink(number) => topology.sinks.get(number).map(|sink| &sink.name),
        };
        found.map_or("?", String::as_str)
    }

    /// What parked rows tell of an edge to an operator.
    #[must_use]
    pub fn parked_edge(&self, edge: &Edge) -> ParkedEdge {
        let input = match edge.to {
            Node::Operator(place) => self.descriptions.get(place).and_then(|description| description.inputs.get(edge.input as usize)),
            Node::Source(_) | Node::Sink(_) => None,
        };
        ParkedEdge { from: self.name(edge.from).to_owned(), port: edge.port, input: input.cloned().unwrap_or_default() }
    }

    /// The places of the sources that the rows of a node come from.
    #[must_use]
    pub fn sources_of(&self, node: Node) -> Vec<usize> {
        let (mut seen, mut open) = (BTreeSet::from([node]), vec![node]);
        while let Some(node) = open.pop() {
            open.extend(self.edges.iter().filter(|edge| edge.to == node).map(|edge| edge.from).filter(|from| seen.insert(*from)));
        }
        seen.into_iter().filter_map(|node| if let Node::Source(place) = node { Some(place) } else { None }).collect()
    }
}

/// Fits a topology to what its components say of themselves.
///
/// `descriptions[i]` belongs to `topology.operators[i]`; `None` (or nothing at all) stands for a component that could not be loaded. Why
/// is for the caller to report; nothing that depends on it is complained about here.
///
/// # Errors
/// Every mistake that can be seen. The list is empty where the only fault is a component that could not be loaded.
pub fn plan(topology: Topology, descriptions: Vec<Option<Description>>) -> Result<Plan, Vec<Problem>> {
    let mut planner =
        Planner { topology: &topology, descriptions: &descriptions, nodes: names(&topology), problems: Vec::new(), edges: Vec::new() };
    for (number, operator) in topology.operators.iter().enumerate() {
        planner.add_operator(number, operator);
    }
    for (number, sink) in topology.sinks.iter().enumerate() {
        for input in &sink.inputs {
            planner.add_edge(input, Node::Sink(number), Some(0));
        }
    }
    planner.check_unread();
    planner.check_twice();
    let order = order(&topology, &planner.edges);
    let Planner { mut problems, edges, .. } = planner;
    let edges: Option<Vec<Edge>> = edges.into_iter().map(|found| found.edge()).collect();
    let count = topology.operators.len();
    let known: Vec<Description> = descriptions.into_iter().take(count).flatten().collect();
    if let (Some(edges), true, true) = (edges, problems.is_empty(), known.len() == count) {
        match order {
            Some(order) => return Ok(Plan { topology, descriptions: known, order, edges }),
            // A topology from `parse` has no circle; one that was made by hand may.
            None => problems.push(Problem { line: 1, column: 1, message: "rows would go round in a circle".to_owned(), help: None }),
        }
    }
    Err(sorted(problems))
}

fn names(topology: &Topology) -> BTreeMap<&str, Node> {
    let sources = topology.sources.iter().enumerate().map(|(number, source)| (source.name.as_str(), Node::Source(number)));
    let operators = topology.operators.iter().enumerate().map(|(number, operator)| (operator.name.as_str(), Node::Operator(number)));
    sources.chain(operators).collect()
}

/// An edge as far as it is known.
struct Found<'t> {
    written: &'t Input,
    from: Node,
    /// `None`: the component of `from` is not known, or has no such output.
    port: Option<u32>,
    to: Node,
    /// `None`: the component of `to` is not known, or has no such input.
    input: Option<u32>,
}

impl Found<'_> {
    fn edge(&self) -> Option<Edge> {
        let (port, input) = (self.port?, self.input?);
        Some(Edge { from: self.from, port, to: self.to, input, exchange: self.written.by, place: None })
    }
}

struct Planner<'t> {
    topology: &'t Topology,
    descriptions: &'t [Option<Description>],
    nodes: BTreeMap<&'t str, Node>,
    problems: Vec<Problem>,
    edges: Vec<Found<'t>>,
}

impl<'t> Planner<'t> {
    fn add(&mut self, (line, column): (usize, usize), message: String, help: Option<String>) {
        self.problems.push(Problem { line, column, message, help });
    }

    fn describe(&self, number: usize) -> Option<&'t Description> {
        self.descriptions.get(number)?.as_ref()
    }

    fn add_operator(&mut self, number: usize, operator: &'t Operator) {
        let Some(description) = self.describe(number) else {
            for input in &operator.inputs {
                self.add_edge(input, Node::Operator(number), None);
            }
            return;
        };
        let declared = description.inputs.len();
        // One input takes all that is read; several take one each.
        let fits = declared == 1 || declared == operator.inputs.len();
        if !fits {
            let place = operator.inputs.first().map_or((operator.line, 1), |input| (input.line, input.column));
            let names = description.inputs.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
            let name = quote(&operator.name);
            let message = format!("operator `{name}` has {declared} inputs ({names}), and `input` has {}", operator.inputs.len());
            self.add(place, message, Some(format!("give `input` one entry for each, in this order: {names}")));
        }
        for (index, input) in operator.inputs.iter().enumerate() {
            let place = if declared == 1 { Some(0) } else { u32::try_from(index).ok().filter(|_| fits) };
            self.add_edge(input, Node::Operator(number), place);
        }
        self.check_keyed(operator, description);
    }

    fn check_keyed(&mut self, operator: &'t Operator, description: &Description) {
        let Some(slot) = description.slots.iter().find(|slot| slot.kind == SlotKind::Keyed) else { return };
        for input in operator.inputs.iter().filter(|input| input.by != Exchange::Key) {
            let (name, slot) = (quote(&operator.name), quote(&slot.name));
            let message = format!(
                "operator `{name}` keeps state by key (slot `{slot}`), but this input is not exchanged by key: \
                 one key would have a state on several instances"
            );
            let from = quote(&written(input));
            self.add((input.line, input.column), message, Some(format!("write `{{ from = \"{from}\", by = \"key\" }}`")));
        }
    }

    fn add_edge(&mut self, input: &'t Input, to: Node, place: Option<u32>) {
        let Some(from) = self.nodes.get(input.from.as_str()).copied() else {
            // Not from `parse`, which refuses it.
            self.add((input.line, input.column), format!("nothing to read is named `{}`", quote(&input.from)), None);
            return;
        };
        let port = self.find_port(input, from);
        self.edges.push(Found { written: input, from, port, to, input: place });
    }

    fn find_port(&mut self, input: &Input, from: Node) -> Option<u32> {
        let Node::Operator(number) = from else { return Some(0) };
        let description = self.describe(number)?;
        let place = (input.line, input.column);
        let name = quote(&input.from);
        if description.outputs.is_empty() {
            self.add(place, format!("operator `{name}` has no outputs: nothing comes out of it"), Some("read something else".to_owned()));
            return None;
        }
        let Some(wanted) = &input.port else { return Some(0) };
        let found = description.outputs.iter().position(|port| port.name == *wanted);
        if found.is_none() {
            let names = || description.outputs.iter().map(|port| port.name.as_str());
            let help = match nearest(wanted, names()) {
                Some(near) => format!("did you mean \"{name}.{}\"?", quote(near)),
                None => format!("its outputs: {}", names().map(quote).collect::<Vec<_>>().join(", ")),
            };
            self.add(place, format!("operator `{name}` has no output `{}`", quote(wanted)), Some(help));
        }
        u32::try_from(found?).ok()
    }

    fn check_unread(&mut self) {
        let read: BTreeSet<Node> = self.edges.iter().map(|edge| edge.from).collect();
        for (number, operator) in self.topology.operators.iter().enumerate() {
            let speaks = self.describe(number).is_some_and(|description| !description.outputs.is_empty());
            if speaks && !read.contains(&Node::Operator(number)) {
                let name = quote(&operator.name);
                let help = Some(format!("read it with `input = \"{name}\"`, or remove it"));
                self.add((operator.line, 1), format!("nothing reads operator `{name}`, which has outputs"), help);
            }
        }
    }

    /// The same rows twice into one input are hardly ever meant, and would be counted twice.
    fn check_twice(&mut self) {
        let mut seen = BTreeSet::new();
        let twice: Vec<&Input> = self
            .edges
            .iter()
            .filter(|found| found.edge().is_some_and(|edge| !seen.insert((edge.from, edge.port, edge.to, edge.input))))
            .map(|found| found.written)
            .collect();
        for input in twice {
            let message = format!("`{}` is read twice by one input: every row would come twice", quote(&written(input)));
            self.add((input.line, input.column), message, Some("remove one".to_owned()));
        }
    }
}

/// An input as a topology file has it.
pub(super) fn written(input: &Input) -> String {
    match &input.port {
        Some(port) => format!("{}.{port}", input.from),
        None => input.from.clone(),
    }
}

/// Every node after all that it reads, the smallest first where there is a choice. `None`: there is a circle.
fn order(topology: &Topology, edges: &[Found<'_>]) -> Option<Vec<Node>> {
    let all = (0..topology.sources.len())
        .map(Node::Source)
        .chain((0..topology.operators.len()).map(Node::Operator))
        .chain((0..topology.sinks.len()).map(Node::Sink));
    let mut waiting: BTreeMap<Node, usize> = all.map(|node| (node, 0)).collect();
    let mut readers: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
    for edge in edges {
        *waiting.entry(edge.to).or_default() += 1;
        readers.entry(edge.from).or_default().push(edge.to);
    }
    let mut ready: BTreeSet<Node> = waiting.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(node) = ready.pop_first() {
        order.push(node);
        for reader in readers.remove(&node).unwrap_or_default() {
            let count = waiting.entry(reader).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                ready.insert(reader);
            }
        }
    }
    (order.len() == waiting.len()).then_some(order)
}
