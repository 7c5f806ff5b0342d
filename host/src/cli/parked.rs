//! `reprise parked`: what waits for operators that are paused or slow, and what to do with it where an operator will not come back.

use super::figures;
use super::resume;
use super::site::{self, CommandFailure, Where, which_json};
use super::text::{self, plain, thousands};
use super::{checkpoint::CHECKPOINT, exit};
use crate::clock::Clock;
use crate::job::survey::{ChosenCheckpoint, ParkedSummary};
use crate::job::{self, Error, OperatorAnswer, OperatorWish, Requester};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const LIST: &str = "reprise parked list (FILE | --store URL --job NAME) [OPTIONS]";

#[derive(Debug, clap::Subcommand)]
pub(super) enum ParkedCommand {
    /// List what is parked for each operator in a checkpoint: rows, their size, the age of the oldest, and the objects that hold them.
    #[command(
        override_usage = LIST,
        after_help = format!("{CHECKPOINT}\n\nExamples:\n  reprise parked list topology.toml\n  reprise parked list topology.toml --at before-upgrade --json")
    )]
    List {
        /// FILE: a topology file. Its components are not loaded and may be missing.
        #[arg(value_name = "FILE")]
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
        /// The checkpoint.
        #[arg(long, value_name = "CHECKPOINT", default_value = "latest")]
        at: String,
    },
    /// Drop what is parked for an operator: its rows are worked on by nobody.
    #[command(
        after_help = "The host that runs the job does it; the request goes through the store, so it may run elsewhere. The next checkpoint\n\
            is without the rows. What arrives later is parked as before.\n\n\
            Examples:\n  reprise parked drop topology.toml count\n  reprise parked drop topology.toml count --wait 300 --json"
    )]
    Drop(GivingUp),
    /// Move what is parked for an operator to quarantine, from which `reprise quarantine replay` can send it again.
    #[command(
        after_help = "The host that runs the job does it; the request goes through the store, so it may run elsewhere. The rows are in\n\
            quarantine from the next checkpoint on; many take several. What arrives later is parked as before.\n\n\
            Examples:\n  reprise parked move-to-quarantine topology.toml count\n  reprise parked move-to-quarantine topology.toml count --wait 300 --json"
    )]
    MoveToQuarantine(GivingUp),
}

#[derive(Debug, clap::Args)]
pub(super) struct GivingUp {
    /// The topology file.
    file: PathBuf,
    /// The operator. That nothing is parked for it is an error.
    operator: String,
    /// How long to wait for the host that runs the job, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn parked(command: ParkedCommand) -> ExitCode {
    match command {
        ParkedCommand::List { words, place, at } => site::end(list(&words, &place, &at), LIST, place.json),
        ParkedCommand::Drop(arguments) => give_up(&arguments, false),
        ParkedCommand::MoveToQuarantine(arguments) => give_up(&arguments, true),
    }
}

fn list(words: &[String], place: &Where, at: &str) -> Result<ExitCode, CommandFailure> {
    place.rest(words, 0, 0)?;
    let opened = place.open(words)?;
    let chosen = opened.choose(at)?;
    let now_ms = Clock::System.now_ms();
    text::put_as(place.json, || format!("{}\n", list_json(&chosen, &opened.store.root(), now_ms)), || picture(&chosen, now_ms));
    Ok(ExitCode::SUCCESS)
}

/// The operators that something is parked for.
fn waiting(chosen: &ChosenCheckpoint) -> Vec<(&str, ParkedSummary)> {
    let each = chosen.manifest.operators.iter().map(|operator| (operator.name.as_str(), ParkedSummary::of_operator(operator)));
    each.filter(|(_, parked)| parked.objects > 0).collect()
}

fn list_json(chosen: &ChosenCheckpoint, root: &str, now_ms: i64) -> Value {
    let operator = |(name, parked): (&str, ParkedSummary)| {
        let mut json = figures::parked_json(&parked);
        json["operator"] = name.into();
        json["age_ms"] = parked.age_ms(now_ms).into();
        json
    };
    let operators: Vec<Value> = waiting(chosen).into_iter().map(operator).collect();
    let mut json = json!({ "job": chosen.manifest.job, "store": root, "operators": operators });
    if let (Value::Object(all), Value::Object(which)) = (&mut json, which_json(&chosen.which, Some(chosen.manifest.epoch.0))) {
        all.extend(which);
    }
    json
}

fn picture(chosen: &ChosenCheckpoint, now_ms: i64) -> String {
    let heading = text::heading(&chosen.which, chosen.manifest.epoch);
    let mut out = format!("parked input at {heading} of job `{}`\n", chosen.manifest.job);
    let waiting = waiting(chosen);
    if waiting.is_empty() {
        out.push_str("  nothing is parked\n");
        return out;
    }
    let mut rows = vec![["operator", "rows", "size", "oldest", "objects"].map(str::to_owned).to_vec()];
    rows.extend(waiting.into_iter().map(|(name, parked)| {
        let age = parked.age_ms(now_ms).map_or_else(String::new, |age| figures::age(Duration::from_millis(age)));
        vec![plain(name), thousands(parked.rows), figures::bytes(parked.bytes), age, thousands(parked.objects as u64)]
    }));
    out.push_str(&text::table(&rows, &[false, true, true, true, true]));
    out
}

fn give_up(arguments: &GivingUp, to_quarantine: bool) -> ExitCode {
    let json = arguments.json;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::fail_threads(&error, json),
    };
    let answer = match runtime.block_on(ask(arguments, to_quarantine)) {
        Ok(answer) => answer,
        Err(error) => return exit::fail(&error, json),
    };
    text::put_as(json, || format!("{}\n", answer_json(&answer, to_quarantine)), || told(&answer, to_quarantine));
    ExitCode::SUCCESS
}

async fn ask(arguments: &GivingUp, to_quarantine: bool) -> Result<OperatorAnswer, Error> {
    let GivingUp { file, operator, wait, .. } = arguments;
    let (store, names) = job::open_store_with_names(file).await?;
    if !names.contains(operator) {
        return Err(resume::unknown(operator, &names));
    }
    let by = Requester { writer: Clock::unlikely_number(), now_ms: Clock::System.now_ms() };
    let (wish, operators) = (OperatorWish::Unpark { to_quarantine }, std::slice::from_ref(operator));
    let answers = job::ask_about_operators(&store, operators, wish, by, Duration::from_secs(*wait)).await?;
    match answers.into_iter().next() {
        Some(answer) if answer.was_so != Some(false) => Ok(answer),
        _ => Err(Error::Operator {
            operator: operator.clone(),
            what: "has nothing parked".into(),
            help: "nothing was changed; `reprise parked list` says what the newest checkpoint has".into(),
        }),
    }
}

fn answer_json(answer: &OperatorAnswer, to_quarantine: bool) -> Value {
    json!({ "operator": answer.operator, "was_parked": answer.was_so, "to_quarantine": to_quarantine })
}

fn told(answer: &OperatorAnswer, to_quarantine: bool) -> String {
    let name = plain(&answer.operator);
    match (answer.was_so, to_quarantine) {
        (Some(_), true) => format!("what was parked for operator `{name}` moves to quarantine, from the next checkpoint on\n"),
        (Some(_), false) => format!("what was parked for operator `{name}` is dropped: the next checkpoint is without it\n"),
        (None, _) => format!("what was parked for operator `{name}` is given up: somebody else asked at the same time\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::survey::Which;
    use reprise_core::checkpoint::manifest::ParkedRef;
    use reprise_core::checkpoint::manifest::{InstanceState, Manifest, ObjectRef, OperatorState};
    use reprise_core::codec::snapshot::SnapshotScope;
    use reprise_core::ids::{Digest, Epoch};

    fn chosen() -> ChosenCheckpoint {
        let object = ObjectRef { path: "p".into(), scope: SnapshotScope::Full, bytes: 40_000, checksum: 0, entries: 2_000 };
        let parked = ParkedRef { object, hops: vec![], done: 500, rows: 1_500, bytes: 30_720, since_ms: 1_000 };
        let operator = |name: &str, parked| OperatorState {
            name: name.into(),
            component: Digest([0; 32]),
            slots: vec![],
            instances: vec![InstanceState { parked, ..InstanceState::default() }],
        };
        let operators = vec![operator("parse", vec![]), operator("count", vec![parked])];
        let manifest = Manifest { job: "j".into(), epoch: Epoch(41), operators, ..Manifest::default() };
        ChosenCheckpoint { which: Which::Epoch(Epoch(41)), manifest, passed_over: vec![] }
    }

    #[test]
    fn what_waits_is_listed_with_its_age() {
        let told = picture(&chosen(), 121_000);
        assert_eq!(
            told,
            "parked input at checkpoint 41 of job `j`\n  operator   rows      size   oldest  objects\n  count     1,500  30.0 KiB  2.0 min        1\n"
        );
        let expected = json!({
            "job": "j", "store": "memory:", "epoch": 41, "savepoint": null,
            "operators": [{
                "operator": "count", "rows": 1_500, "bytes": 30_720, "since_ms": 1_000, "age_ms": 120_000, "objects": 1, "object_bytes": 40_000,
            }],
        });
        assert_eq!(list_json(&chosen(), "memory:", 121_000), expected);
        let mut nothing = chosen();
        nothing.manifest.operators.truncate(1);
        assert_eq!(picture(&nothing, 0), "parked input at checkpoint 41 of job `j`\n  nothing is parked\n");
    }

    #[test]
    fn who_gives_up_is_told_what_becomes_of_the_rows() {
        let answer = |was_so| OperatorAnswer { operator: "a".into(), was_so };
        assert_eq!(told(&answer(Some(true)), true), "what was parked for operator `a` moves to quarantine, from the next checkpoint on\n");
        assert_eq!(told(&answer(Some(true)), false), "what was parked for operator `a` is dropped: the next checkpoint is without it\n");
        assert_eq!(told(&answer(None), false), "what was parked for operator `a` is given up: somebody else asked at the same time\n");
        assert_eq!(answer_json(&answer(None), true), json!({ "operator": "a", "was_parked": null, "to_quarantine": true }));
    }
}
