//! `reprise check`: every mistake of a topology at once, or its plan.

use super::arguments::CheckArguments;
use super::{exit, text};
use crate::job::{Error, prepare};
use std::collections::BTreeMap;
use std::process::ExitCode;

pub(super) fn check(arguments: &CheckArguments) -> ExitCode {
    let prepared = match prepare(&arguments.file, arguments.workers, arguments.cache.dir()) {
        Ok(prepared) => prepared,
        Err(Error::Topology(problems)) if arguments.json => {
            text::put_json(&serde_json::json!({ "ok": false, "problems": problems }));
            return ExitCode::from(exit::code(crate::job::Kind::Topology));
        }
        Err(error) => return exit::fail(&error, false),
    };
    let plan = prepared.plan.render(arguments.workers as usize);
    if arguments.json {
        let operators: Vec<_> = prepared
            .plan
            .topology
            .operators
            .iter()
            .zip(&prepared.plan.descriptions)
            .zip(&prepared.components)
            .map(|((operator, description), component)| {
                let grant = serde_json::json!({
                    "env": operator.grant.variables.iter().map(|(name, _)| name).collect::<Vec<_>>(),
                    "folders": operator.grant.folders.iter().map(|f| (f.guest.clone(), f.path.clone())).collect::<BTreeMap<_, _>>(),
                });
                serde_json::json!({
                    "name": operator.name,
                    "component": component.digest().to_string(),
                    "imports": component.imports(),
                    "grant": grant,
                    "description": description,
                })
            })
            .collect();
        let json = serde_json::json!({ "ok": true, "job": prepared.plan.topology.name, "operators": operators, "plan": plan });
        text::put_json(&json);
    } else {
        text::put(&plan);
    }
    ExitCode::SUCCESS
}
