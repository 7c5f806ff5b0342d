//! A plan as text: for people (`Plan::render`), and in a form that stands for what matters to state (`Topology::digest_text`).

use super::allowance::JobLimits;
use super::model::{
    Checkpoint, Compression, Delivery, Exchange, Field, FileSource, Input, OnLost, Open, Operator, Sink, SinkKind, SourceFormat,
    SourceKind, Then, TimeField, Topology,
};
use super::plan::{Edge, Node, Plan};
use super::problem::quote;
use super::quantity::{show_count, show_duration, show_size};
use super::source::STDIN;
use crate::description::{Description, Encoding, SlotKind};

/// Version of the form of [`Topology::digest_text`].
const DIGEST_VERSION: u32 = 1;
/// Width of the words before a line of a node.
const LABEL_WIDTH: usize = 8;

impl Topology {
    /// What a checkpoint of this topology depends on, as text to be hashed: the job's name, and of each node its name, its kind and what
    /// it reads, in which order, and how.
    ///
    /// Paths, formats, components, `config` and limits are left out: they may change between two runs of one job. So is the order of nodes
    /// in the file.
    #[must_use]
    pub fn digest_text(&self) -> String {
        let reads = |inputs: &[Input]| inputs.iter().map(|input| format!(" {}/{}", read_name(input), input.by.word())).collect::<String>();
        let sources = self.sources.iter().map(|source| {
            let SourceKind::File(_) = &source.kind;
            format!("source {} file\n", source.name)
        });
        let operators = self.operators.iter().map(|operator| format!("operator {}{}\n", operator.name, reads(&operator.inputs)));
        let sinks = self.sinks.iter().map(|sink| format!("sink {} {}{}\n", sink.name, sink_word(&sink.kind), reads(&sink.inputs)));
        let mut nodes: Vec<String> = sources.chain(operators).chain(sinks).collect();
        nodes.sort();
        format!("topology {DIGEST_VERSION}\njob {}\n{}", self.name, nodes.concat())
    }
}

fn read_name(input: &Input) -> String {
    format!("{}{}", input.from, input.port.as_ref().map(|port| format!(".{port}")).unwrap_or_default())
}

fn sink_word(kind: &SinkKind) -> &'static str {
    match kind {
        SinkKind::File(_) => "file",
        SinkKind::Objects(_) => "objects",
        SinkKind::Stdout(_) => "stdout",
    }
}

impl Plan {
    /// The plan as a readable picture: the nodes in order, under each what it reads, its outputs, its state and its limits.
    #[must_use]
    pub fn render(&self, workers: usize) -> String {
        let Topology { name, checkpoint, flow, limits, .. } = &self.topology;
        let mut out = format!("job {name}: {}\n\n", plural(workers, "worker"));
        for node in &self.order {
            self.render_node(&mut out, *node, workers);
            out.push('\n');
        }
        out.push_str("checkpoints\n");
        line(&mut out, "store", &quote(&checkpoint.store));
        let retained = format!("every {}, the last {} are kept", show_duration(checkpoint.interval), checkpoint.keep);
        line(&mut out, "when", &retained);
        render_limits(&mut out, checkpoint);
        out.push_str("\nin flight\n");
        let (steps, bytes) = (plural(flow.steps_ahead_max as usize, "step"), show_size(flow.bytes_ahead_max));
        line(&mut out, "ahead", &format!("{steps} and {bytes} for each source instance"));
        line(&mut out, "batch", &format!("{} rows, {}", show_count(flow.batch_rows_max.into()), show_size(flow.batch_bytes_max)));
        if *limits != JobLimits::default() {
            out.push_str("\nguests\n");
            line(&mut out, "stack", &show_size(limits.stack_bytes_max));
        }
        out
    }

    fn render_node(&self, out: &mut String, node: Node, workers: usize) {
        let name = self.name(node);
        let instances = plural(workers, "instance");
        match node {
            Node::Source(number) => {
                let Some(SourceKind::File(file)) = self.topology.sources.get(number).map(|source| &source.kind) else { return };
                let instances = if file.path == STDIN { plural(1, "instance") } else { instances };
                out.push_str(&format!("source {name}: {instances}\n"));
                render_file(out, file);
            }
            Node::Operator(number) => {
                if let (Some(operator), Some(description)) = (self.topology.operators.get(number), self.descriptions.get(number)) {
                    out.push_str(&format!("operator {name}: {}\n", instances_text(operator, workers)));
                    self.render_operator(out, node, operator, description);
                }
            }
            Node::Sink(number) => {
                out.push_str(&format!("sink {name}: {instances}\n"));
                if let Some(sink) = self.topology.sinks.get(number) {
                    self.render_reads(out, node, None);
                    render_sink(out, sink);
                }
            }
        }
    }

    fn render_reads(&self, out: &mut String, node: Node, inputs: Option<&[String]>) {
        for edge in self.edges.iter().filter(|edge| edge.to == node) {
            let into =
                inputs.and_then(|names| names.get(edge.input as usize)).map(|name| format!(" into {}", quote(name))).unwrap_or_default();
            line(out, "reads", &format!("{}{into}, {}", self.port_name(edge), exchange_text(edge.exchange)));
        }
    }

    fn port_name(&self, edge: &Edge) -> String {
        let name = self.name(edge.from);
        let Node::Operator(number) = edge.from else { return name.to_owned() };
        let port = self.descriptions.get(number).and_then(|description| description.outputs.get(edge.port as usize));
        port.map_or_else(|| name.to_owned(), |port| format!("{name}.{}", quote(&port.name)))
    }

    fn render_operator(&self, out: &mut String, node: Node, operator: &Operator, description: &Description) {
        let Description { name, version, outputs, slots, inputs } = description;
        line(out, "runs", &format!("{} ({} {})", quote(&operator.component), quote(name), quote(version)));
        self.render_reads(out, node, Some(inputs));
        for port in outputs {
            line(out, "writes", &format!("{}: key {}, value {}", quote(&port.name), encoding_word(port.key), encoding_word(port.value)));
        }
        for slot in slots {
            let kind = match slot.kind {
                SlotKind::Keyed => "by key",
                SlotKind::Instance => "by instance",
                SlotKind::Broadcast => "the same everywhere",
            };
            line(out, "state", &format!("{}: {kind}, {}, version {}", quote(&slot.name), encoding_word(slot.encoding), slot.version));
        }
        let (memory, deadline, output) =
            (show_size(operator.memory_bytes_max), show_duration(operator.deadline), show_size(operator.output_bytes_max));
        line(out, "limits", &format!("memory {memory}, {deadline} and {output} of output for one call"));
        let further = operator.limits.shown();
        if !further.is_empty() {
            line(out, "limits", &further.join(", "));
        }
        if operator.fuel {
            line(out, "fuel", "its instructions are counted, which slows it down");
        }
        render_recovery(out, operator, !slots.is_empty());
        for text in operator.grant.texts() {
            line(out, "granted", &text);
        }
    }
}

fn render_recovery(out: &mut String, operator: &Operator, has_state: bool) {
    if has_state {
        let (within, log, copy) =
            (show_duration(operator.recover_within), show_size(operator.replay_log_bytes_max), show_size(operator.snapshot_copy_bytes_max));
        line(out, "recovery", &format!("within {within}, from up to {copy} of snapshot and {log} of input held in memory"));
        if operator.standby {
            let twice = show_size(operator.memory_bytes_max.saturating_mul(2));
            line(out, "standby", &format!("a second instance beside each: up to {twice} of memory for both"));
        }
    }
    let failure = &operator.on_failure;
    let (min, max) = (show_duration(failure.backoff_min), show_duration(failure.backoff_max));
    let then = match failure.then {
        Then::Quarantine => "put the row into quarantine",
        Then::Pause => "pause the operator",
        Then::Stop => "stop the job",
    };
    let text = match failure.retries {
        0 => then.to_owned(),
        number => format!("{} after {min} to {max}, then {then}", retries(number)),
    };
    line(out, "failure", &text);
    let open = match failure.open {
        Open::Pause => format!("pause the operator for {} or more", show_duration(failure.pause)),
        Open::Stop => "stop the job".to_owned(),
    };
    line(out, "parked", &format!("up to {} of input while it is paused or slow", show_size(operator.park_bytes_max)));
    let (faults, rejections, window) = (failure.faults_max, failure.rejections_max, show_duration(failure.window));
    line(out, "faults", &format!("over {faults}, or {rejections} rejected rows, in {window}: {open}"));
}

fn render_limits(out: &mut String, checkpoint: &Checkpoint) {
    let (chain, part) = (plural(checkpoint.chain_length_max as usize, "delta"), show_size(checkpoint.part_bytes_max));
    let chain = format!("{chain} or {} after a full snapshot", show_size(checkpoint.chain_bytes_max));
    let epochs = plural(checkpoint.epochs_in_flight_max as usize, "epoch");
    line(out, "limits", &format!("{chain}, {epochs} in flight, parts of {part}"));
    let again = match checkpoint.retries {
        0 => retries(0),
        number => {
            format!("{} after {} to {}", retries(number), show_duration(checkpoint.backoff_min), show_duration(checkpoint.backoff_max))
        }
    };
    line(out, "storage", &format!("{} for one call, {again}", show_duration(checkpoint.timeout)));
    let (bytes, outage) = (show_size(checkpoint.uncheckpointed_bytes_max), show_duration(checkpoint.outage_max));
    let stop = if checkpoint.outage_max.is_zero() { "the job stops at once".to_owned() } else { format!("the job stops after {outage}") };
    line(out, "outage", &format!("sources pause after {bytes}, {stop}"));
    line(out, "slow", &format!("what waits for an operator over {} is parked", show_duration(checkpoint.align_max)));
    line(out, "requests", &format!("looked for every {}", show_duration(checkpoint.savepoint_poll)));
}

fn line(out: &mut String, label: &str, text: &str) {
    out.push_str(&format!("  {label:<LABEL_WIDTH$} {text}\n"));
}

fn plural(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// How many instances an operator has, and how many of them each worker runs where that is more than one.
fn instances_text(operator: &Operator, workers: usize) -> String {
    let all = operator.instances(u32::try_from(workers).unwrap_or(u32::MAX)) as usize;
    let each = match all / workers.max(1) {
        1 => String::new(),
        each => format!(", {each} on each worker"),
    };
    format!("{}{each}", plural(all, "instance"))
}

fn retries(number: u32) -> String {
    if number == 1 { "1 retry".to_owned() } else { format!("{number} retries") }
}

fn exchange_text(exchange: Exchange) -> &'static str {
    match exchange {
        Exchange::Stay => "on the same worker",
        Exchange::Key => "by key",
        Exchange::RoundRobin => "in turn",
        Exchange::All => "to every instance",
    }
}

fn render_file(out: &mut String, file: &FileSource) {
    let path = if file.path == STDIN { "standard input (cannot be read again after a failure)".to_owned() } else { quote(&file.path) };
    let format = match file.format {
        SourceFormat::Lines => "lines".to_owned(),
        SourceFormat::Json => "json".to_owned(),
        SourceFormat::Csv { header, delimiter } => {
            let header = if header { "with" } else { "without" };
            format!("csv {header} header, separated by \"{}\"", char::from(delimiter).escape_debug())
        }
    };
    line(out, "file", &format!("{path}, {format}"));
    if let Some(key) = &file.key {
        line(out, "key", &field_text(key));
    }
    if let Some(TimeField { field, unit }) = &file.time {
        let late = if file.lateness.is_zero() { String::new() } else { format!(", up to {} late", show_duration(file.lateness)) };
        let ahead = file.time_ahead_max.map_or_else(String::new, |most| format!(", at most {} ahead of the clock", show_duration(most)));
        line(out, "time", &format!("{}, {}{late}{ahead}", field_text(field), unit.word()));
    }
    if file.compression != Compression::Auto {
        line(out, "packed", file.compression.word());
    }
    if file.follow {
        let lost = if file.on_lost == OnLost::Skip { ", goes on without what is lost" } else { "" };
        let half = file.partial_after.map(|after| format!(", takes half rows after {}", show_duration(after))).unwrap_or_default();
        line(out, "follow", &format!("looks for more every {}{half}{lost}", show_duration(file.poll)));
    }
    if let Some(after) = file.idle_after {
        line(out, "idle", &format!("holds no event time back after {} without rows", show_duration(after)));
    }
    let mut limits = format!("rows of {}", show_size(file.row_bytes_max));
    if file.path != STDIN {
        limits = format!("pieces of {}, {limits}", show_size(file.split_bytes));
    }
    line(out, "limits", &limits);
}

fn field_text(field: &Field) -> String {
    match field {
        Field::Column(name) => format!("column \"{}\"", quote(name)),
        Field::Index(index) => format!("column {index}"),
        Field::Pointer(pointer) => format!("pointer \"{}\"", quote(pointer)),
    }
}

fn render_sink(out: &mut String, sink: &Sink) {
    match &sink.kind {
        SinkKind::File(file) => line(out, "file", &format!("{}, {}", quote(&file.path), file.format.word())),
        SinkKind::Objects(objects) => {
            let part = show_size(objects.part_bytes_max);
            line(out, "objects", &format!("{}, {}, parts of {part}", quote(&objects.url), objects.format.word()));
        }
        SinkKind::Stdout(stdout) => line(out, "stdout", stdout.format.word()),
    }
    let delivery = match sink.delivery {
        Delivery::ExactlyOnce => "exactly once, after the checkpoint of each epoch",
        Delivery::Immediate => "immediate, at least once: after a crash rows may come again",
    };
    line(out, "delivery", delivery);
}

fn encoding_word(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Bytes => "bytes",
        Encoding::Utf8 => "utf8",
        Encoding::Json => "json",
        Encoding::Cbor => "cbor",
        Encoding::Msgpack => "msgpack",
        Encoding::I64Le => "i64-le",
        Encoding::U64Le => "u64-le",
        Encoding::F64Le => "f64-le",
    }
}
