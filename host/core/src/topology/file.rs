//! Text -> draft: the topology file as values of the right types with their places. What the values mean is not looked at here.

use super::allowance::{DraftJobLimits, DraftOperatorLimits, read_job_limits, read_operator_limits};
use super::grant::{self, DraftGrant};
use super::json;
use super::problem::Problems;
use super::retention::{self, DraftRetention};
use super::table::{Given, Placed, Reader, Section, below};
use toml_edit::{Document, Item, Value};

/// Size of a topology file.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The draft of a topology: the file with its types right, and the places of its values.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub name: Given<String>,
    /// `None`: there, but unreadable.
    pub checkpoint: Option<DraftCheckpoint>,
    pub flow: DraftFlow,
    pub limits: DraftJobLimits,
    pub quarantine: DraftRetention,
    pub capsules: DraftRetention,
    pub sources: Vec<DraftSource>,
    pub operators: Vec<DraftOperator>,
    pub sinks: Vec<DraftSink>,
    /// Some source, operator or sink could not be read at all, so that unknown names prove nothing.
    pub incomplete: bool,
}

#[derive(Debug, Default)]
// Wide: one field a key of the table `[checkpoint]`.
pub(super) struct DraftCheckpoint {
    pub at: usize,
    pub store: Given<String>,
    pub interval: Given<String>,
    pub keep: Given<i64>,
    pub chain_length_max: Given<i64>,
    pub chain_bytes_max: Given<String>,
    pub epochs_in_flight_max: Given<i64>,
    pub snapshot_part: Given<String>,
    pub timeout: Given<String>,
    pub retries: Given<i64>,
    pub backoff: Given<String>,
    pub outage_max: Given<String>,
    pub uncheckpointed_max: Given<String>,
    pub savepoint_poll: Given<String>,
    pub stop_timeout: Given<String>,
    pub align_max: Given<String>,
}

#[derive(Debug, Default)]
pub(super) struct DraftFlow {
    pub steps_ahead: Given<i64>,
    pub bytes_ahead: Given<String>,
    pub emitted_ahead: Given<String>,
    pub batch_rows: Given<i64>,
    pub batch_bytes: Given<String>,
}

#[derive(Debug)]
pub(super) struct DraftSource {
    pub at: usize,
    pub name: Given<String>,
    pub file: Given<DraftFileSource>,
}

#[derive(Debug)]
pub(super) struct DraftFileSource {
    pub path: Given<String>,
    pub format: Given<String>,
    pub header: Given<bool>,
    pub delimiter: Given<String>,
    pub key: Given<DraftField>,
    pub time: Given<DraftField>,
    pub follow: Given<bool>,
    pub lateness: Given<String>,
    pub split: Given<String>,
    pub row_max: Given<String>,
    pub poll: Given<String>,
    pub on_lost: Given<String>,
    pub partial_after: Given<String>,
    pub compression: Given<String>,
    pub idle_after: Given<String>,
    pub time_ahead_max: Given<String>,
}

/// `{ column = ... }` or `{ pointer = ... }`, of a time with its unit.
#[derive(Debug)]
pub(super) struct DraftField {
    pub column: Given<DraftColumn>,
    pub pointer: Given<String>,
    pub unit: Given<String>,
}

#[derive(Debug)]
pub(super) enum DraftColumn {
    Name(String),
    Index(i64),
}

// Wide: one field a key of the table `[[operator]]`.
#[derive(Debug)]
pub(super) struct DraftOperator {
    pub at: usize,
    pub name: Given<String>,
    pub component: Given<String>,
    pub inputs: DraftInputs,
    pub parallelism: Given<i64>,
    pub memory: Given<String>,
    pub deadline: Given<String>,
    pub output_max: Given<String>,
    pub limits: DraftOperatorLimits,
    pub fuel: Given<bool>,
    pub recover_within: Given<String>,
    pub standby: Given<bool>,
    pub replay_log_max: Given<String>,
    pub snapshot_copy_max: Given<String>,
    pub park_max: Given<String>,
    pub on_failure: DraftFailure,
    pub grant: DraftGrant,
    /// JSON text.
    pub config: String,
}

#[derive(Debug, Default)]
pub(super) struct DraftFailure {
    pub retries: Given<i64>,
    pub backoff: Given<String>,
    pub then: Given<String>,
    pub faults_max: Given<i64>,
    pub rejections_max: Given<i64>,
    pub window: Given<String>,
    pub pause: Given<String>,
    pub open: Given<String>,
    pub capsules: Given<String>,
    pub capsule_max: Given<String>,
}

/// The inputs of a node in the draft.
#[derive(Debug, Default)]
pub(super) struct DraftInputs {
    /// `input` is not there.
    pub absent: bool,
    /// Some of it could not be read.
    pub broken: bool,
    pub entries: Vec<DraftInput>,
}

#[derive(Debug)]
pub(super) struct DraftInput {
    pub at: usize,
    pub from: Placed<String>,
    pub by: Given<String>,
}

#[derive(Debug)]
pub(super) struct DraftSink {
    pub at: usize,
    pub name: Given<String>,
    pub inputs: DraftInputs,
    pub delivery: Given<String>,
    pub taken_back_keep: Given<String>,
    pub taken_back_max: Given<String>,
    pub file: Given<DraftFileSink>,
    pub objects: Given<DraftObjectsSink>,
    pub stdout: Given<DraftStdout>,
}

#[derive(Debug)]
pub(super) struct DraftFileSink {
    pub path: Given<String>,
    pub format: Given<String>,
}

#[derive(Debug)]
pub(super) struct DraftObjectsSink {
    pub url: Given<String>,
    pub format: Given<String>,
    pub part_bytes: Given<String>,
}

#[derive(Debug)]
pub(super) struct DraftStdout {
    pub format: Given<String>,
}

/// Reads the whole text. `None`: it is not TOML, or too long; the reader holds the problem.
pub(super) fn read(text: &str, reader: &mut Reader<'_>) -> Option<Draft> {
    if text.len() > TEXT_BYTES_MAX {
        reader.problems.add(0, format!("the file has {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len()), None);
        return None;
    }
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            add_syntax(&mut reader.problems, &error);
            return None;
        }
    };
    let mut root = Section::new(document.as_table(), 0, "the file");
    let mut draft = Draft { name: root.text(reader, "name", "\"word-count\""), ..Draft::default() };
    draft.checkpoint = read_checkpoint(root.table(reader, "checkpoint", "`checkpoint`", "{ store = \"file:./state\" }"), reader);
    if let Given::Is(flow) = root.table(reader, "flow", "`flow`", "{ steps-ahead = 16 }") {
        draft.flow = read_flow(flow.value, reader);
    }
    draft.limits = read_job_limits(&mut root, reader);
    draft.quarantine = retention::read(&mut root, reader, "quarantine", "`quarantine`");
    draft.capsules = retention::read(&mut root, reader, "capsules", "`capsules`");
    let (sources, sources_complete) = root.tables(reader, "source", "a source");
    let (operators, operators_complete) = root.tables(reader, "operator", "an operator");
    let (sinks, sinks_complete) = root.tables(reader, "sink", "a sink");
    draft.incomplete = !(sources_complete && operators_complete && sinks_complete);
    draft.sources = sources.into_iter().map(|section| read_source(section, reader)).collect();
    draft.operators = operators.into_iter().map(|section| read_operator(section, reader)).collect();
    draft.sinks = sinks.into_iter().map(|section| read_sink(section, reader)).collect();
    root.finish(reader);
    Some(draft)
}

fn add_syntax(problems: &mut Problems<'_>, error: &toml_edit::TomlError) {
    let at = error.span().map_or(0, |span| span.start);
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    problems.add(at, format!("this is not TOML: {message}"), Some("what follows is not looked at until this is mended".to_owned()));
}

fn read_checkpoint(given: Given<Section<'_>>, reader: &mut Reader<'_>) -> Option<DraftCheckpoint> {
    let mut section = match given {
        Given::Absent => return Some(DraftCheckpoint::default()),
        Given::Broken => return None,
        Given::Is(section) => section.value,
    };
    let draft = DraftCheckpoint {
        at: section.at,
        store: section.text(reader, "store", "\"file:./state\""),
        interval: section.text(reader, "interval", "\"1s\""),
        keep: section.integer(reader, "keep", "3"),
        chain_length_max: section.integer(reader, "chain-length-max", "16"),
        chain_bytes_max: section.text(reader, "chain-bytes-max", "\"8GiB\""),
        epochs_in_flight_max: section.integer(reader, "epochs-in-flight-max", "4"),
        snapshot_part: section.text(reader, "snapshot-part", "\"4MiB\""),
        timeout: section.text(reader, "timeout", "\"30s\""),
        retries: section.integer(reader, "retries", "5"),
        backoff: section.text(reader, "backoff", "\"50ms..5s\""),
        outage_max: section.text(reader, "outage-max", "\"24h\""),
        uncheckpointed_max: section.text(reader, "uncheckpointed-max", "\"1GiB\""),
        savepoint_poll: section.text(reader, "savepoint-poll", "\"2s\""),
        stop_timeout: section.text(reader, "stop-timeout", "\"30s\""),
        align_max: section.text(reader, "align-max", "\"10s\""),
    };
    section.finish(reader);
    Some(draft)
}

fn read_flow(mut section: Section<'_>, reader: &mut Reader<'_>) -> DraftFlow {
    let draft = DraftFlow {
        steps_ahead: section.integer(reader, "steps-ahead", "16"),
        bytes_ahead: section.text(reader, "bytes-ahead", "\"16MiB\""),
        emitted_ahead: section.text(reader, "emitted-ahead", "\"16MiB\""),
        batch_rows: section.integer(reader, "batch-rows", "4096"),
        batch_bytes: section.text(reader, "batch-bytes", "\"256KiB\""),
    };
    section.finish(reader);
    draft
}

fn read_source(mut section: Section<'_>, reader: &mut Reader<'_>) -> DraftSource {
    let name = section.text(reader, "name", "\"text\"");
    let file = section.table(reader, "file", "the `file` of a source", "{ path = \"input/*.txt\", format = \"lines\" }");
    let file = below(file, reader, |section, reader| DraftFileSource {
        path: section.text(reader, "path", "\"input/*.txt\""),
        format: section.text(reader, "format", "\"lines\""),
        header: section.flag(reader, "header"),
        delimiter: section.text(reader, "delimiter", "\",\""),
        key: read_field(section, reader, "key"),
        time: read_field(section, reader, "time"),
        follow: section.flag(reader, "follow"),
        lateness: section.text(reader, "lateness", "\"5s\""),
        split: section.text(reader, "split", "\"16MiB\""),
        row_max: section.text(reader, "row-max", "\"1MiB\""),
        poll: section.text(reader, "poll", "\"100ms\""),
        on_lost: section.text(reader, "on-lost", "\"skip\""),
        partial_after: section.text(reader, "partial-after", "\"10s\""),
        compression: section.text(reader, "compression", "\"auto\""),
        idle_after: section.text(reader, "idle-after", "\"1m\""),
        time_ahead_max: section.text(reader, "time-ahead-max", "\"24h\""),
    });
    let at = section.at;
    section.finish(reader);
    DraftSource { at, name, file }
}

fn read_field(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str) -> Given<DraftField> {
    let (title, example) = if key == "time" { ("`time`", "{ column = \"ts\" }") } else { ("`key`", "{ column = \"id\" }") };
    let table = section.table(reader, key, title, example);
    below(table, reader, |section, reader| DraftField {
        column: read_column(section, reader),
        pointer: section.text(reader, "pointer", "\"/id\""),
        unit: if key == "time" { section.text(reader, "unit", "\"ms\"") } else { Given::Absent },
    })
}

fn read_column(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Given<DraftColumn> {
    match section.item("column") {
        Some((Item::Value(Value::Integer(index)), at)) => Given::Is(Placed { value: DraftColumn::Index(*index.value()), at }),
        Some((Item::Value(Value::String(_)), _)) | None => match section.text(reader, "column", "") {
            Given::Is(name) => Given::Is(Placed { value: DraftColumn::Name(name.value), at: name.at }),
            Given::Absent => Given::Absent,
            Given::Broken => Given::Broken,
        },
        Some((item, at)) => {
            reader.wrong_type(at, "column", "a string or an integer", item, "\"id\"");
            Given::Broken
        }
    }
}

fn read_operator(mut section: Section<'_>, reader: &mut Reader<'_>) -> DraftOperator {
    let at = section.at;
    let name = section.text(reader, "name", "\"count\"");
    let component = section.text(reader, "component", "\"count.wasm\"");
    let inputs = read_inputs(&mut section, reader);
    let parallelism = section.integer(reader, "parallelism", "16");
    let memory = section.text(reader, "memory", "\"256MiB\"");
    let deadline = section.text(reader, "deadline", "\"1s\"");
    let output_max = section.text(reader, "output-max", "\"64MiB\"");
    let limits = read_operator_limits(&mut section, reader);
    let fuel = section.flag(reader, "fuel");
    let recover_within = section.text(reader, "recover-within", "\"200ms\"");
    let standby = section.flag(reader, "standby");
    let replay_log_max = section.text(reader, "replay-log-max", "\"64MiB\"");
    let snapshot_copy_max = section.text(reader, "snapshot-copy-max", "\"4GiB\"");
    let park_max = section.text(reader, "park-max", "\"1GiB\"");
    let failure = section.table(reader, "on-failure", "`on-failure`", "{ retries = 3 }");
    let failure = below(failure, reader, |section, reader| DraftFailure {
        retries: section.integer(reader, "retries", "3"),
        backoff: section.text(reader, "backoff", "\"10ms..1s\""),
        then: section.text(reader, "then", "\"quarantine\""),
        faults_max: section.integer(reader, "faults-max", "100"),
        rejections_max: section.integer(reader, "rejections-max", "1000000"),
        window: section.text(reader, "window", "\"1m\""),
        pause: section.text(reader, "pause", "\"10s\""),
        open: section.text(reader, "open", "\"pause\""),
        capsules: section.text(reader, "capsules", "\"quarantine\""),
        capsule_max: section.text(reader, "capsule-max", "\"256MiB\""),
    });
    let on_failure = if let Given::Is(failure) = failure { failure.value } else { DraftFailure::default() };
    let grant = grant::read(&mut section, reader);
    let config = match section.table(reader, "config", "`config`", "{ lowercase = true }") {
        Given::Is(config) => json::object(reader, config.value.raw()),
        Given::Absent | Given::Broken => "{}".to_owned(),
    };
    section.finish(reader);
    DraftOperator {
        at,
        name,
        component,
        inputs,
        parallelism,
        memory,
        deadline,
        output_max,
        limits,
        fuel,
        recover_within,
        standby,
        replay_log_max,
        snapshot_copy_max,
        park_max,
        on_failure,
        grant,
        config,
    }
}

fn read_sink(mut section: Section<'_>, reader: &mut Reader<'_>) -> DraftSink {
    let at = section.at;
    let name = section.text(reader, "name", "\"counts\"");
    let inputs = read_inputs(&mut section, reader);
    let delivery = section.text(reader, "delivery", "\"immediate\"");
    let taken_back_keep = section.text(reader, "taken-back-keep", "\"720h\"");
    let taken_back_max = section.text(reader, "taken-back-max", "\"10GiB\"");
    let file = section.table(reader, "file", "the `file` of a sink", "{ path = \"out\", format = \"json\" }");
    let file = below(file, reader, |section, reader| DraftFileSink {
        path: section.text(reader, "path", "\"out\""),
        format: section.text(reader, "format", "\"json\""),
    });
    let objects = section.table(reader, "objects", "the `objects` of a sink", "{ url = \"s3://bucket/prefix\", format = \"json\" }");
    let objects = below(objects, reader, |section, reader| DraftObjectsSink {
        url: section.text(reader, "url", "\"s3://bucket/prefix\""),
        format: section.text(reader, "format", "\"json\""),
        part_bytes: section.text(reader, "part-bytes", "\"64MiB\""),
    });
    let stdout = section.table(reader, "stdout", "the `stdout` of a sink", "{ format = \"json\" }");
    let stdout = below(stdout, reader, |section, reader| DraftStdout { format: section.text(reader, "format", "\"json\"") });
    section.finish(reader);
    DraftSink { at, name, inputs, delivery, taken_back_keep, taken_back_max, file, objects, stdout }
}

const INPUT_EXAMPLE: &str = "{ from = \"split\", by = \"key\" }";

/// A string, a table, or an array of those.
fn read_inputs(section: &mut Section<'_>, reader: &mut Reader<'_>) -> DraftInputs {
    let Some((item, at)) = section.item("input") else { return DraftInputs { absent: true, ..DraftInputs::default() } };
    let mut inputs = DraftInputs::default();
    match item {
        Item::Value(Value::Array(values)) => {
            if values.is_empty() {
                reader.problems.add(at, "`input` names nothing to read", Some(format!("write `input = {INPUT_EXAMPLE}`")));
                inputs.broken = true;
            }
            for value in values.iter() {
                let at = value.span().map_or(at, |span| span.start);
                // The copy is short: it is one name or one small table, and places stay those of the file.
                read_input(&Item::Value(value.clone()), at, reader, &mut inputs);
            }
        }
        Item::ArrayOfTables(tables) => {
            for table in tables.iter() {
                let at = table.span().map_or(at, |span| span.start);
                read_input(&Item::Table(table.clone()), at, reader, &mut inputs);
            }
        }
        item => read_input(item, at, reader, &mut inputs),
    }
    inputs
}

fn read_input(item: &Item, at: usize, reader: &mut Reader<'_>, inputs: &mut DraftInputs) {
    let read = if let Some(text) = item.as_str() {
        reader.expand(text, at).map(|value| DraftInput { at, from: Placed { value, at }, by: Given::Absent })
    } else if let Some(table) = item.as_table_like() {
        let mut section = Section::new(table, at, "an input");
        let from = section.text(reader, "from", "\"split\"");
        let by = section.text(reader, "by", "\"key\"");
        section.finish(reader);
        if from.is_absent() {
            reader.problems.add(at, "an input without `from`", Some(format!("write `input = {INPUT_EXAMPLE}`")));
        }
        if let Given::Is(from) = from { Some(DraftInput { at, from, by }) } else { None }
    } else {
        reader.wrong_type(at, "input", "a string, a table or an array of those", item, INPUT_EXAMPLE);
        None
    };
    match read {
        Some(input) => inputs.entries.push(input),
        None => inputs.broken = true,
    }
}
