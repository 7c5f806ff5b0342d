//! `reprise resume`: asks the running host to end the pause of an operator, or of all.

use super::arguments::ResumeArguments;
use super::{exit, text};
use crate::clock::Clock;
use crate::job::{self, Error, OperatorAnswer, OperatorWish, Requester};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

pub(super) fn resume(arguments: ResumeArguments) -> ExitCode {
    let json = arguments.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.as_ref().map(|runtime| runtime.block_on(carry_out(arguments))) {
        Ok(Ok(resumed)) if json => {
            let each = resumed.iter().map(|one| json!({ "operator": one.operator, "was_paused": one.was_so }));
            text::put_json(&json!({ "operators": each.collect::<Vec<_>>() }));
        }
        Ok(Ok(resumed)) => text::put(&picture(&resumed)),
        Ok(Err(error)) => return exit::fail(&error, json),
        Err(error) => return exit::fail_threads(error, json),
    }
    ExitCode::SUCCESS
}

async fn carry_out(arguments: ResumeArguments) -> Result<Vec<OperatorAnswer>, Error> {
    let ResumeArguments { file, operator, wait, .. } = arguments;
    let (store, names) = job::open_store_with_names(&file).await?;
    let chosen = match &operator {
        Some(operator) if !names.contains(operator) => return Err(unknown(operator, &names)),
        Some(operator) => std::slice::from_ref(operator),
        None => &names,
    };
    let by = Requester { writer: Clock::unlikely_number(), now_ms: Clock::System.now_ms() };
    let resumed = job::ask_about_operators(&store, chosen, OperatorWish::Resume, by, Duration::from_secs(wait)).await?;
    match resumed.as_slice() {
        // Who names an operator expects it to be paused.
        [OperatorAnswer { operator: name, was_so: Some(false) }] if operator.is_some() => Err(Error::Operator {
            operator: name.clone(),
            what: "is not paused".into(),
            help: "nothing was changed; `reprise run` says which operators are paused, and `--all` resumes those".into(),
        }),
        _ => Ok(resumed),
    }
}

pub(super) fn unknown(operator: &str, names: &[String]) -> Error {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let help = match names.is_empty() {
        true => "the topology has no operators".into(),
        false => format!("the topology has {}", names.join(", ")),
    };
    Error::Operator { operator: operator.into(), what: "does not exist".into(), help }
}

/// A line for each operator that was paused.
fn picture(resumed: &[OperatorAnswer]) -> String {
    let lines: String = resumed
        .iter()
        .filter_map(|one| {
            let name = &one.operator;
            match one.was_so {
                Some(true) => Some(format!("the pause of operator `{name}` is ended: its next call decides\n")),
                Some(false) => None,
                None => Some(format!("operator `{name}` has no pause any more: somebody else asked at the same time\n")),
            }
        })
        .collect();
    if lines.is_empty() { "no operator is paused\n".into() } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_what_became_of_each_pause() {
        let one = |operator: &str, was_so| OperatorAnswer { operator: operator.into(), was_so };
        let told = picture(&[one("a", Some(true)), one("b", Some(false)), one("c", None)]);
        assert_eq!(
            told,
            "the pause of operator `a` is ended: its next call decides\n\
             operator `c` has no pause any more: somebody else asked at the same time\n"
        );
        assert_eq!(picture(&[one("a", Some(false))]), "no operator is paused\n");
        assert_eq!(picture(&[]), "no operator is paused\n");
    }

    #[test]
    fn an_operator_that_is_not_there_is_refused_with_those_that_are() {
        let names = ["parse".to_owned(), "count".to_owned()];
        assert_eq!(unknown("cuont", &names).to_string(), "operator `cuont` does not exist\n  help: the topology has `parse`, `count`");
        assert!(unknown("a", &[]).to_string().ends_with("the topology has no operators"));
    }
}
