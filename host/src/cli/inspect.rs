//! `reprise inspect`: what a component is, without running a job.

use super::{InspectArguments, exit};
use crate::job::Kind;
use crate::wasm::{self, Runtime, Settings};
use reprise_core::description::Description;
use std::fmt::Write as _;
use std::process::ExitCode;

pub(super) fn inspect(arguments: &InspectArguments) -> ExitCode {
    let path = arguments.component.display();
    let refuse = |text: String| {
        eprintln!("error: {text}");
        ExitCode::from(exit::code(Kind::Topology))
    };
    let bytes = match std::fs::read(&arguments.component) {
        Ok(bytes) => bytes,
        Err(error) => return refuse(format!("cannot read `{path}`: {error}")),
    };
    let inspection = match wasm::inspect(&bytes) {
        Ok(inspection) => inspection,
        Err(error) => return refuse(format!("`{path}`: {error}")),
    };
    let refusal = inspection.check().err().map(|error| error.to_string());
    let described = if refusal.is_none() { describe(&bytes, arguments) } else { Err(String::new()) };
    if arguments.json {
        let (description, error) = match &described {
            Ok((digest, description)) => (Some((digest, description)), None),
            Err(error) => (None, Some(refusal.clone().unwrap_or_else(|| error.clone()))),
        };
        let json = serde_json::json!({
            "kind": format!("{:?}", inspection.kind).to_lowercase(),
            "imports": inspection.imports,
            "exports": inspection.exports,
            "digest": description.map(|(digest, _)| digest),
            "description": description.map(|(_, description)| description),
            "refused": error,
        });
        println!("{json}");
    } else {
        print!("{}", picture(&path.to_string(), bytes.len(), &inspection, described.as_ref().ok()));
    }
    match (refusal, described) {
        (Some(refusal), _) => refuse(format!("`{path}` would be refused: {refusal}")),
        (None, Err(error)) => refuse(format!("`{path}` {error}")),
        (None, Ok(_)) => ExitCode::SUCCESS,
    }
}

fn describe(bytes: &[u8], arguments: &InspectArguments) -> Result<(String, Description), String> {
    let settings = Settings { cache_dir: arguments.cache.dir(), instances_max: 1, ..Settings::default() };
    let runtime = Runtime::new(&settings).map_err(|error| error.to_string())?;
    let component = runtime.load(bytes).map_err(|error| error.to_string())?;
    let description = component.describe().map_err(|error| error.to_string())?;
    Ok((component.digest().to_string(), description))
}

fn picture(path: &str, size: usize, inspection: &wasm::Inspection, described: Option<&(String, Description)>) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let kind = match inspection.kind {
        wasm::Kind::Component => "component",
        wasm::Kind::Module => "core module with component metadata",
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
    for import in &inspection.imports {
        line(format!("  import    {import}"));
    }
    for export in &inspection.exports {
        line(format!("  export    {export}"));
    }
    out
}
