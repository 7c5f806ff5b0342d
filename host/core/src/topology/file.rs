//! Text -> draft: the topology file as values of the right types and within their ranges. Whether they go together is not looked at here,
//! so that those on which others depend keep their places.

use super::allowance::{JobLimits, read_job_limits, read_operator_limits};
use super::grant;
use super::home;
use super::json;
use super::limits::{self, Setting};
use super::model::{Capsules, Checkpoint, Flow, OnFailure, Open, Operator, TakenBack, Then};
use super::problem::Problems;
use super::retention::{self, RetentionLimits};
use super::table::{Given, Placed, Reader, Section, below, below_or_empty};
use super::word::{Word, check_word};
use std::time::Duration;
use toml_edit::{Document, Item, Value};

/// Size of a topology file.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// The draft of a topology: the file with its types right, and the places of what is still to be looked at.
#[derive(Debug)]
pub(super) struct Draft {
    pub name: Given<String>,
    /// The store, and where to point when it is missing.
    pub store: (Given<String>, usize),
    /// Without the store.
    pub checkpoint: Checkpoint,
    pub flow: Flow,
    pub limits: JobLimits,
    pub quarantine: RetentionLimits,
    pub capsules: RetentionLimits,
    pub sources: Vec<DraftSource>,
    pub operators: Vec<DraftOperator>,
    pub sinks: Vec<DraftSink>,
    /// Some source, operator or sink could not be read at all, so that unknown names prove nothing.
    pub incomplete: bool,
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
    pub lateness: Setting<Duration>,
    pub split: Setting<u64>,
    pub row_bytes_max: u64,
    pub poll: Setting<Duration>,
    pub on_lost: Given<String>,
    pub partial_after: Setting<Duration>,
    pub compression: Given<String>,
    pub idle_after: Setting<Duration>,
    pub time_ahead_max: Setting<Duration>,
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

#[derive(Debug)]
pub(super) struct DraftOperator {
    pub at: usize,
    pub name: Given<String>,
    pub component: Given<String>,
    pub inputs: DraftInputs,
    /// Everything else.
    pub settings: Operator,
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
    pub taken_back: TakenBack,
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
    pub part_bytes_max: u64,
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
    let name = root.text(reader, "name", "\"word-count\"");
    let table = root.table(reader, "checkpoint", "`checkpoint`", "{ store = \"file:./state\" }");
    let is_broken = table.is_broken();
    let (store, checkpoint) = below_or_empty(table, reader, read_checkpoint);
    let flow = root.table(reader, "flow", "`flow`", "{ steps-ahead = 16 }");
    let flow = below_or_empty(flow, reader, read_flow);
    let limits = read_job_limits(&mut root, reader);
    let quarantine = (limits::QUARANTINE_KEEP, limits::QUARANTINE_BYTES);
    let quarantine = retention::read(&mut root, reader, ("quarantine", "`quarantine`"), quarantine);
    let capsules = (limits::CAPSULES_KEEP, limits::CAPSULES_BYTES);
    let capsules = retention::read(&mut root, reader, ("capsules", "`capsules`"), capsules);
    let (sources, sources_complete) = root.tables(reader, "source", "a source");
    let (operators, operators_complete) = root.tables(reader, "operator", "an operator");
    let (sinks, sinks_complete) = root.tables(reader, "sink", "a sink");
    let draft = Draft {
        name,
        store: if is_broken { (Given::Broken, 0) } else { store },
        checkpoint,
        flow,
        limits,
        quarantine,
        capsules,
        sources: sources.into_iter().map(|section| read_source(section, reader)).collect(),
        operators: operators.into_iter().map(|section| read_operator(section, reader)).collect(),
        sinks: sinks.into_iter().map(|section| read_sink(section, reader)).collect(),
        incomplete: !(sources_complete && operators_complete && sinks_complete),
    };
    root.finish(reader);
    Some(draft)
}

fn add_syntax(problems: &mut Problems<'_>, error: &toml_edit::TomlError) {
    let at = error.span().map_or(0, |span| span.start);
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    problems.add(at, format!("this is not TOML: {message}"), Some("what follows is not looked at until this is mended".to_owned()));
}

fn read_checkpoint(section: &mut Section<'_>, reader: &mut Reader<'_>) -> ((Given<String>, usize), Checkpoint) {
    let store = home::place(section, reader, "store", "\"file:./state\"");
    let (backoff_min, backoff_max) = limits::STORE_BACKOFF.read(section, reader);
    let checkpoint = Checkpoint {
        store: String::new(),
        interval: limits::INTERVAL.read(section, reader),
        keep: limits::KEEP.read(section, reader),
        chain_length_max: limits::CHAIN_LENGTH.read(section, reader),
        chain_bytes_max: limits::CHAIN_BYTES.read(section, reader),
        epochs_in_flight_max: limits::EPOCHS_IN_FLIGHT.read(section, reader),
        part_bytes_max: limits::SNAPSHOT_PART.read(section, reader),
        timeout: limits::TIMEOUT.read(section, reader),
        retries: limits::STORE_RETRIES.read(section, reader),
        backoff_min,
        backoff_max,
        outage_max: limits::OUTAGE.read(section, reader),
        uncheckpointed_bytes_max: limits::UNCHECKPOINTED.read(section, reader),
        savepoint_poll: limits::SAVEPOINT_POLL.read(section, reader),
        stop_timeout: limits::STOP.read(section, reader),
        align_max: limits::ALIGN.read(section, reader),
    };
    ((store, section.at), checkpoint)
}

fn read_flow(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Flow {
    let steps_ahead_max = limits::STEPS_AHEAD.read(section, reader);
    let bytes_ahead = limits::BYTES_AHEAD.find(section, reader);
    let emitted_ahead_bytes_max = limits::EMITTED_AHEAD.read(section, reader);
    let batch_rows_max = limits::BATCH_ROWS.read(section, reader);
    let batch_bytes = limits::BATCH_BYTES.find(section, reader);
    let (bytes_ahead_max, batch_bytes_max) = (bytes_ahead.value, batch_bytes.value);
    if let (Some(at), true) = (batch_bytes.at.or(bytes_ahead.at), batch_bytes_max > bytes_ahead_max) {
        let help = Some("lower `batch-bytes`, or raise `bytes-ahead`".to_owned());
        reader.problems.add(at, "`batch-bytes` is more than `bytes-ahead`: no batch would ever fit", help);
    }
    Flow { steps_ahead_max, bytes_ahead_max, emitted_ahead_bytes_max, batch_rows_max, batch_bytes_max }
}

fn read_source(mut section: Section<'_>, reader: &mut Reader<'_>) -> DraftSource {
    let name = section.text(reader, "name", "\"text\"");
    let file = section.table(reader, "file", "the `file` of a source", "{ path = \"input/*.txt\", format = \"lines\" }");
    let file = below(file, reader, |section, reader| DraftFileSource {
        path: home::place(section, reader, "path", "\"input/*.txt\""),
        format: section.text(reader, "format", "\"lines\""),
        header: section.flag(reader, "header"),
        delimiter: section.text(reader, "delimiter", "\",\""),
        key: read_field(section, reader, "key"),
        time: read_field(section, reader, "time"),
        follow: section.flag(reader, "follow"),
        lateness: limits::LATENESS.find(section, reader),
        split: limits::SPLIT.find(section, reader),
        row_bytes_max: limits::ROW.read(section, reader),
        poll: limits::POLL.find(section, reader),
        on_lost: section.text(reader, "on-lost", "\"skip\""),
        partial_after: limits::PARTIAL_AFTER.find(section, reader),
        compression: section.text(reader, "compression", "\"auto\""),
        idle_after: limits::IDLE_AFTER.find(section, reader),
        time_ahead_max: limits::TIME_AHEAD.find(section, reader),
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
    let component = home::place(&mut section, reader, "component", "\"count.wasm\"");
    let inputs = read_inputs(&mut section, reader);
    let settings = Operator {
        name: String::new(),
        component: String::new(),
        inputs: Vec::new(),
        parallelism: limits::PARALLELISM.read(&mut section, reader),
        memory_bytes_max: limits::MEMORY.read(&mut section, reader),
        deadline: limits::DEADLINE.read(&mut section, reader),
        output_bytes_max: limits::OUTPUT.read(&mut section, reader),
        limits: read_operator_limits(&mut section, reader),
        fuel: section.flag(reader, "fuel").is_true(),
        recover_within: limits::RECOVER_WITHIN.read(&mut section, reader),
        standby: section.flag(reader, "standby").is_true(),
        replay_log_bytes_max: limits::REPLAY_LOG.read(&mut section, reader),
        snapshot_copy_bytes_max: limits::SNAPSHOT_COPY.read(&mut section, reader),
        park_bytes_max: limits::PARK.read(&mut section, reader),
        on_failure: {
            let table = section.table(reader, "on-failure", "`on-failure`", "{ retries = 3 }");
            below_or_empty(table, reader, read_failure)
        },
        grant: grant::read(&mut section, reader),
        config: match section.table(reader, "config", "`config`", "{ lowercase = true }") {
            Given::Is(config) => json::object(reader, config.value.raw()),
            Given::Absent | Given::Broken => "{}".to_owned(),
        },
        line: reader.problems.places().find(at).0,
    };
    section.finish(reader);
    DraftOperator { at, name, component, inputs, settings }
}

fn read_failure(section: &mut Section<'_>, reader: &mut Reader<'_>) -> OnFailure {
    let retries = limits::CALL_RETRIES.read(section, reader);
    let (backoff_min, backoff_max) = limits::CALL_BACKOFF.read(section, reader);
    OnFailure {
        retries,
        backoff_min,
        backoff_max,
        then: read_word(section, reader, "then", Then::Quarantine),
        faults_max: limits::FAULTS.read(section, reader),
        rejections_max: limits::REJECTIONS.read(section, reader),
        window: limits::FAULTS_WINDOW.read(section, reader),
        pause: limits::FAULTS_PAUSE.read(section, reader),
        open: read_word(section, reader, "open", Open::Pause),
        capsules: read_word(section, reader, "capsules", Capsules::Quarantine),
        capsule_bytes_max: limits::CAPSULE.read(section, reader),
    }
}

/// One of the words of a setting; the default where there is none, or none of them.
fn read_word<T: Word>(section: &mut Section<'_>, reader: &mut Reader<'_>, key: &'static str, default: T) -> T {
    let given = section.text(reader, key, &format!("\"{}\"", default.show()));
    check_word(&given, key, default, &mut reader.problems)
}

fn read_sink(mut section: Section<'_>, reader: &mut Reader<'_>) -> DraftSink {
    let at = section.at;
    let name = section.text(reader, "name", "\"counts\"");
    let inputs = read_inputs(&mut section, reader);
    let delivery = section.text(reader, "delivery", "\"immediate\"");
    let keep = limits::TAKEN_BACK_KEEP.read(&mut section, reader);
    let taken_back = TakenBack { keep, bytes_max: limits::TAKEN_BACK.read(&mut section, reader) };
    let file = section.table(reader, "file", "the `file` of a sink", "{ path = \"out\", format = \"json\" }");
    let file = below(file, reader, |section, reader| DraftFileSink {
        path: home::place(section, reader, "path", "\"out\""),
        format: section.text(reader, "format", "\"json\""),
    });
    let objects = section.table(reader, "objects", "the `objects` of a sink", "{ url = \"s3://bucket/prefix\", format = \"json\" }");
    let objects = below(objects, reader, |section, reader| DraftObjectsSink {
        url: home::place(section, reader, "url", "\"s3://bucket/prefix\""),
        format: section.text(reader, "format", "\"json\""),
        part_bytes_max: limits::PART.read(section, reader),
    });
    let stdout = section.table(reader, "stdout", "the `stdout` of a sink", "{ format = \"json\" }");
    let stdout = below(stdout, reader, |section, reader| DraftStdout { format: section.text(reader, "format", "\"json\"") });
    section.finish(reader);
    DraftSink { at, name, inputs, delivery, taken_back, file, objects, stdout }
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
