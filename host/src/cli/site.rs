//! Which store and which job a command looks at: a topology file, or `--store` with `--job`.

use super::text::plain;
use super::{exit, outlet};
use crate::job::survey::{Choice, ChosenCheckpoint, Site, SurveyError, Which, choose, site_of};
use crate::job::{Error, Kind};
use crate::store::{self, Store};
use reprise_core::plain::plain_lines;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// What every command says that looks at a store.
#[derive(Debug, clap::Args)]
pub(super) struct Where {
    /// The store, in place of FILE: `file:PATH` from the current folder, or `s3://BUCKET/PREFIX`.
    #[arg(long, value_name = "URL", requires = "job")]
    store: Option<String>,
    /// The name of the job in that store.
    #[arg(long, value_name = "NAME", requires = "store")]
    job: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The failure of a command: why it ends without doing as asked.
pub(super) enum CommandFailure {
    /// The command line is wrong.
    Usage(String),
    /// The store has no answer.
    Survey(SurveyError),
}

impl From<SurveyError> for CommandFailure {
    fn from(error: SurveyError) -> Self {
        Self::Survey(error)
    }
}

/// The exit code of a command, with a message where it failed.
pub(super) fn end(outcome: Result<ExitCode, CommandFailure>, usage: &str, json: bool) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(CommandFailure::Survey(error)) => exit::fail_survey(&error, json),
        Err(CommandFailure::Usage(text)) => {
            outlet::say_page(&format!("error: {}\n\nUsage: {usage}", plain_lines(&text)));
            ExitCode::from(exit::code(Kind::Topology))
        }
    }
}

/// A job whose store is open, and the threads to wait for that on.
pub(super) struct OpenedJob {
    pub store: Store,
    pub job: String,
    runtime: tokio::runtime::Runtime,
}

impl OpenedJob {
    pub fn wait<T>(&self, work: impl Future<Output = Result<T, SurveyError>>) -> Result<T, SurveyError> {
        self.runtime.block_on(work)
    }

    /// Reads one checkpoint, and says where newer ones cannot be read.
    pub fn choose(&self, text: &str) -> Result<ChosenCheckpoint, CommandFailure> {
        let chosen = self.wait(choose(&self.store, &self.job, &choice(text)?))?;
        for (epoch, reason) in &chosen.passed_over {
            outlet::say(&format!("checkpoint {epoch} cannot be read and is passed over: {}", plain(reason)));
        }
        Ok(chosen)
    }
}

pub(super) fn choice(text: &str) -> Result<Choice, CommandFailure> {
    Choice::parse(text).map_err(CommandFailure::Usage)
}

fn no_place() -> CommandFailure {
    CommandFailure::Usage("a topology file is missing, or `--store` with `--job`".into())
}

impl Where {
    /// The words of the command line without FILE, of which there must be so many at least and at most, named in the usage.
    pub fn rest<'a>(&self, words: &'a [String], least: usize, most: usize) -> Result<&'a [String], CommandFailure> {
        let rest = match (&self.store, words.split_first()) {
            (Some(_), _) => words,
            (None, Some((_, rest))) => rest,
            (None, None) => return Err(no_place()),
        };
        if rest.len() < least {
            return Err(CommandFailure::Usage("an argument is missing".into()));
        }
        if rest.len() > most {
            return Err(CommandFailure::Usage(format!("`{}` is one argument too many", rest[most].escape_debug())));
        }
        Ok(rest)
    }

    /// Opens the store.
    pub fn open(&self, words: &[String]) -> Result<OpenedJob, CommandFailure> {
        let site = match (&self.store, &self.job, words.first()) {
            (Some(store), Some(job), _) => {
                Site { store: store.clone(), base_dir: Path::new(".").into(), job: job.clone(), limits: store::StoreLimits::default() }
            }
            (_, _, Some(file)) => site_of(Path::new(file))?,
            _ => return Err(no_place()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| SurveyError::Job(Error::Internal(format!("threads cannot be started: {error}"))))?;
        let store = runtime.block_on(site.open())?;
        Ok(OpenedJob { store, job: site.job, runtime })
    }
}

/// A checkpoint or savepoint in JSON. `epoch`: that of its manifest, where it is known.
pub(super) fn which_json(which: &Which, epoch: Option<u64>) -> Value {
    match which {
        Which::Epoch(epoch) => json!({ "epoch": epoch, "savepoint": null }),
        Which::Savepoint(name) => json!({ "epoch": epoch, "savepoint": name }),
    }
}
