//! `reprise run`: runs a job and shows how it goes.

use super::arguments::{Log, RunArguments};
use super::progress::Display;
use super::warden::Warden;
use super::{exit, log, system};
use crate::clock::Clock;
use crate::connect::ConnectError;
use crate::engine::Failure;
use crate::job::{self, Ending, Error};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Most workers that are started without being asked for.
const WORKERS_DEFAULT_MAX: usize = 8;
/// The time that tasks get which still run when everything is over.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// The good end of a run.
enum Outcome {
    Ended(Ending),
    /// The job was asked to stop before it had begun.
    NotBegun,
}

pub(super) fn run(arguments: RunArguments) -> ExitCode {
    let json = arguments.log == Log::Json;
    let live = arguments.log == Log::Auto && std::io::stderr().is_terminal();
    let display = Display::new(json, live);
    log::show(json, "info");
    let (ask, stop) = watch::channel(false);
    // From here on a signal ends the job as it should, even while components are compiled.
    let shown = Arc::clone(&display);
    let warden = match Warden::start(ask, Box::new(move |bound| shown.unfinished(bound)), json) {
        Ok(warden) => warden,
        Err(error) => return exit::fail_threads(&error, json),
    };
    let workers = arguments.workers.unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        processors.min(WORKERS_DEFAULT_MAX) as u32
    });
    let runtime = match system::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return exit::fail_threads(&error, json),
    };
    let result = runtime.block_on(carry_out((arguments, workers), Arc::clone(&display), warden, stop));
    // A read from standard input may never return; it must not hold up the end.
    runtime.shutdown_timeout(SHUTDOWN);
    match result {
        Ok(outcome) => {
            display.end(match outcome {
                Outcome::Ended(Ending::Finished) => "finished: the input has ended and all output is published",
                Outcome::Ended(Ending::AlreadyFinished) => "finished already in an earlier run: nothing to do",
                Outcome::Ended(Ending::Stopped) => "stopped as asked: the last checkpoint is complete, `reprise run` goes on from there",
                Outcome::NotBegun => "stopped as asked before the job began: nothing was read, `reprise run` begins it",
            });
            ExitCode::SUCCESS
        }
        Err(error) => {
            display.clear();
            let closed = |failure: &Failure| matches!(failure, Failure::Connect { error: ConnectError::ClosedPipe { .. }, .. });
            let quiet = matches!(&error, Error::Engine(failure) if closed(failure));
            if quiet { ExitCode::from(exit::code(error.kind())) } else { exit::fail(&error, json) }
        }
    }
}

async fn carry_out(
    (arguments, workers): (RunArguments, u32),
    shown: Arc<Display>,
    warden: Arc<Warden>,
    stop: watch::Receiver<bool>,
) -> Result<Outcome, Error> {
    let (file, cache) = (arguments.file.clone(), arguments.cache.dir());
    let ticker = tokio::spawn(Arc::clone(&shown).tick());
    let asked_early = || is_asked_before_begin(Arc::clone(&shown), stop.clone());
    let prepared = tokio::task::spawn_blocking(move || job::prepare(&file, workers, cache));
    let prepared = tokio::select! {
        prepared = prepared => prepared.map_err(|error| Error::Internal(error.to_string()))??,
        // What is being compiled is in nobody's way.
        () = asked_early() => return Ok(Outcome::NotBegun),
    };
    warden.set_bound(prepared.plan.topology.checkpoint.stop_timeout);
    // Each worker is a thread, and so is each instance of a source and of a sink.
    let topology = &prepared.plan.topology;
    let threads = (1 + topology.sources.len() + topology.sinks.len()) * workers as usize;
    if let Err(error) = system::ask_for_threads(threads) {
        return Err(Error::Engine(Box::new(Failure::no_thread("the threads of the job", &error))));
    }
    shown.begin(&prepared.plan, workers);
    let watch: job::Watch = {
        let shown = Arc::clone(&shown);
        Arc::new(move |notice| shown.notice(&notice))
    };
    let options = job::Options {
        workers,
        stop: stop.clone(),
        watch,
        clock: Clock::System,
        start: arguments.from,
        adopt: arguments.adopt,
        savepoint: None,
        intercept: None,
    };
    let ending = tokio::select! {
        ending = job::run(prepared, options) => ending.map(Outcome::Ended),
        // As safe as any crash, and there is nothing to lose: not a row was read.
        () = asked_early() => Ok(Outcome::NotBegun),
    };
    ticker.abort();
    ending
}

/// Waits until somebody asks to stop; for ever where the job has begun by then.
async fn is_asked_before_begin(shown: Arc<Display>, mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() || shown.has_begun() {
        std::future::pending().await
    }
}
