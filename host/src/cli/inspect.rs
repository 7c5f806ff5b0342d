//! `reprise inspect`: what a component is, and what each of its imports gets, without running a job.

use super::arguments::InspectArguments;
use super::text::plain;
use super::{exit, outlet, text};
use crate::job::{Kind, grants_of};
use crate::wasm::{self, Answer, Gift, Grants, Inspection, Runtime, Settings};
use reprise_core::description::Description;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;

/// Digest and description of a component.
type Described = (String, Description);

pub(super) fn inspect(arguments: &InspectArguments) -> ExitCode {
    let path = plain(&arguments.component.display().to_string());
    let refuse = |text: String| {
        outlet::say(&format!("error: {text}"));
        ExitCode::from(exit::code(Kind::Topology))
    };
    let grants = match (&arguments.topology, &arguments.operator) {
        (Some(topology), Some(operator)) => match grants_of(topology, operator) {
            Ok(grants) => Some(grants),
            Err(error) => return exit::fail(&error, false),
        },
        _ => None,
    };
    let bytes = match std::fs::read(&arguments.component) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(format!("cannot read `{path}`: {error}")),
    };
    let inspection = match wasm::inspect(&bytes) {
        Ok(inspection) => inspection,
        Err(error) => return refuse(format!("`{path}`: {error}")),
    };
    let unused = grants.as_ref().and_then(|grants| grants.check(&inspection.imports).err()).map(|error| error.to_string());
    let refusal = inspection.check().err().map(|error| error.to_string()).or(unused);
    let described = if refusal.is_none() { describe(&bytes, arguments) } else { Err(String::new()) };
    if arguments.json {
        let refused = described.as_ref().err().map(|error| refusal.as_ref().unwrap_or(error));
        text::put_json(&answer(&inspection, grants.as_ref(), described.as_ref().ok(), refused));
    } else {
        text::put(&picture((&path, bytes.len()), &inspection, grants.as_ref(), described.as_ref().ok()));
    }
    match (refusal, described) {
        (Some(refusal), _) => refuse(format!("`{path}` would be refused: {refusal}")),
        (None, Err(error)) => refuse(format!("`{path}` {error}")),
        (None, Ok(_)) => ExitCode::SUCCESS,
    }
}

fn describe(bytes: &[u8], arguments: &InspectArguments) -> Result<Described, String> {
    let settings =
        Settings { cache_dir: arguments.cache.dir(), instances_max: 1, ..Settings::default() }.with_memories(wasm::memories(bytes));
    let runtime = Runtime::new(&settings).map_err(|error| error.to_string())?;
    let component = runtime.load_named(bytes, &format!("`{}`", arguments.component.display())).map_err(|error| error.to_string())?;
    let description = component.describe().map_err(|error| error.to_string())?;
    Ok((component.digest().to_string(), description))
}

/// The grants of an operator that a gift has, a text for each.
fn granted(gift: Gift, grants: &Grants) -> Vec<String> {
    match gift {
        // Values may be secrets.
        Gift::Environment => grants.environment.iter().map(|(name, _)| name.clone()).collect(),
        Gift::Folders => grants.folders.iter().map(|folder| format!("{} = {}", folder.guest(), folder.host().display())).collect(),
    }
}

fn answer(inspection: &Inspection, grants: Option<&Grants>, described: Option<&Described>, refused: Option<&String>) -> Value {
    let of_import = |(import, answer): (&String, Answer)| {
        let granted = answer.gift().zip(grants).map(|(gift, grants)| granted(gift, grants));
        let grant = answer.gift().map(Gift::key);
        json!({ "import": import, "gets": answer.word(), "answer": answer.text(), "grant": grant, "granted": granted })
    };
    let answers: Vec<Value> = inspection.imports.iter().zip(inspection.answers()).map(of_import).collect();
    json!({
        "kind": format!("{:?}", inspection.kind).to_lowercase(),
        "imports": inspection.imports,
        "answers": answers,
        "exports": inspection.exports,
        "digest": described.map(|(digest, _)| digest),
        "description": described.map(|(_, description)| description),
        "refused": refused,
    })
}

fn picture((path, size): (&str, usize), inspection: &Inspection, grants: Option<&Grants>, described: Option<&Described>) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{}", plain(&text));
    };
    let kind = match inspection.kind {
        wasm::BinaryKind::Component => "component",
        wasm::BinaryKind::Module => "core module with component metadata",
    };
    line(format!("{path}: {kind}, {} KiB", size.div_ceil(1024)));
    if let Some((digest, description)) = described {
        line(format!("  digest    {digest}"));
        line(format!("  operator  {} {}", description.name, description.version));
        line(format!("  inputs    {}", description.inputs.join(", ")));
        for port in &description.outputs {
            line(format!("  output    {} (key {:?}, value {:?})", port.name, port.key, port.value));
        }
        for slot in &description.slots {
            line(format!("  state     {} ({:?}, version {}, {:?})", slot.name, slot.kind, slot.version, slot.encoding));
        }
    }
    let width = inspection.imports.iter().map(String::len).max().unwrap_or(0);
    for (import, answer) in inspection.imports.iter().zip(inspection.answers()) {
        line(format!("  import    {import:<width$}  {:<8}  {}", answer.word(), answer.text()));
        if let Some((gift, grants)) = answer.gift().zip(grants) {
            let granted = granted(gift, grants);
            let granted = if granted.is_empty() { "nothing".to_owned() } else { granted.join(", ") };
            line(format!("            {:<width$}  {:<8}  {granted}", "", "granted"));
        }
    }
    for export in &inspection.exports {
        line(format!("  export    {export}"));
    }
    out
}
