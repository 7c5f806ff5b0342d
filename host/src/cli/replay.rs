//! `reprise replay`: makes the call of a capsule fail again, here.

use super::exit;
use super::text::{plain, put_as};
use crate::engine::Reproduced;
use crate::job::{self, CapsuleExtras, Reproduction};
use reprise_core::checkpoint::capsule::{Capsule, CapsuleInput};
use reprise_core::codec::snapshot::SnapshotScope;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArguments {
    /// The capsule.
    capsule: PathBuf,
    /// Try this component instead of the one in the capsule: a mended one, say.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// An environment variable that the operator was granted.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair)]
    variables: Vec<(String, String)>,
    /// A folder that the operator was granted.
    #[arg(long = "folder", value_name = "GUEST=PATH", value_parser = pair)]
    folders: Vec<(String, String)>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`"))?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

pub(super) fn replay(arguments: &ReplayArguments) -> ExitCode {
    let beside = CapsuleExtras {
        component: arguments.component.clone(),
        variables: arguments.variables.clone(),
        folders: arguments.folders.iter().map(|(guest, path)| (guest.clone(), path.into())).collect(),
    };
    let tried = match job::reproduce_capsule(&arguments.capsule, &beside) {
        Ok(tried) => tried,
        Err(error) => return exit::fail_text(2, &exit::text(&error), arguments.json),
    };
    put_as(arguments.json, || json(&tried), || text(&tried));
    ExitCode::from(if tried.is_reproduced() { 0 } else { exit::NOT_REPRODUCED })
}

/// The outcome of the call of a capsule this time, in a line.
fn found(attempt: &Reproduced) -> String {
    match attempt {
        Reproduced::Failed(error) => error.to_string(),
        Reproduced::Succeeded => "the call succeeded".to_owned(),
        Reproduced::Before { call, error } => format!("call {call}, before it, {error}"),
        Reproduced::Diverged { call } => format!("call {call}, before it, returned something else than the first time"),
    }
}

fn backtrace(attempt: &Reproduced) -> &[String] {
    match attempt {
        Reproduced::Failed(error) | Reproduced::Before { error, .. } => &error.backtrace,
        Reproduced::Succeeded | Reproduced::Diverged { .. } => &[],
    }
}

/// The course of a reproduction: what was done before the call that fails.
fn course(tried: &Reproduction) -> String {
    let Reproduction { capsule, cells, calls, .. } = tried;
    match capsule.given {
        CapsuleInput::Rows { .. } | CapsuleInput::Watermark(_) => {
            format!("{cells} cells restored, {calls} calls repeated, then call {}", capsule.failed.number)
        }
        CapsuleInput::Snapshot { part_bytes_max, .. } => {
            let scope = scope(capsule).unwrap_or_default();
            format!("{cells} cells restored, {calls} calls repeated, then a snapshot ({scope}) in parts of {part_bytes_max} bytes")
        }
        CapsuleInput::Start => format!("a fresh instance, {cells} cells to restore, {calls} calls to repeat"),
    }
}

/// The cells that a snapshot was to hold.
fn scope(capsule: &Capsule) -> Option<&'static str> {
    match capsule.given {
        CapsuleInput::Snapshot { scope: SnapshotScope::Full, .. } => Some("full"),
        CapsuleInput::Snapshot { scope: SnapshotScope::Delta, .. } => Some("changes"),
        _ => None,
    }
}

fn text(tried: &Reproduction) -> String {
    let capsule = &tried.capsule;
    let frames = |frames: &[String]| frames.iter().map(|frame| format!("  in {}\n", plain(frame))).collect::<String>();
    let verdict = match (tried.is_reproduced(), tried.is_other_component) {
        (true, false) => "reproduced: the same call fails in the same way at the same place",
        (true, true) => "the other component fails in the same way",
        (false, true) if tried.attempt == Reproduced::Succeeded => "mended: the other component does not fail",
        (false, _) => "not reproduced",
    };
    format!(
        "operator `{}` instance {} of {} of job `{}`, epoch {}\n{}\nthen  {}\n{}now   {}\n{}{verdict}\n",
        plain(&capsule.operator),
        capsule.instance,
        capsule.parallelism,
        plain(&capsule.job),
        capsule.epoch,
        course(tried),
        plain(&capsule.fault.message),
        frames(&capsule.fault.backtrace),
        plain(&found(&tried.attempt)),
        frames(backtrace(&tried.attempt)),
    )
}

fn json(tried: &Reproduction) -> serde_json::Value {
    let capsule = &tried.capsule;
    let given = match capsule.given {
        CapsuleInput::Rows { .. } => "rows",
        CapsuleInput::Watermark(_) => "watermark",
        CapsuleInput::Snapshot { .. } => "snapshot",
        CapsuleInput::Start => "start",
    };
    serde_json::json!({
        "job": capsule.job, "operator": capsule.operator, "instance": capsule.instance, "parallelism": capsule.parallelism,
        "epoch": capsule.epoch, "component": capsule.component.to_string(), "other_component": tried.is_other_component,
        "cells": tried.cells, "calls": tried.calls, "call": capsule.failed.number, "given": given, "scope": scope(capsule), "reproduced": tried.is_reproduced(),
        "expected": { "call": capsule.fault.call, "kind": capsule.fault.kind, "message": capsule.fault.message, "backtrace": capsule.fault.backtrace },
        "found": { "failed": matches!(tried.attempt, Reproduced::Failed(_)), "message": found(&tried.attempt), "backtrace": backtrace(&tried.attempt) },
    })
}
