//! `reprise checkpoint verify`: every object that checkpoints need, read and checked.

use crate::cli::figures::bytes;
use crate::cli::site::{self, CommandFailure, Where, which_json};
use crate::cli::text::thousands;
use crate::cli::text::{self, count, plain};
use crate::cli::{exit, outlet};
use crate::job::Kind;
use crate::job::survey::{self, CheckpointVerdict, Role, SurveyProgress, Verified, Verify, Which};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Time between two lines of progress where there is no terminal.
const TEXT_EVERY: Duration = Duration::from_secs(10);

pub(super) fn verify(words: &[String], place: &Where) -> Result<ExitCode, CommandFailure> {
    let rest = place.rest(words, 0, 1)?;
    let what = match rest.first().map(String::as_str) {
        None | Some("all") => Verify::All,
        Some(text) => Verify::One(site::choice(text)?),
    };
    let opened = place.open(words)?;
    let mut shown = Shown::new(place.json);
    let verified = opened.wait(survey::verify(&opened.store, &opened.job, &what, &mut |progress| shown.show(progress)));
    shown.clear();
    let verified = verified?;
    text::put_as(
        place.json,
        || verified_json(&opened.job, &opened.store.root(), &verified),
        || picture(&opened.job, &opened.store.root(), &verified),
    );
    if verified.is_sound() {
        return Ok(ExitCode::SUCCESS);
    }
    if !place.json {
        let damaged =
            verified.verdicts.iter().filter(|(_, v)| matches!(v, CheckpointVerdict::Bad { .. } | CheckpointVerdict::Unreadable(_))).count();
        outlet::say(&format!(
            "error: {damaged} of {} checkpoints and savepoints are damaged\n  help: restore the objects from a copy; `reprise run` passes damaged checkpoints over as long as an older one is whole",
            verified.verdicts.len()
        ));
    }
    Ok(ExitCode::from(exit::code(Kind::Corrupt)))
}

/// A bar on a terminal, a line now and then elsewhere. Both on standard error.
struct Shown {
    bar: Option<ProgressBar>,
    quiet: bool,
    next: Instant,
}

impl Shown {
    fn new(json: bool) -> Self {
        let bar = (!json && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{bar:40} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style)
        });
        Self { bar, quiet: json, next: Instant::now() + TEXT_EVERY }
    }

    fn show(&mut self, progress: SurveyProgress) {
        let SurveyProgress { objects, objects_all, bytes: read, bytes_all } = progress;
        let text = || format!("{} of {} objects, {} of {}", thousands(objects), thousands(objects_all), bytes(read), bytes(bytes_all));
        if let Some(bar) = &self.bar {
            bar.set_length(bytes_all.max(1));
            bar.set_position(read);
            bar.set_message(text());
        } else if !self.quiet && Instant::now() >= self.next {
            outlet::say(&format!("verified {}", text()));
            self.next = Instant::now() + TEXT_EVERY;
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Snapshot => "snapshot",
        Role::Parked => "parked",
        Role::Quarantine => "quarantine",
    }
}

fn verified_json(job: &str, root: &str, verified: &Verified) -> Value {
    let verdict = |(which, verdict): &(Which, CheckpointVerdict)| {
        let mut json = which_json(which, None);
        let (word, objects, bad, usable, reason) = match verdict {
            CheckpointVerdict::Sound { objects } => ("sound", *objects, 0, true, None),
            CheckpointVerdict::Bad { objects, bad, unusable } => ("bad", *objects, *bad, !unusable, None),
            CheckpointVerdict::Unreadable(reason) => ("unreadable", 0, 0, false, Some(reason)),
            CheckpointVerdict::Gone => ("gone", 0, 0, false, None),
        };
        json["verdict"] = word.into();
        json["objects"] = objects.into();
        json["bad"] = bad.into();
        json["usable"] = usable.into();
        json["reason"] = reason.cloned().into();
        json
    };
    let bad = verified.bad.iter().map(|bad| {
        let needed_by: Vec<Value> = bad.needed_by.iter().map(|which| which_json(which, None)).collect();
        json!({ "path": bad.path, "role": role(bad.role), "reason": bad.reason, "needed_by": needed_by })
    });
    json!({
        "job": job, "store": root, "sound": verified.is_sound(), "objects": verified.objects, "bytes": verified.bytes,
        "left_out": verified.left_out, "checkpoints": verified.verdicts.iter().map(verdict).collect::<Vec<_>>(), "bad": bad.collect::<Vec<_>>(),
    })
}

fn picture(job: &str, root: &str, verified: &Verified) -> String {
    let mut out = format!("job `{job}` in {root}: {}, {}\n", count(verified.objects, "object"), bytes(verified.bytes));
    for (which, verdict) in &verified.verdicts {
        out.push_str(&match verdict {
            CheckpointVerdict::Sound { objects } => format!("  {which}: sound, {}\n", count(*objects as u64, "object")),
            CheckpointVerdict::Bad { objects, bad, unusable } => {
                let usable = if *unusable { "it cannot be taken up" } else { "it can still be taken up" };
                format!("  {which}: {bad} of {} bad; {usable}\n", count(*objects as u64, "object"))
            }
            CheckpointVerdict::Unreadable(reason) => format!("  {which}: its manifest cannot be used: {}\n", plain(reason)),
            CheckpointVerdict::Gone => format!("  {which}: was deleted meanwhile\n"),
        });
    }
    if verified.left_out > 0 {
        out.push_str(&format!("  {} more were left out\n", thousands(verified.left_out as u64)));
    }
    for bad in &verified.bad {
        let needed_by: Vec<String> = bad.needed_by.iter().map(Which::to_string).collect();
        let what = match bad.role {
            Role::Snapshot => "",
            Role::Parked => " (parked rows)",
            Role::Quarantine => " (refused rows, not needed to take up again)",
        };
        out.push_str(&format!("bad: {}{what}\n  needed by {}\n", plain(&bad.reason), needed_by.join(", ")));
    }
    out
}
