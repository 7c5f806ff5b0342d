//! `reprise run`: runs a job and shows how it goes.

use super::progress::Display;
use super::{Log, RunArguments, exit};
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
/// How long tasks that still run get when everything is over.
const SHUTDOWN: Duration = Duration::from_millis(500);
/// Exit code after a second Ctrl-C, as shells have it for a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

pub(super) fn run(arguments: RunArguments) -> ExitCode {
    let json = arguments.log == Log::Json;
    let workers = arguments.workers.unwrap_or_else(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        processors.min(WORKERS_DEFAULT_MAX) as u32
    });
    let live = arguments.log == Log::Auto && std::io::stderr().is_terminal();
    let display = Display::new(json, live);
    display.subscribe_to_logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::fail(&Error::Internal(format!("threads cannot be started: {error}")), json),
    };
    let shown = Arc::clone(&display);
    let result = runtime.block_on(async move {
        // From here on a signal ends the job as it should, even while components are compiled.
        let (ask, stop) = watch::channel(false);
        let listener = tokio::spawn(listen(ask, Arc::clone(&shown)));
        let file = arguments.file.clone();
        let cache = arguments.cache.dir();
        let prepared = tokio::task::spawn_blocking(move || job::prepare(&file, workers, cache)).await;
        let prepared = prepared.map_err(|error| Error::Internal(error.to_string()))??;
        shown.begin(&prepared.plan, workers);
        let ticker = tokio::spawn(Arc::clone(&shown).tick());
        let watch: job::Watch = {
            let shown = Arc::clone(&shown);
            Arc::new(move |notice| shown.notice(&notice))
        };
        let options = job::Options {
            workers,
            stop,
            watch,
            clock: Clock::System,
            start: arguments.from,
            adopt: arguments.adopt,
            savepoint: None,
            intercept: None,
        };
        let ending = job::run(prepared, options).await;
        listener.abort();
        ticker.abort();
        ending
    });
    // A read from standard input may never return; it must not hold up the end.
    runtime.shutdown_timeout(SHUTDOWN);
    match result {
        Ok(ending) => {
            display.end(match ending {
                Ending::Finished => "finished: the input has ended and all output is published",
                Ending::AlreadyFinished => "finished already in an earlier run: nothing to do",
                Ending::Stopped => "stopped as asked: the last checkpoint is complete, `reprise run` goes on from there",
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

/// The first Ctrl-C (or SIGTERM) asks for a last checkpoint, the second one ends the process.
async fn listen(ask: watch::Sender<bool>, display: Arc<Display>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    let mut asked = false;
    loop {
        tokio::select! {
            received = tokio::signal::ctrl_c() => if received.is_err() { return },
            _ = terminate.recv() => {}
        }
        if asked {
            std::process::exit(INTERRUPTED);
        }
        asked = true;
        display.say("stopping: a last checkpoint is being made; once more Ctrl-C ends at once");
        // An error means that the job is over already.
        let _ = ask.send(true);
    }
}
