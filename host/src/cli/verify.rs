//! `reprise verify`: whether an operator keeps what a host relies on.

mod told;

use super::arguments::CacheArguments;
use super::text::{self, plain, thousands};
use super::{exit, outlet};
use crate::job::Kind;
use crate::verify::{
    self, INSTANCES_MAX, InputFormat, InputRows, ROUNDS, ROUNDS_MAX, RUN_OUTPUT_BYTES_MAX, VerifyProgress, VerifySettings,
};
use crate::wasm::{self, Limits, Runtime};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use reprise_core::topology::{Field, SourceFormat, TimeField, TimeUnit, size};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Wall-clock time of one call. Long, since a slow machine is no fault of an operator.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes that all pieces of one call may hold together.
const CALL_OUTPUT_BYTES_MAX: u64 = RUN_OUTPUT_BYTES_MAX;
/// Bytes of one snapshot.
const SNAPSHOT_BYTES_MAX: u64 = 512 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// A component, or a core module that carries component metadata.
    component: PathBuf,
    /// Rows to use: a file, or a glob. One for all inputs, or one for each input in their order. Default: generated rows.
    #[arg(long, value_name = "FILE")]
    input: Vec<String>,
    /// Format of the files. Default: by the name, `.csv`, `.json`, `.jsonl` or `.ndjson`, else lines.
    #[arg(long, value_enum, requires = "input")]
    format: Option<Format>,
    /// Where the key of a row is: a CSV column by its name or index, or a JSON pointer. Default: keys are empty.
    #[arg(long, value_name = "FIELD", requires = "input")]
    key: Option<String>,
    /// Where the event time of a row is, likewise.
    #[arg(long, value_name = "FIELD", requires = "input")]
    time: Option<String>,
    /// How the event time is written.
    #[arg(long, default_value = "ms", requires = "time", value_parser = units())]
    time_unit: TimeUnit,
    /// Configuration of the operator, JSON, as `config` in a topology.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = json)]
    config: String,
    /// All chance follows from it: with the same seed the same finding shows again.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Rounds of each check in which chance has a part.
    #[arg(long, value_name = "N", default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    rounds: u32,
    /// Memory of an instance, as `memory` in a topology.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = memory)]
    memory: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One row a line.
    Lines,
    /// One row a CSV record; the first one names the columns.
    Csv,
    /// One row a line, which is one JSON value.
    Json,
}

fn units() -> impl TypedValueParser<Value = TimeUnit> {
    PossibleValuesParser::new(TimeUnit::WORDS.iter().copied()).try_map(|word| TimeUnit::from_word(&word).ok_or("it is no unit"))
}

fn json(given: &str) -> Result<String, String> {
    serde_json::from_str::<serde::de::IgnoredAny>(given).map(|_| given.to_owned()).map_err(|error| error.to_string())
}

fn memory(given: &str) -> Result<u64, String> {
    let most = wasm::Settings::default().memory_bytes_max;
    match size(given) {
        Ok(bytes) if (64 << 10..=most).contains(&bytes) => Ok(bytes),
        Ok(_) => Err("64KiB to 4GiB are allowed".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn verify(arguments: &VerifyArguments) -> ExitCode {
    let outcome = read_component(arguments).and_then(|bytes| {
        let given = read_input(arguments)?;
        run(arguments, &bytes, given.as_ref())
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(exit::code(Kind::Guest)),
        Err(text) => {
            outlet::say(&format!("error: {text}"));
            ExitCode::from(exit::code(Kind::Topology))
        }
    }
}

fn read_component(arguments: &VerifyArguments) -> Result<Vec<u8>, String> {
    std::fs::read(&arguments.component)
        .map_err(|error| format!("cannot read `{}`: {error}", plain(&arguments.component.display().to_string())))
}

fn read_input(arguments: &VerifyArguments) -> Result<Option<InputRows>, String> {
    let Some(first) = arguments.input.first() else { return Ok(None) };
    let format = arguments.format.unwrap_or_else(|| match first.rsplit('.').next() {
        Some("csv") => Format::Csv,
        Some("json" | "jsonl" | "ndjson") => Format::Json,
        _ => Format::Lines,
    });
    let field = |given: &Option<String>| given.as_deref().map(|text| field(format, text));
    let key = field(&arguments.key).transpose()?;
    let time = field(&arguments.time).transpose()?.map(|field| TimeField { field, unit: arguments.time_unit });
    let format = match format {
        Format::Lines => SourceFormat::Lines,
        Format::Csv => SourceFormat::Csv { header: true, delimiter: b',' },
        Format::Json => SourceFormat::Json,
    };
    verify::read(&arguments.input, &InputFormat { format, key, time }).map(Some).map_err(|error| exit::text(&error))
}

fn field(format: Format, given: &str) -> Result<Field, String> {
    match format {
        Format::Lines => Err("a line has no fields: `--key` and `--time` need `--format csv` or `--format json`".to_owned()),
        Format::Csv => Ok(given.parse().map_or_else(|_| Field::Column(given.to_owned()), Field::Index)),
        Format::Json if given.is_empty() || given.starts_with('/') => Ok(Field::Pointer(given.to_owned())),
        Format::Json => Err(format!("`{}` is not a JSON pointer: it begins with `/`, such as `/user/id`", plain(given))),
    }
}

/// Runs all checks and prints what came of them. Gives the number of those that failed.
fn run(arguments: &VerifyArguments, bytes: &[u8], given: Option<&InputRows>) -> Result<usize, String> {
    let path = arguments.component.display().to_string();
    let of = |error: &dyn std::error::Error| format!("`{}`: {}", plain(&path), exit::text(error));
    let runtime_settings = wasm::Settings {
        cache_dir: arguments.cache.dir(),
        instances_max: INSTANCES_MAX + 1,
        memory_bytes_max: arguments.memory.max(1 << 30),
        ..wasm::Settings::default()
    }
    .with_memories(wasm::memories(bytes));
    let runtime = Runtime::new(&runtime_settings).map_err(|error| exit::text(&error))?;
    let component = runtime.load_named(bytes, &format!("`{path}`")).map_err(|error| of(&error))?;
    let limits = Limits {
        memory_bytes_max: arguments.memory,
        deadline: DEADLINE,
        call_output_bytes_max: CALL_OUTPUT_BYTES_MAX,
        snapshot_bytes_max: SNAPSHOT_BYTES_MAX,
        ..Limits::default()
    };
    let settings = VerifySettings { config: arguments.config.clone(), seed: arguments.seed, rounds: arguments.rounds, limits };
    let shown = Shown::new(arguments.json);
    let report = verify::verify(&component, given, &settings, &mut |progress| shown.show(progress));
    shown.clear();
    let report = report.map_err(|error| of(&error))?;
    if arguments.json {
        text::put_json(&told::json(&path, &component.digest().to_string(), &report, &settings));
    } else {
        text::put(&told::picture(&path, &report, &settings));
        if report.failed() > 0 {
            let all = report.verdicts.len();
            outlet::say(&format!(
                "error: {} of {all} checks failed\n  help: with `--seed {}` the same shows again; docs/verify.md tells what each cause means",
                report.failed(),
                arguments.seed
            ));
        }
    }
    Ok(report.failed())
}

/// A bar on a terminal, on standard error; nothing elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
}

impl Shown {
    fn new(json: bool) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:40} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style)
        });
        Self { bar }
    }

    fn show(&self, progress: VerifyProgress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.all);
            bar.set_position(progress.done);
            bar.set_message(format!("{}, {} of {} rounds", progress.check.name(), thousands(progress.done), thousands(progress.all)));
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
