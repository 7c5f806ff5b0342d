//! What a running job shows: one live line on a terminal, plain lines elsewhere, or JSON lines for scripts. All of it on standard error.

use super::figures::{bytes, counters, load, operators, parked, paused, recoveries, usage};
use super::outlet;
use super::text::{count, thousands};
use crate::clock::Clock;
use crate::connect::sink::foreign::Foreign;
use crate::engine::{Control, NodeCounters, OperatorEvent};
use crate::job::{CheckpointNotice, Notice};
use indicatif::{ProgressBar, ProgressStyle};
use reprise_core::keying::KEY_GROUPS;
use reprise_core::plain::plain;
use reprise_core::topology::Plan;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two JSON lines.
const JSON_EVERY: Duration = Duration::from_secs(1);
/// Time between two plain lines.
const TEXT_EVERY: Duration = Duration::from_secs(10);
/// Time between two looks of the live line.
const LIVE_EVERY: Duration = Duration::from_millis(200);

/// The display of a running job: takes its notices, and shows its status again and again.
pub(super) struct Display {
    json: bool,
    live: bool,
    board: Mutex<Board>,
}

#[derive(Default)]
struct Board {
    job: String,
    sources: Vec<String>,
    operators: Vec<String>,
    sinks: Vec<String>,
    control: Option<Arc<Control>>,
    checkpoint: Option<(CheckpointNotice, Instant)>,
    began: Option<Instant>,
    last: Option<(Instant, u64)>,
    rate: f64,
    restarts: u64,
    /// Why storage does not answer, while it does not.
    storage_out: Option<String>,
}

impl Display {
    pub fn new(json: bool, live: bool) -> Arc<Self> {
        let bar = live.then(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        outlet::set_style(json, bar);
        Arc::new(Self { json, live, board: Mutex::default() })
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, plan: &Plan, workers: u32) {
        let mut board = self.board();
        board.job.clone_from(&plan.topology.name);
        board.sources = plan.topology.sources.iter().map(|s| s.name.clone()).collect();
        board.operators = plan.topology.operators.iter().map(|o| o.name.clone()).collect();
        board.sinks = plan.topology.sinks.iter().map(|s| s.name.clone()).collect();
        let job = board.job.clone();
        drop(board);
        self.line(
            "begin",
            &format!("job `{job}`, {workers} worker{}", if workers == 1 { "" } else { "s" }),
            json!({ "job": job, "workers": workers }),
        );
    }

    /// One event: as a line of text, or as a JSON object with these members.
    fn line(&self, event: &str, text: &str, mut members: serde_json::Value) {
        if self.json {
            members["event"] = event.into();
            outlet::say_json(&members);
        } else {
            outlet::say(text);
        }
    }

    pub fn clear(&self) {
        outlet::clear_live();
    }

    /// True once the job has begun: from then on there may be something to put into a last checkpoint.
    pub fn has_begun(&self) -> bool {
        self.board().began.is_some()
    }

    /// What is to be told of a job that did not end within this time of being asked to.
    pub fn unfinished(&self, bound: Duration) -> String {
        let board = self.board();
        let bound = reprise_core::topology::show_duration(bound);
        let mut text =
            format!("the job was asked to stop and did not within {bound} (`checkpoint.stop-timeout`): there is no last checkpoint");
        let newest = board.checkpoint.as_ref().map(|(checkpoint, _)| checkpoint.epoch);
        if let Some(control) = &board.control {
            let newest = newest.unwrap_or(control.completed());
            text.push_str(&format!(
                "\n  checkpoint {newest} is the newest; {} of rows that were read after it are in none: they are read again, or lost where their source is standard input",
                bytes(control.unstored_bytes())
            ));
            let paused = paused(&board.operators, control);
            if !paused.is_empty() {
                text.push_str(&format!("\n  {}", paused.trim_start_matches(" · ")));
            }
        }
        if let Some(reason) = &board.storage_out {
            text.push_str(&format!("\n  storage does not answer: {reason}"));
        }
        text.push_str("\n  help: `reprise run` takes the job up again; a longer `stop-timeout` gives it more time to end");
        text
    }

    pub fn end(&self, text: &str) {
        self.clear();
        {
            // The last line tells the speed of the whole run.
            let mut board = self.board();
            if let Some(began) = board.began {
                board.last = Some((began, 0));
            }
        }
        let (status, members) = self.status();
        let (control, names) = {
            let board = self.board();
            (board.control.clone(), board.operators.clone())
        };
        if let Some(control) = control.filter(|_| !self.json) {
            outlet::say(&status);
            names.iter().zip(&control.operators).for_each(|(name, counters)| outlet::say(&usage(name, counters)));
            for (name, guard) in names.iter().zip(&control.breakers).filter(|(_, guard)| guard.recoveries.count() > 0) {
                outlet::say(&recoveries(name, guard));
            }
        }
        self.line("end", text, json!({ "text": text, "status": members }));
    }

    pub fn notice(&self, notice: &Notice) {
        match notice {
            Notice::PassedOver { epoch, reason } => self.line(
                "passed-over",
                &format!("checkpoint {epoch} cannot be used and is passed over: {reason}"),
                json!({ "epoch": epoch, "reason": reason }),
            ),
            Notice::Started { generation, from, control, took } => self.started(*generation, *from, control, *took),
            Notice::SinkRecovered { sink, recovered } => self.sink_recovered(sink, recovered),
            Notice::Adopted { sink, what } => {
                self.line("adopted", &format!("sink `{sink}` takes its place over: {what}"), json!({ "sink": sink, "what": what }));
            }
            Notice::Foreign { sink, place, foreign } => self.foreign(sink, place, foreign),
            Notice::SinkSlow { sink, epoch, since } => self.sink_slow(sink, *epoch, *since),
            Notice::OtherComponent { operator } => self.line(
                "other-component",
                &format!("operator `{operator}` runs another component than the checkpoint was made with"),
                json!({ "operator": operator }),
            ),
            Notice::Weaker { what } => self.line("weaker", what, json!({ "what": what })),
            Notice::OtherTopology => {
                let text = "the topology's names or wiring differ from those of the checkpoint; state is matched by name";
                self.line("other-topology", text, json!({}));
            }
            Notice::Checkpoint(checkpoint) => self.checkpoint(checkpoint),
            Notice::Failed { report, attempt, retries, wait } => {
                self.board().restarts += 1;
                let text = format!("{report}\n  help: retry {attempt} of {retries} from the last checkpoint, in {} ms", wait.as_millis());
                self.line(
                    "failed",
                    &text,
                    json!({ "report": report, "attempt": attempt, "retries": retries, "wait_ms": wait.as_millis() as u64 }),
                );
            }
            Notice::Operator(event) => self.operator(event),
            Notice::ParkedGivenUp { operator, rows, to_quarantine } => self.parked_given_up(operator, *rows, *to_quarantine),
            Notice::StorageOut { .. } | Notice::StorageBack { .. } | Notice::SourcesPaused { .. } | Notice::SourcesResumed => {
                self.storage(notice);
            }
            Notice::Savepoint { name, epoch, is_new } => {
                let text = match is_new {
                    true => format!("savepoint `{name}` keeps checkpoint {epoch}"),
                    false => format!("savepoint `{name}` was there already and stays as it is"),
                };
                self.line("savepoint", &text, json!({ "name": name, "epoch": epoch, "is_new": is_new }));
            }
            Notice::NewInput { source, what } => {
                let text = format!("the job had finished, and goes on with new input of source `{source}`: {what}");
                self.line("new-input", &text, json!({ "source": source, "what": what }));
            }
            Notice::Replays { rows } => {
                let text = format!("{} of the quarantine {} sent again", count(*rows, "row"), if *rows == 1 { "is" } else { "are" });
                self.line("replays", &text, json!({ "rows": rows }));
            }
            Notice::Expired { what, objects, bytes } => {
                let text =
                    format!("{what}: {} with {bytes} bytes deleted, as `keep` and `bytes-max` say", count(*objects as u64, "object"));
                self.line("expired", &text, json!({ "what": what, "objects": objects, "bytes": bytes }));
            }
            Notice::Swept { manifests, objects } => {
                tracing::debug!(manifests, objects, "old checkpoints were deleted");
            }
            Notice::SweepFailed { reason } => {
                tracing::warn!(reason, "old checkpoints could not be deleted; the next sweep tries again");
            }
        }
    }

    fn foreign(&self, sink: &str, place: &str, foreign: &Foreign) {
        let Foreign { named, count: found, is_part } = foreign;
        let names: Vec<String> = named.iter().map(|name| format!("`{}`", plain(name))).collect();
        let more = match found - named.len() as u64 {
            0 => String::new(),
            more => format!(" and {} more", thousands(more)),
        };
        let part = if *is_part { "; of each folder there, not all names were looked at" } else { "" };
        let (things, lie) = (count(*found, "thing"), if *found == 1 { "lies" } else { "lie" });
        let text = format!(
            "sink `{sink}`: {things} {lie} in `{}` that no sink has written: {}{more}{part}\n  help: left alone and no reason to stop; move them away if readers could take them for output",
            plain(place),
            names.join(", "),
        );
        let members = json!({ "sink": sink, "place": place, "named": named, "count": found, "is_part": is_part });
        self.line("foreign", &text, members);
    }

    fn sink_slow(&self, sink: &str, epoch: reprise_core::ids::Epoch, since: Duration) {
        let text = format!("sink `{sink}` has been publishing epoch {epoch} for {} s; checkpoints go on, up to a limit", since.as_secs());
        self.line("sink-slow", &text, json!({ "sink": sink, "epoch": epoch, "since_ms": since.as_millis() as u64 }));
    }

    fn parked_given_up(&self, operator: &str, rows: u64, to_quarantine: bool) {
        let (rows_text, becomes) = (count(rows, "row"), if to_quarantine { "to go to quarantine" } else { "dropped" });
        let is = if rows == 1 { "is" } else { "are" };
        let text = format!(
            "{rows_text} that {} parked for operator `{operator}` {is} {becomes}, as asked",
            if rows == 1 { "was" } else { "were" }
        );
        self.line("parked-given-up", &text, json!({ "operator": operator, "rows": rows, "to_quarantine": to_quarantine }));
    }

    /// What an operator goes through.
    fn operator(&self, event: &OperatorEvent) {
        match event {
            OperatorEvent::Failed { operator, instance, report, attempt, retries, wait } => {
                let wait = wait.as_millis() as u64;
                let next = match attempt {
                    0 => "and its rows are tried in smaller calls".to_owned(),
                    _ => format!("and the call is made again, {attempt} of {retries}, in {wait} ms"),
                };
                let text = format!("{report}\n  help: a new instance takes over {next}");
                let members = json!({
                    "operator": operator, "instance": instance, "report": report, "attempt": attempt, "retries": retries, "wait_ms": wait,
                });
                self.line("operator-failed", &text, members);
            }
            OperatorEvent::Recovered { operator, instance, took } => {
                let us = took.as_micros() as u64;
                let text = format!("operator `{operator}` instance {instance} is back after {:.1} ms", us as f64 / 1e3);
                self.line("operator-recovered", &text, json!({ "operator": operator, "instance": instance, "took_us": us }));
            }
            OperatorEvent::Quarantined { operator, instance, epoch, report } => {
                let text = format!("{report}\n  help: the row is in quarantine with epoch {epoch}, and the operator goes on");
                let members = json!({ "operator": operator, "instance": instance, "epoch": epoch, "report": report });
                self.line("quarantined", &text, members);
            }
            OperatorEvent::Paused { operator, pause, reason } => {
                let seconds = pause.as_secs_f64();
                let text = format!(
                    "operator `{operator}` is paused for {seconds:.1} s, its rows wait: {reason}\n  help: `reprise resume FILE {operator}` ends the pause, FILE being the topology"
                );
                let members = json!({ "operator": operator, "pause_ms": pause.as_millis() as u64, "reason": reason });
                self.line("operator-paused", &text, members);
            }
            OperatorEvent::PauseEnded { operator } => {
                let text = format!("the pause of operator `{operator}` is ended as asked: its next call decides");
                self.line("operator-pause-ended", &text, json!({ "operator": operator }));
            }
            OperatorEvent::Resumed { operator } => {
                self.line("operator-resumed", &format!("operator `{operator}` works again"), json!({ "operator": operator }));
            }
            OperatorEvent::TooLarge { operator, instance, bytes } => {
                let text = format!(
                    "operator `{operator}` instance {instance} has {bytes} bytes of state, over `snapshot-copy-max`\n  help: after a failure the whole job is taken up again from its last checkpoint"
                );
                self.line("operator-too-large", &text, json!({ "operator": operator, "instance": instance, "bytes": bytes }));
            }
            OperatorEvent::TooSlow { operator, instance, instances, takes, within } => {
                let [takes_us, within_us] = [takes, within].map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
                let shares = takes_us.div_ceil(within_us.max(1)).saturating_mul((*instances).into());
                let smaller = if shares <= KEY_GROUPS.into() {
                    format!("`parallelism = {shares}` makes its shares of the state small enough; ")
                } else {
                    String::new()
                };
                let text = format!(
                    "operator `{operator}` instance {instance} would take about {:.1} s to come back after a failure, over `recover-within`, which is {:.3} s\n  help: {smaller}`standby = true` keeps a second instance ready beside each",
                    takes.as_secs_f64(),
                    within.as_secs_f64(),
                );
                let members = json!({ "operator": operator, "instance": instance, "takes_us": takes_us, "within_us": within_us });
                self.line("operator-too-slow", &text, members);
            }
        }
    }

    /// What a store that does not answer means for the job.
    fn storage(&self, notice: &Notice) {
        match notice {
            Notice::StorageOut { doing, reason, outage_max } => {
                let seconds = outage_max.as_secs();
                self.board().storage_out = Some(reason.clone());
                let text =
                    format!("storage does not answer: cannot {doing}: {reason}\n  the job goes on and tries again for up to {seconds} s");
                self.line("storage-out", &text, json!({ "doing": doing, "reason": reason, "outage_max_s": seconds }));
            }
            Notice::StorageBack { after } => {
                self.board().storage_out = None;
                let text = format!("storage answers again after {:.1} s", after.as_secs_f32());
                self.line("storage-back", &text, json!({ "after_ms": after.as_millis() as u64 }));
            }
            Notice::SourcesPaused { bytes } => {
                let text = format!(
                    "sources wait: {bytes} bytes of what they have read are in no stored checkpoint (`checkpoint.uncheckpointed-max`)"
                );
                self.line("sources-paused", &text, json!({ "bytes": bytes }));
            }
            Notice::SourcesResumed => self.line("sources-resumed", "sources read again", json!({})),
            _ => {}
        }
    }

    fn started(
        &self,
        generation: reprise_core::ids::Generation,
        from: Option<reprise_core::ids::Epoch>,
        control: &Arc<Control>,
        took: Duration,
    ) {
        let mut board = self.board();
        board.control = Some(Arc::clone(control));
        board.began.get_or_insert_with(Instant::now);
        board.last = None;
        drop(board);
        let ms = took.as_millis() as u64;
        let text = match from {
            Some(epoch) => format!("run {generation} takes up again from checkpoint {epoch} ({ms} ms)"),
            None => format!("run {generation} begins at the beginning"),
        };
        self.line("started", &text, json!({ "generation": generation, "checkpoint": from, "took_ms": ms }));
    }

    fn sink_recovered(&self, sink: &str, recovered: &crate::connect::Recovered) {
        let crate::connect::Recovered { published, taken_back, removed, expired } = *recovered;
        if published + taken_back + removed + expired > 0 {
            let expired_too = match expired {
                0 => String::new(),
                _ => format!(", {expired} deleted that had been taken back long ago or were too many"),
            };
            let text = format!(
                "sink `{sink}`: {published} staged outputs published, {taken_back} published too early taken back, {removed} leftovers removed{expired_too}"
            );
            self.line(
                "sink-recovered",
                &text,
                json!({ "sink": sink, "published": published, "taken_back": taken_back, "removed": removed, "expired": expired }),
            );
        }
    }

    fn checkpoint(&self, checkpoint: &CheckpointNotice) {
        self.board().checkpoint = Some((checkpoint.clone(), Instant::now()));
        let CheckpointNotice { epoch, bytes, cells, rows, rejected, .. } = checkpoint;
        if self.json {
            let members = json!({
                "epoch": epoch, "bytes": bytes, "cells": cells, "state_bytes": checkpoint.state_bytes,
                "rows": rows, "rejected": rejected, "finished": checkpoint.finished,
            });
            self.line("checkpoint", "", members);
        } else {
            tracing::debug!(%epoch, bytes, cells, rows, "checkpoint");
        }
    }

    /// Shows the status again and again.
    pub async fn tick(self: Arc<Self>) {
        let every = if self.json {
            JSON_EVERY
        } else if self.live {
            LIVE_EVERY
        } else {
            TEXT_EVERY
        };
        let mut interval = tokio::time::interval(every);
        interval.tick().await;
        loop {
            interval.tick().await;
            if self.board().control.is_none() {
                outlet::show_live("the job is about to begin");
                continue;
            }
            let (text, members) = self.status();
            match self.live {
                true => outlet::show_live(&text),
                false => self.line("status", &text, members),
            }
        }
    }

    fn status(&self) -> (String, serde_json::Value) {
        let mut board = self.board();
        let Some(control) = board.control.clone() else { return (String::new(), serde_json::Value::Null) };
        let sum = |nodes: &[NodeCounters], pick: fn(&NodeCounters) -> u64| nodes.iter().map(pick).sum::<u64>();
        let rows = sum(&control.sources[..board.sources.len().min(control.sources.len())], |c| load(&c.rows_in));
        let written = sum(&control.sinks, |c| load(&c.rows_in));
        let rejected = sum(&control.sources, |c| load(&c.rejected)) + sum(&control.operators, |c| load(&c.rejected));
        let state: i64 = control.operators.iter().map(|c| c.state_bytes.load(Ordering::Relaxed)).sum();
        let now = Instant::now();
        if let Some((then, before)) = board.last {
            board.rate = rows.saturating_sub(before) as f64 / now.duration_since(then).as_secs_f64().max(1e-6);
        }
        board.last = Some((now, rows));
        let age = board.checkpoint.as_ref().map(|(_, at)| at.elapsed());
        let epoch = board.checkpoint.as_ref().map_or(control.completed(), |(c, _)| c.epoch);
        let total = board.checkpoint.as_ref().map_or(0, |(c, _)| c.rows);
        let now_ms = Clock::System.now_ms();
        let text = format!(
            "{} rows/s · {} rows in, {} out, {} refused · checkpoint {} ({}) · state {}, back within {} ms{}{}",
            thousands(board.rate as u64),
            thousands(rows),
            thousands(written),
            thousands(rejected),
            epoch,
            age.map_or("none yet".into(), |age| format!("{:.1} s ago", age.as_secs_f64())),
            bytes(state.max(0) as u64),
            control.breakers.iter().map(|guard| guard.predicted()).max().unwrap_or_default().as_millis(),
            paused(&board.operators, &control),
            parked(&board.operators, &control, now_ms),
        );
        let names = |names: &[String], nodes: &[NodeCounters]| -> serde_json::Value {
            names.iter().zip(nodes).map(|(name, c)| (name.clone(), counters(c))).collect::<serde_json::Map<_, _>>().into()
        };
        let members = json!({
            "job": board.job,
            "rows_per_second": board.rate,
            "rows_in": rows, "rows_out": written, "rejected": rejected, "rows_checkpointed": total,
            "checkpoint": epoch, "checkpoint_age_ms": age.map(|age| age.as_millis() as u64),
            "state_bytes": state, "restarts": board.restarts,
            "uptime_ms": board.began.map_or(0, |began| began.elapsed().as_millis() as u64),
            "sources": names(&board.sources, &control.sources),
            "operators": operators(&board.operators, &control, now_ms),
            "sinks": names(&board.sinks, &control.sinks),
        });
        (text, members)
    }
}
