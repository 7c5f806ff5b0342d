//! `reprise savepoint`: asks the running host for a savepoint, makes one where no host runs, or removes one.

use super::arguments::SavepointArguments;
use super::{exit, system, text};
use crate::clock::Clock;
use crate::job::{self, Error};
use reprise_core::checkpoint::manifest::Request;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

pub(super) fn savepoint(arguments: SavepointArguments) -> ExitCode {
    let json = arguments.json;
    let (name, what) = (arguments.name.clone(), if arguments.drop { "removed" } else { "made" });
    let runtime = system::runtime();
    match runtime.as_ref().map(|runtime| runtime.block_on(carry_out(arguments))) {
        Ok(Ok(())) if json => text::put_json(&serde_json::json!({ "savepoint": name, "done": what })),
        Ok(Ok(())) => text::put(&format!("savepoint `{}` is {what}\n", text::plain(&name))),
        Ok(Err(error)) => return exit::fail(&error, json),
        Err(error) => return exit::fail_threads(error, json),
    }
    ExitCode::SUCCESS
}

async fn carry_out(arguments: SavepointArguments) -> Result<(), Error> {
    let SavepointArguments { file, name, stop, offline, drop, wait, cache, .. } = arguments;
    if offline {
        return offline_savepoint(file, name, cache.dir()).await;
    }
    let store = job::open_store(&file).await?;
    if drop {
        return job::remove_savepoint(&store, &name).await;
    }
    let request = Request { name, stop, writer: Clock::unlikely_number(), asked_ms: Clock::System.now_ms() };
    job::ask_for_savepoint(&store, &request, Duration::from_secs(wait)).await
}

/// A run that reads nothing: it takes the job over, and its only checkpoint becomes the savepoint.
async fn offline_savepoint(file: std::path::PathBuf, name: String, cache: Option<std::path::PathBuf>) -> Result<(), Error> {
    let workers = job::workers_of(&file).await?;
    let prepared = tokio::task::spawn_blocking(move || job::prepare(&file, workers, cache)).await;
    let prepared = prepared.map_err(|error| Error::Internal(error.to_string()))??;
    let (_ask, stop) = watch::channel(true);
    let watch: job::Watch = Arc::new(|_| {});
    job::run(
        prepared,
        job::Options { workers, stop, watch, clock: Clock::System, start: None, adopt: false, savepoint: Some(name), intercept: None },
    )
    .await
    .map(|_| ())
}
