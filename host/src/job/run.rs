//! Runs a prepared job: one attempt after another, until it ends or gives up.
//!
//! | file | what |
//! |---|---|
//! | `run` | the loop over attempts: when another one follows, and after which wait |
//! | `run/attempt` | one attempt: takes the job up, lets engine and committer work side by side, says how it ended |
//! | `run/assembly` | what an attempt is made of: workers, recorder, dataflow, committer |
//! | `run/inputs`, `run/outputs` | its sources and its sinks |
//! | `run/foreign` | what lies beside the output of its sinks |
//! | `run/fit` | whether a checkpoint fits the topology |
//! | `run/again` | attempts that follow for rows of the quarantine to be sent again |

mod again;
mod assembly;
mod attempt;
mod fit;
mod foreign;
mod inputs;
mod options;
mod outputs;
mod seen_sinks;

use super::capsule;
use super::error::{Error, failed};
use super::notice::Notice;
use super::prepare::{self, Prepared};
use crate::clock::Clock;
use crate::engine::Failure;
use crate::wasm;
use attempt::{Attempt, Job, asked};
pub use options::{Ending, Options};
use reprise_core::failure::{Decision, Failures, Policy};
use reprise_core::ids::Generation;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Runs a job to its end.
///
/// # Errors
/// See [`Error`]. Whatever the error, the state is that of the last complete checkpoint.
pub async fn run(prepared: Prepared, options: Options) -> Result<Ending, Error> {
    let store = prepare::store(&prepared.plan.topology, &prepared.base_dir, options.intercept.clone()).await?;
    store.probe().await.map_err(failed("use the store"))?;
    let job = Job { prepared, options, store, own: AtomicU64::new(0), idle: AtomicU32::new(0), tidied: Arc::default() };
    let mut failures = Failures::default();
    let (mut first, mut first_gave_up) = (true, None);
    loop {
        let began = Instant::now();
        let attempt = job.attempt(std::mem::take(&mut first)).await?;
        let (mut failure, index, completed, progress) = match attempt {
            Attempt::Ended(ending) => return Ok(ending),
            // There are rows to send again: their source is part of the next dataflow.
            Attempt::Again => {
                job.rest(began).await;
                continue;
            }
            Attempt::Failed { failure, operator, completed, progress } => (failure, operator, completed, progress),
        };
        capsule::keep(&job.store, job.origin(index), Generation(job.own.load(Ordering::Acquire)), &mut failure).await;
        // The operator was tried again and again by itself, or its topology says that the job is to stop.
        if let Failure::Guest { gave_up: Some(failures), .. } = failure {
            if first_gave_up.replace(failures).is_some() || !*job.options.stop.borrow() {
                return Err(Error::Gave { failure: Box::new(failure), failures, completed });
            }
            // A user who asked to stop still gets a last checkpoint, by an attempt that reads nothing.
            (job.options.watch)(Notice::Failed { report: failure.to_string(), attempt: 1, retries: 1, wait: Duration::ZERO });
            continue;
        }
        let on_failure = &job.prepared.plan.topology.operators[index].on_failure;
        // What `open` and `restore` refuse in so many words, they will refuse again.
        let refused = matches!(&failure, Failure::Guest { error, .. } if matches!(error.call, "open" | "restore") && matches!(error.fault, wasm::Fault::Returned(_)));
        if refused {
            return Err(Error::Refused { failure: Box::new(failure) });
        }
        let policy = Policy { retries: on_failure.retries, backoff_min: on_failure.backoff_min, backoff_max: on_failure.backoff_max };
        match failures.decide(&policy, progress, Clock::unlikely_number()) {
            Decision::Stop { failures } => return Err(Error::Gave { failure: Box::new(failure), failures, completed }),
            Decision::Retry { attempt, wait } => {
                (job.options.watch)(Notice::Failed { report: failure.to_string(), attempt, retries: policy.retries, wait });
                let mut stop = job.options.stop.clone();
                // A user who asks to stop meanwhile still gets a last checkpoint, by an attempt that reads nothing.
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = asked(&mut stop) => {}
                }
            }
        }
    }
}
